//! Who may call, from the configuration.

use crate::config::{Config, is_loopback};
use policy::{Classes, Selector};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use store::{Seconds, Store};
use telemetry::metrics::{Family, Kind};
use web::auth::{AuthConfig, AuthCounters, AuthState, Issuer};
use web::oauth::OAuthConfig;
use web::oidc::OidcConfig;

/// Names of machines for the consent page; they change with the configuration.
pub(super) type Names = Arc<RwLock<Vec<String>>>;

/// For a listener at `address`.
pub(super) fn state(
    config: &Config,
    address: SocketAddr,
    store: Store,
    names: &Names,
) -> anyhow::Result<AuthState> {
    let url = config.public_url(address)?;
    if config.http.public_url.is_none() && !address.ip().is_loopback() {
        tracing::warn!(%address, "clients elsewhere need http.public_url, the name by which they reach this server");
    }
    let secure = url.scheme() == "https" || is_loopback(&url);
    let issuer = match &config.oidc.issuer {
        Some(issuer) => Issuer::External(Box::new(external(config, issuer.clone())?)),
        None if config.oauth.enable && secure => Issuer::Own(Box::new(own(config, names))),
        None => Issuer::Operator,
    };
    let auth = AuthConfig {
        issuer,
        hosts: config.http.allowed_hosts.clone(),
        origins: config.http.allowed_origins.clone(),
        trusted_proxies: config.http.trusted_proxies.clone(),
        ..AuthConfig::new(url)
    };
    Ok(AuthState::new(store, auth)?)
}

/// The names of a listener at `address`, besides those of this machine itself.
pub(super) fn hosts(config: &Config, address: SocketAddr) -> anyhow::Result<Vec<String>> {
    let url = config.public_url(address)?;
    Ok(url.host_str().map(str::to_owned).into_iter().chain(config.http.allowed_hosts.clone()).collect())
}

fn own(config: &Config, names: &Names) -> OAuthConfig {
    let section = &config.oauth;
    let names = Arc::clone(names);
    OAuthConfig {
        extra_redirects: section.extra_redirects.clone(),
        registration: section.registration,
        documents: section.client_documents,
        access_lifetime: Seconds::from(section.access_minutes) * 60,
        refresh_lifetime: Seconds::from(section.refresh_days) * 24 * 3600,
        machines: Arc::new(move || names.read().unwrap_or_else(PoisonError::into_inner).clone()),
        ..OAuthConfig::default()
    }
}

fn external(config: &Config, issuer: String) -> anyhow::Result<OidcConfig> {
    let section = &config.oidc;
    let mut scopes: BTreeMap<String, Classes> = BTreeMap::new();
    for (name, classes) in &section.scopes {
        scopes.insert(name.clone(), classes.parse()?);
    }
    Ok(OidcConfig {
        audiences: section.audiences.clone(),
        scopes,
        scope_claims: section.scope_claims.clone(),
        targets_claim: section.targets_claim.clone(),
        targets: section.targets.parse::<Selector>()?,
        mode: section.mode,
        skew: Seconds::from(section.skew_seconds),
        ..OidcConfig::new(issuer)
    })
}

/// The counts of the door, for Prometheus.
pub(super) fn families(counters: &AuthCounters) -> Vec<Family> {
    let attempts = [
        ("token", "accepted", &counters.token_accepted),
        ("access_token", "accepted", &counters.access_accepted),
        ("external", "accepted", &counters.external_accepted),
        ("browser", "accepted", &counters.browser_accepted),
        ("none", "missing", &counters.missing),
        ("bearer", "refused", &counters.refused),
        ("bearer", "limited", &counters.limited),
        ("bearer", "unavailable", &counters.unavailable),
        ("sign_in", "accepted", &counters.sign_in_accepted),
        ("sign_in", "refused", &counters.sign_in_refused),
        ("sign_in", "limited", &counters.sign_in_limited),
    ];
    let mut family =
        Family::new(Kind::Counter, "auth_attempts_total", "Credentials that were shown, by outcome.");
    for (method, result, counter) in attempts {
        family = family.with_labels(&[("method", method), ("result", result)], counter.get());
    }
    let events = [
        ("client_registered", &counters.clients_registered),
        ("client_refused", &counters.clients_refused),
        ("consent_given", &counters.consents_given),
        ("consent_denied", &counters.consents_denied),
        ("token_issued", &counters.tokens_issued),
        ("token_refreshed", &counters.tokens_refreshed),
        ("token_revoked", &counters.tokens_revoked),
        ("code_replayed", &counters.codes_replayed),
        ("refresh_reused", &counters.refresh_reused),
    ];
    let mut oauth = Family::new(Kind::Counter, "oauth_events_total", "What the authorisation server did.");
    for (event, counter) in events {
        oauth = oauth.with("event", event, counter.get());
    }
    vec![family, oauth]
}
