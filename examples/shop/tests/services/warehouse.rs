//! What a warehouse tells the broker, and when.

use crate::support::bed::{becomes, stays};
use crate::support::{Bed, Message, ScriptedBroker, on_both_databases};
use anyhow::Result;

on_both_databases!(
    acks_what_is_in_the_books,
    killed_at_work,
    shipped_but_not_acked,
    failures_are_requeued_then_parked,
    some_failures_are_survived,
    poison_is_parked,
    auto_ack_forgets,
    finishes_when_the_broker_dies,
    a_silent_broker_is_left,
    keeps_to_its_prefetch,
    ends_politely,
);

async fn acks_what_is_in_the_books(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let _warehouse = bed.warehouse("w1", &broker.uri(), &["--work-ms", "300"]);
    for id in ["a", "b", "c"] {
        broker.put(Message::order(id));
    }
    becomes(3, async || Ok(broker.in_hands().0)).await;
    assert!(broker.answers().is_empty(), "no word before the work is done");
    becomes(3, async || {
        let (answers, shipped) = (broker.answers().len(), bed.books.shipment_count().await?);
        assert!(
            answers as i64 <= shipped,
            "{answers} acked, {shipped} in the books"
        );
        Ok(answers)
    })
    .await;
    assert!(broker.answers().iter().all(|(answer, _)| *answer == "ack"));
    assert_eq!(bed.books.shipment_ids().await?, ["a", "b", "c"]);
    assert_eq!(bed.books.totals().await?.redelivered, 0);
    Ok(())
}

async fn killed_at_work(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let doomed = bed.warehouse("w1", &broker.uri(), &["--work-ms", "60000"]);
    broker.put(Message::order("a"));
    broker.put(Message::order("b"));
    becomes(2, async || bed.books.in_hands_of("w1").await).await;
    doomed.kill();
    becomes(2, async || Ok(broker.queue_length())).await;
    assert!(broker.answers().is_empty());

    let _heir = bed.warehouse("w2", &broker.uri(), &["--work-ms", "10"]);
    becomes(2, async || Ok(broker.answers().len())).await;
    assert_eq!(bed.books.shipment_ids().await?, ["a", "b"]);
    assert_eq!(bed.books.totals().await?.redelivered, 2);
    Ok(())
}

/// The warehouse died between its books and its ack: whoever gets the order next finds it in the books.
async fn shipped_but_not_acked(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let order = serde_json::from_str(&Message::order("a").body)?;
    bed.books.arrived("a", "w0", false).await?;
    bed.books.shipped(&order, "w0", 1).await?;
    broker.put(Message {
        redelivered: true,
        ..Message::order("a")
    });
    let _warehouse = bed.warehouse("w1", &broker.uri(), &["--work-ms", "60000"]);
    becomes(vec![("ack", "a".to_owned())], async || Ok(broker.answers())).await;
    assert_eq!(bed.books.shipment_ids().await?, ["a"]);
    Ok(())
}

async fn failures_are_requeued_then_parked(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let flags = ["--work-ms", "10", "--fail-percent", "100", "--failures-max", "3"];
    let _warehouse = bed.warehouse("w1", &broker.uri(), &flags);
    broker.put(Message::order("a"));
    let expected = ["requeue", "requeue", "reject"].map(|answer| (answer, "a".to_owned()));
    becomes(expected.to_vec(), async || Ok(broker.answers())).await;
    let totals = bed.books.totals().await?;
    assert_eq!((totals.shipped, totals.parked, totals.redelivered), (0, 1, 2));
    stays(3, async || Ok(broker.answers().len())).await;
    Ok(())
}

async fn some_failures_are_survived(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let flags = [
        "--work-ms",
        "10",
        "--fail-percent",
        "30",
        "--failures-max",
        "1000",
    ];
    let _warehouse = bed.warehouse("w1", &broker.uri(), &flags);
    for number in 0..30 {
        broker.put(Message::order(&format!("a-{number:02}")));
    }
    becomes(30, async || bed.books.shipment_count().await).await;
    becomes((0, 0), async || Ok((broker.queue_length(), broker.in_hands().0))).await;
    let requeued = broker
        .answers()
        .iter()
        .filter(|(answer, _)| *answer == "requeue")
        .count();
    let acked = broker
        .answers()
        .iter()
        .filter(|(answer, _)| *answer == "ack")
        .count();
    assert_eq!(acked, 30, "each once, and only the attempt that worked");
    assert_eq!(bed.books.totals().await?.redelivered, requeued as i64);
    Ok(())
}

