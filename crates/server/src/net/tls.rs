//! The encrypted side of listening: certificates and keys from PEM files, with refusals that name
//! the file and the remedy, and their renewal at SIGHUP. Connections keep what they began with.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::stream::{Stream, TlsPeer};
use crate::config::keys;
use crate::config::setting::TlsVersion;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{key}: {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The key that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{key}: {}: {reason}", path.display())]
    Unusable {
        /// The key that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
}

/// What makes a connection encrypted. Shared by all encrypted listeners.
pub struct Tls {
    current: ArcSwap<ServerConfig>,
    pub(super) handshake_max: Duration,
}

impl Tls {
    /// How long a client may take for the handshake.
    pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

    /// Reads the files; `None` if no certificate is configured.
    pub fn open(config: &keys::Tls) -> Result<Option<Self>, Error> {
        Ok(load(config)?.map(|current| Self {
            current: ArcSwap::new(current),
            handshake_max: Self::HANDSHAKE_MAX,
        }))
    }

    /// Reads the files again. New connections get what is in them now; on an error nothing changes.
    pub fn reload(&self, config: &keys::Tls) -> Result<(), Error> {
        if let Some(renewed) = load(config)? {
            self.current.store(renewed);
        }
        Ok(())
    }

    /// Shakes hands.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<(Stream, TlsPeer)> {
        let handshake = TlsAcceptor::from(self.current.load_full()).accept(socket);
        let late = || {
            io::Error::new(
                io::ErrorKind::TimedOut,
                "the client did not finish the handshake in time",
            )
        };
        let stream = tokio::time::timeout(self.handshake_max, handshake)
            .await
            .map_err(|_| late())?
            .map_err(explained)?;
        let (_, session) = stream.get_ref();
        let peer = TlsPeer {
            version: session
                .protocol_version()
                .map(|version| format!("{version:?}"))
                .unwrap_or_default(),
            cipher: session
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite()))
                .unwrap_or_default(),
            certificate: session
                .peer_certificates()
                .and_then(|chain| chain.first())
                .cloned()
                .map(CertificateDer::into_owned),
        };
        Ok((Stream::Tls(Box::new(stream)), peer))
    }
}

/// Adds what the usual cause is, where the error alone leaves people guessing.
fn explained(error: io::Error) -> io::Error {
    let Some(cause) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        return error;
    };
    let hint = match cause {
        rustls::Error::InvalidMessage(_) => {
            "the client does not speak TLS; is it set to amqp instead of amqps?"
        }
        rustls::Error::NoCertificatesPresented => {
            "the client has no certificate, and tls.client_ca asks for one"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{cause} ({hint})"))
}

fn load(config: &keys::Tls) -> Result<Option<Arc<ServerConfig>>, Error> {
    let (Some(certificate), Some(key)) = (config.certificate.get(), config.key.get()) else {
        return Ok(None);
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[_] = match config.version_min {
        TlsVersion::V12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V13 => &[&rustls::version::TLS13],
    };
    let unusable = |key, path: &Path| {
        let path = path.to_owned();
        move |error: &dyn std::fmt::Display| Error::Unusable {
            key,
            path,
            reason: error.to_string(),
        }
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| unusable("tls.version_min", certificate)(&error))?;
    let builder = match config.client_ca.get() {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(path)?), provider)
                    .build()
                    .map_err(|error| unusable("tls.client_ca", path)(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates("tls.certificate", certificate)?;
    let config = builder
        .with_single_cert(chain, private_key(key)?)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => unusable("tls.key", key)(&format!(
                "is not the key of the first certificate in {}",
                certificate.display()
            )),
            error => unusable("tls.certificate", certificate)(&error),
        })?;
    Ok(Some(Arc::new(config)))
}

fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.client_ca", path)? {
        roots.add(certificate).map_err(|error| {
            let reason = format!("holds a certificate that cannot be used: {error}");
            Error::Unusable {
                key: "tls.client_ca",
                path: path.to_owned(),
                reason,
            }
        })?;
    }
    Ok(roots)
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(key, path)?;
    let unusable = |reason| Error::Unusable {
        key,
        path: path.to_owned(),
        reason,
    };
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(list) if list.is_empty() => Err(unusable(
            "holds no certificate; it must be PEM, with -----BEGIN CERTIFICATE-----".to_owned(),
        )),
        Ok(list) => Ok(list),
        Err(error) => Err(unusable(format!("is not valid PEM: {error}"))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = read("tls.key", path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let encrypted = b"ENCRYPTED";
        let reason = match error {
            _ if text.windows(encrypted.len()).any(|window| window == encrypted) => {
                "is protected by a passphrase, which a broker cannot be asked for at night; \
                 write it without one: openssl pkey -in KEY -out KEY.plain"
                    .to_owned()
            }
            pem::Error::NoItemsFound => {
                "holds no private key; it must be PEM, with -----BEGIN PRIVATE KEY-----".to_owned()
            }
            error => format!("is not valid PEM: {error}"),
        };
        Error::Unusable {
            key: "tls.key",
            path: path.to_owned(),
            reason,
        }
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::Unreadable {
        key,
        path: path.to_owned(),
        error,
    })
}
