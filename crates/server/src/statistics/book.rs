//! The tracks of all things. What is gone is forgotten, but for what it adds to its virtual host's sums.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use everack_broker::catalog::Queue;
use everack_broker::ids::{ConnectionId, ConsumerId, QueueId};
use everack_broker::name::Name;
use everack_broker::partition::{Counters, Depth};
use everack_node::ledger::Sums;
use everack_node::report::Published;

use super::Tick;
use super::figures::{self, Kind};
use super::pace::Paces;
use super::range::Range;
use super::track::{Look, Moments, Track};
use crate::http::inquiry::{Connected, Depths, Holders};

/// What one round of sampling has seen.
pub(crate) struct Seen {
    pub(crate) at: Tick,
    /// All queues, and how they stand.
    pub(crate) queues: Vec<Arc<Queue>>,
    pub(crate) depths: Depths,
    pub(crate) connections: Vec<Connected>,
    /// Who consumes.
    pub(crate) holders: Holders,
    /// What channels that are gone have published.
    pub(crate) gone: Sums,
    /// See [`figures::CHURN`].
    pub(crate) churn: [u64; figures::CHURN.len()],
    /// See [`figures::NODE_STATS`].
    pub(crate) node: [u64; figures::NODE_STATS.len()],
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Book {
    moments: Moments,
    queues: Tracks<QueueId>,
    connections: Tracks<ConnectionId>,
    channels: Tracks<(ConnectionId, u16)>,
    exchanges: Tracks<(Name, Name)>,
    vhosts: Tracks<Name>,
    overview: Tracks<()>,
    node: Tracks<()>,
    paces: Paces,
    /// What queues and connections that are gone had counted, by virtual host.
    gone: HashMap<Name, [u64; figures::VHOST_NUMBERS]>,
    /// Bytes over connections that are gone.
    gone_data: [u64; figures::DATA_RATES.len()],
}

/// The tracks of one kind, each with the virtual host that it belongs to.
#[derive(Debug)]
struct Tracks<K>(HashMap<K, (Name, Track)>);

impl<K> Default for Tracks<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Tracks<K> {
    fn record(&mut self, at: Tick, kind: Kind, vhost: &Name, key: K, row: &mut [u64]) {
        use std::collections::hash_map::Entry;
        match self.0.entry(key) {
            Entry::Occupied(mut entry) => entry.get_mut().1.record(at, row),
            Entry::Vacant(entry) => {
                entry.insert((vhost.clone(), Track::new(kind, at, row)));
            }
        }
    }

    /// Forgets what was not seen, and tells what it counted last.
    fn forget(&mut self, at: Tick, mut gone: impl FnMut(&Name, &[u64])) {
        self.0.retain(|_, (vhost, track)| {
            let there = track.sampled_at == at;
            if !there {
                gone(vhost, track.newest());
            }
            there
        });
    }

    fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&Track>
    where
        K: Borrow<Q>,
    {
        self.0.get(key).map(|(_, track)| track)
    }
}

impl Book {
    /// Enters what a round has seen.
    pub(crate) fn record(&mut self, seen: &Seen) {
        if seen.at <= self.moments.last {
            return;
        }
        self.moments = Moments {
            last: seen.at,
            before: if self.moments.last == 0 {
                seen.at
            } else {
                self.moments.last
            },
        };
        let mut sums: HashMap<Name, Sum> = HashMap::new();
        self.queues(seen, &mut sums);
        self.sessions(seen, &mut sums);
        self.paces.record(&seen.holders);
        self.exchanges(seen);
        self.vhosts(seen, &sums);
        self.broker(seen, &sums);
    }

    fn queues(&mut self, seen: &Seen, sums: &mut HashMap<Name, Sum>) {
        for queue in &seen.queues {
            let Some(depth) = seen.depths.get(queue.id) else {
                continue;
            };
            let mut row = figures::queue_row(depth);
            self.queues
                .record(seen.at, figures::QUEUE, &queue.vhost, queue.id, &mut row);
            sum_of(sums, &queue.vhost).add_queue(depth);
        }
        let gone = &mut self.gone;
        self.queues.forget(seen.at, |vhost, row| {
            // Of a queue's numbers those that its virtual host has as well, lengths excepted.
            let rates = &row[figures::LENGTHS.len()..];
            for (name, count) in figures::QUEUE_RATES.iter().zip(rates) {
                if *name != "publish" {
                    add_to(gone, vhost, name, *count);
                }
            }
        });
    }

