//! Logging in and out, and the switch between light and dark.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use maud::html;

use crate::Console;
use crate::ask::{self, Problem};
use crate::cookie;
use crate::form::Fields;
use crate::look::layout::{self, Theme};
use crate::random;
use crate::visit::{Order, html, local, nobody_said, peer, see_other, session_cookie};

/// The form's token before there is a session: the same in the form and in a cookie that no other site can set or send.
const FORM_COOKIE: &str = "log-in";
/// How long a form for logging in is good for, in seconds.
const FORM_LIFE_S: u64 = 60 * 60;
/// Most bytes of what is sent to log in.
const LOG_IN_BYTES_MAX: usize = 16 << 10;
/// How long a choice of colours is kept, in seconds.
const THEME_LIFE_S: u64 = 365 * 24 * 60 * 60;

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/login", get(show).post(log_in))
        .route("/logout", post(log_out))
        .route("/theme", post(theme))
}

async fn show(request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let query = Fields::parse(parts.uri.query().unwrap_or_default().as_bytes());
    form(&parts.headers, StatusCode::OK, local(query.text("next")), "", "")
}

/// The form, with a token of its own.
fn form(headers: &HeaderMap, status: StatusCode, next: &str, user: &str, why: &str) -> Response {
    let name = cookie::name(FORM_COOKIE, headers);
    let kept = cookie::find(headers, &name).and_then(random::parse);
    let token = random::text(&kept.unwrap_or_else(random::token));
    let body = html! {
        form method="post" action="/login" class="log-in panel" {
            div class="brand" { (layout::brand()) }
            h1 { "Log in" }
            @if !why.is_empty() { p class="message bad" role="alert" { (why) } }
            input type="hidden" name="token" value=(token);
            input type="hidden" name="next" value=(next);
            label { span { "User" } input name="user" value=(user) autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus; }
            label { span { "Password" } input type="password" name="password" autocomplete="current-password"; }
            button type="submit" class="primary" { "Log in" }
            p class="hint" { "A user of the broker with the tag " code { "management" } ", " code { "policymaker" } ", " code { "monitoring" } " or " code { "administrator" } "." }
        }
    };
    let page = layout::bare(Theme::of(headers), "Log in", &body);
    let cookie = cookie::set(headers, &name, &token, FORM_LIFE_S);
    (status, [(header::SET_COOKIE, cookie)], html(page)).into_response()
}

async fn log_in(State(console): State<Arc<Console>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, LOG_IN_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let fields = Fields::parse(&bytes);
    let (next, user) = (local(fields.text("next")), fields.text("user"));
    let again = |status, why: &str| form(&parts.headers, status, next, user, why);
    if !is_our_form(&parts, &fields) {
        return again(StatusCode::FORBIDDEN, "The form was too old. Please try again.");
    }
    match verified(&console, &parts, user, fields.text("password")).await {
        Ok(cookie) => {
            let mut response = see_other(next);
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Err(Refused::Wait(seconds)) => {
            let why = format!("Too many attempts. Wait {seconds} s before the next one.");
            let mut response = again(StatusCode::TOO_MANY_REQUESTS, &why);
            let wait = HeaderValue::from_str(&seconds.to_string()).unwrap_or(HeaderValue::from_static("60"));
            response.headers_mut().insert(header::RETRY_AFTER, wait);
            response
        }
        Err(Refused::Nowhere) => nobody_said(),
        Err(Refused::Problem(problem)) => again(problem.status, &told(&problem)),
    }
}

/// Why nobody is logged in.
enum Refused {
    Wait(u64),
    Problem(Problem),
    Nowhere,
}

/// The cookie of a new session, if user and password are right.
async fn verified(
    console: &Console,
    parts: &Parts,
    user: &str,
    password: &str,
) -> Result<HeaderValue, Refused> {
    let peer = peer(parts).ok_or(Refused::Nowhere)?;
    let address = peer.0.ip();
    let wait = console.throttle.lock().attempt(address, user, Instant::now());
    if let Some(wait) = wait {
        tracing::warn!(peer = %peer.0, user, "log-in to the console not looked at: too many failures");
        return Err(Refused::Wait(wait.as_secs() + 1));
    }
    match ask::log_in(&console.api, peer, user, password).await {
        Ok((pass, _)) => {
            console.throttle.lock().succeeded(address, user);
            let mut sessions = console.sessions.lock();
            // What the browser had before is worth nothing any more.
            let name = cookie::name(crate::visit::SESSION_COOKIE, &parts.headers);
            if let Some(old) = cookie::find(&parts.headers, &name).and_then(random::parse) {
                sessions.end(&old);
            }
            let token = sessions.begin(user, pass, address, Instant::now());
            tracing::info!(peer = %peer.0, user, "logged in to the console");
            Ok(session_cookie(&parts.headers, Some(&token)))
        }
        Err(problem) => {
            if problem.status != StatusCode::UNAUTHORIZED {
                console.throttle.lock().undecided(address, user);
            }
            Err(Refused::Problem(problem))
        }
    }
}

/// What a person is told; the same for a wrong user as for a wrong password, as the API does it.
fn told(problem: &Problem) -> String {
    match problem.reason.as_str() {
        "Login failed" => "User or password is wrong.".to_owned(),
        "User can only log in via localhost" => {
            "This user can log in from the broker's own machine only.".to_owned()
        }
        "Not management user" => "This user has no tag that opens the console.".to_owned(),
        other => other.to_owned(),
    }
}

fn is_our_form(parts: &Parts, fields: &Fields) -> bool {
    let name = cookie::name(FORM_COOKIE, &parts.headers);
    let kept = cookie::find(&parts.headers, &name).and_then(random::parse);
    let sent = random::parse(fields.text("token"));
    kept.zip(sent)
        .is_some_and(|(kept, sent)| random::same(&kept, &sent))
}

async fn log_out(headers: HeaderMap, order: Order) -> Response {
    let mut response = order.visit.leave();
    response
        .headers_mut()
        .insert(header::SET_COOKIE, session_cookie(&headers, None));
    response
}

async fn theme(headers: HeaderMap, order: Order) -> Response {
    let theme = Theme::parse(order.fields.text("theme"));
    let name = cookie::name(Theme::COOKIE, &headers);
    let mut response = see_other(&order.back());
    let cookie = cookie::set(&headers, &name, theme.name(), THEME_LIFE_S);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}
