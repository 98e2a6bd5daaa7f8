//! A console over a made-up API, and a browser that keeps cookies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use everack_console::{Pass, Peer, Settings};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// What the API was asked, and what it answers.
#[derive(Default)]
pub(crate) struct Api {
    /// By path, without the query.
    pub(crate) answers: Mutex<BTreeMap<String, (StatusCode, Value)>>,
    /// Method, path with query, and body of all that was not a look.
    pub(crate) orders: Mutex<Vec<(Method, String, String)>>,
    /// The user's password, which passes are good for.
    pub(crate) password: Mutex<String>,
    /// How often a password was verified.
    pub(crate) verified: Mutex<u32>,
}

impl Api {
    pub(crate) fn answer(&self, path: &str, value: Value) {
        self.refuse(path, StatusCode::OK, value);
    }

    pub(crate) fn refuse(&self, path: &str, status: StatusCode, value: Value) {
        let mut answers = self.answers.lock().unwrap();
        answers.insert(path.to_owned(), (status, value));
    }

    pub(crate) fn orders(&self) -> Vec<(Method, String, String)> {
        self.orders.lock().unwrap().clone()
    }

    fn may(&self, request: &Request) -> bool {
        let password = self.password.lock().unwrap().clone();
        let pass = request.extensions().get::<Pass>();
        if let Some(pass) = pass.and_then(|pass| pass.proof::<String>()) {
            return *pass == password;
        }
        *self.verified.lock().unwrap() += 1;
        // `ops:` and the password, whatever it is, in Base64.
        let given = request.headers().get(header::AUTHORIZATION);
        let right = format!("Basic {}", base64(&format!("ops:{password}")));
        given.is_some_and(|given| given.as_bytes() == right.as_bytes())
    }

    async fn handle(self: Arc<Self>, request: Request) -> Response {
        if !self.may(&request) {
            let body = json!({ "error": "not_authorized", "reason": "Login failed" });
            return (StatusCode::UNAUTHORIZED, body.to_string()).into_response();
        }
        let (path, method) = (request.uri().path().to_owned(), request.method().clone());
        let whole = request.uri().to_string();
        if method != Method::GET {
            let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
            let body = String::from_utf8_lossy(&body).into_owned();
            self.orders.lock().unwrap().push((method, whole, body));
        }
        let found = self.answers.lock().unwrap().get(&path).cloned();
        let nothing = (
            StatusCode::NOT_FOUND,
            json!({ "error": "Object Not Found", "reason": "Not Found" }),
        );
        let (status, value) = found.unwrap_or(nothing);
        let mut response = (status, value.to_string()).into_response();
        let pass = self.password.lock().unwrap().clone();
        response.extensions_mut().insert(Pass::new(Arc::new(pass)));
        response
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for bytes in text.as_bytes().chunks(3) {
        let byte = |index: usize| u32::from(bytes.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) as usize & 63;
            encoded.push(if digit > bytes.len() {
                '='
            } else {
                DIGITS[value].into()
            });
        }
    }
    encoded
}

/// A browser before a console.
pub(crate) struct Scene {
    pub(crate) api: Arc<Api>,
    router: Router,
    pub(crate) cookies: BTreeMap<String, String>,
    pub(crate) peer: SocketAddr,
    pub(crate) host: &'static str,
}

/// What the browser got.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn location(&self) -> &str {
        let location = self.headers.get(header::LOCATION);
        location.map_or("", |location| location.to_str().unwrap())
    }

    /// The token in its first form.
    pub(crate) fn token(&self) -> String {
        let mark = "name=\"token\" value=\"";
        let at = self.text.find(mark).expect("the page has a form") + mark.len();
        self.text[at..at + 64].to_owned()
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

impl Scene {
    /// With the user `ops`, whose password is `secret`.
    pub(crate) fn new() -> Self {
        let api = Arc::new(Api::default());
        *api.password.lock().unwrap() = "secret".to_owned();
        api.answer("/api/whoami", json!({ "name": "ops", "tags": ["administrator"] }));
        api.answer("/api/overview", json!({ "object_totals": { "queues": 12_345 } }));
        let handler = api.clone();
        let router = Router::new().fallback(move |request| handler.clone().handle(request));
        let settings = Settings {
            api: router,
            names: vec!["broker.example".to_owned()],
        };
        Self {
            api,
            router: everack_console::router(settings),
            cookies: BTreeMap::new(),
            peer: "127.0.0.1:40000".parse().unwrap(),
            host: "localhost:15672",
        }
    }

    pub(crate) async fn logged_in() -> Self {
        let mut scene = Self::new();
        let page = scene.log_in("ops", "secret").await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        scene
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, "", &[]).await
    }

    /// Sends a form with what stands in it.
    pub(crate) async fn post(&mut self, path: &str, fields: &str) -> Page {
        self.send(Method::POST, path, fields, &[]).await
    }

    /// Sends a form with the token of a page.
    pub(crate) async fn submit(&mut self, page: &str, path: &str, fields: &str) -> Page {
        let token = self.get(page).await.token();
        self.post(path, &format!("token={token}&{fields}")).await
    }

    pub(crate) async fn log_in(&mut self, user: &str, password: &str) -> Page {
        self.submit("/login", "/login", &format!("user={user}&password={password}"))
            .await
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Page {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = Request::builder().method(method).uri(path);
        request = request
            .header(header::HOST, self.host)
            .header(header::COOKIE, cookies.join("; "));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(Peer(self.peer));
        let response = self.router.clone().oneshot(request).await.unwrap();
        for line in response.headers().get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 16 << 20).await.unwrap();
        Page {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}
