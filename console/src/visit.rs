//! One request of somebody who is logged in: who it is, what it wants, and how it is answered.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::Markup;
use serde_json::Value;

use crate::Console;
use crate::ask::{Ask, Peer, Problem, escape};
use crate::cookie;
use crate::form::Fields;
use crate::look::layout::{self, Frame, Theme};
use crate::random::{self, Token};
use crate::sessions::{Message, Session};

/// What a cookie of ours is called, without the port.
pub(crate) const SESSION_COOKIE: &str = "session";
/// The script of a page asks with this header when it refreshes the page.
const LIVE_HEADER: &str = "x-everack-live";

/// A request of a user that is logged in.
pub(crate) struct Visit {
    pub(crate) ask: Ask,
    pub(crate) user: String,
    pub(crate) tags: Vec<String>,
    /// Path of the page.
    pub(crate) page: String,
    pub(crate) query: Fields,
    /// Path and query, for the way back.
    here: String,
    theme: Theme,
    /// Sent by the script of a page that refreshes itself.
    live: bool,
    console: Arc<Console>,
    token: Token,
    session: Session,
}

/// A page without its frame.
pub(crate) struct View {
    pub(crate) title: String,
    pub(crate) body: Markup,
}

impl View {
    pub(crate) fn new(title: impl Into<String>, body: Markup) -> Self {
        let title = title.into();
        Self { title, body }
    }
}

/// What came of a form.
pub(crate) enum Done {
    /// It is done; this is said on that page, a link of ours.
    Said(String, String),
    /// It has a page of its own.
    Shown(View),
}

impl Done {
    pub(crate) fn said(text: impl Into<String>, then: impl Into<String>) -> Self {
        Self::Said(text.into(), then.into())
    }
}

impl Visit {
    /// The text behind a name in the query; empty if it is missing.
    pub(crate) fn wanted(&self, name: &str) -> &str {
        self.query.text(name)
    }

    pub(crate) fn is_administrator(&self) -> bool {
        self.tags.iter().any(|tag| tag == "administrator")
    }

    /// May write policies.
    pub(crate) fn is_policymaker(&self) -> bool {
        self.is_administrator() || self.tags.iter().any(|tag| tag == "policymaker")
    }

    /// The hidden field that every form has.
    pub(crate) fn form_token(&self) -> Markup {
        maud::html! { input type="hidden" name="token" value=(random::text(&self.session.form_token)); }
    }

    /// Path and query of this page.
    pub(crate) fn here(&self) -> &str {
        &self.here
    }

    /// The answer to a GET.
    pub(crate) fn show(&self, result: Result<View, Problem>) -> Response {
        match result {
            Ok(view) => self.framed(StatusCode::OK, &view),
            Err(problem) if problem.status == StatusCode::UNAUTHORIZED && self.has_ended(&problem) => {
                self.leave()
            }
            Err(problem) => self.framed(problem.status, &problem_view(&problem)),
        }
    }

    /// The answer to a form.
    fn answer(&self, result: Result<Done, Problem>, back: &str) -> Response {
        match result {
            Ok(Done::Shown(view)) => self.framed(StatusCode::OK, &view),
            Ok(Done::Said(text, then)) => self.say_and_go(true, text, &then),
            Err(problem) => self.say_and_go(false, problem.reason, back),
        }
    }

    fn say_and_go(&self, good: bool, text: String, then: &str) -> Response {
        let message = Message { good, text };
        self.console.sessions.lock().leave(&self.token, message);
        see_other(then)
    }

    fn framed(&self, status: StatusCode, view: &View) -> Response {
        // What is to be said is for the person, not for the script that refreshes.
        let message = match self.live {
            true => None,
            false => self.console.sessions.lock().take_message(&self.token),
        };
        let frame = Frame {
            user: &self.user,
            administrator: self.is_administrator(),
            page: &self.page,
            here: &self.here,
            theme: self.theme,
            message: message.as_ref(),
            form_token: self.form_token(),
        };
        let markup = layout::page(&frame, &view.title, &view.body);
        (status, html(markup)).into_response()
    }

    /// The API says so in the same words to who is not logged in and to who may not; only the first ends the session.
    fn has_ended(&self, problem: &Problem) -> bool {
        matches!(
            problem.reason.as_str(),
            "Login failed" | "User can only log in via localhost"
        )
    }

    /// Ends the session, for this browser too.
    pub(crate) fn leave(&self) -> Response {
        self.console.sessions.lock().end(&self.token);
        see_other("/login")
    }
}

fn problem_view(problem: &Problem) -> View {
    let title = match problem.status {
        StatusCode::NOT_FOUND => "Not there",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "Not for this user",
        StatusCode::SERVICE_UNAVAILABLE => "The broker is busy",
        _ => "That did not work",
    };
    let body = maud::html! {
        div class="empty" {
            p class="reason" { (problem.reason) }
            p { a href="/" { "Back to the overview" } }
        }
    };
    View::new(title, body)
}

