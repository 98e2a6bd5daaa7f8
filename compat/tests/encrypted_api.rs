//! The commands that ask a management API, over an encrypted connection: `everack ctl`, `doctor` and `migrate`. Neither Everack's HTTP
//! listener nor Debian's RabbitMQ as the tests start it speaks TLS, so a proxy in front of the broker does.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use everack_compat::binary;
use everack_compat::broker::{Broker, Settings};
use everack_compat::certificates::Certificates;
use everack_compat::tls_proxy::TlsProxy;
use libtest_mimic::Arguments;
use tempfile::TempDir;

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![everack_compat::trial(
        "only a certificate that is trusted is answered",
        encrypted,
    )];
    libtest_mimic::run(&arguments, trials).exit();
}

/// A broker behind the proxy, and certificates: those that the proxy shows, and those of an authority that has nothing to do with it.
struct Scene {
    broker: Broker,
    folder: TempDir,
    certificates: Certificates,
    strangers: Certificates,
}

impl Scene {
    fn proxy(&self, host: IpAddr) -> anyhow::Result<TlsProxy> {
        let Self {
            certificates, broker, ..
        } = self;
        TlsProxy::start(
            host,
            &certificates.server(),
            &certificates.server_key(),
            broker.management(),
        )
    }
}

fn encrypted() -> anyhow::Result<()> {
    let (folder, other) = (TempDir::new()?, TempDir::new()?);
    let scene = Scene {
        broker: Broker::with(Settings {
            management: true,
            ..Settings::default()
        }),
        certificates: Certificates::make(folder.path())?,
        strangers: Certificates::make(other.path())?,
        folder,
    };
    let proxy = scene.proxy(Ipv4Addr::LOCALHOST.into())?;
    let port = proxy.address().port();
    let (ours, theirs) = (scene.certificates.ca(), scene.strangers.ca());
    for host in ["localhost", "127.0.0.1"] {
        check(&scene, host, port, Some(&ours), None)?;
    }
    let untrusted = Some("certificate");
    check(&scene, "localhost", port, None, untrusted)?;
    check(&scene, "localhost", port, Some(&theirs), untrusted)?;
    let nothing: PathBuf = scene.folder.path().join("server.key");
    check(
        &scene,
        "localhost",
        port,
        Some(&nothing),
        Some("there is no certificate in it"),
    )?;
    // The certificate is for 127.0.0.1 and localhost.
    let elsewhere = scene.proxy(Ipv4Addr::new(127, 0, 0, 2).into())?;
    let port = elsewhere.address().port();
    check(&scene, "127.0.0.2", port, Some(&ours), untrusted)
}

/// Each command is answered, or says why not.
fn check(
    scene: &Scene,
    host: &str,
    port: u16,
    ca: Option<&Path>,
    complaint: Option<&str>,
) -> anyhow::Result<()> {
    let url = format!("https://guest:guest@{host}:{port}");
    let plain = format!("http://guest:guest@{}", scene.broker.management());
    let state = scene.folder.path().join("state").display().to_string();
    let commands: [&[&str]; 3] = [
        &["ctl", "--url", &url, "whoami"],
        &["doctor", "--watch", "0", "--url", &url],
        &[
            "migrate",
            "--dry-run",
            "--state",
            &state,
            "--from",
            &plain,
            "--to",
            &url,
        ],
    ];
    for words in commands {
        let mut command = Command::new(binary("everack"));
        command.args(words);
        if let Some(ca) = ca {
            command.arg("--ca").arg(ca);
        }
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let unread =
            matches!(output.status.code(), Some(2 | 5)) || words[0] == "ctl" && !output.status.success();
        match complaint {
            None => ensure!(!unread, "{words:?}: {} {said}", output.status),
            Some(part) => ensure!(said.contains(part), "{words:?}: {} {said}", output.status),
        }
    }
    Ok(())
}
