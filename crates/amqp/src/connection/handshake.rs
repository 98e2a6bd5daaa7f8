//! From the protocol header to an open virtual host: what is offered, what is negotiated, what is asked of
//! the driver.

use bytes::{Buf, BytesMut};

use super::{Capabilities, Connection, Fault, Phase, Step};
use crate::credentials::{Credentials, Mechanism};
use crate::error::{Error, ReplyCode};
use crate::event::{Event, Failure};
use crate::settings::Settings;
use crate::wire::frame;
use crate::wire::method::{Method, connection};
use crate::wire::primitive::ShortString;
use crate::wire::table::{Table, Value};

const START_OK: (u16, u16) = (10, 11);
const TUNE: (u16, u16) = (10, 30);

/// Protocol headers of 0-9 and of what most libraries send for 0-8.
const OLD_HEADERS: [[u8; 8]; 2] = [frame::PROTOCOL_HEADER_0_9, *b"AMQP\x01\x01\x08\x00"];

impl Connection {
    pub(super) fn protocol_header(&mut self, input: &mut BytesMut) -> Result<Step, Fault> {
        let Some(header) = input.first_chunk::<8>().copied() else {
            return Ok(Step::Wait(frame::PROTOCOL_HEADER.len()));
        };
        input.advance(header.len());
        if header != frame::PROTOCOL_HEADER && !OLD_HEADERS.contains(&header) {
            self.out.extend_from_slice(&frame::PROTOCOL_HEADER);
            self.become_deaf();
            return Ok(Step::Event(Event::Failed {
                reason: Failure::ProtocolHeader(header),
            }));
        }
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: self.settings.server_properties.clone(),
            mechanisms: if self.external {
                Mechanism::OFFERED_WITH_EXTERNAL.into()
            } else {
                Mechanism::OFFERED.into()
            },
            locales: b"en_US".to_vec(),
        };
        self.send(0, &start.into());
        self.phase = Phase::StartOk;
        Ok(Step::Again)
    }

    /// A method on channel 0 that belongs to the handshake.
    pub(super) fn handshake_method(&mut self, method: Method) -> Result<Step, Fault> {
        match (self.phase, method) {
            (Phase::StartOk, Method::ConnectionStartOk(start_ok)) => self.start_ok(start_ok),
            (Phase::TuneOk, Method::ConnectionTuneOk(tune_ok)) => self.tune_ok(&tune_ok),
            (Phase::Open, Method::ConnectionOpen(open)) => {
                self.phase = Phase::Opening;
                Ok(Step::Event(Event::Open {
                    vhost: open.virtual_host,
                }))
            }
            (phase, method) => {
                let text = format!("unexpected method in connection state {}", phase.name());
                Err(Fault::Connection(
                    Error::new(ReplyCode::ChannelError, text).caused_by(method.ids()),
                ))
            }
        }
    }

    fn start_ok(&mut self, start_ok: connection::StartOk) -> Result<Step, Fault> {
        let refuse = |code, text| Fault::Connection(Error::new(code, text).caused_by(START_OK));
        let known = Mechanism::named(&start_ok.mechanism);
        let offered = known.filter(|mechanism| *mechanism != Mechanism::External || self.external);
        let mechanism = offered.ok_or_else(|| {
            let text = format!("unknown authentication mechanism '{}'", start_ok.mechanism);
            refuse(ReplyCode::CommandInvalid, text)
        })?;
        self.mechanism = mechanism.name();
        self.capabilities = Capabilities::of(&start_ok.client_properties);
        let credentials = Credentials::parse(mechanism, &start_ok.response).ok_or_else(|| {
            // The response is not repeated in the text: there is a password in it.
            refuse(
                ReplyCode::SyntaxError,
                format!("invalid {} response", mechanism.name()),
            )
        })?;
        self.phase = Phase::Authenticating;
        Ok(Step::Event(Event::Authenticate {
            credentials,
            client_properties: start_ok.client_properties,
            locale: start_ok.locale,
        }))
    }

    /// From here on the client may log in as who the connection says it is. Counts until `connection.start` is sent.
    pub fn offer_external(&mut self) {
        self.external = true;
    }

    /// The user is who it says: negotiates limits next.
    pub fn authenticated(&mut self) {
        if self.phase != Phase::Authenticating {
            return;
        }
        let tune = connection::Tune {
            channel_max: self.settings.channel_max,
            frame_max: self.settings.frame_bytes_max,
            heartbeat: self.settings.heartbeat_s,
        };
        self.send(0, &tune.into());
        self.phase = Phase::TuneOk;
    }

    /// The user is not let in. A client that understands it is told so; any other sees the connection end.
    pub fn refuse_authentication(&mut self) {
        if !self.capabilities.authentication_failure_close {
            return self.finish();
        }
        let text = format!(
            "Login was refused using authentication mechanism {}. For details see the broker logfile.",
            self.mechanism
        );
        self.fail(0, Error::new(ReplyCode::AccessRefused, text));
    }

    fn tune_ok(&mut self, tune_ok: &connection::TuneOk) -> Result<Step, Fault> {
        let (frame_max, channel_max) = negotiate(&self.settings, tune_ok).map_err(Fault::Connection)?;
        self.frame_max = frame_max;
        self.channel_max = channel_max;
        self.liveness.start(tune_ok.heartbeat, self.now);
        self.phase = Phase::Open;
        Ok(Step::Again)
    }

    /// The virtual host is open: requests are served from here on.
    pub fn opened(&mut self) {
        if self.phase == Phase::Opening {
            self.send(0, &connection::OpenOk {}.into());
            self.phase = Phase::Running;
            self.liveness.start(self.liveness.interval_s(), self.now);
        }
    }

    /// The virtual host cannot be opened. `text` is RabbitMQ's, such as `vhost nope not found`.
    pub fn refuse_vhost(&mut self, text: &str) {
        let open = (connection::Open::CLASS, connection::Open::METHOD);
        self.fail(0, Error::new(ReplyCode::NotAllowed, text).caused_by(open));
    }

    /// Tells a client that understands it that its publishes are not read until further notice.
    pub fn blocked(&mut self, reason: &str) {
        if self.capabilities.connection_blocked && self.phase == Phase::Running {
            self.send(
                0,
                &connection::Blocked {
                    reason: ShortString::shortened(reason),
                }
                .into(),
            );
        }
    }

    /// Takes [`Connection::blocked`] back.
    pub fn unblocked(&mut self) {
        if self.capabilities.connection_blocked && self.phase == Phase::Running {
            self.send(0, &connection::Unblocked {}.into());
        }
    }
}

