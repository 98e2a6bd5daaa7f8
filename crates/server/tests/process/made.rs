//! What was made over the management API and what the configuration file declares, side by side: through a reload, a crash and an upgrade.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use rustix::process::Signal;

use super::{Broker, PATIENCE, Systemd, user};

/// `guest:guest`, encoded.
const GUEST: &str = "Z3Vlc3Q6Z3Vlc3Q=";

/// A broker that is told when it has read its configuration.
struct Managed {
    broker: Broker,
    systemd: Systemd,
    /// Of the management API.
    address: String,
}

impl Managed {
    fn start(config: &Path, data: Option<&str>) -> Self {
        let systemd = Systemd::new();
        let config = config.display().to_string();
        let mut arguments = vec!["--http", "127.0.0.1:0", "--config", &config];
        arguments.extend(data.iter().flat_map(|data| ["--data", data]));
        let broker = Broker::start_with(&arguments, |command| systemd.manage(command));
        systemd.wait_for("READY=1");
        let address = broker.address("http");
        Self {
            broker,
            systemd,
            address,
        }
    }

    fn reload(&self) {
        self.broker.signal(Signal::HUP);
        self.systemd.wait_for("RELOADING=1");
        self.systemd.wait_for("READY=1");
    }

    /// Status and body.
    fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} /api{path} HTTP/1.0\r\nAuthorization: Basic {GUEST}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        (
            status.unwrap_or_else(|| panic!("{method} {path}: {answer:?}")),
            body.unwrap_or_default(),
        )
    }

    #[track_caller]
    fn check(&self, method: &str, path: &str, body: &str, status: u16, words: &str) {
        let (found, said) = self.send(method, path, body);
        assert_eq!(found, status, "{method} {path} {body}: {said}");
        assert!(said.contains(words), "{method} {path} {body}: {said}");
    }
}

const BOB: &str = r#"{"password": "x", "tags": "management"}"#;
const ALL: &str = r#"{"configure": ".*", "write": ".*", "read": ".*"}"#;
const LIMIT: &str = r#"{"pattern": "^q", "definition": {"max-length": 5}}"#;

