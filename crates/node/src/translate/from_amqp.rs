//! From AMQP's tables and errors' origins to the broker's.

use everack_amqp::wire::table::{Table, Value as WireValue};
use everack_broker::arguments::{Arguments, Value};
use everack_broker::name::Name;

/// A table as the broker keeps it: the order and the types of its values are kept.
pub fn arguments(table: &Table) -> Arguments {
    table
        .iter()
        .map(|(name, wire)| (Name::new(name.as_bytes()), value(wire)))
        .collect()
}

fn value(wire: &WireValue) -> Value {
    match wire {
        WireValue::Bool(bool) => Value::Bool(*bool),
        WireValue::I8(byte) => Value::Byte(*byte),
        WireValue::U8(byte) => Value::UnsignedByte(*byte),
        WireValue::I16(short) => Value::Short(*short),
        WireValue::U16(short) => Value::UnsignedShort(*short),
        WireValue::I32(int) => Value::Int(*int),
        WireValue::U32(int) => Value::UnsignedInt(*int),
        WireValue::I64(long) => Value::Long(*long),
        WireValue::F32(float) => Value::Float(float.to_bits()),
        WireValue::F64(double) => Value::Double(double.to_bits()),
        WireValue::Decimal { scale, value } => Value::Decimal {
            scale: *scale,
            digits: *value,
        },
        WireValue::String(bytes) => Value::LongString(bytes.as_slice().into()),
        WireValue::Bytes(bytes) => Value::Binary(bytes.as_slice().into()),
        WireValue::Timestamp(seconds) => Value::Timestamp(*seconds),
        WireValue::Table(table) => Value::Table(arguments(table)),
        WireValue::Array(values) => Value::Array(values.iter().map(value).collect()),
        WireValue::Void => Value::Void,
    }
}

/// The name that RabbitMQ's texts give to the type of a value.
pub fn type_name(wire: &WireValue) -> &'static str {
    value(wire).type_name()
}
