//! `list` and `show`: what there is.

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value};

use super::exit::Misused;
use super::resource::{Column, Resource, Single};
use super::{Context, Exit};
use crate::output::cell::{self, Kind};
use crate::output::table::Table;
use crate::output::terminal::Terminal;
use crate::output::{compared, field, print, print_json};

/// What to list, and how.
#[derive(Debug, Args)]
pub(super) struct List {
    /// What to list.
    resource: Resource,
    /// Show these fields of the API instead of the usual ones, such as `name,message_stats.publish`.
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    columns: Vec<String>,
    /// Sort by this field.
    #[arg(long, value_name = "FIELD")]
    sort: Option<String>,
    /// The other way round.
    #[arg(long, requires = "sort")]
    reverse: bool,
    /// Only those with this text in their name (queues: name; users: name; and so on).
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
}

/// What to show.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// Of which kind.
    resource: Resource,
    /// Its name; for a parameter the component and its name.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl List {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let vhost = context.vhost.as_deref();
        let path = self.resource.list(vhost);
        let about = || format!("cannot list {}s", self.resource.singular());
        let answer = context.api.get(&path).with_context(about)?;
        let rows = self.chosen(answer, vhost);
        if context.json {
            let narrow = |row: Value| {
                if self.columns.is_empty() {
                    row
                } else {
                    narrowed(&row, &self.columns)
                }
            };
            print_json(&rows.into_iter().map(narrow).collect())?;
            return Ok(Exit::Done);
        }
        let terminal = Terminal::of_output();
        print(&self.table(&rows).render(terminal))?;
        Ok(Exit::Done)
    }

    /// The rows that were asked for, in order.
    fn chosen(&self, answer: Value, vhost: Option<&str>) -> Vec<Value> {
        let Value::Array(mut rows) = answer else {
            return Vec::new();
        };
        // Not every list can be had for one virtual host.
        if let Some(vhost) = vhost {
            rows.retain(|row| {
                row.get("vhost")
                    .and_then(Value::as_str)
                    .is_none_or(|of| of == vhost)
            });
        }
        if let Some(part) = &self.name {
            let has = |row: &Value| {
                let names = ["name", "user", "consumer_tag", "destination"];
                let name = names.iter().find_map(|name| row.get(name)?.as_str());
                name.is_some_and(|name| name.contains(part.as_str()))
            };
            rows.retain(has);
        }
        if let Some(by) = &self.sort {
            rows.sort_by(|one, other| compared(field(one, by), field(other, by)));
        }
        if self.reverse {
            rows.reverse();
        }
        rows
    }

    fn table(&self, rows: &[Value]) -> Table {
        if self.columns.is_empty() {
            return tabulated(rows, self.resource.columns());
        }
        let of_numbers = |column: &String| {
            !rows.is_empty()
                && rows
                    .iter()
                    .all(|row| field(row, column).is_some_and(Value::is_number))
        };
        let headings: Vec<_> = self
            .columns
            .iter()
            .map(|column| (column.as_str(), of_numbers(column)))
            .collect();
        let mut table = Table::new(headings);
        for row in rows {
            let cell = |column: &String| cell::text(field(row, column), Kind::Text);
            table.push(self.columns.iter().map(cell).collect());
        }
        table
    }
}

impl Show {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let Self { resource, names } = self;
        let singular = resource.singular();
        let path = resource
            .one(context.vhost(), &names)
            .ok_or_else(|| wrongly_named(resource))?;
        let about = || format!("cannot show {singular} {}", names.join(" "));
        let answer = context.api.get(&path).with_context(about)?;
        if context.json {
            print_json(&answer)?;
        } else {
            print(&details(&answer))?;
        }
        Ok(Exit::Done)
    }
}

fn wrongly_named(resource: Resource) -> Misused {
    let singular = resource.singular();
    Misused(match resource.single() {
        Single::None => format!("a {singular} has no page of its own: list them"),
        Single::Parameter => format!("a {singular} is named by its component and its name"),
        _ => format!("a {singular} is named by one name"),
    })
}

/// A table of rows.
pub(super) fn tabulated(rows: &[Value], columns: &[Column]) -> Table {
    let mut table = Table::new(
        columns
            .iter()
            .map(|column| (column.heading, column.kind.is_number())),
    );
    for row in rows {
        let cell = |column: &Column| cell::text(field(row, column.field), column.kind);
        table.push(columns.iter().map(cell).collect());
    }
    table
}

