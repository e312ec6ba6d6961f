//! `/token` and `/revoke`.

use super::OAuth;
use super::client::{Client, ClientError, document_url};
use super::reply::{ErrorReply, FORM, fresh, read};
use crate::auth::{AuthState, Secret, SecretKind, parse_as};
use crate::form::{Form, FormError, decode};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use policy::Classes;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use store::{
    CodeExchange, Exchanged, NewTokens, RefreshExchange, Refreshed, RevokedToken, Seconds, StoreError,
};
use subtle::ConstantTimeEq as _;

impl From<FormError> for ErrorReply {
    fn from(error: FormError) -> Self {
        Self::bad("invalid_request", error)
    }
}

impl From<StoreError> for ErrorReply {
    fn from(error: StoreError) -> Self {
        Self::unavailable(&error)
    }
}

/// Exchanges a code or a refresh token.
pub(super) async fn token(State(state): State<AuthState>, request: Request) -> Response {
    state.token(request).await.unwrap_or_else(ErrorReply::into_response)
}

/// Ends a token (RFC 7009). A token that is none of the client's is fine, too: it is not good for anything.
pub(super) async fn revoke(State(state): State<AuthState>, request: Request) -> Response {
    state.revoke(request).await.unwrap_or_else(ErrorReply::into_response)
}

/// A pair of tokens to be, and what to keep of it.
struct Pair {
    access: Secret,
    refresh: Secret,
    kept: NewTokens,
}

impl Pair {
    fn new(oauth: &OAuth, now: Seconds) -> Self {
        let (access, refresh) = (Secret::generate(SecretKind::Access), Secret::generate(SecretKind::Refresh));
        let kept = NewTokens {
            access: access.hash(),
            access_expires_at: now + oauth.config.access_lifetime,
            refresh: refresh.hash(),
            refresh_expires_at: now + oauth.config.refresh_lifetime,
        };
        Self { access, refresh, kept }
    }

    fn answer(&self, classes: Classes, expires_at: Option<Seconds>, now: Seconds) -> Response {
        let until =
            expires_at.map_or(self.kept.access_expires_at, |end| end.min(self.kept.access_expires_at));
        let body = json!({
            "access_token": self.access.expose(),
            "token_type": "Bearer",
            "expires_in": until - now,
            "refresh_token": self.refresh.expose(),
            "scope": classes.to_string(),
        });
        fresh(StatusCode::OK, &body)
    }
}

impl AuthState {
    async fn token(&self, request: Request) -> Result<Response, ErrorReply> {
        let (oauth, parts, form) = self.read_form(request).await?;
        let client = self.authenticate(oauth, &parts, &form).await?;
        match form.one("grant_type")? {
            Some("authorization_code") => self.exchange(oauth, &client, &form).await,
            Some("refresh_token") => self.renew(oauth, &client, &form).await,
            Some(_) => {
                Err(ErrorReply::bad("unsupported_grant_type", "there are: authorization_code, refresh_token"))
            }
            None => Err(ErrorReply::bad("invalid_request", "grant_type is missing")),
        }
    }

