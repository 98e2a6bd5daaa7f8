//! The kinds of plain values a key can have: how each is written, read and refused.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use everack_broker::catalog::Permissions;
use everack_broker::name::Name as BrokerName;
use toml::de::DeValue;

use super::table::Scalar;

/// Refusal of a value of the wrong type.
pub(super) fn expected(what: &str, found: &DeValue<'_>) -> String {
    let article = if found.type_str().starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    format!("must be {what}, not {article} {}", found.type_str())
}

/// A non-negative integer of TOML, in any of its notations.
fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// Text in TOML's quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

impl Scalar for String {
    fn type_name() -> String {
        "string".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| expected("a string", value))
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

impl Scalar for PathBuf {
    fn type_name() -> String {
        "path".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        match value.as_str() {
            Some("") => Err("must not be empty".to_owned()),
            Some(text) => Ok(Self::from(text)),
            None => Err(expected("a path in quotes", value)),
        }
    }

    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

/// A path that need not be given; empty text means none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionalPath(pub Option<PathBuf>);

impl OptionalPath {
    /// The path, if one is given.
    pub fn get(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

impl Scalar for OptionalPath {
    fn type_name() -> String {
        "path, or \"\" for none".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        match value.as_str() {
            Some("") => Ok(Self(None)),
            Some(text) => Ok(Self(Some(PathBuf::from(text)))),
            None => Err(expected("a path in quotes", value)),
        }
    }

    fn show(&self) -> String {
        quoted(&self.0.as_deref().unwrap_or(Path::new("")).to_string_lossy())
    }
}

/// A whole number within bounds that belong to the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Number<MIN, MAX> {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> Scalar for Number<MIN, MAX> {
    fn type_name() -> String {
        format!("whole number, {MIN} to {MAX}")
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let wanted = format!("a whole number from {MIN} to {MAX}");
        match integer(value) {
            Some(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            Some(number) => Err(format!("must be {wanted}, not {number}")),
            None if value.is_integer() => Err(format!("must be {wanted}")),
            None => Err(expected(&wanted, value)),
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// A count of bytes within bounds, written as `"64 MiB"` or as a plain number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> Scalar for Size<MIN, MAX> {
    fn type_name() -> String {
        format!("size, {} to {}", size_text(MIN), size_text(MAX))
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let found = match value {
            DeValue::String(text) => size_bytes(text),
            other => integer(other),
        };
        let Some(bytes) = found else {
            return Err("must be a size such as \"64 MiB\" (units: B, KiB, MiB, GiB) or bytes".to_owned());
        };
        if (MIN..=MAX).contains(&bytes) {
            return Ok(Self(bytes));
        }
        Err(format!(
            "must be from {} to {}, not {}",
            size_text(MIN),
            size_text(MAX),
            size_text(bytes)
        ))
    }

    fn show(&self) -> String {
        quoted(&size_text(self.0))
    }
}

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn size_text(bytes: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| bytes >= *unit && bytes.is_multiple_of(*unit);
    let (name, unit) = SIZE_UNITS.iter().find(fits).unwrap_or(&SIZE_UNITS[3]);
    format!("{} {name}", bytes / unit)
}

fn size_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let (_, scale) = SIZE_UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*scale)
}

/// A length of time within bounds in milliseconds, written as `"10 s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Period<MIN, MAX> {
    /// The length of time.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl<const MIN: u64, const MAX: u64> Scalar for Period<MIN, MAX> {
    fn type_name() -> String {
        format!("time, {} to {}", period_text(MIN), period_text(MAX))
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let Some(millis) = value.as_str().and_then(period_millis) else {
            return Err("must be a time such as \"10 s\" (units: ms, s, min, h)".to_owned());
        };
        if (MIN..=MAX).contains(&millis) {
            return Ok(Self(millis));
        }
        Err(format!(
            "must be from {} to {}, not {}",
            period_text(MIN),
            period_text(MAX),
            period_text(millis)
        ))
    }

    fn show(&self) -> String {
        quoted(&period_text(self.0))
    }
}

const PERIOD_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];

fn period_text(millis: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| millis.is_multiple_of(*unit) && millis >= *unit;
    let (name, unit) = PERIOD_UNITS.iter().find(fits).unwrap_or(&PERIOD_UNITS[2]);
    format!("{} {name}", millis / unit)
}

fn period_millis(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let unit = if unit == "m" { "min" } else { unit };
    let (_, scale) = PERIOD_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*scale)
}

/// `"64 MiB"` or `"64MiB"` as number and unit.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Addresses to listen on: `"host:port"`, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(pub Vec<String>);

impl Scalar for Addresses {
    fn type_name() -> String {
        "address:port, or a list of them".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::String(text) => Ok(Self(vec![address(text)?])),
            DeValue::Array(elements) => {
                let text = |element: &DeValue<'_>| {
                    element
                        .as_str()
                        .ok_or_else(|| expected("a list of addresses in quotes", element))
                        .and_then(address)
                };
                elements
                    .iter()
                    .map(|element| text(element.get_ref()))
                    .collect::<Result<_, _>>()
                    .map(Self)
            }
            other => Err(expected(
                "an address and port in quotes, or a list of them",
                other,
            )),
        }
    }

    fn show(&self) -> String {
        let addresses: Vec<String> = self.0.iter().map(|address| quoted(address)).collect();
        format!("[{}]", addresses.join(", "))
    }
}

