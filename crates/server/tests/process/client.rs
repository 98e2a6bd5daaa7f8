//! An AMQP client of a few bytes: enough to be greeted, to leave messages behind, and to misbehave.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use crate::PATIENCE;

/// A method as it was received: class, number, arguments.
pub(crate) struct Method {
    pub(crate) class: u16,
    pub(crate) number: u16,
    pub(crate) arguments: Vec<u8>,
}

/// A connection, logged in.
pub(crate) struct Client {
    stream: TcpStream,
}

const CONNECTION: u16 = 10;
const CHANNEL: u16 = 20;
const QUEUE: u16 = 50;
const BASIC: u16 = 60;
const CONFIRM: u16 = 85;

fn short(text: &str) -> Vec<u8> {
    let mut out = vec![text.len() as u8];
    out.extend_from_slice(text.as_bytes());
    out
}

fn long(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

impl Client {
    /// Logs in to the vhost `/`; the broker's refusal if it does not let the user in.
    pub(crate) fn log_in(address: &str, user: &str, password: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self { stream };
        client.stream.write_all(b"AMQP\0\0\x09\x01").unwrap();
        client.expect(CONNECTION, 10);
        client.send(CONNECTION, 11, &start_ok(user, password));
        let tune = client.receive().map_err(|error| error.to_string())?;
        if (tune.class, tune.number) != (CONNECTION, 30) {
            return Err(close_text(&tune));
        }
        client.send(CONNECTION, 31, &tune.arguments);
        client.send(CONNECTION, 40, &[short("/"), short(""), vec![0]].concat());
        let opened = client.receive().map_err(|error| error.to_string())?;
        match (opened.class, opened.number) {
            (CONNECTION, 41) => Ok(client),
            _ => Err(close_text(&opened)),
        }
    }

    /// Declares a durable queue and leaves persistent messages in it; returns when all are confirmed.
    pub(crate) fn publish(&mut self, queue: &str, bodies: &[&str]) {
        self.call(CHANNEL, 10, &short(""), 11);
        self.call(CONFIRM, 10, &[0], 11);
        self.call(
            QUEUE,
            10,
            &[vec![0, 0], short(queue), vec![2], long(b"")].concat(),
            11,
        );
        for body in bodies {
            self.send(
                BASIC,
                40,
                &[vec![0, 0], short(""), short(queue), vec![0]].concat(),
            );
            let mut header = [BASIC.to_be_bytes(), [0, 0]].concat();
            header.extend_from_slice(&(body.len() as u64).to_be_bytes());
            header.extend_from_slice(&[0x10, 0, 2]);
            self.frame(2, 1, &header);
            self.frame(3, 1, body.as_bytes());
            self.expect(BASIC, 80);
        }
    }

    /// Waits for `connection.close`; its code and text.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        loop {
            let method = self.receive().unwrap();
            if (method.class, method.number) == (CONNECTION, 50) {
                let code = u16::from_be_bytes([method.arguments[0], method.arguments[1]]);
                return (code, close_text(&method));
            }
        }
    }

    /// Answers a `connection.close`.
    pub(crate) fn close_ok(&mut self) {
        self.send(CONNECTION, 51, &[]);
    }

    fn call(&mut self, class: u16, number: u16, arguments: &[u8], answer: u16) {
        self.send(class, number, arguments);
        self.expect(class, answer);
    }

    fn expect(&mut self, class: u16, number: u16) -> Method {
        let method = self.receive().unwrap();
        assert_eq!(
            (method.class, method.number),
            (class, number),
            "{}",
            close_text(&method)
        );
        method
    }

    fn send(&mut self, class: u16, number: u16, arguments: &[u8]) {
        let payload = [&class.to_be_bytes()[..], &number.to_be_bytes(), arguments].concat();
        self.frame(1, u16::from(class != CONNECTION), &payload);
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let mut frame = vec![kind];
        frame.extend_from_slice(&channel.to_be_bytes());
        frame.extend_from_slice(&long(payload));
        frame.push(0xCE);
        self.stream.write_all(&frame).unwrap();
    }

    fn receive(&mut self) -> io::Result<Method> {
        loop {
            let mut head = [0; 7];
            self.stream.read_exact(&mut head)?;
            let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            let mut payload = vec![0; length + 1];
            self.stream.read_exact(&mut payload)?;
            // Heartbeats are no methods.
            if head[0] == 1 {
                let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
                return Ok(Method {
                    class: number(0),
                    number: number(2),
                    arguments: payload[4..length].to_vec(),
                });
            }
        }
    }
}

fn start_ok(user: &str, password: &str) -> Vec<u8> {
    // The capability makes the broker say that it refuses a login, instead of hanging up.
    let capabilities = [short("authentication_failure_close"), b"t\x01".to_vec()].concat();
    let properties = [short("capabilities"), b"F".to_vec(), long(&capabilities)].concat();
    let response = format!("\0{user}\0{password}");
    [
        long(&properties),
        short("PLAIN"),
        long(response.as_bytes()),
        short("en_US"),
    ]
    .concat()
}

/// The text of a `close`; of other methods their numbers.
fn close_text(method: &Method) -> String {
    match method.arguments.get(2) {
        Some(&length) if method.number == 50 || method.number == 40 => {
            String::from_utf8_lossy(&method.arguments[3..3 + usize::from(length)]).into_owned()
        }
        _ => format!("method {}.{}", method.class, method.number),
    }
}
