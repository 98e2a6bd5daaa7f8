//! How an answer is looked at: sorted, cut into pages, with some columns only; by RabbitMQ's parameters behind the question mark.
//!
//! | parameter | what |
//! |---|---|
//! | `columns=name,message_stats.publish` | only these fields |
//! | `sort=messages&sort_reverse=true` | by this field; what has none of it comes first |
//! | `page=2&page_size=50` | one page, with sums (100 a page if nothing is said, 500 at most) |
//! | `name=orders&use_regex=true` | with `page`: only what has this in its name, or matches |
//!
//! The first three apply to every list, `columns` to single things as well.

use std::cmp::Ordering;

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::rows::{Row, Shown};

const PAGE_SIZE_DEFAULT: usize = 100;
const PAGE_SIZE_MAX: usize = 500;
/// Bytes that a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The parameters, read.
#[derive(Debug, Default)]
pub(super) struct View {
    columns: Option<Vec<Vec<String>>>,
    sort: Option<Vec<String>>,
    reverse: bool,
    page: Option<Page>,
}

#[derive(Debug)]
struct Page {
    number: usize,
    size: usize,
    name: Name,
}

#[derive(Debug)]
enum Name {
    Any,
    Contains(String),
    Matches(Regex),
}

/// The parameters as they stand there; others are not looked at.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameters {
    columns: Option<String>,
    sort: Option<String>,
    sort_reverse: Option<String>,
    page: Option<String>,
    page_size: Option<String>,
    name: Option<String>,
    use_regex: Option<String>,
}

impl Parameters {
    /// The same, without pages where there are none.
    pub(super) fn paged(self, paged: bool) -> Self {
        Self {
            page: self.page.filter(|_| paged),
            ..self
        }
    }
}

impl View {
    /// Reads the parameters; `None` where nothing is asked of the answer.
    pub(super) fn of(parameters: Parameters) -> Result<Option<Self>, Refusal> {
        let Parameters {
            columns,
            sort,
            sort_reverse,
            ..
        } = &parameters;
        let path = |name: &str| name.split('.').map(str::to_owned).collect();
        let view = Self {
            columns: columns
                .as_ref()
                .map(|columns| columns.split(',').map(path).collect()),
            sort: sort.as_deref().filter(|sort| !sort.is_empty()).map(path),
            reverse: sort_reverse.as_deref() == Some("true"),
            page: Page::of(&parameters)?,
        };
        let asked = view.columns.is_some() || view.sort.is_some() || view.page.is_some();
        Ok(asked.then_some(view))
    }

    /// What is seen of an answer.
    pub(super) fn apply(&self, answer: Shown) -> Result<Value, Refusal> {
        let mut items = match answer {
            Shown::Whole(Value::Array(items)) => items.into_iter().map(Row::made).collect(),
            Shown::Whole(answer) => return Ok(self.narrow(answer)),
            Shown::Rows(rows) => rows,
        };
        let total = items.len();
        if let Some(page) = &self.page {
            items.retain(|item| page.name.fits(item.name()));
        }
        if let Some(path) = &self.sort {
            self.sort(path, &mut items);
        }
        let narrow = |row: Row| self.narrow(row.make());
        let Some(page) = &self.page else {
            return Ok(items.into_iter().map(narrow).collect());
        };
        let filtered = items.len();
        let shown: Value = page.cut(items)?.map(narrow).collect();
        Ok(json!({
            "total_count": total,
            "filtered_count": filtered,
            "item_count": shown.as_array().map_or(0, Vec::len),
            "page": page.number,
            "page_size": page.size,
            "page_count": filtered.div_ceil(page.size),
            "items": shown,
        }))
    }

    /// By name without making the rows; else each is made for what it is sorted by, and forgotten.
    fn sort(&self, path: &[String], rows: &mut [Row]) {
        let turned = |order: Ordering| if self.reverse { order.reverse() } else { order };
        if path == ["name"] {
            rows.sort_by(|left, right| turned(left.name().cmp(right.name())));
            return;
        }
        rows.sort_by_cached_key(|row| Key {
            value: row.field(path),
            reverse: self.reverse,
        });
    }