    async fn exchange(&self, oauth: &OAuth, client: &str, form: &Form) -> Result<Response, ErrorReply> {
        let now = self.now();
        let code = required(form, "code")?;
        let code =
            parse_as(SecretKind::Code, code).ok_or_else(|| invalid_grant("the code is none of ours"))?;
        let verifier = required(form, "code_verifier")?;
        if !is_verifier(verifier) {
            return Err(invalid_grant("code_verifier has to be 43 to 128 unreserved characters"));
        }
        let pair = Pair::new(oauth, now);
        let with = CodeExchange {
            code,
            client: client.to_owned(),
            redirect_uri: required(form, "redirect_uri")?.to_owned(),
            challenge: URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)),
            resource: self.named_resource(form)?,
            tokens: pair.kept,
        };
        let error = match self.inner.store.exchange_code(with, now).await? {
            Exchanged::Issued(consent) => {
                self.counters().tokens_issued.add();
                tracing::info!(consent = consent.id, client, user = consent.user, "tokens were issued");
                return Ok(pair.answer(consent.grant.classes, consent.expires_at, now));
            }
            Exchanged::Replayed { consent } => {
                self.counters().codes_replayed.add();
                tracing::warn!(consent, client, "a code was used twice; what came of it has been revoked");
                "the code was used before; everything that came of it has been revoked".to_owned()
            }
            Exchanged::Unknown => "the code is not known".to_owned(),
            Exchanged::Expired => "the code has expired".to_owned(),
            Exchanged::Revoked => "the consent was withdrawn".to_owned(),
            Exchanged::Mismatch { what } => format!("{what} is another than that of the request"),
        };
        Err(invalid_grant(error))
    }

    async fn renew(&self, oauth: &OAuth, client: &str, form: &Form) -> Result<Response, ErrorReply> {
        let now = self.now();
        let refresh = parse_as(SecretKind::Refresh, required(form, "refresh_token")?)
            .ok_or_else(|| invalid_grant("the refresh token is none of ours"))?;
        let classes = match form.one("scope")? {
            Some(scope) => Some(asked_again(scope)?),
            None => None,
        };
        let pair = Pair::new(oauth, now);
        let with = RefreshExchange {
            refresh,
            client: client.to_owned(),
            classes,
            resource: self.named_resource(form)?,
            tokens: pair.kept,
        };
        let error = match self.inner.store.refresh(with, now).await? {
            Refreshed::Issued(consent, classes) => {
                self.counters().tokens_refreshed.add();
                return Ok(pair.answer(classes, consent.expires_at, now));
            }
            Refreshed::TooMuch => {
                return Err(ErrorReply::bad("invalid_scope", "more was asked for than was granted"));
            }
            Refreshed::Reused { consent } => {
                self.counters().refresh_reused.add();
                tracing::warn!(
                    consent,
                    client,
                    "a refresh token was used twice; the consent has been revoked"
                );
                "the refresh token was used before; all tokens of this consent have been revoked".to_owned()
            }
            Refreshed::Unknown => "the refresh token is not known".to_owned(),
            Refreshed::Expired => "the refresh token has expired".to_owned(),
            Refreshed::Revoked => "the consent was withdrawn or has expired".to_owned(),
            Refreshed::Mismatch { what } => format!("{what} is another than that of the consent"),
        };
        Err(invalid_grant(error))
    }

    async fn revoke(&self, request: Request) -> Result<Response, ErrorReply> {
        let (oauth, parts, form) = self.read_form(request).await?;
        let client = self.authenticate(oauth, &parts, &form).await?;
        let token = required(&form, "token")?;
        let hash = parse_as(SecretKind::Refresh, token).or_else(|| parse_as(SecretKind::Access, token));
        if let Some(hash) = hash {
            let revoked = self.inner.store.revoke_issued(hash, &client, self.now()).await?;
            if revoked != RevokedToken::Nothing {
                self.counters().tokens_revoked.add();
                tracing::info!(client, ?revoked, "a client revoked a token");
            }
        }
        Ok(fresh(StatusCode::OK, &json!({})))
    }

    async fn read_form(&self, request: Request) -> Result<(&OAuth, Parts, Form), ErrorReply> {
        let (parts, body) = read(request, FORM).await?;
        // Addresses are logged and sent on; codes and secrets stay out of them.
        if parts.uri.query().is_some() {
            return Err(ErrorReply::bad("invalid_request", "parameters belong into the body"));
        }
        let oauth = self.inner.oauth.as_ref();
        let oauth = oauth.ok_or_else(|| ErrorReply::bad("invalid_request", "no tokens are issued here"))?;
        Ok((oauth, parts, Form::parse(&body)?))
    }

    /// The id of the client that sends this, proved if it has a secret.
    async fn authenticate(&self, oauth: &OAuth, parts: &Parts, form: &Form) -> Result<String, ErrorReply> {
        let failed = |description: &str| ErrorReply {
            status: StatusCode::UNAUTHORIZED,
            error: "invalid_client",
            description: description.to_owned(),
        };
        let posted = (form.one("client_id")?, form.one("client_secret")?);
        let basic = basic(&parts.headers).map_err(failed)?;
        // A client with a secret may send it either way, whichever it registered: the proof is the same.
        let (id, secret) = match (&basic, posted) {
            (Some((id, secret)), (posted, None)) if posted.is_none_or(|posted| posted == id) => {
                (id.as_str(), Some(secret.as_str()).filter(|secret| !secret.is_empty()))
            }
            (Some(_), _) => return Err(ErrorReply::bad("invalid_request", "the client is named twice")),
            (None, (Some(id), secret)) => (id, secret),
            (None, (None, _)) => return Err(failed("client_id is missing")),
        };
        // The document is not needed again: the code is the client's, and the client has no secret.
        if document_url(id).is_some() {
            return if secret.is_none() {
                Ok(id.to_owned())
            } else {
                Err(failed("this client has no secret"))
            };
        }
        let client: Client = match self.client(oauth, id).await {
            Ok(client) => client,
            Err(ClientError::Store(error)) => return Err(error.into()),
            Err(error) => return Err(failed(&error.to_string())),
        };
        let given = secret.and_then(|secret| parse_as(SecretKind::Client, secret));
        let proved = match (client.secret, given) {
            (None, None) => secret.is_none(),
            (Some(own), Some(given)) => bool::from(own.ct_eq(&given)),
            _ => false,
        };
        if proved { Ok(client.id) } else { Err(failed("the client did not prove who it is")) }
    }

    fn named_resource(&self, form: &Form) -> Result<Option<String>, ErrorReply> {
        if form.all("resource").next().is_none() {
            return Ok(None);
        }
        self.audience(form).map(Some).map_err(|what| ErrorReply::bad("invalid_target", what))
    }
}

fn invalid_grant(description: impl ToString) -> ErrorReply {
    ErrorReply::bad("invalid_grant", description)
}

fn required<'a>(form: &'a Form, name: &'static str) -> Result<&'a str, ErrorReply> {
    form.one(name)?.ok_or_else(|| ErrorReply::bad("invalid_request", format!("{name} is missing")))
}

fn asked_again(scope: &str) -> Result<Classes, ErrorReply> {
    let names: Vec<&str> = scope.split(' ').filter(|name| *name != "offline_access").collect();
    names.join(" ").parse().map_err(|error| ErrorReply::bad("invalid_scope", error))
}

/// RFC 7636 §4.1.
fn is_verifier(text: &str) -> bool {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&text.len()) && text.bytes().all(unreserved)
}

/// Id and secret of `Authorization: Basic`, each form-encoded within (RFC 6749 §2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<(String, String)>, &'static str> {
    let mut headers = headers.get_all(header::AUTHORIZATION).iter();
    let Some(header) = headers.next() else { return Ok(None) };
    let read = || -> Option<(String, String)> {
        let (scheme, value) = header.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") || headers.next().is_some() {
            return None;
        }
        let bytes = STANDARD.decode(value.trim()).ok()?;
        let at = bytes.iter().position(|byte| *byte == b':')?;
        Some((decode(&bytes[..at], true).ok()?, decode(&bytes[at + 1..], true).ok()?))
    };
    let mut read = read;
    read().map(Some).ok_or("the Authorization header is not one of the client's id and secret")
}