impl Phase {
    /// RabbitMQ's name of the state, for texts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::ProtocolHeader => "pre_init",
            Phase::StartOk => "starting",
            Phase::Authenticating => "securing",
            Phase::TuneOk => "tuning",
            Phase::Open | Phase::Opening => "opening",
            Phase::Running => "running",
            Phase::CloseRequested => "closing",
            Phase::CloseSent | Phase::Deaf | Phase::Finished => "closed",
        }
    }
}

impl Capabilities {
    fn of(client_properties: &Table) -> Capabilities {
        let Some(Value::Table(capabilities)) = client_properties.get("capabilities") else {
            return Capabilities::default();
        };
        let has = |name| capabilities.get(name) == Some(&Value::Bool(true));
        Capabilities {
            authentication_failure_close: has("authentication_failure_close"),
            connection_blocked: has("connection.blocked"),
            consumer_cancel_notify: has("consumer_cancel_notify"),
        }
    }
}

/// Frame size and channel number that both sides agree on. RabbitMQ takes what the client says, as long as it
/// is within what was proposed; 0 means no limit.
fn negotiate(settings: &Settings, tune_ok: &connection::TuneOk) -> Result<(u32, u16), Error> {
    let check = |name: &str, min: u32, max: u32, value: u32| {
        let (word, bound, limit) = if value != 0 && value < min {
            ("lower", "minimum", min)
        } else if max != 0 && (value == 0 || value > max) {
            ("higher", "maximum", max)
        } else {
            return Ok(value);
        };
        let unlimited = if value == 0 { " (no limit)" } else { "" };
        let text = format!(
            "negotiated {name} = {value}{unlimited} is {word} than the {bound} allowed value ({limit})"
        );
        Err(Error::new(ReplyCode::NotAllowed, text).caused_by(TUNE))
    };
    let frame_max = check(
        "frame_max",
        frame::FRAME_MIN_BYTES,
        settings.frame_bytes_max,
        tune_ok.frame_max,
    )?;
    check(
        "channel_max",
        1,
        u32::from(settings.channel_max),
        u32::from(tune_ok.channel_max),
    )?;
    Ok((frame_max, tune_ok.channel_max))
}