    fn narrow(&self, item: Value) -> Value {
        let Some(columns) = &self.columns else {
            return item;
        };
        let mut narrow = Map::new();
        for path in columns {
            if let Some(value) = find(&item, path) {
                put(&mut narrow, path, value.clone());
            }
        }
        Value::Object(narrow)
    }
}

impl Page {
    fn of(parameters: &Parameters) -> Result<Option<Self>, Refusal> {
        let Some(number) = &parameters.page else {
            return Ok(None);
        };
        let size = parameters.page_size.as_ref();
        let size = size.map_or(Ok(PAGE_SIZE_DEFAULT), |size| size.parse());
        match (number.parse(), size) {
            (Ok(number), Ok(size)) if number > 0 && (1..=PAGE_SIZE_MAX).contains(&size) => {
                let name = Name::of(parameters)?;
                Ok(Some(Self { number, size, name }))
            }
            _ => Err(Refusal::Bad(format!(
                "Invalid pagination parameters: page is a number from 1 on, page_size one from 1 to {PAGE_SIZE_MAX}"
            ))),
        }
    }

    fn cut(&self, items: Vec<Row>) -> Result<impl Iterator<Item = Row>, Refusal> {
        let (length, first) = (items.len(), (self.number - 1).saturating_mul(self.size));
        if first > 0 && first >= length {
            let (page, size) = (self.number, self.size);
            let text = format!("Page out of range, page: {page} page size: {size}, len: {length}");
            return Err(Refusal::Range(text));
        }
        Ok(items.into_iter().skip(first).take(self.size))
    }
}

impl Name {
    fn of(parameters: &Parameters) -> Result<Self, Refusal> {
        let Some(name) = parameters.name.as_ref().filter(|name| !name.is_empty()) else {
            return Ok(Name::Any);
        };
        if parameters.use_regex.as_deref() != Some("true") {
            return Ok(Name::Contains(name.to_lowercase()));
        }
        let mut pattern = regex::RegexBuilder::new(name);
        let built = pattern
            .case_insensitive(true)
            .size_limit(PATTERN_BYTES_MAX)
            .build();
        built
            .map(Name::Matches)
            .map_err(|error| Refusal::Bad(format!("name is no regular expression: {error}")))
    }

    fn fits(&self, name: &str) -> bool {
        match self {
            Name::Any => true,
            Name::Contains(part) => name.to_lowercase().contains(part),
            Name::Matches(pattern) => pattern.is_match(name),
        }
    }
}

/// What a row is sorted by.
struct Key {
    value: Option<Value>,
    reverse: bool,
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = compare(self.value.as_ref(), other.value.as_ref());
        if self.reverse { order.reverse() } else { order }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

pub(super) fn find<'a>(item: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(item, |value, name| value.get(name))
}

/// `None` comes before everything, numbers before texts.
fn compare(left: Option<&Value>, right: Option<&Value>) -> Ordering {
    let rank = |value: Option<&Value>| match value {
        None | Some(Value::Null) => 0,
        Some(Value::Number(_)) => 1,
        Some(Value::Bool(_)) => 2,
        Some(Value::Array(_) | Value::Object(_)) => 3,
        Some(Value::String(_)) => 4,
    };
    match (left, right) {
        (Some(Value::Number(left)), Some(Value::Number(right))) => {
            let float = |number: &serde_json::Number| number.as_f64().unwrap_or(f64::NAN);
            float(left).total_cmp(&float(right))
        }
        (Some(Value::Bool(left)), Some(Value::Bool(right))) => left.cmp(right),
        (Some(Value::String(left)), Some(Value::String(right))) => left.cmp(right),
        _ => rank(left).cmp(&rank(right)),
    }
}

