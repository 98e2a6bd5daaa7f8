//! One broker process of a test's own: started on a free port of the loopback, killed, started again, cleaned up.

use crate::{binary, certificates::Certificates};
use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a broker may take until it answers; RabbitMQ needs several seconds.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a broker may take to end when it is asked politely.
const STOP_MAX: Duration = Duration::from_secs(20);

/// A user beyond `guest`, with what it may do in the virtual host `/`.
#[derive(Clone, Debug)]
pub struct User {
    /// The name that it logs in with.
    pub name: &'static str,
    /// Its password, in clear.
    pub password: &'static str,
    /// Regular expressions for configure, write and read; `None` gives no access to the virtual host.
    pub permissions: Option<[&'static str; 3]>,
}

/// What a broker is started with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Users beyond `guest`.
    pub users: Vec<User>,
    /// Listen for TLS as well; `Some(true)` demands a certificate of the client.
    pub tls: Option<bool>,
    /// Where its data lies; a folder of its own if nothing is said.
    pub data: Option<PathBuf>,
    /// Serve the management API as well.
    pub management: bool,
    /// Serve metrics for Prometheus as well.
    pub metrics: bool,
    /// More of our configuration, as TOML. Our binary only.
    pub config: String,
    /// What is set in its environment.
    pub environment: Vec<(&'static str, &'static str)>,
}

/// Which broker the tests run against.
enum Against {
    Everack,
    RabbitMq,
    /// One that runs already and is left running.
    Url(String),
}

impl Against {
    fn from_environment() -> Self {
        match std::env::var("COMPAT_AGAINST").as_deref() {
            Err(_) | Ok("" | "everack") => Self::Everack,
            Ok("rabbitmq") => Self::RabbitMq,
            Ok(url) => Self::Url(url.to_owned()),
        }
    }
}

/// Whether the tests run against RabbitMQ, where an expectation of ours goes beyond what it does.
pub fn is_rabbitmq() -> bool {
    !matches!(Against::from_environment(), Against::Everack)
}

/// A running broker. Dropping it kills the process and removes its data.
pub struct Broker {
    against: Against,
    settings: Settings,
    certificates: Option<Certificates>,
    folder: TempDir,
    port: u16,
    tls_port: u16,
    management_port: u16,
    metrics_port: u16,
    child: Option<Child>,
}

impl Broker {
    /// A broker with nothing but its defaults.
    pub fn start() -> Self {
        Self::with(Settings::default())
    }

    /// A broker with users or TLS. Panics when it does not come up: no test makes sense then.
    pub fn with(settings: Settings) -> Self {
        Self::of(Against::from_environment(), settings)
    }

    /// Our binary, whatever the tests run against.
    pub fn everack(settings: Settings) -> Self {
        Self::of(Against::Everack, settings)
    }

    /// Debian's RabbitMQ, whatever the tests run against.
    pub fn rabbitmq(settings: Settings) -> Self {
        Self::of(Against::RabbitMq, settings)
    }

    fn of(against: Against, settings: Settings) -> Self {
        let folder = TempDir::with_prefix("everack-compat-").expect("a temporary folder can be made");
        let certificates = settings
            .tls
            .map(|_| Certificates::make(folder.path()).expect("openssl makes certificates"));
        let (port, tls_port) = (free_port(), free_port());
        let mut broker = Self {
            against,
            settings,
            certificates,
            folder,
            port,
            tls_port,
            management_port: free_port(),
            metrics_port: free_port(),
            child: None,
        };
        broker
            .launch()
            .unwrap_or_else(|error| panic!("the broker does not start: {error:#}\n{}", broker.log()));
        broker
    }

    /// Where it listens for AMQP.
    pub fn address(&self) -> SocketAddr {
        match &self.against {
            Against::Url(url) => address_of(url),
            _ => SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
        }
    }

