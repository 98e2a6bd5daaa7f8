//! The list commands: one row of a table each, from the API's fields to RabbitMQ's columns.

use serde_json::Value;

use super::cell::Cell;
use super::options::Formatter;
use super::rows::Rows;
use super::session::{Done, Session, Stop, status};
use crate::output::field;

/// Where a column's value is.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// A field of the API.
    Field(&'static str),
    /// Arguments.
    Arguments,
    /// Tags.
    Words,
    /// Tags with commas between them, if there are any.
    SomeWords,
    /// A definition or a value.
    Json(&'static str),
    /// Always this.
    Always(&'static str),
    /// There is no such thing: empty.
    Nothing,
}

use Source::{Always, Arguments, Field, Json, Nothing, SomeWords, Words};

/// A list command.
struct List {
    command: &'static str,
    banner: fn(&str) -> String,
    path: fn(&str) -> Vec<&str>,
    columns: &'static [(&'static str, Source)],
    /// What is shown if nothing is asked for; all, if empty.
    usual: &'static [&'static str],
    /// Columns may be asked for, and rows are printed one by one.
    streamed: bool,
    /// RabbitMQ shows them in its own order, not as they were asked for.
    ordered: bool,
    /// What a virtual host that is not there means.
    vhost_must_be: bool,
}

