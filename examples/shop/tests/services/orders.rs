//! What customers see of the order service.

use crate::support::bed::{becomes, eventually};
use crate::support::{Bed, ScriptedBroker, on_both_databases};
use anyhow::Result;
use axum::http::{Method, StatusCode};
use serde_json::json;

on_both_databases!(
    answers,
    idempotent_by_id,
    simultaneous_requests,
    open_while_the_broker_is_down,
    pruned
);

async fn answers(bed: Bed) -> Result<()> {
    let service = bed.order_service("a", &ScriptedBroker::uri_of(ScriptedBroker::unused_port()), &[]);
    let check = async |method: Method, path: &str, body: &str, expected: u16| -> Result<()> {
        let (status, answer) = service.http(method, path, body).await?;
        assert_eq!(status.as_u16(), expected, "{path} {body}: {answer}");
        assert_eq!(
            answer.get("error").is_some(),
            expected >= 400 && expected != 405,
            "{answer}"
        );
        Ok(())
    };
    let order = |id: &str, item: &str, quantity: i64| {
        json!({ "id": id, "item": item, "quantity": quantity }).to_string()
    };
    check(Method::POST, "/orders", &order("a-1", "teapot", 1), 201).await?;
    check(Method::POST, "/orders", &order("", "teapot", 1), 422).await?;
    check(Method::POST, "/orders", &order("a/b", "teapot", 1), 422).await?;
    check(Method::POST, "/orders", &order("a-2", " ", 1), 422).await?;
    check(Method::POST, "/orders", &order("a-2", "teapot", 0), 422).await?;
    check(Method::POST, "/orders", &order("a-2", "teapot", i64::MAX), 422).await?;
    check(Method::POST, "/orders", r#"{"id":"a-2"}"#, 422).await?;
    check(
        Method::POST,
        "/orders",
        r#"{"id":"a-2","item":"x","quantity":1,"price":0}"#,
        422,
    )
    .await?;
    check(Method::POST, "/orders", "{", 400).await?;
    check(
        Method::POST,
        "/orders",
        &order("a-2", &"x".repeat(20_000), 1),
        413,
    )
    .await?;
    check(Method::GET, "/orders/a-1", "", 200).await?;
    check(Method::GET, "/orders/a-2", "", 404).await?;
    check(Method::DELETE, "/orders/a-1", "", 405).await?;

    let (_, found) = service.get("/orders/a-1").await?;
    assert_eq!(
        found,
        json!({ "id": "a-1", "item": "teapot", "quantity": 1, "published": false })
    );
    assert_eq!(
        bed.store.order_ids().await?,
        ["a-1"],
        "what was refused left no trace"
    );
    assert_eq!(bed.store.outbox_count().await?, 1);
    Ok(())
}

async fn idempotent_by_id(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let service = bed.order_service("a", &broker.uri(), &[]);
    assert_eq!(service.post_order("a-1").await?, StatusCode::CREATED);
    for _ in 0..3 {
        assert_eq!(service.post_order("a-1").await?, StatusCode::OK);
    }
    let other = r#"{"id":"a-1","item":"teapot","quantity":3}"#;
    let (status, _) = service.http(Method::POST, "/orders", other).await?;
    assert_eq!(status, StatusCode::CONFLICT);

    becomes(0, async || bed.store.outbox_count().await).await;
    assert_eq!(broker.published_ids(), ["a-1"]);
    assert_eq!(
        service.post_order("a-1").await?,
        StatusCode::OK,
        "also after it was published"
    );
    becomes(0, async || bed.store.outbox_count().await).await;
    assert_eq!(broker.published_ids(), ["a-1"]);
    let (_, found) = service.get("/orders/a-1").await?;
    assert_eq!(found["quantity"], 2, "the first one stands");
    assert_eq!(found["published"], true);
    Ok(())
}

/// The same order at the same moment, to two services on one database: one row, whoever wins.
async fn simultaneous_requests(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let (first, second) = (
        bed.order_service("a", &broker.uri(), &[]),
        bed.order_service("b", &broker.uri(), &[]),
    );
    for number in 0..20 {
        let id = format!("a-{number:02}");
        let (one, two) = tokio::join!(first.post_order(&id), second.post_order(&id));
        let mut statuses = [one?.as_u16(), two?.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201]);
    }
    becomes(0, async || bed.store.outbox_count().await).await;
    assert_eq!(bed.store.order_count().await?, 20);
    assert_eq!(
        broker.published_ids(),
        bed.store.order_ids().await?,
        "each once, by either relay"
    );
    Ok(())
}

async fn open_while_the_broker_is_down(bed: Bed) -> Result<()> {
    let port = ScriptedBroker::unused_port();
    let service = bed.order_service("a", &ScriptedBroker::uri_of(port), &[]);
    for number in 0..5 {
        assert_eq!(
            service.post_order(&format!("a-{number}")).await?,
            StatusCode::CREATED
        );
    }
    let (status, health) = service.get("/health").await?;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        health,
        json!({ "database": "ok", "broker": "disconnected", "outbox": 5 })
    );

    let broker = ScriptedBroker::listen(port, crate::support::scripted_broker::acks);
    becomes(0, async || bed.store.outbox_count().await).await;
    assert_eq!(broker.published_ids(), ["a-0", "a-1", "a-2", "a-3", "a-4"]);
    let health = eventually(async || {
        let (_, health) = service.get("/health").await.ok()?;
        (health["broker"] == "connected").then_some(health)
    });
    assert_eq!(health.await["outbox"], 0);
    Ok(())
}

/// Pruning takes what is confirmed and old, nothing else, and never an order.
async fn pruned(bed: Bed) -> Result<()> {
    let order = |id: &str| everack_shop::order::Order {
        id: id.into(),
        item: "teapot".into(),
        quantity: 1,
    };
    for id in ["old", "new", "open"] {
        bed.store.accept(&order(id), 0).await?;
    }
    bed.store.settle(&["old".to_owned()], &[], 1_000).await?;
    bed.store.settle(&["new".to_owned()], &[], 2_000).await?;
    assert_eq!(bed.store.prune(1_500).await?, 1);
    assert_eq!(bed.store.prune(1_500).await?, 0);
    assert_eq!(bed.store.outbox_count().await?, 1);
    assert_eq!(bed.store.order_count().await?, 3);
    let (_, published) = bed.store.find("old").await?.expect("the order is still there");
    assert!(published);
    Ok(())
}
