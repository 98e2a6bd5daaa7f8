//! A small HTTP client for management APIs: basic auth, JSON, limits. Knows no broker.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::address::Address;

/// How long one answer may take: an import of many thousand queues is slow.
const ANSWER_MAX: Duration = Duration::from_secs(600);
/// How often something is read that the broker fails to tell, and how long to wait in between.
const TRIES: u32 = 15;
const PAUSE: Duration = Duration::from_secs(2);
/// The largest answer that is read: some hundred thousand queues.
const ANSWER_BYTES_MAX: u64 = 512 << 20;

/// A management API.
pub(crate) struct Api {
    agent: ureq::Agent,
    address: Address,
}

/// What the API says no with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) reason: String,
}

impl Api {
    pub(crate) fn new(address: Address, ca: Option<&Path>) -> anyhow::Result<Self> {
        let mut tls = TlsConfig::builder();
        if let Some(ca) = ca {
            tls = tls.root_certs(authorities(ca)?);
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_MAX))
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls.build())
            .build()
            .new_agent();
        Ok(Self { agent, address })
    }

    /// The address without user and password.
    pub(crate) fn base(&self) -> &str {
        &self.address.base
    }

    /// Reads a path such as `/api/overview`. A broker under load answers with an error of its own now and then; it is asked again.
    ///
    /// # Errors
    /// Nobody answers there, or it is refused.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match self.ask("GET", path, None)? {
                Ok(value) => return Ok(value),
                Err(refusal) if refusal.status >= 500 && tries > 0 => std::thread::sleep(PAUSE),
                Err(refusal) => bail!("{}{path}: {refusal}", self.base()),
            }
        }
    }

    /// Asks for something with a body, or without one. A refusal is an answer.
    ///
    /// # Errors
    /// Nobody answers there, or not with what a management API answers.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Result<Value, Refusal>> {
        let Address {
            base, user, password, ..
        } = &self.address;
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .header("authorization", format!("Basic {login}"))
            .header("accept", "application/json");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let response = self
            .agent
            .run(request.body(body)?)
            .with_context(|| format!("{base} does not answer"))?;
        read(response).with_context(|| format!("{base}{path}"))
    }
}

fn read(mut response: Response<ureq::Body>) -> anyhow::Result<Result<Value, Refusal>> {
    let status = response.status();
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    let body = body.read_to_vec().context("the answer breaks off")?;
    let value = serde_json::from_slice::<Value>(&body);
    if status.is_success() {
        if body.is_empty() {
            return Ok(Ok(Value::Null));
        }
        return Ok(Ok(value.context("this is not a management API")?));
    }
    let reason = value
        .ok()
        .and_then(|value| Some(value.get("reason")?.as_str()?.to_owned()));
    Ok(Err(Refusal {
        status: status.as_u16(),
        reason: reason.unwrap_or_else(|| status.canonical_reason().unwrap_or("refused").to_owned()),
    }))
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.reason)
    }
}

fn authorities(file: &Path) -> anyhow::Result<RootCerts> {
    let pem = std::fs::read(file).with_context(|| format!("--ca {}", file.display()))?;
    let certificates: Vec<Certificate<'static>> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        bail!("--ca {}: there is no certificate in it", file.display());
    }
    Ok(RootCerts::new_with_certs(&certificates))
}
