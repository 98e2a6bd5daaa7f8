//! A PostgreSQL server of our own: Debian's binaries, a temporary cluster, a random port on the loopback interface.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) struct Postgres {
    server: Child,
    port: u16,
    _cluster: TempDir,
}

/// PostgreSQL refuses to run as root: then it runs as the user that its Debian package has made.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl Postgres {
    /// Starts a server, or says why there is none: a machine without PostgreSQL skips these tests, CI does not.
    pub(crate) fn start() -> Option<Self> {
        match Self::try_start() {
            Ok(server) => Some(server),
            Err(missing) if std::env::var("CI").is_ok_and(|ci| ci == "true") => {
                panic!(
                    "CI=true and no PostgreSQL to test with: {missing}. Install it: apt-get install postgresql"
                )
            }
            Err(missing) => {
                eprintln!(
                    "SKIPPED, no PostgreSQL to test with: {missing}. To run it: apt-get install postgresql"
                );
                None
            }
        }
    }

    fn try_start() -> Result<Self, String> {
        let initdb = find("initdb").ok_or("initdb is not installed")?;
        let postgres = find("postgres").ok_or("postgres is not installed")?;
        let user = if rustix::process::getuid().is_root() {
            Some(unprivileged()?)
        } else {
            None
        };
        let cluster = tempfile::Builder::new()
            .prefix("shop-postgres-")
            .tempdir()
            .map_err(|e| e.to_string())?;
        if let Some(User { uid, gid }) = user {
            std::os::unix::fs::chown(cluster.path(), Some(uid), Some(gid)).map_err(|e| e.to_string())?;
        }
        let data = cluster.path().join("data");

        let mut init = command(&initdb, user, cluster.path());
        init.args([
            "--auth=trust",
            "--no-sync",
            "--username=shop",
            "--encoding=UTF8",
            "--locale=C",
            "-D",
        ])
        .arg(&data);
        let made = init.output().map_err(|e| format!("{}: {e}", initdb.display()))?;
        assert!(
            made.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&made.stderr)
        );

        let port = free_port();
        let mut serve = command(&postgres, user, cluster.path());
        serve.arg("-D").arg(&data).args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
        ]);
        // The cluster is thrown away: a power cut is not what these tests are about.
        serve.args(["-c", &format!("port={port}"), "-c", "fsync=off"]);
        let server = serve
            .spawn()
            .map_err(|e| format!("{}: {e}", postgres.display()))?;
        let mut started = Self {
            server,
            port,
            _cluster: cluster,
        };
        started.wait_until_ready();
        Ok(started)
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let address = (Ipv4Addr::LOCALHOST, self.port);
        while std::net::TcpStream::connect(address).is_err() {
            let ended = self.server.try_wait().expect("the server can be waited for");
            assert!(ended.is_none(), "PostgreSQL ended by itself: {ended:?}");
            assert!(Instant::now() < deadline, "PostgreSQL does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where the database `name` is.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("postgres://shop@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT ends it at once, with all its backends.
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.server),
            rustix::process::Signal::QUIT,
        );
        let _ = self.server.wait();
    }
}

fn command(program: &Path, user: Option<User>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
    super::bed::die_with_test(&mut command);
    command
}

/// In the path, or where Debian keeps the servers of all versions.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|directory| directory.join(program));
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    versions.sort_by_key(|entry| std::cmp::Reverse(entry.path()));
    let in_debian = versions
        .into_iter()
        .map(|entry| entry.path().join("bin").join(program));
    in_path.chain(in_debian).find(|candidate| candidate.is_file())
}

fn unprivileged() -> Result<User, String> {
    let users = std::fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let user = users.lines().map(fields).find(|fields| fields[0] == "postgres");
    let user = user.ok_or("there is no user 'postgres' to run it as")?;
    match (user[2].parse(), user[3].parse()) {
        (Ok(uid), Ok(gid)) => Ok(User { uid, gid }),
        _ => Err("the line of 'postgres' in /etc/passwd cannot be read".to_owned()),
    }
}

fn free_port() -> u16 {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback interface has a free port");
    listener.local_addr().expect("a listener has an address").port()
}
