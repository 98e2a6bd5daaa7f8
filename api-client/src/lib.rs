//! A client for management APIs, RabbitMQ's and Everack's alike: requests with a log-in, answers as JSON, limits.
//!
//! | file | what it is |
//! |---|---|
//! | [`Place`], [`Target`], [`Login`] | where an API is, and as whom it is asked |
//! | [`Api`], [`Answer`], [`Failure`] | asking, and what comes of it |
//! | [`path`](path()), [`escaped`] | names within paths |
//!
//! Knows no resource and no broker: what is asked for, and what an answer means, is the business of who asks. Imports nothing of ours,
//! so that it serves tools that must not share code with the broker.

mod failure;
mod path;
mod socket;
mod target;

use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;
use ureq::http::{Request, Response, header};
use ureq::{Agent, Body};

pub use failure::Failure;
pub use path::{escaped, path};
pub use target::{Login, Place, Target};
pub use ureq::http::{Method, StatusCode};

/// The largest answer that is read: some hundred thousand queues.
const ANSWER_BYTES_MAX: u64 = 512 << 20;

/// A management API, and who asks it.
#[derive(Debug)]
pub struct Api {
    agent: Agent,
    target: Target,
    timeout: Duration,
}

/// What was answered to a request that was carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Whether it made something new: 201.
    pub created: bool,
    /// The body; null if there is none.
    pub body: Value,
}

impl Api {
    /// A client for `target` that waits for no answer longer than `timeout`.
    ///
    /// # Errors
    /// The certificates of authorities cannot be read.
    pub fn new(target: Target, timeout: Duration) -> anyhow::Result<Self> {
        let agent = target.agent(timeout)?;
        Ok(Self {
            agent,
            target,
            timeout,
        })
    }

    /// The same, with another bound on the time of an answer.
    pub fn within(self, timeout: Duration) -> anyhow::Result<Self> {
        Self::new(self.target, timeout)
    }

    /// The same API, asked as another user.
    pub fn as_user(&self, user: &str, password: &str) -> anyhow::Result<Self> {
        let login = Login {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let target = Target {
            login: Some(login),
            ..self.target.clone()
        };
        Self::new(target, self.timeout)
    }

    /// Whom it asks.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Reads a path such as `/api/overview`.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.call(Method::GET, path, None, &[])?.body)
    }

    /// Puts `body` at a path.
    pub fn put(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.call(Method::PUT, path, Some(body), &[])
    }

    /// Sends `body` to a path.
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.call(Method::POST, path, Some(body), &[])
    }

    /// Deletes what is at a path.
    pub fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.call(Method::DELETE, path, None, &[])
    }

    /// Deletes what is at a path and says why, in the header that RabbitMQ reads: `X-Reason`.
    pub fn delete_because(&self, path: &str, reason: &str) -> Result<Answer, Failure> {
        // A header is one line of visible text.
        let reason: String = reason
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        self.call(Method::DELETE, path, None, &[("x-reason", &reason)])
    }

    /// Asks for anything.
    pub fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        self.call(method, path, body, &[])
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        let place = &self.target.place;
        let mut request = Request::builder()
            .method(method.clone())
            // No `accept`: RabbitMQ refuses to purge for who wants JSON.
            .uri(format!("{}{path}", place.base()));
        if let Some(login) = &self.target.login {
            request = request.header(header::AUTHORIZATION, basic(login));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let invalid = |error: ureq::http::Error| Failure::Invalid(error.to_string());
        let answered = match body {
            Some(body) => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                self.agent.run(request.body(body.to_string()).map_err(invalid)?)
            }
            None => self.agent.run(request.body(()).map_err(invalid)?),
        };
        let response = answered.map_err(|error| Failure::of(place, &error))?;
        understood(&method, path, response)
    }
}

/// The body of an answer, if the status says that the request was carried out.
fn understood(method: &Method, path: &str, mut response: Response<Body>) -> Result<Answer, Failure> {
    let status = response.status();
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    let broken =
        |error: ureq::Error| Failure::Strange(format!("{method} {path}: the answer breaks off: {error}"));
    let bytes = body.read_to_vec().map_err(broken)?;
    let value = if bytes.is_empty() {
        Some(Value::Null)
    } else {
        serde_json::from_slice(&bytes).ok()
    };
    if status.is_success() {
        let strange = || Failure::Strange(format!("{method} {path}: this is not a management API"));
        return Ok(Answer {
            created: status == StatusCode::CREATED,
            body: value.ok_or_else(strange)?,
        });
    }
    Err(Failure::refused(status, value.unwrap_or_default()))
}

/// The value of the header that logs in.
fn basic(login: &Login) -> String {
    let encoded =
        base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", login.user, login.password));
    format!("Basic {encoded}")
}