/// All that an object says, a line a field, with what is inside by its path.
pub(super) fn details(object: &Value) -> String {
    let mut lines = Vec::new();
    flatten("", object, &mut lines);
    let width = lines
        .iter()
        .map(|(path, _)| path.chars().count())
        .max()
        .unwrap_or(0);
    let line = |(path, text): &(String, String)| format!("{path:width$}  {text}");
    lines
        .iter()
        .map(|pair| format!("{}\n", line(pair).trim_end()))
        .collect()
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, inner) in object {
                let key = cell::safe(key);
                let inner_path = if path.is_empty() {
                    key
                } else {
                    format!("{path}.{key}")
                };
                flatten(&inner_path, inner, lines);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            for (at, inner) in values.iter().enumerate() {
                flatten(&format!("{path}[{at}]"), inner, lines);
            }
        }
        other => lines.push((path.to_owned(), cell::plain(other))),
    }
}

/// An object with these fields only.
fn narrowed(row: &Value, columns: &[String]) -> Value {
    let pairs = columns
        .iter()
        .filter_map(|column| Some((column.clone(), field(row, column)?.clone())));
    Value::Object(pairs.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list(resource: Resource) -> List {
        List {
            resource,
            columns: Vec::new(),
            sort: None,
            reverse: false,
            name: None,
        }
    }

    fn queues() -> Value {
        json!([
            {"vhost": "/", "name": "orders", "messages_ready": 3, "consumers": 1, "type": "classic",
             "message_stats": {"publish_details": {"rate": 1.25}}},
            {"vhost": "shop", "name": "a\u{1b}b", "messages_ready": 12, "state": "running"},
        ])
    }

    #[test]
    fn queues_for_people() {
        let list = list(Resource::Queues);
        let rows = list.chosen(queues(), None);
        let expected = "\
vhost  name      type     state    ready  unsettled  consumers  in/s  out/s  policy
/      orders    classic               3                     1   1.2
shop   a\\u{1b}b           running     12
";
        assert_eq!(list.table(&rows).render(Terminal::PLAIN), expected);
    }

    #[test]
    fn rows_are_chosen_and_sorted() {
        let check = |change: fn(&mut List), vhost: Option<&str>, expected: &[&str]| {
            let mut list = list(Resource::Queues);
            change(&mut list);
            let rows = list.chosen(queues(), vhost);
            let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
            assert_eq!(names, expected);
        };
        check(|_| {}, None, &["orders", "a\u{1b}b"]);
        check(|_| {}, Some("shop"), &["a\u{1b}b"]);
        check(|list| list.name = Some("rd".into()), None, &["orders"]);
        check(
            |list| list.sort = Some("messages_ready".into()),
            None,
            &["orders", "a\u{1b}b"],
        );
        check(
            |list| list.sort = Some("name".into()),
            None,
            &["a\u{1b}b", "orders"],
        );
        check(
            |list| (list.sort, list.reverse) = (Some("messages_ready".into()), true),
            None,
            &["a\u{1b}b", "orders"],
        );
        // What has no such field comes first.
        check(
            |list| list.sort = Some("message_stats.publish_details.rate".into()),
            None,
            &["a\u{1b}b", "orders"],
        );
    }

    #[test]
    fn columns_of_the_api_may_be_named() {
        let mut list = list(Resource::Queues);
        list.columns = vec!["name".into(), "messages_ready".into()];
        let rows = list.chosen(queues(), Some("/"));
        assert_eq!(
            list.table(&rows).render(Terminal::PLAIN),
            "name    messages_ready\norders               3\n"
        );
        assert_eq!(
            narrowed(&rows[0], &list.columns),
            json!({"name": "orders", "messages_ready": 3})
        );
    }

    #[test]
    fn all_of_one_thing() {
        let object =
            json!({"name": "q", "arguments": {}, "a": {"b.c": [1, 2], "d": null}, "l": [{"x": true}]});
        assert_eq!(
            details(&object),
            "a.b.c      1, 2\na.d\narguments\nl[0].x     yes\nname       q\n"
        );
    }

    #[test]
    fn paths() {
        let check = |resource: Resource, vhost: Option<&str>, expected: &str| {
            assert_eq!(resource.list(vhost), expected);
        };
        check(Resource::Queues, None, "/api/queues");
        check(Resource::Queues, Some("/"), "/api/queues/%2F");
        check(Resource::Connections, Some("a"), "/api/vhosts/a/connections");
        check(Resource::Permissions, Some("a"), "/api/vhosts/a/permissions");
        check(Resource::Users, Some("a"), "/api/users");
        let one = |resource: Resource, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            resource.one("/", &names)
        };
        assert_eq!(one(Resource::Queues, &["q"]).unwrap(), "/api/queues/%2F/q");
        assert_eq!(one(Resource::Users, &["u"]).unwrap(), "/api/users/u");
        assert_eq!(
            one(Resource::Parameters, &["c", "n"]).unwrap(),
            "/api/parameters/c/%2F/n"
        );
        assert_eq!(one(Resource::Parameters, &["c"]), None);
        assert_eq!(one(Resource::Bindings, &["c"]), None);
    }
}
