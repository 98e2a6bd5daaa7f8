//! `everack health`: whether a broker answers, for supervisors that can only run a command, as those of containers do.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// How long each step may take.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How a client of AMQP 0-9-1 begins.
const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
/// How a broker answers: a method frame, of channel 0, with connection.start in it behind the length.
const FRAME: [u8; 3] = [1, 0, 0];
const START: [u8; 4] = [0, 10, 0, 10];

/// What to ask.
#[derive(Debug, clap::Args)]
#[command(after_help = "It ends with the status
  0  a broker answers
  1  none does, and why")]
pub struct Args {
    /// Where the broker listens for AMQP clients [default: 127.0.0.1:5672, with the port of RABBITMQ_NODE_PORT if that is set].
    #[arg(long, value_name = "ADDR:PORT")]
    amqp: Option<String>,
}

/// Asks for a greeting. The status is 0 if one comes, 1 if not.
///
/// # Errors
/// Nobody listens there, or not a broker, or it does not answer in time.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let usual = || {
        let port = std::env::var("RABBITMQ_NODE_PORT").unwrap_or_else(|_| "5672".to_owned());
        format!("127.0.0.1:{port}")
    };
    let address = args.amqp.clone().unwrap_or_else(usual);
    ask(&address).with_context(|| format!("no broker answers on {address}"))?;
    Ok(ExitCode::SUCCESS)
}

fn ask(address: &str) -> anyhow::Result<()> {
    let resolved = address
        .to_socket_addrs()?
        .next()
        .context("the name stands for no address")?;
    let mut stream = TcpStream::connect_timeout(&resolved, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    stream.write_all(HEADER)?;
    let mut greeting = [0; 11];
    stream.read_exact(&mut greeting)?;
    let is_start = greeting.starts_with(&FRAME) && greeting[7..] == START;
    ensure!(is_start, "what answers there is not AMQP 0-9-1");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Somebody who answers with these bytes.
    fn check(answer: &'static [u8], healthy: bool) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut header = [0; 8];
            stream.read_exact(&mut header).unwrap();
            stream.write_all(answer).unwrap();
        });
        assert_eq!(ask(&address).is_ok(), healthy, "{answer:?}");
        peer.join().unwrap();
    }

    #[test]
    fn only_a_greeting_is_one() {
        check(&[1, 0, 0, 0, 0, 1, 0, 0, 10, 0, 10, 0], true);
        check(b"HTTP/1.1 400 Bad Request\r\n", false);
        check(&[1, 0, 0], false);
        check(b"AMQP\x00\x00\x09\x01....", false);
        assert!(ask("127.0.0.1:1").is_err());
        assert!(ask("nonsense").is_err());
    }
}
