//! One connection's task: moves bytes between the socket and the session, and requests between the session and the engine.
//!
//! ```text
//! turn: notices ──> session ──> write what is due ──> read what is there ──> session ──> engine ──> turn
//! ```
//!
//! A turn that ends in a sleep costs more than the work of a whole batch, so the task goes round until nothing moves: it runs
//! the partitions itself, and what they leave in its own link it finds on the next round without being woken.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{BufMut, BytesMut};
use everack_amqp::settings::Settings;
use everack_broker::partition::Gate;
use everack_node::link::{Link, Wake};
use everack_node::session::{Credentials, Session, Setting};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::sockets::Socket;
use super::spare;
use super::stream::{Peer, Stream};
use crate::auth::attempts::Protocol;
use crate::auth::{Authenticator, Login, Refusal};
use crate::engine::Engine;

/// Most rounds before other tasks get a turn.
const ROUNDS_MAX: usize = 32;
/// Bytes read and written after which other tasks get a turn, though there is more: whoever sends or takes all that he can is not to
/// keep those waiting who want little.
const TURN_BYTES_MAX: usize = 512 << 10;
/// So much is read at once at first, and four times as much whenever a read was as long as it could be.
const READ_BYTES_MIN: usize = 2 << 10;
const READ_BYTES_MAX: usize = 256 << 10;
/// How much is encoded before it is written.
const WRITE_BYTES: usize = 128 << 10;
/// Unsent deliveries at which partitions stop delivering to this connection.
const GATE_BYTES: u64 = 1 << 20;
/// Unwritten output at which nothing more is read: a client that does not read its answers gets no more of them.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

