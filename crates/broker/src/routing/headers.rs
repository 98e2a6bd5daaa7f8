//! Headers exchanges: the arguments of a binding are a pattern for the headers of a message.
//!
//! `x-match` says how: `all` (the default) or `any` of the conditions, which leave out names that begin with `x-`; the
//! forms `all-with-x` and `any-with-x` leave out `x-match` only. A condition without a value (void) asks whether the header
//! is there; any other asks for an equal value, integers of all widths being one type, and strings and binaries likewise.
//!
//! Bindings are found by hashes of the headers that a message has, not by trying each: an `all` pattern waits under one of
//! its conditions, an `any` pattern under each. A hash only nominates; every candidate is checked.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use super::bucket::Bucket;
use super::keyed_hash::Keyed;
use super::small_map::SmallMap;
use crate::arguments::{Arguments, Value};
use crate::catalog::Bound;
use crate::name::Name;

/// What a message says beside its routing key: headers, properties, chance. Decoded only when an exchange asks.
pub trait Headers {
    /// Calls `visit` with each header, in order. When a name comes twice, the later one counts.
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'a [u8], HeaderValue<'a>));

    /// How long the message is to wait at exchanges that hold messages back; none if it is not to wait.
    fn delay_millis(&self) -> Option<u64> {
        super::delay::asked_for(|visit| self.visit(visit))
    }

    /// A property of the message, for exchanges that hash one.
    fn property(&self, _property: Property) -> Option<HeaderValue<'_>> {
        None
    }

    /// A number by chance, for exchanges that choose so; another one at each call. There is no chance in this crate.
    fn draw(&self) -> u64 {
        0
    }
}

/// The properties that an exchange may hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// `correlation_id`.
    CorrelationId,
    /// `message_id`.
    MessageId,
    /// `timestamp`.
    Timestamp,
}

/// A header's value, in the form in which values are compared.
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderValue<'a> {
    /// There, but without a value.
    Void,
    /// A truth value.
    Bool(bool),
    /// An integer of any width.
    Integer(i64),
    /// A float of any width.
    Float(f64),
    /// A string or a binary.
    Bytes(&'a [u8]),
    /// Seconds since 1970.
    Timestamp(u64),
    /// Everything else, compared as a whole: tables, arrays, decimals.
    Compound(Value),
}

/// No headers at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn visit<'a>(&'a self, _visit: &mut dyn FnMut(&'a [u8], HeaderValue<'a>)) {}
}

impl Headers for Arguments {
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'a [u8], HeaderValue<'a>)) {
        for (name, value) in self {
            visit(name, HeaderValue::from(value));
        }
    }
}

impl<'a> From<&'a Value> for HeaderValue<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Void => HeaderValue::Void,
            Value::Bool(value) => HeaderValue::Bool(*value),
            Value::LongString(bytes) | Value::Binary(bytes) => HeaderValue::Bytes(bytes),
            Value::Timestamp(seconds) => HeaderValue::Timestamp(*seconds),
            value => match (value.as_integer(), value.as_float()) {
                (Some(integer), _) => HeaderValue::Integer(integer),
                (_, Some(float)) => HeaderValue::Float(float),
                _ => HeaderValue::Compound(value.clone()),
            },
        }
    }
}

/// The bindings of one headers exchange, those with equal patterns together.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadersTable {
    /// Patterns by number.
    patterns: SmallMap<u64, Arc<Pattern>>,
    numbers: SmallMap<Arc<Conditions>, u64>,
    number_next: u64,
    /// Numbers of the patterns that wait under a hash of a name and a condition.
    waiting: SmallMap<u64, SmallMap<u64, ()>>,
    /// The pattern that asks for nothing, if it is bound, matches every message.
    unconditional: Option<u64>,
}

#[derive(Clone, Debug)]
struct Pattern {
    conditions: Arc<Conditions>,
    bucket: Bucket,
}

