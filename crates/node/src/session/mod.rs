//! One client connection: joins the protocol machine to the topology and the partitions.
//!
//! ```text
//! bytes ──> protocol machine ──> event ──> session ──> requests to partitions and the catalog
//! bytes <── protocol machine <── notice ── session <── answers, deliveries, confirms
//! ```
//!
//! The session knows no socket and no clock: its driver gives it bytes, notices and the time, and carries away its output, its
//! [`Session::requests`] and its [`Session::catalog`]. While an answer is awaited nothing further is taken from the client (but
//! commands for the catalog behind one another), so methods take effect in the order in which the client sent them.

mod channel;
mod consume;
mod counted;
mod entry;
mod growth;
mod guard;
mod large;
pub(crate) mod message;
mod outgoing;
mod properties;
mod publish;
mod publishing;
mod replies;
mod report;
mod routes;
mod topology;
mod traces;
mod transaction;
mod unroutable;
mod waiting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use everack_amqp::connection::Connection;
use everack_amqp::credentials::Mechanism;
use everack_amqp::error::{Error, ReplyCode, Scope};
use everack_amqp::event::Event;
use everack_amqp::settings::Settings;
use everack_amqp::wire::method::{self, Method};
use everack_amqp::wire::table::Table;
use everack_broker::arguments::Arguments;
use everack_broker::catalog::{Access, ConsumerSettings, Permissions, Queue, Resource, Snapshot, VhostView};
use everack_broker::ids::{ConsumerId, Millis, PartitionId};
use everack_broker::name::Name;
use rustc_hash::FxHashMap;

use crate::catalog_service::{CatalogAnswer, CatalogRequest};
use crate::link::Link;
use crate::notice::Notice;
use crate::recall::Recall;
use crate::report::Report;
use crate::request::{Request, RoutedRun};
use crate::shared::{Shared, partition_of};
use crate::translate::to_amqp;
pub(crate) use publish::partitions_of;

use channel::Channel;
use consume::Consumer;
use growth::COMMANDS_MAX;
use large::Large;
use outgoing::Outgoing;
use traces::Traces;
use waiting::{Waiting, asks_for_contents, is_topology, means_the_last_queue};

/// What a session is born into.
pub struct Setting {
    /// The node's shared state.
    pub shared: Arc<Shared>,
    /// Reads messages back from the log.
    pub recall: Arc<Recall>,
    /// The protocol's limits, and what the server says of itself.
    pub protocol: Arc<Settings>,
    /// This connection's link.
    pub link: Arc<Link>,
    /// The client's address, for the log.
    pub peer: String,
}

/// A log-in to be checked; the driver answers with [`Session::authenticated`] or [`Session::refuse_login`].
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name as given.
    pub user: Vec<u8>,
    /// The password as given.
    pub password: Vec<u8>,
    /// The hash that the catalog holds for the user, if there is such a user.
    pub stored: Option<String>,
}

/// See the module documentation.
pub struct Session {
    /// Requests for partitions, in their order; the driver takes them.
    pub requests: Vec<(PartitionId, Request)>,
    /// Requests for the catalog, in their order; the driver takes them.
    pub catalog: Vec<CatalogRequest>,
    connection: Connection,
    shared: Arc<Shared>,
    recall: Arc<Recall>,
    link: Arc<Link>,
    peer: String,
    credentials: Option<Credentials>,
    /// What the client says of itself.
    client_properties: Table,
    user: Name,
    vhost_name: Name,
    snapshot: Arc<Snapshot>,
    vhost: Option<VhostView>,
    permissions: Option<Arc<Permissions>>,
    /// Boxed, as a table has room for four from the first one on.
    channels: FxHashMap<u16, Box<Channel>>,
    consumers: FxHashMap<ConsumerId, Arc<Consumer>>,
    outgoing: VecDeque<Outgoing>,
    waiting: VecDeque<(u16, Waiting)>,
    held: Option<Event>,
    /// Answers of the catalog that came before one of a partition that has to be told first.
    early: VecDeque<(u16, CatalogAnswer)>,
    notices: Vec<Notice>,
    /// Empty, for the next batch.
    runs: Vec<RoutedRun>,
    /// It has declared exclusive queues, which go with it.
    exclusive: bool,
    /// It has published, or begun to, so alarms concern it.
    publishes: bool,
    /// It has been told of an alarm.
    blocked: bool,
    reading_paused: bool,
    /// When it has to have let go of what it holds while memory is short.
    give_up_at: Option<Millis>,
    /// It is to end without a further word.
    cut: bool,
    large: Large,
    /// The answer to `basic.get` waits for room: everything that the client asks for waits behind it.
    get_waits: bool,
    released: bool,
    /// It is counted as a connection of its virtual host and user.
    entered: bool,
    /// Who the client is by its certificate.
    certificate_user: Option<Name>,
    /// While messages are followed on their way.
    traces: Option<Box<Traces>>,
}

