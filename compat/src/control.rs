//! Lets a script kill the broker that it tests: a line `restart` over a socket of the loopback is a SIGKILL and a new start.

use crate::broker::Broker;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Serves whoever asks, as long as somebody holds the broker. A script finds the address in its environment, under `CONTROL`.
///
/// # Errors
/// When no port of the loopback can be had.
pub fn serve(broker: &Arc<Mutex<Broker>>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    // Whoever drops the broker has it end and its data removed.
    let broker = Arc::downgrade(broker);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Some(broker) = broker.upgrade() else {
                return;
            };
            // A script that goes away in the middle has its own verdict to give.
            let _ = obey(stream, &broker);
        }
    });
    Ok(address)
}

/// One line, one answer: `up`, or what went wrong.
fn obey(mut stream: TcpStream, broker: &Mutex<Broker>) -> std::io::Result<()> {
    let mut order = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut order)?;
    let answer = match order.trim() {
        "restart" => match broker
            .lock()
            .expect("nobody panics with a broker in hand")
            .restart()
        {
            Ok(_) => "up".to_owned(),
            Err(error) => format!("{error:#}"),
        },
        other => format!("there is no order {other:?}"),
    };
    writeln!(stream, "{answer}")
}
