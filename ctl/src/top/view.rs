//! What the lower part of the screen can list: where the API has it, and its columns.

use everack_api_client::{escaped, path};

use crate::output::cell::Kind;

/// Rows that are asked for; lists are sorted where they are, so these are the foremost.
const ROWS_MAX: usize = 500;

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Queues,
    Connections,
    Consumers,
}

/// One column of a list.
#[derive(Debug)]
pub(super) struct Column {
    /// Its heading.
    pub(super) heading: &'static str,
    /// The field of the API that it shows and sorts by.
    pub(super) field: &'static str,
    /// How that is read.
    pub(super) kind: Kind,
    /// How wide it is; 0 for what the others leave.
    pub(super) width: u16,
    /// The width of a screen from which on it is shown.
    pub(super) from: u16,
}

/// Which rows are wanted, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) view: View,
    /// Only of this virtual host.
    pub(super) vhost: Option<String>,
    /// Only with this text in the name.
    pub(super) filter: String,
    /// The field to sort by.
    pub(super) sort: &'static str,
    /// Greatest first.
    pub(super) descending: bool,
}

const fn column(heading: &'static str, field: &'static str, kind: Kind, width: u16, from: u16) -> Column {
    Column {
        heading,
        field,
        kind,
        width,
        from,
    }
}

const QUEUES: &[Column] = &[
    column("queue", "name", Kind::Text, 0, 0),
    column("vhost", "vhost", Kind::Text, 10, 90),
    column("ready", "messages_ready", Kind::Count, 9, 0),
    column("unsettled", "messages_unacknowledged", Kind::Count, 9, 0),
    column("in/s", "message_stats.publish_details.rate", Kind::Rate, 8, 0),
    column(
        "out/s",
        "message_stats.deliver_get_details.rate",
        Kind::Rate,
        8,
        0,
    ),
    column("ack/s", "message_stats.ack_details.rate", Kind::Rate, 8, 100),
    column("cons", "consumers", Kind::Count, 4, 0),
    column("oldest", "oldest_unsettled_seconds", Kind::Age, 7, 70),
    column("parked", "messages_parked", Kind::Count, 7, 80),
    column("size", "message_bytes", Kind::Bytes, 9, 110),
    column("state", "state", Kind::Text, 8, 120),
];

const CONNECTIONS: &[Column] = &[
    column("connection", "name", Kind::Text, 0, 0),
    column("client", "user_provided_name", Kind::Text, 16, 110),
    column("vhost", "vhost", Kind::Text, 10, 90),
    column("user", "user", Kind::Text, 8, 0),
    column("state", "state", Kind::Text, 8, 70),
    column("chan", "channels", Kind::Count, 4, 0),
    column("from it/s", "recv_oct_details.rate", Kind::Bytes, 9, 0),
    column("to it/s", "send_oct_details.rate", Kind::Bytes, 9, 0),
];

const CONSUMERS: &[Column] = &[
    column("queue", "queue.name", Kind::Text, 0, 0),
    column("vhost", "queue.vhost", Kind::Text, 10, 90),
    column("consumer", "consumer_tag", Kind::Text, 16, 0),
    column(
        "connection",
        "channel_details.connection_name",
        Kind::Text,
        24,
        120,
    ),
    column("unsettled", "messages_unacknowledged", Kind::Count, 9, 80),
    column("oldest", "oldest_unsettled_seconds", Kind::Age, 7, 80),
    column("ack", "ack_required", Kind::Text, 3, 0),
    column("prefetch", "prefetch_count", Kind::Count, 8, 0),
    column("state", "activity_status", Kind::Text, 13, 70),
];

impl View {
    pub(super) const ALL: [Self; 3] = [Self::Queues, Self::Connections, Self::Consumers];

    /// What it is called.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Queues => "Queues",
            Self::Connections => "Connections",
            Self::Consumers => "Consumers",
        }
    }

    /// All its columns; the first one names a row.
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Queues => QUEUES,
            Self::Connections => CONNECTIONS,
            Self::Consumers => CONSUMERS,
        }
    }

    /// The column to begin with, and whether its greatest come first.
    pub(super) fn first_sort(self) -> (usize, bool) {
        let of = |field: &str| {
            self.columns()
                .iter()
                .position(|column| column.field == field)
                .unwrap_or(0)
        };
        match self {
            Self::Queues => (of("messages_ready"), true),
            Self::Connections => (of("recv_oct_details.rate"), true),
            Self::Consumers => (0, false),
        }
    }
}

impl Question {
    /// Where the API has the answer. Lists that can be had in pages are asked for their first one only.
    pub(super) fn path(&self) -> String {
        let Self {
            view,
            filter,
            sort,
            descending,
            ..
        } = self;
        let vhost = self.vhost.as_deref();
        let place = match (view, vhost) {
            (View::Queues, None) => path(&["queues"]),
            (View::Queues, Some(vhost)) => path(&["queues", vhost]),
            (View::Connections, None) => path(&["connections"]),
            (View::Connections, Some(vhost)) => path(&["vhosts", vhost, "connections"]),
            (View::Consumers, None) => path(&["consumers"]),
            (View::Consumers, Some(vhost)) => path(&["consumers", vhost]),
        };
        let fields: Vec<&str> = view.columns().iter().map(|column| column.field).collect();
        let mut query = format!(
            "?sort={sort}&sort_reverse={descending}&columns={}",
            fields.join(",")
        );
        if *view != View::Consumers {
            query += &format!("&page=1&page_size={ROWS_MAX}");
            if !filter.is_empty() {
                query += &format!("&use_regex=false&name={}", escaped(filter));
            }
        }
        place + &query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_paths() {
        let check = |view: View, vhost: Option<&str>, filter: &str, expected: &[&str]| {
            let question = Question {
                view,
                vhost: vhost.map(str::to_owned),
                filter: filter.to_owned(),
                sort: "name",
                descending: true,
            };
            let path = question.path();
            for part in expected {
                assert!(path.contains(part), "{path} has no {part}");
            }
        };
        check(
            View::Queues,
            None,
            "",
            &[
                "/api/queues?sort=name&sort_reverse=true&columns=name,vhost,",
                "&page_size=500",
            ],
        );
        check(
            View::Queues,
            Some("/"),
            "a&b c",
            &["/api/queues/%2F?", "&name=a%26b%20c"],
        );
        check(View::Connections, Some("x"), "", &["/api/vhosts/x/connections?"]);
        check(View::Consumers, Some("x"), "", &["/api/consumers/x?sort=name"]);
    }

    #[test]
    fn columns_fit_a_narrow_screen() {
        for view in View::ALL {
            for width in [60, 70, 80, 90, 100, 110, 120] {
                let shown = view.columns().iter().filter(|column| column.from <= width);
                let needed: u16 = shown.map(|column| column.width + 1).sum();
                assert!(needed + 12 <= width, "{}: {needed} of {width}", view.title());
            }
            assert!(view.first_sort().0 < view.columns().len());
        }
    }
}