/// What a pattern asks for. The values stay typed: a pattern bound with another integer type is kept apart, which costs
/// nothing and keeps the two bindings what they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Conditions {
    any: bool,
    conditions: Vec<(Name, Value)>,
}

impl HeadersTable {
    /// Puts the buckets of all matching patterns into `found`, each once.
    pub(crate) fn find<'a>(&'a self, headers: &dyn Headers, keyed: Keyed, found: &mut Vec<&'a Bucket>) {
        let headers = SortedHeaders::collect(headers);
        let mut candidates: Vec<u64> = self.unconditional.into_iter().collect();
        for (name, value) in &headers.0 {
            for key in [
                waiting_key(name, value, keyed),
                waiting_key(name, &HeaderValue::Void, keyed),
            ] {
                candidates.extend(
                    self.waiting
                        .get(&key)
                        .into_iter()
                        .flat_map(SmallMap::iter)
                        .map(|(number, ())| *number),
                );
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        let patterns = candidates.iter().filter_map(|number| self.patterns.get(number));
        found.extend(
            patterns
                .filter(|pattern| pattern.conditions.hold(&headers))
                .map(|pattern| &pattern.bucket),
        );
    }

    pub(crate) fn add(&mut self, binding: Arc<Bound>, keyed: Keyed) {
        let conditions = Conditions::of(&binding.arguments);
        if let Some(number) = self.numbers.get(&conditions) {
            let pattern = self.patterns.get_mut(number).expect("a number has its pattern");
            Arc::make_mut(pattern).bucket.add(binding);
            return;
        }
        let number = self.number_next;
        self.number_next += 1;
        let conditions = Arc::new(conditions);
        self.wait(&conditions, number, keyed);
        let bucket = Bucket::One(binding);
        self.numbers.add(conditions.clone(), number);
        self.patterns
            .add(number, Arc::new(Pattern { conditions, bucket }));
    }

    pub(crate) fn remove(&mut self, binding: &Bound, keyed: Keyed) {
        let conditions = Conditions::of(&binding.arguments);
        let number = *self
            .numbers
            .get(&conditions)
            .expect("a bound pattern has its number");
        let pattern = Arc::make_mut(self.patterns.get_mut(&number).expect("a number has its pattern"));
        pattern.bucket.remove(binding);
        if pattern.bucket.is_empty() {
            self.patterns.remove(&number);
            self.numbers.remove(&conditions);
            self.stop_waiting(&conditions, number, keyed);
        }
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.patterns.iter().map(|(_, pattern)| &pattern.bucket)
    }

    /// Whether nothing waits that is not bound.
    pub(crate) fn is_pruned(&self) -> bool {
        let waits = self.waiting.iter().flat_map(|(_, numbers)| numbers.iter());
        self.numbers.len() == self.patterns.len()
            && waits
                .chain(self.unconditional.iter().map(|number| (number, &())))
                .all(|(number, ())| self.patterns.get(number).is_some())
    }

    fn wait(&mut self, conditions: &Conditions, number: u64, keyed: Keyed) {
        if conditions.hold_for_nothing() {
            self.unconditional = Some(number);
        }
        for key in conditions.waiting_keys(keyed) {
            if self.waiting.get(&key).is_none() {
                self.waiting.add(key, SmallMap::default());
            }
            let numbers = self.waiting.get_mut(&key).expect("found or just added");
            if numbers.get(&number).is_none() {
                numbers.add(number, ());
            }
        }
    }

    fn stop_waiting(&mut self, conditions: &Conditions, number: u64, keyed: Keyed) {
        if conditions.hold_for_nothing() {
            self.unconditional = None;
        }
        for key in conditions.waiting_keys(keyed) {
            // A pattern that names a condition twice waits once.
            let Some(numbers) = self.waiting.get_mut(&key) else {
                continue;
            };
            numbers.remove(&number);
            if numbers.is_empty() {
                self.waiting.remove(&key);
            }
        }
    }
}

impl Conditions {
    fn of(arguments: &Arguments) -> Self {
        let how = arguments
            .get("x-match")
            .and_then(Value::as_long_string)
            .unwrap_or(b"all");
        let with_x = matches!(how, b"all-with-x" | b"any-with-x");
        let counts = |name: &Name| {
            if with_x {
                name.as_bytes() != b"x-match"
            } else {
                !name.starts_with(b"x-")
            }
        };
        let conditions = arguments
            .iter()
            .filter(|(name, _)| counts(name))
            .cloned()
            .collect();
        Self {
            any: matches!(how, b"any" | b"any-with-x"),
            conditions,
        }
    }

