//! The web console beside the API: `/api` is the API's, the rest is the console's. It asks as anybody does, but within the process, and shows who
//! has logged in before by what the API made of it then.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use everack_console::{Pass, Settings};
use tower::ServiceExt as _;

use super::caller::{LoggedIn, Peer};
use crate::config::Config;

/// Serves both.
pub(super) fn beside(api: Router, names: Vec<String>) -> Router {
    let console = everack_console::router(Settings {
        api: api.clone().layer(middleware::from_fn(from_within)),
        names,
    });
    let either = async move |mut request: Request| {
        let path = request.uri().path();
        let router = if path == "/api" || path.starts_with("/api/") {
            api
        } else {
            if let Some(Peer(peer)) = request.extensions().get().copied() {
                request.extensions_mut().insert(everack_console::Peer(peer));
            }
            console
        };
        router.oneshot(request).await
    };
    Router::new().fallback(either)
}

/// Names under which the console may be called: those of the configuration, and the machine's.
pub(super) fn names(config: &Config) -> Vec<String> {
    let mut names = config.http.names.0.clone();
    names.extend(super::host_name());
    names
}

/// The console's words for who asks and from where, and the API's.
async fn from_within(mut request: Request, next: Next) -> Response {
    let extensions = request.extensions_mut();
    if let Some(everack_console::Peer(peer)) = extensions.remove() {
        extensions.insert(Peer(peer));
    }
    let pass = extensions.remove::<Pass>();
    if let Some(who) = pass.and_then(|pass| pass.proof::<LoggedIn>()) {
        extensions.insert(LoggedIn::clone(&who));
    }
    let mut response = next.run(request).await;
    if let Some(who) = response.extensions_mut().remove::<LoggedIn>() {
        response.extensions_mut().insert(Pass::new(who.into()));
    }
    response
}
