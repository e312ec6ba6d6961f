//! The viewer: what a person sees of the sessions in a browser, and does there.
//!
//! The page is static; what it shows comes from the JSON below `/view/api` and from one WebSocket for each
//! session that is watched. All of it wants a signed-in person, or a bearer token.

mod input;
mod live;
mod messages;
mod thumbnails;

use crate::auth::{AuthState, Person, protect_browser};
use crate::guard::Guard;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use messages::{AnswerMessage, ApprovalRow, SessionRow};
use policy::{Caller, CallerKind};
use sessions::{Access, SessionId, Sessions, SessionsError};
use std::sync::Arc;
use thumbnails::Thumbnails;

const PAGE: &str = include_str!("assets/viewer.html");
const STYLE: &str = include_str!("assets/viewer.css");
const SCRIPT: &str = include_str!("assets/viewer.js");

/// Nothing from elsewhere, no code in the page itself, nobody's frame.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                              connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Clone)]
struct Viewer {
    sessions: Arc<Sessions>,
    guard: Guard,
    thumbnails: Arc<Thumbnails>,
}

/// Everything below `/view`.
pub fn router(auth: &AuthState, sessions: Arc<Sessions>) -> Router {
    let viewer = Viewer { sessions, guard: auth.guard().clone(), thumbnails: Arc::default() };
    let router = Router::new()
        .route("/view", get(page))
        .route("/view/viewer.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .route("/view/viewer.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/view/api/sessions", get(list))
        .route("/view/api/sessions/{session}/thumbnail", get(thumbnail))
        .route("/view/api/sessions/{session}/live", get(live::open))
        .route("/view/api/approvals", get(approvals))
        .route("/view/api/approvals/{approval}", post(answer))
        .with_state(viewer);
    auth.guard().protect(protect_browser(router, auth))
}

/// Whoever is signed in, as the page is made for him.
async fn page(Extension(caller): Extension<Arc<Caller>>, person: Option<Extension<Person>>) -> Response {
    let csrf = person.map(|Extension(person)| person.csrf).unwrap_or_default();
    let html = PAGE
        .replace("{{csrf}}", &crate::pages::esc(&csrf))
        .replace("{{name}}", &crate::pages::esc(&caller.name));
    let mut response = asset("text/html; charset=utf-8", html);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

fn asset(kind: &'static str, body: impl IntoResponse) -> Response {
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, body).into_response()
}

impl Viewer {
    fn access(&self, caller: &Arc<Caller>) -> Access {
        self.sessions.access(caller)
    }
}

async fn list(State(viewer): State<Viewer>, Extension(caller): Extension<Arc<Caller>>) -> Response {
    let access = viewer.access(&caller);
    let rows: Vec<SessionRow> =
        access.list().iter().map(|summary| SessionRow::of(&access, summary)).collect();
    Json(serde_json::json!({ "sessions": rows })).into_response()
}

async fn thumbnail(
    State(viewer): State<Viewer>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(session): Path<String>,
) -> Response {
    let access = viewer.access(&caller);
    match viewer.thumbnails.get(&access, &SessionId::from_text(session)).await {
        Ok(jpeg) => asset("image/jpeg", jpeg),
        Err(error) => failed(&error),
    }
}

async fn approvals(State(viewer): State<Viewer>, Extension(caller): Extension<Arc<Caller>>) -> Response {
    let waiting = viewer.access(&caller).approvals();
    let open = waiting.iter().filter(|approval| approval.answer.is_none());
    let rows: Vec<ApprovalRow> = open.map(ApprovalRow::of).collect();
    Json(serde_json::json!({ "approvals": rows })).into_response()
}

async fn answer(
    State(viewer): State<Viewer>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(approval): Path<String>,
    Json(message): Json<AnswerMessage>,
) -> Response {
    match viewer.access(&caller).answer(&approval, message.answer).await {
        Ok(approval) => Json(ApprovalRow::of(&approval)).into_response(),
        Err(error) => failed(&error),
    }
}

/// An error as a person reads it.
fn failed(error: &SessionsError) -> Response {
    (status(error), format!("{error}\n")).into_response()
}

fn status(error: &SessionsError) -> StatusCode {
    match error.kind() {
        "not_permitted" | "needs_approval" => StatusCode::FORBIDDEN,
        "human_in_control" => StatusCode::CONFLICT,
        "invalid_argument" | "out_of_bounds" => StatusCode::BAD_REQUEST,
        "session_closed" | "unknown_target" => StatusCode::NOT_FOUND,
        "rate_limited" => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Only a person can take over; tokens watch.
fn is_person(caller: &Caller) -> bool {
    caller.kind == CallerKind::Person
}