const LISTS: &[List] = &[
    List {
        command: "list_queues",
        banner: |vhost| format!("Listing queues for vhost {vhost} ..."),
        path: |vhost| vec!["queues", vhost],
        columns: &[
            ("name", Field("name")),
            ("durable", Field("durable")),
            ("auto_delete", Field("auto_delete")),
            ("arguments", Arguments),
            ("policy", Field("policy")),
            ("pid", Nothing),
            ("owner_pid", Field("owner_pid_details.name")),
            ("exclusive", Field("exclusive")),
            ("exclusive_consumer_pid", Nothing),
            ("exclusive_consumer_tag", Field("exclusive_consumer_tag")),
            ("messages_ready", Field("messages_ready")),
            ("messages_unacknowledged", Field("messages_unacknowledged")),
            ("messages", Field("messages")),
            ("messages_ready_ram", Field("messages_ready_ram")),
            (
                "messages_unacknowledged_ram",
                Field("messages_unacknowledged_ram"),
            ),
            ("messages_ram", Field("messages_ram")),
            ("messages_persistent", Field("messages_persistent")),
            ("message_bytes", Field("message_bytes")),
            ("message_bytes_ready", Field("message_bytes_ready")),
            (
                "message_bytes_unacknowledged",
                Field("message_bytes_unacknowledged"),
            ),
            ("message_bytes_ram", Field("message_bytes_ram")),
            ("message_bytes_persistent", Field("message_bytes_persistent")),
            ("head_message_timestamp", Field("head_message_timestamp")),
            ("disk_reads", Field("disk_reads")),
            ("disk_writes", Field("disk_writes")),
            ("consumers", Field("consumers")),
            ("consumer_utilisation", Field("consumer_utilisation")),
            ("consumer_capacity", Field("consumer_capacity")),
            ("memory", Field("memory")),
            ("slave_pids", Nothing),
            ("synchronised_slave_pids", Nothing),
            ("state", Field("state")),
            ("type", Field("type")),
            ("leader", Field("leader")),
            ("members", Field("members")),
            ("online", Field("online")),
        ],
        usual: &["name", "messages"],
        streamed: true,
        ordered: false,
        vhost_must_be: false,
    },
    List {
        command: "list_exchanges",
        banner: |vhost| format!("Listing exchanges for vhost {vhost} ..."),
        path: |vhost| vec!["exchanges", vhost],
        columns: &[
            ("name", Field("name")),
            ("type", Field("type")),
            ("durable", Field("durable")),
            ("auto_delete", Field("auto_delete")),
            ("internal", Field("internal")),
            ("arguments", Arguments),
            ("policy", Field("policy")),
        ],
        usual: &["name", "type"],
        streamed: true,
        ordered: false,
        vhost_must_be: false,
    },
    List {
        command: "list_bindings",
        banner: |vhost| format!("Listing bindings for vhost {vhost}..."),
        path: |vhost| vec!["bindings", vhost],
        columns: &[
            ("source_name", Field("source")),
            ("source_kind", Always("exchange")),
            ("destination_name", Field("destination")),
            ("destination_kind", Field("destination_type")),
            ("routing_key", Field("routing_key")),
            ("arguments", Arguments),
        ],
        usual: &[],
        streamed: true,
        ordered: false,
        vhost_must_be: false,
    },
    List {
        command: "list_connections",
        banner: |_| "Listing connections ...".to_owned(),
        path: |_| vec!["connections"],
        columns: &[
            // What `close_connection` takes.
            ("pid", Field("name")),
            ("name", Field("name")),
            ("port", Field("port")),
            ("host", Field("host")),
            ("peer_port", Field("peer_port")),
            ("peer_host", Field("peer_host")),
            ("ssl", Field("ssl")),
            ("ssl_protocol", Field("ssl_protocol")),
            ("ssl_key_exchange", Field("ssl_key_exchange")),
            ("ssl_cipher", Field("ssl_cipher")),
            ("ssl_hash", Field("ssl_hash")),
            ("peer_cert_subject", Field("peer_cert_subject")),
            ("peer_cert_issuer", Field("peer_cert_issuer")),
            ("peer_cert_validity", Field("peer_cert_validity")),
            ("state", Field("state")),
            ("channels", Field("channels")),
            ("protocol", Field("protocol")),
            ("auth_mechanism", Field("auth_mechanism")),
            ("user", Field("user")),
            ("vhost", Field("vhost")),
            ("timeout", Field("timeout")),
            ("frame_max", Field("frame_max")),
            ("channel_max", Field("channel_max")),
            ("client_properties", Json("client_properties")),
            ("connected_at", Field("connected_at")),
            ("recv_oct", Field("recv_oct")),
            ("recv_cnt", Field("recv_cnt")),
            ("send_oct", Field("send_oct")),
            ("send_cnt", Field("send_cnt")),
            ("send_pend", Field("send_pend")),
        ],
        usual: &["user", "peer_host", "peer_port", "state"],
        streamed: true,
        ordered: false,
        vhost_must_be: false,
    },
    List {
        command: "list_channels",
        banner: |_| "Listing channels ...".to_owned(),
        path: |_| vec!["channels"],
        columns: &[
            ("pid", Field("name")),
            ("connection", Field("connection_details.name")),
            ("name", Field("name")),
            ("number", Field("number")),
            ("user", Field("user")),
            ("vhost", Field("vhost")),
            ("transactional", Field("transactional")),
            ("confirm", Field("confirm")),
            ("consumer_count", Field("consumer_count")),
            ("messages_unacknowledged", Field("messages_unacknowledged")),
            ("messages_uncommitted", Field("messages_uncommitted")),
            ("acks_uncommitted", Field("acks_uncommitted")),
            ("messages_unconfirmed", Field("messages_unconfirmed")),
            ("prefetch_count", Field("prefetch_count")),
            ("global_prefetch_count", Field("global_prefetch_count")),
        ],
        usual: &["pid", "user", "consumer_count", "messages_unacknowledged"],
        streamed: true,
        ordered: false,
        vhost_must_be: false,
    },
    List {
        command: "list_consumers",
        banner: |vhost| format!("Listing consumers in vhost {vhost} ..."),
        path: |vhost| vec!["consumers", vhost],
        columns: &[
            ("queue_name", Field("queue.name")),
            ("channel_pid", Field("channel_details.name")),
            ("consumer_tag", Field("consumer_tag")),
            ("ack_required", Field("ack_required")),
            ("prefetch_count", Field("prefetch_count")),
            ("active", Field("active")),
            ("activity_status", Field("activity_status")),
            ("arguments", Arguments),
        ],
        usual: &[
            "queue_name",
            "channel_pid",
            "consumer_tag",
            "ack_required",
            "prefetch_count",
            "active",
            "arguments",
        ],
        streamed: true,
        ordered: true,
        vhost_must_be: false,
    },
    List {
        command: "list_vhosts",
        banner: |_| "Listing vhosts ...".to_owned(),
        path: |_| vec!["vhosts"],
        columns: &[
            ("name", Field("name")),
            ("tracing", Field("tracing")),
            ("description", Field("description")),
            ("tags", SomeWords),
            ("default_queue_type", Field("default_queue_type")),
            ("cluster_state", Json("cluster_state")),
        ],
        usual: &["name"],
        streamed: true,
        ordered: false,
        vhost_must_be: false,
    },
    List {
        command: "list_users",
        banner: |_| "Listing users ...".to_owned(),
        path: |_| vec!["users"],
        columns: &[("user", Field("name")), ("tags", Words)],
        usual: &[],
        streamed: false,
        ordered: false,
        vhost_must_be: false,
    },
    List {
        command: "list_permissions",
        banner: |vhost| format!("Listing permissions for vhost \"{vhost}\" ..."),
        path: |vhost| vec!["vhosts", vhost, "permissions"],
        columns: &[
            ("user", Field("user")),
            ("configure", Field("configure")),
            ("write", Field("write")),
            ("read", Field("read")),
        ],
        usual: &[],
        streamed: false,
        ordered: false,
        vhost_must_be: true,
    },
    List {
        command: "list_topic_permissions",
        banner: |vhost| format!("Listing topic permissions for vhost \"{vhost}\" ..."),
        path: |vhost| vec!["vhosts", vhost, "topic-permissions"],
        columns: &[
            ("user", Field("user")),
            ("exchange", Field("exchange")),
            ("write", Field("write")),
            ("read", Field("read")),
        ],
        usual: &[],
        streamed: false,
        ordered: false,
        vhost_must_be: true,
    },
    List {
        command: "list_policies",
        banner: |vhost| format!("Listing policies for vhost \"{vhost}\" ..."),
        path: |vhost| vec!["policies", vhost],
        columns: POLICY,
        usual: &[],
        streamed: false,
        ordered: false,
        vhost_must_be: true,
    },
    List {
        command: "list_operator_policies",
        banner: |vhost| format!("Listing operator policy overrides for vhost \"{vhost}\" ..."),
        path: |vhost| vec!["operator-policies", vhost],
        columns: POLICY,
        usual: &[],
        streamed: false,
        ordered: false,
        vhost_must_be: true,
    },
    List {
        command: "list_global_parameters",
        banner: |_| "Listing global runtime parameters ...".to_owned(),
        path: |_| vec!["global-parameters"],
        columns: &[("name", Field("name")), ("value", Json("value"))],
        usual: &[],
        streamed: false,
        ordered: false,
        vhost_must_be: false,
    },
    List {
        command: "list_feature_flags",
        banner: |_| "Listing feature flags ...".to_owned(),
        path: |_| vec!["feature-flags"],
        columns: &[("name", Field("name")), ("state", Field("state"))],
        usual: &[],
        streamed: false,
        ordered: false,
        vhost_must_be: false,
    },
];

