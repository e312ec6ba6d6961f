//! Pages for people: plain HTML that needs no script, on a phone, too.

mod consent;
mod style;

pub(crate) use consent::{Choices, ConsentPage, LIFETIMES, consent};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use reqwest::Url;
use store::{GrantRow, Seconds};

/// HTML text. What comes from elsewhere goes through [`esc`].
pub(crate) type Html = String;

/// A text within HTML, also within a quoted attribute.
pub(crate) fn esc(text: &str) -> Html {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// A whole page. Its forms can be sent to this server and to `leads_to`, where the answer to one may lead on.
pub(crate) fn page(status: StatusCode, title: &str, body: &str, leads_to: Option<&str>) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title} · Deskhand</title><style>{style}</style></head>\
         <body><main>{body}</main></body></html>\n",
        title = esc(title),
        style = style::STYLE,
    );
    let policy = format!(
        "default-src 'none'; style-src '{}'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'{}",
        *style::HASH,
        leads_to.map(|source| format!(" {source}")).unwrap_or_default()
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Our own forms still say where they come from, which we check; nobody else learns our addresses.
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // An address that is no header value is no address to lead to: without a policy there is no page.
    match HeaderValue::try_from(policy) {
        Ok(policy) => {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        }
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Something went wrong, for the person in front of the browser.
pub(crate) fn problem(status: StatusCode, title: &str, text: &str) -> Response {
    let body = format!("<h1>{}</h1><p>{}</p>", esc(title), esc(text));
    page(status, title, &body, None)
}

/// A client's request was wrong; a person can go back to it.
pub(crate) fn leave(what: &str, to: &Url) -> Response {
    let title = "This request can not be answered";
    let host = to.host_str().unwrap_or_else(|| to.scheme());
    let body = format!(
        "<h1>{title}</h1><p>The client is at fault: {what}.</p>\
         <p><a href=\"{to}\" rel=\"noreferrer\">Back to {host}</a></p>",
        what = esc(what),
        to = esc(to.as_str()),
        host = esc(host),
    );
    page(StatusCode::BAD_REQUEST, title, &body, None)
}

/// The sign-in, with what was wrong with the last try.
pub(crate) fn sign_in(status: StatusCode, next: &str, name: &str, wrong: Option<&str>) -> Response {
    let body = format!(
        "<h1>Sign in</h1>{wrong}\
         <form method=\"post\" action=\"/sign-in\">\
         <input type=\"hidden\" name=\"next\" value=\"{next}\">\
         <label>Name<input name=\"name\" value=\"{name}\" autocomplete=\"username\" autocapitalize=\"none\" \
         spellcheck=\"false\" required maxlength=\"64\"{name_focus}></label>\
         <label>Password<input name=\"password\" type=\"password\" autocomplete=\"current-password\" required \
         maxlength=\"1024\"{password_focus}></label>\
         <p class=\"buttons\"><button class=\"primary\">Sign in</button></p></form>",
        wrong = wrong
            .map(|text| format!("<p class=\"wrong\" role=\"alert\">{}</p>", esc(text)))
            .unwrap_or_default(),
        next = esc(next),
        name = esc(name),
        name_focus = if name.is_empty() { " autofocus" } else { "" },
        password_focus = if name.is_empty() { "" } else { " autofocus" },
    );
    page(status, "Sign in", &body, None)
}

/// What a person has granted, and how to take it back.
pub(crate) fn account(user: &str, csrf: &str, consents: &[GrantRow], now: Seconds) -> Response {
    let mut rows = String::new();
    for consent in consents {
        let until = consent
            .expires_at
            .map_or("until you revoke it".to_owned(), |end| format!("for {} more", span(end - now)));
        let used =
            consent.used_at.map_or("not used yet".to_owned(), |at| format!("used {} ago", span(now - at)));
        rows.push_str(&format!(
            "<li><h2>{name}</h2><p>{classes}<br>on {targets}, mode {mode}<br>\
             <small>granted {since} ago, {until}; {used}</small></p>\
             <form method=\"post\" action=\"/account/revoke\">\
             <input type=\"hidden\" name=\"csrf\" value=\"{csrf}\">\
             <input type=\"hidden\" name=\"consent\" value=\"{id}\">\
             <button>Revoke</button></form></li>",
            name = esc(&consent.client_name),
            classes = esc(&consent.grant.classes.to_string()),
            targets = esc(&consent.grant.targets.to_string()),
            mode = consent.grant.mode,
            since = span(now - consent.created_at),
            csrf = esc(csrf),
            id = esc(&consent.id),
        ));
    }
    let list = if rows.is_empty() {
        "<p>You have not granted anything.</p>".to_owned()
    } else {
        format!("<ul class=\"cards\">{rows}</ul>")
    };
    let body = format!(
        "<h1>What you have granted</h1><p>Signed in as <strong>{user}</strong>.</p>{list}\
         <form method=\"post\" action=\"/sign-out\"><input type=\"hidden\" name=\"csrf\" value=\"{csrf}\">\
         <p class=\"buttons\"><button>Sign out</button></p></form>",
        user = esc(user),
        csrf = esc(csrf),
    );
    page(StatusCode::OK, "What you have granted", &body, None)
}

/// A time span in its largest unit.
fn span(seconds: Seconds) -> String {
    let (count, unit) = match seconds.max(0) {
        s @ 0..60 => (s, "second"),
        s @ 60..3600 => (s / 60, "minute"),
        s @ 3600..86_400 => (s / 3600, "hour"),
        s => (s / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(esc("<a href=\"x\" id='y'>&"), "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;");
    }

    #[test]
    fn spans_have_one_unit() {
        assert_eq!(span(-5), "0 seconds");
        assert_eq!(span(1), "1 second");
        assert_eq!(span(3599), "59 minutes");
        assert_eq!(span(86_400 * 30), "30 days");
    }

    #[test]
    fn pages_can_not_be_framed_and_run_no_script() {
        let response = page(StatusCode::OK, "<t>", "", Some("https://claude.ai"));
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"));
        assert!(policy.ends_with("form-action 'self' https://claude.ai"), "{policy}");
        assert_eq!(response.headers()["x-frame-options"], "DENY");
        assert_eq!(page(StatusCode::OK, "", "", Some("\n")).status(), StatusCode::BAD_REQUEST);
    }
}
