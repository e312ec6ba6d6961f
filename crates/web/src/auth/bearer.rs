//! `Authorization: Bearer` on every request, and what is answered where it is missing or wrong.

use super::limits::network;
use super::{AuthState, SecretKind, address, secret};
use crate::form::Form;
use crate::oidc::OidcError;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use policy::{Caller, CallerKind, Classes, Grant};
use std::sync::Arc;
use std::time::Duration;
use store::{Access, Seconds, StoreError, TokenRow};

/// `used_at` is exact to this.
const NOTED_EVERY: Seconds = 60;
/// The longest credential that is looked at, in bytes: a JWT with many claims.
const LONGEST: usize = 16 * 1024;

/// Why a request has no caller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    #[error("a bearer token is needed")]
    Missing,
    #[error("the Authorization header is not one bearer token")]
    Malformed,
    /// Addresses are logged, kept in histories and sent on as referrers.
    #[error("a token in the address is never accepted; send it in the Authorization header")]
    InAddress,
    #[error("the token is wrong, expired or revoked")]
    Wrong,
    #[error("too many wrong tokens")]
    Limited { wait: Duration },
    #[error("tokens can not be checked now")]
    Store(StoreError),
    #[error("tokens can not be checked now")]
    Issuer(OidcError),
    #[error("sign in first")]
    SignIn,
    #[error("this request does not come from a page of this server")]
    Foreign,
}

/// Lets only requests with a good bearer token reach what `router` has so far; they carry an
/// `Arc<policy::Caller>` in their extensions.
pub fn protect<S: Clone + Send + Sync + 'static>(router: Router<S>, state: &AuthState) -> Router<S> {
    router.layer(middleware::from_fn_with_state(state.clone(), require_bearer))
}

/// Like [`protect`], and lets browsers in in which a person is signed in. A page that nobody may see yet
/// leads to the sign-in and back; a WebSocket has to be opened by one of our own pages; any other request that
/// changes something has to come from one and bring [`Person::csrf`](super::Person::csrf) in the header `X-Deskhand-Csrf`. The request carries a [`Person`](super::Person), too.
pub fn protect_browser<S: Clone + Send + Sync + 'static>(router: Router<S>, state: &AuthState) -> Router<S> {
    router.layer(middleware::from_fn_with_state(state.clone(), require_any))
}

/// Lets only callers that have all of `classes` reach what `router` has so far; the others are told which
/// (RFC 6750 §3.1). Goes inside of [`protect`]: is added to the router before it.
pub fn require<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    state: &AuthState,
    classes: Classes,
) -> Router<S> {
    let state = state.clone();
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let state = state.clone();
        async move {
            match request.extensions().get::<Arc<Caller>>() {
                None => state.deny(&Denied::Missing),
                Some(caller) if classes.without(caller.grant.classes).is_empty() => next.run(request).await,
                Some(_) => state.insufficient_scope(classes),
            }
        }
    }))
}

async fn require_bearer(State(state): State<AuthState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match state.bearer(&parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(denied) => state.deny(&denied),
    }
}

