//! Listeners with real handshakes on the loopback interface.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use super::listener::Bound;
use super::{Connections, Peer, Stream, Tls};
use crate::config::keys;
use crate::config::setting::{OptionalPath, TlsVersion};
use crate::shutdown::Shutdown;

/// An authority made for a test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate for localhost and its key, both PEM.
    fn certificate(&self, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (
            params.signed_by(&key, &self.issuer).unwrap().pem(),
            key.serialize_pem(),
        )
    }

    fn server(&self) -> (String, String) {
        self.certificate(ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn client(&self) -> (String, String) {
        self.certificate(ExtendedKeyUsagePurpose::ClientAuth)
    }
}

/// The files that a configuration names.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A configuration that names `cert.pem`, `key.pem` and, if there is one, `ca.pem`.
    fn config(&self) -> keys::Tls {
        let path = |name| OptionalPath(Some(self.directory.path().join(name)).filter(|path| path.exists()));
        let mut config = crate::config::Config::default().tls;
        (config.certificate, config.key, config.client_ca) =
            (path("cert.pem"), path("key.pem"), path("ca.pem"));
        config
    }

    fn with_server(authority: &Authority) -> Self {
        let files = Self::new();
        let (certificate, key) = authority.server();
        files.write("cert.pem", &certificate);
        files.write("key.pem", &key);
        files
    }
}

