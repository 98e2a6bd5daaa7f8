//! A driver that answers everything a client asks for, and checks every message that comes in.

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

/// Hands `pieces` to a connection with channels 1 and 2 open; gives what happened, one line a message or event.
pub fn play(pieces: &[&[u8]]) -> Vec<String> {
    let mut connection = running();
    let mut input = BytesMut::new();
    let mut happened = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(event) = connection.receive(&mut input, Millis(0)) {
            happened.extend(describe(&event));
            answer(&mut connection, &event);
        }
        assert!(input.len() < 300_000, "{} bytes are held", input.len());
    }
    happened
}

fn running() -> Connection {
    let mut peer = Connection::new(Arc::new(Settings::default()), Millis(0));
    let short = |text| ShortString::new(text).unwrap();
    let call = |peer: &mut Connection, channel, method: Method| {
        let mut bytes = Vec::new();
        frame::write_method(&mut bytes, channel, &method);
        peer.receive(&mut BytesMut::from(&bytes[..]), Millis(0));
    };
    peer.receive(&mut BytesMut::from(&frame::PROTOCOL_HEADER[..]), Millis(0));
    let start_ok = connection::StartOk {
        client_properties: Table::new(),
        mechanism: short("PLAIN"),
        response: b"\0guest\0guest".to_vec(),
        locale: short("en_US"),
    };
    call(&mut peer, 0, start_ok.into());
    peer.authenticated();
    call(
        &mut peer,
        0,
        connection::TuneOk {
            channel_max: 100,
            frame_max: 4096,
            heartbeat: 0,
        }
        .into(),
    );
    call(
        &mut peer,
        0,
        connection::Open {
            virtual_host: short("/"),
        }
        .into(),
    );
    peer.opened();
    call(&mut peer, 1, channel::Open {}.into());
    call(&mut peer, 2, channel::Open {}.into());
    peer
}

fn answer(connection: &mut Connection, event: &Event) {
    match event {
        Event::ChannelCloseRequested { channel, .. } => connection.channel_closed(*channel),
        Event::CloseRequested { .. } => connection.closed(),
        Event::Publish {
            channel,
            batch,
            first_number,
            ..
        } => {
            let last = first_number + batch.len() as u64 - 1;
            if *first_number != 0 {
                connection.expect_confirm(*channel, last, 0);
            }
            // What was published comes back, to be settled.
            let delivery = Delivery {
                source: 1,
                first: last,
                no_ack: false,
                redelivered: false,
            };
            connection.deliver(
                &DeliverHead::new(2, b"tag"),
                batch,
                0,
                batch.len() as u16,
                delivery,
            );
            connection.flush_confirms();
        }
        _ => {}
    }
    let out = connection.output();
    let mut rest = &out[..];
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
