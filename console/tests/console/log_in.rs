//! Logging in and out.

use axum::http::{Method, StatusCode, header};
use serde_json::json;

use crate::scene::Scene;

#[tokio::test]
async fn nobody_sees_a_page_before_the_log_in_and_comes_back_to_it_after() {
    let mut scene = Scene::new();
    let page = scene.get("/queue?vhost=%2F&name=a").await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(page.location(), "/login?next=%2Fqueue%3Fvhost%3D%252F%26name%3Da");
    let form = scene.get(page.location()).await;
    assert!(
        form.has(r#"name="next" value="/queue?vhost=%2F&amp;name=a""#),
        "{}",
        form.text
    );
    let fields = format!(
        "token={}&user=ops&password=secret&next=%2Fqueue%3Fname%3Da",
        form.token()
    );
    let page = scene.post("/login", &fields).await;
    assert_eq!(
        (page.status, page.location()),
        (StatusCode::SEE_OTHER, "/queue?name=a")
    );
}

#[tokio::test]
async fn the_log_in_leads_to_no_other_site() {
    let mut scene = Scene::new();
    for next in [
        "https%3A%2F%2Fevil.example",
        "%2F%2Fevil.example",
        "%2F%5Cevil.example",
    ] {
        let page = scene
            .submit(
                "/login",
                "/login",
                &format!("user=ops&password=secret&next={next}"),
            )
            .await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/"));
    }
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_and_holds_no_credentials() {
    let mut scene = Scene::new();
    let page = scene.log_in("ops", "secret").await;
    let cookie = page.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("everack-session-15672="), "{cookie}");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("ops") && !cookie.contains("secret"), "{cookie}");
    // Each log-in has a token of its own: one that somebody planted before is worth nothing after.
    let first = scene.cookies["everack-session-15672"].clone();
    scene.log_in("ops", "secret").await;
    assert_ne!(first, scene.cookies["everack-session-15672"]);
    scene.cookies.insert("everack-session-15672".to_owned(), first);
    assert_eq!(scene.get("/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_wrong_password_is_told_without_saying_what_was_wrong() {
    let mut scene = Scene::new();
    for (user, password) in [("ops", "wrong"), ("nobody", "secret"), ("", "")] {
        let page = scene.log_in(user, password).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
        assert!(page.has("User or password is wrong."), "{}", page.text);
        assert!(!scene.cookies.contains_key("everack-session-15672"));
    }
}

#[tokio::test]
async fn who_guesses_has_to_wait_and_is_not_looked_at() {
    let mut scene = Scene::new();
    for _ in 0..5 {
        assert_eq!(
            scene.log_in("ops", "wrong").await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    let before = *scene.api.verified.lock().unwrap();
    let page = scene.log_in("ops", "secret").await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(*scene.api.verified.lock().unwrap(), before);
    // Others are not held up.
    scene.peer = "192.0.2.1:1".parse().unwrap();
    assert_eq!(scene.log_in("ops", "secret").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_log_in_needs_the_form() {
    let mut scene = Scene::new();
    let page = scene.post("/login", "user=ops&password=secret").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    let token = "0".repeat(64);
    let page = scene
        .post("/login", &format!("token={token}&user=ops&password=secret"))
        .await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert_eq!(*scene.api.verified.lock().unwrap(), 0);
}

#[tokio::test]
async fn the_end_of_a_session_is_the_end() {
    let mut scene = Scene::logged_in().await;
    let token = scene.cookies["everack-session-15672"].clone();
    let page = scene.submit("/", "/logout", "").await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/login"));
    scene.cookies.insert("everack-session-15672".to_owned(), token);
    assert_eq!(scene.get("/").await.location(), "/login");
}

#[tokio::test]
async fn another_password_ends_the_sessions_of_a_user() {
    let mut scene = Scene::logged_in().await;
    assert_eq!(scene.get("/").await.status, StatusCode::OK);
    *scene.api.password.lock().unwrap() = "another".to_owned();
    assert_eq!(scene.get("/").await.location(), "/login");
    *scene.api.password.lock().unwrap() = "secret".to_owned();
    assert_eq!(scene.get("/").await.location(), "/login");
}

#[tokio::test]
async fn a_user_who_loses_rights_is_told_so_and_stays_logged_in() {
    let mut scene = Scene::logged_in().await;
    let refusal = json!({ "error": "not_authorised", "reason": "Not monitor user" });
    scene
        .api
        .refuse("/api/overview", StatusCode::UNAUTHORIZED, refusal);
    let page = scene.get("/").await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.has("Not monitor user"));
    scene.api.answer("/api/overview", json!({}));
    assert_eq!(scene.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_of_this_machine_is_worth_nothing_on_another() {
    let mut scene = Scene::logged_in().await;
    scene.peer = "192.0.2.1:1".parse().unwrap();
    assert_eq!(scene.get("/").await.location(), "/login");
}

#[tokio::test]
async fn a_refresh_is_not_led_to_the_log_in() {
    let mut scene = Scene::new();
    let page = scene.send(Method::GET, "/", "", &[("x-everack-live", "1")]).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
}
