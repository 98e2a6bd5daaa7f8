//! The table of commands: their usage in RabbitMQ's words, what they take, and what does them.

mod reads;
mod writes;

use super::session::{Done, Session, Stop, status};
use super::{Spec, Tool};

const CTL: &[Tool] = &[Tool::Ctl];
const DIAGNOSTICS: &[Tool] = &[Tool::Diagnostics];
const BOTH: &[Tool] = &[Tool::Ctl, Tool::Diagnostics];
const PLUGINS: &[Tool] = &[Tool::Plugins];
/// No bound.
const MANY: usize = usize::MAX;
/// Commands for one virtual host.
const VHOST: &[&str] = &["vhost"];

type Row = (
    &'static str,
    &'static [Tool],
    (usize, usize),
    &'static [&'static str],
    fn(&Session) -> Done,
    &'static str,
    &'static str,
);

const fn spec((name, of, words, options, run, usage, about): Row) -> Spec {
    Spec {
        name,
        of,
        usage,
        about,
        words,
        options,
        run,
    }
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Spec> + Clone {
    reads::ALL.iter().chain(writes::ALL)
}

/// What there is no counterpart of: says why, and what to do instead.
fn cannot(session: &Session) -> Done {
    let name = session.spec.name;
    let instead = match name {
        "stop" | "shutdown" | "stop_app" | "start_app" => {
            "the service manager starts and stops the broker, as with `systemctl stop everack`"
        }
        "reset" | "force_reset" => "stop the broker and start it with another data directory",
        "environment" => "`everack config` prints all keys of the configuration",
        "set_vm_memory_high_watermark" | "set_disk_free_limit" | "set_log_level" => {
            "it is a key of the configuration file, which is read again at SIGHUP"
        }
        "rotate_logs" => "the log is written to standard error; what reads it rotates it",
        "eval" => "there is no Erlang in this broker",
        "enable_feature_flag" => "all feature flags are on",
        "restart_vhost" => "a virtual host does not stop while the broker runs",
        "join_cluster" | "forget_cluster_node" | "set_cluster_name" | "sync_queue" => {
            "this broker is one node"
        }
        _ => "this broker does not do that",
    };
    Err(Stop::error(status::UNAVAILABLE, format!("{name}: {instead}")))
}
