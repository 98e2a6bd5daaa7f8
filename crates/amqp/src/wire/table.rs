//! Field tables: ordered lists of names and typed values, used for arguments, message headers and the
//! properties of both peers. The order is kept and a name may occur twice, because both can be seen by the
//! other side.
//!
//! The type octets are RabbitMQ's, not the specification's (the two disagree, and clients follow RabbitMQ):
//!
//! ```text
//! t bool   b i8  B u8   s i16  u u16   I i32  i u32   l i64  L i64   f f32  d f64   D decimal
//! S long string   x byte array   T timestamp (u64 seconds)   F table   A array   V nothing
//! ```

use std::fmt;

use super::primitive::{Malformed, Reader, ShortString, put_long_string, put_short_string};

/// How many tables and arrays may lie within each other.
pub const DEPTH_MAX: usize = 32;

/// An ordered list of named values.
#[derive(Clone, Default, PartialEq)]
pub struct Table(Vec<(ShortString, Value)>);

/// A value of a field table.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`; `L` is read as the same, as RabbitMQ does, and written back as `l`.
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: `value / 10^scale`
    Decimal {
        /// Digits behind the point.
        scale: u8,
        /// All digits as one number.
        value: u32,
    },
    /// `S`: a long string, not always UTF-8.
    String(Vec<u8>),
    /// `x`
    Bytes(Vec<u8>),
    /// `T`: seconds since 1970.
    Timestamp(u64),
    /// `F`
    Table(Table),
    /// `A`
    Array(Vec<Value>),
    /// `V`
    Void,
}

impl Table {
    /// An empty table.
    pub fn new() -> Table {
        Table::default()
    }

    /// Adds a value at the end.
    pub fn push(&mut self, name: ShortString, value: Value) {
        self.0.push((name, value));
    }

    /// Adds a value at the end and returns the table, for tables written out in code.
    ///
    /// # Panics
    /// When `name` is longer than 255 bytes: names in code are ours.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Table {
        let name = ShortString::new(name).expect("a name in code is short");
        self.push(name, value.into());
        self
    }

    /// The first value of this name.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&Value> {
        let name = name.as_ref();
        self.0
            .iter()
            .find(|(key, _)| key.as_bytes() == name)
            .map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&ShortString, &Value)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// How many values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the inside of a table (without its length).
    pub fn decode(bytes: &[u8]) -> Result<Table, Malformed> {
        decode_table(bytes, DEPTH_MAX)
    }

    /// Appends the table with its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        with_length(out, |out| {
            for (name, value) in &self.0 {
                put_short_string(out, name);
                value.encode(out);
            }
        });
    }
}

impl FromIterator<(ShortString, Value)> for Table {
    fn from_iter<I: IntoIterator<Item = (ShortString, Value)>>(values: I) -> Table {
        Table(values.into_iter().collect())
    }
}

