//! `/sign-in` and `/sign-out`.

use super::reply::{FORM, read};
use crate::auth::{AuthState, Person, verify_password};
use crate::form::Form;
use crate::pages;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use std::time::Duration;
use store::StoreError;

/// Of a name, in bytes.
const LONGEST_NAME: usize = 64;

pub(super) async fn page(State(state): State<AuthState>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let form = Form::parse(query.as_bytes()).unwrap_or_default();
    let next = state.local_path(form.one("next").ok().flatten());
    pages::sign_in(StatusCode::OK, &next, "", None)
}

pub(super) async fn sign_in(State(state): State<AuthState>, request: Request) -> Response {
    let (parts, form) = match read_page_form(request).await {
        Ok(read) => read,
        Err(refused) => return refused,
    };
    if !is_own_form(&state, &parts, &form, None) {
        return foreign_form();
    }
    let field = |name| form.one(name).ok().flatten().unwrap_or_default();
    let (name, next) = (field("name").trim(), state.local_path(Some(field("next"))));
    let address = state.address(&parts);
    let again = |status, text: &str| pages::sign_in(status, &next, name, Some(text));
    if name.is_empty() || name.len() > LONGEST_NAME {
        return again(StatusCode::UNAUTHORIZED, "Name or password is wrong.");
    }
    let tries = state.inner.sign_in_address.check(&address);
    if let Err(wait) = tries.and_then(|()| state.inner.sign_in_name.check(&name.to_lowercase())) {
        state.counters().sign_in_limited.add();
        tracing::warn!(%address, user = name, "too many sign-ins");
        return too_many(wait, again(StatusCode::TOO_MANY_REQUESTS, "Too many tries. Wait a moment."));
    }
    let user = match state.inner.store.user(name).await {
        Ok(user) => user,
        Err(error) => return super::authorize::unavailable(&error),
    };
    let hash = user.as_ref().map(|user| user.password.clone());
    let right = verify_password(field("password").to_owned().into(), hash).await;
    let Some(user) = user.filter(|_| right) else {
        state.counters().sign_in_refused.add();
        tracing::warn!(%address, user = name, "a sign-in was refused");
        return again(StatusCode::UNAUTHORIZED, "Name or password is wrong.");
    };
    match state.sign_in(&user).await {
        Ok(cookie) => {
            state.counters().sign_in_accepted.add();
            tracing::info!(%address, user = user.name, "a person signed in");
            with_cookie(Redirect::to(&next).into_response(), cookie)
        }
        Err(error) => super::authorize::unavailable(&error),
    }
}

pub(super) async fn sign_out(State(state): State<AuthState>, request: Request) -> Response {
    let (parts, form) = match read_page_form(request).await {
        Ok(read) => read,
        Err(refused) => return refused,
    };
    let ended: Result<bool, StoreError> = async {
        let Some(person) = state.person(&parts).await? else { return Ok(true) };
        if !is_own_form(&state, &parts, &form, Some(&person)) {
            return Ok(false);
        }
        state.inner.store.end_session(person.session).await.map(|()| true)
    }
    .await;
    match ended {
        Ok(true) => with_cookie(Redirect::to("/sign-in").into_response(), state.forget_cookie()),
        Ok(false) => foreign_form(),
        Err(error) => super::authorize::unavailable(&error),
    }
}

/// A form that a browser sends.
pub(super) async fn read_page_form(request: Request) -> Result<(Parts, Form), Response> {
    let unreadable = |status, text: &str| pages::problem(status, "This form can not be read", text);
    let (parts, body) =
        read(request, FORM).await.map_err(|reply| unreadable(reply.status, &reply.description))?;
    let form = Form::parse(&body).map_err(|error| unreadable(StatusCode::BAD_REQUEST, &error.to_string()))?;
    Ok((parts, form))
}

/// Whether a form was filled in on a page of ours; where somebody is signed in, on one that was made for this
/// sign-in.
pub(super) fn is_own_form(state: &AuthState, parts: &Parts, form: &Form, person: Option<&Person>) -> bool {
    let csrf = form.one("csrf").ok().flatten().unwrap_or_default();
    state.inner.guard.is_own_page(&parts.uri, &parts.headers)
        && person.is_none_or(|person| person.is_csrf(csrf))
}

pub(super) fn foreign_form() -> Response {
    let text =
        "It does not come from a page of this server that is still good. Go back, reload and try again.";
    pages::problem(StatusCode::FORBIDDEN, "This form was not accepted", text)
}

fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn too_many(wait: Duration, mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    response
}
