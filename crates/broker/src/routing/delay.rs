//! How long a message is to wait: the header `x-delay`, as RabbitMQ's plugin for delayed messages reads it.

use super::headers::{HeaderValue, Headers, Property};

/// The header, in milliseconds.
const DELAY: &[u8] = b"x-delay";

/// The longest delay, in milliseconds: that of a timer in Erlang. What asks for a longer one does not wait, as with the plugin.
const DELAY_MILLIS_MAX: i64 = u32::MAX as i64;

type Visit<'a, 'b> = dyn FnMut(&'a [u8], HeaderValue<'a>) + 'b;

/// The delay that headers ask for. Integers of all widths count, floats without their fraction, and strings of digits; anything else,
/// and what is not within 1 and the longest delay, asks for none.
pub(super) fn asked_for<'a>(headers: impl FnOnce(&mut Visit<'a, '_>)) -> Option<u64> {
    let mut asked = None;
    headers(&mut |name, value| {
        if name == DELAY {
            asked = millis(&value);
        }
    });
    asked
        .filter(|millis| (1..=DELAY_MILLIS_MAX).contains(millis))
        .map(i64::unsigned_abs)
}

fn millis(value: &HeaderValue<'_>) -> Option<i64> {
    match value {
        HeaderValue::Integer(millis) => Some(*millis),
        // Saturates, and is then out of bounds as it should be.
        HeaderValue::Float(millis) => Some(*millis as i64),
        HeaderValue::Bytes(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        HeaderValue::Void | HeaderValue::Bool(_) | HeaderValue::Timestamp(_) | HeaderValue::Compound(_) => {
            None
        }
    }
}

/// A message whose time has come, or that is looked at as if it had: as it is, but it is not to wait.
pub struct Undelayed<'m>(pub &'m dyn Headers);

impl Headers for Undelayed<'_> {
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'a [u8], HeaderValue<'a>)) {
        self.0.visit(visit);
    }

    fn delay_millis(&self) -> Option<u64> {
        None
    }

    fn property(&self, property: Property) -> Option<HeaderValue<'_>> {
        self.0.property(property)
    }

    fn draw(&self) -> u64 {
        self.0.draw()
    }
}

#[cfg(test)]
mod tests {
    use crate::arguments::{Arguments, Value};
    use crate::routing::Headers as _;

    fn check(values: &[Value], expected: Option<u64>) {
        for value in values {
            let headers: Arguments = [("a", Value::Int(7)), ("x-delay", value.clone())]
                .into_iter()
                .collect();
            assert_eq!(headers.delay_millis(), expected, "{value:?}");
        }
    }

    #[test]
    fn numbers_of_every_form_are_delays() {
        let narrow = [Value::Byte(100), Value::UnsignedByte(100), Value::Short(100)];
        check(&narrow, Some(100));
        let wide = [
            Value::UnsignedShort(100),
            Value::Int(100),
            Value::UnsignedInt(100),
            Value::Long(100),
        ];
        check(&wide, Some(100));
        let floats = [
            Value::Float(100.9_f32.to_bits()),
            Value::Double(100.9_f64.to_bits()),
        ];
        check(&floats, Some(100));
        check(
            &[Value::from("100"), Value::Binary(b"100".as_slice().into())],
            Some(100),
        );
    }

    #[test]
    fn only_what_is_within_bounds_waits() {
        let longest = u64::from(u32::MAX);
        check(
            &[Value::UnsignedInt(u32::MAX), Value::Long(u32::MAX.into())],
            Some(longest),
        );
        check(&[Value::Int(1)], Some(1));
        check(&[Value::Int(0), Value::Int(-5), Value::Long(i64::MIN)], None);
        check(
            &[Value::Long(i64::from(u32::MAX) + 1), Value::Long(i64::MAX)],
            None,
        );
        check(
            &[
                Value::Double(1e300_f64.to_bits()),
                Value::Double(f64::NAN.to_bits()),
            ],
            None,
        );
    }

    #[test]
    fn whatever_is_no_number_does_not_wait() {
        check(&[Value::Void, Value::Bool(true), Value::Timestamp(100)], None);
        check(&[Value::from("soon"), Value::from(""), Value::from("1.5")], None);
        check(&[Value::Table(Arguments::default())], None);
        assert_eq!(Arguments::default().delay_millis(), None);
    }
}
