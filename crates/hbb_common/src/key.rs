//! Ed25519 keys of hbbs and of hosts, the files they live in, and the strings that carry them
//! (rendezvous §4).

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::{Engine as _, alphabet, engine};
use dryoc::classic::crypto_sign;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Length of a signature in front of what it signs.
pub const SIGNATURE_LEN: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("not base64")]
    NotBase64,
    #[error("{found} bytes where a key has {want}")]
    WrongLength { found: usize, want: usize },
    #[error("public half does not belong to the secret half")]
    Mismatch,
    #[error("not a configuration string of a RustDesk server")]
    NotAConfiguration,
}

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Standard alphabet with padding, the only form that stock clients accept.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let bytes = STANDARD.decode(text).map_err(|_| KeyError::NotBase64)?;
        Self::try_from(&bytes[..])
    }

    /// The message in `signed` (signature first, NaCl's attached form) if this key signed it.
    pub fn open<'a>(&self, signed: &'a [u8]) -> Option<&'a [u8]> {
        let (signature, message) = signed.split_first_chunk::<SIGNATURE_LEN>()?;
        crypto_sign::crypto_sign_verify_detached(signature, message, &self.0).ok()?;
        Some(message)
    }
}

impl TryFrom<&[u8]> for PublicKey {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<Self, KeyError> {
        let found = bytes.len();
        bytes.try_into().map(Self).map_err(|_| KeyError::WrongLength { found, want: 32 })
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// An Ed25519 key pair: the 32-byte seed, then the 32-byte public key, as libsodium and `id_ed25519`
/// files have it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SigningKey([u8; 64]);

impl SigningKey {
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(crypto_sign::crypto_sign_seed_keypair(seed).1)
    }

    /// From the 64 bytes, checking that both halves belong together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let found = bytes.len();
        let bytes: [u8; 64] = bytes.try_into().map_err(|_| KeyError::WrongLength { found, want: 64 })?;
        let mut seed = [0; 32];
        seed.copy_from_slice(&bytes[..32]);
        let key = Self::from_seed(&seed);
        seed.zeroize();
        if key.0 == bytes { Ok(key) } else { Err(KeyError::Mismatch) }
    }

    /// The text of an `id_ed25519` file. White space around it and missing padding are accepted, as
    /// upstream's server does.
    pub fn from_file_text(text: &str) -> Result<Self, KeyError> {
        let mut bytes = lenient().decode(text.trim()).map_err(|_| KeyError::NotBase64)?;
        let key = Self::from_bytes(&bytes);
        bytes.zeroize();
        key
    }

    /// The text of an `id_ed25519` file: 88 characters, no newline.
    pub fn to_file_text(&self) -> String {
        STANDARD.encode(self.0)
    }

    pub fn public(&self) -> PublicKey {
        let mut public = [0; 32];
        public.copy_from_slice(&self.0[32..]);
        PublicKey(public)
    }

    /// Signature, then `message`.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signed = vec![0; SIGNATURE_LEN + message.len()];
        crypto_sign::crypto_sign(&mut signed, message, &self.0).expect("lengths fit by construction");
        signed
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey(public {})", self.public())
    }
}

/// Whether a public key's text survives in `id@server?key=…` typed by people: upstream's server
/// generates keys until theirs has neither `/` nor `:`.
pub fn is_plain(public: &PublicKey) -> bool {
    !public.to_base64().contains(['/', ':'])
}

fn lenient() -> engine::GeneralPurpose {
    let config =
        engine::GeneralPurposeConfig::new().with_decode_padding_mode(engine::DecodePaddingMode::Indifferent);
    engine::GeneralPurpose::new(&alphabet::STANDARD, config)
}

/// What the `-k` option of hbbs and hbbr says (rendezvous §4.2).
#[derive(Debug, Clone)]
pub enum KeyOption {
    /// `-` or `_`: the pair in the key file, generated if there is none, and clients must name it.
    File,
    /// Empty: any client's key is accepted; the pair in the key file still signs.
    Unchecked,
    /// A secret key given as text: it signs and clients must name its public half.
    Secret(Box<SigningKey>),
    /// Any other text: clients must name it; nothing is signed, so no session can be verified.
    Text(String),
}