    /// Whether even a message without headers matches: all of nothing holds, any of nothing does not.
    fn hold_for_nothing(&self) -> bool {
        self.conditions.is_empty() && !self.any
    }

    fn hold(&self, headers: &SortedHeaders<'_>) -> bool {
        let mut holds = self.conditions.iter().map(|(name, wanted)| {
            headers
                .get(name)
                .is_some_and(|value| matches!(wanted, Value::Void) || *value == HeaderValue::from(wanted))
        });
        if self.any {
            holds.any(|holds| holds)
        } else {
            holds.all(|holds| holds)
        }
    }

    /// Where the pattern waits: under each condition if any will do, else under the one that is likely to be rare, which
    /// is one that asks for a value.
    fn waiting_keys(&self, keyed: Keyed) -> impl Iterator<Item = u64> {
        let rare = self
            .conditions
            .iter()
            .position(|(_, wanted)| *wanted != Value::Void)
            .unwrap_or(0);
        let under = if self.any {
            0..self.conditions.len()
        } else {
            rare..(rare + 1).min(self.conditions.len())
        };
        self.conditions[under]
            .iter()
            .map(move |(name, wanted)| waiting_key(name, &HeaderValue::from(wanted), keyed))
    }
}

/// Headers in the order of their names, each name once.
struct SortedHeaders<'a>(Vec<(&'a [u8], HeaderValue<'a>)>);

impl<'a> SortedHeaders<'a> {
    fn collect(headers: &'a dyn Headers) -> Self {
        let mut sorted = Vec::new();
        headers.visit(&mut |name, value| sorted.push((name, value)));
        sorted.sort_by(|left, right| left.0.cmp(right.0));
        // Of equal names the later one stays: it is moved to the place that `dedup_by` keeps.
        sorted.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self(sorted)
    }

    fn get(&self, name: &[u8]) -> Option<&HeaderValue<'a>> {
        let at = self
            .0
            .binary_search_by(|(candidate, _)| (*candidate).cmp(name))
            .ok()?;
        Some(&self.0[at].1)
    }
}

