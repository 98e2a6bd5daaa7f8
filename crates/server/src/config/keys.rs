//! Every key, once: name, type, default, help, and whether SIGHUP takes it over.
//!
//! To add a key, add its line here. The file's reader, `--set`, `everack config`, the reference in
//! `docs/guide` (refresh it as its test says) and the reload follow from it.

use std::path::PathBuf;

use super::collector::{Endpoint, Headers, Share};
use super::governing::{AppliesTo, Most, PolicySettings, Priority, TopicPattern};
use super::setting::{
    Addresses, DirectWrites, External, GuardChoice, Guest, Hash, HttpAddresses, LogFormat, LogLevel, Name,
    Number, OperatorSocket, OptionalPath, Parents, Pattern, Period, PolicySort, QueueType, Size, TlsVersion,
    UnroutableFate, Words,
};
use super::table::{REQUIRED, table};

table! {
    /// The configuration of a broker: everything that `--config FILE` and flags can say.
    Config {
        /// Where the messages are kept.
        data: Data = "{}", Restart;
        /// How AMQP clients connect.
        amqp: Amqp = "{}", Restart;
        /// How much memory messages may take.
        memory: Memory = "{}", Restart;
        /// How many of a thing clients may make.
        limits: Limits = "{}", Restart;
        /// Encrypted connections. They are served when `certificate` and `key` are set.
        tls: Tls = "{}", Restart;
        /// The management API.
        http: Http = "{}", Restart;
        /// Metrics for Prometheus.
        metrics: Metrics = "{}", Restart;
        /// Traces of messages on their way, as OpenTelemetry spans.
        traces: Traces = "{}", Restart;
        /// Who may log in, and what checking a password may cost.
        auth: Auth = "{}", Restart;
        /// What is written to standard error.
        log: Log = "{}", Restart;
        /// The trail of administrative acts.
        audit: Audit = "{}", Restart;
        /// What happens at SIGTERM and SIGINT.
        shutdown: Shutdown = "{}", Restart;
        /// The process as the operating system sees it.
        process: Process = "{}", Restart;
        /// Virtual hosts. They are created if they do not exist; `/` a new data directory begins with. One that is no longer listed
        /// stays, with its queues and messages, and gets the usual settings. Others can be made over the management API.
        vhosts: Vec<Vhost> = "[]", Live;
        /// Users. One that is listed is as the file says, and cannot be changed over the management API; one that is no longer listed
        /// can no longer log in after the next start or SIGHUP. Others can be made over the management API.
        users: Vec<User> = "[]", Live;
        /// Policies. One that is listed is as the file says; one that is no longer listed governs nothing after the next start or SIGHUP.
        /// Others can be made over the management API.
        policies: Vec<Policy> = "[]", Live;
    }
}

table! {
    /// Where the messages are kept.
    Data {
        /// The directory of this broker's data. It is created if it does not exist, and belongs to one
        /// process at a time. Flag: `--data`.
        directory: PathBuf = "\"./data\"", Restart;
        /// The size of a segment file of the log. The log takes up to twice the bytes of the messages in it, and
        /// two segments.
        segment: Size<65_536, 1_073_741_824> = "\"64 MiB\"", Restart;
        /// Whether the log is written past the kernel's page cache, which takes less CPU and confirms earlier. `auto`: as long as nobody reads from the
        /// log (consumers that keep up are served from memory), on ext4 and XFS from Linux 6.1 on, on a disk that takes sectors of 512 bytes and
        /// less than 7 ms to sync. What consumers lag behind goes through the cache. `never`: always through the cache. `always`: as `auto`, without asking the file
        /// system; where it cannot, the broker does not start, or stops at its first write.
        direct_writes: DirectWrites = "\"auto\"", Restart;
        /// Definitions to import at each start, a JSON file in RabbitMQ's format, after what this configuration declares and before anybody
        /// connects. All of it or nothing: a file that cannot be read or says what cannot be stops the start. With it a new data directory
        /// begins without `guest` and `/`, as with RabbitMQ, unless they are declared. "" imports nothing.
        load_definitions: OptionalPath = "\"\"", Restart;
        /// Publishers are blocked while the disk has less free space than this. Consumers go on.
        free_min: Size<0, 1_099_511_627_776> = "\"64 MiB\"", Restart;
    }
}

