//! What a client asks of a person, checked.

use super::client::{Client, ClientError, document_url, is_same_redirect, may_redirect};
use super::{OAuth, Vouched};
use crate::auth::AuthState;
use crate::form::{Form, FormError};
use axum::http::StatusCode;
use policy::{Class, Classes};
use reqwest::Url;

/// The longest request, in bytes: it is carried through the sign-in and the consent page.
const LONGEST: usize = 8 * 1024;
/// Of `state`, which comes back in a header.
const LONGEST_STATE: usize = 4 * 1024;

/// A request that a person can be asked about.
#[derive(Debug, Clone)]
pub(super) struct AuthorizationRequest {
    pub(super) client: Client,
    /// As the client wrote it.
    pub(super) redirect_uri: String,
    pub(super) redirect: Url,
    pub(super) state: Option<String>,
    pub(super) challenge: String,
    /// What was asked for, within what is offered.
    pub(super) classes: Classes,
    pub(super) resource: String,
}

/// What is wrong with a request.
#[derive(Debug)]
pub(super) enum Refused {
    /// Nobody can be told but the person in front of the browser: where to send an answer is not known.
    Page { status: StatusCode, reason: String },
    /// The client is told.
    Redirect { to: Box<Back>, error: &'static str, description: String },
    /// A person has to be signed in before we look any further.
    SignIn,
}

/// Where answers to a client go.
#[derive(Debug, Clone)]
pub(super) struct Back {
    pub(super) redirect: Url,
    pub(super) state: Option<String>,
    /// Whether this server itself knows the address, so that a browser may be led there by itself.
    pub(super) trusted: bool,
}

impl Back {
    /// The address with these parameters, `state` and `iss` (RFC 9207) added.
    pub(super) fn with(mut self, issuer: &str, parameters: &[(&str, &str)]) -> Url {
        {
            let mut query = self.redirect.query_pairs_mut();
            query.extend_pairs(parameters);
            if let Some(state) = &self.state {
                query.append_pair("state", state);
            }
            query.append_pair("iss", issuer);
        }
        self.redirect
    }
}

fn page(status: StatusCode, reason: impl ToString) -> Refused {
    Refused::Page { status, reason: reason.to_string() }
}

fn bad(error: &FormError) -> Refused {
    page(StatusCode::BAD_REQUEST, error)
}

impl AuthState {
    /// Reads the query of `/authorize`. Documents about clients are fetched for people alone: a stranger can not
    /// make this server send requests.
    pub(super) async fn authorization_request(
        &self,
        oauth: &OAuth,
        query: &str,
        signed_in: bool,
    ) -> Result<AuthorizationRequest, Refused> {
        if query.len() > LONGEST {
            return Err(page(StatusCode::URI_TOO_LONG, "the request is too long"));
        }
        let form = Form::parse(query.as_bytes()).map_err(|error| bad(&error))?;
        let one = |name| form.one(name).map_err(|error| bad(&error));
        let id = one("client_id")?.ok_or_else(|| page(StatusCode::BAD_REQUEST, "client_id is missing"))?;
        if document_url(id).is_some() && !signed_in {
            return Err(Refused::SignIn);
        }
        let client = self.client(oauth, id).await.map_err(|error| match error {
            ClientError::Store(error) => {
                tracing::error!(kind = error.kind(), %error, "a client could not be looked up");
                page(StatusCode::SERVICE_UNAVAILABLE, "the server can not read its state now")
            }
            other => page(StatusCode::BAD_REQUEST, other),
        })?;
        let redirect_uri = one("redirect_uri")?;
        let redirect_uri = redirect_to(&client, redirect_uri, &oauth.config.extra_redirects)?;
        let redirect = Url::parse(&redirect_uri).map_err(|error| page(StatusCode::BAD_REQUEST, error))?;
        let state = one("state")?.map(str::to_owned);
        if state.as_ref().is_some_and(|state| state.len() > LONGEST_STATE) {
            return Err(page(StatusCode::BAD_REQUEST, "state is too long"));
        }
        // From here on the client can be told.
        let trusted = client.vouched == Vouched::Operator;
        let back = Back { redirect: redirect.clone(), state: state.clone(), trusted };
        let checked = self.check(&form).map_err(|(error, description)| {
            let to = Box::new(back);
            Refused::Redirect { to, error, description }
        })?;
        let (challenge, classes, resource) = checked;
        Ok(AuthorizationRequest { client, redirect_uri, redirect, state, challenge, classes, resource })
    }

