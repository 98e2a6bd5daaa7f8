//! The protocol machine with a driver that answers everything a client asks for, and looks at every message that comes in.

use std::sync::Arc;

use bytes::BytesMut;
use everack_amqp::Millis;
use everack_amqp::connection::{Connection, Delivery};
use everack_amqp::content::Batch;
use everack_amqp::encoding::DeliverHead;
use everack_amqp::event::Event;
use everack_amqp::settings::Settings;
use everack_amqp::wire::frame;
use everack_amqp::wire::method::{Method, channel, connection};
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::Table;

/// The most that may wait in the read buffer: a few frames.
const HELD_BYTES_MAX: usize = 300_000;

/// Whatever a client sends once it is in, nothing panics and nothing grows without bound.
pub fn check(bytes: &[u8]) {
    play(&mut running(), &[bytes]);
}

/// The same bytes mean the same, wherever the network cuts them. Two bytes in front say where.
pub fn check_cuts(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first_chunk::<2>() else {
        return;
    };
    let cut = usize::from(u16::from_le_bytes(*cut)) % (bytes.len() + 1);
    let parts = play(&mut running(), &[&bytes[..cut], &bytes[cut..]]);
    assert_eq!(play(&mut running(), &[bytes]), parts);
}

/// Hands `pieces` to a connection; gives what happened, one line a message or event.
pub fn play(connection: &mut Connection, pieces: &[&[u8]]) -> Vec<String> {
    let mut input = BytesMut::new();
    let mut happened = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(event) = connection.receive(&mut input, Millis(0)) {
            happened.extend(describe(&event));
            answer(connection, &event);
        }
        take_output(connection);
        assert!(input.len() < HELD_BYTES_MAX, "{} bytes are held", input.len());
    }
    happened
}

/// A connection that was just accepted.
pub fn accepted() -> Connection {
    Connection::new(Arc::new(Settings::default()), Millis(0))
}

/// A connection with a virtual host and channels 1 and 2 open; frames are at most 4096 bytes.
pub fn running() -> Connection {
    let mut peer = accepted();
    let call = |peer: &mut Connection, channel, method: Method| {
        let mut bytes = Vec::new();
        frame::write_method(&mut bytes, channel, &method);
        peer.receive(&mut BytesMut::from(&bytes[..]), Millis(0));
    };
    peer.receive(&mut BytesMut::from(&frame::PROTOCOL_HEADER[..]), Millis(0));
    call(&mut peer, 0, start_ok().into());
    peer.authenticated();
    let tune_ok = connection::TuneOk {
        channel_max: 100,
        frame_max: 4096,
        heartbeat: 0,
    };
    call(&mut peer, 0, tune_ok.into());
    let open = connection::Open {
        virtual_host: short("/"),
    };
    call(&mut peer, 0, open.into());
    peer.opened();
    call(&mut peer, 1, channel::Open {}.into());
    call(&mut peer, 2, channel::Open {}.into());
    peer.output().clear();
    peer
}

/// The login of `guest`.
pub fn start_ok() -> connection::StartOk {
    connection::StartOk {
        client_properties: Table::new(),
        mechanism: short("PLAIN"),
        response: b"\0guest\0guest".to_vec(),
        locale: short("en_US"),
    }
}

fn short(text: &str) -> ShortString {
    ShortString::new(text).expect("a text in code is short")
}

fn answer(connection: &mut Connection, event: &Event) {
    match event {
        Event::Authenticate { .. } => connection.authenticated(),
        Event::Open { .. } => connection.opened(),
        Event::ChannelCloseRequested { channel, .. } => connection.channel_closed(*channel),
        Event::CloseRequested { .. } => connection.closed(),
        Event::Publish {
            channel,
            batch,
            first_number,
            ..
        } => give_back(connection, *channel, batch, *first_number),
        _ => {}
    }
    take_output(connection);
}

/// What was published is confirmed, and comes back on channel 2 to be settled.
fn give_back(connection: &mut Connection, channel: u16, batch: &Batch, first_number: u64) {
    let last = first_number + batch.len() as u64 - 1;
    if first_number != 0 {
        connection.expect_confirm(channel, last, 0);
    }
    let delivery = Delivery {
        source: 1,
        first: last,
        no_ack: false,
        redelivered: false,
    };
    let head = DeliverHead::new(2, b"tag");
    connection.deliver(&head, batch, 0, batch.len() as u16, delivery);
    connection.flush_confirms();
}

/// What is sent are whole frames, or our protocol header to somebody who speaks another.
fn take_output(connection: &mut Connection) {
    let out = connection.output();
    let mut rest = out.strip_prefix(&frame::PROTOCOL_HEADER).unwrap_or(&out[..]);
    while let Some(head) = frame::Head::read(rest) {
        assert_eq!(
            rest[head.frame_bytes() - 1],
            frame::END,
            "what is sent are frames"
        );
        rest = &rest[head.frame_bytes()..];
    }
    assert!(rest.is_empty(), "what is sent are whole frames");
    out.clear();
}

fn describe(event: &Event) -> Vec<String> {
    match event {
        Event::Publish {
            channel,
            batch,
            first_number,
            ..
        } => (0..batch.len())
            .map(|index| message(batch, index, *channel, *first_number))
            .collect(),
        Event::Settle {
            channel,
            outcome,
            settled,
            ..
        } => settled
            .iter()
            .flat_map(|range| (0..u64::from(range.count)).map(|index| range.tag + index))
            .map(|tag| format!("{channel} {outcome:?} {tag}"))
            .collect(),
        other => vec![format!("{other:?}")],
    }
}

fn message(batch: &Batch, index: usize, channel: u16, first_number: u64) -> String {
    Properties::decode(batch.properties(index)).expect("properties are checked when they come in");
    let number = if first_number == 0 {
        0
    } else {
        first_number + index as u64
    };
    let (address, header, body) = (batch.address(index), batch.header(index), batch.body(index));
    assert_eq!(header[4..12], (body.len() as u64).to_be_bytes());
    assert_eq!(
        address.len(),
        2 + batch.exchange(index).len() + batch.routing_key(index).len()
    );
    format!("{channel} {number} {address:?} {header:?} {body:?}")
}
