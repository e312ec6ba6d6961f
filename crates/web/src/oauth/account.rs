//! `/account`: what a person has granted, and taking it back.

use super::authorize::unavailable;
use super::sign_in::{foreign_form, is_own_form, read_page_form};
use crate::auth::AuthState;
use crate::auth::browser::to_sign_in;
use crate::pages;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};

pub(super) async fn page(State(state): State<AuthState>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let person = match state.person(&parts).await {
        Ok(Some(person)) => person,
        Ok(None) => return to_sign_in(&parts),
        Err(error) => return unavailable(&error),
    };
    let now = state.now();
    match state.inner.store.consents(Some(&person.caller.name), now).await {
        Ok(consents) => pages::account(&person.caller.name, &person.csrf, &consents, now),
        Err(error) => unavailable(&error),
    }
}

pub(super) async fn revoke(State(state): State<AuthState>, request: Request) -> Response {
    let (parts, form) = match read_page_form(request).await {
        Ok(read) => read,
        Err(refused) => return refused,
    };
    let person = match state.person(&parts).await {
        Ok(Some(person)) => person,
        Ok(None) => return Redirect::to("/sign-in?next=/account").into_response(),
        Err(error) => return unavailable(&error),
    };
    if !is_own_form(&state, &parts, &form, Some(&person)) {
        return foreign_form();
    }
    let Ok(Some(consent)) = form.one("consent") else {
        return pages::problem(StatusCode::BAD_REQUEST, "Nothing was revoked", "The form names no consent.");
    };
    match state.inner.store.revoke_consent(consent, Some(&person.caller.name), state.now()).await {
        Ok(revoked) => {
            tracing::info!(consent, user = person.caller.name, revoked, "a consent was withdrawn");
            Redirect::to("/account").into_response()
        }
        Err(error) => unavailable(&error),
    }
}
