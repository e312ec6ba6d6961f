use super::*;

const RATE: Rate = Rate { count: 3, window: Duration::from_secs(6) };
const PK: [u8; 32] = [1; 32];

struct World {
    registry: Registry,
    now: Tick,
}

impl World {
    fn new() -> Self {
        Self { registry: Registry::new(RATE), now: Tick::NEVER.after(Duration::from_secs(1000)) }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    fn claim(&self, id: &str, uuid: &str, pk: [u8; 32], from: &str) -> Claimed {
        let id = Id::new(id).unwrap();
        let claim = Claim { id: &id, uuid: uuid.as_bytes(), pk: &pk };
        self.registry.claim(claim, source(from), self.now, || true)
    }

    fn heartbeat(&self, id: &str, from: &str) -> Heartbeat {
        self.registry.heartbeat(id, source(from), self.now)
    }

    fn online(&self, id: &str) -> bool {
        let online = self.registry.is_online(id, self.now);
        assert_eq!(online, self.registry.get(id).is_some_and(|p| p.is_online(self.now)));
        online
    }
}

fn source(from: &str) -> Source {
    Source { addr: from.parse().unwrap(), via: Via::Listener(2) }
}

fn updated(id: &str, pk: [u8; 32], ip: &str) -> Claimed {
    Claimed::Yes(Some(Change::Updated { id: id.into(), pk, ip: ip.parse().unwrap() }))
}

#[test]
fn a_claim_makes_a_host_known_and_online() {
    let mut world = World::new();
    assert_eq!(world.heartbeat("123456789", "10.0.0.1:5"), Heartbeat::KeyWanted);
    assert!(!world.registry.contains("123456789"), "a heartbeat leaves nothing behind");
    let row =
        Row { id: "123456789".into(), uuid: b"machine".to_vec(), pk: PK, ip: "10.0.0.1".parse().unwrap() };
    assert_eq!(world.claim("123456789", "machine", PK, "10.0.0.1:5"), Claimed::Yes(Some(Change::Added(row))));
    assert!(world.online("123456789"));
    world.wait(29);
    assert!(world.online("123456789"));
    world.wait(1);
    assert!(!world.online("123456789"));
    assert_eq!(world.heartbeat("123456789", "10.0.0.1:6"), Heartbeat::Accepted);
    let peer = world.registry.get("123456789").unwrap();
    assert_eq!(peer.route, Some(Route::Datagram { listener: 2, to: "10.0.0.1:6".parse().unwrap() }));
}

#[test]
fn a_claim_without_news_still_moves_the_host_and_marks_it_online() {
    let mut world = World::new();
    world.claim("123456789", "machine", PK, "10.0.0.1:5");
    world.wait(60);
    assert!(!world.online("123456789"));
    assert_eq!(world.claim("123456789", "machine", PK, "10.0.0.1:9"), Claimed::Yes(None));
    assert!(world.online("123456789"));
    assert_eq!(world.registry.get("123456789").unwrap().addr, "10.0.0.1:9".parse().unwrap());
}

#[test]
fn the_first_claim_wins_the_id() {
    let world = World::new();
    world.claim("123456789", "machine", PK, "10.0.0.1:5");
    assert_eq!(world.claim("123456789", "other machine", PK, "10.0.0.1:5"), Claimed::Conflict);
    assert_eq!(world.claim("123456789", "machine", [2; 32], "10.0.0.2:5"), Claimed::Conflict);
    assert_eq!(
        world.claim("123456789", "machine", PK, "10.0.0.2:5"),
        updated("123456789", PK, "10.0.0.2"),
        "the address may change with the key staying"
    );
    assert_eq!(
        world.claim("123456789", "machine", [2; 32], "10.0.0.2:5"),
        updated("123456789", [2; 32], "10.0.0.2"),
        "the key may change with the address staying"
    );
}

#[test]
fn a_heartbeat_from_elsewhere_moves_nothing() {
    let world = World::new();
    world.claim("123456789", "machine", PK, "10.0.0.1:5");
    assert_eq!(world.heartbeat("123456789", "10.0.0.2:5"), Heartbeat::KeyWanted);
    assert_eq!(world.registry.get("123456789").unwrap().addr, "10.0.0.1:5".parse().unwrap());
}

#[test]
fn the_fourth_claim_of_an_id_within_seconds_is_refused() {
    let mut world = World::new();
    for _ in 0..3 {
        assert!(matches!(world.claim("123456789", "machine", PK, "10.0.0.1:5"), Claimed::Yes(_)));
    }
    for _ in 0..5 {
        world.wait(1);
        assert_eq!(world.claim("123456789", "machine", PK, "10.0.0.1:5"), Claimed::TooFrequent);
    }
    assert_eq!(world.claim("123456789", "x", PK, "10.0.0.1:5"), Claimed::Conflict, "asked before the rate");
    world.wait(1);
    assert_eq!(world.claim("123456789", "machine", PK, "10.0.0.1:5"), Claimed::Yes(None));
}

#[test]
fn a_new_id_that_can_not_be_kept_is_not_taken() {
    let world = World::new();
    let id = Id::new("123456789").unwrap();
    let claim = Claim { id: &id, uuid: b"machine", pk: &PK };
    let from = source("10.0.0.1:5");
    assert_eq!(world.registry.claim(claim, from, world.now, || false), Claimed::Unavailable);
    assert!(!world.registry.contains("123456789"));
    assert!(matches!(world.registry.claim(claim, from, world.now, || true), Claimed::Yes(Some(_))));
    assert_eq!(world.registry.claim(claim, from, world.now, || false), Claimed::Yes(None));
}

#[test]
fn a_loaded_host_is_known_but_offline_until_it_is_heard() {
    let world = World::new();
    let row =
        Row { id: "123456789".into(), uuid: b"machine".to_vec(), pk: PK, ip: "10.0.0.1".parse().unwrap() };
    assert!(world.registry.load(&row));
    assert!(!world.registry.load(&row), "twice");
    assert!(!world.registry.load(&Row { id: "1".into(), ..row }));
    let peer = world.registry.get("123456789").unwrap();
    assert_eq!((peer.route, peer.seen), (None, Tick::NEVER));
    assert!(!world.online("123456789"));
    assert_eq!(world.heartbeat("123456789", "10.0.0.2:5"), Heartbeat::KeyWanted);
    assert_eq!(world.heartbeat("123456789", "10.0.0.1:5"), Heartbeat::Accepted);
    assert!(world.online("123456789"));
}

#[test]
fn a_host_on_a_connection_is_offline_when_that_ends() {
    let mut world = World::new();
    world.claim("123456789", "machine", PK, "10.0.0.1:5");
    let by = |number| Source { addr: "10.0.0.1:7".parse().unwrap(), via: Via::Connection(number) };
    assert_eq!(world.registry.heartbeat("123456789", by(8), world.now), Heartbeat::Accepted);
    assert_eq!(world.registry.get("123456789").unwrap().route, Some(Route::Connection(8)));
    world.wait(20);
    world.registry.alive("123456789", 8, world.now);
    world.wait(20);
    assert!(world.online("123456789"));
    assert_eq!(world.registry.heartbeat("123456789", by(9), world.now), Heartbeat::Accepted);
    world.registry.left("123456789", 8);
    assert!(world.online("123456789"), "it has a newer connection");
    world.registry.left("123456789", 9);
    assert!(!world.online("123456789"));
    assert_eq!(world.heartbeat("123456789", "10.0.0.1:5"), Heartbeat::Accepted);
    world.registry.left("123456789", 9);
    assert!(world.online("123456789"), "it went on to datagrams");
}

#[test]
fn ids_change_for_their_machine_only() {
    let world = World::new();
    world.claim("123456789", "machine", PK, "10.0.0.1:5");
    world.claim("987654321", "other", PK, "10.0.0.1:5");
    let rename = |from: &str, to: &str, uuid: &str| {
        world.registry.rename(from, &Id::new(to).unwrap(), uuid.as_bytes())
    };
    assert_eq!(rename("123456789", "987654321", "machine"), Renamed::Taken);
    assert_eq!(rename("123456789", "office", "other"), Renamed::NotYours);
    assert_eq!(rename("111111111", "office", "machine"), Renamed::Unknown);
    let change = Change::Renamed { from: "123456789".into(), to: "office".into() };
    assert_eq!(rename("123456789", "office", "machine"), Renamed::Yes(change));
    assert!(!world.registry.contains("123456789"));
    assert_eq!(world.registry.get("office").unwrap().pk, PK);
    assert_eq!(world.registry.count(), 2);
    for round in 0..200 {
        let (from, to) = (format!("name-{round}"), format!("name-{}", round + 1));
        if round == 0 {
            rename("office", &from, "machine");
        }
        assert!(matches!(rename(&from, &to, "machine"), Renamed::Yes(_)), "{from}");
    }
}

#[test]
fn signatures_are_made_once_per_key_and_id() {
    let world = World::new();
    world.claim("123456789", "machine", PK, "10.0.0.1:5");
    let mut made = 0;
    let mut signature = |id: &str| {
        world.registry.signature(id, |pk| {
            made += 1;
            [pk[0] + made; 64]
        })
    };
    assert_eq!(signature("123456789"), Some((PK, [2; 64])));
    assert_eq!(signature("123456789"), Some((PK, [2; 64])));
    world.claim("123456789", "machine", [2; 32], "10.0.0.1:5");
    assert_eq!(signature("123456789"), Some(([2; 32], [4; 64])), "another key");
    assert_eq!(signature("unknown"), None);
    assert_eq!(made, 2);
}

#[test]
fn ipv6_hosts_and_every_host_is_listed() {
    let world = World::new();
    world.claim("123456789", "machine", PK, "[2001:db8::1]:5");
    assert_eq!(world.heartbeat("123456789", "[2001:db8::1]:6"), Heartbeat::Accepted);
    assert_eq!(world.heartbeat("123456789", "[2001:db8::2]:6"), Heartbeat::KeyWanted);
    for number in 0..500 {
        world.claim(&format!("host-{number}"), "machine", PK, "10.0.0.1:5");
    }
    let mut ids = Vec::new();
    world.registry.for_each(|peer, _| ids.push(peer.id.to_string()));
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), world.registry.count()), (501, 501));
}

#[test]
fn a_record_is_small() {
    let size = std::mem::size_of::<Option<Record>>();
    assert!(size <= 128, "{size} bytes");
}
