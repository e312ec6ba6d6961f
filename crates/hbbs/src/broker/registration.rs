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
    pub(super) fn register_pk(&self, m: &RegisterPk, source: Source, now: Tick) -> Option<Code> {
        if m.uuid.is_empty() || m.pk.is_empty() {
            self.counters.claims_malformed.one();
            return None;
        }
        Some(self.claim(m, source, now))
    }

    fn claim(&self, m: &RegisterPk, source: Source, now: Tick) -> Code {
        let id = match Id::new(&m.id) {
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
        let pk: &[u8; 32] = match m.pk[..].try_into() {
            Ok(pk) if m.uuid.len() <= MAX_UUID_LEN => pk,
            _ => {
                self.counters.claims_malformed.one();
                return Code::NotSupport;
            }
        };
        let new = !self.registry.contains(&m.id);
        if !self.claims().admit(source.addr.ip(), new, now) {
            self.counters.claims_too_frequent.one();
            return Code::TooFrequent;
        }
        let claim = Claim { id: &id, uuid: &m.uuid, pk };
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
        let Some(code) = self.register_pk(m, stream.source(), at.tick) else {
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

#[cfg(test)]
mod tests {
    use super::*;
    use hbb_common::rendezvous::RendezvousMessage;
    use prost::Message as _;

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
    }
}
