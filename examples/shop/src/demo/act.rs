//! One act: the shop is open, things go wrong, and in the end the books are compared.

use super::customers::{Seen, send_orders};
use super::display::Display;
use super::scene::{Mishap, Scene};
use super::stage::{Killed, Stage};
use super::verdict::{Tally, compare};
use super::watch::{Look, Watch};
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the state of things is looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long the dead stay dead, so that it can be seen how the living take over.
const WAREHOUSE_DOWN: Duration = Duration::from_millis(800);
const ORDER_SERVICE_DOWN: Duration = Duration::from_millis(500);
const BROKER_DOWN: Duration = Duration::from_millis(500);
/// How long to look for a moment in which a victim has something in its hands. After that a warehouse is spared, because
/// killing an idle one shows nothing; an order service is killed as it is.
const WAREHOUSE_AMBUSH_MAX: Duration = Duration::from_secs(5);
const ORDER_SERVICE_AMBUSH_MAX: Duration = Duration::from_secs(1);
/// An act that is not over by then is stuck.
const ACT_MAX: Duration = Duration::from_secs(300);

pub(super) struct Act<'a> {
    scene: Scene,
    stage: Stage,
    display: &'a Display,
    seen: Arc<Seen>,
    mishaps: VecDeque<(usize, Mishap)>,
    /// Since when the next mishap waits for its victim to be at work.
    ambush: Option<Instant>,
    /// The dead, and when each is to be started again.
    dead: Vec<(Instant, Mishap)>,
    tally: Tally,
    /// Somebody looks on, and may take part.
    watch: Option<&'a Watch>,
}

impl<'a> Act<'a> {
    pub(super) fn new(scene: Scene, stage: Stage, display: &'a Display, watch: Option<&'a Watch>) -> Self {
        let mut mishaps = scene.mishaps();
        mishaps.sort_by_key(|(at, _)| *at);
        Self {
            scene,
            stage,
            display,
            seen: Arc::default(),
            mishaps: mishaps.into(),
            ambush: None,
            dead: Vec::new(),
            tally: Tally::default(),
            watch,
        }
    }

    /// Plays it to the end and counts.
    pub(super) async fn play(mut self) -> Result<Tally> {
        let start = Instant::now();
        let orders = send_orders(self.scene, self.stage.shop_addresses(), self.seen.clone());
        let mut customers = tokio::spawn(orders);
        let mut customers_left = false;
        let mut last_change = (Instant::now(), (0, 0));
        loop {
            tokio::select! {
                sent = &mut customers, if !customers_left => {
                    sent??;
                    customers_left = true;
                }
                () = tokio::time::sleep(TICK) => {}
            }
            self.stage.check_alive()?;
            self.raise_the_dead().await?;
            self.let_things_go_wrong().await?;
            self.obey_the_watcher().await?;
            let now = self.look().await?;
            if now != last_change.1 {
                last_change = (Instant::now(), now);
            }
            let all_happened = customers_left && self.mishaps.is_empty() && self.dead.is_empty();
            if all_happened && self.is_over(last_change.0.elapsed()).await? {
                break;
            }
            if start.elapsed() > ACT_MAX {
                bail!(
                    "the story does not come to an end: {} orders of {} shipped",
                    now.0,
                    self.scene.orders
                );
            }
        }
        self.tally.seconds = start.elapsed().as_secs_f64();
        self.count().await?;
        self.stage.clear().await?;
        Ok(self.tally)
    }

    /// Reads how far everything is, and shows it.
    async fn look(&self) -> Result<(i64, i64)> {
        let waiting = self.stage.store.outbox_count().await?;
        let published = self.stage.store.order_count().await? - waiting;
        let totals = self.stage.books.totals().await?;
        self.display.progress(
            self.seen.accepted_count() as u64,
            published as u64,
            totals.shipped as u64,
        );
        if let Some(watch) = self.watch {
            let look = Look {
                accepted: self.seen.accepted_count(),
                waiting,
                totals: &totals,
                tally: &self.tally,
            };
            watch.look(&self.stage, look).await?;
        }
        Ok((totals.shipped, totals.redelivered))
    }

    /// Everything shipped, or nothing left that could still be shipped: outbox and queue are empty, and nothing has
    /// moved for longer than any work takes.
    async fn is_over(&self, quiet: Duration) -> Result<bool> {
        let accepted = self.seen.accepted_count() as i64;
        if self.stage.store.outbox_count().await? > 0 {
            return Ok(false);
        }
        if self.stage.books.shipment_count().await? >= accepted {
            return Ok(true);
        }
        Ok(quiet > self.scene.quiet() && self.stage.queue_length().await? == 0)
    }

