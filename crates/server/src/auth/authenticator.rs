//! Checks logins. A password costs some 20 ms of a core and 19 MiB to verify, which is its point;
//! so it is done on threads for blocking work, a bounded number at a time, and a login that was
//! verified before is recognised by a keyed digest in about a microsecond. Ten thousand
//! connections of one service cost one verification, also if they come at the same moment.
//!
//! Does not know the users: the caller looks the stored hash up in the catalog.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use everack_broker::name::Name;
use tokio::sync::Semaphore;

use super::attempts::{Attempts, Protocol};
use super::certificate;
use super::password;
use super::remembered::Remembered;
use crate::audit_log::{Act, AuditLog};
use crate::config::keys::Auth;
use crate::config::setting::{External, Guest};

/// The user whose password everybody knows.
pub const GUEST: &[u8] = b"guest";

/// A login to be checked.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The name given by the client.
    pub user: &'a [u8],
    /// The password given by the client.
    pub password: &'a [u8],
    /// The hash that the catalog holds for the name, if it knows the name.
    pub stored: Option<&'a str>,
    /// Where the client connects from.
    pub peer: IpAddr,
    /// Over what.
    pub protocol: Protocol,
}

/// Why a login was refused. For the log; a client is told only that it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no user of that name.
    #[error("there is no such user")]
    UnknownUser,
    /// The user has another password.
    #[error("the password is wrong")]
    WrongPassword,
    /// The user exists, but has no password to log in with.
    #[error("the user has no password")]
    NoPassword,
    /// `guest`, from another machine.
    #[error("guest can only connect from this machine (auth.guest)")]
    NotFromHere,
    /// Too many logins wait for their verification already.
    #[error("too many logins are waiting to be verified")]
    Busy,
}

/// Checks logins. One for the process.
pub struct Authenticator {
    /// Where refused log-ins are written down.
    pub audit: AuditLog,
    /// How often somebody has tried.
    pub attempts: Attempts,
    remembered: Remembered,
    verifications: Arc<Semaphore>,
    waiting: Semaphore,
    guest: AtomicU8,
    external: AtomicU8,
}

impl Authenticator {
    /// Logins that may wait for verification at one time. Far above what the verifiers get through
    /// in the time that a client has for its handshake, so that only a flood is turned away.
    const WAITING_MAX: usize = 16_384;

    /// As configured.
    pub fn new(config: &Auth, audit: AuditLog) -> anyhow::Result<Self> {
        let verifications = match config.verifications_max.get() {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => given as usize,
        };
        let remembered_max = config.remembered_max.get() as usize;
        Ok(Self {
            audit,
            attempts: Attempts::default(),
            remembered: Remembered::new(remembered_max, config.remembered_for.duration(), Instant::now())?,
            verifications: Arc::new(Semaphore::new(verifications)),
            waiting: Semaphore::new(Self::WAITING_MAX),
            guest: AtomicU8::new(config.guest as u8),
            external: AtomicU8::new(config.external as u8),
        })
    }

    /// Takes over what may change while running, and forgets the logins verified so far.
    pub fn reload(&self, config: &Auth) {
        self.guest.store(config.guest as u8, Ordering::Relaxed);
        self.external.store(config.external as u8, Ordering::Relaxed);
        self.remembered.clear();
    }

    /// The user that a verified certificate (DER) stands for, if logging in with one is configured.
    /// None if that is `guest`, bound to this machine, and `peer` is another.
    pub fn certificate_user(&self, certificate: &[u8], peer: IpAddr) -> Option<Name> {
        let configured = self.external.load(Ordering::Relaxed);
        let by = [
            External::CommonName,
            External::DistinguishedName,
            External::SubjectAlternativeName,
        ];
        let by = by.into_iter().find(|by| *by as u8 == configured)?;
        let user = certificate::user_of(certificate, by)?;
        let barred = self.bars(user.as_bytes(), peer);
        (user.len() <= Name::BYTES_MAX && !barred).then(|| Name::from(user))
    }

    /// Whether that is `guest`, who is bound to this machine, from another one.
    pub fn bars(&self, user: &[u8], peer: IpAddr) -> bool {
        let from_anywhere = self.guest.load(Ordering::Relaxed) == Guest::Anywhere as u8;
        user == GUEST && !from_anywhere && !peer.to_canonical().is_loopback()
    }

