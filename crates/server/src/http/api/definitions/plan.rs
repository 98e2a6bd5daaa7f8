//! From a document to commands. Each item is tried on a copy of the catalog that has all items before it, so the first that cannot be is
//! found, and named, before anything is changed.

use everack_broker::catalog::{
    Binding, Catalog, Command, DeclareExchange, DeclareQueue, Destination, LimitName as _, PolicyKind,
    Snapshot, UserLimit, resource,
};
use everack_broker::name::Name;
use serde_json::{Map, Value, json};

use super::super::{limits, parameters, policies, users, vhosts};
use crate::http::body::{Body, read_arguments};
use crate::http::refusal::Refusal;

/// The sections of a document, in the order in which they depend on each other; and whether a document of one vhost has them.
const SECTIONS: [(&str, bool, Read); 10] = [
    ("users", false, user),
    ("vhosts", false, vhost),
    ("permissions", false, permissions),
    ("topic_permissions", false, topic_permission),
    ("parameters", true, parameter),
    ("global_parameters", false, global_parameter),
    ("policies", true, policy),
    ("queues", true, queue),
    ("exchanges", true, exchange),
    ("bindings", true, binding),
];
/// What a document says of itself.
const HEADINGS: [&str; 8] = [
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "explanation",
    "original_vhost_name",
];
/// How the names of queues begin that a broker has made up.
const GENERATED: &str = "amq.gen-";

/// What a document is for.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// Only what is in this vhost, whatever vhost an item names.
    pub(super) vhost: Option<Name>,
    /// Who may do everything in the vhosts that it makes.
    pub(super) owner: Option<Name>,
}

/// What an import does.
#[derive(Debug)]
pub(super) struct Plan {
    /// What to carry out, all in one step. None of them changes nothing.
    pub(super) commands: Vec<Command>,
    /// The topology afterwards.
    pub(super) after: Snapshot,
    changes: Vec<Change>,
    kept: Vec<String>,
    ignored: Vec<String>,
}

#[derive(Debug)]
struct Change {
    what: String,
    is_new: bool,
}

/// Why there is no plan.
#[derive(Debug)]
pub(super) struct Fault {
    /// The item, in words; none if it is about the whole.
    what: Option<String>,
    refusal: Refusal,
}