    async fn let_things_go_wrong(&mut self) -> Result<()> {
        let Some((at, mishap)) = self.mishaps.front().copied() else {
            return Ok(());
        };
        if self.seen.accepted_count() < at || !self.is_possible(mishap) {
            return Ok(());
        }
        let waited = self.ambush.get_or_insert_with(Instant::now).elapsed();
        let happened = match mishap {
            Mishap::Warehouse(preferred) => {
                self.kill_warehouse(preferred).await? || waited > WAREHOUSE_AMBUSH_MAX
            }
            Mishap::OrderService(number) => self.kill_order_service(number, waited).await?,
            Mishap::Broker => self.kill_broker()?,
        };
        if happened {
            self.mishaps.pop_front();
            self.ambush = None;
        }
        Ok(())
    }

    /// Does what whoever looks on has asked for, if it can be done.
    async fn obey_the_watcher(&mut self) -> Result<()> {
        let Some(mishap) = self.watch.and_then(Watch::wish) else {
            return Ok(());
        };
        let done = match mishap {
            _ if !self.is_possible(mishap) => false,
            Mishap::Warehouse(number) => self.kill_warehouse(number).await?,
            Mishap::OrderService(number) => self.kill_order_service(number, ORDER_SERVICE_AMBUSH_MAX).await?,
            Mishap::Broker => self.kill_broker()?,
        };
        if !done {
            self.tell("nobody was killed: dead already, or without an order in its hands");
        }
        Ok(())
    }

    /// Something has happened: for the terminal, and for whoever looks on.
    fn tell(&self, text: &str) {
        self.display.event(text);
        if let Some(watch) = self.watch {
            watch.event(text);
        }
    }

    /// Who is dead already cannot be killed, and without a broker no warehouse has an order that it could still ack.
    fn is_possible(&self, mishap: Mishap) -> bool {
        let dead = |mishap| self.dead.iter().any(|(_, dead)| *dead == mishap);
        match mishap {
            Mishap::Warehouse(_) => !dead(Mishap::Broker),
            other => !dead(other),
        }
    }

    /// True if one was met at work, and killed.
    async fn kill_warehouse(&mut self, preferred: usize) -> Result<bool> {
        let Some(killed) = self.stage.kill_warehouse(preferred).await? else {
            return Ok(false);
        };
        let Killed {
            number,
            name,
            in_hands,
        } = killed;
        self.tally.warehouse_kills += 1;
        self.tally.in_hands += in_hands;
        self.tell(&format!("{name} is killed with {in_hands} orders in its hands"));
        self.dead
            .push((Instant::now() + WAREHOUSE_DOWN, Mishap::Warehouse(number)));
        Ok(true)
    }

    /// True if it was killed: while it waited for confirms, or after it was `waited` for in vain.
    async fn kill_order_service(&mut self, number: usize, waited: Duration) -> Result<bool> {
        let least = i64::from(waited < ORDER_SERVICE_AMBUSH_MAX);
        let Some(killed) = self.stage.kill_order_service(number, least).await? else {
            return Ok(false);
        };
        let Killed {
            number,
            name,
            in_hands,
        } = killed;
        self.tally.order_service_kills += 1;
        self.tell(&format!(
            "{name} is killed, {in_hands} of its messages are not confirmed"
        ));
        self.dead
            .push((Instant::now() + ORDER_SERVICE_DOWN, Mishap::OrderService(number)));
        Ok(true)
    }

    fn kill_broker(&mut self) -> Result<bool> {
        self.stage.kill_broker()?;
        self.tally.broker_kills += 1;
        self.tell("the broker is killed; the shop goes on taking orders");
        self.dead.push((Instant::now() + BROKER_DOWN, Mishap::Broker));
        Ok(true)
    }

    async fn raise_the_dead(&mut self) -> Result<()> {
        let now = Instant::now();
        let due = self
            .dead
            .extract_if(.., |(when, _)| *when <= now)
            .collect::<Vec<_>>();
        for (_, mishap) in due {
            match mishap {
                Mishap::Warehouse(number) => self.stage.start_warehouse(number)?,
                Mishap::OrderService(number) => self.stage.start_order_service(number)?,
                Mishap::Broker => {
                    let start = Instant::now();
                    self.stage
                        .start_broker()
                        .await
                        .context("the broker does not come back")?;
                    let waiting = self.stage.store.outbox_count().await?;
                    let took = start.elapsed().as_secs_f64();
                    self.tell(&format!(
                        "the broker is back after {took:.1} s, {waiting} orders wait for it"
                    ));
                }
            }
        }
        Ok(())
    }

    async fn count(&mut self) -> Result<()> {
        let totals = self.stage.books.totals().await?;
        let accepted = self.seen.accepted_ids();
        let comparison = compare(&accepted, &self.stage.books.shipment_ids().await?);
        self.tally.orders = accepted.len();
        self.tally.retries = self.seen.retries();
        self.tally.redelivered = totals.redelivered;
        self.tally.comparison = comparison;
        Ok(())
    }
}
