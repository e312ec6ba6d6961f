//! `/authorize`: a client sends a person here; the person decides.

use super::consent::{choices, suggested};
use super::reply::{FORM, read};
use super::request::{AuthorizationRequest, Back, Refused};
use super::{OAuth, Vouched, sign_in};
use crate::auth::browser::to_sign_in;
use crate::auth::{AuthState, Person, Secret, SecretKind, public_id};
use crate::form::Form;
use crate::pages::{self, Choices, ConsentPage, consent, problem};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use reqwest::Url;
use store::{GrantRow, NewCode, StoreError};

/// Shows what a client asks for.
pub(super) async fn ask(State(state): State<AuthState>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let person = match state.person(&parts).await {
        Ok(person) => person,
        Err(error) => return unavailable(&error),
    };
    let Some(oauth) = &state.inner.oauth else { return StatusCode::NOT_FOUND.into_response() };
    let query = parts.uri.query().unwrap_or_default();
    match (state.authorization_request(oauth, query, person.is_some()).await, person) {
        (Err(refused), _) => state.refuse(refused, &parts),
        (Ok(_), None) => to_sign_in(&parts),
        (Ok(asked), Some(person)) => {
            let most = &person.caller.grant;
            let classes = asked.classes.and(most.classes);
            let choices = suggested(most, classes, oauth.config.preselected);
            state.show(oauth, &asked, &person, query, choices, None)
        }
    }
}

/// Takes the person's answer.
pub(super) async fn answer(State(state): State<AuthState>, request: Request) -> Response {
    let (parts, body) = match read(request, FORM).await {
        Ok(read) => read,
        Err(reply) => return problem(reply.status, "This form can not be read", &reply.description),
    };
    let form = match Form::parse(&body) {
        Ok(form) => form,
        Err(error) => {
            return problem(StatusCode::BAD_REQUEST, "This form can not be read", &error.to_string());
        }
    };
    let person = match state.person(&parts).await {
        Ok(Some(person)) => person,
        Ok(None) => {
            return problem(
                StatusCode::UNAUTHORIZED,
                "You are not signed in",
                "Start again from the client.",
            );
        }
        Err(error) => return unavailable(&error),
    };
    if !sign_in::is_own_form(&state, &parts, &form, Some(&person)) {
        return sign_in::foreign_form();
    }
    let Some(oauth) = &state.inner.oauth else { return StatusCode::NOT_FOUND.into_response() };
    let query = form.one("request").ok().flatten().unwrap_or_default();
    // The request is as untrusted as it was when it came.
    let asked = match state.authorization_request(oauth, query, true).await {
        Ok(asked) => asked,
        Err(refused) => return state.refuse(refused, &parts),
    };
    if form.one("decision") != Ok(Some("allow")) {
        state.counters().consents_denied.add();
        tracing::info!(client = asked.client.id, user = person.caller.name, "a consent was refused");
        let parameters = [("error", "access_denied"), ("error_description", "the person refused")];
        return see_other(&asked.back().with(&state.inner.issuer, &parameters));
    }
    state.agree(oauth, asked, &person, query, &form).await
}

impl AuthorizationRequest {
    fn back(&self) -> Back {
        let trusted = self.client.vouched == Vouched::Operator;
        Back { redirect: self.redirect.clone(), state: self.state.clone(), trusted }
    }
}

impl AuthState {
    async fn agree(
        &self,
        oauth: &OAuth,
        asked: AuthorizationRequest,
        person: &Person,
        query: &str,
        form: &Form,
    ) -> Response {
        let most = &person.caller.grant;
        let classes = asked.classes.and(most.classes);
        let chosen = match choices(form) {
            Ok(chosen) => chosen,
            Err(wrong) => {
                let fresh = suggested(most, classes, oauth.config.preselected);
                return self.show(oauth, &asked, person, query, fresh, Some(wrong));
            }
        };
        let (grant, lifetime) = match chosen.grant(most, classes) {
            Ok(granted) => granted,
            Err(wrong) => return self.show(oauth, &asked, person, query, chosen, Some(wrong)),
        };
        let (now, code) = (self.now(), Secret::generate(SecretKind::Code));
        let back = asked.back();
        let consent = GrantRow {
            id: public_id(),
            client: asked.client.id,
            client_name: asked.client.name,
            user: person.caller.name.clone(),
            resource: asked.resource,
            grant,
            created_at: now,
            expires_at: lifetime.map(|seconds| now + seconds),
            revoked_at: None,
            revoked_because: None,
            used_at: None,
        };
        let kept = NewCode {
            hash: code.hash(),
            redirect_uri: asked.redirect_uri,
            challenge: asked.challenge,
            expires_at: now + oauth.config.code_lifetime,
        };
        tracing::info!(
            consent = consent.id,
            client = consent.client,
            user = consent.user,
            classes = %consent.grant.classes,
            targets = %consent.grant.targets,
            "a consent was given"
        );
        if let Err(error) = self.inner.store.add_consent(consent, kept).await {
            return unavailable(&error);
        }
        self.counters().consents_given.add();
        see_other(&back.with(&self.inner.issuer, &[("code", code.expose())]))
    }

    fn show(
        &self,
        oauth: &OAuth,
        asked: &AuthorizationRequest,
        person: &Person,
        query: &str,
        choices: Choices,
        wrong: Option<String>,
    ) -> Response {
        let most = &person.caller.grant;
        let classes = asked.classes.and(most.classes);
        if classes.is_empty() {
            let text = "Your account has none of the rights that this client asks for.";
            return problem(StatusCode::FORBIDDEN, "You can not allow this", text);
        }
        let (host, loopback, source) = Self::destination(asked);
        let status = if wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        let machines = (oauth.config.machines)();
        let page = ConsentPage {
            client: &asked.client.name,
            vouched: &asked.client.vouched,
            redirect_host: &host,
            loopback,
            redirect_source: &source,
            user: &person.caller.name,
            most,
            classes,
            machines: &machines,
            csrf: &person.csrf,
            request: query,
            choices,
            wrong,
        };
        consent(status, &page)
    }

    fn refuse(&self, refused: Refused, parts: &Parts) -> Response {
        match refused {
            Refused::SignIn => to_sign_in(parts),
            Refused::Page { status, reason } => problem(
                status,
                "This request can not be answered",
                &format!("The client is at fault: {reason}."),
            ),
            Refused::Redirect { to, error, description } => {
                let trusted = to.trusted;
                let parameters = [("error", error), ("error_description", description.as_str())];
                let to = to.with(&self.inner.issuer, &parameters);
                // Anybody can register an address. If errors led there by themselves, a link to this server
                // would lead wherever its author likes (RFC 9700 §4.11.2).
                if trusted { see_other(&to) } else { pages::leave(&description, &to) }
            }
        }
    }
}

pub(super) fn unavailable(error: &StoreError) -> Response {
    tracing::error!(kind = error.kind(), %error, "a page could not be answered");
    let text = "The server can not read or keep its state now. Try again later.";
    problem(StatusCode::SERVICE_UNAVAILABLE, "Not now", text)
}

/// On to another address, with GET. Nothing is kept: it can carry a code.
fn see_other(to: &Url) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    match HeaderValue::try_from(to.as_str()) {
        Ok(to) => {
            headers.insert(header::LOCATION, to);
            response
        }
        Err(_) => {
            problem(StatusCode::BAD_REQUEST, "This request can not be answered", "The address is no address.")
        }
    }
}
