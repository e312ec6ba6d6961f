//! How two peers come to a shared key, and how hbbs vouches for a host (rendezvous §4.4, §6.1, §6.3).
//!
//! All randomness comes in as an argument: ephemeral secrets must be fresh for each connection.

use crate::key::{PublicKey, SigningKey};
use crate::seal::SessionKey;
use crate::session::{IdPk, PublicKey as PublicKeyMessage, SignedId};
use bytes::Bytes;
use dryoc::classic::{crypto_box, crypto_core};
use prost::Message as _;

/// Why a handshake ended without a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    #[error("the signature is not by the expected key")]
    BadSignature,
    #[error("the signed content is not an id and a key")]
    Malformed,
    #[error("signed for id {signed:?} where {expected:?} was asked for")]
    OtherId { signed: String, expected: String },
    #[error("key of {0} bytes")]
    WrongLength(usize),
    #[error("the key does not open with ours")]
    NotForUs,
}

/// hbbs's word that `pk` is the key of `id`: the `pk` field of its answers to clients.
pub fn sign_id(server: &SigningKey, id: &str, pk: &[u8]) -> Vec<u8> {
    let content = IdPk { id: id.into(), pk: Bytes::copy_from_slice(pk) };
    server.sign(&content.encode_to_vec())
}

/// The key that `signed` vouches for, if `signer` signed it for `id`.
pub fn open_signed_id(signed: &[u8], signer: &PublicKey, id: &str) -> Result<PublicKey, HandshakeError> {
    let content = signer.open(signed).ok_or(HandshakeError::BadSignature)?;
    let content = IdPk::decode(content).map_err(|_| HandshakeError::Malformed)?;
    if content.id != id {
        return Err(HandshakeError::OtherId { signed: content.id, expected: id.into() });
    }
    PublicKey::try_from(&content.pk[..]).map_err(|_| HandshakeError::WrongLength(content.pk.len()))
}

/// The host's side: what it sends first, and what it makes of the answer.
#[derive(Debug)]
pub struct HostHandshake {
    secret: SessionKey,
}

/// What a client's `PublicKey` means to a host.
#[derive(Debug)]
pub enum HostOutcome {
    Sealed(SessionKey),
    /// The client could not verify us and goes on without encryption.
    Plain,
}

impl HostHandshake {
    /// `secret`: 32 random bytes, fresh for this connection.
    pub fn new(identity: &SigningKey, id: &str, secret: [u8; 32]) -> (Self, SignedId) {
        let mut public = [0; 32];
        crypto_core::crypto_scalarmult_base(&mut public, &secret);
        let signed = sign_id(identity, id, &public);
        (Self { secret: SessionKey(secret) }, SignedId { id: signed.into() })
    }

    pub fn finish(self, answer: &PublicKeyMessage) -> Result<HostOutcome, HandshakeError> {
        if answer.asymmetric_value.is_empty() {
            return Ok(HostOutcome::Plain);
        }
        let theirs: [u8; 32] = answer.asymmetric_value[..]
            .try_into()
            .map_err(|_| HandshakeError::WrongLength(answer.asymmetric_value.len()))?;
        let boxed: &[u8; 48] = answer.symmetric_value[..]
            .try_into()
            .map_err(|_| HandshakeError::WrongLength(answer.symmetric_value.len()))?;
        let mut key = [0; 32];
        crypto_box::crypto_box_open_easy(&mut key, boxed, &[0; 24], &theirs, &self.secret.0)
            .map_err(|_| HandshakeError::NotForUs)?;
        Ok(HostOutcome::Sealed(SessionKey(key)))
    }
}