    fn sessions(&mut self, seen: &Seen, sums: &mut HashMap<Name, Sum>) {
        for Connected { session, socket } in &seen.connections {
            let (id, vhost) = (session.connection, &session.vhost);
            let mut row = [socket.received.bytes(), socket.sent.bytes()];
            let sum = sum_of(sums, vhost);
            sum.confirmed += session.confirmed;
            sum.data = [sum.data[0] + row[0], sum.data[1] + row[1]];
            self.connections
                .record(seen.at, figures::CONNECTION, vhost, id, &mut row);
            for channel in &session.channels {
                sum.published.add(channel.published);
                let mut row = figures::channel_row(channel);
                let key = (id, channel.number);
                self.channels
                    .record(seen.at, figures::CHANNEL, vhost, key, &mut row);
            }
        }
        let gone = &mut self.gone;
        self.channels.forget(seen.at, |_, _| {});
        let gone_data = &mut self.gone_data;
        self.connections.forget(seen.at, |vhost, row| {
            *gone_data = [gone_data[0] + row[0], gone_data[1] + row[1]];
            for (name, count) in figures::DATA_RATES.iter().zip(row) {
                add_to(gone, vhost, name, *count);
            }
        });
    }

    fn exchanges(&mut self, seen: &Seen) {
        let mut published: HashMap<(Name, Name), Published> = HashMap::new();
        published.extend(seen.gone.exchanges.iter().map(|(key, sum)| (key.clone(), *sum)));
        for Connected { session, .. } in &seen.connections {
            for (exchange, sum) in session.channels.iter().flat_map(|channel| &channel.exchanges) {
                let key = (session.vhost.clone(), exchange.clone());
                published.entry(key).or_default().add(*sum);
            }
        }
        for (key, sum) in published {
            let (vhost, mut row) = (key.0.clone(), figures::exchange_row(&sum));
            self.exchanges
                .record(seen.at, figures::EXCHANGE, &vhost, key, &mut row);
        }
        self.exchanges.forget(seen.at, |_, _| {});
    }

    fn vhosts(&mut self, seen: &Seen, sums: &HashMap<Name, Sum>) {
        let none = Sum::default();
        let known = seen.gone.vhosts.keys().chain(sums.keys()).chain(self.gone.keys());
        let known: std::collections::HashSet<Name> = known.cloned().collect();
        for vhost in &known {
            let mut row = sums.get(vhost).unwrap_or(&none).row();
            if let Some(gone) = self.gone.get(vhost) {
                row.iter_mut().zip(gone).for_each(|(sum, gone)| *sum += gone);
            }
            if let Some(tally) = seen.gone.vhosts.get(vhost) {
                let all = figures::of_channels(&Default::default(), &tally.published, tally.confirmed);
                let rates = row[figures::LENGTHS.len()..].iter_mut();
                rates.zip(all).for_each(|(sum, gone)| *sum += gone);
            }
            self.vhosts
                .record(seen.at, figures::VHOST, vhost, vhost.clone(), &mut row);
        }
        self.vhosts.forget(seen.at, |_, _| {});
    }

    fn broker(&mut self, seen: &Seen, sums: &HashMap<Name, Sum>) {
        let mut all = Sum {
            published: seen.gone.published,
            confirmed: seen.gone.confirmed,
            ..Sum::default()
        };
        sums.values().for_each(|sum| all.add(sum));
        seen.depths.deleted().for_each(|gone| all.counters.add(gone));
        all.data = [all.data[0] + self.gone_data[0], all.data[1] + self.gone_data[1]];
        let mut row: [u64; figures::OVERVIEW_NUMBERS] = figures::concat(&[&all.row(), &seen.churn]);
        let nobody = Name::default();
        self.overview
            .record(seen.at, figures::OVERVIEW, &nobody, (), &mut row);
        let mut row = seen.node;
        self.node.record(seen.at, figures::NODE, &nobody, (), &mut row);
    }

