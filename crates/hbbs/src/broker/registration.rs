//! Hosts that register: RegisterPeer, RegisterPk and the change of an id (rendezvous §5.3, §5.4, §5.8).

use super::{Broker, KEEP_ALIVE, Output, Stream, encode};
use crate::clock::{Moment, Tick};
use crate::registry::{Claim, Claimed, Heartbeat, Id, IdError, MAX_UUID_LEN, Renamed, Source, can_be_chosen};
use hbb_common::rendezvous::register_pk_response::Result as Code;
use hbb_common::rendezvous::{
    RegisterPeer, RegisterPeerResponse, RegisterPk, RegisterPkResponse, rendezvous_message::Union,
};

impl Broker {
    pub(super) fn register_peer(&self, id: &str, source: Source, now: Tick) -> Union {
        let heartbeat = self.registry.heartbeat(id, source, now);
        let request_pk = heartbeat == Heartbeat::KeyWanted;
        if request_pk {
            self.counters.heartbeats_key_wanted.one();
        } else {
            self.counters.heartbeats.one();
        }
        Union::RegisterPeerResponse(RegisterPeerResponse { request_pk })
    }

    /// `None`: no answer at all, which a message without identity or key gets.
    pub(super) fn register_pk(&self, m: Shown<'_>, source: Source, now: Tick) -> Option<Code> {
        if m.uuid.is_empty() || m.pk.is_empty() {
            self.counters.claims_malformed.one();
            return None;
        }
        Some(self.claim(m, source, now))
    }

    fn claim(&self, m: Shown<'_>, source: Source, now: Tick) -> Code {
        let id = match Id::new(m.id) {
            Ok(id) => id,
            Err(error) => {
                self.counters.claims_malformed.one();
                return match error {
                    // No other answer makes a host take an id that it can have.
                    IdError::TooShort => Code::UuidMismatch,
                    IdError::TooLong | IdError::Character => Code::InvalidIdFormat,
                };
            }
        };
        let pk: &[u8; 32] = match m.pk.try_into() {
            Ok(pk) if m.uuid.len() <= MAX_UUID_LEN => pk,
            _ => {
                self.counters.claims_malformed.one();
                return Code::NotSupport;
            }
        };
        let new = !self.registry.contains(m.id);
        if !self.claims().admit(source.addr.ip(), new, now) {
            self.counters.claims_too_frequent.one();
            return Code::TooFrequent;
        }
        let claim = Claim { id: &id, uuid: m.uuid, pk };
        match self.registry.claim(claim, source, now, || self.journal.keepable()) {
            Claimed::Yes(change) => {
                self.counters.claims_accepted.one();
                if new {
                    self.counters.claims_new.one();
                }
                if let Some(change) = change {
                    self.journal.keep(change);
                }
                Code::Ok
            }
            Claimed::Conflict => {
                self.counters.claims_conflict.one();
                Code::UuidMismatch
            }
            Claimed::TooFrequent => {
                self.counters.claims_too_frequent.one();
                Code::TooFrequent
            }
            Claimed::Unavailable => {
                self.counters.claims_unavailable.one();
                Code::ServerError
            }
        }
    }

    /// A heartbeat on a connection, which is where pushes go from then on.
    pub(super) fn stream_register_peer(
        &self,
        stream: &mut Stream,
        m: &RegisterPeer,
        at: Moment,
        out: &mut Vec<Output>,
    ) {
        let answer = self.register_peer(&m.id, stream.source(), at.tick);
        if answer == Union::RegisterPeerResponse(RegisterPeerResponse { request_pk: false })
            && let Ok(id) = Id::new(&m.id)
        {
            self.settle(stream, id);
        }
        out.push(Output::Reply(encode(answer)));
    }

    pub(super) fn stream_register_pk(
        &self,
        stream: &mut Stream,
        m: &RegisterPk,
        at: Moment,
        out: &mut Vec<Output>,
    ) {
        if !m.old_id.is_empty() {
            let code = self.rename(m, stream.source(), at.tick);
            return out.extend([Output::Reply(encode(answer(code, None))), Output::Close]);
        }
        let Some(code) = self.register_pk(m.into(), stream.source(), at.tick) else {
            return out.push(Output::Close);
        };
        if code == Code::Ok
            && let Ok(id) = Id::new(&m.id)
        {
            self.settle(stream, id);
            let keep_alive = KEEP_ALIVE.as_secs() as i32;
            return out.push(Output::Reply(encode(answer(code, Some(keep_alive)))));
        }
        out.extend([Output::Reply(encode(answer(code, None))), Output::Close]);
    }

    /// The host `id` lives on this connection, and no other one does.
    fn settle(&self, stream: &mut Stream, id: Id) {
        if let Some(before) = stream.host.replace(id)
            && stream.host.as_ref() != Some(&before)
        {
            self.registry.left(before.as_str(), stream.connection);
        }
    }

    fn rename(&self, m: &RegisterPk, source: Source, now: Tick) -> Code {
        let code = self.try_rename(m, source, now);
        if code == Code::Ok {
            self.counters.renames.one();
        } else {
            self.counters.renames_refused.one();
        }
        code
    }

    fn try_rename(&self, m: &RegisterPk, source: Source, now: Tick) -> Code {
        let Ok(id) = Id::new(&m.id) else { return Code::InvalidIdFormat };
        if !can_be_chosen(&m.id) || m.uuid.is_empty() {
            return Code::InvalidIdFormat;
        }
        // Counts as a new id, or a machine could try names for ever.
        if !self.claims().admit(source.addr.ip(), true, now) {
            return Code::TooFrequent;
        }
        if !self.journal.keepable() {
            return Code::ServerError;
        }
        match self.registry.rename(&m.old_id, &id, &m.uuid) {
            Renamed::Yes(change) => {
                self.journal.keep(change);
                Code::Ok
            }
            Renamed::Unknown => Code::Ok,
            Renamed::Taken => Code::IdExists,
            Renamed::NotYours => Code::UuidMismatch,
        }
    }
}