/// The client's side: checks the host's `SignedId` against the key that hbbs vouched for (or that is
/// pinned) and the id that was dialled; gives the key and the answer to send.
///
/// `secret` and `key`: 32 random bytes each, fresh for this connection.
pub fn client_handshake(
    signed_id: &SignedId,
    host: &PublicKey,
    id: &str,
    secret: &[u8; 32],
    key: [u8; 32],
) -> Result<(PublicKeyMessage, SessionKey), HandshakeError> {
    let theirs = open_signed_id(&signed_id.id, host, id)?;
    let mut public = [0; 32];
    crypto_core::crypto_scalarmult_base(&mut public, secret);
    let mut boxed = [0; 48];
    crypto_box::crypto_box_easy(&mut boxed, &key, &[0; 24], &theirs.0, secret)
        .map_err(|_| HandshakeError::NotForUs)?;
    let answer = PublicKeyMessage {
        asymmetric_value: Bytes::copy_from_slice(&public),
        symmetric_value: Bytes::copy_from_slice(&boxed),
    };
    Ok((answer, SessionKey(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet;
    use crate::session::{Message, message::Union};

    const ID: &str = "123456789";

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    fn server() -> SigningKey {
        SigningKey::from_seed(&[1; 32])
    }

    fn host() -> SigningKey {
        SigningKey::from_seed(&[2; 32])
    }

    fn framed(union: Union) -> Bytes {
        packet::encode_message(&Message { union: Some(union) })
    }

    /// rendezvous, Appendix A, from top to bottom.
    #[test]
    fn vectors() {
        let signed = sign_id(&server(), ID, &host().public().0);
        let want = "59916b42ccac8288a14a71e661f9b1cd4bc5c723309c03b8ff7f81a4b311552355ae32f71e85be4649d44d4d419b6a6ec6\
                    50769f3f463c0d74690eba51c74c060a0931323334353637383912208139770ea87d175f56a35466c34c7ecccb8d8a91b4\
                    ee37a25df60f5b8fc9b394"
            .replace(' ', "");
        assert_eq!(signed, hex(&want));
        assert_eq!(open_signed_id(&signed, &server().public(), ID), Ok(host().public()));

        let (handshake, signed_id) = HostHandshake::new(&host(), ID, [3; 32]);
        let want = "c5011a6f0a6db56b8d7f5408b4dba2cb486bb31f2e8167567048b618d1bd467cb10a282fc9a0983655c5716b5c7bd46ec7\
                    7941c22696086b5b454bfe1f9121af30ea438ab7060a0931323334353637383912205dfedd3b6bd47f6fa28ee15d969d5b\
                    b0ea53774d488bdaf9df1c6e0124b3ef22"
            .replace(' ', "");
        assert_eq!(framed(Union::SignedId(signed_id.clone())), hex(&want));

        let (answer, key) =
            client_handshake(&signed_id, &host().public(), ID, &[4; 32], [5; 32]).expect("verifies");
        assert_eq!(
            answer.symmetric_value,
            hex(
                "93fa81622980fb477a8821a093ccbc8ba1413de7db32fbf8778fc00432715bb3ac31429d76c4877c321cf1199c76f7c8"
            )
        );
        assert_eq!(&framed(Union::PublicKey(answer.clone()))[..6], hex("590122540a20"));
        match handshake.finish(&answer) {
            Ok(HostOutcome::Sealed(theirs)) => assert_eq!(theirs.0, key.0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_client_refuses_what_it_can_not_verify() {
        let (_, signed_id) = HostHandshake::new(&host(), ID, [3; 32]);
        let other = SigningKey::from_seed(&[9; 32]).public();
        let shake = |id: &str, key| client_handshake(&signed_id, key, id, &[4; 32], [5; 32]).map(|_| ());
        assert_eq!(shake(ID, &other), Err(HandshakeError::BadSignature));
        assert_eq!(
            shake("987654321", &host().public()),
            Err(HandshakeError::OtherId { signed: ID.into(), expected: "987654321".into() })
        );
        let not_an_id = SignedId { id: host().sign(b"\xff\xff").into() };
        assert_eq!(
            client_handshake(&not_an_id, &host().public(), ID, &[4; 32], [5; 32]).map(|_| ()),
            Err(HandshakeError::Malformed)
        );
    }

    #[test]
    fn a_host_hears_plain_wrong_and_foreign_answers() {
        let finish = |asymmetric: &[u8], symmetric: &[u8]| {
            let (handshake, _) = HostHandshake::new(&host(), ID, [3; 32]);
            handshake.finish(&PublicKeyMessage {
                asymmetric_value: Bytes::copy_from_slice(asymmetric),
                symmetric_value: Bytes::copy_from_slice(symmetric),
            })
        };
        assert!(matches!(finish(&[], &[]), Ok(HostOutcome::Plain)));
        assert_eq!(finish(&[1; 31], &[2; 48]).unwrap_err(), HandshakeError::WrongLength(31));
        assert_eq!(finish(&[1; 32], &[2; 47]).unwrap_err(), HandshakeError::WrongLength(47));
        assert_eq!(finish(&[1; 32], &[2; 48]).unwrap_err(), HandshakeError::NotForUs);
    }
}