async fn poison_is_parked(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let _warehouse = bed.warehouse("w1", &broker.uri(), &["--work-ms", "10"]);
    let poison = |id: &str, body: &str| Message {
        id: id.into(),
        body: body.into(),
        redelivered: false,
    };
    broker.put(poison("p-1", "not json"));
    broker.put(poison("p-2", r#"{"id":"x","item":"teapot","quantity":0}"#));
    broker.put(Message::order("a"));
    becomes(3, async || Ok(broker.answers().len())).await;
    let mut answers = broker.answers();
    answers.sort_unstable();
    let expected = [("ack", "a"), ("reject", "p-1"), ("reject", "p-2")];
    assert_eq!(answers, expected.map(|(answer, id)| (answer, id.to_owned())));
    assert_eq!(bed.books.totals().await?.parked, 2);
    Ok(())
}

/// The mistake: the broker is told nothing, and what the dead warehouse had is nowhere.
async fn auto_ack_forgets(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let doomed = bed.warehouse(
        "w1",
        &broker.uri(),
        &["--auto-ack", "--work-ms", "60000", "--prefetch", "2"],
    );
    for number in 0..10 {
        broker.put(Message::order(&format!("a-{number}")));
    }
    becomes(2, async || bed.books.in_hands_of("w1").await).await;
    assert_eq!(
        broker.consumers(),
        [(2, true)],
        "the prefetch binds nobody who does not ack"
    );
    assert_eq!(
        broker.queue_length(),
        0,
        "all ten were handed over, eight of them wait in the process's memory"
    );
    doomed.kill();

    let _heir = bed.warehouse("w2", &broker.uri(), &["--auto-ack", "--work-ms", "10"]);
    becomes(2, async || Ok(broker.consumers().len())).await;
    stays((0, 0), async || {
        Ok((bed.books.shipment_count().await?, broker.queue_length()))
    })
    .await;
    assert!(broker.answers().is_empty());
    Ok(())
}

/// A parcel that is being handed over cannot be called back: the work goes on, the ack finds no broker, and the order,
/// delivered again, is found in the books.
async fn finishes_when_the_broker_dies(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let _warehouse = bed.warehouse("w1", &broker.uri(), &["--work-ms", "600"]);
    broker.put(Message::order("a"));
    becomes(1, async || bed.books.in_hands_of("w1").await).await;
    broker.cut();
    becomes(true, async || {
        Ok(broker.answers().contains(&("ack", "a".to_owned())))
    })
    .await;
    becomes((0, 0), async || Ok((broker.queue_length(), broker.in_hands().0))).await;
    assert_eq!(bed.books.shipment_ids().await?, ["a"]);
    assert_eq!(broker.connections_ever(), 2);
    Ok(())
}

/// A broker that hangs does not close its connections. This one never sends a heartbeat, whatever was agreed.
async fn a_silent_broker_is_left(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let _warehouse = bed.warehouse("w1", &format!("{}?heartbeat=1", broker.uri()), &[]);
    let _service = bed.order_service("a", &format!("{}?heartbeat=1", broker.uri()), &[]);
    becomes(true, async || Ok(broker.connections_ever() >= 4)).await;
    Ok(())
}

async fn keeps_to_its_prefetch(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    for number in 0..40 {
        broker.put(Message::order(&format!("a-{number:02}")));
    }
    let _warehouse = bed.warehouse("w1", &broker.uri(), &["--work-ms", "20", "--prefetch", "4"]);
    becomes(40, async || bed.books.shipment_count().await).await;
    assert_eq!(broker.consumers(), [(4, false)]);
    assert_eq!(broker.in_hands().1, 4);
    Ok(())
}

async fn ends_politely(bed: Bed) -> Result<()> {
    let broker = ScriptedBroker::start();
    let warehouse = bed.warehouse("w1", &broker.uri(), &["--work-ms", "400", "--prefetch", "3"]);
    for number in 0..10 {
        broker.put(Message::order(&format!("a-{number}")));
    }
    becomes(3, async || bed.books.in_hands_of("w1").await).await;
    assert!(warehouse.end().await.success());
    let shipped = bed.books.shipment_count().await?;
    assert!(
        (3..10).contains(&shipped),
        "what was in hand is shipped, nothing new was begun: {shipped}"
    );
    becomes(10 - shipped as usize, async || Ok(broker.queue_length())).await;
    assert_eq!(broker.answers().len() as i64, shipped);
    assert_eq!(bed.books.in_hands_of("w1").await?, 0);
    Ok(())
}