    fn check(&self, form: &Form) -> Result<(String, Classes, String), (&'static str, String)> {
        let one = |name| form.one(name).map_err(|error| ("invalid_request", error.to_string()));
        match one("response_type")? {
            Some("code") => {}
            None => return Err(("invalid_request", "response_type is missing".into())),
            Some(_) => return Err(("unsupported_response_type", "only code is supported".into())),
        }
        if one("response_mode")?.is_some_and(|mode| mode != "query") {
            return Err(("invalid_request", "only the response mode query is supported".into()));
        }
        if one("request")?.is_some() {
            return Err(("request_not_supported", "request objects are not supported".into()));
        }
        if one("request_uri")?.is_some() {
            return Err(("request_uri_not_supported", "request objects are not supported".into()));
        }
        // Without a method, plain is meant: that anybody who sees the request could answer.
        if one("code_challenge_method")? != Some("S256") {
            return Err(("invalid_request", "PKCE with code_challenge_method=S256 is needed".into()));
        }
        let challenge = one("code_challenge")?.filter(|text| is_challenge(text));
        let challenge = challenge
            .ok_or(("invalid_request", "code_challenge has to be 43 characters of base64url".into()))?;
        let resource = self.audience(form).map_err(|what| ("invalid_target", what.to_owned()))?;
        let classes = self.asked(one("scope")?).map_err(|what| ("invalid_scope", what))?;
        Ok((challenge.to_owned(), classes, resource))
    }

    /// The resource that a request names (RFC 8707), or the only one there is. Several names of the same one
    /// are fine.
    pub(super) fn audience(&self, form: &Form) -> Result<String, &'static str> {
        let named = form.all("resource").filter(|text| !text.is_empty());
        for text in named {
            if self.resource_named(text).is_none() {
                return Err("this server issues no tokens for that resource");
            }
        }
        Ok(self.inner.resource.clone())
    }

    /// What a client asks for; all that is offered, if it does not say. That which clients ask of every server
    /// in order to stay signed in needs no consent of its own.
    fn asked(&self, scope: Option<&str>) -> Result<Classes, String> {
        let Some(scope) = scope else { return Ok(self.inner.offered) };
        let mut classes = Classes::NONE;
        for name in scope.split(' ').filter(|name| !matches!(*name, "" | "offline_access")) {
            let class: Class = name.parse().map_err(|error: policy::UnknownClass| error.to_string())?;
            classes = classes.or(Classes::of(&[class]));
        }
        let classes = if classes.is_empty() { self.inner.offered } else { classes };
        let within = classes.and(self.inner.offered);
        if within.is_empty() { Err(format!("{classes} is not offered to clients")) } else { Ok(within) }
    }
}

/// Where to send the answer: what the client names, if it is one of its own.
fn redirect_to(client: &Client, asked: Option<&str>, extra: &[String]) -> Result<String, Refused> {
    let bad = |reason: &str| page(StatusCode::BAD_REQUEST, reason);
    let uri = match (asked, &client.redirect_uris[..]) {
        (Some(asked), own) if own.iter().any(|uri| is_same_redirect(uri, asked)) => asked,
        (Some(_), _) => return Err(bad("the redirect_uri is not one of this client's")),
        (None, [only]) => only,
        (None, _) => return Err(bad("redirect_uri is missing")),
    };
    if may_redirect(uri, extra) {
        Ok(uri.to_owned())
    } else {
        Err(bad("codes are not sent to such a redirect_uri"))
    }
}

/// The base64url of a SHA-256.
fn is_challenge(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}
