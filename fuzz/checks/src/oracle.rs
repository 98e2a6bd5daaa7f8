//! `amq-protocol`, another implementation of the same bytes, as the oracle of ours.
//!
//! Where it is known to differ it is not asked: it wants names to be UTF-8 (so only plain ASCII is shown to it where that
//! decides), keeps tables as sorted maps, knows the type octet `U` as RabbitMQ does not, has no limit of depth, and forgets
//! what it considers constant (the ticket, the prefetch size).

use std::io::Cursor;

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};
use everack_amqp::wire::primitive::Malformed;
use everack_amqp::wire::table::{Table, Value};

/// Their reading of a whole frame; `None` when they refuse it or something is left over.
pub fn read(frame: &[u8]) -> Option<AMQPFrame> {
    match parse_frame(frame) {
        Ok(([], read)) => Some(read),
        _ => None,
    }
}

/// A frame as they write it.
pub fn written(frame: &AMQPFrame) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 17];
    let context = WriteContext::from(Cursor::new(&mut buffer[..]));
    let written = gen_frame(frame)(context).map(WriteContext::into_inner);
    let (_, length) = written.expect("what was read fits the buffer");
    buffer.truncate(length as usize);
    buffer
}

/// Whether ours may refuse what theirs takes.
pub fn may_refuse(malformed: Malformed) -> bool {
    matches!(malformed, Malformed::FieldType(b'U') | Malformed::Depth)
}

/// Whether a table survives their sorted map: every name once, in order, and UTF-8.
pub fn is_sorted(table: &Table) -> bool {
    let names: Vec<&[u8]> = table.iter().map(|(name, _)| name.as_bytes()).collect();
    let text = names.iter().all(|name| std::str::from_utf8(name).is_ok());
    text && names.is_sorted_by(|left, right| left < right) && table.iter().all(|(_, value)| holds(value))
}

fn holds(value: &Value) -> bool {
    match value {
        Value::Table(table) => is_sorted(table),
        Value::Array(values) => values.iter().all(holds),
        _ => true,
    }
}

/// Our table as one of theirs; of equal names the last counts.
pub fn table(table: &Table) -> FieldTable {
    let mut theirs = FieldTable::default();
    for (name, value) in table.iter() {
        theirs.insert(name.to_string().into(), self::value(value));
    }
    theirs
}

fn value(value: &Value) -> AMQPValue {
    match value {
        Value::Bool(it) => AMQPValue::Boolean(*it),
        Value::I8(it) => AMQPValue::ShortShortInt(*it),
        Value::U8(it) => AMQPValue::ShortShortUInt(*it),
        Value::I16(it) => AMQPValue::ShortInt(*it),
        Value::U16(it) => AMQPValue::ShortUInt(*it),
        Value::I32(it) => AMQPValue::LongInt(*it),
        Value::U32(it) => AMQPValue::LongUInt(*it),
        Value::I64(it) => AMQPValue::LongLongInt(*it),
        Value::F32(it) => AMQPValue::Float(*it),
        Value::F64(it) => AMQPValue::Double(*it),
        Value::Decimal { scale, value } => AMQPValue::DecimalValue(DecimalValue {
            scale: *scale,
            value: *value,
        }),
        Value::String(it) => AMQPValue::LongString(it.clone().into()),
        Value::Bytes(it) => AMQPValue::ByteArray(it.clone().into()),
        Value::Timestamp(it) => AMQPValue::Timestamp(*it),
        Value::Array(it) => {
            AMQPValue::FieldArray(FieldArray::from(it.iter().map(self::value).collect::<Vec<_>>()))
        }
        Value::Table(it) => AMQPValue::FieldTable(table(it)),
        Value::Void => AMQPValue::Void,
    }
}