    /// Where it listens for AMQP over TLS.
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// Where its management API is, if it was started with one.
    pub fn management(&self) -> SocketAddr {
        assert!(
            self.settings.management,
            "this broker was started without the management API"
        );
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.management_port))
    }

    /// Where its metrics are, if it was started with them.
    pub fn metrics(&self) -> SocketAddr {
        assert!(self.settings.metrics, "this broker was started without metrics");
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.metrics_port))
    }

    /// The certificates that it was started with.
    pub fn certificates(&self) -> &Certificates {
        self.certificates
            .as_ref()
            .expect("this broker was started with TLS")
    }

    /// The URL of its default user and virtual host.
    pub fn url(&self) -> String {
        match &self.against {
            Against::Url(url) => url.clone(),
            _ => self.url_as("guest", "guest"),
        }
    }

    /// The URL of another user.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("amqp://{user}:{password}@{}/%2f", self.address())
    }

    /// The folder of its data, for tests that damage it while it is down.
    pub fn data(&self) -> PathBuf {
        let own = || self.folder.path().join("data");
        self.settings.data.clone().unwrap_or_else(own)
    }

    /// What it wrote to its standard error, for messages.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(40).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Whether the process still lives, and accepts connections.
    pub fn is_alive(&self) -> bool {
        let process = self
            .child
            .as_ref()
            .is_none_or(|child| test_kill_process(pid(child)).is_ok());
        process && answers(self.address())
    }

    /// The id of its process; `None` for a broker that somebody else has started.
    pub fn process_id(&self) -> Option<u32> {
        Some(self.child.as_ref()?.id())
    }

    /// Its resident memory in bytes; `None` for a broker that is not ours.
    pub fn resident_bytes(&self) -> Option<u64> {
        self.status_bytes("VmRSS:")
    }

    /// The most resident memory it ever had, in bytes.
    pub fn resident_bytes_max(&self) -> Option<u64> {
        self.status_bytes("VmHWM:")
    }

    /// Begins the count of [`Broker::resident_bytes_max`] again.
    pub fn forget_resident_bytes_max(&self) {
        if let Some(child) = &self.child {
            // The kernel's word for it; where it is refused, the maximum stays what it was, and a test fails that need not.
            let _ = fs::write(format!("/proc/{}/clear_refs", child.id()), "5");
        }
    }

    fn status_bytes(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.as_ref()?.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with(field))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }

    /// SIGKILL: no chance to write anything more.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and the exit status that it answers with.
    pub fn stop(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        let mut child = self.child.take().context("the broker is not running")?;
        kill_process(pid(&child), Signal::TERM)?;
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill()?;
        child.wait()?;
        bail!("the broker did not end within {STOP_MAX:?} of SIGTERM")
    }

    /// Starts it again on the same port and data; the time that it took until it answered.
    pub fn restart(&mut self) -> anyhow::Result<Duration> {
        self.kill();
        let start = Instant::now();
        self.launch()?;
        Ok(start.elapsed())
    }

    fn launch(&mut self) -> anyhow::Result<()> {
        let mut command = match &self.against {
            Against::Url(_) => return self.wait_until_it_answers(),
            Against::Everack => self.everack_command()?,
            Against::RabbitMq => self.rabbitmq_command()?,
        };
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("stderr"))?;
        let is_everack = matches!(self.against, Against::Everack);
        let stdout = if is_everack {
            Stdio::piped()
        } else {
            Stdio::from(stderr.try_clone()?)
        };
        let mut child = command
            .envs(self.settings.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()?;
        let stdout = child.stdout.take();
        self.child = Some(child);
        if let Some(stdout) = stdout {
            ready_line(stdout)?;
        }
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_MAX;
        while !answers(self.address()) {
            if let Some(status) = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().transpose())
                .transpose()?
            {
                bail!("it ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("no answer on {} within {START_MAX:?}", self.address());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The command of our binary. It dies with the thread that starts it, so that an interrupted test leaves nothing.
    fn everack_command(&self) -> anyhow::Result<Command> {
        let everack = std::env::var_os("EVERACK_BIN").map_or_else(|| binary("everack"), PathBuf::from);
        if !everack.exists() {
            bail!(
                "{} does not exist: `cargo xtask test --only build` makes it",
                everack.display()
            );
        }
        let config = self.folder.path().join("everack.toml");
        fs::write(&config, self.everack_config(&everack)?)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(everack)
            .arg("serve")
            .arg("--data")
            .arg(self.data());
        command
            .arg("--amqp")
            .arg(self.address().to_string())
            .arg("--config")
            .arg(config);
        let management = if self.settings.management {
            self.management().to_string()
        } else {
            "off".to_owned()
        };
        command.arg("--http").arg(management);
        let metrics = if self.settings.metrics {
            self.metrics().to_string()
        } else {
            "off".to_owned()
        };
        command.arg("--metrics").arg(metrics);
        Ok(command)
    }

    fn everack_config(&self, everack: &Path) -> anyhow::Result<String> {
        let mut text = self.settings.config.clone();
        for user in &self.settings.users {
            let hash = hash_password(everack, user.password)?;
            text += &format!("[[users]]\nname = {:?}\npassword_hash = {hash:?}\n", user.name);
            if let Some([configure, write, read]) = user.permissions {
                text += "[[users.permissions]]\nvhost = \"/\"\n";
                text += &format!("configure = {configure:?}\nwrite = {write:?}\nread = {read:?}\n");
            }
        }
        if let Some(certificates) = &self.certificates {
            text += &format!("[tls]\nlisten = \"127.0.0.1:{}\"\n", self.tls_port);
            text += &format!(
                "certificate = {:?}\nkey = {:?}\n",
                certificates.server(),
                certificates.server_key()
            );
            if self.settings.tls == Some(true) {
                text += &format!("client_ca = {:?}\n", certificates.ca());
            }
        }
        Ok(text)
    }

    /// The command of Debian's RabbitMQ, with everything that it writes in our folder.
    fn rabbitmq_command(&self) -> anyhow::Result<Command> {
        let folder = self.folder.path();
        let server = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        if !server.exists() {
            bail!("rabbitmq-server is not installed: `cargo xtask setup`");
        }
        fs::create_dir_all(folder.join("home"))?;
        let plugins = [
            (self.settings.management, "rabbitmq_management"),
            (self.settings.metrics, "rabbitmq_prometheus"),
        ];
        let plugins: Vec<_> = plugins
            .iter()
            .filter_map(|(wanted, name)| wanted.then_some(*name))
            .collect();
        fs::write(folder.join("plugins"), format!("[{}].", plugins.join(",")))?;
        fs::write(folder.join("rabbit.conf"), self.rabbitmq_config())?;
        fs::write(folder.join("definitions.json"), self.rabbitmq_definitions())?;
        let mut command = Command::new(server);
        command
            .env("HOME", folder.join("home"))
            .env("RABBITMQ_SERVER_START_ARGS", "-noinput");
        // Otherwise the process that we kill would only be a shell.
        command.env("RABBITMQ_ALLOW_INPUT", "1");
        command.env("RABBITMQ_NODENAME", self.rabbitmq_node());
        command.env("RABBITMQ_DIST_PORT", free_port().to_string());
        command
            .env("ERL_EPMD_PORT", self.epmd_port().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command
            .env("RABBITMQ_MNESIA_BASE", self.data())
            .env("RABBITMQ_LOG_BASE", folder.join("log"));
        command.env("RABBITMQ_GENERATED_CONFIG_DIR", folder.join("generated"));
        command.env("RABBITMQ_CONFIG_FILE", folder.join("rabbit"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"));
        Ok(command)
    }

    /// What RabbitMQ's own tools have to find in their environment to speak to this broker.
    pub fn tool_environment(&self) -> Vec<(String, String)> {
        let home = self.folder.path().join("home").display().to_string();
        let values = [
            ("HOME", home),
            ("RABBITMQ_NODENAME", self.rabbitmq_node()),
            ("ERL_EPMD_PORT", self.epmd_port().to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ];
        values.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    fn rabbitmq_node(&self) -> String {
        format!("compat{}@localhost", self.port)
    }

    /// The port of the name service that RabbitMQ starts beside itself.
    fn epmd_port(&self) -> u16 {
        self.port + 20_000
    }

    fn rabbitmq_config(&self) -> String {
        let mut text = format!("listeners.tcp.1 = {}\n", self.address());
        text += "vm_memory_high_watermark.relative = 0.8\ndisk_free_limit.absolute = 50MB\n";
        text += &format!(
            "load_definitions = {}\n",
            self.folder.path().join("definitions.json").display()
        );
        if self.settings.management {
            let port = self.management_port;
            text += &format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n");
        }
        if self.settings.metrics {
            let port = self.metrics_port;
            text += &format!("prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {port}\n");
        }
        if let Some(certificates) = &self.certificates {
            text += &format!("listeners.ssl.1 = 127.0.0.1:{}\n", self.tls_port);
            text += &format!("ssl_options.cacertfile = {}\n", certificates.ca().display());
            text += &format!("ssl_options.certfile = {}\n", certificates.server().display());
            text += &format!("ssl_options.keyfile = {}\n", certificates.server_key().display());
            let demand = self.settings.tls == Some(true);
            let verify = if demand { "verify_peer" } else { "verify_none" };
            text += &format!("ssl_options.verify = {verify}\nssl_options.fail_if_no_peer_cert = {demand}\n");
        }
        text
    }

    fn rabbitmq_definitions(&self) -> String {
        let guest = User {
            name: "guest",
            password: "guest",
            permissions: Some([".*"; 3]),
        };
        let users: Vec<&User> = std::iter::once(&guest).chain(&self.settings.users).collect();
        let tags = |user: &User| {
            if user.name == "guest" {
                vec!["administrator"]
            } else {
                Vec::new()
            }
        };
        let logins = users.iter().map(
            |user| serde_json::json!({ "name": user.name, "password": user.password, "tags": tags(user) }),
        );
        let permissions = users.iter().filter_map(|user| {
            let [configure, write, read] = user.permissions?;
            let of = user.name;
            Some(serde_json::json!({ "user": of, "vhost": "/", "configure": configure, "write": write, "read": read }))
        });
        let definitions = serde_json::json!({
            "users": logins.collect::<Vec<_>>(),
            "vhosts": [{ "name": "/" }],
            "permissions": permissions.collect::<Vec<_>>(),
        });
        definitions.to_string()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        if matches!(self.against, Against::RabbitMq) {
            let mut epmd = Command::new("epmd");
            epmd.args(["-port", &self.epmd_port().to_string(), "-kill"])
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            // A name service that is gone already is what we want.
            let _ = epmd.status();
        }
    }
}

/// Our configuration holds no passwords, only what `everack hash-password` makes of them.
fn hash_password(everack: &Path, password: &str) -> anyhow::Result<String> {
    let mut command = Command::new(everack);
    let mut child = command
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("standard input is piped")?
        .write_all(password.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("everack hash-password ended with {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// A port that nobody listens on, below the range that outgoing connections are given.
pub fn free_port() -> u16 {
    let mut seed = [0; 2];
    loop {
        let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed));
        random.expect("the system gives random bytes");
        let port = 12_000 + u16::from_le_bytes(seed) % 20_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Waits for the one line that says that connections are accepted.
fn ready_line(stdout: impl Read) -> anyhow::Result<()> {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim().is_empty() {
        bail!("it ended before it was ready")
    } else {
        Ok(())
    }
}

/// Whether somebody answers the protocol header there with a frame.
fn answers(address: SocketAddr) -> bool {
    let attempt = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        let mut first = [0];
        stream.read_exact(&mut first)?;
        Ok(first[0] == 1)
    };
    attempt().unwrap_or(false)
}

fn address_of(url: &str) -> SocketAddr {
    let host = url
        .rsplit('@')
        .next()
        .unwrap_or(url)
        .trim_start_matches("amqp://");
    let host = host.split('/').next().unwrap_or(host);
    host.parse().unwrap_or_else(|_| {
        panic!("COMPAT_AGAINST must name an address and a port, such as 127.0.0.1:5672: {url}")
    })
}