/// Where to listen for HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpAddresses {
    /// At the usual address, if nobody else does.
    Auto,
    /// At these, or the process does not start; nowhere, if there are none.
    Given(Addresses),
}

impl Scalar for HttpAddresses {
    fn type_name() -> String {
        format!("\"auto\", or {}", <Addresses as Scalar>::type_name())
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        match value.as_str() {
            Some("auto") => Ok(Self::Auto),
            _ => Addresses::from_value(value).map(Self::Given),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => quoted("auto"),
            Self::Given(addresses) => Scalar::show(addresses),
        }
    }
}

/// Checks `host:port`; the host may be a name, which is resolved when the listener starts.
fn address(text: &str) -> Result<String, String> {
    let refusal = || format!("must be an address and port such as \"127.0.0.1:5672\", not {text:?}");
    let (host, port) = text.rsplit_once(':').ok_or_else(refusal)?;
    let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || bare_ipv6 || port.parse::<u16>().is_err() {
        return Err(refusal());
    }
    Ok(text.to_owned())
}

/// A list of words, such as a user's tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl Scalar for Words {
    fn type_name() -> String {
        "list of strings".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let elements = value
            .as_array()
            .ok_or_else(|| expected("a list of strings", value))?;
        elements
            .iter()
            .map(|element| String::from_value(element.get_ref()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn show(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|word| quoted(word)).collect();
        format!("[{}]", words.join(", "))
    }
}

/// A name of at most 255 bytes, which is what fits AMQP's short strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub String);

impl Scalar for Name {
    fn type_name() -> String {
        "string, 1 to 255 bytes".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        match text.len() {
            1..=255 => Ok(Self(text)),
            length => Err(format!("must be 1 to 255 bytes, not {length}")),
        }
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}

/// A regular expression over names, kept as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(pub String);

impl Scalar for Pattern {
    fn type_name() -> String {
        "regular expression".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        // The catalog compiles patterns its own way and within its own bounds, so it is the judge.
        let nobody = || BrokerName::new(b"");
        match Permissions::new(nobody(), nobody(), &text, "", "") {
            Ok(_) => Ok(Self(text)),
            Err(refusal) => Err(format!("cannot be used as a pattern: {}", refusal.text)),
        }
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}

/// A password's hash, checked to be one that can be verified; or empty, for no password. Never printed in refusals or by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash(pub String);

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Hash(..)")
    }
}

impl Scalar for Hash {
    fn type_name() -> String {
        "hash as `everack hash-password` prints it, or RabbitMQ's (base64)".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        if !text.is_empty() {
            crate::auth::password::check_hash(&text)?;
        }
        Ok(Self(text))
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}

/// Defines a value that is one of a few words.
macro_rules! choice {
    ($(#[doc = $about:literal])* $Name:ident { $( $(#[doc = $help:literal])* $Variant:ident = $word:literal, )* }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Name {
            $( $(#[doc = $help])* $Variant, )*
        }

        impl Scalar for $Name {
            fn type_name() -> String {
                [$(concat!("\"", $word, "\"")),*].join(", ")
            }

            fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
                match value.as_str() {
                    $( Some($word) => Ok(Self::$Variant), )*
                    Some(other) => Err(format!("must be one of {}, not {other:?}", <Self as Scalar>::type_name())),
                    None => Err(expected(&format!("one of {}", <Self as Scalar>::type_name()), value)),
                }
            }

            fn show(&self) -> String {
                quoted(match self { $( Self::$Variant => $word, )* })
            }
        }
    };
}

choice! {
    /// Whether the management API may be asked over a socket in the data directory.
    OperatorSocket {
        /// By root, and the user that the broker runs as, without a log-in.
        On = "on",
        /// There is no such socket.
        Off = "off",
    }
}

choice! {
    /// Whether the log is written past the kernel's page cache.
    DirectWrites {
        /// While nobody reads from the log and the disk is quick, where the file system is known to be fit for it.
        Auto = "auto",
        /// Never.
        Never = "never",
        /// While nobody reads from the log and the disk is quick, without asking the file system.
        Always = "always",
    }
}

choice! {
    /// Whether publishers decide which of their messages are followed.
    Parents {
        /// The sampled flag of a message's trace context decides.
        On = "on",
        /// Chance decides, with or without a context.
        Off = "off",
    }
}

choice! {
    /// From where the user `guest` with its well-known password may log in.
    Guest {
        /// It is made for a new data directory, as RabbitMQ does, and can be changed and deleted afterwards. From this machine only.
        Initial = "initial",
        /// It is always there. From this machine only.
        Loopback = "loopback",
        /// It is always there, from everywhere. For test machines.
        Anywhere = "anywhere",
        /// There is no such user.
        Off = "off",
    }
}

choice! {
    /// What in a client's certificate names the user, for the mechanism EXTERNAL.
    External {
        /// Nothing: EXTERNAL is not offered.
        Off = "off",
        /// The common name of its subject.
        CommonName = "common_name",
        /// The whole name of its subject, as RFC 4514 writes it: "CN=shop,O=Example,C=DE".
        DistinguishedName = "distinguished_name",
        /// The first host name among its alternative names.
        SubjectAlternativeName = "subject_alternative_name",
    }
}

choice! {
    /// Who a policy is from.
    PolicySort {
        /// It says how queues and exchanges are to be.
        User = "user",
        /// It bounds what other policies and declarations say.
        Operator = "operator",
    }
}

choice! {
    /// The type of queues that are declared without one.
    QueueType {
        /// RabbitMQ's default.
        Classic = "classic",
        /// Always durable.
        Quorum = "quorum",
    }
}

choice! {
    /// What becomes of messages that no queue wants.
    UnroutableFate {
        /// They are kept in the vhost's store.
        Keep = "keep",
        /// They are gone, as in RabbitMQ.
        Drop = "drop",
        /// They are refused.
        Nack = "nack",
    }
}

choice! {
    /// What is done about consumers that do not acknowledge.
    GuardChoice {
        /// Nothing, as in RabbitMQ.
        Allow = "allow",
        /// They are told of in the log, and counted.
        Warn = "warn",
        /// What they got is retained for a while.
        Retain = "retain",
        /// They are refused.
        Deny = "deny",
    }
}

choice! {
    /// How a log line is written.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line, for collectors.
        Json = "json",
    }
}

choice! {
    /// The oldest TLS version spoken.
    TlsVersion {
        /// TLS 1.2 and 1.3.
        V12 = "1.2",
        /// TLS 1.3 only.
        V13 = "1.3",
    }
}

/// What to log: a level, and levels by target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(pub String);

impl Scalar for LogLevel {
    fn type_name() -> String {
        "level (off, error, warn, info, debug, trace), or several as \"info,target=debug\"".to_owned()
    }

    fn from_value(value: &DeValue<'_>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        match crate::log::levels(&text) {
            Ok(_) => Ok(Self(text)),
            Err(reason) => Err(format!("must be a {}: {reason}", <Self as Scalar>::type_name())),
        }
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}
