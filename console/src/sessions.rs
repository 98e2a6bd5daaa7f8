//! Who is logged in: a table in memory, with a bound and an end for each. Knows no requests and no clock.
//!
//! A session holds the API's pass, not the password. It ends with the log-out, with the process, when nobody has used it for a while,
//! after half a day in any case, and when the API no longer honours the pass: the user is gone or has another password.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::ask::Pass;
use crate::random::{self, Token};

/// How long a session may be unused.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(60 * 60);
/// How long it may be used. Pages that refresh themselves use it.
pub(crate) const LIFE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// Most sessions at a time. The one that was unused for the longest time makes room.
pub(crate) const SESSIONS_MAX: usize = 1_000;
/// Most of one user, so that one cannot push out the others.
pub(crate) const SESSIONS_OF_USER_MAX: usize = 50;

/// What is said once, on the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) good: bool,
    pub(crate) text: String,
}

/// One user at one browser.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) pass: Pass,
    /// Stands in every form.
    pub(crate) form_token: Token,
    /// Begun on this machine: then it is worth nothing on another.
    loopback: bool,
    begun: Instant,
    used: Instant,
    message: Option<Message>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Sessions {
    by_token: HashMap<Token, Session>,
    swept: Instant,
}

impl Sessions {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            by_token: HashMap::new(),
            swept: now,
        }
    }

    /// Begins one; its token is the browser's only key to it.
    pub(crate) fn begin(&mut self, user: &str, pass: Pass, peer: IpAddr, now: Instant) -> Token {
        self.sweep(now);
        let of_user = self.by_token.values().filter(|session| session.user == user);
        if of_user.count() >= SESSIONS_OF_USER_MAX {
            self.drop_idlest(|session| session.user == user);
        }
        if self.by_token.len() >= SESSIONS_MAX {
            self.drop_idlest(|_| true);
        }
        let token = random::token();
        let session = Session {
            user: user.to_owned(),
            pass,
            form_token: random::token(),
            loopback: peer.to_canonical().is_loopback(),
            begun: now,
            used: now,
            message: None,
        };
        self.by_token.insert(token, session);
        token
    }

    /// The session of that token, which is used by this.
    pub(crate) fn resume(&mut self, token: &Token, peer: IpAddr, now: Instant) -> Option<Session> {
        let session = self.by_token.get_mut(token)?;
        if session.is_over(now) {
            self.by_token.remove(token);
            return None;
        }
        if session.loopback && !peer.to_canonical().is_loopback() {
            return None;
        }
        session.used = now;
        Some(session.clone())
    }

    pub(crate) fn end(&mut self, token: &Token) {
        self.by_token.remove(token);
    }

    /// Leaves something to be said; it takes the place of what was left before.
    pub(crate) fn leave(&mut self, token: &Token, message: Message) {
        if let Some(session) = self.by_token.get_mut(token) {
            session.message = Some(message);
        }
    }

    /// What is to be said, once.
    pub(crate) fn take_message(&mut self, token: &Token) -> Option<Message> {
        self.by_token.get_mut(token)?.message.take()
    }

    fn drop_idlest(&mut self, among: impl Fn(&Session) -> bool) {
        let candidates = self.by_token.iter().filter(|(_, session)| among(session));
        let idlest = candidates
            .min_by_key(|(_, session)| session.used)
            .map(|(token, _)| *token);
        if let Some(token) = idlest {
            self.by_token.remove(&token);
        }
    }

    /// Takes out what is over, now and then.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) > IDLE_MAX / 60 {
            self.by_token.retain(|_, session| !session.is_over(now));
            self.swept = now;
        }
    }
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        let since = |then| now.saturating_duration_since(then);
        since(self.used) > IDLE_MAX || since(self.begun) > LIFE_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn begin(sessions: &mut Sessions, user: &str, peer: IpAddr, now: Instant) -> Token {
        sessions.begin(user, Pass::new(Arc::new(())), peer, now)
    }

    #[test]
    fn a_session_ends_unused_and_after_half_a_day() {
        let start = Instant::now();
        let mut sessions = Sessions::new(start);
        let token = begin(&mut sessions, "a", HERE, start);
        assert!(sessions.resume(&token, HERE, start + IDLE_MAX).is_some());
        let late = start + 2 * IDLE_MAX + Duration::from_secs(1);
        assert!(sessions.resume(&token, HERE, late).is_none());
        assert!(sessions.by_token.is_empty());

        let token = begin(&mut sessions, "a", HERE, late);
        let mut now = late;
        while now + IDLE_MAX / 2 <= late + LIFE_MAX {
            now += IDLE_MAX / 2;
            assert!(sessions.resume(&token, HERE, now).is_some());
        }
        assert!(
            sessions
                .resume(&token, HERE, now + Duration::from_secs(1))
                .is_none()
        );
    }

    #[test]
    fn what_began_on_this_machine_is_worth_nothing_elsewhere() {
        let now = Instant::now();
        let mut sessions = Sessions::new(now);
        let here = begin(&mut sessions, "a", HERE, now);
        let there = begin(&mut sessions, "a", ELSEWHERE, now);
        assert!(sessions.resume(&here, ELSEWHERE, now).is_none());
        assert!(sessions.resume(&here, HERE, now).is_some());
        assert!(sessions.resume(&there, HERE, now).is_some());
    }

    #[test]
    fn the_table_is_bounded_by_user_and_in_all() {
        let start = Instant::now();
        let mut sessions = Sessions::new(start);
        let first = begin(&mut sessions, "other", HERE, start);
        let at = |number: usize| start + Duration::from_millis(number as u64);
        for number in 1..=2 * SESSIONS_OF_USER_MAX {
            begin(&mut sessions, "greedy", HERE, at(number));
        }
        assert_eq!(sessions.by_token.len(), SESSIONS_OF_USER_MAX + 1);
        for number in 1..=SESSIONS_MAX {
            begin(&mut sessions, &format!("user {number}"), HERE, at(1000 + number));
        }
        assert_eq!(sessions.by_token.len(), SESSIONS_MAX);
        assert!(sessions.resume(&first, HERE, at(3000)).is_none());
    }

    #[test]
    fn a_message_is_said_once_and_nothing_is_left_after_the_end() {
        let now = Instant::now();
        let mut sessions = Sessions::new(now);
        let token = begin(&mut sessions, "a", HERE, now);
        let message = Message {
            good: true,
            text: "done".to_owned(),
        };
        sessions.leave(&token, message.clone());
        assert_eq!(sessions.take_message(&token), Some(message));
        assert_eq!(sessions.take_message(&token), None);
        sessions.end(&token);
        assert!(sessions.resume(&token, HERE, now).is_none());
    }
}
