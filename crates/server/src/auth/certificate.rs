//! The name in a client's certificate, as RabbitMQ takes it for the name of a user; and until when a certificate holds.
//!
//! Reads no more of the certificate than that; whether it is to be trusted was decided in the handshake. A byte that is not
//! where it should be makes no name and no time, never a panic.

use crate::config::setting::External;

/// Tags of the few types that are met on the way.
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const OCTET_STRING: u8 = 0x04;
    pub(super) const OID: u8 = 0x06;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const UTF16_STRING: u8 = 0x1E;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const SET: u8 = 0x31;
    pub(super) const VERSION: u8 = 0xA0;
    pub(super) const EXTENSIONS: u8 = 0xA3;
    pub(super) const DNS_NAME: u8 = 0x82;
}

/// `2.5.4.3`
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// `2.5.29.17`
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 29, 17];
/// The types of names that have short ones in RFC 4514 and RabbitMQ.
const SHORT_NAMES: &[(&[u8], &str)] = &[
    (COMMON_NAME, "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "SERIALNUMBER"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "TITLE"),
    (&[0x55, 4, 42], "GIVENNAME"),
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1], "EMAIL"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25], "DC"),
];

/// The user that a certificate (DER) stands for. `None` if it names nobody in the way that is asked for.
pub(super) fn user_of(certificate: &[u8], by: External) -> Option<String> {
    let subject = Subject::of(certificate)?;
    let name = match by {
        External::Off => None,
        External::CommonName => subject.common_name(),
        External::DistinguishedName => subject.distinguished_name(),
        External::SubjectAlternativeName => subject.dns_name(),
    };
    name.filter(|name| !name.is_empty())
}

/// Until when a certificate (DER) holds, in seconds since 1970. `None` if that cannot be read.
pub(crate) fn holds_until(certificate: &[u8]) -> Option<u64> {
    let mut outer = Der(certificate);
    let mut signed = Der(Der(outer.take(tag::SEQUENCE)?).take(tag::SEQUENCE)?);
    signed.take_if(tag::VERSION);
    signed.take(tag::INTEGER)?;
    // How it is signed, and by whom.
    (0..2).try_for_each(|_| signed.take(tag::SEQUENCE).map(drop))?;
    let mut validity = Der(signed.take(tag::SEQUENCE)?);
    validity.next()?;
    let (tag, digits) = validity.next()?;
    let digits = std::str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    match tag {
        // Two figures of the year: from 1950 to 2049.
        tag::UTC_TIME if digits.get(..2)? < "50" => seconds_of(&format!("20{digits}")),
        tag::UTC_TIME => seconds_of(&format!("19{digits}")),
        tag::GENERALIZED_TIME => seconds_of(digits),
        _ => None,
    }
}

/// `YYYYMMDDHHMMSS` in seconds since 1970; 0 for what lies before.
fn seconds_of(digits: &str) -> Option<u64> {
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits[from..to].parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    // The year begins in March, so that the day that not every year has is its last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = days + (153 * month + 2) / 5 + day - 1 - 719_468;
    let time = number(8, 10)? * 3_600 + number(10, 12)? * 60 + number(12, 14)?;
    Some(u64::try_from(days * 86_400 + time).unwrap_or(0))
}