impl FromRequestParts<Arc<Console>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Response> {
        let here = parts
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        let peer = peer(parts).ok_or_else(nobody_said)?;
        let name = cookie::name(SESSION_COOKIE, &parts.headers);
        let token = cookie::find(&parts.headers, &name).and_then(random::parse);
        let live = parts.headers.contains_key(LIVE_HEADER);
        let resumed = token.and_then(|token| {
            let mut sessions = console.sessions.lock();
            let session = sessions.resume(&token, peer.0.ip(), Instant::now())?;
            Some((token, session))
        });
        let to_log_in = || log_in_first(&parts.method, &here, live);
        let (token, session) = resumed.ok_or_else(to_log_in)?;
        let ask = Ask {
            api: console.api.clone(),
            pass: session.pass.clone(),
            peer,
        };
        // The API looks at the pass: who is gone, or has another password, is no longer logged in.
        let about = match ask.get("/api/whoami").await {
            Ok(about) => about,
            Err(problem) if problem.status == StatusCode::UNAUTHORIZED => {
                console.sessions.lock().end(&token);
                return Err(to_log_in());
            }
            Err(problem) => return Err((problem.status, problem.reason).into_response()),
        };
        Ok(Self {
            ask,
            user: session.user.clone(),
            tags: tags(&about["tags"]),
            page: parts.uri.path().to_owned(),
            query: Fields::parse(parts.uri.query().unwrap_or_default().as_bytes()),
            here,
            theme: Theme::of(&parts.headers),
            live,
            console: console.clone(),
            token,
            session,
        })
    }
}

/// A form of a user that is logged in, with the session's token in it.
pub(crate) struct Order {
    pub(crate) visit: Visit,
    pub(crate) fields: Fields,
}

impl FromRequest<Arc<Console>> for Order {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, console).await?;
        let request = Request::from_parts(parts, body);
        let bytes = Bytes::from_request(request, console).await;
        let fields = Fields::parse(&bytes.map_err(IntoResponse::into_response)?);
        let token = random::parse(fields.text("token"));
        if token.is_some_and(|token| random::same(&token, &visit.session.form_token)) {
            return Ok(Self { visit, fields });
        }
        let text = "This form is not from this session. Load the page again and send it once more.";
        let body = maud::html! { div class="empty" { p class="reason" { (text) } p { a href="/" { "Back to the overview" } } } };
        Err(visit.framed(StatusCode::FORBIDDEN, &View::new("Not done", body)))
    }
}

impl Order {
    /// A field; a problem if it is missing or empty.
    pub(crate) fn needed(&self, name: &str, what: &str) -> Result<&str, Problem> {
        let missing = || Problem::bad(format!("{what} is missing"));
        self.fields.given(name).ok_or_else(missing)
    }

    /// Where the form was: a page of ours.
    pub(crate) fn back(&self) -> String {
        local(self.fields.text("back")).to_owned()
    }

    /// Asks the API for a change.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Problem> {
        self.visit.ask.send(method, path, body).await
    }

    pub(crate) fn answer(&self, result: Result<Done, Problem>) -> Response {
        self.visit.answer(result, &self.back())
    }
}

/// Where a request comes from; the listener says it.
pub(crate) fn peer(parts: &Parts) -> Option<Peer> {
    parts.extensions.get::<Peer>().copied()
}

/// The listener did not.
pub(crate) fn nobody_said() -> Response {
    let text = "nobody said where this comes from";
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

/// A path of our own to go to; the overview in place of anything else.
pub(crate) fn local(path: &str) -> &str {
    let ours = path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n', '\t']);
    if ours { path } else { "/" }
}

/// Goes to a page of ours.
pub(crate) fn see_other(to: &str) -> Response {
    let location = HeaderValue::from_str(local(to)).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

/// HTML, as it is sent.
pub(crate) fn html(markup: Markup) -> impl IntoResponse {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], markup.into_string())
}

/// The headers of a request that go into cookies' names.
pub(crate) fn session_cookie(headers: &HeaderMap, token: Option<&Token>) -> HeaderValue {
    let name = cookie::name(SESSION_COOKIE, headers);
    match token {
        Some(token) => cookie::set(
            headers,
            &name,
            &random::text(token),
            crate::sessions::LIFE_MAX.as_secs(),
        ),
        None => cookie::set(headers, &name, "", 0),
    }
}

fn log_in_first(method: &Method, here: &str, live: bool) -> Response {
    if live {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match *method {
        Method::GET if here != "/" => see_other(&format!("/login?next={}", escape(here))),
        _ => see_other("/login"),
    }
}

/// A list, or words with commas, as it was before RabbitMQ 3.9.
fn tags(value: &Value) -> Vec<String> {
    match value {
        Value::Array(tags) => tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::String(tags) => tags.split(',').map(|tag| tag.trim().to_owned()).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for ours in ["/", "/queue?name=%2F", "/login"] {
            assert_eq!(local(ours), ours);
        }
        for foreign in [
            "",
            "//evil",
            "https://evil",
            "/\\evil",
            "evil",
            "/a\r\nX: y",
            "/\t/evil",
        ] {
            assert_eq!(local(foreign), "/", "{foreign:?}");
        }
    }

    #[test]
    fn tags_come_in_two_shapes() {
        let check = |value: Value, expected: &[&str]| assert_eq!(tags(&value), expected);
        check(serde_json::json!(["a", "b"]), &["a", "b"]);
        check(serde_json::json!("a, b"), &["a", "b"]);
        check(Value::Null, &[]);
    }
}
