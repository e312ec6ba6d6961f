//! People in browsers: a cookie, and proof that a request comes from our own pages.

use super::bearer::{Denied, person_caller};
use super::{AuthState, Secret, SecretKind, derived, parse_as};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use policy::Caller;
use reqwest::Url;
use std::sync::Arc;
use store::{Hash, Seconds, StoreError, UserRow};
use subtle::ConstantTimeEq as _;

/// A sign-in lasts a working day.
const LASTS: Seconds = 12 * 3600;
/// Header in which our own scripts bring [`Person::csrf`].
const CSRF_HEADER: &str = "x-deskhand-csrf";

/// A person who is signed in in a browser.
#[derive(Debug, Clone)]
pub struct Person {
    pub caller: Arc<Caller>,
    /// What a form or a script of this browser's session brings along with whatever changes something.
    pub csrf: String,
    pub(crate) session: Hash,
}

impl Person {
    pub(crate) fn is_csrf(&self, text: &str) -> bool {
        bool::from(self.csrf.as_bytes().ct_eq(text.as_bytes()))
    }
}

impl AuthState {
    /// Who is signed in in the browser that sends this, if anybody is.
    pub(crate) async fn person(&self, parts: &Parts) -> Result<Option<Person>, StoreError> {
        let Some(cookie) = self.cookie(parts) else { return Ok(None) };
        let Some(session) = parse_as(SecretKind::Session, cookie) else { return Ok(None) };
        let row = self.inner.store.session(session, self.now()).await?;
        Ok(row.map(|row| {
            let caller = Arc::new(person_caller(&row.user.name, row.user.grant));
            Person { caller, csrf: derived(cookie, "csrf"), session }
        }))
    }

    /// Like [`person`](Self::person), for requests of scripts: those that change something prove that they
    /// come from our pages.
    pub(crate) async fn browser(&self, parts: &Parts) -> Result<Person, Denied> {
        let person = self.person(parts).await.map_err(Denied::Store)?.ok_or(Denied::SignIn)?;
        let own = self.inner.guard.is_own_page(&parts.uri, &parts.headers);
        // A socket changes things by what is sent over it, and pages can not add headers to its request.
        if parts.headers.contains_key(header::UPGRADE) || parts.method == Method::CONNECT {
            return if own { Ok(person) } else { Err(Denied::Foreign) };
        }
        if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(person);
        }
        let csrf = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if own && person.is_csrf(csrf) { Ok(person) } else { Err(Denied::Foreign) }
    }

    /// Signs somebody in: the value for `Set-Cookie`.
    pub(crate) async fn sign_in(&self, user: &UserRow) -> Result<HeaderValue, StoreError> {
        let (secret, now) = (Secret::generate(SecretKind::Session), self.now());
        self.inner.store.add_session(secret.hash(), &user.name, now, now + LASTS).await?;
        Ok(self.set_cookie(secret.expose(), LASTS))
    }

    /// Removes the cookie.
    pub(crate) fn forget_cookie(&self) -> HeaderValue {
        self.set_cookie("", 0)
    }

    fn set_cookie(&self, value: &str, max_age: Seconds) -> HeaderValue {
        // Lax: a client's page leads here to ask for consent. Such requests change nothing.
        let (name, secure) = self.cookie_name();
        let secure = if secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
        // All of it is ASCII of ours.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }

    /// With `__Host-`, no other site of the domain and no unencrypted page can set it. Plain on loopback,
    /// where there is no TLS.
    fn cookie_name(&self) -> (&'static str, bool) {
        let https = self.inner.public_url.scheme() == "https";
        if https { ("__Host-deskhand", true) } else { ("deskhand", false) }
    }

    fn cookie<'a>(&self, parts: &'a Parts) -> Option<&'a str> {
        let (name, _) = self.cookie_name();
        let lines = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// A path of this server out of what a request asks to be led back to; the start page for all else.
    pub(crate) fn local_path(&self, next: Option<&str>) -> String {
        let next = next.filter(|next| next.starts_with('/')).and_then(|next| {
            let url = self.inner.public_url.join(next).ok()?;
            let same = url.origin() == self.inner.public_url.origin() && url.username().is_empty();
            same.then(|| path_and_query(&url))
        });
        // The path of another address could itself begin with two slashes.
        next.filter(|next| !next.starts_with("//")).unwrap_or_else(|| "/account".to_owned())
    }
}

fn path_and_query(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// Whether a person looks at the answer.
pub(crate) fn wants_page(parts: &Parts) -> bool {
    let accepts = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    parts.method == Method::GET && accepts.is_some_and(|types| types.contains("text/html"))
}

/// To the sign-in and back here.
pub(crate) fn to_sign_in(parts: &Parts) -> Response {
    let here = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    // The base is never seen.
    let Ok(mut url) = Url::parse("http://local/sign-in") else {
        return Redirect::to("/sign-in").into_response();
    };
    url.query_pairs_mut().append_pair("next", here);
    Redirect::to(&path_and_query(&url)).into_response()
}