table! {
    /// How AMQP clients connect.
    Amqp {
        /// Where to listen for unencrypted connections. Port 0 takes any free one; the ready line tells
        /// which. A name stands for all its addresses. An empty list serves encrypted connections only. Flag: `--amqp`.
        listen: Addresses = "[\"127.0.0.1:5672\"]", Restart;
        /// Connections served at one time, encrypted ones included. One more is closed at once, and
        /// the log says so.
        connections_max: Number<1, 1_000_000> = "16384", Live;
        /// Connections that the kernel keeps waiting until they are accepted.
        backlog: Number<1, 65_535> = "1024", Restart;
        /// The largest frame offered to clients; larger bodies come in several frames. New connections.
        frame_max: Size<4096, 16_777_216> = "\"128 KiB\"", Live;
        /// The most channels that a connection may open. New connections.
        channel_max: Number<1, 65_535> = "2047", Live;
        /// The heartbeat offered to clients; a peer that is silent for two of them is taken for dead.
        /// 0 s offers none. New connections.
        heartbeat: Period<0, 3_600_000> = "\"60 s\"", Live;
        /// The largest body accepted. New connections.
        message_bytes_max: Size<1, 134_217_728> = "\"128 MiB\"", Live;
    }
}

table! {
    /// How much memory messages may take.
    Memory {
        /// Publishers are blocked while the process takes more memory than this. Consumers go on. 0: two fifths of the
        /// machine's memory.
        process_max: Size<0, 1_099_511_627_776> = "\"0 B\"", Restart;
        /// Messages of durable queues are kept in memory up to this size, and read from the log beyond it.
        durable_max: Size<0, 1_099_511_627_776> = "\"64 MiB\"", Restart;
        /// While publishers are blocked for want of memory, a connection that holds more than 1 MiB which only itself can free (a
        /// message half sent, a transaction, answers that it does not read) is closed after this time.
        patience: Period<1000, 86_400_000> = "\"60 s\"", Live;
    }
}

table! {
    /// How many of a thing clients may make. What is over a lowered limit stays.
    Limits {
        /// Queues, over all virtual hosts.
        queues_max: Number<1, 100_000_000> = "1000000", Live;
        /// Exchanges, over all virtual hosts, besides those that each of them has.
        exchanges_max: Number<1, 100_000_000> = "100000", Live;
        /// Consumers of one channel.
        consumers_max: Number<1, 1_000_000> = "10000", Live;
        /// Messages that wait in each exchange of type `x-delayed-message`. One more is refused (`basic.nack`).
        delayed_messages_max: Number<1, 1_000_000_000> = "1000000", Restart;
        /// Bytes of messages that wait in each of them. What goes beyond is refused.
        delayed_bytes_max: Size<1, 1_099_511_627_776> = "\"1 GiB\"", Restart;
    }
}

table! {
    /// Encrypted connections.
    Tls {
        /// Where to listen for encrypted connections, once `certificate` and `key` are set.
        listen: Addresses = "[\"127.0.0.1:5671\"]", Restart;
        /// The certificate chain, PEM, the server's own certificate first. The files named here, in `key`
        /// and in `client_ca` are read again at each SIGHUP, so that a renewed one takes effect.
        certificate: OptionalPath = "\"\"", Restart;
        /// The private key of the certificate, PEM (PKCS#8, PKCS#1 or SEC1), without passphrase.
        key: OptionalPath = "\"\"", Restart;
        /// Certificates of the authorities, PEM, that must have signed the clients' certificates. If set,
        /// a client without such a certificate cannot connect (mutual TLS).
        client_ca: OptionalPath = "\"\"", Restart;
        /// The oldest version of TLS to speak.
        version_min: TlsVersion = "\"1.2\"", Live;
    }
}

