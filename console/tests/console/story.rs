//! The order story's page over a made-up story.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// The page, and the paths that were posted to the story.
fn stage(state: Value) -> (Router, Arc<Mutex<Vec<String>>>) {
    let posted = Arc::new(Mutex::new(Vec::new()));
    let heard = posted.clone();
    let answer = async move |request: Request| {
        if request.method() == Method::POST {
            heard.lock().unwrap().push(request.uri().path().to_owned());
        }
        state.to_string()
    };
    (everack_console::story(Router::new().fallback(answer)), posted)
}

async fn send(router: &Router, method: Method, path: &str, host: &str, body: String) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).header("host", host);
    let request = request.body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    assert!(response.headers().contains_key("content-security-policy"));
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

fn playing() -> Value {
    json!({
        "playing": true, "title": "Manual ack", "orders": 1000, "accepted": 500, "lost": 3, "broker": { "alive": false },
        "order_services": [{ "number": 0, "name": "order-service-1", "alive": true, "unconfirmed": 2 }],
        "warehouses": [{ "number": 1, "name": "<b>warehouse-2</b>", "alive": true, "held": 14, "orders": ["order-000007"] }],
        "events": [{ "seconds": 1.5, "text": "<script>" }],
        "done": [{ "auto_ack": false, "orders": 10, "shipped": 9, "lost": 1 }],
    })
}

#[tokio::test]
async fn shows_who_holds_what_and_kills_with_its_own_form_only() {
    let (router, posted) = stage(playing());
    let (status, page) = send(&router, Method::GET, "/", "localhost:1", String::new()).await;
    assert_eq!(status, StatusCode::OK);
    for text in [
        "14 in hands",
        "000007",
        "and 13 more",
        "&lt;b&gt;warehouse-2",
        "&lt;script&gt;",
        "Kill order-service-1",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let mark = "name=\"token\" value=\"";
    let at = page.find(mark).unwrap() + mark.len();
    let form = |token: &str| format!("token={token}&what=warehouse&number=1");
    for token in ["", &"0".repeat(64)] {
        let (status, _) = send(&router, Method::POST, "/kill", "localhost:1", form(token)).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    assert_eq!(posted.lock().unwrap().len(), 0);
    let (status, _) = send(
        &router,
        Method::POST,
        "/kill",
        "localhost:1",
        form(&page[at..at + 64]),
    )
    .await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(*posted.lock().unwrap(), ["/api/story/kill/warehouse/1"]);
}

#[tokio::test]
async fn answers_to_this_machines_names_only_and_serves_no_json_of_its_own() {
    let (router, _) = stage(playing());
    let (status, _) = send(&router, Method::GET, "/", "evil.example", String::new()).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    let (status, _) = send(
        &router,
        Method::POST,
        "/api/story/kill/broker/0",
        "localhost",
        String::new(),
    )
    .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn before_the_first_act_there_is_a_page_too() {
    let (router, _) = stage(json!({ "playing": false, "done": [], "events": [] }));
    let (status, page) = send(&router, Method::GET, "/", "127.0.0.1:1", String::new()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("between the acts"), "{page}");
}
