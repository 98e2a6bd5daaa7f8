//! The socket that a broker keeps in its data directory: who may open it may operate the broker, without a password. It is what
//! the Erlang cookie is to RabbitMQ's tools.

use std::path::{Path, PathBuf};

/// The socket's name within a data directory.
const SOCKET: &str = "everack.sock";
/// The variable that names a data directory.
const DATA: &str = "EVERACK_DATA";
/// Where a broker's data lies if nothing is said: where it was started by hand, as a service, in a container.
const USUAL: [&str; 2] = ["./data", "/var/lib/everack"];

/// The socket of the broker whose data lies in `data`; or in one of the usual places.
pub(super) fn find(data: Option<&Path>) -> Option<PathBuf> {
    let named = data.map(Path::to_owned);
    let named = named.or_else(|| std::env::var_os(DATA).map(PathBuf::from));
    match named {
        Some(directory) => Some(directory.join(SOCKET)),
        None => USUAL
            .iter()
            .map(|directory| Path::new(directory).join(SOCKET))
            .find(|socket| socket.exists()),
    }
}
