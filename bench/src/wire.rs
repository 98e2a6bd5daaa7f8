//! The little of AMQP 0-9-1 that a load generator says and hears: encoding of client methods and reading of the
//! rare server methods. Content frames are built in `block` and taken apart in `scanner`.

/// What every connection begins with.
pub const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
/// Frame type: a method.
pub const FRAME_METHOD: u8 = 1;
/// Frame type: a content header.
pub const FRAME_HEADER: u8 = 2;
/// Frame type: a piece of a content body.
pub const FRAME_BODY: u8 = 3;
/// Frame type: a heartbeat.
pub const FRAME_HEARTBEAT: u8 = 8;
/// The byte that ends every frame.
pub const FRAME_END: u8 = 0xCE;
/// Bytes of a frame around its payload: type, channel, size, and the end byte.
pub const FRAME_OVERHEAD: usize = 8;
/// A heartbeat frame, ready to send.
pub const HEARTBEAT: &[u8; 8] = &[FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END];
/// The one channel that each connection of the generator uses.
pub const CHANNEL: u16 = 1;

/// Class and method number of a method, as on the wire.
pub type MethodId = (u16, u16);

/// Class and method numbers, named as in the specification.
pub mod id {
    #![allow(missing_docs)]
    use super::MethodId;
    pub const CONNECTION_START: MethodId = (10, 10);
    pub const CONNECTION_START_OK: MethodId = (10, 11);
    pub const CONNECTION_TUNE: MethodId = (10, 30);
    pub const CONNECTION_TUNE_OK: MethodId = (10, 31);
    pub const CONNECTION_OPEN: MethodId = (10, 40);
    pub const CONNECTION_OPEN_OK: MethodId = (10, 41);
    pub const CONNECTION_CLOSE: MethodId = (10, 50);
    pub const CONNECTION_CLOSE_OK: MethodId = (10, 51);
    pub const CONNECTION_BLOCKED: MethodId = (10, 60);
    pub const CONNECTION_UNBLOCKED: MethodId = (10, 61);
    pub const CHANNEL_OPEN: MethodId = (20, 10);
    pub const CHANNEL_OPEN_OK: MethodId = (20, 11);
    pub const CHANNEL_CLOSE: MethodId = (20, 40);
    pub const EXCHANGE_DECLARE: MethodId = (40, 10);
    pub const EXCHANGE_DECLARE_OK: MethodId = (40, 11);
    pub const EXCHANGE_DELETE: MethodId = (40, 20);
    pub const EXCHANGE_DELETE_OK: MethodId = (40, 21);
    pub const QUEUE_DECLARE: MethodId = (50, 10);
    pub const QUEUE_DECLARE_OK: MethodId = (50, 11);
    pub const QUEUE_BIND: MethodId = (50, 20);
    pub const QUEUE_BIND_OK: MethodId = (50, 21);
    pub const QUEUE_PURGE: MethodId = (50, 30);
    pub const QUEUE_PURGE_OK: MethodId = (50, 31);
    pub const QUEUE_DELETE: MethodId = (50, 40);
    pub const QUEUE_DELETE_OK: MethodId = (50, 41);
    pub const BASIC_QOS: MethodId = (60, 10);
    pub const BASIC_QOS_OK: MethodId = (60, 11);
    pub const BASIC_CONSUME: MethodId = (60, 20);
    pub const BASIC_CONSUME_OK: MethodId = (60, 21);
    pub const BASIC_CANCEL: MethodId = (60, 30);
    pub const BASIC_PUBLISH: MethodId = (60, 40);
    pub const BASIC_RETURN: MethodId = (60, 50);
    pub const BASIC_DELIVER: MethodId = (60, 60);
    pub const BASIC_ACK: MethodId = (60, 80);
    pub const BASIC_NACK: MethodId = (60, 120);
    pub const CONFIRM_SELECT: MethodId = (85, 10);
    pub const CONFIRM_SELECT_OK: MethodId = (85, 11);
}

/// Appends one method frame; `arguments` writes what follows the method number.
pub fn method(out: &mut Vec<u8>, channel: u16, id: MethodId, arguments: impl FnOnce(&mut Vec<u8>)) {
    frame(out, FRAME_METHOD, channel, |out| {
        out.extend_from_slice(&id.0.to_be_bytes());
        out.extend_from_slice(&id.1.to_be_bytes());
        arguments(out);
    });
}

/// Appends one frame whose payload `payload` writes.
pub fn frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    payload(out);
    let size = (out.len() - size_at - 4) as u32;
    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
    out.push(FRAME_END);
}

