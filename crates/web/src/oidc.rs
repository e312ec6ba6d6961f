//! Tokens of another issuer: this server is a resource server alone.
//!
//! The issuer is found by OpenID Connect discovery (or RFC 8414), its keys are fetched when a token names one
//! that is not known, and kept. A token has to be a JWT with an asymmetric signature, of this issuer, for
//! this resource, and within its time. Its scopes become policy classes, by name or by the operator's map.

use crate::auth::{AuthError, is_secure};
use crate::fetch::{Documents, FetchError, Network};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use policy::{Caller, CallerKind, Class, Classes, Grant, Mode, Selector};
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Seconds;
use tokio::sync::Mutex;

/// Of a discovery document or a set of keys, in bytes.
const LARGEST: usize = 256 * 1024;
/// Keys are fetched again after this, so that a withdrawn one is not believed for ever.
const KEYS_LAST: Seconds = 3600;
/// A token can name any key: this often at most one that is not known makes us look.
const LOOK_AGAIN: Seconds = 30;

/// Symmetric ones are not among them: whoever could check such a signature could make it.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// What is believed of which issuer.
#[derive(Debug)]
pub struct OidcConfig {
    /// As in the issuer's own metadata and its tokens.
    pub issuer: String,
    /// Audiences that are ours besides the resource's URL: what the issuer calls this server.
    pub audiences: Vec<String>,
    /// What its scopes (or roles) stand for here. A scope with a class's name stands for that class.
    pub scopes: BTreeMap<String, Classes>,
    /// Claims in which scopes are found: texts with spaces between, or lists.
    pub scope_claims: Vec<String>,
    /// Claim with a selector of machines; a token without it is good for `targets`.
    pub targets_claim: Option<String>,
    pub targets: Selector,
    /// The highest mode of its tokens.
    pub mode: Mode,
    /// Seconds by which its clock may differ from ours.
    pub skew: Seconds,
    /// Where its documents come from; the network if none.
    pub source: Option<Arc<dyn Documents>>,
}

impl OidcConfig {
    pub fn new(issuer: String) -> Self {
        Self {
            issuer,
            audiences: Vec::new(),
            scopes: BTreeMap::new(),
            scope_claims: vec!["scope".into(), "scp".into()],
            targets_claim: None,
            targets: Selector::all(),
            mode: Mode::Edit,
            skew: 60,
            source: None,
        }
    }
}

/// Why a token of the issuer is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    #[error("the token is no JWT with an asymmetric signature")]
    NotJwt,
    #[error("the issuer has no such key")]
    UnknownKey,
    #[error("the signature is wrong")]
    Signature,
    #[error("the claim {claim} is missing or of the wrong kind")]
    Claim { claim: &'static str },
    #[error("the token is another issuer's")]
    Issuer,
    #[error("the token is for somebody else")]
    Audience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    TooEarly,
    #[error("the token has no scope that means anything here")]
    NoScope,
    #[error("the issuer's {what} can not be fetched: {source}")]
    Fetch { what: &'static str, source: FetchError },
    #[error("the issuer's {what} is not as it should be")]
    Document { what: &'static str },
}

impl OidcError {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotJwt => "not_jwt",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Claim { .. } => "claim",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::TooEarly => "too_early",
            Self::NoScope => "no_scope",
            Self::Fetch { .. } => "fetch",
            Self::Document { .. } => "document",
        }
    }

    /// Whether the issuer failed and not the token.
    pub(crate) const fn is_outage(&self) -> bool {
        matches!(self, Self::Fetch { .. } | Self::Document { .. })
    }
}

/// An external issuer.
#[derive(Debug)]
pub(crate) struct Oidc {
    config: OidcConfig,
    url: Url,
    source: Arc<dyn Documents>,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    /// Where the keys are.
    address: Option<Url>,
    keys: Vec<Jwk>,
    fetched_at: Option<Seconds>,
    /// When a fetch was last begun, also in vain.
    tried_at: Option<Seconds>,
}