/// A running listener whose connections say "hello", echo one byte and wait for the end.
struct Running {
    address: SocketAddr,
    connections: Arc<Connections>,
    shutdown: Shutdown,
    peers: mpsc::UnboundedReceiver<Peer>,
    listening: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(tls: Option<Arc<Tls>>, connections_max: usize) -> Self {
        let connections = Connections::new(connections_max);
        let mut bound = Bound::take("127.0.0.1:0", "amqp.listen").await.unwrap();
        let bound = bound.remove(0);
        let listener = bound.listen(16, tls, connections.clone()).unwrap();
        let (shutdown, closing) = Shutdown::new();
        let (sender, peers) = mpsc::unbounded_channel();
        let address = listener.address().unwrap();
        let serve = move |stream, peer: Peer| {
            sender.send(peer.clone()).unwrap();
            greet(stream, peer)
        };
        let listening = tokio::spawn(listener.run(closing, serve));
        Self {
            address,
            connections,
            shutdown,
            peers,
            listening,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

async fn greet(mut stream: Stream, mut peer: Peer) {
    let _ = stream.write_all(b"hello").await;
    let _ = stream.flush().await;
    let mut byte = [0];
    tokio::select! {
        read = stream.read_exact(&mut byte) => {
            if read.is_ok() {
                let _ = stream.write_all(&byte).await;
                let _ = stream.shutdown().await;
            }
        }
        () = peer.closing.requested() => {
            let _ = stream.write_all(b"bye").await;
            let _ = stream.shutdown().await;
        }
    }
}

/// What a client hears if it says "!" once it was greeted; empty if it is not let in.
async fn talk(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> String {
    let mut heard = [0; 5];
    if stream.read_exact(&mut heard).await.is_err() {
        return String::new();
    }
    stream.write_all(b"!").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    String::from_utf8_lossy(&heard).into_owned() + &rest
}

/// A TLS client that trusts `authority`, with a certificate of its own or without.
struct Client {
    connector: TlsConnector,
}

impl Client {
    fn new(
        authority: &Authority,
        own: Option<(String, String)>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self {
            connector: TlsConnector::from(Arc::new(config)),
        }
    }

    async fn talk(&self, running: &Running) -> String {
        let name = ServerName::try_from("localhost").unwrap();
        match self.connector.connect(name, running.connect().await).await {
            Ok(stream) => talk(stream).await,
            Err(_) => String::new(),
        }
    }
}

const V12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const V13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

#[tokio::test]
async fn serves_plain_connections() {
    let mut running = Running::start(None, 10).await;
    assert_eq!(talk(running.connect().await).await, "hello!");
    let peer = running.peers.recv().await.unwrap();
    assert_eq!(peer.local, running.address);
    assert!(peer.tls.is_none());
}

#[tokio::test]
async fn serves_encrypted_connections_of_the_versions_allowed() {
    let authority = Authority::new();
    let files = Files::with_server(&authority);
    let check = async |version_min, client, expected: &str| {
        let mut config = files.config();
        config.version_min = version_min;
        let tls = Tls::open(&config).unwrap().map(Arc::new);
        let mut running = Running::start(tls, 10).await;
        let heard = Client::new(&authority, None, client).talk(&running).await;
        assert_eq!(
            heard.is_empty(),
            expected.is_empty(),
            "{version_min:?} {expected}"
        );
        if !expected.is_empty() {
            let peer = running.peers.recv().await.unwrap().tls.unwrap();
            assert_eq!((peer.version.as_str(), heard.as_str()), (expected, "hello!"));
            assert!(peer.certificate.is_none());
        }
    };
    check(TlsVersion::V12, V12, "TLSv1_2").await;
    check(TlsVersion::V12, V13, "TLSv1_3").await;
    check(TlsVersion::V13, V13, "TLSv1_3").await;
    check(TlsVersion::V13, V12, "").await;
}

#[tokio::test]
async fn mutual_tls_lets_in_only_clients_of_the_authority() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let files = Files::with_server(&ours);
    files.write("ca.pem", &ours.pem);
    let tls = Tls::open(&files.config()).unwrap().map(Arc::new);
    let mut running = Running::start(tls, 10).await;
    for versions in [V12, V13] {
        let check = async |own: Option<(String, String)>, expected: &str, what: &str| {
            assert_eq!(
                Client::new(&ours, own, versions).talk(&running).await,
                expected,
                "{what}"
            );
        };
        check(Some(ours.client()), "hello!", "a certificate of the authority").await;
        check(None, "", "no certificate").await;
        check(Some(theirs.client()), "", "a certificate of another authority").await;
        check(Some(ours.server()), "", "a certificate that is not for clients").await;
    }
    let peer = running.peers.recv().await.unwrap().tls.unwrap();
    assert!(peer.certificate.is_some());
    running.peers.recv().await.unwrap();
    assert!(
        running.peers.try_recv().is_err(),
        "only the two with a good certificate may be served"
    );
}

#[tokio::test]
async fn a_client_without_tls_disturbs_nobody() {
    let authority = Authority::new();
    let files = Files::with_server(&authority);
    let tls = Tls::open(&files.config()).unwrap().map(Arc::new);
    let running = Running::start(tls, 10).await;
    let mut plain = running.connect().await;
    plain.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
    let mut answer = Vec::new();
    // An alert or a reset; never a greeting.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(answer.len() < 16, "{answer:?}");
    assert_eq!(Client::new(&authority, None, V13).talk(&running).await, "hello!");
}

#[tokio::test]
async fn a_stalled_handshake_ends() {
    let authority = Authority::new();
    let mut tls = Tls::open(&Files::with_server(&authority).config())
        .unwrap()
        .unwrap();
    tls.handshake_max = Duration::from_millis(50);
    let running = Running::start(Some(Arc::new(tls)), 1).await;
    let mut stalled = running.connect().await;
    assert_eq!(stalled.read(&mut [0; 16]).await.unwrap_or(0), 0);
    running.connections.emptied().await;
    assert_eq!(Client::new(&authority, None, V13).talk(&running).await, "hello!");
}

#[tokio::test]
async fn renewed_certificates_are_used_and_bad_ones_are_not() {
    let (former, latter) = (Authority::new(), Authority::new());
    let files = Files::with_server(&former);
    let tls = Arc::new(Tls::open(&files.config()).unwrap().unwrap());
    let running = Running::start(Some(tls.clone()), 10).await;
    let check = async |authority: &Authority, expected: &str| {
        assert_eq!(Client::new(authority, None, V13).talk(&running).await, expected);
    };
    check(&former, "hello!").await;

    let (certificate, key) = latter.server();
    files.write("cert.pem", &certificate);
    let refused = tls.reload(&files.config()).unwrap_err().to_string();
    assert!(
        refused.contains("key.pem: is not the key of the first certificate in "),
        "{refused}"
    );
    check(&former, "hello!").await;

    files.write("key.pem", &key);
    tls.reload(&files.config()).unwrap();
    check(&latter, "hello!").await;
    check(&former, "").await;
}

#[tokio::test]
async fn the_limit_holds_and_places_come_back() {
    let running = Running::start(None, 2).await;
    let mut first = running.connect().await;
    let mut second = running.connect().await;
    let mut greeting = [0; 5];
    first.read_exact(&mut greeting).await.unwrap();
    second.read_exact(&mut greeting).await.unwrap();
    assert_eq!(
        talk(running.connect().await).await,
        "",
        "a third of two was served"
    );
    drop(first);
    while running.connections.open() == 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(talk(running.connect().await).await, "hello!");
}

#[tokio::test]
async fn at_the_end_connections_are_told_and_no_more_are_accepted() {
    let running = Running::start(None, 10).await;
    let mut client = running.connect().await;
    let mut heard = String::new();
    client.read_exact(&mut [0; 5]).await.unwrap();
    running.shutdown.begin();
    client.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "bye");
    running.connections.emptied().await;
    running.listening.await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_refused_with_a_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let check = async |address: &str, expected: &str| {
        let refused = Bound::take(address, "amqp.listen").await.unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("amqp.listen: cannot listen on {address}: ")),
            "{refused}"
        );
        assert!(refused.contains(expected), "{refused}");
    };
    check(&address, "stop it, or choose another address").await;
    check("192.0.2.1:5672", "this machine has no such address").await;
}

