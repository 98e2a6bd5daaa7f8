//! Field tables and properties: building, checking and writing agree with each other and with the oracle.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::types::parsing::parse_field_table;
use everack_amqp::wire::frame;
use everack_amqp::wire::primitive::Malformed;
use everack_amqp::wire::properties::{self, Properties};
use everack_amqp::wire::table::{self, Table, Value};

use crate::oracle;

/// The first byte says what the rest is: a table (even) or properties (odd).
pub fn check(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    if kind.is_multiple_of(2) {
        check_table(bytes);
    } else {
        check_properties(bytes);
    }
}

fn check_table(bytes: &[u8]) {
    let decoded = Table::decode(bytes);
    assert_eq!(
        decoded.as_ref().err(),
        table::validate(bytes).err().as_ref(),
        "building and checking agree"
    );
    ask_about_table(bytes, &decoded);
    // Also in a table that is malformed further on.
    let _ = table::find_text(bytes, b"traceparent");
    let Ok(table) = decoded else { return };
    find_in_table(bytes, &table);
    assert!(table.len() <= bytes.len() / 2, "an entry has at least two bytes");
    let mut encoded = Vec::new();
    table.encode(&mut encoded);
    let again = Table::decode(&encoded[4..]).expect("what we write we read");
    // Not compared as values: what is not a number differs from itself.
    assert_eq!(format!("{again:?}"), format!("{table:?}"));
    let mut twice = Vec::new();
    again.encode(&mut twice);
    assert_eq!(twice, encoded, "what is read is written as it was");
    assert_eq!(
        encoded.len(),
        4 + bytes.len(),
        "reading and writing keeps the length"
    );
}

/// What is found without building is what is first in what was built.
fn find_in_table(bytes: &[u8], table: &Table) {
    // Each look goes through the whole table.
    for (name, _) in table.iter().take(16) {
        let mut fields = table.iter();
        let first = fields.find(|(other, _)| other.eq_ignore_ascii_case(name));
        let text = first.and_then(|(_, value)| match value {
            Value::String(text) | Value::Bytes(text) => Some(&text[..]),
            _ => None,
        });
        assert_eq!(table::find_text(bytes, name), text, "finding and building agree");
    }
}

fn ask_about_table(bytes: &[u8], ours: &Result<Table, Malformed>) {
    if matches!(ours, Err(Malformed::Depth)) {
        return;
    }
    let whole = [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let theirs = match parse_field_table(&whole[..]) {
        Ok(([], table)) => Some(table),
        _ => None,
    };
    match (ours, theirs) {
        (Ok(ours), Some(theirs)) => {
            assert_eq!(format!("{:?}", oracle::table(ours)), format!("{theirs:?}"));
        }
        (Ok(_), None) => assert!(!bytes.is_ascii(), "the oracle refuses a table that we take"),
        (Err(malformed), Some(_)) => {
            assert!(oracle::may_refuse(*malformed), "we refuse a table: {malformed}");
        }
        (Err(_), None) => {}
    }
}

fn check_properties(bytes: &[u8]) {
    let decoded = Properties::decode(bytes);
    assert_eq!(
        decoded.as_ref().err(),
        properties::validate(bytes).err().as_ref(),
        "building and checking agree"
    );
    ask_about_properties(bytes, &decoded);
    let Ok(properties) = decoded else { return };
    let mut encoded = Vec::new();
    properties.encode(&mut encoded);
    let again = Properties::decode(&encoded).expect("what we write we read");
    assert_eq!(format!("{again:?}"), format!("{properties:?}"));
}

fn ask_about_properties(bytes: &[u8], ours: &Result<Properties, Malformed>) {
    if matches!(ours, Err(Malformed::Depth | Malformed::PropertyFlags(_))) {
        return;
    }
    let mut header = Vec::new();
    frame::write(&mut header, frame::HEADER, 1, |out| {
        out.extend_from_slice(&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(bytes);
    });
    let theirs = oracle::read(&header);
    match (ours, &theirs) {
        (Ok(ours), Some(AMQPFrame::Header(1, _))) => {
            if ours.headers.as_ref().is_none_or(oracle::is_sorted) {
                let mut encoded = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                ours.encode(&mut encoded);
                let written = theirs.as_ref().map(oracle::written).unwrap_or_default();
                assert_eq!(written[7..written.len() - 1], encoded, "both write the same");
            }
        }
        (Ok(_), _) => assert!(!bytes.is_ascii(), "the oracle refuses properties that we take"),
        (Err(malformed), Some(_)) => {
            assert!(
                oracle::may_refuse(*malformed),
                "we refuse properties: {malformed}"
            );
        }
        (Err(_), None) => {}
    }
}
