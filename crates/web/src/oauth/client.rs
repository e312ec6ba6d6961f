//! Clients: built in, registered, or described by a document at the URL that is their id.

use super::OAuth;
use crate::auth::{AuthState, is_loopback};
use crate::fetch::{Documents, FetchError, is_public_url};
use reqwest::Url;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use store::{Hash, Seconds, StoreError};
use tokio::sync::Semaphore;

/// How clients prove who they are at the token endpoint.
pub(super) const AUTH_METHODS: [&str; 3] = ["none", "client_secret_post", "client_secret_basic"];

const LONGEST_URI: usize = 2048;
const MOST_URIS: usize = 20;
/// Characters of a name on our pages.
const LONGEST_NAME: usize = 80;
/// Of a document about a client, in bytes.
const LARGEST_DOCUMENT: usize = 16 * 1024;
/// Documents kept.
const CACHED: usize = 256;
/// Documents fetched at once.
const AT_ONCE: usize = 4;
/// Bounds on what a server says of its document's lifetime, and the lifetime where it says nothing.
const SHORTEST: u64 = 60;
const USUAL: u64 = 600;
const LONGEST: u64 = 24 * 3600;

/// A client that needs no registration. Public: it proves itself by PKCE and by owning its redirect address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresetClient {
    pub id: String,
    pub name: String,
    pub redirect_uris: Vec<String>,
}

impl PresetClient {
    /// The connectors of claude.ai, for those who enter the id `claude` instead of letting it register.
    pub fn claude() -> Self {
        let redirect_uris =
            ["https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"];
        Self {
            id: "claude".into(),
            name: "Claude".into(),
            redirect_uris: redirect_uris.map(Into::into).into(),
        }
    }
}

/// Who says what is known of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Vouched {
    /// This server.
    Operator,
    /// The client itself.
    Nobody,
    /// The document at its id, on this host.
    Site { host: String },
}

/// What is known of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) redirect_uris: Vec<String>,
    pub(super) secret: Option<Hash>,
    pub(super) vouched: Vouched,
}

/// Why a client is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("this client is not known here; it has to register again")]
    Unknown,
    #[error("the document about the client could not be fetched: {0}")]
    Fetch(FetchError),
    #[error("the document about the client says: {0}")]
    Document(&'static str),
    #[error(transparent)]
    Store(StoreError),
}

impl AuthState {
    /// A client by its id; of a client that is a URL, the document is fetched or taken from the cache.
    pub(super) async fn client(&self, oauth: &OAuth, id: &str) -> Result<Client, ClientError> {
        if let Some(preset) = oauth.config.clients.iter().find(|client| client.id == id) {
            let PresetClient { id, name, redirect_uris } = preset.clone();
            return Ok(Client { id, name, redirect_uris, secret: None, vouched: Vouched::Operator });
        }
        if let Some(url) = document_url(id) {
            let documents = oauth.documents.as_ref().ok_or(ClientError::Unknown)?;
            return documents.client(url, id, self.now()).await;
        }
        let row =
            self.inner.store.client(id).await.map_err(ClientError::Store)?.ok_or(ClientError::Unknown)?;
        let (name, redirect_uris, secret) = (row.name, row.redirect_uris, row.secret);
        Ok(Client { id: row.id, name, redirect_uris, secret, vouched: Vouched::Nobody })
    }
}

/// The URL that a client's id is, if it is one. It has a path: an origin alone would speak for everybody on
/// that site.
pub(super) fn document_url(id: &str) -> Option<Url> {
    if !id.starts_with("https://") || id.len() > LONGEST_URI {
        return None;
    }
    let url = Url::parse(id).ok()?;
    let plain = url.path() != "/" && url.fragment().is_none() && !id.contains("/../") && !id.contains("/./");
    (plain && is_public_url(&url)).then_some(url)
}

/// Documents about clients, kept for as long as their servers say, within bounds.
#[derive(Debug)]
pub(super) struct DocumentCache {
    source: Arc<dyn Documents>,
    kept: Mutex<HashMap<String, (Client, Seconds)>>,
    at_once: Semaphore,
}

impl DocumentCache {
    pub(super) fn new(source: Arc<dyn Documents>) -> Self {
        Self { source, kept: Mutex::default(), at_once: Semaphore::new(AT_ONCE) }
    }