impl IntoIterator for Table {
    type Item = (ShortString, Value);
    type IntoIter = std::vec::IntoIter<(ShortString, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl Value {
    /// Appends the type octet and the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::Bool(value) => out.extend_from_slice(&[b't', u8::from(*value)]),
            Value::I8(value) => put(out, b'b', value.to_be_bytes()),
            Value::U8(value) => put(out, b'B', [*value]),
            Value::I16(value) => put(out, b's', value.to_be_bytes()),
            Value::U16(value) => put(out, b'u', value.to_be_bytes()),
            Value::I32(value) => put(out, b'I', value.to_be_bytes()),
            Value::U32(value) => put(out, b'i', value.to_be_bytes()),
            Value::I64(value) => put(out, b'l', value.to_be_bytes()),
            Value::F32(value) => put(out, b'f', value.to_be_bytes()),
            Value::F64(value) => put(out, b'd', value.to_be_bytes()),
            Value::Timestamp(value) => put(out, b'T', value.to_be_bytes()),
            Value::Void => out.push(b'V'),
            Value::Decimal { scale, value } => {
                put(out, b'D', [*scale]);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Value::String(bytes) => {
                out.push(b'S');
                put_long_string(out, bytes);
            }
            Value::Bytes(bytes) => {
                out.push(b'x');
                put_long_string(out, bytes);
            }
            Value::Table(table) => {
                out.push(b'F');
                table.encode(out);
            }
            Value::Array(values) => {
                out.push(b'A');
                with_length(out, |out| values.iter().for_each(|value| value.encode(out)));
            }
        }
    }

    /// RabbitMQ's name of the type, as its reply texts give it (`signedint`, `longstr`).
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Bool(_) => "bool",
            Value::I8(_) => "byte",
            Value::U8(_) => "unsignedbyte",
            Value::I16(_) => "short",
            Value::U16(_) => "unsignedshort",
            Value::I32(_) => "signedint",
            Value::U32(_) => "unsignedint",
            Value::I64(_) => "long",
            Value::F32(_) => "float",
            Value::F64(_) => "double",
            Value::Decimal { .. } => "decimal",
            Value::String(_) => "longstr",
            Value::Bytes(_) => "binary",
            Value::Timestamp(_) => "timestamp",
            Value::Table(_) => "table",
            Value::Array(_) => "array",
            Value::Void => "void",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Value {
        Value::I32(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::I64(value)
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Value {
        Value::Table(table)
    }
}

/// Checks the inside of a table without building it.
pub fn validate(bytes: &[u8]) -> Result<(), Malformed> {
    validate_table(bytes, DEPTH_MAX)
}

/// The text of the first field of that name, in small or capital letters, without building the table. None also for a table
/// that is malformed before it, and for a value that is no text (`S`) or bytes (`x`).
pub fn find_text<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let found = reader.short_bytes().ok()?;
        if found.eq_ignore_ascii_case(name) {
            let text = matches!(reader.octet().ok()?, b'S' | b'x');
            return if text { reader.long_bytes().ok() } else { None };
        }
        validate_value(&mut reader, DEPTH_MAX).ok()?;
    }
    None
}

fn decode_table(bytes: &[u8], depth: usize) -> Result<Table, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut table = Table::new();
    while !reader.is_empty() {
        let name = reader.short_string()?;
        table.push(name, decode_value(&mut reader, depth)?);
    }
    Ok(table)
}

fn decode_array(bytes: &[u8], depth: usize) -> Result<Vec<Value>, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut values = Vec::new();
    while !reader.is_empty() {
        values.push(decode_value(&mut reader, depth)?);
    }
    Ok(values)
}

fn decode_value(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Malformed> {
    Ok(match reader.octet()? {
        b'S' => Value::String(reader.long_string()?),
        b'I' => Value::I32(i32::from_be_bytes(reader.array()?)),
        b't' => Value::Bool(reader.octet()? != 0),
        b'l' | b'L' => Value::I64(i64::from_be_bytes(reader.array()?)),
        b'T' => Value::Timestamp(reader.long_long()?),
        b'F' => Value::Table(decode_table(reader.long_bytes()?, deeper(depth)?)?),
        b'A' => Value::Array(decode_array(reader.long_bytes()?, deeper(depth)?)?),
        b'b' => Value::I8(i8::from_be_bytes(reader.array()?)),
        b'B' => Value::U8(reader.octet()?),
        b's' => Value::I16(i16::from_be_bytes(reader.array()?)),
        b'u' => Value::U16(reader.short()?),
        b'i' => Value::U32(reader.long()?),
        b'f' => Value::F32(f32::from_be_bytes(reader.array()?)),
        b'd' => Value::F64(f64::from_be_bytes(reader.array()?)),
        b'D' => Value::Decimal {
            scale: reader.octet()?,
            value: reader.long()?,
        },
        b'x' => Value::Bytes(reader.long_string()?),
        b'V' => Value::Void,
        other => return Err(Malformed::FieldType(other)),
    })
}

fn validate_table(bytes: &[u8], depth: usize) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        reader.short_bytes()?;
        validate_value(&mut reader, depth)?;
    }
    Ok(())
}

fn validate_array(bytes: &[u8], depth: usize) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        validate_value(&mut reader, depth)?;
    }
    Ok(())
}

fn validate_value(reader: &mut Reader<'_>, depth: usize) -> Result<(), Malformed> {
    let size = match reader.octet()? {
        b'S' | b'x' => return reader.long_bytes().map(drop),
        b'F' => return validate_table(reader.long_bytes()?, deeper(depth)?),
        b'A' => return validate_array(reader.long_bytes()?, deeper(depth)?),
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        other => return Err(Malformed::FieldType(other)),
    };
    reader.take(size).map(drop)
}

fn deeper(depth: usize) -> Result<usize, Malformed> {
    depth.checked_sub(1).ok_or(Malformed::Depth)
}

fn put<const N: usize>(out: &mut Vec<u8>, tag: u8, bytes: [u8; N]) {
    out.push(tag);
    out.extend_from_slice(&bytes);
}

/// Writes a length of four bytes in front of what `write` appends.
fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}
