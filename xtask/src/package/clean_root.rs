//! The package in a clean Debian root: what a newcomer does, and what is left when they go.
//!
//! Needs root, and once a mirror of Debian's; the root is kept as an archive beside the package. There is no service manager in a
//! root: the unit's command line is run by hand, as the unit's user.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::deb::COMPLETIONS;
use super::fresh;
use crate::shell;

/// Debian's release that the package is tested on.
const RELEASE: &str = "bookworm";
/// How long the broker may take until it answers, and until it has stopped.
const START_MAX: Duration = Duration::from_secs(20);

/// A root with the package in it.
struct Root {
    folder: PathBuf,
}

/// Installs, starts, connects, upgrades, removes and purges.
pub(super) fn test(package: &Path, folder: &Path) -> anyhow::Result<()> {
    ensure!(is_possible()?, "a clean root needs root's rights");
    let root = Root::unpack(folder)?;
    step("install");
    root.dpkg(&["--install"], package)?;
    root.check_files()?;
    root.check_unit()?;
    step("start as the service's user, and connect");
    root.serve()?;
    step("install again: an upgrade leaves the configuration as it was changed");
    let config = root.folder.join("etc/everack/everack.toml");
    fs::write(&config, format!("{}\n# ours\n", fs::read_to_string(&config)?))?;
    root.dpkg(&["--install", "--force-confold"], package)?;
    ensure!(
        fs::read_to_string(&config)?.ends_with("# ours\n"),
        "the upgrade has changed the configuration"
    );
    step("remove: data and configuration stay");
    root.run(&["dpkg", "--remove", "everack"])?;
    ensure!(!root.has("usr/bin/everack"), "the binary is still there");
    ensure!(
        root.has("var/lib/everack") && root.has("etc/everack/everack.toml"),
        "data or configuration are gone"
    );
    step("purge: they go");
    root.run(&["dpkg", "--purge", "everack"])?;
    ensure!(
        !root.has("var/lib/everack") && !root.has("etc/everack"),
        "data or configuration are still there"
    );
    fs::remove_dir_all(&root.folder)?;
    println!("the package installs, serves, upgrades, leaves and purges");
    Ok(())
}

fn step(what: &str) {
    println!("-- {what}");
}

/// Whether a root can be made and entered.
pub(super) fn is_possible() -> anyhow::Result<bool> {
    Ok(shell::capture(shell::command("id").arg("-u"))?.trim() == "0")
}

impl Root {
    fn unpack(folder: &Path) -> anyhow::Result<Self> {
        let archive = folder.join(format!("{RELEASE}.tar"));
        if !archive.exists() {
            ensure!(
                shell::on_path("mmdebstrap"),
                "mmdebstrap is not there: `apt install mmdebstrap`"
            );
            step("a clean Debian root");
            let half = folder.join("half.tar");
            let mut mmdebstrap = shell::command("mmdebstrap");
            // adduser is not in the smallest root, and what the package depends on.
            mmdebstrap.args(["--quiet", "--variant=minbase", "--include=adduser", RELEASE]);
            shell::run(mmdebstrap.arg(&half))?;
            fs::rename(half, &archive)?;
        }
        let folder = folder.join("root");
        fresh(&folder)?;
        let mut tar = shell::command("tar");
        shell::run(
            tar.args(["--extract", "--exclude=./dev/*", "--file"])
                .arg(&archive)
                .arg("--directory")
                .arg(&folder),
        )?;
        Ok(Self { folder })
    }

    fn has(&self, path: &str) -> bool {
        self.folder.join(path).exists()
    }

    /// A command within the root.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = shell::command("chroot");
        command.arg(&self.folder).args(words);
        command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    fn run(&self, words: &[&str]) -> anyhow::Result<()> {
        shell::run(&mut self.command(words))
    }

    fn dpkg(&self, how: &[&str], package: &Path) -> anyhow::Result<()> {
        fs::copy(package, self.folder.join("everack.deb"))?;
        let words: Vec<&str> = ["dpkg"]
            .iter()
            .chain(how)
            .chain(&["/everack.deb"])
            .copied()
            .collect();
        self.run(&words)
    }

    /// Who may read and write what.
    fn check_files(&self) -> anyhow::Result<()> {
        let check = |path: &str, expected: &str| -> anyhow::Result<()> {
            let seen = shell::capture(&mut self.command(&["stat", "--format=%U:%G %a", path]))?;
            ensure!(
                seen.trim() == expected,
                "{path} is {}, not {expected}",
                seen.trim()
            );
            Ok(())
        };
        check("/usr/bin/everack", "root:root 755")?;
        check("/etc/everack/everack.toml", "root:everack 640")?;
        check("/var/lib/everack", "everack:everack 700")?;
        for page in ["everack", "everack-serve", "everack-ctl-list"] {
            check(&format!("/usr/share/man/man1/{page}.1.gz"), "root:root 644")?;
        }
        for (_, completion) in COMPLETIONS {
            check(&format!("/{completion}"), "root:root 644")?;
        }
        let shell_of = shell::capture(&mut self.command(&["getent", "passwd", "everack"]))?;
        ensure!(
            shell_of.trim().ends_with("/nologin"),
            "the service's user can log in: {shell_of}"
        );
        self.run(&["everack", "config", "--check", "/etc/everack/everack.toml"])
    }