impl Session {
    /// A session for a connection that has just been accepted.
    pub fn new(setting: Setting, now: Millis) -> Self {
        let Setting {
            shared,
            recall,
            protocol,
            link,
            peer,
        } = setting;
        Self {
            requests: Vec::new(),
            catalog: Vec::new(),
            connection: Connection::new(protocol, amqp_millis(now)),
            snapshot: shared.snapshot(),
            traces: shared.choice().map(Traces::new),
            shared,
            recall,
            link,
            peer,
            credentials: None,
            client_properties: Table::new(),
            user: Name::default(),
            vhost_name: Name::default(),
            vhost: None,
            permissions: None,
            channels: FxHashMap::default(),
            consumers: FxHashMap::default(),
            outgoing: VecDeque::new(),
            waiting: VecDeque::new(),
            held: None,
            early: VecDeque::new(),
            notices: Vec::new(),
            runs: Vec::new(),
            exclusive: false,
            publishes: false,
            blocked: false,
            reading_paused: false,
            give_up_at: None,
            cut: false,
            large: Large::default(),
            get_waits: false,
            released: false,
            entered: false,
            certificate_user: None,
        }
    }

    /// Takes what the client sent, as far as nothing has to be waited for; says whether anything happened.
    pub fn receive(&mut self, input: &mut BytesMut, now: Millis) -> bool {
        let mut moved = false;
        loop {
            if self.held.as_ref().is_some_and(|event| self.must_wait(event)) {
                break;
            }
            let event = match self.held.take() {
                Some(event) => event,
                None if self.is_stopped() => break,
                None => match self.connection.receive(input, amqp_millis(now)) {
                    Some(event) => event,
                    None => break,
                },
            };
            if self.is_too_late(&event) {
                continue;
            }
            if self.must_wait(&event) {
                self.held = Some(event);
                break;
            }
            self.handle(event);
            moved = true;
        }
        // A message that is half there takes memory as a whole one does.
        if !self.publishes && self.connection.assembled_bytes() > 0 {
            self.publishes = true;
            self.look_at_alarms();
        }
        moved
    }

    /// Takes the notices that have come for this connection.
    pub fn absorb(&mut self) {
        let mut notices = std::mem::take(&mut self.notices);
        self.link.take(&mut notices);
        for notice in notices.drain(..) {
            self.notice(notice);
        }
        self.notices = notices;
        self.look_at_alarms();
    }

    /// What is to be written to the socket. The driver takes away what it has written.
    pub fn output(&mut self) -> &mut Vec<u8> {
        self.connection.output()
    }

    /// Tells that bytes have been written, which counts as a heartbeat.
    pub fn note_sent(&mut self, now: Millis) {
        self.has_read();
        self.connection.note_sent(amqp_millis(now));
    }

    /// Whether more input is welcome: no answer is awaited, the publisher's window has room, no alarm stands against it.
    pub fn wants_input(&mut self, now: Millis) -> bool {
        let wanted = self.held.is_none() && !self.is_stopped() && self.link.may_publish();
        if wanted == self.reading_paused {
            // A client whose bytes we do not read is not to be taken for dead.
            if wanted {
                self.connection.resume_reading(amqp_millis(now));
            } else {
                self.connection.pause_reading();
            }
            self.reading_paused = !wanted;
        }
        wanted
    }

    /// How many bytes the input buffer has to be able to hold for the parser to go on.
    pub fn input_bytes_wanted(&self) -> usize {
        self.connection.wanted()
    }

    /// Whether nothing is left but to write the output and close the socket.
    pub fn is_over(&self) -> bool {
        self.connection.is_finished()
    }

    /// Whether the socket is to be closed with whatever is still unwritten: the client does not read it.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// When [`Session::tick`] wants to be called.
    ///
    /// `now` is the time as the driver knows it: from here on it counts how long the connection may hold what it holds.
    pub fn deadline(&mut self, now: Millis) -> Option<Millis> {
        self.watch_held(now);
        let protocol = self.connection.deadline().map(|at| Millis(at.0));
        let stuck = self.stuck_until(now);
        [protocol, self.give_up_at, stuck].into_iter().flatten().min()
    }

