//! What pages refer to: one style sheet, one script, one picture, all within the binary. Their links change with what is in them.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse as _;
use axum::routing::get;

/// A file within the binary.
pub(crate) struct Asset {
    path: &'static str,
    kind: &'static str,
    content: &'static str,
}

pub(crate) static STYLE: Asset = Asset {
    path: "/assets/console.css",
    kind: "text/css; charset=utf-8",
    content: include_str!("../assets/console.css"),
};
pub(crate) static SCRIPT: Asset = Asset {
    path: "/assets/console.js",
    kind: "text/javascript; charset=utf-8",
    content: include_str!("../assets/console.js"),
};
pub(crate) static ICON: Asset = Asset {
    path: "/assets/everack.svg",
    kind: "image/svg+xml",
    content: include_str!("../assets/everack.svg"),
};

impl Asset {
    /// Another one for each content, so that browsers may keep it for ever.
    pub(crate) fn link(&self) -> String {
        // FNV-1a: it tells versions apart, nothing more.
        let hash = self
            .content
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        format!("{}?v={hash:x}", self.path)
    }
}

pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new();
    for asset in [&STYLE, &SCRIPT, &ICON] {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
            (
                header::CACHE_CONTROL,
                HeaderValue::from_static("public, max-age=31536000, immutable"),
            ),
        ];
        let serve = async move || (headers.clone(), asset.content).into_response();
        router = router.route(asset.path, get(serve));
    }
    router
}
