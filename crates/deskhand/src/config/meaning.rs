//! Whether values that have the right shape mean something, and what.

use super::layers::Layer;
use super::problem::Problem;
use super::sections::{Config, SecretSection, TargetSection};
use hbb_common::peer_id::PeerAddress;
use policy::{Classes, Policy, Rule, Selector};
use remote::Target;
use sessions::{FileSecrets, NamedSecret, SecretRef, TargetEntry};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Adds what is wrong to `problems`.
pub(super) fn check(config: &Config, layers: &[Layer], problems: &mut Vec<Problem>) {
    let mut found = Findings { layers, problems };
    found.server(config);
    for (name, target) in &config.targets {
        found.target(config, name, target);
    }
    found.policy(config);
    found.http(config);
    found.oidc(config);
    if let Err(error) = config.log.filter.as_deref().map_or(Ok(()), |f| telemetry::parse_filter(f).map(drop))
    {
        found.wrong(&["log", "filter"], error.to_string());
    }
    if let Err(error) = mcp::Toolset::parse(config.mcp.toolsets.iter().map(String::as_str)) {
        found.wrong(&["mcp", "toolsets"], error.to_string());
    }
}

struct Findings<'a> {
    layers: &'a [Layer],
    problems: &'a mut Vec<Problem>,
}

impl Findings<'_> {
    fn wrong(&mut self, path: &[&str], what: impl Into<String>) {
        let path: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
        let origin = super::origin(self.layers, &path);
        self.problems.push(Problem { origin, key: path.join("."), what: what.into() });
    }

    fn server(&mut self, config: &Config) {
        let Some(server) = &config.server else { return };
        if server.address.trim().is_empty() {
            self.wrong(&["server", "address"], "this is empty; write host or host:port");
        }
        if server.key.as_deref().is_some_and(|key| key.trim() != key || key.is_empty()) {
            self.wrong(
                &["server", "key"],
                "write the key without anything around it, as the server prints it",
            );
        }
    }

    fn target(&mut self, config: &Config, name: &str, target: &TargetSection) {
        let plain = |c: char| c.is_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            self.wrong(&["targets", name], "a name has 1 to 64 letters, digits, dots, dashes or underscores");
        }
        match target.address.parse::<PeerAddress>() {
            Ok(PeerAddress::Id(id)) => {
                let server = id.server.is_some() || config.server.is_some() || config.rendezvous.enable;
                if !server {
                    let what = "this is an id, and no rendezvous server is configured: add [server], or write \
                                id@server";
                    self.wrong(&["targets", name, "address"], what);
                }
            }
            Ok(PeerAddress::Direct { .. }) => {}
            Err(error) => self.wrong(&["targets", name, "address"], error.to_string()),
        }
        if target.password.is_some() && target.password_file.is_some() {
            self.wrong(&["targets", name], "both password and password_file are given; keep one");
        }
        if let Some(SecretRef::Named(secret)) = target.password.as_deref().map(SecretRef::parse)
            && !config.secrets.contains_key(&secret)
            && credentials().is_none()
        {
            let what =
                format!("{secret:?} is not in [secrets], and there are no credentials of systemd here");
            self.wrong(&["targets", name, "password"], what);
        }
    }

    fn policy(&mut self, config: &Config) {
        for (n, rule) in config.policy.rules.iter().enumerate() {
            let n = n.to_string();
            if let Err(error) = rule.targets.parse::<Selector>() {
                self.wrong(&["policy", "rules", &n, "targets"], error.to_string());
            }
            if let Err(error) = rule.classes.join(" ").parse::<Classes>() {
                self.wrong(&["policy", "rules", &n, "classes"], error.to_string());
            }
        }
    }

    fn http(&mut self, config: &Config) {
        let http = &config.http;
        match (&http.tls_cert, &http.tls_key) {
            (Some(_), None) => self.wrong(&["http", "tls_cert"], "tls_key is missing beside it"),
            (None, Some(_)) => self.wrong(&["http", "tls_key"], "tls_cert is missing beside it"),
            _ => {}
        }
        if let Some(url) = &http.public_url {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            let host = rest.map(|rest| rest.trim_end_matches('/'));
            if !host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])) {
                self.wrong(
                    &["http", "public_url"],
                    "write https://HOST or https://HOST:PORT, nothing behind it",
                );
            }
        }
        if config.oauth.enable
            && config.oidc.issuer.is_none()
            && http.public_url.as_ref().is_some_and(|url| url.starts_with("http://"))
            && config.public_url(http.listen).is_ok_and(|url| !is_loopback(&url))
        {
            let what = "people's passwords and tokens would go through it unprotected: write https, or set \
                        oauth.enable = false";
            self.wrong(&["http", "public_url"], what);
        }
        let metrics = &config.metrics;
        if metrics.enable && metrics.listen == http.listen && http.listen.port() != 0 {
            self.wrong(&["metrics", "listen"], "this is the address of http.listen; metrics have their own");
        }
    }
}