    /// Hashes a new password, in turn with the verifications, which cost as much. If it is right for a hash that is held, that one stays.
    pub async fn hash(&self, password: Vec<u8>, held: Option<&str>) -> anyhow::Result<String> {
        let held = held.map(str::to_owned);
        let permit = self.verifications.clone().acquire_owned().await?;
        let hashed = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            match held.filter(|held| password::verify(&password, held)) {
                Some(held) => Ok(held),
                None => password::hash(&password),
            }
        });
        hashed.await?
    }

    /// Checks a login. Dropping the future gives up waiting for it.
    pub async fn check(&self, login: Login<'_>) -> Result<(), Refusal> {
        let verdict = self.verdict(&login).await;
        self.attempts.count(login.protocol, verdict.is_ok());
        if let Err(refusal) = &verdict {
            self.audit.record(Act {
                who: &String::from_utf8_lossy(login.user),
                from: &login.peer.to_string(),
                over: login.protocol.name(),
                what: "log in",
                outcome: &refusal.to_string(),
            });
        }
        verdict
    }

    async fn verdict(&self, login: &Login<'_>) -> Result<(), Refusal> {
        self.check_password(login).await?;
        // After the password, so that the answer tells nothing to who does not have it.
        if self.bars(login.user, login.peer) {
            Err(Refusal::NotFromHere)
        } else {
            Ok(())
        }
    }

    async fn check_password(&self, login: &Login<'_>) -> Result<(), Refusal> {
        // A user without a password must not be told apart by a quick answer either.
        let stored = login
            .stored
            .filter(|stored| !stored.is_empty())
            .unwrap_or(password::NOBODY_HASH);
        let digest = self.remembered.digest(login.user, stored, login.password);
        if self.remembered.contains(&digest, Instant::now()) {
            return Ok(());
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(Refusal::Busy);
        };
        let Ok(permit) = self.verifications.clone().acquire_owned().await else {
            return Err(Refusal::Busy);
        };
        // While this login waited for its turn, another of the same kind may have been verified.
        if self.remembered.contains(&digest, Instant::now()) {
            return Ok(());
        }
        let (given, hash) = (login.password.to_vec(), stored.to_owned());
        let verified = tokio::task::spawn_blocking(move || {
            // The permit goes with the work: a client that hangs up must not make room for more of it.
            let _permit = permit;
            password::verify(&given, &hash)
        });
        match (verified.await.unwrap_or(false), login.stored) {
            (true, Some(_)) => {
                self.remembered.insert(digest, Instant::now());
                Ok(())
            }
            (_, None) => Err(Refusal::UnknownUser),
            (_, Some("")) => Err(Refusal::NoPassword),
            (false, Some(_)) => Err(Refusal::WrongPassword),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Config;

    const HERE: &str = "127.0.0.1";
    const ELSEWHERE: &str = "192.0.2.7";

    fn authenticator(guest: Guest) -> Authenticator {
        let mut config = Config::default().auth;
        config.guest = guest;
        Authenticator::new(&config, AuditLog::default()).unwrap()
    }

    fn login<'a>(user: &'a str, password: &'a str, stored: Option<&'a str>, peer: &str) -> Login<'a> {
        Login {
            user: user.as_bytes(),
            password: password.as_bytes(),
            stored,
            peer: peer.parse().unwrap(),
            protocol: Protocol::Amqp,
        }
    }

    #[tokio::test]
    async fn accepts_and_refuses() {
        let hash = password::hash(b"secret").unwrap();
        let hash = Some(hash.as_str());
        let guest = Some(password::GUEST_HASH);
        let check = async |setting, user, given, stored, peer, expected| {
            let result = authenticator(setting)
                .check(login(user, given, stored, peer))
                .await;
            assert_eq!(result, expected, "{setting:?} {user} {given} from {peer}");
        };
        use Guest::{Anywhere, Initial, Loopback, Off};
        check(Loopback, "ann", "secret", hash, ELSEWHERE, Ok(())).await;
        check(Loopback, "ann", "wrong", hash, HERE, Err(Refusal::WrongPassword)).await;
        check(Loopback, "ann", "secret", None, HERE, Err(Refusal::UnknownUser)).await;
        check(Loopback, "ann", "", Some(""), HERE, Err(Refusal::NoPassword)).await;
        check(Loopback, "guest", "guest", guest, HERE, Ok(())).await;
        check(Loopback, "guest", "guest", guest, "::1", Ok(())).await;
        check(Initial, "guest", "guest", guest, HERE, Ok(())).await;
        let refused = Err(Refusal::NotFromHere);
        check(Initial, "guest", "guest", guest, ELSEWHERE, refused).await;
        check(Loopback, "guest", "guest", guest, "::ffff:127.0.0.1", Ok(())).await;
        check(
            Loopback,
            "guest",
            "guest",
            guest,
            ELSEWHERE,
            Err(Refusal::NotFromHere),
        )
        .await;
        check(
            Loopback,
            "guest",
            "wrong",
            guest,
            ELSEWHERE,
            Err(Refusal::WrongPassword),
        )
        .await;
        check(Anywhere, "guest", "guest", guest, ELSEWHERE, Ok(())).await;
        check(Off, "guest", "guest", None, HERE, Err(Refusal::UnknownUser)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn ten_thousand_logins_at_once_cost_a_handful_of_verifications() {
        let hash: Arc<str> = password::hash(b"secret").unwrap().into();
        let started = Instant::now();
        password::verify(b"secret", &hash);
        let one = started.elapsed();

        let authenticator = Arc::new(authenticator(Guest::Loopback));
        let started = Instant::now();
        let mut logins = tokio::task::JoinSet::new();
        for _ in 0..10_000 {
            let (authenticator, hash) = (authenticator.clone(), hash.clone());
            logins.spawn(async move {
                authenticator
                    .check(login("ann", "secret", Some(&hash), ELSEWHERE))
                    .await
            });
        }
        while let Some(result) = logins.join_next().await {
            assert_eq!(result.unwrap(), Ok(()));
        }
        let all = started.elapsed();
        assert!(
            all < one * 100 + Duration::from_secs(1),
            "10,000 logins took {all:?}, one verification {one:?}"
        );
    }

    #[tokio::test]
    async fn a_changed_password_is_not_remembered() {
        let authenticator = authenticator(Guest::Loopback);
        let (old, new) = (password::hash(b"old").unwrap(), password::hash(b"new").unwrap());
        assert_eq!(
            authenticator.check(login("ann", "old", Some(&old), HERE)).await,
            Ok(())
        );
        assert_eq!(
            authenticator.check(login("ann", "old", Some(&new), HERE)).await,
            Err(Refusal::WrongPassword)
        );
    }
}