table! {
    /// The management API, and the web console beside it.
    Http {
        /// Where to listen for HTTP requests. "auto" listens on 127.0.0.1:15672, RabbitMQ's address, and goes on without the
        /// API if another program has it. A given address has to be free. An empty list is no API. It is not encrypted:
        /// keep it on this machine, or behind a proxy that is. Flag: `--http`, which takes `off` too.
        listen: HttpAddresses = "\"auto\"", Restart;
        /// Connections served at one time. One more is closed at once.
        connections_max: Number<1, 100_000> = "256", Restart;
        /// Names under which browsers may call the web console, beside addresses, `localhost` and the machine's own name: those of a proxy
        /// before it. Under any other name it answers 421, so that a page elsewhere cannot make its own name lead here.
        names: Words = "[]", Restart;
        /// Whether root, and the user that the broker runs as, may ask the management API without a log-in, over the socket `everack.sock`
        /// in the data directory. `everack ctl` and `rabbitmqctl` use it, also without an address to listen on.
        operator_socket: OperatorSocket = "\"on\"", Restart;
    }
}

table! {
    /// Metrics for Prometheus.
    Metrics {
        /// Where to listen for scrapes. "auto" listens on 127.0.0.1:15692, RabbitMQ's address, and goes on without metrics if another
        /// program has it. A given address has to be free. An empty list is no metrics. Nobody has to log in: keep it where only
        /// Prometheus comes by. Flag: `--metrics`, which takes `off` too.
        listen: HttpAddresses = "\"auto\"", Restart;
        /// Connections served at one time. One more is closed at once.
        connections_max: Number<1, 10_000> = "32", Restart;
    }
}

table! {
    /// Traces of messages on their way, as OpenTelemetry spans.
    Traces {
        /// Where a collector takes spans by OTLP over HTTP, such as "http://127.0.0.1:4318". `/v1/traces` is added where the address has
        /// no path of its own. "" is no traces.
        endpoint: Endpoint = "\"\"", Restart;
        /// Whether the publisher decides for messages that have a W3C trace context in their headers (`traceparent`): then those are
        /// followed whose context is sampled. "off" leaves them to chance, as all others.
        parents: Parents = "\"on\"", Restart;
        /// Which share of all other messages is followed, by chance.
        sample: Share = "0.0", Restart;
        /// The name of the service that spans are said to come from.
        service: Name = "\"everack\"", Restart;
        /// Headers of the requests to the collector, as for its log-in. Whoever can read this file can read them.
        headers: Headers = "[]", Restart;
        /// Certificates of the authorities, PEM, one of which has signed the collector's. "" trusts those that the system trusts.
        ca: OptionalPath = "\"\"", Restart;
        /// Publishes under way that are followed at one time, and copies of messages in queues. Beyond it the oldest are let go.
        followed_max: Number<1, 1_000_000> = "10000", Restart;
        /// Spans that wait to be sent. What finds no room is dropped.
        waiting_max: Number<1, 1_000_000> = "10000", Restart;
        /// Spans that are sent together.
        batch_max: Number<1, 10_000> = "512", Restart;
        /// How long spans wait for others to be sent with.
        delay: Period<1, 60_000> = "\"1 s\"", Restart;
        /// How long one request to the collector may take.
        timeout: Period<100, 300_000> = "\"10 s\"", Restart;
        /// For how long spans are sent again that the collector does not take for the moment. Then they are dropped.
        retry_for: Period<0, 3_600_000> = "\"60 s\"", Restart;
    }
}

