//! Who asks, and what its tags let it see.
//!
//! The users are the broker's own. As in RabbitMQ a tag opens the API at all (`management`), more of it (`policymaker`,
//! `monitoring`) or everything (`administrator`); permissions decide which virtual hosts a user sees.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use everack_broker::catalog::{Access, Command, Queue, Resource, Snapshot, User, VhostView};
use everack_broker::name::Name;

use super::Node;
use super::local::Local;
use super::refusal::Refusal;
use crate::auth::attempts::Protocol;
use crate::auth::{Login, Refusal as LoginRefusal};

/// The longest `Authorization` header that is looked at, in bytes.
const AUTHORIZATION_BYTES_MAX: usize = 8 << 10;

/// A user that is logged in, and the topology as it was then.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) user: Arc<User>,
    pub(super) snapshot: Arc<Snapshot>,
    /// It came over the socket for who operates this machine: it has no permissions, and needs none.
    pub(super) operates: bool,
}

impl Caller {
    /// A user that has logged in.
    fn of(user: Arc<User>, snapshot: Arc<Snapshot>) -> Self {
        Self {
            user,
            snapshot,
            operates: false,
        }
    }

    /// Whether it sees the whole broker: `monitoring` or `administrator`.
    pub(super) fn is_monitor(&self) -> bool {
        self.has_one_of(&["monitoring", "administrator"])
    }

    /// Refuses who does not see the whole broker.
    pub(super) fn require_monitor(&self) -> Result<(), Refusal> {
        self.require(self.is_monitor(), "Not monitor user")
    }

    /// Refuses who may not see users and permissions.
    pub(super) fn require_administrator(&self) -> Result<(), Refusal> {
        self.require(self.has_one_of(&["administrator"]), "Not administrator user")
    }

    /// Refuses who may not set policies and parameters in a virtual host: policymakers may where they have permissions, administrators
    /// everywhere.
    pub(super) fn require_policymaker(&self, vhost: &str) -> Result<(), Refusal> {
        let permitted = self.snapshot.permissions(&self.user.name, &Name::from(vhost));
        let makes = self.has_one_of(&["policymaker"]) && permitted.is_some();
        let may = makes || self.has_one_of(&["administrator"]);
        self.require(may, "User not authorised to access object")
    }

    /// Refuses who may neither set nor see parameters.
    pub(super) fn require_some_policymaker(&self) -> Result<(), Refusal> {
        let may = self.has_one_of(&["policymaker", "administrator"]);
        self.require(may, "User not authorised to access object")
    }

    /// A virtual host that somebody wants to set something in, whether it sees it or not.
    pub(super) fn existing_vhost(&self, name: &str) -> Result<VhostView, Refusal> {
        let vhost = self.snapshot.vhost(name.as_bytes());
        vhost.ok_or_else(|| Refusal::Missing("vhost_not_found".to_owned()))
    }

    /// The virtual hosts that it sees, by name.
    pub(super) fn vhosts(&self) -> impl Iterator<Item = VhostView> {
        self.snapshot.vhosts().filter(|vhost| self.sees(vhost.name()))
    }

    /// A virtual host, if it is there and the user sees it.
    pub(super) fn vhost(&self, name: &str) -> Result<VhostView, Refusal> {
        let vhost = self.snapshot.vhost(name.as_bytes()).ok_or(Refusal::NotFound)?;
        if self.sees(vhost.name()) {
            Ok(vhost)
        } else {
            Err(Refusal::Rights("User not authorised to access virtual host"))
        }
    }

    /// A queue in a virtual host that it sees.
    pub(super) fn queue(&self, vhost: &str, name: &str) -> Result<Arc<Queue>, Refusal> {
        let vhost = self.vhost(vhost)?;
        vhost.queue(name.as_bytes()).cloned().ok_or(Refusal::NotFound)
    }

    /// A virtual host that the user may open a connection to, whatever it sees.
    pub(super) fn enter(&self, name: &str) -> Result<VhostView, Refusal> {
        let vhost = self.snapshot.vhost(name.as_bytes());
        let vhost = vhost.ok_or(Refusal::Rights("Access refused."))?;
        if self.operates {
            // Messages are somebody's: their rights are a user's, and their user id.
            return Err(Refusal::Rights("log in as a user to publish and get"));
        }
        match self.snapshot.permissions(&self.user.name, vhost.name()) {
            Some(_) => Ok(vhost),
            None => Err(Refusal::Rights("User not authorised to access virtual host")),
        }
    }

    /// Refuses who lacks a permission in a virtual host.
    pub(super) fn require_access(
        &self,
        vhost: &Name,
        access: Access,
        what: Resource<'_>,
    ) -> Result<(), Refusal> {
        if self.operates {
            return Ok(());
        }
        let permissions = self.snapshot.permissions(&self.user.name, vhost);
        let permissions = permissions.ok_or(Refusal::Rights("User not authorised to access virtual host"))?;
        Ok(permissions.require(access, what)?)
    }

    /// Refuses who may not do that with a queue; and everybody, where it belongs to one connection.
    pub(super) fn require_queue(&self, access: Access, queue: &Queue) -> Result<(), Refusal> {
        self.require_access(&queue.vhost, access, Resource::Queue(&queue.name))?;
        Ok(queue.check_access(None)?)
    }

    /// Refuses who may not carry out a command of the catalog.
    pub(super) fn authorise(&self, snapshot: &Snapshot, command: &Command) -> Result<(), Refusal> {
        if self.operates {
            return Ok(());
        }
        Ok(snapshot.authorise(&self.user.name, command)?)
    }

