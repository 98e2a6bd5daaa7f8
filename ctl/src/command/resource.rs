//! What can be listed and shown: where the API has it, and which of its fields a table shows.

use clap::ValueEnum;
use everack_api_client::path;

use crate::output::cell::Kind;

/// A kind of thing that the API lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Resource {
    /// Virtual hosts.
    #[value(alias = "vhost")]
    Vhosts,
    /// Users and their tags.
    #[value(alias = "user")]
    Users,
    /// What users may configure, write and read in virtual hosts.
    #[value(alias = "permission")]
    Permissions,
    /// What users may write and read of topic exchanges.
    #[value(alias = "topic-permission")]
    TopicPermissions,
    /// Policies.
    #[value(alias = "policy")]
    Policies,
    /// Operator policies, which bound what policies may say.
    #[value(alias = "operator-policy")]
    OperatorPolicies,
    /// Runtime parameters.
    #[value(alias = "parameter")]
    Parameters,
    /// Runtime parameters of the whole broker.
    #[value(alias = "global-parameter")]
    GlobalParameters,
    /// Limits of virtual hosts.
    #[value(alias = "vhost-limit")]
    VhostLimits,
    /// Limits of users.
    #[value(alias = "user-limit")]
    UserLimits,
    /// Exchanges.
    #[value(alias = "exchange")]
    Exchanges,
    /// Queues.
    #[value(alias = "queue")]
    Queues,
    /// Bindings.
    #[value(alias = "binding")]
    Bindings,
    /// Connections of clients.
    #[value(alias = "connection")]
    Connections,
    /// Their channels.
    #[value(alias = "channel")]
    Channels,
    /// Consumers.
    #[value(alias = "consumer")]
    Consumers,
    /// Nodes: memory, disk, descriptors.
    #[value(alias = "node")]
    Nodes,
    /// Feature flags.
    #[value(alias = "feature-flag")]
    FeatureFlags,
}

/// A column of a table.
pub(crate) struct Column {
    /// Its heading.
    pub(crate) heading: &'static str,
    /// The field that it shows, by its path.
    pub(crate) field: &'static str,
    /// How that is read.
    pub(crate) kind: Kind,
}

/// A column.
pub(super) const fn column(heading: &'static str, field: &'static str, kind: Kind) -> Column {
    Column { heading, field, kind }
}

const fn field(field: &'static str) -> Column {
    column(field, field, Kind::Text)
}

const fn count(heading: &'static str, field: &'static str) -> Column {
    column(heading, field, Kind::Count)
}

/// How the path of one thing is made of names.
pub(crate) enum Single {
    /// It is found in the list only.
    None,
    /// By its name.
    Name,
    /// By virtual host and name.
    InVhost,
    /// By component, virtual host and name.
    Parameter,
}

impl Resource {
    /// What one of them is called.
    pub(crate) fn singular(self) -> &'static str {
        match self {
            Self::Vhosts => "vhost",
            Self::Users => "user",
            Self::Permissions => "permission",
            Self::TopicPermissions => "topic permission",
            Self::Policies => "policy",
            Self::OperatorPolicies => "operator policy",
            Self::Parameters => "parameter",
            Self::GlobalParameters => "global parameter",
            Self::VhostLimits => "vhost limit",
            Self::UserLimits => "user limit",
            Self::Exchanges => "exchange",
            Self::Queues => "queue",
            Self::Bindings => "binding",
            Self::Connections => "connection",
            Self::Channels => "channel",
            Self::Consumers => "consumer",
            Self::Nodes => "node",
            Self::FeatureFlags => "feature flag",
        }
    }

    /// The segment of its paths.
    fn segment(self) -> &'static str {
        match self {
            Self::Vhosts => "vhosts",
            Self::Users => "users",
            Self::Permissions => "permissions",
            Self::TopicPermissions => "topic-permissions",
            Self::Policies => "policies",
            Self::OperatorPolicies => "operator-policies",
            Self::Parameters => "parameters",
            Self::GlobalParameters => "global-parameters",
            Self::VhostLimits => "vhost-limits",
            Self::UserLimits => "user-limits",
            Self::Exchanges => "exchanges",
            Self::Queues => "queues",
            Self::Bindings => "bindings",
            Self::Connections => "connections",
            Self::Channels => "channels",
            Self::Consumers => "consumers",
            Self::Nodes => "nodes",
            Self::FeatureFlags => "feature-flags",
        }
    }

    /// The path of the list, of one virtual host if that is wanted and there is such a list.
    pub(crate) fn list(self, vhost: Option<&str>) -> String {
        let segment = self.segment();
        match (self, vhost) {
            (_, None) => path(&[segment]),
            (Self::Permissions | Self::TopicPermissions, Some(vhost)) => path(&["vhosts", vhost, segment]),
            (Self::Connections | Self::Channels, Some(vhost)) => path(&["vhosts", vhost, segment]),
            (
                Self::Policies
                | Self::OperatorPolicies
                | Self::VhostLimits
                | Self::Exchanges
                | Self::Queues
                | Self::Bindings
                | Self::Consumers,
                Some(vhost),
            ) => path(&[segment, vhost]),
            // The rest has no virtual host, or is narrowed here.
            (_, Some(_)) => path(&[segment]),
        }
    }

    /// How one of them is named.
    pub(crate) fn single(self) -> Single {
        match self {
            Self::Vhosts
            | Self::Users
            | Self::GlobalParameters
            | Self::Connections
            | Self::Channels
            | Self::Nodes => Single::Name,
            Self::Policies | Self::OperatorPolicies | Self::Exchanges | Self::Queues | Self::Permissions => {
                Single::InVhost
            }
            Self::Parameters => Single::Parameter,
            _ => Single::None,
        }
    }

    /// The path of one, by what `single` says it is named by.
    pub(crate) fn one(self, vhost: &str, names: &[String]) -> Option<String> {
        let segment = self.segment();
        match (self.single(), names) {
            (Single::Name, [name]) => Some(path(&[segment, name])),
            (Single::InVhost, [name]) => Some(path(&[segment, vhost, name])),
            (Single::Parameter, [component, name]) => Some(path(&[segment, component, vhost, name])),
            _ => None,
        }
    }

    /// What a table of them shows.
    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Vhosts => VHOSTS,
            Self::Users => USERS,
            Self::Permissions => PERMISSIONS,
            Self::TopicPermissions => TOPIC_PERMISSIONS,
            Self::Policies | Self::OperatorPolicies => POLICIES,
            Self::Parameters => PARAMETERS,
            Self::GlobalParameters => GLOBAL_PARAMETERS,
            Self::VhostLimits => VHOST_LIMITS,
            Self::UserLimits => USER_LIMITS,
            Self::Exchanges => EXCHANGES,
            Self::Queues => QUEUES,
            Self::Bindings => BINDINGS,
            Self::Connections => CONNECTIONS,
            Self::Channels => CHANNELS,
            Self::Consumers => CONSUMERS,
            Self::Nodes => NODES,
            Self::FeatureFlags => FEATURE_FLAGS,
        }
    }
}

