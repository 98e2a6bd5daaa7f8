//! RabbitMQ's sizes, levels and addresses, written as ours. Knows no key.

/// Bytes, from a number with or without a unit.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        unit => return Err(format!("`{unit}` is no unit of size")),
    };
    let number: u64 = digits
        .trim()
        .parse()
        .map_err(|_| format!("`{text}` is no size"))?;
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("`{text}` is too large"))
}

/// A share of `whole`, from a factor such as 0.4.
pub(super) fn share(text: &str, whole: u64) -> Result<u64, String> {
    let share: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if !(0.0..=1000.0).contains(&share) {
        return Err(format!("`{text}` is no share"));
    }
    Ok((share * whole as f64) as u64)
}

/// A whole number.
pub(super) fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no whole number"))
}

pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" | "on" | "yes" => Ok(true),
        "false" | "off" | "no" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// An address to listen on: a port alone is on all of them.
pub(super) fn address(text: &str) -> Result<String, String> {
    let port = |text: &str| text.parse::<u16>().map_err(|_| format!("`{text}` is no port"));
    match text.rsplit_once(':') {
        None => Ok(format!("0.0.0.0:{}", port(text)?)),
        Some((host, last)) if host.contains(':') => {
            Ok(format!("[{}]:{}", host.trim_matches(['[', ']']), port(last)?))
        }
        Some((host, last)) => Ok(format!("{host}:{}", port(last)?)),
    }
}

/// Our log level, and how much it tells.
pub(super) fn level(text: &str) -> Result<(u8, &'static str), String> {
    Ok(match text {
        "debug" => (4, "debug"),
        "info" | "notice" => (3, "info"),
        "warning" => (2, "warn"),
        "error" | "critical" | "alert" | "emergency" => (1, "error"),
        "none" => (0, "off"),
        _ => return Err(format!("`{text}` is no level")),
    })
}
