//! Lists whose entries are made when they are seen. Most of a list's cost is the JSON of its entries, and most entries of a
//! long list are on another page.

use serde_json::Value;

use super::view::find;

/// An answer, before somebody looks at it.
pub(super) enum Shown {
    /// All of it.
    Whole(Value),
    /// A list.
    Rows(Vec<Row>),
}

/// One entry of a list.
pub(super) struct Row {
    name: String,
    entry: Entry,
}

enum Entry {
    Made(Value),
    Later(Box<dyn Fn(Purpose<'_>) -> Value + Send + Sync>),
}

/// What an entry is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose<'a> {
    /// To be shown.
    Shown,
    /// For the one field of this name that it is sorted by, or a part of it: nothing else has to be there. All entries of a list are made
    /// for that, and history would cost more than all the rest.
    Sorted(&'a str),
}

impl<'a> Purpose<'a> {
    /// The one field that is needed, if it is only one.
    pub(super) fn field(self) -> Option<&'a str> {
        match self {
            Self::Shown => None,
            Self::Sorted(field) => Some(field),
        }
    }
}

impl Shown {
    /// All of it, made.
    pub(super) fn into_whole(self) -> Value {
        match self {
            Self::Whole(whole) => whole,
            Self::Rows(rows) => rows.into_iter().map(Row::make).collect(),
        }
    }
}

impl Row {
    /// An entry with its `name`, which has to be the one that it is shown with.
    pub(super) fn new(name: String, make: impl Fn(Purpose<'_>) -> Value + Send + Sync + 'static) -> Self {
        let entry = Entry::Later(Box::new(make));
        Self { name, entry }
    }

    /// One that is made already.
    pub(super) fn made(value: Value) -> Self {
        let name = value["name"].as_str().unwrap_or_default().to_owned();
        let entry = Entry::Made(value);
        Self { name, entry }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// One field of it.
    pub(super) fn field(&self, path: &[String]) -> Option<Value> {
        match &self.entry {
            Entry::Made(value) => find(value, path).cloned(),
            Entry::Later(make) => find(&make(Purpose::Sorted(path.first()?)), path).cloned(),
        }
    }

    pub(super) fn make(self) -> Value {
        match self.entry {
            Entry::Made(value) => value,
            Entry::Later(make) => make(Purpose::Shown),
        }
    }
}
