//! A certificate made on the spot, for `wss` without any files.

use std::net::IpAddr;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// The server's TLS settings, and the certificate that clients must trust, as PEM.
pub(super) fn on_the_spot(listen: IpAddr) -> Result<(Arc<ServerConfig>, String), String> {
    let cannot = |e: &dyn std::fmt::Display| format!("cannot make a certificate: {e}");
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !listen.is_loopback() && !listen.is_unspecified() {
        names.push(listen.to_string());
    }
    let made = rcgen::generate_simple_self_signed(names).map_err(|e| cannot(&e))?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(|e| cannot(&e))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| cannot(&e))?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(|e| cannot(&e))?;
    Ok((Arc::new(config), made.cert.pem()))
}
