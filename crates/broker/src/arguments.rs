//! Arguments of exchanges, queues, bindings and consumers: an ordered list of names and values.
//!
//! The values carry their AMQP type, since clients read the type's name in the text of a refusal and since a binding with
//! another type is another binding. What the arguments mean is not decided here (see `catalog::queue_arguments` and
//! `routing::headers`), nor how they look on the wire.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::Name;

/// An ordered list of named values. Cloning costs one counter. Most things are declared without any, so that no values take no
/// more than this one word.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arguments(
    /// None if there are none.
    Option<Arc<Values>>,
);

/// Boxed once more, so that what points to them is one word.
type Values = Box<[(Name, Value)]>;

/// A value of any type that an AMQP table can hold.
///
/// Part of the log's format by way of [`crate::catalog::Fact`]: variants are appended, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    /// `V`: nothing.
    Void,
    /// `t`.
    Bool(bool),
    /// `b`: signed, 8 bits.
    Byte(i8),
    /// `B`.
    UnsignedByte(u8),
    /// `s`: signed, 16 bits.
    Short(i16),
    /// `u`.
    UnsignedShort(u16),
    /// `I`: signed, 32 bits.
    Int(i32),
    /// `i`.
    UnsignedInt(u32),
    /// `l`: signed, 64 bits.
    Long(i64),
    /// `f`: the bits of a 32-bit float, so that values have an order and can be hashed.
    Float(u32),
    /// `d`: the bits of a 64-bit float.
    Double(u64),
    /// `D`.
    Decimal {
        /// How many digits stand behind the point.
        scale: u8,
        /// All digits as one number.
        digits: u32,
    },
    /// `S`.
    LongString(Arc<[u8]>),
    /// `x`.
    Binary(Arc<[u8]>),
    /// `T`: seconds since 1970.
    Timestamp(u64),
    /// `F`.
    Table(Arguments),
    /// `A`.
    Array(Arc<[Value]>),
}

impl Arguments {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values().len()
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter()
            .find(|(candidate, _)| candidate.as_bytes() == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// In the order in which they were given.
    pub fn iter(&self) -> std::slice::Iter<'_, (Name, Value)> {
        self.values().iter()
    }

    /// The same values in the order of their names; equal names keep their order.
    pub fn sorted(&self) -> Arguments {
        if self.values().is_sorted_by(|left, right| left.0 <= right.0) {
            return self.clone();
        }
        let mut sorted = self.values().to_vec();
        sorted.sort_by(|left, right| left.0.cmp(&right.0));
        sorted.into()
    }

    fn values(&self) -> &[(Name, Value)] {
        self.0.as_ref().map_or(&[], |values| values)
    }
}

impl<N: Into<Name>> FromIterator<(N, Value)> for Arguments {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(values: I) -> Self {
        let values = values.into_iter().map(|(name, value)| (name.into(), value));
        values.collect::<Vec<_>>().into()
    }
}

impl From<Vec<(Name, Value)>> for Arguments {
    fn from(values: Vec<(Name, Value)>) -> Self {
        let values = Some(values).filter(|values| !values.is_empty());
        Self(values.map(|values| Arc::new(values.into_boxed_slice())))
    }
}

impl fmt::Debug for Arguments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Arguments").field(&self.values()).finish()
    }
}

/// A sequence of the values.
impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.values().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<(Name, Value)>::deserialize(deserializer).map(Self::from)
    }
}

impl<'a> IntoIterator for &'a Arguments {
    type Item = &'a (Name, Value);
    type IntoIter = std::slice::Iter<'a, (Name, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Value {
    /// The name that RabbitMQ gives to the type, as its texts show it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Void => "void",
            Value::Bool(_) => "bool",
            Value::Byte(_) => "byte",
            Value::UnsignedByte(_) => "unsignedbyte",
            Value::Short(_) => "short",
            Value::UnsignedShort(_) => "unsignedshort",
            Value::Int(_) => "signedint",
            Value::UnsignedInt(_) => "unsignedint",
            Value::Long(_) => "long",
            Value::Float(_) => "float",
            Value::Double(_) => "double",
            Value::Decimal { .. } => "decimal",
            Value::LongString(_) => "longstr",
            Value::Binary(_) => "binary",
            Value::Timestamp(_) => "timestamp",
            Value::Table(_) => "table",
            Value::Array(_) => "array",
        }
    }

    /// The value of an integer of any width; none for every other type, timestamps included.
    pub fn as_integer(&self) -> Option<i64> {
        Some(match *self {
            Value::Byte(value) => value.into(),
            Value::UnsignedByte(value) => value.into(),
            Value::Short(value) => value.into(),
            Value::UnsignedShort(value) => value.into(),
            Value::Int(value) => value.into(),
            Value::UnsignedInt(value) => value.into(),
            Value::Long(value) => value,
            _ => return None,
        })
    }

    /// The value of a float of either width.
    pub fn as_float(&self) -> Option<f64> {
        match *self {
            Value::Float(bits) => Some(f32::from_bits(bits).into()),
            Value::Double(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    /// The bytes of a long string (not of a binary).
    pub fn as_long_string(&self) -> Option<&[u8]> {
        match self {
            Value::LongString(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::LongString(text.as_bytes().into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Value::Int(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Long(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Double(value.to_bits())
    }
}

#[cfg(test)]
impl Value {
    /// A value of each type that a table can hold.
    pub(crate) fn one_of_each_type() -> Vec<Value> {
        let decimal = Value::Decimal { scale: 1, digits: 5 };
        vec![
            Value::Void,
            true.into(),
            Value::Byte(1),
            Value::UnsignedByte(1),
            Value::Short(1),
            Value::UnsignedShort(1),
            1.into(),
            Value::UnsignedInt(1),
            1_i64.into(),
            Value::Float(0),
            1.5.into(),
            decimal,
            "1".into(),
            Value::Binary(b"1".as_slice().into()),
            Value::Timestamp(1),
            Value::Table(Arguments::default()),
            Value::Array([].into()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_keeps_the_order_of_equal_names() {
        let arguments: Arguments = [("b", Value::from(1)), ("a", 2.into()), ("b", 3.into())]
            .into_iter()
            .collect();
        let expected: Arguments = [("a", Value::from(2)), ("b", 1.into()), ("b", 3.into())]
            .into_iter()
            .collect();
        assert_eq!(arguments.sorted(), expected);
        assert_eq!(expected.sorted(), expected);
    }

    #[test]
    fn no_values_take_one_word() {
        assert_eq!(size_of::<Arguments>(), size_of::<usize>());
        let none: Arguments = Vec::<(Name, Value)>::new().into();
        assert!(none.0.is_none(), "and nothing elsewhere");
        assert_eq!(none, Arguments::default());
        assert!(none < [("a", Value::Void)].into_iter().collect());
    }

    #[test]
    fn the_first_of_equal_names_counts() {
        let arguments: Arguments = [("a", Value::from(1)), ("a", 2.into())].into_iter().collect();
        assert_eq!(arguments.get("a"), Some(&Value::from(1)));
        assert_eq!(arguments.get("b"), None);
    }
}