    /// Heartbeats and time limits.
    pub fn tick(&mut self, now: Millis) {
        if let Some(event) = self.connection.tick(amqp_millis(now)) {
            self.handle(event);
        }
        self.give_up(now);
        self.cut_if_stuck(now);
    }

    /// The log-in to be checked, once.
    pub fn take_credentials(&mut self) -> Option<Credentials> {
        self.credentials.take()
    }

    /// The user that has logged in, or tries to.
    pub fn user(&self) -> &Name {
        &self.user
    }

    /// Offers the client to log in as the user that its certificate names. To be called before the client is heard.
    pub fn offer_certificate(&mut self, user: Name) {
        self.certificate_user = Some(user);
        self.connection.offer_external();
    }

    /// The log-in is good.
    pub fn authenticated(&mut self) {
        self.connection.authenticated();
    }

    /// The log-in is refused.
    pub fn refuse_login(&mut self) {
        self.connection.refuse_authentication();
    }

    /// The broker stops: asks the client to close.
    pub fn shut_down(&mut self) {
        self.force("broker forced connection closure with reason 'shutdown'");
        if !self.connection.is_running() && self.vhost.is_none() {
            self.connection.disconnected();
        }
    }

    /// Asks the client to close, for a reason that is not its own.
    fn force(&mut self, reason: &str) {
        self.connection
            .fail(0, Error::new(ReplyCode::ConnectionForced, reason));
        self.release();
    }

    /// The socket is gone, or about to be: everything the connection held goes back.
    pub fn end(&mut self) {
        self.connection.disconnected();
        self.release();
        self.give_back_room();
        self.shared.large.forget(self.link.connection);
    }

    /// Publishers are not read while an alarm stands; what has been read already is taken.
    fn is_stopped(&self) -> bool {
        // A connection that is being closed is read to its end, or it would never be.
        self.publishes && self.shared.alarms.any() && self.connection.is_running()
    }

    /// Whether an event had to wait until its channel was gone: what comes behind a channel's failure is ignored.
    fn is_too_late(&self, event: &Event) -> bool {
        match event {
            Event::Publish { channel, .. }
            | Event::Settle { channel, .. }
            | Event::Method { channel, .. }
            | Event::Recover { channel, .. }
            | Event::TxCommit { channel }
            | Event::TxRollback { channel } => *channel != 0 && !self.has(*channel),
            _ => false,
        }
    }

    fn must_wait(&self, event: &Event) -> bool {
        if self.get_waits {
            return !matches!(event, Event::Failed { .. });
        }
        if let Event::Method { method, .. } = event
            && asks_for_contents(method)
            && !self.link.has_arrived()
        {
            return true;
        }
        if self.waiting.is_empty() {
            return false;
        }
        match event {
            Event::Method { method, .. } if is_topology(method) && !means_the_last_queue(method) => {
                self.waiting.len() >= COMMANDS_MAX
                    || !self.waiting.iter().all(|(_, waiting)| waiting.is_topology())
            }
            // The connection is over whatever it waits for.
            Event::Failed { .. } => false,
            _ => true,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Publish {
                channel,
                batch,
                first_number,
                transactional,
            } => {
                self.publishes = true;
                self.publish(channel, batch, first_number, transactional);
                self.look_at_alarms();
            }
            Event::Settle {
                channel,
                outcome,
                settled,
                transactional,
            } => {
                self.settle(channel, outcome, settled, transactional);
            }
            Event::Method { channel, method } => {
                let cause = method.ids();
                let allowed = growth::check_arguments(&method);
                if let Err(error) = allowed.and_then(|()| self.method(channel, method)) {
                    self.refuse(channel, error.caused_by(cause));
                }
            }
            Event::ChannelOpen { channel } => {
                self.channels.insert(channel, Box::default());
                self.count_channel(channel);
                self.look_at_channels(channel);
            }
            Event::ChannelCloseRequested { channel, .. } => {
                self.drop_channel(channel);
                self.connection.channel_closed(channel);
            }
            Event::ChannelFailed { channel, error } => {
                self.log_failure(channel, &error);
                self.drop_channel(channel);
            }
            Event::Recover { unsettled, .. } => self.recover(unsettled),
            Event::TxCommit { channel } => self.tx_commit(channel),
            Event::TxRollback { channel } => self.tx_rollback(channel),
            Event::Authenticate {
                credentials,
                client_properties,
                ..
            } => {
                self.client_properties = growth::to_be_shown(client_properties);
                if credentials.mechanism == Mechanism::External {
                    self.log_in_by_certificate();
                } else {
                    self.log_in(credentials.user, credentials.password);
                }
            }
            Event::Open { vhost } => self.open(&Name::new(vhost.as_bytes())),
            Event::CloseRequested { .. } => {
                self.release();
                self.connection.closed();
            }
            Event::Failed { reason } => {
                tracing::warn!(peer = %self.peer, user = %self.user, %reason, "connection failed");
                self.release();
            }
        }
    }