type LoginFuture = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// Serves one connection until it ends. Whatever it held is returned to its queues before this is over.
pub(crate) struct ConnectionTask {
    stream: Stream,
    session: Session,
    link: Arc<Link>,
    socket: Arc<Socket>,
    waker: Arc<TaskWaker>,
    engine: Arc<Engine>,
    authenticator: Arc<Authenticator>,
    peer: Peer,
    login: Option<LoginFuture>,
    closing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// It wakes this task, and need not be asked before there is something to hear.
    closing_is_heard: bool,
    input: BytesMut,
    read_bytes: usize,
    /// Bytes read and written in this turn.
    turn_bytes: usize,
    written: usize,
    flush_due: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What one step of a round came to.
enum Step {
    Moved,
    Nothing,
    Ended,
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        task.closing_is_heard &= !task.waker.register(context.waker());
        let _current = Current::enter(&task.waker);
        // It may read what takes memory, long before that reaches a machine.
        task.engine.slumber.stir();
        spare::lend(&mut task.input, task.session.output());
        task.turn_bytes = 0;
        for _ in 0..ROUNDS_MAX {
            match task.round(context) {
                Step::Moved if task.turn_bytes >= TURN_BYTES_MAX => break,
                Step::Moved => (),
                Step::Nothing if task.link.is_scheduled() => (),
                Step::Nothing => return task.sleep(context),
                Step::Ended => return Poll::Ready(()),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl ConnectionTask {
    /// Begins; nothing happens until it is polled.
    pub(crate) fn new(
        stream: Stream,
        peer: Peer,
        engine: Arc<Engine>,
        authenticator: Arc<Authenticator>,
        protocol: Arc<Settings>,
    ) -> Self {
        let waker = Arc::new(TaskWaker::default());
        let gate = Arc::new(Gate::new(GATE_BYTES));
        let link = Arc::new(Link::new(
            engine.shared.next_connection(),
            gate,
            Box::new(TaskWake(waker.clone())),
        ));
        engine.shared.register(&link);
        let socket = engine.sockets.enter(link.connection, &peer);
        let setting = Setting {
            shared: engine.shared.clone(),
            recall: engine.recall.clone(),
            protocol,
            link: link.clone(),
            peer: peer.address.to_string(),
        };
        let mut session = Session::new(setting, engine.clock.now());
        let certificate = peer.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
        if let Some(user) =
            certificate.and_then(|certificate| authenticator.certificate_user(certificate, peer.address.ip()))
        {
            session.offer_certificate(user);
        }
        let mut closing = peer.closing.clone();
        let closing = Box::pin(async move { closing.requested().await });
        Self {
            stream,
            session,
            link,
            socket,
            waker,
            engine,
            authenticator,
            peer,
            login: None,
            closing: Some(closing),
            closing_is_heard: false,
            input: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            turn_bytes: 0,
            written: 0,
            flush_due: false,
            timer: None,
        }
    }

    fn round(&mut self, context: &mut Context<'_>) -> Step {
        let mut moved = self.poll_login(context) | self.poll_closing(context);
        if self.link.begin_turn() {
            self.session.absorb();
            moved = true;
        }
        moved |= self.session_step();
        match self.write(context) {
            Step::Moved => moved = true,
            Step::Nothing => (),
            Step::Ended => return Step::Ended,
        }
        if self.session.is_cut() {
            return Step::Ended;
        }
        if self.session.is_over() && self.written == self.session.output().len() && !self.flush_due {
            return Step::Ended;
        }
        match self.read(context) {
            Step::Moved => moved = true,
            Step::Nothing => (),
            Step::Ended => return Step::Ended,
        }
        if moved { Step::Moved } else { Step::Nothing }
    }

    /// Lets the session work on what has been read, and hands on what it asks for.
    fn session_step(&mut self) -> bool {
        let moved = self.session.receive(&mut self.input, self.engine.clock.now());
        self.record();
        if let Some(credentials) = self.session.take_credentials() {
            self.begin_login(credentials);
        }
        if self.session.requests.is_empty() && self.session.catalog.is_empty() {
            return moved;
        }
        self.submit();
        true
    }

    fn write(&mut self, context: &mut Context<'_>) -> Step {
        let mut moved = false;
        loop {
            self.session.fill(self.written + WRITE_BYTES);
            let output = self.session.output();
            if self.written == output.len() {
                break;
            }
            match Pin::new(&mut self.stream).poll_write(context, &output[self.written..]) {
                Poll::Ready(Ok(0) | Err(_)) => return Step::Ended,
                Poll::Ready(Ok(bytes)) => {
                    self.socket.sent.count(bytes);
                    self.written += bytes;
                    self.turn_bytes += bytes;
                    moved = true;
                }
                Poll::Pending => break,
            }
            self.reuse_output();
        }
        self.flush_due |= moved;
        if self.flush_due {
            // TLS may have taken bytes that it could not pass on yet.
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(Ok(())) => self.flush_due = false,
                Poll::Ready(Err(_)) => return Step::Ended,
                Poll::Pending => (),
            }
        }
        if moved {
            self.session.note_sent(self.engine.clock.now());
        }
        if !self.session.requests.is_empty() {
            // Room in the gate for consumers that wait.
            self.submit();
            moved = true;
        }
        if moved { Step::Moved } else { Step::Nothing }
    }

    /// Begins the output buffer again once it is written, and moves a small rest to its front before it grows.
    fn reuse_output(&mut self) {
        let output = self.session.output();
        if self.written == output.len() {
            output.clear();
            self.written = 0;
            if output.capacity() > 4 * WRITE_BYTES {
                *output = Vec::new();
            }
        } else if self.written > (2 * WRITE_BYTES).max(output.len() / 2) {
            // No more is moved than was written: of a large message all the rest would move for each piece.
            output.drain(..self.written);
            self.written = 0;
        }
    }

    /// Before the requests that follow from it, so that a message has come before it is anywhere.
    fn record(&mut self) {
        if self.engine.recorder.is_some() {
            self.engine.record(&mut self.session.take_traced());
        }
    }

    fn submit(&mut self) {
        self.engine
            .submit(&mut self.session.requests, &mut self.session.catalog);
    }

    fn read(&mut self, context: &mut Context<'_>) -> Step {
        let output_bytes = self.session.output().len() - self.written;
        if output_bytes > OUTPUT_BYTES_MAX || !self.session.wants_input(self.engine.clock.now()) {
            return Step::Nothing;
        }
        // One message that is not whole yet may need a larger buffer than what is usual for this connection.
        let wanted = self
            .session
            .input_bytes_wanted()
            .saturating_sub(self.input.len())
            .max(self.read_bytes / 2);
        if self.input.capacity() - self.input.len() < wanted {
            self.input.reserve(wanted.max(self.read_bytes));
        }
        let room = (self.input.capacity() - self.input.len()).min(wanted.max(self.read_bytes));
        match poll_read_into(&mut self.stream, context, &mut self.input, room) {
            Poll::Ready(Ok(0)) => Step::Ended,
            Poll::Ready(Ok(bytes)) => {
                self.socket.received.count(bytes);
                self.turn_bytes += bytes;
                if bytes == room && self.read_bytes < READ_BYTES_MAX {
                    self.read_bytes = (self.read_bytes * 4).min(READ_BYTES_MAX);
                }
                self.session_step();
                Step::Moved
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(peer = %self.peer.address, %error, "connection lost");
                Step::Ended
            }
            Poll::Pending => Step::Nothing,
        }
    }

    fn begin_login(&mut self, credentials: Credentials) {
        let authenticator = self.authenticator.clone();
        let peer = self.peer.address.ip();
        self.login = Some(Box::pin(async move {
            let Credentials {
                user,
                password,
                stored,
            } = &credentials;
            authenticator
                .check(Login {
                    user,
                    password,
                    stored: stored.as_deref(),
                    peer,
                    protocol: Protocol::Amqp,
                })
                .await
        }));
    }

    fn poll_login(&mut self, context: &mut Context<'_>) -> bool {
        let Some(login) = &mut self.login else {
            return false;
        };
        let Poll::Ready(verdict) = login.as_mut().poll(context) else {
            return false;
        };
        self.login = None;
        match verdict {
            Ok(()) => self.session.authenticated(),
            Err(refusal) => {
                tracing::warn!(peer = %self.peer.address, user = %self.session.user(), %refusal, "login refused");
                self.session.refuse_login();
            }
        }
        true
    }

    fn poll_closing(&mut self, context: &mut Context<'_>) -> bool {
        let Some(closing) = &mut self.closing else {
            return false;
        };
        if self.closing_is_heard && !self.peer.closing.may_be_requested() {
            return false;
        }
        if closing.as_mut().poll(context).is_pending() {
            self.closing_is_heard = true;
            return false;
        }
        self.closing = None;
        self.session.shut_down();
        true
    }

    /// Sets the timer for the session's next deadline. A deadline that has passed is another round.
    fn sleep(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let slept = self.sleep_or_go_on(context);
        // A wake-up out of its own round wakes nobody: the link says that there was one.
        if slept.is_pending() && self.link.is_scheduled() {
            context.waker().wake_by_ref();
        }
        self.give_back();
        slept
    }

    /// Has no buffers while it sleeps. One that reads much at once keeps its own: the messages read last still lie in it, and
    /// where they lay is read into again.
    fn give_back(&mut self) {
        if self.read_bytes == READ_BYTES_MIN {
            spare::keep_input(&mut self.input);
        }
        spare::keep_output(self.session.output());
    }

    fn sleep_or_go_on(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(deadline) = self.session.deadline(self.engine.clock.now()) else {
                return Poll::Pending;
            };
            let instant = tokio::time::Instant::from_std(self.engine.clock.instant(deadline));
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(instant)));
            if timer.deadline() != instant {
                timer.as_mut().reset(instant);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.session.tick(self.engine.clock.now());
            match self.round(context) {
                Step::Ended => return Poll::Ready(()),
                Step::Moved => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Nothing if self.session.deadline(self.engine.clock.now()) == Some(deadline) => {
                    return Poll::Pending;
                }
                Step::Nothing => (),
            }
        }
    }
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        self.engine.shared.deregister(self.link.connection);
        self.engine.sockets.leave(self.link.connection);
        self.session.end();
        self.record();
        self.submit();
    }
}