/// The hash of a condition. Equal values have equal hashes; zero is made one value, as 0.0 equals -0.0.
fn waiting_key(name: &[u8], value: &HeaderValue<'_>, keyed: Keyed) -> u64 {
    let mut hasher = keyed.build_hasher();
    name.hash(&mut hasher);
    std::mem::discriminant(value).hash(&mut hasher);
    match value {
        HeaderValue::Void => {}
        HeaderValue::Bool(value) => value.hash(&mut hasher),
        HeaderValue::Integer(value) => value.hash(&mut hasher),
        HeaderValue::Float(value) => (value + 0.0).to_bits().hash(&mut hasher),
        HeaderValue::Bytes(bytes) => bytes.hash(&mut hasher),
        HeaderValue::Timestamp(seconds) => seconds.hash(&mut hasher),
        HeaderValue::Compound(value) => value.hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Binding;
    use crate::routing::bucket::Member;
    use crate::routing::bucket::tests::bound;

    fn arguments(values: &[(&str, Value)]) -> Arguments {
        values.iter().cloned().collect()
    }

    fn check(pattern: &[(&str, Value)], headers: &[(&str, Value)], expected: bool) {
        let binding = Binding {
            arguments: arguments(pattern),
            ..bound("", 1).binding()
        };
        let binding = Arc::new(Bound::new(binding, Member::Exchange));
        let mut table = HeadersTable::default();
        table.add(binding.clone(), Keyed::default());
        let mut found = Vec::new();
        table.find(&arguments(headers), Keyed::default(), &mut found);
        assert_eq!(
            !found.is_empty(),
            expected,
            "pattern {pattern:?}, headers {headers:?}"
        );
        table.remove(&binding, Keyed::default());
        assert!(table.is_pruned());
        assert!(table.waiting.is_empty());
        assert_eq!(table.unconditional, None);
    }

    #[test]
    fn all_and_any() {
        let both = [("a", Value::from(1)), ("b", "x".into())];
        let any = [
            ("x-match", Value::from("any")),
            ("a", 1.into()),
            ("b", "x".into()),
        ];
        check(&both, &both, true);
        check(&both, &[("a", 1.into())], false);
        check(
            &both,
            &[("a", 1.into()), ("b", "x".into()), ("c", 3.into())],
            true,
        );
        check(&both, &[("a", 1.into()), ("b", "y".into())], false);
        check(&any, &[("a", 1.into())], true);
        check(&any, &[("b", "x".into()), ("a", 2.into())], true);
        check(&any, &[("b", "y".into())], false);
        check(&any, &[], false);
    }

    #[test]
    fn nothing_asked_for() {
        check(&[], &[], true);
        check(&[], &[("a", 1.into())], true);
        check(&[("x-match", "all".into())], &[("a", 1.into())], true);
        check(&[("x-match", "any".into())], &[("a", 1.into())], false);
    }

    #[test]
    fn names_that_begin_with_x() {
        check(&[("x-match", "all".into()), ("x-a", 1.into())], &[], true);
        check(&[("x-match", "all-with-x".into()), ("x-a", 1.into())], &[], false);
        check(
            &[("x-match", "all-with-x".into()), ("x-a", 1.into())],
            &[("x-a", 1.into())],
            true,
        );
        check(
            &[("x-match", "any".into()), ("x-a", 1.into())],
            &[("x-a", 1.into())],
            false,
        );
        check(
            &[("x-match", "any-with-x".into()), ("x-a", 1.into())],
            &[("x-a", 1.into())],
            true,
        );
    }

    #[test]
    fn values() {
        check(&[("a", Value::Void)], &[("a", 7.into())], true);
        check(&[("a", Value::Void)], &[("a", Value::Void)], true);
        check(&[("a", Value::Void)], &[("b", 7.into())], false);
        check(&[("a", 7.into())], &[("a", Value::Void)], false);
        check(&[("a", 7_i64.into())], &[("a", Value::UnsignedByte(7))], true);
        check(&[("a", 7.into())], &[("a", 7.0.into())], false);
        check(&[("a", 0.0.into())], &[("a", (-0.0).into())], true);
        check(
            &[("a", "x".into())],
            &[("a", Value::Binary(b"x".as_slice().into()))],
            true,
        );
        check(&[("a", true.into())], &[("a", true.into())], true);
        check(&[("a", Value::Timestamp(5))], &[("a", Value::Timestamp(5))], true);
        check(&[("a", Value::Timestamp(5))], &[("a", 5.into())], false);
        let table = Value::Table(arguments(&[("k", 1.into())]));
        check(&[("a", table.clone())], &[("a", table)], true);
    }

    #[test]
    fn of_equal_names_the_later_header_counts() {
        check(&[("a", 1.into())], &[("a", 1.into()), ("a", 2.into())], false);
        check(&[("a", 2.into())], &[("a", 1.into()), ("a", 2.into())], true);
        check(
            &[("x-match", "any".into()), ("a", 1.into()), ("a", 1.into())],
            &[("a", 1.into())],
            true,
        );
    }
}
