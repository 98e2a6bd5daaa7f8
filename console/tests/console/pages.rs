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

#[tokio::test]
async fn nothing_is_ordered_about_messages_before_it_was_shown() {
    let mut scene = Scene::logged_in().await;
    let at = "/api/everack/queues/%2F/a/parked/discard";
    scene.api.answer(at, json!({ "messages": 2, "bytes": 2048 }));
    let fields = "vhost=%2F&name=a&order=discard&id=7&id=9";
    let page = scene.submit("/", "/parked/order", fields).await;
    assert!(
        page.has("2 messages (2.0 KiB) would be thrown away"),
        "{}",
        page.text
    );
    let body = |scene: &Scene| -> serde_json::Value {
        let (_, path, body) = scene.api.orders().pop().unwrap();
        assert_eq!(path, at);
        serde_json::from_str(&body).unwrap()
    };
    assert_eq!(body(&scene), json!({ "ids": [7, 9], "preview": true }));
    let page = scene
        .submit("/", "/parked/order", &format!("{fields}&sure=true"))
        .await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(body(&scene), json!({ "ids": [7, 9], "preview": false }));
    let page = scene
        .submit("/", "/parked/order", "vhost=%2F&name=a&order=discard")
        .await;
    assert_eq!(
        (page.status, scene.api.orders().len()),
        (StatusCode::SEE_OTHER, 2)
    );
}

#[tokio::test]
async fn definitions_are_taken_in_only_after_the_broker_said_what_would_change() {
    let mut scene = Scene::logged_in().await;
    scene.api.answer(
        "/api/definitions",
        json!({ "dry_run": true, "created": ["queue a in /"], "changed": [] }),
    );
    let page = scene
        .submit(
            "/",
            "/definitions/import",
            "definitions=%7B%22queues%22%3A%5B%5D%7D",
        )
        .await;
    assert!(page.has("queue a in /"), "{}", page.text);
    assert_eq!(scene.api.orders()[0].1, "/api/definitions?dry_run=true");
    scene.api.answer("/api/definitions", json!({}));
    let page = scene
        .submit("/", "/definitions/import", "definitions=%7B%7D")
        .await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert!(scene.get("/").await.has("did not say what would change"));
}

#[tokio::test]
async fn a_password_that_is_left_empty_stays_as_it_is() {
    let mut scene = Scene::logged_in().await;
    let user = json!({ "name": "u", "password_hash": "HASH", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": [] });
    scene.api.answer("/api/users/u", user);
    scene
        .submit(
            "/",
            "/users/put",
            "name=u&tags=monitoring%2C+management&password=",
        )
        .await;
    let (_, _, body) = scene.api.orders().remove(0);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = json!({ "tags": "monitoring,management", "password_hash": "HASH",
        "hashing_algorithm": "rabbit_password_hashing_sha256" });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn messages_are_searched_for_and_moved_from_where_they_are() {
    let mut scene = Scene::logged_in().await;
    let at = "/api/everack/queues/%2F/a/messages";
    scene.api.answer(
        at,
        json!({ "messages": [{ "id": 4, "payload": "two", "payload_bytes": 3 }], "next": "3-7" }),
    );
    let page = scene.get("/messages?vhost=%2F&name=a&state=ready&text=two").await;
    assert!(page.has("Choose message 4"), "{}", page.text);
    assert!(
        page.has("/messages?vhost=%2F&amp;name=a&amp;state=ready&amp;text=two&amp;first=3-7"),
        "{}",
        page.text
    );
    let page = scene.get("/messages?vhost=%2F&name=a&state=unsettled").await;
    assert!(
        !page.has("Choose message 4"),
        "what a consumer holds is not to be ordered about"
    );
    scene.api.answer(
        &format!("{at}/move"),
        json!({ "messages": 1, "bytes": 3, "stayed": 1, "reason": "full" }),
    );
    let fields = "vhost=%2F&name=a&state=ready&order=out&to=b&id=4";
    let page = scene.submit("/", "/messages/order", fields).await;
    assert!(
        page.has("1 message (3 B) would move to the other queue"),
        "{}",
        page.text
    );
    assert!(page.has("1 stays here: full"), "{}", page.text);
    let body: serde_json::Value = serde_json::from_str(&scene.api.orders()[0].2).unwrap();
    assert_eq!(
        body,
        json!({ "ids": [4], "preview": true, "state": "ready", "to": "b" })
    );
}