const POLICY: &[(&str, Source)] = &[
    ("vhost", Field("vhost")),
    ("name", Field("name")),
    ("pattern", Field("pattern")),
    ("apply-to", Field("apply-to")),
    ("definition", Json("definition")),
    ("priority", Field("priority")),
];

/// Runs the list command of a session.
pub(super) fn run(session: &Session) -> Done {
    let list = LISTS.iter().find(|list| list.command == session.spec.name);
    let list = list.ok_or_else(|| Stop::error(status::SOFTWARE, "no such list"))?;
    let wanted = list.wanted(session)?;
    if list.command == "list_queues" {
        let seconds = session
            .line
            .value("timeout")
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or(60.0);
        session.banner(format!("Timeout: {seconds:.1} seconds ..."));
    }
    let vhost = session.vhost();
    session.banner((list.banner)(vhost));
    let found = session.find(&(list.path)(vhost))?;
    let found = match found {
        Some(Value::Array(found)) => found,
        None if list.vhost_must_be => return Err(Stop::no_vhost(vhost)),
        _ => Vec::new(),
    };
    // All is on this node, which is there.
    let found = if session.line.has("offline") {
        Vec::new()
    } else {
        found
    };
    session.show(&list.rows(&wanted, &found));
    Ok(())
}

impl List {
    /// The columns that were asked for.
    fn wanted(&self, session: &Session) -> Result<Vec<(&'static str, Source)>, Stop> {
        let asked: Vec<&str> = session
            .arguments()
            .iter()
            .flat_map(|word| word.split(','))
            .collect();
        let known = |name: &str| self.columns.iter().find(|(column, _)| *column == name);
        let mut unknown: Vec<&str> = asked
            .iter()
            .copied()
            .filter(|name| known(name).is_none())
            .collect();
        if !unknown.is_empty() {
            unknown.sort_unstable();
            let what = format!("Info key(s) {} are not supported", unknown.join(","));
            return Err(super::misused(session.tool, session.spec, &session.line, &what));
        }
        let names: Vec<&str> = match (asked.is_empty(), self.usual.is_empty()) {
            (false, _) => asked,
            (true, false) => self.usual.to_vec(),
            (true, true) => self.columns.iter().map(|(name, _)| *name).collect(),
        };
        Ok(if self.ordered {
            self.columns
                .iter()
                .copied()
                .filter(|(name, _)| names.contains(name))
                .collect()
        } else {
            names.iter().filter_map(|name| known(name).copied()).collect()
        })
    }