    async fn client(&self, url: Url, id: &str, now: Seconds) -> Result<Client, ClientError> {
        if let Some((client, until)) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(id)
            && now < *until
        {
            return Ok(client.clone());
        }
        let _permit = self.at_once.acquire().await.map_err(|_| ClientError::Unknown)?;
        let document = self.source.get(url.clone(), LARGEST_DOCUMENT).await.map_err(ClientError::Fetch)?;
        let client = read_document(&document.body, id, &url).map_err(ClientError::Document)?;
        let seconds = document.max_age.unwrap_or(USUAL).clamp(SHORTEST, LONGEST);
        let until = now + Seconds::try_from(seconds).unwrap_or(0);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= CACHED {
            kept.retain(|_, (_, until)| now < *until);
        }
        if kept.len() < CACHED {
            kept.insert(id.to_owned(), (client.clone(), until));
        }
        Ok(client)
    }
}

#[derive(Deserialize)]
struct ClientDocument {
    client_id: String,
    #[serde(default)]
    client_name: Option<String>,
    redirect_uris: Vec<String>,
    #[serde(default)]
    token_endpoint_auth_method: Option<String>,
    #[serde(default)]
    client_secret: Option<serde::de::IgnoredAny>,
}

fn read_document(body: &[u8], id: &str, url: &Url) -> Result<Client, &'static str> {
    let document: ClientDocument =
        serde_json::from_slice(body).map_err(|_| "not what a client metadata document has")?;
    if document.client_id != id {
        return Err("another client_id than its address");
    }
    if document.client_secret.is_some() {
        return Err("a client_secret, which everybody could read");
    }
    if document.token_endpoint_auth_method.is_some_and(|method| method != "none") {
        return Err("a token_endpoint_auth_method other than none");
    }
    if document.redirect_uris.is_empty() || document.redirect_uris.len() > MOST_URIS {
        return Err("no redirect_uris, or too many");
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    Ok(Client {
        id: id.to_owned(),
        name: shown_name(document.client_name.as_deref()).unwrap_or_else(|| host.clone()),
        redirect_uris: document.redirect_uris,
        secret: None,
        vouched: Vouched::Site { host },
    })
}

/// A client's name for people: short, and nothing in it that is not seen or that turns the text around.
pub(super) fn shown_name(name: Option<&str>) -> Option<String> {
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}')
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}')
            || matches!(c, '\u{e0000}'..='\u{e007f}')
    };
    let shown: String = name?.chars().filter(|c| !invisible(*c)).take(LONGEST_NAME).collect();
    let shown = shown.trim();
    (!shown.is_empty()).then(|| shown.to_owned())
}

/// Whether an address may get codes: https, or this machine itself (a program that listens on loopback), or
/// one that the operator lists. Never with a fragment or a name before the host.
pub(super) fn may_redirect(uri: &str, extra: &[String]) -> bool {
    if extra.iter().any(|own| own == uri) {
        return true;
    }
    let Ok(url) = Url::parse(uri) else { return false };
    let bare = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    let secure = match url.scheme() {
        "https" => true,
        "http" => is_loopback(&url),
        _ => false,
    };
    uri.len() <= LONGEST_URI && !uri.contains(|c: char| c.is_control() || c == '\\') && bare && secure
}

/// Whether these addresses can be registered.
pub(super) fn may_register(uris: &[String], extra: &[String]) -> bool {
    !uris.is_empty() && uris.len() <= MOST_URIS && uris.iter().all(|uri| may_redirect(uri, extra))
}

