//! A proxy that speaks TLS to its clients and plain TCP to a server: what stands in front of a management API that is to be encrypted.

use std::fs::File;
use std::io::BufReader;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A running proxy; it ends when it is dropped.
pub struct TlsProxy {
    address: SocketAddr,
    _runtime: Runtime,
}

impl TlsProxy {
    /// Listens on a free port of `host` and hands everything on to `server`.
    pub fn start(host: IpAddr, certificate: &Path, key: &Path, server: SocketAddr) -> anyhow::Result<Self> {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_reader_iter(BufReader::new(File::open(certificate)?)).collect();
        let key = PrivateKeyDer::from_pem_file(key).context("the key")?;
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain?, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((host, 0)))?;
        let address = listener.local_addr()?;
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), client, server));
            }
        });
        Ok(Self {
            address,
            _runtime: runtime,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A client that does not trust us hangs up; that is its business.
async fn serve(acceptor: TlsAcceptor, client: TcpStream, server: SocketAddr) {
    if let Ok(mut client) = acceptor.accept(client).await
        && let Ok(mut server) = TcpStream::connect(server).await
    {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