impl Oidc {
    pub(crate) fn new(config: OidcConfig) -> Result<Self, AuthError> {
        let url = Url::parse(&config.issuer).ok().filter(is_secure);
        let url = url.ok_or_else(|| AuthError::IssuerUrl { url: config.issuer.clone() })?;
        let source = match &config.source {
            Some(source) => Arc::clone(source),
            None => Arc::new(Network::any()?),
        };
        Ok(Self { config, url, source, keys: Mutex::default() })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// Whoever the token stands for.
    pub(crate) async fn caller(
        &self,
        token: &str,
        resource: &str,
        now: Seconds,
    ) -> Result<Caller, OidcError> {
        let header = decode_header(token).map_err(|_| OidcError::NotJwt)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(OidcError::NotJwt);
        }
        let key = self.key(header.kid.as_deref(), header.alg, now).await?;
        let key = DecodingKey::from_jwk(&key).map_err(|_| OidcError::Document { what: "key" })?;
        // Times and names are checked below, by our clock.
        let mut validation = Validation::new(header.alg);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims =
            decode::<Map<String, Value>>(token, &key, &validation).map_err(|_| OidcError::Signature)?;
        self.read(&claims.claims, resource, now)
    }

    fn read(&self, claims: &Map<String, Value>, resource: &str, now: Seconds) -> Result<Caller, OidcError> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.config.issuer) {
            return Err(OidcError::Issuer);
        }
        let ours =
            |audience: &str| audience == resource || self.config.audiences.iter().any(|own| own == audience);
        if !texts(claims.get("aud")).iter().any(|audience| ours(audience)) {
            return Err(OidcError::Audience);
        }
        let skew = self.config.skew;
        let expires = time(claims, "exp")?.ok_or(OidcError::Claim { claim: "exp" })?;
        if expires.saturating_add(skew) <= now {
            return Err(OidcError::Expired);
        }
        for claim in ["nbf", "iat"] {
            if time(claims, claim)?.is_some_and(|from| from.saturating_sub(skew) > now) {
                return Err(OidcError::TooEarly);
            }
        }
        let subject = claims.get("sub").and_then(Value::as_str).ok_or(OidcError::Claim { claim: "sub" })?;
        let name = ["preferred_username", "name", "client_id"].into_iter();
        let name = name.filter_map(|claim| claims.get(claim)?.as_str()).next().unwrap_or(subject);
        let grant = self.grant(claims)?;
        let credential = format!("oidc:{subject}");
        Ok(Caller { credential, name: name.chars().take(80).collect(), kind: CallerKind::Model, grant })
    }

    fn grant(&self, claims: &Map<String, Value>) -> Result<Grant, OidcError> {
        let mut classes = Classes::NONE;
        for claim in &self.config.scope_claims {
            let found = texts(claims.get(claim));
            for scope in found.iter().flat_map(|text| text.split(' ')) {
                let mapped = self.config.scopes.get(scope).copied();
                let named = || scope.parse::<Class>().ok().map(|class| Classes::of(&[class]));
                classes = classes.or(mapped.or_else(named).unwrap_or(Classes::NONE));
            }
        }
        if classes.is_empty() {
            return Err(OidcError::NoScope);
        }
        let targets = match &self.config.targets_claim {
            None => self.config.targets.clone(),
            Some(name) => match claims.get(name) {
                None => self.config.targets.clone(),
                Some(value) => {
                    let text = value.as_str().ok_or(OidcError::Claim { claim: "of the targets" })?;
                    let own: Selector =
                        text.parse().map_err(|_| OidcError::Claim { claim: "of the targets" })?;
                    own.and(self.config.targets.clone())
                }
            },
        };
        Ok(Grant { classes, targets, mode: self.config.mode, toolsets: Vec::new() })
    }

    /// The key that a token names, or the only one that fits where it names none.
    async fn key(&self, id: Option<&str>, algorithm: Algorithm, now: Seconds) -> Result<Jwk, OidcError> {
        let mut keys = self.keys.lock().await;
        let old = keys.fetched_at.is_none_or(|at| now - at >= KEYS_LAST);
        let found = find(&keys.keys, id, algorithm);
        if let (Some(key), false) = (&found, old) {
            return Ok(key.clone());
        }
        let rested = keys.tried_at.is_none_or(|at| now - at >= LOOK_AGAIN);
        if !rested {
            // Old keys are better than none while the issuer is away.
            return found.ok_or(OidcError::UnknownKey);
        }
        keys.tried_at = Some(now);
        match self.fetch(&mut keys, now).await {
            Ok(()) => find(&keys.keys, id, algorithm).ok_or(OidcError::UnknownKey),
            Err(error) => {
                tracing::warn!(kind = error.kind(), %error, "the issuer's keys could not be fetched");
                found.ok_or(error)
            }
        }
    }

    async fn fetch(&self, keys: &mut Keys, now: Seconds) -> Result<(), OidcError> {
        let address = match &keys.address {
            Some(address) => address.clone(),
            None => self.discover().await?,
        };
        let get = self.source.get(address.clone(), LARGEST);
        let document = get.await.map_err(|source| OidcError::Fetch { what: "keys", source })?;
        let set: JwkSet =
            serde_json::from_slice(&document.body).map_err(|_| OidcError::Document { what: "key set" })?;
        let signs =
            |key: &Jwk| key.common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature);
        keys.keys = set.keys.into_iter().filter(signs).collect();
        keys.address = Some(address);
        keys.fetched_at = Some(now);
        Ok(())
    }

    async fn discover(&self) -> Result<Url, OidcError> {
        #[derive(Deserialize)]
        struct Metadata {
            issuer: String,
            jwks_uri: String,
        }
        let what = "metadata";
        let mut last = OidcError::Document { what };
        for address in self.metadata_addresses() {
            match self.source.get(address, LARGEST).await {
                Ok(document) => {
                    let metadata: Metadata =
                        serde_json::from_slice(&document.body).map_err(|_| OidcError::Document { what })?;
                    // RFC 8414 §3.3: who speaks for another issuer is none.
                    let keys = Url::parse(&metadata.jwks_uri).ok().filter(is_secure);
                    let keys = keys.filter(|_| metadata.issuer == self.config.issuer);
                    return keys.ok_or(OidcError::Document { what });
                }
                Err(source) => last = OidcError::Fetch { what, source },
            }
        }
        Err(last)
    }

    /// OpenID Connect puts the well-known part behind the issuer's path, RFC 8414 before it.
    fn metadata_addresses(&self) -> impl Iterator<Item = Url> {
        let path = self.url.path().trim_end_matches('/').to_owned();
        let at = |path: String| {
            let mut url = self.url.clone();
            url.set_path(&path);
            url.set_query(None);
            url
        };
        [
            at(format!("{path}/.well-known/openid-configuration")),
            at(format!("/.well-known/oauth-authorization-server{path}")),
        ]
        .into_iter()
    }
}

fn find(keys: &[Jwk], id: Option<&str>, algorithm: Algorithm) -> Option<Jwk> {
    let fits = |key: &&Jwk| {
        let own = key.common.key_algorithm;
        own.is_none_or(|own| own.to_string() == format!("{algorithm:?}"))
            && DecodingKey::from_jwk(key).is_ok_and(|key| key.family() == algorithm.family())
    };
    match id {
        Some(id) => keys.iter().filter(fits).find(|key| key.common.key_id.as_deref() == Some(id)).cloned(),
        None => {
            let mut fitting = keys.iter().filter(fits);
            let only = fitting.next()?;
            fitting.next().is_none().then(|| only.clone())
        }
    }
}

/// A claim that is a text or a list of texts.
fn texts(claim: Option<&Value>) -> Vec<&str> {
    match claim {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A NumericDate (RFC 7519 §2); the part of a second does not matter.
fn time(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<Seconds>, OidcError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    #[expect(clippy::cast_possible_truncation, reason = "a float outside of the range becomes its end")]
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as Seconds));
    seconds.map(Some).ok_or(OidcError::Claim { claim })
}