/// The parts of a certificate that name its holder.
struct Subject<'a> {
    name: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Subject<'a> {
    fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut outer = Der(certificate);
        let mut signed = Der(Der(outer.take(tag::SEQUENCE)?).take(tag::SEQUENCE)?);
        signed.take_if(tag::VERSION);
        signed.take(tag::INTEGER)?;
        // How it is signed, by whom, and how long it holds.
        (0..3).try_for_each(|_| signed.take(tag::SEQUENCE).map(drop))?;
        let name = signed.take(tag::SEQUENCE)?;
        let mut extensions: &[u8] = &[];
        while let Some((tag, content)) = signed.next() {
            if tag == tag::EXTENSIONS {
                extensions = Der(content).take(tag::SEQUENCE)?;
            }
        }
        Some(Self { name, extensions })
    }

    /// Type and value of each part of the name, in the order of the certificate; parts that belong together share a number.
    fn parts(&self) -> Option<Vec<(usize, &'a [u8], String)>> {
        let (mut parts, mut names) = (Vec::new(), Der(self.name));
        let mut number = 0;
        while !names.0.is_empty() {
            let mut set = Der(names.take(tag::SET)?);
            while !set.0.is_empty() {
                let mut part = Der(set.take(tag::SEQUENCE)?);
                let kind = part.take(tag::OID)?;
                let (tag, value) = part.next()?;
                parts.push((number, kind, text(tag, value)));
            }
            number += 1;
        }
        Some(parts)
    }

    /// Several common names are joined by commas, as RabbitMQ does.
    fn common_name(&self) -> Option<String> {
        let parts = self.parts()?.into_iter();
        let names: Vec<String> = parts
            .filter(|(_, kind, _)| *kind == COMMON_NAME)
            .map(|(.., value)| value)
            .collect();
        (!names.is_empty()).then(|| names.join(","))
    }

    /// As RFC 4514 writes it: the last part first.
    fn distinguished_name(&self) -> Option<String> {
        let mut shown = String::new();
        let parts = self.parts()?;
        let mut last = None;
        for (number, kind, value) in parts.iter().rev() {
            if let Some(last) = last {
                shown.push(if last == number { '+' } else { ',' });
            }
            last = Some(number);
            shown.push_str(&type_name(kind));
            shown.push('=');
            shown.push_str(&escaped(value));
        }
        Some(shown)
    }

    /// The first name of a host among the alternatives.
    fn dns_name(&self) -> Option<String> {
        let mut extensions = Der(self.extensions);
        while let Some((tag::SEQUENCE, content)) = extensions.next() {
            let mut extension = Der(content);
            if extension.take(tag::OID)? != SUBJECT_ALTERNATIVE_NAME {
                continue;
            }
            // Whether it is critical may come before the value.
            let mut value = None;
            while let Some((tag, content)) = extension.next() {
                value = value.or((tag == tag::OCTET_STRING).then_some(content));
            }
            let mut names = Der(Der(value?).take(tag::SEQUENCE)?);
            while let Some((tag, name)) = names.next() {
                if tag == tag::DNS_NAME {
                    return String::from_utf8(name.to_vec()).ok();
                }
            }
        }
        None
    }
}

/// What is left of a sequence of values.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Tag and content of the next value. `None` at the end, and if the value does not fit.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            let (bytes, behind) = rest.split_at_checked(usize::from(first & 0x7F))?;
            if bytes.is_empty() || bytes.len() > 4 {
                return None;
            }
            length = bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            rest = behind;
        }
        let (content, behind) = rest.split_at_checked(length)?;
        self.0 = behind;
        Some((tag, content))
    }

    /// The content of the next value, which has to be of that type.
    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let (tag, content) = self.next()?;
        (tag == wanted).then_some(content)
    }

    /// Passes over the next value if it is of that type.
    fn take_if(&mut self, wanted: u8) {
        if self.0.first() == Some(&wanted) {
            self.next();
        }
    }
}

fn text(tag: u8, bytes: &[u8]) -> String {
    if tag == tag::UTF16_STRING {
        let units = bytes
            .chunks_exact(2)
            .map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
        return char::decode_utf16(units)
            .map(|unit| unit.unwrap_or('\u{FFFD}'))
            .collect();
    }
    String::from_utf8_lossy(bytes).into_owned()
}

fn type_name(kind: &[u8]) -> String {
    let known = SHORT_NAMES.iter().find(|(known, _)| *known == kind);
    known.map_or_else(|| dotted(kind), |(_, name)| (*name).to_owned())
}

/// An object identifier in figures: the first byte holds two, all others follow seven bits a byte.
fn dotted(kind: &[u8]) -> String {
    let Some((&first, rest)) = kind.split_first() else {
        return String::new();
    };
    let mut shown = format!("{}.{}", first / 40, first % 40);
    let mut number = 0_u64;
    for byte in rest {
        number = number << 7 & u64::MAX >> 1 | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            shown.push_str(&format!(".{number}"));
            number = 0;
        }
    }
    shown
}