fn poll_read_into(
    stream: &mut Stream,
    context: &mut Context<'_>,
    input: &mut BytesMut,
    room: usize,
) -> Poll<std::io::Result<usize>> {
    let spare = &mut input.spare_capacity_mut()[..room];
    let mut buffer = ReadBuf::uninit(spare);
    let read = Pin::new(stream).poll_read(context, &mut buffer);
    let bytes = buffer.filled().len();
    if let Poll::Ready(Ok(())) = read {
        // SAFETY: `poll_read` has filled, hence initialised, the first `bytes` bytes of the spare capacity.
        unsafe { input.advance_mut(bytes) };
    }
    read.map_ok(|()| bytes)
}

/// Wakes the task, unless it is the one that is running right now: that one looks at its link before it sleeps.
#[derive(Default)]
struct TaskWaker {
    waker: Mutex<Option<Waker>>,
}

struct TaskWake(Arc<TaskWaker>);

impl Wake for TaskWake {
    fn wake(&self) {
        if CURRENT.get() == Arc::as_ptr(&self.0) {
            return;
        }
        if let Some(waker) = &*self.0.waker.lock() {
            waker.wake_by_ref();
        }
    }
}

impl TaskWaker {
    /// Says whether this is another one than before.
    fn register(&self, waker: &Waker) -> bool {
        let mut known = self.waker.lock();
        if known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return false;
        }
        *known = Some(waker.clone());
        true
    }
}

thread_local! {
    static CURRENT: Cell<*const TaskWaker> = const { Cell::new(ptr::null()) };
}

/// Marks the task that this thread is polling, for as long as it lives.
struct Current;

impl Current {
    fn enter(waker: &Arc<TaskWaker>) -> Self {
        CURRENT.set(Arc::as_ptr(waker));
        Self
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.set(ptr::null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ten thousand of them take is mostly this, their channels and what the runtime keeps of a socket.
    #[test]
    fn a_connection_takes_little() {
        let bytes = size_of::<ConnectionTask>();
        assert!(bytes <= 1600, "a connection takes {bytes} bytes");
    }
}
