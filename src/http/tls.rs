//! The certificate that the service shows, read from files at the start and again on SIGHUP.
//!
//! TLS 1.2 and later, with rustls and its choice of ciphers. Not here: connections (`listener`).

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::server::TlsStream;

use super::validity::not_after;
use crate::clock;
use crate::config::TlsConfig;

/// Encrypts connections.
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Reads the certificate, and has it read again whenever SIGHUP comes. A file that is broken
    /// then is logged, and the certificate stays as it is.
    ///
    /// # Errors
    /// In words, when there is no certificate with its key in the files.
    pub fn start(config: TlsConfig) -> Result<Arc<Self>, String> {
        let provider = Arc::new(ring::default_provider());
        let shown = Arc::new(Shown(RwLock::new(Arc::new(read(&config, &provider)?))));
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut hangups =
            signal(SignalKind::hangup()).map_err(|error| format!("SIGHUP: {error}"))?;
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                match read(&config, &provider) {
                    Ok(certificate) => shown.replace(certificate),
                    Err(error) => {
                        tracing::error!(error, "the certificate was not reloaded; it stays");
                    }
                }
            }
        });
        Ok(Arc::new(Self(TlsAcceptor::from(Arc::new(server)))))
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// When the client does not do its part.
    pub async fn accept<IO>(&self, stream: IO) -> io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.0.accept(stream).await
    }
}

/// The certificate that is shown to whoever connects now.
struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    fn replace(&self, certificate: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shown").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Reads a certificate and its key, and logs when it expires.
fn read(config: &TlsConfig, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let TlsConfig { certificate, key } = config;
    let wrong = |flag: &str, file: &Path, words: &dyn fmt::Display| {
        format!("{flag} {}: {words}", file.display())
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| wrong("--tls-cert", certificate, &error))?;
    let Some(own) = chain.first() else {
        return Err(wrong("--tls-cert", certificate, &"there is no certificate in it"));
    };
    let expires = not_after(own).unwrap_or_else(|| "unknown".to_owned());
    let secret =
        PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("--tls-key", key, &error))?;
    let certified = CertifiedKey::from_der(chain, secret, provider)
        .map_err(|error| wrong("--tls-key", key, &error))?;
    let file = certificate.display();
    if expires < clock::now().rfc3339() {
        tracing::warn!(%file, expires, "the certificate has expired");
    } else {
        tracing::info!(%file, expires, "the certificate was read");
    }
    Ok(certified)
}
