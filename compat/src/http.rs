//! One HTTP request at a time, over a connection of its own: enough to ask a management API.

use anyhow::{Context, ensure};
use base64::Engine as _;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{} {}", self.status, String::from_utf8_lossy(&self.body)))
    }
}

/// Asks for a path as `user:password`; as nobody, if that is empty.
pub fn get(address: SocketAddr, path: &str, login: &str) -> anyhow::Result<Answer> {
    request(address, "GET", path, login)
}

/// Sends a request without a body.
pub fn request(address: SocketAddr, method: &str, path: &str, login: &str) -> anyhow::Result<Answer> {
    send(address, method, path, login, "")
}

/// Sends a request with a body of JSON; without one, if that is empty.
pub fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    login: &str,
    body: &str,
) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let mut head = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n");
    if !login.is_empty() {
        let encoded = base64::engine::general_purpose::STANDARD.encode(login);
        head += &format!("Authorization: Basic {encoded}\r\n");
    }
    if !body.is_empty() || matches!(method, "PUT" | "POST") {
        head += &format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
    }
    head += "\r\n";
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes).with_context(|| format!("{method} {path}"))
}

fn parse(bytes: &[u8]) -> anyhow::Result<Answer> {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("the answer has no head")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    ensure!(
        !head.to_ascii_lowercase().contains("transfer-encoding"),
        "an answer to HTTP/1.0 in chunks"
    );
    let status = head.split(' ').nth(1).context("the answer has no status")?;
    Ok(Answer {
        status: status.parse()?,
        body: bytes[end + 4..].to_vec(),
        head,
    })
}