async fn require_any(State(state): State<AuthState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if parts.headers.contains_key(header::AUTHORIZATION) {
        return require_bearer(State(state), Request::from_parts(parts, body), next).await;
    }
    match state.browser(&parts).await {
        Ok(person) => {
            state.counters().browser_accepted.add();
            parts.extensions.insert(Arc::clone(&person.caller));
            parts.extensions.insert(person);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(Denied::SignIn) if super::browser::wants_page(&parts) => super::browser::to_sign_in(&parts),
        Err(denied) => state.deny(&denied),
    }
}

impl AuthState {
    /// Whoever sends this request by its bearer token.
    pub(crate) async fn bearer(&self, parts: &Parts) -> Result<Arc<Caller>, Denied> {
        let result = self.look_up(parts).await;
        let counters = self.counters();
        match &result {
            Ok(_) | Err(Denied::SignIn | Denied::Foreign | Denied::Limited { .. }) => {}
            Err(Denied::Missing) => counters.missing.add(),
            Err(Denied::Store(error)) => {
                counters.unavailable.add();
                tracing::error!(kind = error.kind(), %error, "a token could not be looked up");
            }
            Err(Denied::Issuer(error)) => {
                counters.unavailable.add();
                tracing::warn!(kind = error.kind(), %error, "a token could not be checked");
            }
            Err(Denied::Malformed | Denied::InAddress | Denied::Wrong) => {
                let from = network(address(parts, &self.inner.proxies));
                // A good token is accepted even so: guesses at 200 random bits need no lock-out.
                if let Err(wait) = self.inner.wrong.check(&from) {
                    counters.limited.add();
                    return Err(Denied::Limited { wait });
                }
                counters.refused.add();
                tracing::info!(%from, "a wrong credential");
            }
        }
        result
    }

    async fn look_up(&self, parts: &Parts) -> Result<Arc<Caller>, Denied> {
        let query = Form::parse(parts.uri.query().unwrap_or_default().as_bytes());
        if query.is_ok_and(|query| query.all("access_token").next().is_some()) {
            return Err(Denied::InAddress);
        }
        let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
        let header = headers.next().ok_or(Denied::Missing)?;
        if headers.next().is_some() || header.len() > LONGEST {
            return Err(Denied::Malformed);
        }
        let (scheme, token) =
            header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Denied::Malformed)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Denied::Malformed);
        }
        let (token, now) = (token.trim_matches(' '), self.now());
        let caller = match (secret::parse(token), self.oidc()) {
            (Some((SecretKind::Token, hash)), _) => {
                let row = self.inner.store.token(hash).await.map_err(Denied::Store)?;
                let row = row.filter(|row| row.is_live(now)).ok_or(Denied::Wrong)?;
                self.counters().token_accepted.add();
                self.token_caller(row, now)
            }
            (Some((SecretKind::Access, hash)), _) if self.inner.oauth.is_some() => {
                let access = self.inner.store.access(hash, now).await.map_err(Denied::Store)?;
                let access =
                    access.filter(|a| a.consent.resource == self.inner.resource).ok_or(Denied::Wrong)?;
                self.counters().access_accepted.add();
                self.access_caller(access, now)
            }
            (None, Some(oidc)) => {
                let caller = oidc
                    .caller(token, &self.inner.resource, now)
                    .await
                    .map_err(|error| if error.is_outage() { Denied::Issuer(error) } else { Denied::Wrong })?;
                self.counters().external_accepted.add();
                caller
            }
            _ => return Err(Denied::Wrong),
        };
        Ok(Arc::new(caller))
    }

    fn token_caller(&self, row: TokenRow, now: Seconds) -> Caller {
        if row.used_at.is_none_or(|at| now - at >= NOTED_EVERY) {
            self.inner.store.note_token_used(&row.id, now);
        }
        Caller { credential: format!("token:{}", row.id), name: row.name, kind: row.kind, grant: row.grant }
    }

    fn access_caller(&self, access: Access, now: Seconds) -> Caller {
        let Access { consent, classes, user_grant, .. } = access;
        if consent.used_at.is_none_or(|at| now - at >= NOTED_EVERY) {
            self.inner.store.note_consent_used(&consent.id, now);
        }
        let mut grant = within(consent.grant, &user_grant);
        grant.classes = grant.classes.and(classes);
        let name = format!("{} for {}", consent.client_name, consent.user);
        Caller { credential: format!("consent:{}", consent.id), name, kind: CallerKind::Model, grant }
    }

    /// The answer to a request without a caller.
    pub(crate) fn deny(&self, denied: &Denied) -> Response {
        let metadata = self.resource_metadata();
        let scope = self.inner.offered;
        let (status, challenge) = match denied {
            Denied::Missing => (
                StatusCode::UNAUTHORIZED,
                Some(format!("Bearer resource_metadata=\"{metadata}\", scope=\"{scope}\"")),
            ),
            Denied::Wrong => (
                StatusCode::UNAUTHORIZED,
                Some(format!(
                    "Bearer error=\"invalid_token\", error_description=\"{denied}\", \
                     resource_metadata=\"{metadata}\", scope=\"{scope}\""
                )),
            ),
            Denied::Malformed | Denied::InAddress => (
                StatusCode::BAD_REQUEST,
                Some(format!("Bearer error=\"invalid_request\", error_description=\"{denied}\"")),
            ),
            Denied::Limited { .. } => (StatusCode::TOO_MANY_REQUESTS, None),
            Denied::Store(_) | Denied::Issuer(_) => (StatusCode::SERVICE_UNAVAILABLE, None),
            Denied::SignIn => (StatusCode::UNAUTHORIZED, None),
            Denied::Foreign => (StatusCode::FORBIDDEN, None),
        };
        let mut response = (status, format!("{denied}\n")).into_response();
        let headers = response.headers_mut();
        if let Some(value) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
        if let Denied::Limited { wait } = denied {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        response
    }

    /// 403 for a good token that lacks one of `needed`: all of them in one challenge, so that a client asks its
    /// person once (RFC 6750 §3.1).
    pub fn insufficient_scope(&self, needed: Classes) -> Response {
        let metadata = self.resource_metadata();
        let challenge = format!(
            "Bearer error=\"insufficient_scope\", scope=\"{needed}\", resource_metadata=\"{metadata}\", \
             error_description=\"this needs: {needed}\""
        );
        let mut response =
            (StatusCode::FORBIDDEN, format!("this credential needs the scopes: {needed}\n")).into_response();
        if let Ok(value) = HeaderValue::try_from(challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }

    /// Where the request comes from, through our own proxies.
    pub(crate) fn address(&self, parts: &Parts) -> std::net::IpAddr {
        network(address(parts, &self.inner.proxies))
    }
}

/// What `grant` leaves of itself within `most`.
pub(crate) fn within(grant: Grant, most: &Grant) -> Grant {
    Grant {
        classes: grant.classes.and(most.classes),
        targets: grant.targets.and(most.targets.clone()),
        mode: grant.mode.min(most.mode),
        toolsets: grant.toolsets,
    }
}

/// The caller of a signed-in person.
pub(crate) fn person_caller(name: &str, grant: Grant) -> Caller {
    Caller { credential: format!("user:{name}"), name: name.to_owned(), kind: CallerKind::Person, grant }
}