const VHOSTS: &[Column] = &[
    field("name"),
    count("messages", "messages"),
    count("ready", "messages_ready"),
    count("unsettled", "messages_unacknowledged"),
    field("description"),
    field("tags"),
];
const USERS: &[Column] = &[field("name"), field("tags")];
const PERMISSIONS: &[Column] = &[
    field("vhost"),
    field("user"),
    field("configure"),
    field("write"),
    field("read"),
];
const TOPIC_PERMISSIONS: &[Column] = &[
    field("vhost"),
    field("user"),
    field("exchange"),
    field("write"),
    field("read"),
];
const POLICIES: &[Column] = &[
    field("vhost"),
    field("name"),
    field("pattern"),
    field("apply-to"),
    count("priority", "priority"),
    field("definition"),
];
const PARAMETERS: &[Column] = &[field("vhost"), field("component"), field("name"), field("value")];
const GLOBAL_PARAMETERS: &[Column] = &[field("name"), field("value")];
const VHOST_LIMITS: &[Column] = &[field("vhost"), field("value")];
const USER_LIMITS: &[Column] = &[field("user"), field("value")];
const EXCHANGES: &[Column] = &[
    field("vhost"),
    field("name"),
    field("type"),
    field("durable"),
    column("auto-delete", "auto_delete", Kind::Text),
    field("internal"),
    field("policy"),
    field("arguments"),
];
const QUEUES: &[Column] = &[
    field("vhost"),
    field("name"),
    field("type"),
    field("state"),
    count("ready", "messages_ready"),
    count("unsettled", "messages_unacknowledged"),
    count("consumers", "consumers"),
    column("in/s", "message_stats.publish_details.rate", Kind::Rate),
    column("out/s", "message_stats.deliver_get_details.rate", Kind::Rate),
    field("policy"),
];
const BINDINGS: &[Column] = &[
    field("vhost"),
    field("source"),
    field("destination_type"),
    field("destination"),
    field("routing_key"),
    field("arguments"),
];
const CONNECTIONS: &[Column] = &[
    field("name"),
    field("user"),
    field("vhost"),
    field("state"),
    count("channels", "channels"),
    column("tls", "ssl", Kind::Text),
    column("client", "client_properties.connection_name", Kind::Text),
    column("in", "recv_oct", Kind::Bytes),
    column("out", "send_oct", Kind::Bytes),
];
const CHANNELS: &[Column] = &[
    field("name"),
    field("user"),
    field("vhost"),
    field("confirm"),
    count("consumers", "consumer_count"),
    count("prefetch", "prefetch_count"),
    count("unsettled", "messages_unacknowledged"),
    count("unconfirmed", "messages_unconfirmed"),
];
const CONSUMERS: &[Column] = &[
    column("vhost", "queue.vhost", Kind::Text),
    column("queue", "queue.name", Kind::Text),
    column("tag", "consumer_tag", Kind::Text),
    column("ack", "ack_required", Kind::Text),
    count("prefetch", "prefetch_count"),
    field("active"),
    column("channel", "channel_details.name", Kind::Text),
];
const NODES: &[Column] = &[
    field("name"),
    field("running"),
    column("memory", "mem_used", Kind::Bytes),
    column("limit", "mem_limit", Kind::Bytes),
    column("alarm", "mem_alarm", Kind::Text),
    column("disk free", "disk_free", Kind::Bytes),
    column("limit", "disk_free_limit", Kind::Bytes),
    column("alarm", "disk_free_alarm", Kind::Text),
    count("files", "fd_used"),
    count("sockets", "sockets_used"),
];
const FEATURE_FLAGS: &[Column] = &[field("name"), field("state"), field("stability"), field("desc")];
