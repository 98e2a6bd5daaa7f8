//! What pages ask of the API, and what they make of the answers.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::scene::Scene;

#[tokio::test]
async fn the_overview_shows_sums() {
    let mut scene = Scene::logged_in().await;
    let page = scene.get("/").await;
    assert!(page.has("12,345"), "{}", page.text);
    assert!(page.has("<title>Overview · Everack</title>"));
}

#[tokio::test]
async fn queues_are_asked_for_in_pages_as_the_link_says() {
    let mut scene = Scene::logged_in().await;
    let some = json!({ "items": [{ "name": "a", "vhost": "v" }], "total_count": 10_000, "filtered_count": 120,
        "page": 2, "page_count": 3 });
    scene.api.answer("/api/queues/v", some);
    let page = scene
        .get("/queues?vhost=v&page=2&sort=messages_ready&reverse=true&name=a")
        .await;
    assert!(page.has("120 of 10,000 queues"), "{}", page.text);
    assert!(page.has("Page 2 of 3"));
    assert!(page.has(r#"aria-sort="descending""#));
    assert!(page.has("/queue?vhost=v&amp;name=a"));
    let next = "/queues?vhost=v&amp;name=a&amp;sort=messages_ready&amp;reverse=true&amp;page=3";
    assert!(page.has(next), "{}", page.text);
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let mut scene = Scene::logged_in().await;
    for path in ["/queue?vhost=%2F&name=missing", "/nothing"] {
        let page = scene.get(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        assert!(page.has("Not there"), "{path}");
    }
}

#[tokio::test]
async fn forms_become_requests_with_every_name_escaped() {
    let mut scene = Scene::logged_in().await;
    scene.api.answer("/api/queues/%2F/a%20b", json!(null));
    let fields = "vhost=%2F&name=a+b&durable=true&type=quorum&arguments=%7B%22x-delivery-limit%22%3A5%7D";
    let page = scene.submit("/", "/queues/declare", fields).await;
    assert_eq!(page.location(), "/queue?vhost=%2F&name=a%20b");
    let (method, path, body) = scene.api.orders().remove(0);
    assert_eq!((method, path.as_str()), (Method::PUT, "/api/queues/%2F/a%20b"));
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = json!({ "durable": true, "auto_delete": false,
        "arguments": { "x-queue-type": "quorum", "x-delivery-limit": 5 } });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn what_a_person_typed_wrongly_is_told_before_anything_is_asked() {
    let mut scene = Scene::logged_in().await;
    for (fields, told) in [
        ("vhost=%2F&name=&back=%2F", "The name is missing"),
        (
            "vhost=%2F&name=a&arguments=%5B1%5D&back=%2F",
            "Arguments: a JSON object is needed",
        ),
        ("vhost=%2F&name=a&arguments=%7B&back=%2F", "Arguments: EOF"),
    ] {
        let page = scene.submit("/", "/queues/declare", fields).await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/"));
        let page = scene.get("/").await;
        assert!(page.has(told), "{fields}: {}", page.text);
    }
    assert_eq!(scene.api.orders(), []);
}
