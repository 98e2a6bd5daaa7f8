//! A connection over a socket of this machine instead of an address. The broker asks the system who has connected; there is no secret.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Either, LazyBuffers, NextTimeout, Transport};

/// Connects to a socket instead of an address.
#[derive(Debug)]
pub(super) struct Connector {
    path: PathBuf,
}

impl Connector {
    pub(super) fn to(path: PathBuf) -> Self {
        Self { path }
    }
}

impl<In: Transport> ureq::unversioned::transport::Connector<In> for Connector {
    type Out = Either<In, Stream>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let socket = UnixStream::connect(&self.path)?;
        let config = &details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(Stream { socket, buffers })))
    }
}

/// A connection over a socket.
#[derive(Debug)]
pub(super) struct Stream {
    socket: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for Stream {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.socket.set_write_timeout(limit(timeout))?;
        let output = &self.buffers.output()[..amount];
        match self.socket.write_all(output) {
            // The broker has answered without hearing us out; what it says comes next.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|error| late(error, timeout)),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.socket.set_read_timeout(limit(timeout))?;
        let input = self.buffers.input_append_buf();
        let read = loop {
            match self.socket.read(input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let read = read.map_err(|error| late(error, timeout))?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        // A connection is not taken up again: a new one to this machine costs nothing.
        false
    }
}

/// What the system takes for a limit: none at all, or more than nothing.
fn limit(timeout: NextTimeout) -> Option<Duration> {
    timeout.not_zero().map(|left| *left)
}

fn late(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}
