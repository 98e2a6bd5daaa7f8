//! The management API of the real binary: where it listens, who may see what.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{Broker, PATIENCE, everack, run, text};

/// Status and body.
fn get(address: &str, path: &str, login: &str) -> (u16, String) {
    let head = match login {
        "" => String::new(),
        login => format!("Authorization: Basic {login}\r\n"),
    };
    let answer = exchange(address, &format!("GET {path} HTTP/1.0\r\n{head}\r\n"));
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (
        status.unwrap_or_else(|| panic!("{path}: {answer:?}")),
        body.unwrap_or_default(),
    )
}

fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // Who is refused before the request is read sees a reset.
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// `guest:guest`, encoded.
const GUEST: &str = "Z3Vlc3Q6Z3Vlc3Q=";

#[test]
fn the_ready_line_tells_where() {
    let broker = Broker::start(&["--http", "127.0.0.1:0"]);
    let (status, body) = get(&broker.address("http"), "/api/whoami", GUEST);
    assert_eq!((status, body.contains("\"guest\"")), (200, true), "{body}");
    broker.stopped();
}

#[test]
fn a_taken_usual_address_does_not_keep_it_from_serving() {
    // If this fails, somebody else has it, which is as good.
    let _taken = TcpListener::bind("127.0.0.1:15672");
    let broker = Broker::start(&["--set", "http.listen=auto"]);
    assert!(!broker.ready.contains(" http "), "{}", broker.ready);
    TcpStream::connect(broker.address("amqp")).unwrap();
    let log = broker.stopped();
    assert!(log.contains("going on without the management API"), "{log}");
    assert!(log.contains("--http off"), "{log}");
}

#[test]
fn a_given_address_has_to_be_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    let output = run(&[
        "serve",
        "--data",
        &data,
        "--amqp",
        "127.0.0.1:0",
        "--http",
        &address,
    ]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(
        complaint.contains(&format!("http.listen: cannot listen on {address}")),
        "{complaint}"
    );
    assert!(complaint.contains("choose another address"), "{complaint}");
}

#[test]
fn tags_and_permissions_decide_who_sees_what() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("everack.toml");
    let mut toml = "[[vhosts]]\nname = \"other\"\n".to_owned();
    for (user, tags) in [
        ("boss", "\"administrator\""),
        ("watch", "\"monitoring\""),
        ("dev", "\"management\""),
        ("app", ""),
    ] {
        let mut hashing = everack();
        hashing.arg("hash-password").stdin(std::process::Stdio::piped());
        let mut hashing = hashing.stdout(std::process::Stdio::piped()).spawn().unwrap();
        hashing.stdin.take().unwrap().write_all(b"x").unwrap();
        let hash = text(&hashing.wait_with_output().unwrap().stdout);
        toml += &format!(
            "[[users]]\nname = \"{user}\"\npassword_hash = \"{}\"\ntags = [{tags}]\n",
            hash.trim()
        );
        toml += "[[users.permissions]]\nvhost = \"/\"\nread = \".*\"\n";
    }
    fs::write(&config, toml).unwrap();
    let broker = Broker::start(&["--http", "127.0.0.1:0", "--config", &config.display().to_string()]);
    let address = broker.address("http");
    let check = |login: &str, path: &str, expected: u16, words: &str| {
        let (status, body) = get(&address, path, login);
        assert_eq!(status, expected, "{path}: {body}");
        assert!(body.contains(words), "{path}: {body}");
    };
    // boss:x, watch:x, dev:x and app:x.
    let [boss, watch, dev, app] = ["Ym9zczp4", "d2F0Y2g6eA==", "ZGV2Ong=", "YXBwOng="];
    check(boss, "/api/users", 200, "\"hashing_algorithm\":\"argon2id\"");
    check(boss, "/api/permissions/%2f/app", 200, "\"read\":\".*\"");
    check(watch, "/api/users", 401, "Not administrator user");
    check(watch, "/api/nodes", 200, "mem_limit");
    check(watch, "/api/queues/other", 200, "[]");
    check(dev, "/api/nodes", 401, "Not monitor user");
    check(dev, "/api/queues/%2f", 200, "[]");
    check(
        dev,
        "/api/queues/other",
        401,
        "User not authorised to access virtual host",
    );
    check(dev, "/api/queues/nowhere", 404, "Object Not Found");
    check(dev, "/api/vhosts", 200, "\"name\":\"/\"");
    assert!(!get(&address, "/api/vhosts", dev).1.contains("other"));
    check(app, "/api/whoami", 401, "Not management user");
    check("", "/api/whoami", 401, "Login failed");
    broker.stopped();
}

#[test]
fn a_client_that_says_too_much_or_nothing_is_not_waited_for() {
    let broker = Broker::start(&["--http", "127.0.0.1:0", "--set", "http.connections_max=2"]);
    let address = broker.address("http");
    let long = exchange(
        &address,
        &format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20)),
    );
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 4"), "{long}");
    // Two that say nothing take both places; the third is not served, and AMQP goes on.
    let _silent = [
        TcpStream::connect(&address).unwrap(),
        TcpStream::connect(&address).unwrap(),
    ];
    let deadline = Instant::now() + Duration::from_secs(20);
    while !exchange(&address, "GET /api/whoami HTTP/1.0\r\n\r\n").is_empty() {
        assert!(Instant::now() < deadline, "a third one is served");
        std::thread::sleep(Duration::from_millis(50));
    }
    TcpStream::connect(broker.address("amqp")).unwrap();
    broker.stopped();
}