/// As RFC 4514 writes a value.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut shown = String::with_capacity(value.len());
    for (at, letter) in value.chars().enumerate() {
        let special = matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (at == 0 && matches!(letter, ' ' | '#'))
            || (at == last && letter == ' ');
        if special {
            shown.push('\\');
        }
        shown.push(letter);
    }
    shown
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn certificate(names: &[(DnType, &str)], hosts: &[&str]) -> Vec<u8> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut parameters = CertificateParams::new(hosts).expect("names of hosts");
        parameters.distinguished_name = DistinguishedName::new();
        for (kind, name) in names {
            parameters.distinguished_name.push(kind.clone(), *name);
        }
        let key = KeyPair::generate().expect("a key");
        parameters
            .self_signed(&key)
            .expect("a certificate")
            .der()
            .to_vec()
    }

    #[test]
    fn names_as_rabbitmq_takes_them() {
        let check = |der: &[u8], by, expected: Option<&str>| {
            assert_eq!(user_of(der, by).as_deref(), expected, "{by:?}");
        };
        let full = certificate(
            &[
                (DnType::CountryName, "DE"),
                (DnType::OrganizationName, "Käse, Inc."),
                (DnType::CommonName, "shop"),
            ],
            &["shop.example", "other.example"],
        );
        check(&full, External::Off, None);
        check(&full, External::CommonName, Some("shop"));
        check(
            &full,
            External::DistinguishedName,
            Some("CN=shop,O=Käse\\, Inc.,C=DE"),
        );
        check(&full, External::SubjectAlternativeName, Some("shop.example"));
        let bare = certificate(&[(DnType::OrganizationalUnitName, " x")], &[]);
        check(&bare, External::CommonName, None);
        check(&bare, External::DistinguishedName, Some("OU=\\ x"));
        check(&bare, External::SubjectAlternativeName, None);
        let odd = certificate(&[(DnType::CustomDnType(vec![2, 5, 4, 13]), "d")], &[]);
        check(&odd, External::DistinguishedName, Some("2.5.4.13=d"));
    }

    #[test]
    fn holds_until_the_second_time() {
        for (year, month, day, expected) in [
            (2030, 1, 1, 1_893_456_000),
            (2028, 2, 29, 1_835_395_200),
            (2049, 12, 31, 2_524_521_600),
            (2050, 3, 1, 2_529_705_600),
        ] {
            let mut parameters = CertificateParams::default();
            parameters.not_after = rcgen::date_time_ymd(year, month, day);
            let key = KeyPair::generate().expect("a key");
            let certificate = parameters.self_signed(&key).expect("a certificate");
            assert_eq!(
                holds_until(certificate.der()),
                Some(expected),
                "{year}-{month}-{day}"
            );
        }
        for odd in ["", "2030", "20300101000000Z", "2030010100000x"] {
            assert_eq!(seconds_of(odd), None, "{odd}");
        }
        assert_eq!(seconds_of("19700101000001"), Some(1));
        assert_eq!(seconds_of("19400101000001"), Some(0));
    }

    #[test]
    fn what_is_no_certificate_names_nobody() {
        let good = certificate(&[(DnType::CommonName, "shop")], &["shop.example"]);
        let all = [
            External::CommonName,
            External::DistinguishedName,
            External::SubjectAlternativeName,
        ];
        for length in 0..good.len() {
            for by in all {
                assert_eq!(user_of(&good[..length], by), None, "cut after {length} bytes");
            }
            assert_eq!(holds_until(&good[..length]), None, "cut after {length} bytes");
        }
        for at in 0..good.len() {
            for bits in [0xFF, 0x80, 0x01] {
                let mut broken = good.clone();
                broken[at] ^= bits;
                all.iter().for_each(|by| drop(user_of(&broken, *by)));
                holds_until(&broken);
            }
        }
    }
}