/// Whether `asked` is `registered`: the same text, but for the port of a loopback address (RFC 8252 §7.3).
pub(super) fn is_same_redirect(registered: &str, asked: &str) -> bool {
    if registered == asked {
        return true;
    }
    let portless = |text: &str| -> Option<Url> {
        let mut url = Url::parse(text).ok()?;
        // What the parser would change on the way is not the same text.
        if url.scheme() != "http" || !is_loopback(&url) || url.as_str() != text {
            return None;
        }
        url.set_port(None).ok()?;
        Some(url)
    };
    portless(registered).is_some_and(|own| portless(asked).is_some_and(|other| own == other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_to_https_and_loopback_alone() {
        for ok in [
            "https://claude.ai/api/mcp/auth_callback",
            "https://client.example:8443/cb?x=1",
            "http://127.0.0.1:33418/callback",
            "http://127.0.0.1/",
            "http://[::1]:8080/cb",
            "http://localhost:6274/oauth/callback",
            "cursor://known",
        ] {
            assert!(may_redirect(ok, &["cursor://known".into()]), "{ok}");
        }
        for bad in [
            "http://client.example/cb",
            "http://127.0.0.1.evil.example/",
            "http://localhost.evil.example/",
            "http://localhost@evil.example/",
            "https://user:pass@client.example/",
            "https://client.example/#fragment",
            "https://client.example\\@evil.example/",
            "https://client.example/\ncb",
            "javascript:alert(1)",
            "data:text/html,x",
            "cursor://unknown",
            "//evil.example",
            "/cb",
            "",
        ] {
            assert!(!may_redirect(bad, &["cursor://known".into()]), "{bad}");
        }
        assert!(!may_redirect(&format!("https://client.example/{}", "x".repeat(2048)), &[]));
        assert!(!may_register(&[], &[]));
    }

    #[test]
    fn redirect_addresses_match_exactly_but_for_a_loopback_port() {
        let same = is_same_redirect;
        assert!(same("https://claude.ai/cb", "https://claude.ai/cb"));
        assert!(same("http://127.0.0.1/cb", "http://127.0.0.1:5000/cb"));
        assert!(same("http://localhost:1/cb", "http://localhost:2/cb"));
        assert!(same("http://[::1]:1/cb?a=b", "http://[::1]:2/cb?a=b"));
        for (registered, asked) in [
            ("https://claude.ai/cb", "https://claude.ai/cb/"),
            ("https://claude.ai/cb", "https://claude.ai/cb?x=1"),
            ("https://claude.ai/cb", "https://claude.ai:8443/cb"),
            ("https://claude.ai/cb", "https://CLAUDE.ai/cb"),
            ("https://claude.ai/cb", "https://claude.ai/x/../cb"),
            ("https://claude.ai/cb", "https://claude.ai.evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:5000/cb2"),
            ("http://127.0.0.1/cb", "http://localhost:5000/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:5000/x/../cb"),
            ("http://127.0.0.1/cb", "https://127.0.0.1:5000/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:5000@evil.example/cb"),
            ("http://127.0.0.1/cb", "http://2130706433:5000/cb"),
        ] {
            assert!(!same(registered, asked), "{registered} {asked}");
        }
    }

    #[test]
    fn a_document_speaks_for_its_own_address_alone() {
        let id = "https://client.example/id.json";
        let url = document_url(id).unwrap();
        let read = |body: &str| read_document(body.as_bytes(), id, &url);
        let client = read(
            r#"{"client_id":"https://client.example/id.json","client_name":"X\u202e","redirect_uris":["https://client.example/cb"],"logo_uri":1}"#,
        )
        .unwrap();
        assert_eq!(client.name, "X");
        assert_eq!(client.vouched, Vouched::Site { host: "client.example".into() });
        for bad in [
            r#"{"client_id":"https://other.example/id.json","redirect_uris":["https://client.example/cb"]}"#,
            r#"{"client_id":"https://client.example/id.json","redirect_uris":[]}"#,
            r#"{"client_id":"https://client.example/id.json"}"#,
            r#"{"client_id":"https://client.example/id.json","redirect_uris":["https://a.example"],"client_secret":"x"}"#,
            r#"{"client_id":"https://client.example/id.json","redirect_uris":["https://a.example"],"token_endpoint_auth_method":"private_key_jwt"}"#,
            "[]",
            "<html>",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_that_are_urls_have_a_path() {
        assert!(document_url("https://client.example/a").is_some());
        for bad in [
            "https://client.example",
            "https://client.example/",
            "https://client.example/a#b",
            "https://client.example/../a/../b",
            "http://client.example/a",
            "https://127.0.0.1/a",
            "https://user@client.example/a",
            "claude",
        ] {
            assert!(document_url(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn names_are_short_and_visible() {
        assert_eq!(shown_name(Some(" Claude\n\u{202e} ")).as_deref(), Some("Claude"));
        assert_eq!(shown_name(Some("\u{200b}")), None);
        assert_eq!(shown_name(None), None);
        assert_eq!(shown_name(Some(&"é".repeat(200))).unwrap().chars().count(), 80);
    }
}
