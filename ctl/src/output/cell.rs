//! One value as text that is safe on a terminal and stays on its line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// How a value is meant to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text, flags, lists and objects, as they are.
    Text,
    /// A count.
    Count,
    /// A number of bytes.
    Bytes,
    /// Events in a second.
    Rate,
    /// Milliseconds since 1970.
    Time,
    /// Seconds that something has lasted.
    Age,
}

impl Kind {
    /// Whether a column of these is aligned to the right.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Count | Self::Bytes | Self::Rate | Self::Age)
    }
}

/// A value as text. What is not there is empty.
pub(crate) fn text(value: Option<&Value>, kind: Kind) -> String {
    let Some(value) = value else {
        return String::new();
    };
    match (kind, value.as_f64()) {
        (Kind::Bytes, Some(bytes)) => bytes_text(bytes),
        (Kind::Rate, Some(rate)) => format!("{rate:.1}"),
        (Kind::Time, Some(milliseconds)) => time_text(milliseconds),
        (Kind::Age, Some(seconds)) => age_text(seconds),
        _ => plain(value),
    }
}

/// A value without any unit: text as it is, a list with commas, an object as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => safe(text),
        Value::Array(values) if values.iter().all(|value| !value.is_object() && !value.is_array()) => {
            values.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        Value::Object(object) if object.is_empty() => String::new(),
        other => safe(&other.to_string()),
    }
}

/// Text without anything that a terminal would obey: names and messages come from strangers.
pub(crate) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            // Beside control characters those that turn the direction of writing.
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                out.extend(c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

/// Bytes with a unit that people can read, three digits of it.
pub(crate) fn bytes_text(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut amount = bytes;
    let mut unit = 0;
    while amount.abs() >= 999.5 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let digits = if unit == 0 || amount.abs() >= 99.95 {
        0
    } else if amount.abs() >= 9.995 {
        1
    } else {
        2
    };
    format!("{amount:.digits$} {}", UNITS[unit])
}

/// How long something has lasted, in the largest unit of which there are two, five characters at most for years to come.
fn age_text(seconds: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(86_400.0, "d"), (3_600.0, "h"), (60.0, "min")];
    let unit = UNITS.iter().find(|(length, _)| seconds >= 2.0 * length);
    let (length, name) = unit.unwrap_or(&(1.0, "s"));
    format!("{:.0}{name}", (seconds / length).floor())
}

/// A moment in UTC, by the second.
fn time_text(milliseconds: f64) -> String {
    if !(0.0..4e15).contains(&milliseconds) {
        return format!("{milliseconds}");
    }
    let moment = UNIX_EPOCH + Duration::from_millis(milliseconds as u64);
    let seconds = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days as i64);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day since 1970 (Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_for_people() {
        let check = |value: Value, kind: Kind, expected: &str| {
            assert_eq!(text(Some(&value), kind), expected, "{value} {kind:?}");
        };
        check(json!("a"), Kind::Text, "a");
        check(json!(null), Kind::Text, "");
        check(json!(true), Kind::Text, "yes");
        check(json!(["a", 1]), Kind::Text, "a, 1");
        check(json!({}), Kind::Text, "");
        check(json!({"x-a": 1}), Kind::Text, r#"{"x-a":1}"#);
        check(json!(1234567), Kind::Count, "1234567");
        check(json!(0), Kind::Bytes, "0 B");
        check(json!(999), Kind::Bytes, "999 B");
        check(json!(1000), Kind::Bytes, "0.98 KiB");
        check(json!(10240), Kind::Bytes, "10.0 KiB");
        check(json!(3_u64 << 30), Kind::Bytes, "3.00 GiB");
        check(json!("unknown"), Kind::Bytes, "unknown");
        check(json!(2.04), Kind::Rate, "2.0");
        check(json!(1_700_000_000_000_u64), Kind::Time, "2023-11-14 22:13:20Z");
        check(json!(951_782_400_000_u64), Kind::Time, "2000-02-29 00:00:00Z");
        check(json!(-1), Kind::Time, "-1");
        check(json!(0.4), Kind::Age, "0s");
        check(json!(119), Kind::Age, "119s");
        check(json!(120), Kind::Age, "2min");
        check(json!(7199), Kind::Age, "119min");
        check(json!(7200), Kind::Age, "2h");
        check(json!(1_000_000), Kind::Age, "11d");
        check(json!(null), Kind::Age, "");
        assert_eq!(text(None, Kind::Count), "");
    }

    #[test]
    fn a_terminal_is_told_nothing_by_strangers() {
        let check = |given: &str, expected: &str| assert_eq!(safe(given), expected);
        check("plain é 中", "plain é 中");
        check("a\tb\nc", "a\\tb\\nc");
        check("\u{1b}[2J", "\\u{1b}[2J");
        check("\u{9b}31m", "\\u{9b}31m");
        check("\u{202e}evil", "\\u{202e}evil");
    }
}
