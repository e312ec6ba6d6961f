//! What our own NAT does to ports, as hbbs sees it (rendezvous §3, §5.9).
//!
//! Two connections from one local port ask hbbs, at two ports of its, where they come from. The answer is
//! kept for each server; the first attempt at a server does not wait for it.

use crate::link::{Incoming, Link};
use crate::net;
use crate::place::is_web_socket;
use hbb_common::addr::split_host_port;
use hbb_common::defaults::RENDEZVOUS_PORT;
use hbb_common::rendezvous::rendezvous_message::Union;
use hbb_common::rendezvous::{NatType, RendezvousMessage, TestNatRequest};
use prost::Message as _;
use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A machine may have moved to another network after this long.
const KEPT: Duration = Duration::from_secs(600);

/// For the whole test.
const PATIENCE: Duration = Duration::from_secs(6);

/// Servers remembered.
const SERVERS: usize = 64;

/// An answer has a few bytes.
const LIMIT: usize = 1024;

/// What is known of our NAT, by server.
#[derive(Debug, Default)]
pub(crate) struct Nats(Mutex<HashMap<String, (NatType, Instant)>>);

impl Nats {
    /// As the last test found; an old finding is better than none.
    pub(crate) fn known(&self, server: &str) -> NatType {
        self.lock().get(server).map_or(NatType::UnknownNat, |(nat, _)| *nat)
    }

    /// Finds out, where that is not known or long ago; never ends where there is nothing to find.
    pub(crate) async fn test(&self, server: &str) -> NatType {
        let fresh = self.lock().get(server).is_some_and(|(_, at)| at.elapsed() < KEPT);
        if !fresh && !is_web_socket(server) {
            match timeout(PATIENCE, ask(server)).await {
                Ok(Ok(nat)) => {
                    tracing::debug!(server, ?nat, "our NAT");
                    self.keep(server, nat);
                    return nat;
                }
                Ok(Err(error)) => tracing::debug!(server, %error, "no NAT test"),
                Err(_) => tracing::debug!(server, "no NAT test: no answer"),
            }
        }
        std::future::pending().await
    }

    fn keep(&self, server: &str, nat: NatType) {
        let mut known = self.lock();
        if known.len() >= SERVERS && !known.contains_key(server) {
            let oldest = known.iter().min_by_key(|(_, (_, at))| *at).map(|(server, _)| server.clone());
            if let Some(oldest) = oldest {
                known.remove(&oldest);
            }
        }
        known.insert(server.to_owned(), (nat, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (NatType, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(server: &str) -> io::Result<NatType> {
    let (host, port) = split_host_port(server, RENDEZVOUS_PORT)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no host and port"))?;
    let first = net::connect(&host, port, PATIENCE).await?;
    let (local, mut second_addr) = (first.local_addr()?, first.peer_addr()?);
    second_addr.set_port(port.wrapping_sub(1));
    // Both are open at once, so that a NAT that hands out ports one after the other shows it.
    let second = net::connect_from(local, second_addr, PATIENCE).await?;
    let (first, second) =
        tokio::try_join!(seen_port(Link::tcp(first, LIMIT)), seen_port(Link::tcp(second, LIMIT)))?;
    Ok(if first == second { NatType::Asymmetric } else { NatType::Symmetric })
}

/// Where the connection comes from in the eyes of hbbs.
async fn seen_port(mut link: Link) -> io::Result<i32> {
    let request = RendezvousMessage { union: Some(Union::TestNatRequest(TestNatRequest { serial: 0 })) };
    link.queue(&request.encode_to_vec().into());
    loop {
        match link.next().await {
            Incoming::Flushed => {}
            Incoming::Ended(reason) => return Err(io::Error::other(reason)),
            Incoming::Packet(packet) => {
                if let Ok(RendezvousMessage { union: Some(Union::TestNatResponse(answer)) }) =
                    RendezvousMessage::decode(packet)
                {
                    return Ok(answer.port);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hbb_common::rendezvous::TestNatResponse;
    use tokio::net::TcpListener;

    /// hbbs's two ports, which see what comes from one port as coming from `seen`.
    async fn server(seen: [i32; 2]) -> String {
        loop {
            let main = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = main.local_addr().unwrap().port();
            let Ok(beside) = TcpListener::bind(("127.0.0.1", port - 1)).await else { continue };
            for (listener, port) in [main, beside].into_iter().zip(seen) {
                tokio::spawn(async move {
                    let mut link = Link::tcp(listener.accept().await.unwrap().0, LIMIT);
                    let Incoming::Packet(asked) = link.next().await else { panic!("a request") };
                    let asked = RendezvousMessage::decode(asked).unwrap().union;
                    assert!(matches!(asked, Some(Union::TestNatRequest(_))), "{asked:?}");
                    let answer = TestNatResponse { port, ..Default::default() };
                    let union = Some(Union::TestNatResponse(answer));
                    link.queue(&RendezvousMessage { union }.encode_to_vec().into());
                    link.close().await;
                });
            }
            return format!("127.0.0.1:{port}");
        }
    }

    #[tokio::test]
    async fn a_port_that_stays_the_same_can_be_punched_to() {
        let nats = Nats::default();
        let one = server([40_000, 40_000]).await;
        let other = server([40_000, 40_001]).await;
        assert_eq!(nats.known(&one), NatType::UnknownNat);
        assert_eq!(nats.test(&one).await, NatType::Asymmetric);
        assert_eq!(nats.test(&other).await, NatType::Symmetric);
        assert_eq!((nats.known(&one), nats.known(&other)), (NatType::Asymmetric, NatType::Symmetric));
    }

    #[tokio::test]
    async fn what_is_known_is_not_asked_again_and_the_list_stays_short() {
        let nats = Nats::default();
        for n in 0..2 * SERVERS {
            nats.keep(&format!("h{n}"), NatType::Asymmetric);
        }
        assert_eq!(nats.lock().len(), SERVERS);
        let newest = format!("h{}", 2 * SERVERS - 1);
        assert_eq!(nats.known(&newest), NatType::Asymmetric);
        assert!(futures_util::FutureExt::now_or_never(nats.test(&newest)).is_none());
    }
}
