//! From the outbox to the broker: at least once, and marked only when the broker has taken responsibility.

use crate::support::bed::{becomes, stays};
use crate::support::scripted_broker::{acks, silent};
use crate::support::{Bed, Published, Reply, ScriptedBroker, on_both_databases};
use anyhow::Result;
use everack_shop::order::Order;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

on_both_databases!(
    published_as_promised,
    killed_between_commit_and_publish,
    killed_between_publish_and_mark,
    a_sibling_takes_over,
    not_marked_on_nack,
    not_marked_on_return,
    the_right_one_is_not_marked,
    not_marked_without_confirm,
    the_broker_dies_in_the_middle,
    bounded_window,
    claims_do_not_overlap,
);

async fn published_as_promised(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let service = bed.order_service("a", &broker.uri(), &[]);
    service.post_order("a-1").await?;
    becomes(0, async || bed.store.outbox_count().await).await;
    let [message] = &broker.published()[..] else {
        panic!("one order, one message: {:?}", broker.published())
    };
    assert!(message.persistent);
    assert!(message.mandatory);
    assert_eq!(message.id, "a-1");
    assert_eq!(
        (message.exchange.as_str(), message.routing_key.as_str()),
        ("shop", "orders")
    );
    let order: Order = serde_json::from_str(&message.body)?;
    assert_eq!(
        order,
        Order {
            id: "a-1".into(),
            item: "teapot".into(),
            quantity: 2
        }
    );
    assert!(service.end().await.success());
    Ok(())
}

async fn killed_between_commit_and_publish(bed: Bed) -> Result<()> {
    let port = ScriptedBroker::unused_port();
    let service = bed.order_service("a", &ScriptedBroker::uri_of(port), &[]);
    for id in ["a-1", "a-2", "a-3"] {
        service.post_order(id).await?;
    }
    service.kill();
    assert_eq!(bed.store.outbox_count().await?, 3);

    let broker = ScriptedBroker::listen(port, acks);
    let _service = bed.order_service("a", &broker.uri(), &[]);
    becomes(0, async || bed.store.outbox_count().await).await;
    assert_eq!(broker.published_ids(), ["a-1", "a-2", "a-3"]);
    Ok(())
}

async fn killed_between_publish_and_mark(bed: Bed) -> Result<()> {
    let confirming = Arc::new(AtomicBool::new(false));
    let switch = confirming.clone();
    let script = move |message: &Published| {
        if switch.load(Ordering::SeqCst) {
            acks(message)
        } else {
            silent(message)
        }
    };
    let broker = ScriptedBroker::start_with(script);
    let service = bed.order_service("a", &broker.uri(), &[]);
    for id in ["a-1", "a-2"] {
        service.post_order(id).await?;
    }
    becomes(2, async || Ok(broker.published().len())).await;
    service.kill();
    assert_eq!(bed.store.outbox_count().await?, 2, "published is not confirmed");

    confirming.store(true, Ordering::SeqCst);
    let _service = bed.order_service("a", &broker.uri(), &[]);
    becomes(0, async || bed.store.outbox_count().await).await;
    assert_eq!(
        broker.published_ids(),
        ["a-1", "a-1", "a-2", "a-2"],
        "at least once"
    );
    Ok(())
}

/// A service that is killed and never comes back: when its lease has run out, its rows are anybody's.
async fn a_sibling_takes_over(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start_with(silent);
    let service = bed.order_service("a", &broker.uri(), &["--confirm-timeout-ms", "500"]);
    service.post_order("a-1").await?;
    becomes(1, async || bed.store.claimed_count("a").await).await;
    service.kill();
    drop(broker);

    let broker = ScriptedBroker::start();
    let _sibling = bed.order_service("b", &broker.uri(), &[]);
    becomes(0, async || bed.store.outbox_count().await).await;
    assert_eq!(broker.published_ids(), ["a-1"]);
    Ok(())
}

async fn not_marked_on_nack(bed: Bed) -> Result<()> {
    let refused = |message: &Published| {
        vec![Reply::Nack {
            number: message.number,
        }]
    };
    check_refusal(bed, refused).await
}

async fn not_marked_on_return(bed: Bed) -> Result<()> {
    let returned = |message: &Published| {
        vec![
            Reply::Return(message.clone()),
            Reply::Ack {
                number: message.number,
                multiple: false,
            },
        ]
    };
    check_refusal(bed, returned).await
}

/// The broker refuses for a while, then takes what it is given.
async fn check_refusal(bed: Bed, refuse: impl Fn(&Published) -> Vec<Reply> + Send + 'static) -> Result<()> {
    let refusing = Arc::new(AtomicBool::new(true));
    let switch = refusing.clone();
    let script = move |message: &Published| {
        if switch.load(Ordering::SeqCst) {
            refuse(message)
        } else {
            acks(message)
        }
    };
    let broker = ScriptedBroker::start_with(script);
    let service = bed.order_service("a", &broker.uri(), &[]);
    service.post_order("a-1").await?;
    becomes(true, async || Ok(broker.published().len() >= 2)).await;
    stays(1, async || bed.store.outbox_count().await).await;
    assert_eq!(service.get("/orders/a-1").await?.1["published"], false);
    assert!(broker.published().len() < 10, "it waits longer each time");

    refusing.store(false, Ordering::SeqCst);
    becomes(0, async || bed.store.outbox_count().await).await;
    assert_eq!(broker.connections_ever(), 1, "a refusal is no reason to leave");
    Ok(())
}