/// How an item becomes commands.
type Read = fn(&Body, &Draft<'_>) -> Result<Item, Refusal>;

/// An item of a document.
struct Item {
    what: String,
    is_new: bool,
    deed: Deed,
}

enum Deed {
    Do(Vec<Command>),
    /// It is there already; whether otherwise than the document says.
    Keep {
        differs: bool,
    },
    /// It cannot be, and RabbitMQ passes over it too.
    Ignore(&'static str),
}

/// The topology with all items before this one.
struct Draft<'a> {
    snapshot: &'a Snapshot,
    catalog: &'a Catalog,
    scope: &'a Scope,
}

impl Plan {
    /// Tries a document on a copy of the catalog.
    pub(super) fn of(
        document: &Map<String, Value>,
        mut catalog: Catalog,
        scope: &Scope,
    ) -> Result<Self, Fault> {
        let mut plan = Self {
            commands: Vec::new(),
            after: catalog.snapshot(),
            changes: Vec::new(),
            kept: Vec::new(),
            ignored: Vec::new(),
        };
        for (section, of_vhost, read) in SECTIONS {
            let Some(items) = document.get(section) else {
                continue;
            };
            if scope.vhost.is_some() && !of_vhost {
                plan.ignored.push(format!("{section}: not of one vhost"));
                continue;
            }
            let Value::Array(items) = items else {
                let refusal = Refusal::Bad(format!("{section} is not a list"));
                return Err(Fault { what: None, refusal });
            };
            for (at, item) in items.iter().enumerate() {
                let faulty = |refusal| Fault {
                    what: Some(describe_raw(section, at, item)),
                    refusal,
                };
                plan.add(item, read, &mut catalog, scope).map_err(faulty)?;
            }
        }
        let known = |key: &str| HEADINGS.contains(&key) || SECTIONS.iter().any(|(name, ..)| *name == key);
        let unknown = document.keys().filter(|key| !known(key));
        plan.ignored.extend(unknown.map(|key| format!("{key}: unknown")));
        Ok(plan)
    }

    fn add(&mut self, item: &Value, read: Read, catalog: &mut Catalog, scope: &Scope) -> Result<(), Refusal> {
        let Value::Object(fields) = item else {
            return Err(Refusal::bad("it is not an object"));
        };
        let body = Body::from(fields.clone());
        let draft = Draft {
            snapshot: &self.after,
            catalog,
            scope,
        };
        let Item { what, is_new, deed } = read(&body, &draft)?;
        let commands = match deed {
            Deed::Do(commands) => commands,
            Deed::Keep { differs } => {
                self.kept.extend(differs.then_some(what));
                return Ok(());
            }
            Deed::Ignore(why) => {
                self.ignored.push(format!("{what}: {why}"));
                return Ok(());
            }
        };
        let mut changed = false;
        for command in commands {
            if catalog.apply(command.clone())?.changed {
                changed = true;
                self.commands.push(command);
            }
        }
        if changed {
            self.after = catalog.snapshot();
            self.changes.push(Change { what, is_new });
        }
        Ok(())
    }

    /// The difference that it makes.
    pub(super) fn show(&self) -> Value {
        let named = |is_new: bool| {
            let changes = self.changes.iter().filter(|change| change.is_new == is_new);
            changes.map(|change| change.what.as_str()).collect::<Vec<_>>()
        };
        json!({
            "dry_run": true,
            "created": named(true),
            "changed": named(false),
            "kept": self.kept,
            "ignored": self.ignored,
        })
    }

    /// Tells the log what the answer has no room for.
    pub(super) fn log(&self) {
        tracing::info!(
            created = self.changes.iter().filter(|change| change.is_new).count(),
            changed = self.changes.iter().filter(|change| !change.is_new).count(),
            "definitions imported"
        );
        if !self.kept.is_empty() {
            tracing::warn!(
                kept = self.kept.join(", "),
                "what is there otherwise than the definitions say stays as it is"
            );
        }
        if !self.ignored.is_empty() {
            tracing::warn!(
                ignored = self.ignored.join(", "),
                "the definitions say more than is taken over"
            );
        }
    }
}

impl Fault {
    /// One that is about no item.
    pub(super) fn of_whole(refusal: Refusal) -> Self {
        Self { what: None, refusal }
    }
}

impl From<Fault> for Refusal {
    /// What is wrong in a document is a bad request, whatever it would be for the item alone.
    fn from(fault: Fault) -> Self {
        let reason = fault.refusal.reason();
        match fault.what {
            Some(what) => Refusal::Bad(format!("{what}: {reason}")),
            None => Refusal::Bad(reason),
        }
    }
}

/// An item that may not even have a name.
fn describe_raw(section: &str, at: usize, item: &Value) -> String {
    let text = |field: &str| item.get(field).and_then(Value::as_str);
    let kind = section.strip_suffix("ies").map(|stem| format!("{stem}y"));
    let kind = kind.unwrap_or_else(|| section.trim_end_matches('s').to_owned());
    let kind = kind.replace('_', " ");
    let subject = match section {
        "bindings" => text("source")
            .zip(text("destination"))
            .map(|(source, to)| format!("'{source}' to '{to}'")),
        "permissions" | "topic_permissions" => text("user").map(|user| format!("of user '{user}'")),
        _ => text("name").map(|name| format!("'{name}'")),
    };
    let place = text("vhost")
        .map(|vhost| format!(" in vhost '{vhost}'"))
        .unwrap_or_default();
    match subject {
        Some(subject) => format!("{kind} {subject}{place}"),
        None => format!("{kind} number {}{place}", at + 1),
    }
}

impl Draft<'_> {
    /// The vhost of an item, which has to be there.
    fn vhost(&self, body: &Body) -> Result<Name, Refusal> {
        let name = match &self.scope.vhost {
            Some(vhost) => vhost.clone(),
            None => Name::from(body.required_text("vhost")?),
        };
        if self.snapshot.vhost(&name).is_none() {
            return Err(Refusal::Value("no_such_vhost", name.to_string()));
        }
        Ok(name)
    }
}

