//! One nonblocking connection: bytes in, control bytes out, heartbeats. Blocks of messages go around it, straight
//! from the producer's block to the socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::wire::{self, id};

/// How long a connection may take to say goodbye.
const FAREWELL: Duration = Duration::from_millis(500);

/// A connection after its handshake.
pub struct Link {
    stream: TcpStream,
    /// Bytes received of a frame that is not complete yet.
    leftover: Vec<u8>,
    out: Vec<u8>,
    out_sent: usize,
    /// 0: no heartbeats were agreed.
    heartbeat_ns: u64,
    sent_at: u64,
    received_at: u64,
}

impl Link {
    /// Takes over a connection whose handshake left `leftover` unread.
    pub fn new(stream: TcpStream, leftover: Vec<u8>, heartbeat_seconds: u16, now: u64) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            leftover,
            out: Vec::new(),
            out_sent: 0,
            heartbeat_ns: u64::from(heartbeat_seconds) * 1_000_000_000,
            sent_at: now,
            received_at: now,
        })
    }

    /// The socket, for epoll.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Fills `buffer` with what was left over and what has come in since; answers how many bytes there are.
    /// `None`: nothing new. The end of the stream is an error.
    pub fn receive(&mut self, buffer: &mut Vec<u8>, now: u64) -> io::Result<Option<usize>> {
        let left = self.leftover.len();
        if buffer.len() < left * 2 {
            buffer.resize(left * 2, 0);
        }
        match self.stream.read(&mut buffer[left..]) {
            Ok(0) => Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the broker ended the connection",
            )),
            Ok(count) => {
                buffer[..left].copy_from_slice(&self.leftover);
                self.received_at = now;
                Ok(Some(left + count))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps what the scanner could not use yet.
    pub fn keep(&mut self, rest: &[u8]) {
        self.leftover.clear();
        self.leftover.extend_from_slice(rest);
    }

    /// Where control frames (acks, heartbeats) are put; [`Link::flush`] sends them.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends what waits. True when nothing waits any more.
    pub fn flush(&mut self, now: u64) -> io::Result<bool> {
        while self.out_sent < self.out.len() {
            match self.stream.write(&self.out[self.out_sent..]) {
                Ok(count) => {
                    self.out_sent += count;
                    self.sent_at = now;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.out_sent = 0;
        Ok(true)
    }

    /// Sends bytes past the control frames; the caller has flushed those. Answers how many went, 0 when full.
    pub fn send(&mut self, bytes: &[u8], now: u64) -> io::Result<usize> {
        debug_assert!(self.out.is_empty(), "frames must not be torn apart");
        match self.stream.write(bytes) {
            Ok(count) => {
                self.sent_at = now;
                Ok(count)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Puts a heartbeat into `out` when one is due; an error when the broker has been silent too long.
    pub fn tick(&mut self, now: u64) -> io::Result<()> {
        if self.heartbeat_ns == 0 {
            return Ok(());
        }
        if now.saturating_sub(self.received_at) > 2 * self.heartbeat_ns {
            return Err(io::Error::new(
                ErrorKind::TimedOut,
                "the broker missed two heartbeats",
            ));
        }
        if now.saturating_sub(self.sent_at) > self.heartbeat_ns / 2 && self.out.is_empty() {
            self.out.extend_from_slice(wire::HEARTBEAT);
        }
        Ok(())
    }

    /// Sends `torn` (the rest of a message half sent) and what waits, says `connection.close`, and reads until the
    /// broker hangs up, so that it sees our last acks and no broken connection. Errors no longer matter.
    pub fn farewell(&mut self, torn: &[u8]) {
        let mut polite = || -> io::Result<()> {
            let until = Instant::now() + FAREWELL;
            self.stream.set_nonblocking(false)?;
            self.stream.set_write_timeout(Some(FAREWELL))?;
            self.stream.set_read_timeout(Some(FAREWELL))?;
            self.stream.write_all(torn)?;
            self.stream.write_all(&self.out[self.out_sent..])?;
            let mut close = Vec::new();
            wire::method(&mut close, 0, id::CONNECTION_CLOSE, |out| {
                out.extend_from_slice(&200_u16.to_be_bytes());
                wire::short_string(out, b"done");
                out.extend_from_slice(&[0; 4]);
            });
            self.stream.write_all(&close)?;
            let mut bytes = [0; 16 * 1024];
            while Instant::now() < until && self.stream.read(&mut bytes)? > 0 {}
            Ok(())
        };
        let _ = polite();
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn pair(heartbeat_seconds: u16) -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let ours =
            TcpStream::connect(listener.local_addr().expect("it has an address")).expect("it connects");
        let (theirs, _) = listener.accept().expect("it is accepted");
        (
            Link::new(ours, Vec::new(), heartbeat_seconds, 0).expect("a link"),
            theirs,
        )
    }

    #[test]
    fn a_quiet_link_sends_a_heartbeat_at_half_time() {
        let (mut link, mut theirs) = pair(10);
        link.tick(4 * SECOND).expect("nothing is due");
        assert!(link.out().is_empty());
        link.tick(6 * SECOND).expect("a heartbeat is due");
        assert!(link.flush(6 * SECOND).expect("it is sent"));
        let mut bytes = [0; 8];
        theirs.read_exact(&mut bytes).expect("it arrives");
        assert_eq!(&bytes, wire::HEARTBEAT);
        link.tick(7 * SECOND).expect("the next one is not due yet");
        assert!(link.out().is_empty());
    }

    #[test]
    fn a_broker_that_misses_two_heartbeats_is_dead() {
        let (mut link, _theirs) = pair(10);
        link.tick(20 * SECOND).expect("two are not missed yet");
        assert!(link.tick(21 * SECOND).is_err());
        let (mut link, _theirs) = pair(0);
        link.tick(1_000 * SECOND).expect("none were agreed");
    }
}