    /// The service manager's own check, where it is on this machine.
    fn check_unit(&self) -> anyhow::Result<()> {
        if !shell::on_path("systemd-analyze") {
            println!("systemd-analyze is not there: the unit was NOT verified");
            return Ok(());
        }
        let unit = self.folder.join("lib/systemd/system/everack.service");
        // Verified by its text: the binary lies within the root.
        let text = fs::read_to_string(&unit)?.replace("/usr/bin/everack", "/bin/true");
        let copy = self.folder.join("tmp/everack.service");
        fs::write(&copy, text)?;
        let mut verify = shell::command("systemd-analyze");
        let said = verify
            .args(["verify", "--man=no"])
            .arg(&copy)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let about_us: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("everack.service"))
            .collect();
        ensure!(
            about_us.is_empty(),
            "systemd-analyze verify: {}",
            about_us.join("\n")
        );
        let mut security = shell::command("systemd-analyze");
        let report = shell::capture(
            security
                .args(["security", "--offline=true", "--no-pager"])
                .arg(&copy),
        );
        let exposure = report.unwrap_or_default();
        let line = exposure
            .lines()
            .find(|line| line.contains("Overall exposure level"));
        println!("{}", line.unwrap_or("systemd-analyze security: no answer").trim());
        Ok(())
    }

    /// Runs the unit's command as the unit's user, connects as AMQP client and as browser, and stops it.
    fn serve(&self) -> anyhow::Result<()> {
        let (amqp, http) = (free()?, free()?);
        let unit = fs::read_to_string(self.folder.join("lib/systemd/system/everack.service"))?;
        let start = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="))
            .context("the unit has no ExecStart")?;
        let (amqp_text, http_text) = (amqp.to_string(), http.to_string());
        let mut words = vec![
            "setpriv",
            "--reuid=everack",
            "--regid=everack",
            "--clear-groups",
            "--",
        ];
        words.extend(start.split_whitespace());
        words.extend(["--amqp", &amqp_text, "--http", &http_text]);
        let mut broker = Running(self.command(&words).stdout(Stdio::null()).spawn()?);
        let greeting = answer(amqp, b"AMQP\x00\x00\x09\x01", &mut broker)?;
        // A method frame of channel 0: connection.start.
        ensure!(
            greeting.starts_with(&[1, 0, 0]),
            "this is no greeting: {greeting:?}"
        );
        let page = answer(
            http,
            b"GET /api/overview HTTP/1.0\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n",
            &mut broker,
        )?;
        ensure!(
            page.starts_with(b"HTTP/1.0 200"),
            "{}",
            String::from_utf8_lossy(&page)
        );
        let console = format!("GET /login HTTP/1.0\r\nHost: {http}\r\n\r\n");
        let page = answer(http, console.as_bytes(), &mut broker)?;
        let page = String::from_utf8_lossy(&page);
        ensure!(
            page.starts_with("HTTP/1.0 200") && page.contains("<html"),
            "this is no console: {page}"
        );
        broker.stop()
    }
}

fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// What comes back for some bytes, once somebody listens.
fn answer(address: SocketAddr, question: &[u8], broker: &mut Running) -> anyhow::Result<Vec<u8>> {
    let deadline = Instant::now() + START_MAX;
    let mut stream = loop {
        if let Ok(stream) = TcpStream::connect(address) {
            break stream;
        }
        if let Some(status) = broker.0.try_wait()? {
            bail!("the broker has ended with {status}");
        }
        ensure!(Instant::now() < deadline, "nobody listens on {address}");
        sleep(Duration::from_millis(50));
    };
    stream.set_read_timeout(Some(START_MAX))?;
    stream.write_all(question)?;
    let mut bytes = vec![0; 4096];
    let count = stream.read(&mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// A broker that ends with its test.
struct Running(Child);

impl Running {
    /// Asks it to stop, and waits for it.
    fn stop(mut self) -> anyhow::Result<()> {
        let id = self.0.id().to_string();
        shell::run(shell::command("kill").args(["-TERM", &id]))?;
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait()? {
                ensure!(status.success(), "the broker has ended with {status}");
                return Ok(());
            }
            sleep(Duration::from_millis(50));
        }
        bail!("the broker does not stop")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