fn user(body: &Body, draft: &Draft<'_>) -> Result<Item, Refusal> {
    let name = Name::from(body.required_text("name")?);
    let mut commands = vec![users::command_with_hash(name.clone(), body)?];
    if let Some(Value::Object(given)) = body.get("limits") {
        for (limit, value) in given {
            let (limit, most) = limits::read::<UserLimit>(limit, value, "user-limits")?;
            let user = name.clone();
            commands.push(Command::LimitUser { user, limit, most });
        }
        let others = UserLimit::ALL
            .iter()
            .filter(|(_, known)| !given.contains_key(*known));
        commands.extend(others.map(|(limit, _)| Command::LimitUser {
            user: name.clone(),
            limit: *limit,
            most: None,
        }));
    }
    Ok(Item {
        what: format!("user '{name}'"),
        is_new: draft.snapshot.user(&name).is_none(),
        deed: Deed::Do(commands),
    })
}

fn vhost(body: &Body, draft: &Draft<'_>) -> Result<Item, Refusal> {
    let name = Name::from(body.required_text("name")?);
    let is_new = draft.snapshot.vhost(&name).is_none();
    let commands = vhosts::commands(&name, is_new, draft.scope.owner.as_ref(), body)?;
    Ok(Item {
        what: format!("vhost '{name}'"),
        is_new,
        deed: Deed::Do(commands),
    })
}

/// A user that has to be there, for an item in a vhost.
fn holder(body: &Body, draft: &Draft<'_>) -> Result<(Name, Name), Refusal> {
    let user = Name::from(body.required_text("user")?);
    if draft.snapshot.user(&user).is_none() {
        return Err(Refusal::Value("no_such_user", user.to_string()));
    }
    Ok((user, draft.vhost(body)?))
}

fn permissions(body: &Body, draft: &Draft<'_>) -> Result<Item, Refusal> {
    let (user, vhost) = holder(body, draft)?;
    Ok(Item {
        what: format!("permissions of user '{user}' in vhost '{vhost}'"),
        is_new: draft.snapshot.permissions(&user, &vhost).is_none(),
        deed: Deed::Do(vec![Command::SetPermissions {
            user,
            vhost,
            configure: body.required_text("configure")?.to_owned(),
            write: body.required_text("write")?.to_owned(),
            read: body.required_text("read")?.to_owned(),
        }]),
    })
}

fn topic_permission(body: &Body, draft: &Draft<'_>) -> Result<Item, Refusal> {
    let (user, vhost) = holder(body, draft)?;
    let exchange = Name::from(body.required_text("exchange")?);
    let mut held = draft.snapshot.topic_permissions();
    let known = held.any(|held| held.user == user && held.vhost == vhost && held.exchange == exchange);
    Ok(Item {
        what: format!(
            "topic permissions of user '{user}' on {}",
            resource("exchange", &exchange, &vhost)
        ),
        is_new: !known,
        deed: Deed::Do(vec![Command::SetTopicPermission {
            user,
            vhost,
            exchange,
            write: body.required_text("write")?.to_owned(),
            read: body.required_text("read")?.to_owned(),
        }]),
    })
}

fn parameter(body: &Body, draft: &Draft<'_>) -> Result<Item, Refusal> {
    let (component, name) = (body.required_text("component")?, body.required_text("name")?);
    let vhost = draft.vhost(body)?;
    let view = draft.snapshot.vhost(&vhost).ok_or(Refusal::NotFound)?;
    body.require(&["value"])?;
    let value = body.get("value").unwrap_or(&Value::Null);
    Ok(Item {
        what: format!("parameter '{name}' of {component} in vhost '{vhost}'"),
        is_new: parameters::find(&view, component, name).is_none(),
        deed: Deed::Do(parameters::commands(component, &view, name, value)?),
    })
}

fn global_parameter(body: &Body, draft: &Draft<'_>) -> Result<Item, Refusal> {
    let name = body.required_text("name")?;
    body.require(&["value"])?;
    Ok(Item {
        what: format!("global parameter '{name}'"),
        is_new: draft.snapshot.global_parameter(name.as_bytes()).is_none(),
        deed: Deed::Do(vec![parameters::global(
            name,
            body.get("value").unwrap_or(&Value::Null),
        )?]),
    })
}

fn policy(body: &Body, draft: &Draft<'_>) -> Result<Item, Refusal> {
    let name = Name::from(body.required_text("name")?);
    let vhost = draft.vhost(body)?;
    let view = draft.snapshot.vhost(&vhost).ok_or(Refusal::NotFound)?;
    let kind = PolicyKind::User;
    let known = view
        .policies()
        .any(|policy| policy.kind == kind && policy.name == name);
    let definition = policies::read(body)?;
    Ok(Item {
        what: resource("policy", &name, &vhost),
        is_new: !known,
        deed: Deed::Do(vec![Command::SetPolicy {
            vhost,
            name,
            kind,
            definition,
        }]),
    })
}

