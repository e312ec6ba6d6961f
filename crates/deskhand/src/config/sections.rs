//! What can be configured. The comments are what `deskhand config example` and `schema` say.

use policy::{Mode, Verdict};
use remote::VideoCodec;
use remote::target::Quality;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Deskhand's configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The rendezvous server for machines named by id alone. Without it, the embedded one where that is
    /// enabled.
    pub(crate) server: Option<ServerSection>,
    /// Machines by the names that people and models use.
    pub(crate) targets: BTreeMap<String, TargetSection>,
    /// Secrets that `type_text` may type by name, and `password = "secret://NAME"` may use: each a file whose
    /// first line it is, or `secret://NAME` for a credential of systemd; as a table, only where it says.
    #[schemars(extend("x-example" = {
        "pin": "/etc/deskhand/pin",
        "kiosk": {"file": "secret://kiosk", "targets": ["office"]},
    }))]
    pub(crate) secrets: BTreeMap<String, SecretSection>,
    /// What models are offered.
    pub(crate) mcp: McpSection,
    /// Live sessions.
    pub(crate) sessions: SessionsSection,
    /// Who may do what, whatever a credential allows.
    pub(crate) policy: PolicySection,
    /// The HTTP listener of `deskhand serve`.
    pub(crate) http: HttpSection,
    /// Our own sign-in and consent for MCP clients (OAuth 2.1).
    pub(crate) oauth: OauthSection,
    /// Tokens of another issuer in place of our own.
    pub(crate) oidc: OidcSection,
    /// Numbers for Prometheus.
    pub(crate) metrics: MetricsSection,
    /// A rendezvous server and relay inside `deskhand serve`, for stock RustDesk programs, too.
    pub(crate) rendezvous: RendezvousSection,
    /// Log lines.
    pub(crate) log: LogSection,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerSection {
    /// `host` or `host:port`, or a `ws://` address.
    #[schemars(extend("x-example" = "hbbs.example.com"))]
    pub(crate) address: String,
    /// The server's public key, as `deskhand rendezvous` or hbbs prints it.
    #[schemars(extend("x-example" = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="))]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetSection {
    /// `id`, `id/r` to force the relay, `id@server?key=…`, an IP address, `host:port`.
    #[schemars(extend("x-example" = "123456789"))]
    pub(crate) address: String,
    /// File whose first line is the password.
    #[schemars(extend("x-example" = "/etc/deskhand/office.password"))]
    pub(crate) password_file: Option<PathBuf>,
    /// `secret://NAME` for one of `[secrets]`, or for a credential of systemd. The password itself is taken
    /// from the environment alone (`DESKHAND_TARGETS__OFFICE__PASSWORD`).
    #[schemars(extend("x-secret" = true, "x-example" = "secret://office"))]
    pub(crate) password: Option<String>,
    /// Allow sessions that the protocol does not encrypt: those by IP address.
    #[serde(default)]
    pub(crate) allow_unencrypted: bool,
    /// The video codec to ask for; the best one if left out.
    #[schemars(with = "Option<CodecName>", extend("x-example" = "vp9"))]
    pub(crate) codec: Option<VideoCodec>,
    /// Frames a second to ask for.
    #[schemars(range(min = 1, max = 120), extend("x-example" = 30))]
    pub(crate) fps: Option<u32>,
    /// How sharp the video is.
    #[serde(default)]
    #[schemars(with = "QualityName")]
    pub(crate) quality: Quality,
    /// Words to select the machine by: `tag:office`.
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// What the machine is for; shown to models.
    #[serde(default)]
    pub(crate) description: String,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum SecretSection {
    Anywhere(String),
    Bound(BoundSecret),
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BoundSecret {
    /// File whose first line the secret is, or `secret://NAME` for a credential of systemd.
    #[schemars(extend("x-example" = "/etc/deskhand/pin"))]
    pub(crate) file: String,
    /// The targets where it may be typed.
    #[schemars(extend("x-example" = ["office"]))]
    pub(crate) targets: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct McpSection {
    /// Toolsets to offer; none for the usual ones, "all" for all.
    pub(crate) toolsets: Vec<String>,
    /// Whether `connect` takes a password as an argument.
    pub(crate) allow_password_argument: bool,
}

impl Default for McpSection {
    fn default() -> Self {
        Self { toolsets: Vec::new(), allow_password_argument: true }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SessionsSection {
    /// Sessions open at a time.
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) limit: usize,
    /// A session that nobody used for this long is closed; 0 for never.
    pub(crate) idle_minutes: u64,
    /// Whether a caller may name an address in place of a configured target.
    pub(crate) allow_addresses: bool,
}

impl Default for SessionsSection {
    fn default() -> Self {
        Self { limit: 16, idle_minutes: 30, allow_addresses: true }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicySection {
    /// The highest mode of anybody: `plan` looks only, `edit` acts, `bypass` acts without asking a person.
    #[schemars(with = "ModeName")]
    pub(crate) mode: Mode,
    /// Rules on top, the same for everybody. The first that covers an operation counts; `deny` before `ask`.
    pub(crate) rules: Vec<RuleSection>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleSection {
    /// The machines it covers: `all`, `id:office`, `tag:a and not os:windows`.
    #[schemars(extend("x-example" = "tag:payroll"))]
    pub(crate) targets: String,
    /// What it covers: `observe`, `interact`, `clipboard`, `files.read`, `files.write`, `execute`,
    /// `network`, `fleet`, `schedule`, `admin`, or `all`.
    #[schemars(extend("x-example" = ["execute", "files.write"]))]
    pub(crate) classes: Vec<String>,
    /// Refuse it, or ask a person first.
    #[schemars(with = "VerdictName", extend("x-example" = "ask"))]
    pub(crate) verdict: Verdict,
    /// Why, for whoever is refused.
    #[serde(default)]
    pub(crate) reason: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpSection {
    /// Where to listen; port 0 takes a free one.
    #[schemars(with = "AddressText", extend("x-example" = "0.0.0.0:8642"))]
    pub(crate) listen: SocketAddr,
    /// Where clients reach it from outside, if that is another address: a reverse proxy's, for example.
    #[schemars(extend("x-example" = "https://deskhand.example.com"))]
    pub(crate) public_url: Option<String>,
    /// Certificate chain (PEM); with `tls_key` the listener speaks HTTPS.
    #[schemars(extend("x-example" = "/etc/deskhand/tls.crt"))]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[schemars(extend("x-example" = "/etc/deskhand/tls.key"))]
    pub(crate) tls_key: Option<PathBuf>,
    /// Further host names by which it is reached, besides loopback and that of `public_url`.
    pub(crate) allowed_hosts: Vec<String>,
    /// Further origins whose pages may call it from a browser.
    pub(crate) allowed_origins: Vec<String>,
    /// Addresses of reverse proxies whose `X-Forwarded-For` is believed.
    #[schemars(with = "Vec<IpText>")]
    pub(crate) trusted_proxies: Vec<IpAddr>,
    /// Connections at a time.
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) connections: usize,
    /// How long requests that are being answered may take after the program was told to stop.
    #[schemars(range(max = 600))]
    pub(crate) drain_seconds: u64,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8642),
            public_url: None,
            tls_cert: None,
            tls_key: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            connections: 1024,
            drain_seconds: 10,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OauthSection {
    /// Whether people can sign in and let clients in. Needs HTTPS, or an address on loopback.
    pub(crate) enable: bool,
    /// Whether clients can register themselves (RFC 7591), as most do.
    pub(crate) registration: bool,
    /// Whether clients can name themselves by the URL of a document about them.
    pub(crate) client_documents: bool,
    /// Redirect addresses that are accepted besides https and loopback, each exactly.
    pub(crate) extra_redirects: Vec<String>,
    /// How long an access token is good.
    #[schemars(range(min = 1, max = 1_440))]
    pub(crate) access_minutes: u32,
    /// How long a client that was not used stays let in.
    #[schemars(range(min = 1, max = 3_650))]
    pub(crate) refresh_days: u32,
}

impl Default for OauthSection {
    fn default() -> Self {
        Self {
            enable: true,
            registration: true,
            client_documents: true,
            extra_redirects: Vec::new(),
            access_minutes: 15,
            refresh_days: 30,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OidcSection {
    /// The issuer, as in its own metadata. With it, `[oauth]` is out of use and people sign in there.
    #[schemars(extend("x-example" = "https://login.example.com/realms/main"))]
    pub(crate) issuer: Option<String>,
    /// What the issuer calls this server in its tokens' audience, besides the URL of `/mcp`.
    pub(crate) audiences: Vec<String>,
    /// What its scopes or roles stand for here, like `desk-users = "observe interact"`. A scope with a
    /// class's name stands for that class.
    #[schemars(extend("x-example" = {"desk-users": "observe interact"}))]
    pub(crate) scopes: BTreeMap<String, String>,
    /// Claims in which scopes are found.
    pub(crate) scope_claims: Vec<String>,
    /// Claim with a selector of machines.
    #[schemars(extend("x-example" = "deskhand_targets"))]
    pub(crate) targets_claim: Option<String>,
    /// The machines for tokens without that claim.
    pub(crate) targets: String,
    /// The highest mode of its tokens.
    #[schemars(with = "ModeName")]
    pub(crate) mode: Mode,
    /// Seconds by which its clock may differ from ours.
    #[schemars(range(max = 600))]
    pub(crate) skew_seconds: u32,
}

impl Default for OidcSection {
    fn default() -> Self {
        Self {
            issuer: None,
            audiences: Vec::new(),
            scopes: BTreeMap::new(),
            scope_claims: vec!["scope".into(), "scp".into()],
            targets_claim: None,
            targets: "all".into(),
            mode: Mode::default(),
            skew_seconds: 30,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MetricsSection {
    /// Whether there is a listener for them at all.
    pub(crate) enable: bool,
    /// Where to listen; port 0 takes a free one.
    #[schemars(with = "AddressText", extend("x-example" = "127.0.0.1:9464"))]
    pub(crate) listen: SocketAddr,
    /// File whose first line is the bearer token that Prometheus has to show.
    #[schemars(extend("x-example" = "/etc/deskhand/metrics.token"))]
    pub(crate) token_file: Option<PathBuf>,
}

impl Default for MetricsSection {
    fn default() -> Self {
        let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9464);
        Self { enable: true, listen, token_file: None }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RendezvousSection {
    /// Whether it runs.
    pub(crate) enable: bool,
    /// Addresses to listen on; every one if left out.
    #[schemars(with = "Vec<IpText>")]
    pub(crate) listen: Vec<IpAddr>,
    /// Rendezvous port; NAT test is one below, relay one above, WebSocket two and three above. 0 takes free
    /// ones.
    pub(crate) port: u16,
    /// Relay addresses to announce to clients; without them they use this machine's.
    pub(crate) relays: Vec<String>,
    /// Secret key file in the form of hbbs's `id_ed25519`; in the state directory, and made if there is none.
    #[schemars(extend("x-example" = "/etc/deskhand/id_ed25519"))]
    pub(crate) key_file: Option<PathBuf>,
}

impl Default for RendezvousSection {
    fn default() -> Self {
        Self {
            enable: false,
            listen: Vec::new(),
            port: hbb_common::defaults::RENDEZVOUS_PORT,
            relays: Vec::new(),
            key_file: None,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogSection {
    /// A level, or levels by module: "warn,client=debug". `info` for `deskhand serve` if left out, `warn` for
    /// the other commands.
    #[schemars(extend("x-example" = "info"))]
    pub(crate) filter: Option<String>,
    /// `auto`: to the journal under systemd, else lines for people on standard error.
    pub(crate) format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Auto,
    Human,
    Json,
    Journal,
}

// The names and forms of types of other crates, which know no schemas.

#[derive(JsonSchema)]
#[schemars(inline, extend("x-form" = "address"))]
#[expect(dead_code, reason = "only its schema is used")]
struct AddressText(String);

#[derive(JsonSchema)]
#[schemars(inline, extend("x-form" = "ip"))]
#[expect(dead_code, reason = "only its schema is used")]
struct IpText(String);

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum CodecName {
    Vp8,
    Vp9,
    Av1,
    H264,
    H265,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum QualityName {
    Low,
    Balanced,
    Best,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum ModeName {
    Disabled,
    Plan,
    Edit,
    Bypass,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum VerdictName {
    Deny,
    Ask,
}
