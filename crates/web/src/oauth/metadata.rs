//! What clients read first: about the resource (RFC 9728) and about the authorisation server (RFC 8414).

use crate::auth::AuthState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// `/.well-known/oauth-protected-resource`: of the only resource there is.
pub(super) async fn resource(State(state): State<AuthState>) -> Json<Value> {
    Json(describe_resource(&state))
}

/// The same with the resource's path after it (RFC 9728 §3.1).
pub(super) async fn resource_at(State(state): State<AuthState>, Path(path): Path<String>) -> Response {
    let wanted = format!("{}/{path}", state.inner.issuer);
    if wanted == state.inner.resource {
        Json(describe_resource(&state)).into_response()
    } else {
        (StatusCode::NOT_FOUND, "there is no such resource\n").into_response()
    }
}

fn describe_resource(state: &AuthState) -> Value {
    let inner = &state.inner;
    let issuers: Vec<&str> = match (state.oidc(), &inner.oauth) {
        (Some(oidc), _) => vec![oidc.issuer()],
        (None, Some(_)) => vec![&inner.issuer],
        (None, None) => Vec::new(),
    };
    let mut document = json!({
        "resource": inner.resource,
        "resource_name": "Deskhand",
        "bearer_methods_supported": ["header"],
        "scopes_supported": inner.offered,
    });
    if !issuers.is_empty() {
        document["authorization_servers"] = json!(issuers);
    }
    document
}

/// `/.well-known/oauth-authorization-server`; some clients look at `/.well-known/openid-configuration` only.
pub(super) async fn server(State(state): State<AuthState>) -> Json<Value> {
    let inner = &state.inner;
    let at = |path: &str| format!("{}{path}", inner.issuer);
    let methods = super::client::AUTH_METHODS;
    let mut document = json!({
        "issuer": inner.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "revocation_endpoint": at("/revoke"),
        "scopes_supported": inner.offered,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "protected_resources": [inner.resource],
    });
    if let Some(oauth) = &inner.oauth {
        document["client_id_metadata_document_supported"] = json!(oauth.config.documents);
        if oauth.config.registration {
            document["registration_endpoint"] = json!(at("/register"));
        }
    }
    Json(document)
}
