//! The frame of every page: head, navigation, the main part, and what is said once.

use axum::http::HeaderMap;
use maud::{DOCTYPE, Markup, html};

use crate::ask::link;
use crate::cookie;
use crate::pages::assets;
use crate::sessions::Message;

/// Light, dark, or as the machine says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub(crate) const COOKIE: &str = "theme";

    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let name = cookie::name(Self::COOKIE, headers);
        Self::parse(cookie::find(headers, &name).unwrap_or_default())
    }

    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "light" => Theme::Light,
            "dark" => Theme::Dark,
            _ => Theme::Auto,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// What the switch leads to.
    fn next(self) -> (Self, &'static str) {
        match self {
            Theme::Auto => (Theme::Light, "Light"),
            Theme::Light => (Theme::Dark, "Dark"),
            Theme::Dark => (Theme::Auto, "Auto"),
        }
    }
}

/// What a frame shows.
pub(crate) struct Frame<'a> {
    pub(crate) user: &'a str,
    pub(crate) administrator: bool,
    pub(crate) page: &'a str,
    pub(crate) here: &'a str,
    pub(crate) theme: Theme,
    pub(crate) message: Option<&'a Message>,
    pub(crate) form_token: Markup,
}

/// Link, words, and the pages below it, which make it the current one too.
struct Entry(&'static str, &'static str, &'static [&'static str]);

const GROUPS: [(&str, &[Entry]); 3] = [
    (
        "Messages",
        &[
            Entry("/", "Overview", &[]),
            Entry("/queues", "Queues", &["/queue", "/messages"]),
            Entry("/exchanges", "Exchanges", &["/exchange"]),
            Entry("/connections", "Connections", &["/connection"]),
            Entry("/channels", "Channels", &[]),
        ],
    ),
    (
        "Safety",
        &[
            Entry("/risks", "Loss risks", &[]),
            Entry("/aside", "Set aside", &["/parked", "/retained", "/unroutable"]),
            Entry("/health", "Health", &[]),
        ],
    ),
    (
        "Administration",
        &[
            Entry("/policies", "Policies", &[]),
            Entry("/vhosts", "Virtual hosts", &["/vhost"]),
            Entry("/users", "Users", &["/user"]),
            Entry("/definitions", "Definitions", &[]),
        ],
    ),
];

/// Entries for administrators only.
const ADMINISTRATORS: [&str; 2] = ["/users", "/definitions"];

/// A whole page.
pub(crate) fn page(frame: &Frame<'_>, title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=(frame.theme.name()) {
            (head(title))
            body {
                a class="skip" href="#main" { "Skip to the content" }
                (banner(frame))
                (navigation(frame))
                main id="main" tabindex="-1" {
                    @if let Some(Message { good, text }) = frame.message {
                        p class=(if *good { "message good" } else { "message bad" }) role=(if *good { "status" } else { "alert" }) { (text) }
                    }
                    h1 { (title) }
                    (body)
                }
            }
        }
    }
}

/// A page for who is not logged in.
pub(crate) fn bare(theme: Theme, title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=(theme.name()) {
            (head(title))
            body class="bare" { main id="main" { (body) } }
        }
    }
}

/// A page that stands alone, without navigation.
pub(crate) fn alone(theme: Theme, title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=(theme.name()) {
            (head(title))
            body class="alone" {
                a class="skip" href="#main" { "Skip to the content" }
                header class="banner" {
                    span class="brand" { (brand()) }
                    div class="banner-right" { (pause()) }
                }
                main id="main" tabindex="-1" { (body) }
            }
        }
    }
}

/// Stops and resumes the refresh; shown by the script.
fn pause() -> Markup {
    html! { span id="freshness" class="freshness" hidden { button type="button" id="pause" aria-pressed="false" { "Pause" } } }
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · Everack" }
            link rel="icon" type="image/svg+xml" href=(assets::ICON.link());
            link rel="stylesheet" href=(assets::STYLE.link());
            script src=(assets::SCRIPT.link()) defer {}
        }
    }
}

/// The name with its mark.
pub(crate) fn brand() -> Markup {
    html! {
        img src=(assets::ICON.link()) alt="" width="26" height="26";
        span { "Everack" }
    }
}

fn banner(frame: &Frame<'_>) -> Markup {
    let (next, word) = frame.theme.next();
    html! {
        header class="banner" {
            a class="brand" href="/" { (brand()) }
            div class="banner-right" {
                (pause())
                form method="post" action="/theme" {
                    (frame.form_token)
                    input type="hidden" name="theme" value=(next.name());
                    input type="hidden" name="back" value=(frame.here);
                    button type="submit" title=(format!("Colours are {}; switch to {}", frame.theme.name(), next.name())) { (word) }
                }
                form method="post" action="/logout" {
                    (frame.form_token)
                    button type="submit" title=(format!("Log {} out", frame.user)) { "Log out" span class="user" { (frame.user) } }
                }
            }
        }
    }
}

fn navigation(frame: &Frame<'_>) -> Markup {
    let seen = |entry: &&Entry| frame.administrator || !ADMINISTRATORS.contains(&entry.0);
    let current =
        |entry: &Entry| entry.0 == frame.page || entry.2.iter().any(|below| frame.page.starts_with(below));
    html! {
        nav class="rooms" aria-label="Pages" {
            @for (group, entries) in GROUPS {
                h2 { (group) }
                ul {
                    @for entry in entries.iter().filter(seen) {
                        li { a href=(entry.0) aria-current=[current(entry).then_some("page")] { (entry.1) } }
                    }
                }
            }
        }
    }
}

/// The way to this page: links and words, then the page itself.
pub(crate) fn crumbs(steps: &[(&str, &str)]) -> Markup {
    html! {
        nav class="crumbs" aria-label="Where this is" {
            @for (words, target) in steps {
                @if target.is_empty() { span { (words) } } @else { a href=(target) { (words) } }
            }
        }
    }
}

/// A vhost as a step of the way.
pub(crate) fn vhost_link(page: &str, vhost: &str) -> String {
    link(page, &[("vhost", vhost)])
}