/// Appends a short string. Longer than 255 bytes is a bug of the caller.
pub fn short_string(out: &mut Vec<u8>, text: &[u8]) {
    let length = u8::try_from(text.len()).expect("a short string holds at most 255 bytes");
    out.push(length);
    out.extend_from_slice(text);
}

/// Appends a long string.
pub fn long_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}

/// Appends a table whose entries `entries` writes.
pub fn table(out: &mut Vec<u8>, entries: impl FnOnce(&mut Vec<u8>)) {
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    entries(out);
    let size = (out.len() - size_at - 4) as u32;
    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
}

/// Appends a table entry with a long string as its value.
pub fn text_entry(out: &mut Vec<u8>, name: &str, value: &str) {
    short_string(out, name.as_bytes());
    out.push(b'S');
    long_string(out, value.as_bytes());
}

/// Appends a table entry that is a boolean.
pub fn bool_entry(out: &mut Vec<u8>, name: &str, value: bool) {
    short_string(out, name.as_bytes());
    out.push(b't');
    out.push(u8::from(value));
}

/// Appends `basic.ack`: 21 bytes on the wire.
pub fn ack(out: &mut Vec<u8>, tag: u64, multiple: bool) {
    let mut bytes = [0_u8; 21];
    bytes[0] = FRAME_METHOD;
    bytes[1..3].copy_from_slice(&CHANNEL.to_be_bytes());
    bytes[6] = 13;
    bytes[7..11].copy_from_slice(&[0, 60, 0, 80]);
    bytes[11..19].copy_from_slice(&tag.to_be_bytes());
    bytes[19] = u8::from(multiple);
    bytes[20] = FRAME_END;
    out.extend_from_slice(&bytes);
}

/// Reads the arguments of a method in order. Every getter answers `None` when the bytes run out.
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// Two bytes, big end first.
    pub fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Four bytes, big end first.
    pub fn u32(&mut self) -> Option<u32> {
        self.take(4)
            .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A short string.
    pub fn short_string(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A long string, or the bytes of a table.
    pub fn long_string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }
}

/// The value of the text entry `name` of a table's bytes. Only the value types that brokers put into their server
/// properties are walked over; anything else ends the search.
pub fn table_text(entries: &[u8], name: &str) -> Option<String> {
    let mut reader = Reader::new(entries);
    loop {
        let key = reader.short_string()?;
        let value = match reader.u8()? {
            b'S' | b'F' | b'A' | b'x' => reader.long_string()?,
            b't' | b'b' | b'B' => reader.take(1)?,
            b's' | b'u' => reader.take(2)?,
            b'I' | b'i' | b'f' => reader.take(4)?,
            b'l' | b'd' | b'T' => reader.take(8)?,
            b'V' => &[],
            _ => return None,
        };
        if key == name.as_bytes() {
            return Some(String::from_utf8_lossy(value).into_owned());
        }
    }
}

/// The reply code and text at the head of `connection.close` and `channel.close`, as a person wants to read it.
pub fn close_reason(arguments: &[u8]) -> String {
    let mut reader = Reader::new(arguments);
    match (reader.u16(), reader.short_string()) {
        (Some(code), Some(text)) => format!("{code} {}", String::from_utf8_lossy(text)),
        _ => "no readable reason".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_frame_carries_its_size_and_end() {
        let mut out = Vec::new();
        method(&mut out, 1, id::BASIC_ACK, |out| {
            out.extend_from_slice(&7_u64.to_be_bytes());
            out.push(1);
        });
        let mut expected = Vec::new();
        ack(&mut expected, 7, true);
        assert_eq!(out, expected);
    }

    #[test]
    fn a_text_is_found_behind_other_entries() {
        let mut bytes = Vec::new();
        table(&mut bytes, |out| {
            short_string(out, b"capabilities");
            out.push(b'F');
            table(out, |out| bool_entry(out, "basic.nack", true));
            text_entry(out, "product", "RabbitMQ");
        });
        assert_eq!(table_text(&bytes[4..], "product").as_deref(), Some("RabbitMQ"));
        assert_eq!(table_text(&bytes[4..], "version"), None);
    }

    #[test]
    fn a_close_reason_that_is_cut_short_is_not_a_panic() {
        assert_eq!(close_reason(&[1]), "no readable reason");
        assert_eq!(close_reason(&[1, 148, 2, b'n', b'o']), "404 no");
    }
}