    /// Forgets virtual hosts that are gone.
    pub(crate) fn keep_vhosts(&mut self, exists: impl Fn(&Name) -> bool) {
        self.gone.retain(|vhost, _| exists(vhost));
    }

    pub(crate) fn queue(&self, queue: QueueId, range: Option<Range>) -> Look {
        self.look(self.queues.get(&queue), figures::QUEUE, range)
    }

    pub(crate) fn connection(&self, connection: ConnectionId, range: Option<Range>) -> Look {
        self.look(self.connections.get(&connection), figures::CONNECTION, range)
    }

    pub(crate) fn channel(&self, connection: ConnectionId, number: u16, range: Option<Range>) -> Look {
        let track = self.channels.get(&(connection, number));
        self.look(track, figures::CHANNEL, range)
    }

    /// Messages delivered to a consumer and acknowledged by it, a second.
    pub(crate) fn consumer(&self, consumer: ConsumerId) -> [f64; 2] {
        self.paces.rates(consumer, self.moments)
    }

    pub(crate) fn exchange(&self, key: &(Name, Name), range: Option<Range>) -> Look {
        self.look(self.exchanges.get(key), figures::EXCHANGE, range)
    }

    pub(crate) fn vhost(&self, vhost: &Name, range: Option<Range>) -> Look {
        self.look(self.vhosts.get(vhost), figures::VHOST, range)
    }

    /// A virtual host's numbers as they were sampled last.
    pub(crate) fn vhost_row(&self, vhost: &Name) -> Option<&[u64]> {
        self.vhosts.get(vhost).map(Track::newest)
    }

    /// Of the broker as a whole.
    pub(crate) fn overview(&self, range: Option<Range>) -> Look {
        self.look(self.overview.get(&()), figures::OVERVIEW, range)
    }

    /// Of the process.
    pub(crate) fn node(&self, range: Option<Range>) -> Look {
        self.look(self.node.get(&()), figures::NODE, range)
    }

    /// What has not been sampled yet does not change.
    fn look(&self, track: Option<&Track>, kind: Kind, range: Option<Range>) -> Look {
        let nothing = || Look {
            rates: vec![0.0; kind.names.len()],
            samples: range.map(|_| Vec::new()),
        };
        track.map_or_else(nothing, |track| track.look(self.moments, range))
    }
}

/// What is in a virtual host, and what was done there by those who are there.
#[derive(Default)]
struct Sum {
    lengths: [u64; figures::LENGTHS.len()],
    counters: Counters,
    published: Published,
    confirmed: u64,
    data: [u64; figures::DATA_RATES.len()],
}

impl Sum {
    fn add_queue(&mut self, depth: &Depth) {
        let lengths = self.lengths.iter_mut().zip(figures::lengths(depth));
        lengths.for_each(|(sum, length)| *sum += length);
        self.counters.add(&depth.counters);
    }

    fn add(&mut self, other: &Self) {
        let lengths = self.lengths.iter_mut().zip(other.lengths);
        lengths.for_each(|(sum, length)| *sum += length);
        self.counters.add(&other.counters);
        self.published.add(other.published);
        self.confirmed += other.confirmed;
        self.data = [self.data[0] + other.data[0], self.data[1] + other.data[1]];
    }

    fn row(&self) -> [u64; figures::VHOST_NUMBERS] {
        let received = figures::received(&self.counters);
        let rates = figures::of_channels(&received, &self.published, self.confirmed);
        figures::concat(&[&self.lengths, &rates, &self.data])
    }
}

/// Without a copy of the name where it is known already.
fn sum_of<'a>(sums: &'a mut HashMap<Name, Sum>, vhost: &Name) -> &'a mut Sum {
    if !sums.contains_key(vhost) {
        sums.insert(vhost.clone(), Sum::default());
    }
    sums.get_mut(vhost).expect("it was just made")
}

fn add_to(gone: &mut HashMap<Name, [u64; figures::VHOST_NUMBERS]>, vhost: &Name, name: &str, count: u64) {
    let index = figures::VHOST.names.iter().position(|known| *known == name);
    let row = gone.entry(vhost.clone()).or_insert([0; figures::VHOST_NUMBERS]);
    row[index.expect("a virtual host has all of these")] += count;
}