fn queue(body: &Body, draft: &Draft<'_>) -> Result<Item, Refusal> {
    body.require(&["name", "durable"])?;
    let declare = DeclareQueue {
        vhost: draft.vhost(body)?,
        name: Name::from(body.required_text("name")?),
        generated: body.required_text("name")?.starts_with(GENERATED),
        durable: body.truth("durable")?.unwrap_or(false),
        auto_delete: body.truth("auto_delete")?.unwrap_or(false),
        arguments: read_arguments(body.get("arguments"), "arguments")?,
        ..DeclareQueue::default()
    };
    let what = resource("queue", &declare.name, &declare.vhost);
    let view = draft.snapshot.vhost(&declare.vhost);
    let known = view.as_ref().and_then(|view| view.queue(&declare.name));
    Ok(Item {
        what,
        is_new: known.is_none(),
        deed: match known {
            Some(known) => draft.kept(Command::DeclareQueue(declare), known.is_exclusive()),
            None => Deed::Do(vec![Command::DeclareQueue(declare)]),
        },
    })
}

impl Draft<'_> {
    /// A thing that is there stays as it is. Whether it is as declared only a declaration tells.
    fn kept(&self, declaration: Command, differs: bool) -> Deed {
        let same = self.catalog.clone().apply(declaration).is_ok();
        Deed::Keep {
            differs: differs || !same,
        }
    }
}

fn exchange(body: &Body, draft: &Draft<'_>) -> Result<Item, Refusal> {
    body.require(&["name", "type", "durable"])?;
    let declare = DeclareExchange {
        vhost: draft.vhost(body)?,
        name: Name::from(body.required_text("name")?),
        passive: false,
        kind: Name::from(body.required_text("type")?),
        durable: body.truth("durable")?.unwrap_or(false),
        auto_delete: body.truth("auto_delete")?.unwrap_or(false),
        internal: body.truth("internal")?.unwrap_or(false),
        arguments: read_arguments(body.get("arguments"), "arguments")?,
    };
    let view = draft.snapshot.vhost(&declare.vhost);
    let known = view.is_some_and(|view| view.exchange(&declare.name).is_some());
    let what = resource("exchange", &declare.name, &declare.vhost);
    let declare = Command::DeclareExchange(declare);
    let deed = if known {
        draft.kept(declare, false)
    } else {
        Deed::Do(vec![declare])
    };
    Ok(Item {
        what,
        is_new: !known,
        deed,
    })
}

fn binding(body: &Body, draft: &Draft<'_>) -> Result<Item, Refusal> {
    let vhost = draft.vhost(body)?;
    let view = draft.snapshot.vhost(&vhost).ok_or(Refusal::NotFound)?;
    let source = Name::from(body.required_text("source")?);
    let to = Name::from(body.required_text("destination")?);
    let (there, destination) = match body.required_text("destination_type")? {
        "queue" => {
            let usable = view.queue(&to).is_some_and(|queue| !queue.is_exclusive());
            (usable, Destination::Queue(to))
        }
        "exchange" => (view.exchange(&to).is_some(), Destination::Exchange(to)),
        other => {
            return Err(Refusal::Bad(format!(
                "destination_type '{other}' is neither 'queue' nor 'exchange'"
            )));
        }
    };
    let binding = Binding {
        routing_key: Name::from(body.text("routing_key")?.unwrap_or_default()),
        arguments: read_arguments(body.get("arguments"), "arguments")?,
        source,
        destination,
    };
    let what = format!(
        "binding from exchange '{}' to '{}' by '{}' in vhost '{vhost}'",
        binding.source,
        binding.destination.name(),
        binding.routing_key
    );
    let by_default = binding.source.is_empty() && binding.routing_key == *binding.destination.name();
    let there = there && view.exchange(&binding.source).is_some();
    Ok(Item {
        what,
        is_new: true,
        deed: match (there, by_default) {
            (false, _) => Deed::Ignore("one of its ends is not there, or is for one connection"),
            (true, true) => Deed::Keep { differs: false },
            (true, false) => Deed::Do(vec![Command::Bind {
                vhost,
                binding,
                connection: None,
            }]),
        },
    })
}