#[test]
fn bad_files_are_refused_by_name_and_with_a_remedy() {
    let authority = Authority::new();
    let (certificate, key) = authority.server();
    let (_, other_key) = authority.server();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n";
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let check = |certificate: &str, key: &str, ca: Option<&str>, expected: &str| {
        let files = Files::new();
        files.write("cert.pem", certificate);
        files.write("key.pem", key);
        ca.map(|ca| files.write("ca.pem", ca));
        let refused = Tls::open(&files.config()).err().expect(expected).to_string();
        let refused = refused.replace(&format!("{}/", files.directory.path().display()), "");
        assert!(refused.starts_with(expected), "{refused}\n{expected}");
    };
    check(
        "",
        &key,
        None,
        "tls.certificate: cert.pem: holds no certificate; it must be PEM",
    );
    check(
        &key,
        &key,
        None,
        "tls.certificate: cert.pem: holds no certificate; it must be PEM",
    );
    check(
        broken,
        &key,
        None,
        "tls.certificate: cert.pem: is not valid PEM: ",
    );
    check(nonsense, &key, None, "tls.certificate: cert.pem: ");
    check(
        &certificate,
        "",
        None,
        "tls.key: key.pem: holds no private key; it must be PEM",
    );
    check(
        &certificate,
        &certificate,
        None,
        "tls.key: key.pem: holds no private key; it must be PEM",
    );
    check(
        &certificate,
        encrypted,
        None,
        "tls.key: key.pem: is protected by a passphrase",
    );
    check(
        &certificate,
        &other_key,
        None,
        "tls.key: key.pem: is not the key of the first certificate in cert.pem",
    );
    check(
        &certificate,
        &key,
        Some(""),
        "tls.client_ca: ca.pem: holds no certificate; it must be PEM",
    );
    check(
        &certificate,
        &key,
        Some(nonsense),
        "tls.client_ca: ca.pem: holds a certificate that cannot be used: ",
    );

    let files = Files::with_server(&authority);
    let mut config = files.config();
    config.key = OptionalPath(Some("/nowhere/key.pem".into()));
    let refused = Tls::open(&config).err().unwrap().to_string();
    assert!(
        refused.starts_with("tls.key: /nowhere/key.pem cannot be read: No such file"),
        "{refused}"
    );
}