/// Ten messages, one of them is returned, and one ack speaks for all ten. The client library hands the returned message
/// to any of the ten confirms: the relay has to look at the message's id. One that believed the confirms instead would
/// fail here nine times in ten, and lose the order.
async fn the_right_one_is_not_marked(bed: Bed) -> Result<()> {
    bed.accept(10).await?;
    let mut returned = None;
    let script = move |message: &Published| {
        if message.id == "a-04" {
            returned.get_or_insert_with(|| message.clone());
        }
        // What is published again later is not answered at all, so that it can be seen.
        match (message.number, &returned) {
            (10, Some(returned)) => {
                vec![
                    Reply::Return(returned.clone()),
                    Reply::Ack {
                        number: 10,
                        multiple: true,
                    },
                ]
            }
            _ => Vec::new(),
        }
    };
    let broker = ScriptedBroker::start_with(script);
    let _service = bed.order_service("a", &broker.uri(), &[]);
    becomes(1, async || bed.store.outbox_count().await).await;
    let (_, published) = bed.store.find("a-04").await?.expect("it is there");
    assert!(!published, "the returned order must not be marked");

    becomes(11, async || Ok(broker.published().len())).await;
    assert_eq!(broker.published()[10].id, "a-04", "it is published again");
    Ok(())
}

async fn not_marked_without_confirm(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start_with(silent);
    let service = bed.order_service("a", &broker.uri(), &["--confirm-timeout-ms", "300"]);
    service.post_order("a-1").await?;
    becomes(true, async || Ok(broker.published().len() >= 3)).await;
    assert_eq!(bed.store.outbox_count().await?, 1);
    assert!(
        broker.connections_ever() >= 3,
        "a broker that does not confirm is left for a new connection"
    );
    Ok(())
}

/// The connection breaks after every few messages; in the end every order is confirmed.
async fn the_broker_dies_in_the_middle(bed: Bed) -> Result<()> {
    let count = AtomicUsize::new(0);
    let script = move |message: &Published| match count.fetch_add(1, Ordering::SeqCst) {
        number if number < 60 && number % 7 == 6 => vec![Reply::Cut],
        number if number % 3 == 0 => vec![Reply::Ack {
            number: message.number,
            multiple: true,
        }],
        number if number >= 60 => acks(message),
        _ => Vec::new(),
    };
    let broker = ScriptedBroker::start_with(script);
    let service = bed.order_service(
        "a",
        &broker.uri(),
        &["--confirm-timeout-ms", "500", "--window", "4"],
    );
    for number in 0..30 {
        service.post_order(&format!("a-{number:02}")).await?;
    }
    becomes(0, async || bed.store.outbox_count().await).await;
    let mut published = broker.published_ids();
    published.dedup();
    assert_eq!(published, bed.store.order_ids().await?);
    Ok(())
}

async fn bounded_window(bed: Bed) -> Result<()> {
    bed.accept(30).await?;
    let broker = ScriptedBroker::start_with(silent);
    let flags = ["--window", "5", "--confirm-timeout-ms", "60000"];
    let _service = bed.order_service("a", &broker.uri(), &flags);
    becomes(10, async || Ok(broker.published().len())).await;
    stays(10, async || Ok(broker.published().len())).await;
    assert_eq!(
        bed.store.claimed_count("a").await? as usize,
        broker.published().len()
    );
    Ok(())
}

/// Two relays that claim at the same time never get the same row, and together they get all.
async fn claims_do_not_overlap(bed: Bed) -> Result<()> {
    bed.accept(40).await?;
    let other = everack_shop::order_service::Store::open(&bed.orders_url).await?;
    let (now, lease) = (1_000, 2_000);
    let mut claimed = Vec::new();
    while claimed.len() < 40 {
        let (mine, theirs) = tokio::join!(
            bed.store.claim("a", 3, now, lease),
            other.claim("b", 3, now, lease)
        );
        claimed.extend(mine?.into_iter().chain(theirs?).map(|row| row.order_id));
    }
    claimed.sort_unstable();
    assert_eq!(claimed, bed.store.order_ids().await?);
    assert!(
        bed.store.claim("a", 3, now, lease).await?.is_empty(),
        "all are taken"
    );
    assert_eq!(
        bed.store.claim("c", 50, lease, 3_000).await?.len(),
        40,
        "until the lease has run out"
    );
    assert_eq!(bed.store.release("c", lease).await?, 40);
    assert_eq!(
        bed.store.claim("d", 50, lease, 3_000).await?.len(),
        40,
        "or until they are given back"
    );
    Ok(())
}
