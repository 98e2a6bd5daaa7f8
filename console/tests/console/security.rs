//! What other sites, and names that somebody chose, cannot do.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::scene::Scene;

/// Every form, with what a person would send.
const FORMS: &[(&str, &str)] = &[
    ("/logout", ""),
    ("/theme", "theme=dark"),
    ("/queues/declare", "vhost=%2F&name=a"),
    ("/queue/purge", "vhost=%2F&name=a"),
    ("/queue/delete", "vhost=%2F&name=a"),
    ("/queue/bind", "vhost=%2F&name=a&source=e"),
    ("/queue/unbind", "vhost=%2F&name=a&source=e&key=k"),
    ("/queue/get", "vhost=%2F&name=a&count=1"),
    ("/exchanges/declare", "vhost=%2F&name=e"),
    ("/exchange/delete", "vhost=%2F&name=e"),
    ("/exchange/publish", "vhost=%2F&name=e"),
    ("/exchange/bind", "vhost=%2F&source=e&destination=a"),
    ("/exchange/unbind", "vhost=%2F&source=e&destination=a&key=k"),
    ("/connection/close", "name=c"),
    ("/policies/set", "vhost=%2F&name=p&pattern=x"),
    ("/policies/clear", "vhost=%2F&name=p"),
    ("/vhosts/declare", "name=v"),
    ("/vhost/delete", "name=v&sure=v"),
    ("/vhost/limit", "name=v&limit=max-queues&value=1"),
    ("/users/put", "name=u&password=p"),
    ("/user/delete", "name=u"),
    ("/user/permit", "vhost=%2F&name=u"),
    ("/user/forbid", "vhost=%2F&name=u"),
    ("/user/permit-topic", "vhost=%2F&name=u&exchange=e"),
    ("/user/forbid-topic", "vhost=%2F&name=u&exchange=e"),
    ("/user/limit", "name=u&limit=max-channels&value=1"),
    ("/parked/order", "vhost=%2F&name=a&all=true&sure=true"),
    ("/retained/order", "vhost=%2F&name=a&all=true&sure=true"),
    ("/unroutable/order", "vhost=%2F&all=true&sure=true"),
    ("/messages/order", "vhost=%2F&name=a&all=true&sure=true"),
    ("/definitions/import", "definitions=%7B%7D&sure=true"),
];

#[tokio::test]
async fn no_form_is_taken_without_the_sessions_token() {
    let mut scene = Scene::logged_in().await;
    let others = Scene::logged_in().await.get("/").await.token();
    for (path, fields) in FORMS {
        for token in ["", "token=", "token=zz&", &format!("token={others}&")] {
            let page = scene.post(path, &format!("{token}{fields}")).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} {token}");
        }
        let page = scene.get(&format!("{path}?{fields}")).await;
        assert_ne!(page.status, StatusCode::OK, "{path} is not to be gotten");
    }
    assert_eq!(scene.api.orders(), []);
}

#[tokio::test]
async fn no_form_is_taken_from_another_site_even_with_the_token() {
    let mut scene = Scene::logged_in().await;
    let token = scene.get("/").await.token();
    for (path, fields) in FORMS {
        for header in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let body = format!("token={token}&{fields}");
            let page = scene.send(Method::POST, path, &body, &[header]).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} {header:?}");
        }
    }
    assert_eq!(scene.api.orders(), []);
}

#[tokio::test]
async fn a_name_that_was_made_to_lead_here_is_refused() {
    let mut scene = Scene::new();
    scene.host = "evil.example:15672";
    for path in ["/", "/login", "/assets/console.js"] {
        assert_eq!(
            scene.get(path).await.status,
            StatusCode::MISDIRECTED_REQUEST,
            "{path}"
        );
    }
    scene.host = "broker.example";
    assert_eq!(scene.get("/login").await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let mut scene = Scene::logged_in().await;
    for path in [
        "/",
        "/login",
        "/nothing",
        "/queue?name=missing",
        "/assets/console.css",
    ] {
        let page = scene.get(path).await;
        let header = |name: &str| {
            let value = page.headers.get(name);
            value
                .map(|value| value.to_str().unwrap().to_owned())
                .unwrap_or_default()
        };
        let policy = header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
        let cached = header("cache-control");
        assert_eq!(
            cached.contains("no-store"),
            !path.starts_with("/assets/"),
            "{path}: {cached}"
        );
    }
}

#[tokio::test]
async fn no_page_has_scripts_or_styles_within() {
    let mut scene = Scene::logged_in().await;
    for path in ["/", "/login", "/queues", "/queue?vhost=%2F&name=a"] {
        let page = scene.get(path).await;
        for inline in [" style=", " onclick=", " onload=", "<style", "javascript:"] {
            assert!(!page.has(inline), "{path} has {inline}");
        }
        assert_eq!(page.text.matches("<script").count(), 1, "{path}");
    }
}

#[tokio::test]
async fn names_of_any_kind_are_shown_and_never_obeyed() {
    let evil = "</td><script>alert(1)</script>\"'&\u{0}\u{202e}\u{1f600}";
    let mut scene = Scene::logged_in().await;
    let queue = json!({
        "vhost": evil, "name": evil, "type": evil, "policy": evil, "state": evil, "durable": true,
        "arguments": { evil: evil }, "effective_policy_definition": { evil: [evil] },
        "consumer_details": [{ "consumer_tag": evil, "channel_details": { "connection_name": evil } }],
        "message_balance": { "discarded": { evil: 1 } },
    });
    let page_of_queues = json!({
        "items": [queue], "total_count": 1, "filtered_count": 1, "page": 1, "page_count": 1,
    });
    let escaped = "%3C%2Ftd%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22%27%26%00%E2%80%AE%F0%9F%98%80";
    scene.api.answer("/api/queues", page_of_queues);
    scene
        .api
        .answer(&format!("/api/queues/{escaped}/{escaped}"), queue);
    scene.api.answer(
        &format!("/api/queues/{escaped}/{escaped}/bindings"),
        json!([{ "source": evil, "routing_key": evil, "properties_key": evil, "arguments": { evil: evil } }]),
    );
    for path in [
        "/queues".to_owned(),
        format!("/queues?name={escaped}&sort={escaped}"),
        format!("/queue?vhost={escaped}&name={escaped}"),
    ] {
        let page = scene.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.has("&lt;script&gt;alert(1)"), "{path}");
        assert!(!page.has("<script>"), "{path}");
        assert!(!page.has("\"'&"), "{path}");
    }
}

#[tokio::test]
async fn the_reason_of_a_refusal_is_shown_and_never_obeyed() {
    let mut scene = Scene::logged_in().await;
    let reason = json!({ "reason": "<script>alert(1)</script>" });
    scene
        .api
        .refuse("/api/queues/%2F/a/contents", StatusCode::BAD_REQUEST, reason);
    let page = scene
        .submit("/", "/queue/purge", "vhost=%2F&name=a&back=%2Fqueues")
        .await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/queues"));
    let page = scene.get("/").await;
    assert!(
        page.has("&lt;script&gt;alert(1)") && !page.has("<script>"),
        "{}",
        page.text
    );
    assert!(!scene.get("/").await.has("alert(1)"), "it is said once");
}

#[tokio::test]
async fn a_form_that_is_too_long_is_refused() {
    let mut scene = Scene::logged_in().await;
    let long = "x".repeat(33 << 20);
    assert_eq!(
        scene.post("/queue/purge", &long).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let long = "x".repeat(17 << 10);
    assert_eq!(
        scene.post("/login", &long).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}
