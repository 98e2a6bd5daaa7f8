//! The door for who operates this machine: a socket in the data directory, over which the management API may be asked without a
//! log-in. What the Erlang cookie is to RabbitMQ's tools, without a secret that could be read, copied or logged.
//!
//! The kernel says who has connected: root, and the user that the broker runs as, may do all that an administrator may; everybody
//! else is turned away before a byte is read. The file is its owner's only, too. It is made when the broker listens, and removed
//! when it ends; what a killed broker leaves leads nowhere, and the next start replaces it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use everack_broker::catalog::User;
use everack_broker::name::Name;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::listener;
use crate::shutdown::Closing;

/// The socket's name within the data directory.
const SOCKET: &str = "everack.sock";
/// Whom RabbitMQ names as the user of what its command line tools do.
const OPERATOR: &str = "rmq-cli";
/// Connections served at one time. One more waits.
const CONNECTIONS_MAX: usize = 16;
/// How long accepting pauses when the system has no room for another socket.
const PAUSE: Duration = Duration::from_millis(100);

/// A request that came over the socket. Nothing that comes over a network turns into it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local;

impl Local {
    /// Whom it stands for: an administrator without a name in the catalog, and without a password.
    pub(super) fn user() -> User {
        User {
            name: Name::from(OPERATOR),
            password_hash: String::new(),
            tags: vec!["administrator".to_owned()],
            limits: Default::default(),
        }
    }
}

/// A socket that is bound. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    /// Takes the socket in a data directory that belongs to this process.
    pub(crate) fn bind(data: &Path) -> io::Result<Self> {
        let path = data.join(SOCKET);
        match fs::symlink_metadata(&path) {
            // Nobody but us may have made it: the directory is ours, and locked.
            Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(&path)?,
            Ok(_) => return Err(io::Error::other("there is a file of that name that is no socket")),
            Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        let socket = Self { path, listener };
        // Who came before this is looked at by `is_operator` all the same.
        fs::set_permissions(&socket.path, fs::Permissions::from_mode(0o600))?;
        Ok(socket)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Serves operators until the process begins to stop.
    pub(crate) async fn run(self, router: Router, mut closing: Closing) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let router = router.layer(Extension(Local));
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&places) => accepted,
                () = closing.requested() => return,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept an operator's connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if !is_operator(&stream) {
                tracing::warn!(
                    "a connection to the operators' socket was refused: neither root nor the broker's user"
                );
                continue;
            }
            let (router, closing) = (router.clone(), closing.clone());
            tokio::spawn(async move {
                listener::serve_within(stream, listener::here(), router, closing).await;
                drop(place);
            });
        }
    }

    async fn accept(
        &self,
        places: &Arc<Semaphore>,
    ) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        Ok((stream, place))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // One that cannot be removed leads nowhere.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether the kernel says that root has connected, or who the broker runs as.
fn is_operator(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| may_operate(peer.uid(), own))
}

fn may_operate(peer: u32, own: u32) -> bool {
    peer == 0 || peer == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_broker_s_own_user_operate() {
        let check = |peer, own, expected| assert_eq!(may_operate(peer, own), expected, "{peer} {own}");
        check(0, 999, true);
        check(999, 999, true);
        check(1000, 999, false);
        check(1000, 0, false);
        // What a user namespace shows for somebody outside of it.
        check(65_534, 999, false);
    }

    #[tokio::test]
    async fn the_file_is_its_owner_s_and_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET);
        let first = Socket::bind(folder.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // As after a kill: the file stays, and is replaced.
        std::mem::forget(first);
        let second = Socket::bind(folder.path()).unwrap();
        assert_eq!(second.path(), path);
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(SOCKET), "mine").unwrap();
        assert!(Socket::bind(folder.path()).is_err());
        assert_eq!(fs::read_to_string(folder.path().join(SOCKET)).unwrap(), "mine");
    }
}