fn put(object: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        object.insert(name.clone(), value);
        return;
    }
    let inner = object.entry(name.clone()).or_insert_with(|| json!({}));
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering as AtomicOrdering};

    use super::*;
    use crate::http::rows::Purpose;

    fn items() -> Value {
        json!([
            { "name": "b", "messages": 2, "stats": { "publish": 5, "ack": 1 } },
            { "name": "a", "messages": 10 },
            { "name": "Orders", "messages": 2, "stats": { "publish": 7 } },
        ])
    }

    fn view(query: &str) -> Result<Value, Refusal> {
        let uri: axum::http::Uri = format!("/?{query}").parse().expect("it is a query");
        let parameters = axum::extract::Query::<Parameters>::try_from_uri(&uri).expect("texts only");
        match View::of(parameters.0)? {
            Some(view) => view.apply(Shown::Whole(items())),
            None => Ok(items()),
        }
    }

    fn names(query: &str) -> Vec<String> {
        let seen = view(query).expect("it can be seen");
        let items = if seen.is_array() { &seen } else { &seen["items"] };
        let items = items.as_array().expect("a list");
        let name = |item: &Value| item["name"].as_str().unwrap_or_default().to_owned();
        items.iter().map(name).collect()
    }

    #[test]
    fn nothing_asked_changes_nothing() {
        assert_eq!(view("other=1"), Ok(items()));
    }

    #[test]
    fn sorts_by_any_field() {
        assert_eq!(names("sort=name"), ["Orders", "a", "b"]);
        assert_eq!(names("sort=messages"), ["b", "Orders", "a"]);
        assert_eq!(names("sort=messages&sort_reverse=true"), ["a", "b", "Orders"]);
        assert_eq!(names("sort=stats.publish"), ["a", "b", "Orders"]);
        assert_eq!(names("sort=nothing"), ["b", "a", "Orders"]);
    }

    #[test]
    fn shows_some_columns() {
        let narrow = json!([
            { "name": "b", "stats": { "publish": 5 } },
            { "name": "a" },
            { "name": "Orders", "stats": { "publish": 7 } },
        ]);
        assert_eq!(view("columns=name,stats.publish,nothing"), Ok(narrow));
        let view = View::of(Parameters {
            columns: Some("messages".to_owned()),
            ..Parameters::default()
        });
        let view = view.expect("it is good").expect("something is asked");
        assert_eq!(
            view.apply(Shown::Whole(items()[1].clone())),
            Ok(json!({ "messages": 10 }))
        );
    }

    #[test]
    fn cuts_pages() {
        let seen = view("page=2&page_size=2&sort=name").expect("there are two pages");
        let expected = json!({
            "total_count": 3, "filtered_count": 3, "item_count": 1, "page": 2, "page_size": 2, "page_count": 2,
            "items": [items()[0]],
        });
        assert_eq!(seen, expected);
        assert_eq!(names("page=1&name=ORD"), ["Orders"]);
        assert_eq!(names("page=1&name=%5E%5Bab%5D%24&use_regex=true"), ["b", "a"]);
        assert_eq!(names("page=1&name=nobody"), [""; 0]);
    }

    #[test]
    fn makes_whole_only_what_is_seen() {
        let made = Arc::new(AtomicUsize::new(0));
        let rows = [3, 1, 2].map(|messages: u64| {
            let made = made.clone();
            Row::new(format!("q{messages}"), move |purpose| match purpose {
                Purpose::Sorted(field) => {
                    assert_eq!(field, "messages");
                    json!({ "messages": messages })
                }
                Purpose::Shown => {
                    made.fetch_add(1, AtomicOrdering::Relaxed);
                    json!({ "name": format!("q{messages}"), "messages": messages })
                }
            })
        });
        let parameters = Parameters {
            sort: Some("messages".to_owned()),
            page: Some("1".to_owned()),
            page_size: Some("1".to_owned()),
            ..Parameters::default()
        };
        let view = View::of(parameters)
            .expect("it is good")
            .expect("something is asked");
        let seen = view.apply(Shown::Rows(rows.into())).expect("there is a page");
        assert_eq!(seen["items"], json!([{ "name": "q1", "messages": 1 }]));
        assert_eq!(made.load(AtomicOrdering::Relaxed), 1);
    }

    #[test]
    fn refuses_pages_that_cannot_be() {
        for query in [
            "page=0",
            "page=x",
            "page=1&page_size=0",
            "page=1&page_size=501",
            "page=2",
            "page=18446744073709551615&page_size=500",
            "page=1&name=(&use_regex=true",
        ] {
            assert!(view(query).is_err(), "{query}");
        }
    }
}