    fn method(&mut self, channel: u16, method: Method) -> Result<(), Error> {
        match method {
            Method::ExchangeDeclare(declare) => self.exchange_declare(channel, declare),
            Method::ExchangeDelete(delete) => self.exchange_delete(channel, delete),
            Method::ExchangeBind(bind) => self.exchange_bind(channel, bind),
            Method::ExchangeUnbind(unbind) => self.exchange_unbind(channel, unbind),
            Method::QueueDeclare(declare) => self.queue_declare(channel, declare),
            Method::QueueBind(bind) => self.queue_bind(channel, bind),
            Method::QueueUnbind(unbind) => self.queue_unbind(channel, unbind),
            Method::QueuePurge(purge) => self.queue_purge(channel, purge),
            Method::QueueDelete(delete) => self.queue_delete(channel, delete),
            Method::BasicQos(qos) => self.basic_qos(channel, &qos),
            Method::BasicConsume(consume) => self.basic_consume(channel, consume),
            Method::BasicCancel(cancel) => self.basic_cancel(channel, &cancel),
            Method::BasicGet(get) => self.basic_get(channel, &get),
            Method::ConnectionUpdateSecret(_) => {
                // Only mechanisms whose secrets expire have a use for it; PLAIN's do not.
                self.connection
                    .reply(0, &method::connection::UpdateSecretOk {}.into());
                Ok(())
            }
            _ => Err(Error::new(
                ReplyCode::CommandInvalid,
                "the method is not for clients to send",
            )),
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Deliver(delivered) => self.outgoing.push_back(Outgoing::Deliver(delivered)),
            Notice::Confirm { channel, confirm } => {
                self.connection
                    .confirm(channel, everack_amqp::confirms::ConfirmId(confirm));
            }
            Notice::Refused {
                channel,
                confirm,
                refused,
            } => {
                let confirm = everack_amqp::confirms::ConfirmId(confirm);
                self.connection.confirm_refused(channel, confirm, &refused);
            }
            Notice::Answer { channel, answer } => {
                self.partition_answer(channel, answer);
                while self
                    .waiting
                    .front()
                    .is_some_and(|(_, waiting)| waiting.is_topology())
                {
                    let Some((channel, answer)) = self.early.pop_front() else {
                        break;
                    };
                    self.catalog_answer(channel, answer);
                }
            }
            Notice::Catalog { channel, answer } => self.catalog_answer(channel, answer),
            Notice::ConsumerGone { consumer } => self.outgoing.push_back(Outgoing::ConsumerGone { consumer }),
            Notice::ConsumerTimedOut { consumer } => {
                self.outgoing.push_back(Outgoing::ConsumerTimedOut { consumer });
            }
            Notice::LimitFreed { consumer } => self.limit_freed(consumer),
            Notice::Reply(reply) => self.reply_arrived(reply),
            Notice::Close { reason } => self.force(&reason),
            Notice::Report { inquirer } => inquirer.told(Report::Session(Box::new(self.report()))),
        }
        self.fail_refused();
    }

    /// A method is refused; its channel closes behind the answers that are awaited before it.
    fn refuse(&mut self, channel: u16, error: Error) {
        if self.waiting.is_empty() {
            self.fail_channel(channel, error);
        } else {
            self.wait(channel, Waiting::Refused { error });
        }
    }

    /// Closes the channels of refused methods that nothing is awaited before any more.
    fn fail_refused(&mut self) {
        while let Some((_, Waiting::Refused { .. })) = self.waiting.front() {
            let Some((channel, Waiting::Refused { error })) = self.waiting.pop_front() else {
                return;
            };
            if self.has(channel) {
                self.fail_channel(channel, error);
            }
        }
    }

    /// Whether this is still the channel that something was awaited for: one that takes its number does not begin before.
    fn has(&self, channel: u16) -> bool {
        self.channels.contains_key(&channel) && self.connection.is_open(channel)
    }

    /// Looks at the topology as it is now, if it has changed since the last look.
    fn refresh(&mut self) {
        if self.snapshot.epoch() == self.shared.epoch() {
            return;
        }
        self.snapshot = self.shared.snapshot();
        self.vhost = self.snapshot.vhost(&self.vhost_name);
        self.permissions = self.snapshot.permissions(&self.user, &self.vhost_name);
    }

