//! Tells the world that the broker serves: one line on standard output for people and scripts, and
//! systemd's notifications for the service manager.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use sd_notify::NotifyState;

/// The line that says that connections are accepted, and where.
pub fn line(plain: &[SocketAddr], encrypted: &[SocketAddr], http: &[SocketAddr], data: &Path) -> String {
    let mut line = format!("everack {} ready:", env!("CARGO_PKG_VERSION"));
    plain
        .iter()
        .for_each(|address| line.push_str(&format!(" amqp {address}")));
    encrypted
        .iter()
        .for_each(|address| line.push_str(&format!(" amqps {address}")));
    http.iter()
        .for_each(|address| line.push_str(&format!(" http {address}")));
    line.push_str(&format!(" data {}", data.display()));
    line
}

/// Prints the line and tells systemd.
pub fn announce(line: &str) {
    // Somebody who started us without a standard output wants a broker all the same.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    notify(&[NotifyState::Ready, NotifyState::Status(line)]);
}

/// Tells systemd that the configuration is being read again; `announce_reloaded` ends it.
pub fn announce_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "cannot read the clock that systemd asks for"),
    }
}

/// Tells systemd that the reload is over, be it in vain.
pub fn announce_reloaded() {
    notify(&[NotifyState::Ready]);
}

/// Tells systemd that the broker is going down.
pub fn announce_stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("closing connections")]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where() {
        let check = |plain: &[&str], encrypted: &[&str], http: &[&str], expected: &str| {
            let addresses =
                |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
            let version = env!("CARGO_PKG_VERSION");
            let line = line(
                &addresses(plain),
                &addresses(encrypted),
                &addresses(http),
                Path::new("./data"),
            );
            assert_eq!(line, format!("everack {version} ready: {expected}"));
        };
        check(&["127.0.0.1:5672"], &[], &[], "amqp 127.0.0.1:5672 data ./data");
        check(
            &["127.0.0.1:5672", "[::1]:5672"],
            &["0.0.0.0:5671"],
            &["127.0.0.1:15672"],
            "amqp 127.0.0.1:5672 amqp [::1]:5672 amqps 0.0.0.0:5671 http 127.0.0.1:15672 data ./data",
        );
    }
}
