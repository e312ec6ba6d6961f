//! Editing a protobuf message without knowing all of it.
//!
//! hbbs passes messages between peers of other releases. What it does not know must arrive as it was
//! sent, so it changes fields in the encoded bytes instead of decoding and encoding again.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// The bytes are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a protobuf message")]
pub struct Malformed;

/// The fields of one message in their order, known or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<Field>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    number: u32,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Varint(u64),
    Bytes(Bytes),
    /// Fixed-width fields, which RustDesk's rendezvous has none of.
    Fixed(WireType, Bytes),
}

impl Fields {
    pub fn decode(mut message: Bytes) -> Result<Self, Malformed> {
        let mut fields = Vec::new();
        while message.has_remaining() {
            let (number, wire_type) = decode_key(&mut message).map_err(|_| Malformed)?;
            let fixed = |message: &mut Bytes, len: usize| {
                (message.remaining() >= len).then(|| message.split_to(len)).ok_or(Malformed)
            };
            let value = match wire_type {
                WireType::Varint => Value::Varint(decode_varint(&mut message).map_err(|_| Malformed)?),
                WireType::LengthDelimited => {
                    let len = decode_varint(&mut message).map_err(|_| Malformed)?;
                    let len = usize::try_from(len).map_err(|_| Malformed)?;
                    Value::Bytes(fixed(&mut message, len)?)
                }
                WireType::ThirtyTwoBit => Value::Fixed(wire_type, fixed(&mut message, 4)?),
                WireType::SixtyFourBit => Value::Fixed(wire_type, fixed(&mut message, 8)?),
                WireType::StartGroup | WireType::EndGroup => return Err(Malformed),
            };
            fields.push(Field { number, value });
        }
        Ok(Self(fields))
    }

    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        for field in &self.0 {
            match &field.value {
                Value::Varint(n) => {
                    encode_key(field.number, WireType::Varint, &mut out);
                    encode_varint(*n, &mut out);
                }
                Value::Bytes(bytes) => {
                    encode_key(field.number, WireType::LengthDelimited, &mut out);
                    encode_varint(bytes.len() as u64, &mut out);
                    out.put_slice(bytes);
                }
                Value::Fixed(wire_type, bytes) => {
                    encode_key(field.number, *wire_type, &mut out);
                    out.put_slice(bytes);
                }
            }
        }
        out.into()
    }

    /// The last value of a bytes, string or message field, which is the one that counts.
    pub fn bytes(&self, number: u32) -> Option<&Bytes> {
        self.0.iter().rev().find_map(|f| match &f.value {
            Value::Bytes(bytes) if f.number == number => Some(bytes),
            _ => None,
        })
    }

    pub fn remove(&mut self, number: u32) {
        self.0.retain(|f| f.number != number);
    }

    /// Sets a bytes, string or message field.
    pub fn set_bytes(&mut self, number: u32, bytes: impl Into<Bytes>) {
        self.set(number, Value::Bytes(bytes.into()));
    }

    /// Sets an integer, enum or bool field.
    pub fn set_varint(&mut self, number: u32, value: u64) {
        self.set(number, Value::Varint(value));
    }

    fn set(&mut self, number: u32, value: Value) {
        self.remove(number);
        self.0.push(Field { number, value });
    }
}

/// Edits the member `number` of a message that is one oneof, such as `RendezvousMessage`.
pub fn edit_member(message: &Bytes, number: u32, edit: impl FnOnce(&mut Fields)) -> Result<Bytes, Malformed> {
    let mut outer = Fields::decode(message.clone())?;
    let member = outer.bytes(number).ok_or(Malformed)?;
    let mut inner = Fields::decode(member.clone())?;
    edit(&mut inner);
    outer.set_bytes(number, inner.encode());
    Ok(outer.encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendezvous::{RelayResponse, RendezvousMessage, relay_response, rendezvous_message::Union};
    use prost::Message as _;

    #[test]
    fn what_is_not_known_survives() {
        let mut inner = Fields::default();
        inner.set_bytes(1, &b"address"[..]);
        inner.set_bytes(4, &b"123456789"[..]);
        inner.set_varint(77, 5);
        inner.set_bytes(78, &b"from the future"[..]);
        let mut outer = Fields::default();
        outer.set_bytes(19, inner.encode());

        let edited = edit_member(&outer.encode(), 19, |fields| {
            fields.remove(1);
            fields.remove(4);
            fields.set_bytes(5, &b"signed"[..]);
        })
        .unwrap();

        let message = RendezvousMessage::decode(edited.clone()).unwrap();
        let want =
            RelayResponse { union: Some(relay_response::Union::Pk("signed".into())), ..Default::default() };
        assert_eq!(message.union, Some(Union::RelayResponse(want)));
        let inner = Fields::decode(Fields::decode(edited).unwrap().bytes(19).unwrap().clone()).unwrap();
        assert_eq!(inner.bytes(78).unwrap(), "from the future");
        assert!(inner.0.contains(&Field { number: 77, value: Value::Varint(5) }));
    }

    #[test]
    fn unknown_enum_values_survive_decoding() {
        use crate::rendezvous::PunchHoleRequest;
        let request = PunchHoleRequest { nat_type: 99, ..Default::default() };
        assert_eq!(PunchHoleRequest::decode(&request.encode_to_vec()[..]).unwrap().nat_type, 99);
    }

    #[test]
    fn an_unknown_member_is_no_member() {
        let mut outer = Fields::default();
        outer.set_bytes(1000, &b"new"[..]);
        assert_eq!(RendezvousMessage::decode(outer.encode()).unwrap().union, None);
    }

    #[test]
    fn malformed_bytes() {
        for bytes in [&[0xff_u8][..], &[0x0a, 5, 1], &[0x0b], &[0x09, 1]] {
            assert_eq!(Fields::decode(Bytes::copy_from_slice(bytes)), Err(Malformed), "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(0u8.., 0..100)) {
            if let Ok(fields) = Fields::decode(bytes.into()) {
                proptest::prop_assert_eq!(Fields::decode(fields.encode()), Ok(fields));
            }
        }
    }
}