    fn require(&self, access: Access, resource: Resource<'_>) -> Result<(), Error> {
        match &self.permissions {
            Some(permissions) => permissions.require(access, resource).map_err(to_amqp::error),
            None => Err(self.vhost_gone()),
        }
    }

    fn consumer_settings(&self, queue: &Queue, arguments: &Arguments) -> Result<ConsumerSettings, Error> {
        let Some(vhost) = &self.vhost else {
            return Err(self.vhost_gone());
        };
        vhost.consumer_settings(queue, arguments).map_err(to_amqp::error)
    }

    /// The virtual host has been deleted, or this user may not be in it any more.
    fn vhost_gone(&self) -> Error {
        let (vhost, user) = (&self.vhost_name, &self.user);
        Error::new(
            ReplyCode::NotAllowed,
            format!("access to vhost '{vhost}' refused for user '{user}'"),
        )
    }

    fn look_at_alarms(&mut self) {
        let stands = self.publishes && self.shared.alarms.any();
        if stands == self.blocked {
            return;
        }
        self.blocked = stands;
        if stands {
            self.connection.blocked(self.shared.alarms.reason());
            tracing::warn!(peer = %self.peer, reason = self.shared.alarms.reason(), "publisher blocked");
        } else {
            self.connection.unblocked();
        }
    }

    fn wait(&mut self, channel: u16, waiting: Waiting) {
        self.waiting.push_back((channel, waiting));
    }

    /// What the oldest answer was for. None if its channel is gone, or another one has taken its number.
    fn answered(&mut self, channel: u16) -> Option<Waiting> {
        let (expected, waiting) = self.waiting.pop_front()?;
        assert_eq!(expected, channel, "answers come in the order of their questions");
        if self.has(channel) {
            return Some(waiting);
        }
        if let Waiting::Commit { parts: parts @ 2.. } = waiting {
            // The other parts answer too, whether anybody wants to know or not.
            self.wait_first(channel, Waiting::Commit { parts: parts - 1 });
        }
        None
    }

    /// Puts what the answer leads to in front of everything else that is waited for.
    fn wait_first(&mut self, channel: u16, waiting: Waiting) {
        self.waiting.push_front((channel, waiting));
    }

    fn fail_channel(&mut self, channel: u16, error: Error) {
        self.log_failure(channel, &error);
        match self.connection.fail(channel, error) {
            Scope::Channel => self.drop_channel(channel),
            Scope::Connection => self.release(),
        }
    }

    fn log_failure(&self, channel: u16, error: &Error) {
        tracing::info!(peer = %self.peer, user = %self.user, channel, %error, "channel or connection closed");
    }

    /// Everything the channel held goes back to its queues.
    fn drop_channel(&mut self, channel: u16) {
        let Some(state) = self.channels.remove(&channel) else {
            return;
        };
        self.shared.tenants.channel_closes(&self.user);
        state.failed.store(true, Ordering::Release);
        if let Some(consumer) = &state.replies {
            self.shared.replies.end(&consumer.name);
        }
        let publishing = state.publishing;
        let ledger = &self.shared.ledger;
        ledger.channel_ends(&self.vhost_name, publishing.total, publishing.exchanges);
        for consumer in state.holders {
            self.trace_consumer_ends(consumer);
            self.consumers.remove(&consumer);
            self.requests
                .push((partition_of(consumer), Request::Gone { consumer }));
        }
        // The next channel of this number has cancelled nothing yet.
        self.outgoing
            .retain(|outgoing| !matches!(outgoing, Outgoing::CancelOk { channel: of, .. } if *of == channel));
    }

    /// Gives back all that the connection held, once.
    fn release(&mut self) {
        if std::mem::replace(&mut self.released, true) {
            return;
        }
        let channels: Vec<u16> = self.channels.keys().copied().collect();
        for channel in channels {
            self.drop_channel(channel);
        }
        self.held = None;
        if std::mem::take(&mut self.entered) {
            self.shared.tenants.leave(&self.user, &self.vhost_name);
        }
        let confirmed = self.connection.confirmed();
        self.shared.ledger.connection_ends(&self.vhost_name, confirmed);
        if self.exclusive {
            self.catalog.push(Self::connection_closed(self.link.connection));
        }
    }
}

/// The protocol crate has a type of its own for the same moments.
fn amqp_millis(now: Millis) -> everack_amqp::Millis {
    everack_amqp::Millis(now.0)
}