impl Findings<'_> {
    fn oidc(&mut self, config: &Config) {
        let oidc = &config.oidc;
        if oidc.issuer.as_ref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://"))
        {
            self.wrong(&["oidc", "issuer"], "write the issuer's URL, https://…");
        }
        if let Err(error) = oidc.targets.parse::<Selector>() {
            self.wrong(&["oidc", "targets"], error.to_string());
        }
        for (name, classes) in &oidc.scopes {
            if let Err(error) = classes.parse::<Classes>() {
                self.wrong(&["oidc", "scopes", name], error.to_string());
            }
        }
    }
}

/// The folder of systemd's credentials.
fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

fn named(section: &SecretSection) -> NamedSecret {
    let (file, targets) = match section {
        SecretSection::Anywhere(file) => (file, Vec::new()),
        SecretSection::Bound(bound) => (&bound.file, bound.targets.clone()),
    };
    let reference = match SecretRef::parse(file) {
        SecretRef::Inline(_) => SecretRef::File(file.into()),
        reference => reference,
    };
    NamedSecret { reference, targets }
}

/// Whether a URL names this machine itself.
pub(crate) fn is_loopback(url: &web::Url) -> bool {
    let ip = |host: &str| host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().ok();
    url.host_str().is_some_and(|host| host == "localhost" || ip(host).is_some_and(|ip| ip.is_loopback()))
}

impl Config {
    /// Where clients reach the HTTP listener, which listens on `address`.
    pub(crate) fn public_url(&self, mut address: SocketAddr) -> anyhow::Result<web::Url> {
        if let Some(url) = &self.http.public_url {
            return Ok(url.parse()?);
        }
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let scheme = if self.http.tls_cert.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{address}").parse()?)
    }

    /// The targets; passwords stay references.
    pub(crate) fn targets(&self) -> Vec<TargetEntry> {
        let entry = |(name, section): (&String, &TargetSection)| TargetEntry {
            target: Target {
                name: name.clone(),
                address: section.address.clone(),
                password: None,
                allow_unencrypted: section.allow_unencrypted,
                codec: section.codec,
                fps: section.fps,
                quality: section.quality,
                tags: section.tags.clone(),
            },
            protocol: None,
            password: match (&section.password_file, &section.password) {
                (Some(path), _) => Some(SecretRef::File(path.clone())),
                (None, Some(text)) => Some(self.reference(text)),
                (None, None) => None,
            },
            description: section.description.clone(),
        };
        self.targets.iter().map(entry).collect()
    }

    /// What a password of the configuration refers to.
    fn reference(&self, text: &str) -> SecretRef {
        match SecretRef::parse(text) {
            SecretRef::Named(name) => match self.secrets.get(&name) {
                Some(section) => named(section).reference,
                None => SecretRef::Named(name),
            },
            inline => inline,
        }
    }

    /// Where secrets are looked up; they are read when they are needed.
    pub(crate) fn secret_source(&self) -> FileSecrets {
        let named = self.secrets.iter().map(|(name, section)| (name.clone(), named(section)));
        FileSecrets { folder: credentials(), named: named.collect() }
    }

    /// The operator's rules. Those that [`check`] refuses are not there.
    pub(crate) fn policy(&self) -> Policy {
        let rule = |section: &super::sections::RuleSection| {
            Some(Rule {
                targets: section.targets.parse().ok()?,
                classes: section.classes.join(" ").parse().ok()?,
                verdict: section.verdict,
                reason: section.reason.clone(),
            })
        };
        Policy { mode: self.policy.mode, rules: self.policy.rules.iter().filter_map(rule).collect() }
    }

    /// The keys whose change needs a restart to take effect, coming from `before`.
    pub(crate) fn needing_restart(&self, before: &Self) -> Vec<&'static str> {
        let pairs = [
            ("server", self.server != before.server),
            ("secrets", self.secrets != before.secrets),
            ("mcp", self.mcp != before.mcp),
            ("sessions", self.sessions != before.sessions),
            ("http", self.http != before.http),
            ("oauth", self.oauth != before.oauth),
            ("oidc", self.oidc != before.oidc),
            ("metrics", self.metrics != before.metrics),
            ("rendezvous", self.rendezvous != before.rendezvous),
            ("log.format", self.log.format != before.log.format),
        ];
        pairs.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
    }
}