impl KeyOption {
    pub fn parse(text: &str) -> Self {
        match text {
            "-" | "_" => Self::File,
            "" => Self::Unchecked,
            _ => match SigningKey::from_file_text(text) {
                Ok(key) => Self::Secret(Box::new(key)),
                Err(_) => Self::Text(text.into()),
            },
        }
    }
}

/// What a stock client imports as "server configuration": JSON in base64url, reversed (rendezvous §4.5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerConfiguration {
    #[serde(default)]
    pub host: String,
    #[serde(default)]
    pub relay: String,
    #[serde(default)]
    pub api: String,
    #[serde(default)]
    pub key: String,
}

impl ServerConfiguration {
    pub fn to_text(&self) -> String {
        let json = serde_json::to_vec(self).expect("four strings are JSON");
        URL_SAFE_NO_PAD.encode(json).chars().rev().collect()
    }

    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let text = text.strip_prefix("rustdesk://config/").unwrap_or(text);
        let forward: String = text.trim_end_matches('=').chars().rev().collect();
        let json = URL_SAFE_NO_PAD.decode(forward).map_err(|_| KeyError::NotAConfiguration)?;
        serde_json::from_slice(&json).map_err(|_| KeyError::NotAConfiguration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET_FILE: &str =
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQGKiOPddAnxlf1S2y08ul1yymcJvx2UEhvzdIgBtA9vXA==";

    #[test]
    fn the_file_of_appendix_a() {
        let key = SigningKey::from_seed(&[1; 32]);
        assert_eq!(key.public().to_base64(), "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=");
        assert_eq!(key.to_file_text(), SECRET_FILE);
        let read = |text: &str| SigningKey::from_file_text(text).map(|k| k.public());
        assert_eq!(read(&format!(" {SECRET_FILE}\n")), Ok(key.public()));
        assert_eq!(read(SECRET_FILE.trim_end_matches('=')), Ok(key.public()));
    }

    #[test]
    fn broken_files() {
        let read = |text: &str| SigningKey::from_file_text(text).map(|k| k.public());
        assert_eq!(read("not a key!"), Err(KeyError::NotBase64));
        assert_eq!(read("AQEB"), Err(KeyError::WrongLength { found: 3, want: 64 }));
        assert_eq!(read(&STANDARD.encode([7; 64])), Err(KeyError::Mismatch));
    }

    #[test]
    fn the_key_option() {
        assert!(matches!(KeyOption::parse("_"), KeyOption::File));
        assert!(matches!(KeyOption::parse("-"), KeyOption::File));
        assert!(matches!(KeyOption::parse(""), KeyOption::Unchecked));
        assert!(matches!(KeyOption::parse(SECRET_FILE), KeyOption::Secret(_)));
        assert!(matches!(KeyOption::parse("my words"), KeyOption::Text(_)));
    }

    #[test]
    fn clients_accept_one_spelling_of_a_public_key() {
        let text = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=";
        assert!(PublicKey::from_base64(text).is_ok());
        assert_eq!(PublicKey::from_base64(&format!(" {text}")), Err(KeyError::NotBase64));
        assert_eq!(PublicKey::from_base64(text.trim_end_matches('=')), Err(KeyError::NotBase64));
    }

    #[test]
    fn signatures() {
        let key = SigningKey::from_seed(&[2; 32]);
        let mut signed = key.sign(b"message");
        assert_eq!(key.public().open(&signed), Some(&b"message"[..]));
        assert_eq!(SigningKey::from_seed(&[3; 32]).public().open(&signed), None);
        signed[70] ^= 1;
        assert_eq!(key.public().open(&signed), None);
        assert_eq!(key.public().open(&[0; 63]), None);
    }

    #[test]
    fn a_configuration_string() {
        let text = "0nIiojI5FGblJnIsIiI6ISawFmIsIySiojI5V2aiwiIx4iMuAjLykTMiojI0N3boJye";
        let want = ServerConfiguration { host: "192.0.2.1".into(), key: "K".into(), ..Default::default() };
        assert_eq!(ServerConfiguration::from_text(text), Ok(want.clone()));
        assert_eq!(ServerConfiguration::from_text(&want.to_text()), Ok(want.clone()));
        assert_eq!(
            ServerConfiguration::from_text(&format!("rustdesk://config/{}", want.to_text())),
            Ok(want)
        );
        assert_eq!(ServerConfiguration::from_text("nonsense"), Err(KeyError::NotAConfiguration));
    }
}
