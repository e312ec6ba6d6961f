//! TLS for `wss://`: certificates are checked against those that the operating system trusts.

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use std::io;
use std::sync::{Arc, OnceLock};
use tokio_tungstenite::Connector;

/// What a WebSocket runs over. The certificates of the system are read once, and only if TLS is wanted;
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
pub(crate) fn connector(secure: bool) -> io::Result<Connector> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if !secure {
        return Ok(Connector::Plain);
    }
    if let Some(config) = CONFIG.get() {
        return Ok(Connector::Rustls(config.clone()));
    }
    let config = Arc::new(config()?);
    Ok(Connector::Rustls(CONFIG.get_or_init(|| config).clone()))
}

fn config() -> io::Result<ClientConfig> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "there is none".to_owned(), ToString::to_string);
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("no certificate that this system trusts: {why}"),
        ));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