#[test]
fn what_was_made_over_the_api_stays() {
    let files = tempfile::tempdir().unwrap();
    let config = files.path().join("everack.toml");
    fs::write(&config, user("ann", "secret")).unwrap();
    let first = Managed::start(&config, None);
    first.check("PUT", "/users/bob", BOB, 201, "");
    first.check("PUT", "/permissions/%2f/bob", ALL, 201, "");
    first.check("PUT", "/policies/%2f/made", LIMIT, 201, "");
    first.check("PUT", "/vhosts/made", r#"{"description": "mine"}"#, 201, "");
    first.check("PUT", "/user-limits/bob/max-channels", r#"{"value": 7}"#, 204, "");
    first.check("PUT", "/permissions/made/ann", ALL, 201, "");
    first.check("PUT", "/cluster-name", r#"{"name": "mine"}"#, 204, "");
    let stays = |broker: &Managed| {
        broker.check("GET", "/users/bob", "", 200, "\"max-channels\":7");
        broker.check("GET", "/permissions/%2f/bob", "", 200, "");
        broker.check("GET", "/policies/%2f/made", "", 200, "");
        broker.check("GET", "/vhosts/made", "", 200, "\"fate\":\"keep\"");
        broker.check("GET", "/vhosts/made", "", 200, "\"description\":\"mine\"");
        broker.check("GET", "/permissions/made/guest", "", 200, "");
        broker.check("GET", "/permissions/made/ann", "", 200, "");
        broker.check("GET", "/overview", "", 200, "\"cluster_name\":\"mine\"");
    };
    first.reload();
    stays(&first);
    first.broker.signal(Signal::KILL);
    let directory = first.broker.directory_after_end();
    let data = directory.path().join("data").display().to_string();

    let second = Managed::start(&config, Some(&data));
    stays(&second);
    second.check("GET", "/users/ann", "", 200, "");
    // What is taken out of the file is revoked, with all that hung on it.
    fs::write(&config, "").unwrap();
    second.reload();
    second.check("GET", "/users/ann", "", 404, "");
    second.check("GET", "/permissions/made/ann", "", 404, "");
    second.check("GET", "/users/bob", "", 200, "");
    second.check("DELETE", "/users/bob", "", 204, "");
    second.broker.stopped();
}

#[test]
fn what_the_file_declares_is_not_changed_over_the_api() {
    let files = tempfile::tempdir().unwrap();
    let config = files.path().join("everack.toml");
    let policy = "[[policies]]\nname = 'p'\npattern = '^q'\ndefinition = { max-length = 5 }\n";
    fs::write(&config, format!("{}{policy}", user("ann", "secret"))).unwrap();
    let broker = Managed::start(&config, None);
    let refused = |what: &str| {
        format!("{what} is declared by the configuration file: change it there and reload the broker")
    };
    broker.check("PUT", "/users/ann", BOB, 400, &refused("user 'ann'"));
    broker.check("DELETE", "/users/ann", "", 400, &refused("user 'ann'"));
    broker.check(
        "POST",
        "/users/bulk-delete",
        r#"{"users": ["guest", "ann"]}"#,
        400,
        &refused("user 'ann'"),
    );
    let permissions = refused("the permissions of user 'ann' in vhost '/'");
    broker.check("PUT", "/permissions/%2f/ann", ALL, 400, &permissions);
    broker.check("DELETE", "/permissions/%2f/ann", "", 400, &permissions);
    let policy = refused("policy 'p' in vhost '/'");
    broker.check("DELETE", "/policies/%2f/p", "", 400, &policy);
    broker.check(
        "PUT",
        "/policies/%2f/p",
        r#"{"pattern": "^r", "definition": {"max-length": 5}}"#,
        400,
        &policy,
    );
    // As it is declared is no change.
    broker.check("PUT", "/policies/%2f/p", LIMIT, 204, "");
    broker.check("DELETE", "/vhosts/%2f", "", 400, &refused("vhost '/'"));
    broker.check("GET", "/users/guest", "", 200, "");
    broker.broker.stopped();
}

#[test]
fn guest_can_be_changed_and_deleted_for_good() {
    let files = tempfile::tempdir().unwrap();
    let config = files.path().join("everack.toml");
    fs::write(&config, "").unwrap();
    let first = Managed::start(&config, None);
    let administrator = r#"{"password": "guest", "tags": "administrator"}"#;
    first.check("PUT", "/users/guest", administrator, 204, "");
    first.check("PUT", "/users/boss", administrator, 201, "");
    first.check("DELETE", "/users/guest", "", 204, "");
    first.check("GET", "/users", "", 401, "Login failed");
    first.broker.signal(Signal::KILL);
    let directory = first.broker.directory_after_end();
    let data = directory.path().join("data").display().to_string();
    let second = Managed::start(&config, Some(&data));
    second.check("GET", "/users", "", 401, "Login failed");
    second.broker.stopped();
}

#[test]
fn definitions_are_loaded_at_each_start_or_there_is_none() {
    let files = tempfile::tempdir().unwrap();
    let definitions = files.path().join("definitions.json");
    let config = files.path().join("everack.toml");
    fs::write(
        &config,
        format!("[data]\nload_definitions = \"{}\"\n", definitions.display()),
    )
    .unwrap();
    let document = r#"{
        "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
        "vhosts": [{"name": "/"}, {"name": "shop"}],
        "queues": [{"name": "q", "vhost": "shop", "durable": true}]
    }"#;
    fs::write(&definitions, document).unwrap();
    let first = Managed::start(&config, None);
    first.check("GET", "/queues/shop/q", "", 200, "\"durable\":true");
    first.check("GET", "/permissions", "", 200, "[]");
    first.check("DELETE", "/queues/shop/q", "", 401, "");
    first.broker.signal(Signal::KILL);
    let directory = first.broker.directory_after_end();
    let data = directory.path().join("data").display().to_string();

    let broken = document.replace("\"durable\": true", "\"arguments\": 5");
    fs::write(&definitions, broken).unwrap();
    let output = super::run(&[
        "serve",
        "--data",
        &data,
        "--amqp",
        "127.0.0.1:0",
        "--http",
        "off",
        "--config",
        &config.display().to_string(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = super::text(&output.stderr);
    let expected =
        "definitions.json: queue 'q' in vhost 'shop': [{key_missing,durable}]; nothing was imported";
    assert!(complaint.contains(expected), "{complaint}");
}
