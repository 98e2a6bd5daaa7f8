//! Which messages are followed: those whose publishers say so with a W3C trace context, and some by chance.
//!
//! The context is what OpenTelemetry's instrumentations of AMQP clients put into the headers, as text or bytes:
//!
//! ```text
//! traceparent  00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
//!              version, trace, span of the publisher, flags: 01 is sampled
//! tracestate   what vendors add; carried on as it is
//! ```

use everack_amqp::wire::table;

/// The longest `tracestate` that is carried on, in bytes; a longer one is left out, as the specification allows.
const STATE_BYTES_MAX: usize = 512;

/// The span of a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace that it is in.
    pub trace: [u8; 16],
    /// Itself.
    pub span: [u8; 8],
    /// The lowest bit says that it is sampled.
    pub flags: u8,
    /// What vendors added, in visible ASCII characters.
    pub state: Box<str>,
}

/// See the module documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    parents: bool,
    threshold: u64,
}

impl Choice {
    /// With `parents`, publishers decide for messages that have a context. All others are chosen by chance: `share` of them, 0 to 1.
    pub fn new(parents: bool, share: f64) -> Self {
        // As of 1 it saturates, and is more than any draw but one.
        let threshold = (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        Self { parents, threshold }
    }

    /// Whether a message with these headers is followed, and what its parent is then; `draw` gives a number by chance.
    pub(crate) fn choose(self, headers: Option<&[u8]>, draw: impl FnOnce() -> u64) -> Option<Option<Parent>> {
        let parent = headers.and_then(Parent::among);
        let chosen = match &parent {
            Some(parent) if self.parents => parent.flags & 1 != 0,
            _ => self.threshold > 0 && draw() <= self.threshold,
        };
        chosen.then_some(parent)
    }

    /// Whether a message without headers may be chosen.
    pub(crate) fn draws(self) -> bool {
        self.threshold > 0
    }
}

impl Parent {
    /// The context in a table of headers, if there is a sound one.
    fn among(headers: &[u8]) -> Option<Self> {
        let parent = Self::read(table::find_text(headers, b"traceparent")?)?;
        let state = table::find_text(headers, b"tracestate").unwrap_or_default();
        let sound = state.len() <= STATE_BYTES_MAX && state.iter().all(|byte| (b' '..=b'~').contains(byte));
        let state = std::str::from_utf8(state).ok().filter(|_| sound);
        Some(Self {
            state: state.unwrap_or_default().into(),
            ..parent
        })
    }

    /// Reads a `traceparent`. One of a later version may be longer; what is known of it stays where it is.
    fn read(text: &[u8]) -> Option<Self> {
        let (known, further) = text.split_at_checked(55)?;
        let version = hex::<1>(&known[..2])?[0];
        let ends = match version {
            0xff => false,
            0 => further.is_empty(),
            _ => further.first().is_none_or(|byte| *byte == b'-'),
        };
        if !ends || known[2] != b'-' || known[35] != b'-' || known[52] != b'-' {
            return None;
        }
        let (trace, span) = (hex(&known[3..35])?, hex(&known[36..52])?);
        let flags = hex::<1>(&known[53..])?[0];
        let nothing = trace == [0; 16] || span == [0; 8];
        (!nothing).then(|| Self {
            trace,
            span,
            flags,
            state: "".into(),
        })
    }
}

/// Hexadecimal digits, small letters only.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (out, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *out = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use everack_amqp::wire::primitive::ShortString;
    use everack_amqp::wire::table::{Table, Value};

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// The span and the flags that are read from a `traceparent`.
    #[track_caller]
    fn check(text: &str, expected: Option<(u8, u8)>) {
        let read = Parent::read(text.as_bytes());
        let read = read.map(|parent| (parent.span[7], parent.flags));
        assert_eq!(read, expected, "{text}");
    }

    #[test]
    fn contexts_are_read_as_the_specification_says() {
        check(GOOD, Some((0x31, 1)));
        check(&GOOD.replace("-01", "-00"), Some((0x31, 0)));
        check(&GOOD.replace("-01", "-ff"), Some((0x31, 255)));
        check(&GOOD.to_uppercase(), None);
        check(&format!("{GOOD}-"), None);
        check(&format!("01{}-more", &GOOD[2..]), Some((0x31, 1)));
        check(&format!("01{}more", &GOOD[2..]), None);
        check(&format!("ff{}", &GOOD[2..]), None);
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", None);
        check("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None);
        check("", None);
        check(&GOOD[..54], None);
        check(&GOOD.replace('-', "_"), None);
        check(&GOOD.replace("8448eb", "8448e\u{e9}"), None);
    }

    /// Whether a message with these headers is followed where `draw` is drawn, and whether it has a parent then.
    #[track_caller]
    fn check_choice(choice: (bool, f64), headers: &[(&str, Value)], draw: u64, expected: Option<bool>) {
        let headers = headers.iter().cloned();
        let headers: Table = headers
            .map(|(name, value)| (ShortString::shortened(name), value))
            .collect();
        let mut bytes = Vec::new();
        headers.encode(&mut bytes);
        let choice = Choice::new(choice.0, choice.1);
        let chosen = choice.choose(Some(&bytes[4..]), || draw);
        assert_eq!(chosen.map(|parent| parent.is_some()), expected);
    }

    #[test]
    fn publishers_decide_where_they_say_something() {
        let text = |text: &str| Value::String(text.into());
        let sampled = [("a", Value::I32(1)), ("traceparent", text(GOOD))];
        let unsampled = [("traceparent", text(&GOOD.replace("-01", "-00")))];
        check_choice((true, 0.0), &sampled, 0, Some(true));
        check_choice((true, 1.0), &unsampled, u64::MAX, None);
        check_choice((false, 0.0), &sampled, 0, None);
        check_choice((false, 1.0), &unsampled, u64::MAX, Some(true));
        check_choice(
            (true, 0.0),
            &[("Traceparent", Value::Bytes(GOOD.into()))],
            0,
            Some(true),
        );
        check_choice((true, 0.0), &[("traceparent", Value::I64(1))], 0, None);
        check_choice(
            (true, 0.5),
            &[("traceparent", text("nonsense"))],
            u64::MAX / 4,
            Some(false),
        );
        check_choice((true, 0.5), &[], u64::MAX / 4 * 3, None);
        check_choice((true, 0.5), &[], u64::MAX / 4, Some(false));
        check_choice((true, 0.0), &[], 0, None);
        check_choice((true, 1.0), &[], u64::MAX, Some(false));
    }

    #[test]
    fn the_state_is_carried_on_where_it_is_sound() {
        for (state, expected) in [("a=1,b=2", "a=1,b=2"), ("a=\n", ""), (&*"x".repeat(513), "")] {
            let headers = Table::new().with("traceparent", GOOD).with("tracestate", state);
            let mut bytes = Vec::new();
            headers.encode(&mut bytes);
            let parent = Parent::among(&bytes[4..]).expect("a context");
            assert_eq!(&*parent.state, expected);
        }
    }
}
