//! Numbers and times for people, and fields of JSON by path.

use serde_json::Value;

/// A field by its path: `message_stats.publish`.
pub(crate) fn field<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| &value[name])
}

/// A text; empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    field(value, path).as_str().unwrap_or_default()
}

/// A number that counts something; 0 where there is none.
pub(crate) fn number(value: &Value, path: &str) -> u64 {
    let field = field(value, path);
    field
        .as_u64()
        .unwrap_or_else(|| field.as_f64().unwrap_or(0.0).max(0.0) as u64)
}

/// The items of a list: of an array, or of a page's `items`.
pub(crate) fn items(value: &Value) -> &[Value] {
    let list = value.as_array().or_else(|| value["items"].as_array());
    list.map_or(&[], Vec::as_slice)
}

/// The rate of a counter, if the API tells one: `message_stats.publish` has it in `publish_details.rate`.
pub(crate) fn rate(value: &Value, path: &str) -> Option<f64> {
    field(value, &format!("{path}_details"))["rate"].as_f64()
}

/// `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `12,345/s`; small ones with a decimal.
pub(crate) fn per_second(rate: f64) -> String {
    let rate = rate.max(0.0);
    if rate == 0.0 || rate >= 10.0 {
        format!("{}/s", count(rate.round() as u64))
    } else {
        format!("{rate:.1}/s")
    }
}

/// `4.2 KiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

/// `3 d 4 h`, the two largest parts.
pub(crate) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if milliseconds < 10_000 => format!("{:.1} s", milliseconds as f64 / 1000.0),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// The same of whole seconds, as the API has ages.
pub(crate) fn age(seconds: u64) -> String {
    duration(seconds.saturating_mul(1_000))
}

/// `2026-11-23 15:04:05 UTC` of milliseconds since 1970.
pub(crate) fn moment(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The civil date of a day since 1970, counted in eras of 400 years that begin in March.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let month_day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, month_day)
}

/// `1 message`, `2 messages`.
pub(crate) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_for_people() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), expected);
        }
        for (rate, expected) in [(0.0, "0/s"), (0.24, "0.2/s"), (1234.5, "1,235/s"), (-1.0, "0/s")] {
            assert_eq!(per_second(rate), expected);
        }
        for (number, expected) in [
            (0, "0 B"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(bytes(number), expected);
        }
        for (number, expected) in [
            (1_500, "1.5 s"),
            (59_000, "59 s"),
            (90_000, "1 min 30 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(number), expected);
        }
    }

    #[test]
    fn moments_are_dates() {
        for (number, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (1_795_446_245_000, "2026-11-23 15:04:05 UTC"),
        ] {
            assert_eq!(moment(number), expected);
        }
    }

    #[test]
    fn fields_are_found_or_empty() {
        let value = json!({ "a": { "b": 3, "b_details": { "rate": 1.5 }, "t": "x" }, "items": [1] });
        assert_eq!(number(&value, "a.b"), 3);
        assert_eq!(rate(&value, "a.b"), Some(1.5));
        assert_eq!(text(&value, "a.t"), "x");
        assert_eq!(text(&value, "a.nothing.below"), "");
        assert_eq!(items(&value).len(), 1);
        assert!(items(&Value::Null).is_empty());
    }
}
