//! The web console: server-rendered pages over the management API.
//!
//! ```text
//! browser ── guard ── visit ── pages ── ask ── the management API, in this process
//!              │        │        │
//!              │        │        look: layout, tables, charts, numbers
//!              │        sessions, throttle: who is logged in, who tries too often
//!              headers, Host and Origin
//! ```
//!
//! It knows nothing of the broker but the API's JSON, asked with the rights of the user that is logged in, so it can show and do
//! nothing that the API would refuse. Pages work without JavaScript; a little of our own keeps them fresh. Not responsible for what is
//! true, nor for rights.

mod ask;
mod cookie;
mod form;
mod guard;
mod look;
mod pages;
mod random;
mod sessions;
mod story;
mod throttle;
mod visit;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use parking_lot::Mutex;

pub use ask::{Pass, Peer};
use sessions::Sessions;
pub use story::story;
use throttle::Throttle;

/// What a console is made of.
pub struct Settings {
    /// The management API, with its paths below `/api`. It answers a request that carries a [`Pass`] in its extensions as the user that the
    /// pass was given to, and puts a [`Pass`] into the extensions of an answer to `Authorization: Basic` that was right.
    pub api: Router,
    /// Names under which browsers may call the console, beside addresses and `localhost`. A page of another name that was made to lead here
    /// (DNS rebinding) is refused.
    pub names: Vec<String>,
}

/// The console's own state, shared by its pages.
struct Console {
    api: Router,
    names: Arc<Vec<String>>,
    sessions: Mutex<Sessions>,
    throttle: Mutex<Throttle>,
}

/// The pages, to be served beside the API. The request's extensions must hold the [`Peer`].
pub fn router(settings: Settings) -> Router {
    let Settings { api, names } = settings;
    let now = Instant::now();
    pages::router(Arc::new(Console {
        api,
        names: Arc::new(names),
        sessions: Mutex::new(Sessions::new(now)),
        throttle: Mutex::new(Throttle::new(now)),
    }))
}