    /// Whether it sees a virtual host.
    pub(super) fn sees(&self, vhost: &Name) -> bool {
        self.is_monitor() || self.snapshot.permissions(&self.user.name, vhost).is_some()
    }

    fn has_one_of(&self, tags: &[&str]) -> bool {
        tags.iter().any(|tag| self.user.has_tag(tag))
    }

    fn require(&self, may: bool, reason: &'static str) -> Result<(), Refusal> {
        may.then_some(()).ok_or(Refusal::Rights(reason))
    }
}

/// Lets a request through whose user and password are right, together with its [`Caller`]. The answer says who it was ([`LoggedIn`]), for those who
/// ask from within the process.
pub(super) async fn authorise(State(node): State<Arc<Node>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let before = request.extensions().get::<LoggedIn>();
    let local = request.extensions().get::<Local>().is_some();
    let caller = match before {
        Some(before) => still_there(&node, before, peer),
        // Who names a user there means to be that user.
        None if local && !request.headers().contains_key(header::AUTHORIZATION) => Ok(operator(&node)),
        None => log_in(&node, request.headers(), peer).await,
    };
    match caller {
        Ok(caller) => {
            let who = LoggedIn(caller.user.clone());
            request.extensions_mut().insert(caller);
            let mut response = next.run(request).await;
            response.extensions_mut().insert(who);
            response
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Somebody whose password was right before. Only the process itself can put it on a request: nothing that comes over a socket turns into it.
#[derive(Clone, Debug)]
pub(super) struct LoggedIn(pub(super) Arc<User>);

/// The same user, as it is now; nobody, if it is gone, has another password or asks from where it may not.
fn still_there(node: &Node, LoggedIn(before): &LoggedIn, peer: Option<Peer>) -> Result<Caller, Refusal> {
    let Peer(peer) = peer.ok_or(Refusal::LogIn("Login failed"))?;
    let snapshot = node.engine.shared.snapshot();
    let user = snapshot.user(before.name.as_bytes()).cloned();
    let user = user.filter(|user| user.password_hash == before.password_hash);
    let user = user.ok_or(Refusal::LogIn("Login failed"))?;
    if node.authenticator.bars(user.name.as_bytes(), peer.ip()) {
        return Err(Refusal::LogIn("User can only log in via localhost"));
    }
    opened(Caller::of(user, snapshot))
}

/// Who operates this machine.
fn operator(node: &Node) -> Caller {
    Caller {
        user: Arc::new(Local::user()),
        snapshot: node.engine.shared.snapshot(),
        operates: true,
    }
}

/// Where a request comes from; the listener adds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

async fn log_in(node: &Node, headers: &HeaderMap, peer: Option<Peer>) -> Result<Caller, Refusal> {
    let Peer(peer) = peer.ok_or(Refusal::LogIn("Login failed"))?;
    let (user, password) = credentials(headers).ok_or(Refusal::LogIn("Login failed"))?;
    let snapshot = node.engine.shared.snapshot();
    let known = snapshot.user(&user).cloned();
    let login = Login {
        user: &user,
        password: &password,
        stored: known.as_ref().map(|known| known.password_hash.as_str()),
        peer: peer.ip(),
        protocol: Protocol::Http,
    };
    if let Err(refusal) = node.authenticator.check(login).await {
        tracing::warn!(%peer, user = %String::from_utf8_lossy(&user), %refusal, "HTTP login refused");
        return Err(match refusal {
            LoginRefusal::NotFromHere => Refusal::LogIn("User can only log in via localhost"),
            LoginRefusal::Busy => Refusal::Busy("too many logins are waiting to be verified"),
            _ => Refusal::LogIn("Login failed"),
        });
    }
    let user = known.ok_or(Refusal::LogIn("Login failed"))?;
    opened(Caller::of(user, snapshot))
}

/// Refuses who has none of the tags that open the API.
fn opened(caller: Caller) -> Result<Caller, Refusal> {
    let opens = ["management", "policymaker", "monitoring", "administrator"];
    if caller.has_one_of(&opens) {
        Ok(caller)
    } else {
        Err(Refusal::Rights("Not management user"))
    }
}

/// User and password of `Authorization: Basic`.
fn credentials(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    let given = headers.get(header::AUTHORIZATION)?.as_bytes();
    if given.len() > AUTHORIZATION_BYTES_MAX {
        return None;
    }
    let (scheme, encoded) = given.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim_ascii())
        .ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    Some((decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_basic_credentials_and_nothing_else() {
        let check = |header: &str, expected: Option<(&str, &str)>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, header.parse().unwrap());
            let expected = expected.map(|(user, password)| (user.into(), password.into()));
            assert_eq!(credentials(&headers), expected, "{header}");
        };
        check("Basic Z3Vlc3Q6Z3Vlc3Q=", Some(("guest", "guest")));
        check("basic  Z3Vlc3Q6Z3Vlc3Q=", Some(("guest", "guest")));
        check("Basic YTpiOmM=", Some(("a", "b:c")));
        check("Basic Og==", Some(("", "")));
        check("Basic Z3Vlc3Q=", None);
        check("Basic !!!", None);
        check("Bearer Z3Vlc3Q6Z3Vlc3Q=", None);
        check("", None);
        check(&format!("Basic {}", "A".repeat(AUTHORIZATION_BYTES_MAX)), None);
    }
}