    fn rows(&self, wanted: &[(&'static str, Source)], found: &[Value]) -> Rows {
        let row = |object: &Value| wanted.iter().map(|(_, source)| source.cell(object)).collect();
        Rows {
            columns: wanted.iter().map(|(name, _)| (*name).to_owned()).collect(),
            rows: found.iter().map(row).collect(),
            streamed: self.streamed,
        }
    }
}

impl Source {
    fn cell(self, object: &Value) -> Cell {
        let value = |path: &str| field(object, path).cloned().unwrap_or(Value::Null);
        match self {
            Field(path) => Cell::Plain(value(path)),
            Arguments => match value("arguments") {
                Value::Object(arguments) => Cell::Arguments(arguments),
                _ => Cell::Arguments(serde_json::Map::new()),
            },
            Words => Cell::Words(words(&value("tags"))),
            SomeWords => match words(&value("tags")) {
                none if none.is_empty() => Cell::Plain(Value::Null),
                words => Cell::Plain(Value::String(words.join(","))),
            },
            Json(path) => Cell::Json(value(path)),
            Always(text) => Cell::text(text),
            Nothing => Cell::Plain(Value::Null),
        }
    }
}

/// Tags as words. RabbitMQ before 3.9 has them in one text.
fn words(tags: &Value) -> Vec<String> {
    match tags {
        Value::Array(tags) => tags
            .iter()
            .filter_map(|tag| tag.as_str().map(str::to_owned))
            .collect(),
        Value::String(text) => text
            .split(',')
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// `list_parameters`: limits and policies are kept as parameters too, and RabbitMQ shows some of them here.
pub(super) fn parameters(session: &Session) -> Done {
    let vhost = session.vhost();
    session.banner(format!("Listing runtime parameters for vhost \"{vhost}\" ..."));
    session
        .find(&["vhosts", vhost])?
        .ok_or_else(|| Stop::no_vhost(vhost))?;
    let all = session.find(&["parameters"])?.unwrap_or_default();
    let all = all.as_array().cloned().unwrap_or_default();
    let rows = all
        .iter()
        .filter(|parameter| parameter["vhost"] == vhost)
        .map(|parameter| {
            let text = |name: &str| Cell::Plain(parameter[name].clone());
            vec![
                text("component"),
                text("name"),
                Cell::Json(parameter["value"].clone()),
            ]
        });
    session.show(&Rows {
        columns: ["component", "name", "value"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
        streamed: false,
    });
    Ok(())
}

/// `list_user_permissions` and `list_user_topic_permissions`.
pub(super) fn of_user(session: &Session) -> Done {
    let user = session.argument(0);
    let (what, segment, columns): (&str, &str, &[&str]) = match session.spec.name {
        "list_user_permissions" => (
            "permissions",
            "permissions",
            &["vhost", "configure", "write", "read"],
        ),
        _ => (
            "topic permissions",
            "topic-permissions",
            &["vhost", "exchange", "write", "read"],
        ),
    };
    session.banner(format!("Listing {what} for user \"{user}\" ..."));
    let found = session.find(&["users", user, segment])?;
    let missing = || Stop::error(status::UNAVAILABLE, format!("{{:no_such_user, \"{user}\"}}"));
    let found = found.ok_or_else(missing)?;
    let found = found.as_array().cloned().unwrap_or_default();
    let row = |object: &Value| {
        columns
            .iter()
            .map(|name| Cell::Plain(object[*name].clone()))
            .collect()
    };
    let rows = Rows {
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        rows: found.iter().map(row).collect(),
        streamed: false,
    };
    // RabbitMQ names no columns here.
    let headers = session.line.headers() && segment == "permissions";
    let _ = crate::output::print(&rows.render(session.formatter, headers));
    Ok(())
}

/// `list_vhost_limits` and `list_user_limits`.
pub(super) fn limits(session: &Session) -> Done {
    let of_users = session.spec.name == "list_user_limits";
    let (key, segment) = if of_users {
        ("user", "user-limits")
    } else {
        ("vhost", "vhost-limits")
    };
    let one = match (of_users, session.line.has("global")) {
        (_, true) => None,
        (true, false) => session.line.value("user"),
        (false, false) => Some(session.vhost()),
    };
    match one {
        Some(name) => session.banner(format!("Listing limits for {key} \"{name}\" ...")),
        None => session.banner(format!("Listing limits for all {key}s ...")),
    }
    let found = session.find(&[segment])?.unwrap_or_default();
    let found = found.as_array().cloned().unwrap_or_default();
    if let Some(name) = one {
        let limits = found.iter().find(|limits| limits[key] == name);
        let text = limits.map(|limits| limits["value"].to_string());
        // RabbitMQ knows a user without limits, but no such virtual host.
        let none = match (of_users, session.formatter) {
            (true, _) => "{}",
            (false, Formatter::Json) => "[]",
            (false, _) => "",
        };
        session.say(text.as_deref().unwrap_or(none));
        return Ok(());
    }
    let set = found
        .iter()
        .filter(|limits| limits["value"].as_object().is_some_and(|set| !set.is_empty()));
    let row = |limits: &Value| {
        vec![
            Cell::Plain(limits[key].clone()),
            Cell::Json(limits["value"].clone()),
        ]
    };
    session.show(&Rows {
        columns: vec![key.to_owned(), "limits".to_owned()],
        rows: set.map(row).collect(),
        streamed: false,
    });
    Ok(())
}