table! {
    /// Who may log in, and what checking a password may cost.
    Auth {
        /// Whether there is a user `guest` with the password `guest`, who may do everything in the vhost `/`, and from where it can
        /// log in. "initial": as RabbitMQ, a new data directory begins with it, and it can be changed and deleted over the management
        /// API; from this machine only. "loopback" and "anywhere": it is always there.
        guest: Guest = "\"initial\"", Live;
        /// What in a client's certificate names the user, for clients that log in with it instead of a password (EXTERNAL).
        /// Needs `tls.client_ca`; the user must be among `users`. New connections.
        external: External = "\"off\"", Live;
        /// Passwords verified at one time; each takes some 20 ms of one core and 19 MiB of memory. 0: as
        /// many as there are cores.
        verifications_max: Number<0, 1024> = "0", Restart;
        /// Verified logins remembered, so that clients that connect often do not cost a verification each.
        /// Only a keyed digest is kept, in memory. 0 remembers none.
        remembered_max: Number<0, 1_000_000> = "10000", Restart;
        /// How long an unused verified login is remembered, at most.
        remembered_for: Period<1000, 86_400_000> = "\"15 min\"", Restart;
    }
}

table! {
    /// What is written to standard error.
    Log {
        /// What to log: a level, and levels by target, as in "info,everack_server::net=debug".
        level: LogLevel = "\"info\"", Live;
        /// Lines for people, or JSON objects for collectors.
        format: LogFormat = "\"text\"", Restart;
    }
}

table! {
    /// The trail of administrative acts: changes over the management API, refused log-ins, reloaded configurations. They are in the log too,
    /// with the target `audit`.
    Audit {
        /// A file that gets a line of JSON for each: who, from where, which act, what came of it. Never a body or a password.
        file: OptionalPath = "\"\"", Restart;
        /// A file that would be larger is moved aside, to the same name with `.1`.
        size_max: Size<4096, 1_099_511_627_776> = "\"16 MiB\"", Restart;
        /// Files kept, the one that is written included. The oldest goes.
        files_max: Number<1, 1000> = "5", Restart;
    }
}

table! {
    /// What happens at SIGTERM and SIGINT.
    Shutdown {
        /// How long connections are given to close politely before the broker stops without them. A second
        /// signal ends the process at once. Either way nothing that was confirmed is lost.
        timeout: Period<0, 600_000> = "\"10 s\"", Live;
    }
}

table! {
    /// The process as the operating system sees it.
    Process {
        /// Threads that serve connections. 0: as many as there are cores.
        threads: Number<0, 1024> = "0", Restart;
        /// Partitions that new queues are spread over. More than one pays where many cores publish at once.
        partitions: Number<1, 64> = "1", Restart;
    }
}

table! {
    /// A virtual host.
    Vhost {
        /// Its name.
        name: Name = REQUIRED, Live;
        /// The most connections at one time. One more is refused.
        max_connections: Most = "-1", Live;
        /// The most queues. One more is refused.
        max_queues: Most = "-1", Live;
        /// The type of queues that are declared without `x-queue-type`: "classic" or "quorum". Queues that quorum queues cannot be
        /// (exclusive, auto-delete, not durable) are classic all the same. Queues that are there keep their type.
        default_queue_type: QueueType = "\"classic\"", Live;
        /// What becomes of messages that no queue wants and that were not published as mandatory. "keep" puts them into the
        /// queue `amq.everack.unroutable` of the vhost, from which they can be read; "drop" confirms and forgets them, as RabbitMQ
        /// does; "nack" refuses them.
        unroutable: UnroutableFate = "\"keep\"", Live;
        /// The most unroutable messages kept. The oldest make room.
        unroutable_messages_max: Number<1, 1_000_000_000> = "10000", Live;
        /// The most bytes of unroutable messages kept, with their addresses and headers. The oldest make room; one that alone is
        /// larger is refused.
        unroutable_bytes_max: Size<1, 1_099_511_627_776> = "\"16 MiB\"", Live;
        /// What is done about consumers that do not acknowledge (no-ack), and `basic.get` without acknowledgement, on durable
        /// queues that are not exclusive: what is on its way to them is lost with them. "allow" serves them, as RabbitMQ does; "warn"
        /// tells of each in the log and counts them; "retain" keeps what they got for a while, for an operator to bring it
        /// back; "deny" refuses them. Policies may say otherwise for some queues (`no-ack-guard`).
        no_ack_guard: GuardChoice = "\"warn\"", Live;
        /// For how long messages are retained that were handed over without acknowledgement (`no-ack-retention` in policies).
        no_ack_retention: Period<1000, 2_592_000_000> = "\"1 h\"", Live;
        /// The most messages retained in a queue. Those that were handed over first are given up for others.
        no_ack_retention_messages_max: Number<1, 1_000_000_000> = "100000", Live;
        /// The most bytes retained in a queue.
        no_ack_retention_bytes_max: Size<1, 1_099_511_627_776> = "\"64 MiB\"", Live;
    }
}

