//! The one message hbbr reads: who asks for which uuid, and with which key.

use super::counters::Refusal;
use hbb_common::{
    packet::Deframer,
    rendezvous::{RendezvousMessage, rendezvous_message::Union},
};
use prost::Message;
use subtle::ConstantTimeEq;

/// Looks for the first packet of a TCP side in what has arrived so far: its payload and how many bytes
/// of the stream it takes. `None` if more must come.
pub(super) fn first_packet(seen: &[u8], limit: usize) -> Result<Option<(bytes::Bytes, usize)>, Refusal> {
    let mut deframer = Deframer::new(limit);
    deframer.extend(seen);
    match deframer.next_packet() {
        Ok(Some(payload)) => Ok(Some((payload, seen.len() - deframer.pending()))),
        Ok(None) => Ok(None),
        Err(_) => Err(Refusal::TooLong),
    }
}

/// The uuid that a first message asks for, if it may ask.
pub(super) fn uuid(payload: &[u8], key: Option<&str>, longest: usize) -> Result<String, Refusal> {
    let message = RendezvousMessage::decode(payload).map_err(|_| Refusal::Malformed)?;
    let Some(Union::RequestRelay(request)) = message.union else { return Err(Refusal::OtherMessage) };
    if let Some(key) = key
        && !bool::from(key.as_bytes().ct_eq(request.licence_key.as_bytes()))
    {
        return Err(Refusal::WrongKey);
    }
    match request.uuid.len() {
        0 => Err(Refusal::EmptyUuid),
        n if n > longest => Err(Refusal::LongUuid),
        _ => Ok(request.uuid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hbb_common::rendezvous::{RequestRelay, TestNatRequest};

    fn message(union: Union) -> Vec<u8> {
        RendezvousMessage { union: Some(union) }.encode_to_vec()
    }

    fn request(key: &str, uuid: &str) -> Vec<u8> {
        let request = RequestRelay { licence_key: key.into(), uuid: uuid.into(), ..Default::default() };
        message(Union::RequestRelay(request))
    }

    #[test]
    fn the_key_must_be_the_same_text() {
        assert_eq!(uuid(&request("k=", "u"), Some("k="), 10), Ok("u".into()));
        for wrong in ["k", "k= ", "", "K="] {
            assert_eq!(uuid(&request(wrong, "u"), Some("k="), 10), Err(Refusal::WrongKey), "{wrong:?}");
            assert_eq!(uuid(&request(wrong, "u"), None, 10), Ok("u".into()), "no key is asked for");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert_eq!(uuid(&request("", ""), None, 4), Err(Refusal::EmptyUuid));
        assert_eq!(uuid(&request("", "12345"), None, 4), Err(Refusal::LongUuid));
        assert_eq!(uuid(&[], None, 4), Err(Refusal::OtherMessage));
        let other = message(Union::TestNatRequest(TestNatRequest::default()));
        assert_eq!(uuid(&other, None, 4), Err(Refusal::OtherMessage));
        assert_eq!(uuid(&[0x92, 0x01, 0x7f], None, 4), Err(Refusal::Malformed));
    }

    #[test]
    fn a_packet_is_found_however_it_arrives() {
        let mut stream = hbb_common::packet::encode_message(&RendezvousMessage::default()).to_vec();
        assert_eq!(first_packet(&stream, 9), Ok(Some((bytes::Bytes::new(), 1))));
        stream.clear();
        assert_eq!(first_packet(&stream, 9), Ok(None));
        stream.extend_from_slice(&[2 << 2, b'h']);
        assert_eq!(first_packet(&stream, 9), Ok(None));
        stream.extend_from_slice(b"i, and more");
        assert_eq!(first_packet(&stream, 9), Ok(Some((bytes::Bytes::from_static(b"hi"), 3))));
        assert_eq!(first_packet(&stream, 1), Err(Refusal::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(0u8.., 0..600)) {
            if let Ok(Some((payload, used))) = first_packet(&bytes, 512) {
                assert!(used <= bytes.len() && payload.len() <= 512);
            }
            uuid(&bytes, Some("key"), 128).ok();
        }
    }
}
