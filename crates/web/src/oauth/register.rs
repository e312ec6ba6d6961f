//! `/register`: clients make themselves known (RFC 7591).
//!
//! Anybody can register; it gives nothing but a name that a person is asked about. What it could cost is
//! bounded: in size, per address, and in all.

use super::client::{AUTH_METHODS, may_register, shown_name};
use super::reply::{ErrorReply, fresh, read};
use crate::auth::{AuthState, Secret, SecretKind, public_id};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;
use store::{ClientRow, Seconds};

/// Clients for which nobody agreed to anything go after a week, or when there are too many after an hour.
const UNUSED_FOR: Seconds = 7 * 24 * 3600;
const UNUSED_FOR_WHEN_FULL: Seconds = 3600;

#[derive(Deserialize)]
struct Registration {
    redirect_uris: Vec<String>,
    #[serde(default)]
    client_name: Option<String>,
    #[serde(default)]
    token_endpoint_auth_method: Option<String>,
    #[serde(default)]
    grant_types: Option<Vec<String>>,
    #[serde(default)]
    response_types: Option<Vec<String>>,
}

pub(super) async fn register(State(state): State<AuthState>, request: Request) -> Response {
    let answer = state.register(request).await;
    if answer.is_err() {
        state.counters().clients_refused.add();
    }
    answer.unwrap_or_else(ErrorReply::into_response)
}

impl AuthState {
    async fn register(&self, request: Request) -> Result<Response, ErrorReply> {
        let (parts, body) = read(request, "application/json").await?;
        let Some(oauth) = &self.inner.oauth else {
            return Err(ErrorReply::bad("invalid_request", "clients do not register here"));
        };
        if let Err(wait) = self.inner.registrations.check(&self.address(&parts)) {
            return Ok(too_many(wait.as_secs() + 1));
        }
        let invalid = |what: &str| ErrorReply::bad("invalid_client_metadata", what);
        let asked: Registration = serde_json::from_slice(&body)
            .map_err(|error| invalid(&format!("the body is no client's metadata: {error}")))?;
        if !may_register(&asked.redirect_uris, &oauth.config.extra_redirects) {
            let what = "redirect_uris have to be https or loopback addresses, without fragments";
            return Err(ErrorReply::bad("invalid_redirect_uri", what));
        }
        let auth_method = asked.token_endpoint_auth_method.unwrap_or_else(|| "client_secret_basic".into());
        if !AUTH_METHODS.contains(&auth_method.as_str()) {
            return Err(invalid("token_endpoint_auth_method is none of ours"));
        }
        let grants = asked.grant_types.unwrap_or_else(|| vec!["authorization_code".into()]);
        let known = |name: &String| matches!(name.as_str(), "authorization_code" | "refresh_token");
        if !grants.iter().all(known) || !grants.iter().any(|name| name == "authorization_code") {
            return Err(invalid("grant_types can be authorization_code and refresh_token"));
        }
        if asked.response_types.is_some_and(|types| types != ["code"]) {
            return Err(invalid("response_types can be code"));
        }
        let secret = (auth_method != "none").then(|| Secret::generate(SecretKind::Client));
        let row = ClientRow {
            id: public_id(),
            secret: secret.as_ref().map(Secret::hash),
            name: shown_name(asked.client_name.as_deref()).unwrap_or_else(|| "(without a name)".into()),
            redirect_uris: asked.redirect_uris,
            auth_method,
            created_at: self.now(),
            used_at: None,
        };
        let most = oauth.config.most_clients;
        let add = |unused_for| self.inner.store.add_client(row.clone(), unused_for, most);
        if !add(UNUSED_FOR).await? && !add(UNUSED_FOR_WHEN_FULL).await? {
            tracing::warn!(most, "no more clients can register");
            return Ok(too_many(3600));
        }
        self.counters().clients_registered.add();
        tracing::info!(client = row.id, name = row.name, "a client has registered");
        let mut document = json!({
            "client_id": row.id,
            "client_id_issued_at": row.created_at,
            "client_name": row.name,
            "redirect_uris": row.redirect_uris,
            "token_endpoint_auth_method": row.auth_method,
            "grant_types": grants,
            "response_types": ["code"],
        });
        if let Some(secret) = secret {
            document["client_secret"] = json!(secret.expose());
            document["client_secret_expires_at"] = json!(0);
        }
        Ok(fresh(StatusCode::CREATED, &document))
    }
}

fn too_many(wait: u64) -> Response {
    let reply = ErrorReply {
        status: StatusCode::TOO_MANY_REQUESTS,
        error: "temporarily_unavailable",
        description: "too many clients have registered; try again later".into(),
    };
    let mut response = reply.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
    response
}