table! {
    /// A user.
    User {
        /// The name used to log in.
        name: Name = REQUIRED, Live;
        /// The hash of the password, from `everack hash-password`; or one of RabbitMQ's, as `password_hash` in its exported
        /// definitions has it. "" is no password: the user logs in with a certificate.
        password_hash: Hash = REQUIRED, Live;
        /// Labels such as "administrator", "monitoring" or "management".
        tags: Words = "[]", Live;
        /// What the user may do, by vhost. Without an entry, the vhost is closed to the user.
        permissions: Vec<Permission> = "[]", Live;
        /// Which routing keys the user may use on topic exchanges. Without an entry for an exchange, all.
        topic_permissions: Vec<TopicPermission> = "[]", Live;
        /// The most connections at one time. One more is refused.
        max_connections: Most = "-1", Live;
        /// The most channels at one time, over all connections. One more ends its connection.
        max_channels: Most = "-1", Live;
    }
}

table! {
    /// What a user may do in a vhost. The patterns are matched against names of exchanges and queues,
    /// anywhere in the name unless anchored with ^ and $; "" matches nothing, ".*" everything.
    Permission {
        /// The vhost.
        vhost: Name = "\"/\"", Live;
        /// What may be declared, deleted and bound.
        configure: Pattern = "\"\"", Live;
        /// What may be published to.
        write: Pattern = "\"\"", Live;
        /// What may be consumed from.
        read: Pattern = "\"\"", Live;
    }
}

table! {
    /// Which routing keys a user may use on a topic exchange.
    TopicPermission {
        /// The vhost.
        vhost: Name = "\"/\"", Live;
        /// The exchange.
        exchange: Name = REQUIRED, Live;
        /// Routing keys that may be published with.
        write: TopicPattern = "\"\"", Live;
        /// Routing keys that may be bound with.
        read: TopicPattern = "\"\"", Live;
    }
}

table! {
    /// Settings for all queues and exchanges whose names match. They change while these are in use. Of several that match, the one
    /// with the highest priority governs.
    Policy {
        /// Its name.
        name: Name = REQUIRED, Live;
        /// The vhost.
        vhost: Name = "\"/\"", Live;
        /// Names that it is for: a regular expression, found anywhere in the name unless anchored with ^ and $.
        pattern: String = REQUIRED, Live;
        /// What it is for.
        apply_to: AppliesTo = "\"all\"", Live;
        /// The highest governs.
        priority: Priority = "0", Live;
        /// Whether it says how things are to be, or bounds what others say.
        kind: PolicySort = "\"user\"", Live;
        /// What it sets, by RabbitMQ's names: "max-length", "max-length-bytes", "message-ttl", "expires", "overflow",
        /// "dead-letter-exchange", "dead-letter-routing-key", "delivery-limit", "alternate-exchange" and others;
        /// and by ours: "no-ack-guard", "no-ack-retention".
        definition: PolicySettings = REQUIRED, Live;
    }
}