/// What a host shows in a RegisterPk, wherever its bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown<'a> {
    id: &'a str,
    uuid: &'a [u8],
    pk: &'a [u8],
}

impl<'a> From<&'a RegisterPk> for Shown<'a> {
    fn from(m: &'a RegisterPk) -> Self {
        Self { id: &m.id, uuid: &m.uuid, pk: &m.pk }
    }
}

pub(super) fn answer(code: Code, keep_alive: Option<i32>) -> Union {
    let keep_alive = keep_alive.unwrap_or_default();
    Union::RegisterPkResponse(RegisterPkResponse { result: code.into(), keep_alive })
}

/// The id of a RegisterPeer as stock hosts encode it, which is nearly every datagram there is; anything
/// else is for the general decoder.
pub(super) fn quick_register_peer(bytes: &[u8]) -> Option<&str> {
    let [0x32, length, 0x0a, id_length, rest @ ..] = bytes else { return None };
    let (id, serial) = rest.split_at_checked(usize::from(*id_length))?;
    let fits = *length < 0x80 && usize::from(*length) == rest.len() + 2 && !id.is_empty();
    let serial_is_plain = matches!(serial, [] | [0x10, 0..0x80]);
    (fits && serial_is_plain).then(|| std::str::from_utf8(id).ok())?
}

/// The same for the RegisterPk of a host that shows its key, which copies nothing.
pub(super) fn quick_register_pk(bytes: &[u8]) -> Option<Shown<'_>> {
    let [0x7a, length @ 0..0x80, fields @ ..] = bytes else { return None };
    if usize::from(*length) != fields.len() {
        return None;
    }
    let (id, fields) = short_field(0x0a, fields)?;
    let (uuid, fields) = short_field(0x12, fields)?;
    let (pk, fields) = short_field(0x1a, fields)?;
    fields.is_empty().then_some(Shown { id: std::str::from_utf8(id).ok()?, uuid, pk })
}

/// The content of the field in front, if it is this one and its length takes one byte; and what follows.
fn short_field(key: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        [first, length @ 0..0x80, rest @ ..] if *first == key => rest.split_at_checked(usize::from(*length)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hbb_common::rendezvous::RendezvousMessage;
    use prost::Message as _;

    #[test]
    fn the_usual_registration_is_read_quickly() {
        let m = RegisterPk {
            id: "123456789".into(),
            uuid: vec![1; 36].into(),
            pk: vec![2; 32].into(),
            ..Default::default()
        };
        let bytes = RendezvousMessage { union: Some(Union::RegisterPk(m.clone())) }.encode_to_vec();
        assert_eq!(quick_register_pk(&bytes), Some(Shown::from(&m)));
        for end in 0..bytes.len() {
            assert_eq!(quick_register_pk(&bytes[..end]), None, "cut after {end}");
        }
        let renamed = RegisterPk { old_id: "987654321".into(), ..m };
        let bytes = RendezvousMessage { union: Some(Union::RegisterPk(renamed)) }.encode_to_vec();
        assert_eq!(quick_register_pk(&bytes), None);
    }

    #[test]
    fn the_usual_heartbeat_is_read_quickly() {
        let bytes = [0x32, 0x0d, 0x0a, 0x09, 49, 50, 51, 52, 53, 54, 55, 56, 57, 0x10, 0x03];
        assert_eq!(quick_register_peer(&bytes), Some("123456789"));
        for end in 0..bytes.len() {
            assert_eq!(quick_register_peer(&bytes[..end]), None, "cut after {end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_quick_reader_agrees_with_the_decoder(
            id in ".{0,130}",
            serial: i32,
            flip in proptest::option::of((0usize..140, 0u8..)),
        ) {
            let m = RegisterPeer { id, serial };
            let mut bytes = RendezvousMessage { union: Some(Union::RegisterPeer(m)) }.encode_to_vec();
            if let Some((at, value)) = flip && at < bytes.len() {
                bytes[at] = value;
            }
            if let Some(id) = quick_register_peer(&bytes) {
                match RendezvousMessage::decode(&bytes[..]).unwrap().union {
                    Some(Union::RegisterPeer(m)) => proptest::prop_assert_eq!(m.id, id),
                    other => panic!("{other:?}"),
                }
            }
        }

        #[test]
        fn so_does_that_of_registrations(
            id in ".{0,20}",
            uuid in proptest::collection::vec(0u8.., 0..60),
            pk in proptest::collection::vec(0u8.., 0..40),
            flip in proptest::option::of((0usize..140, 0u8..)),
        ) {
            let m = RegisterPk { id, uuid: uuid.into(), pk: pk.into(), ..Default::default() };
            let mut bytes = RendezvousMessage { union: Some(Union::RegisterPk(m)) }.encode_to_vec();
            if let Some((at, value)) = flip && at < bytes.len() {
                bytes[at] = value;
            }
            if let Some(shown) = quick_register_pk(&bytes) {
                match RendezvousMessage::decode(&bytes[..]).unwrap().union {
                    Some(Union::RegisterPk(m)) => {
                        proptest::prop_assert_eq!(Shown::from(&m), shown);
                        proptest::prop_assert_eq!(m.old_id, "");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
