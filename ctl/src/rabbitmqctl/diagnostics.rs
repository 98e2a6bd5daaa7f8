//! How the broker is: `status`, `ping`, and the checks of `rabbitmq-diagnostics`.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use everack_api_client::{Failure, path};
use serde_json::{Value, json};

use super::options::Formatter;
use super::session::{Done, Session, Stop, status};
use crate::output::cell::bytes_text;

/// How long `await_startup` waits if nothing is said, RabbitMQ's time.
const STARTUP_MAX: Duration = Duration::from_secs(300);
/// How long a port may take to accept.
const CONNECT_MAX: Duration = Duration::from_secs(5);

pub(super) fn ping(session: &Session) -> Done {
    let milliseconds = session
        .line
        .value("timeout")
        .and_then(|text| text.parse::<f64>().ok())
        .unwrap_or(60.0)
        * 1000.0;
    let node = session.ask_node()?;
    session.banner(format!(
        "Will ping {node}. This only checks if the OS process is running and registered with epmd. Timeout: {milliseconds} ms."
    ));
    if let Err(stop) = session.get(&["overview"]) {
        let text = format!("Failed to connect and authenticate to {node} in {milliseconds} ms");
        return Err(if stop.text.starts_with("Error: unable") {
            Stop::error(status::UNAVAILABLE, text)
        } else {
            stop
        });
    }
    session.say("Ping succeeded");
    Ok(())
}

pub(super) fn await_startup(session: &Session) -> Done {
    let given = session
        .line
        .value("timeout")
        .and_then(|text| text.parse::<u64>().ok());
    let deadline = Instant::now() + given.map_or(STARTUP_MAX, Duration::from_secs);
    loop {
        let there = session.api()?.get("/api/overview");
        match there {
            Ok(_) => return Ok(()),
            Err(Failure::Unreachable { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(failure) => return Err(session.stopped(&failure)),
        }
    }
}

pub(super) fn version(session: &Session) -> Done {
    // Scripts choose by it what the broker can do: that of the RabbitMQ whose behaviour they may expect.
    let told = session.api().ok().and_then(|api| api.get("/api/overview").ok());
    let told = told.and_then(|overview| overview["rabbitmq_version"].as_str().map(str::to_owned));
    session.say(told.as_deref().unwrap_or(env!("CARGO_PKG_VERSION")));
    Ok(())
}

pub(super) fn server_version(session: &Session) -> Done {
    let overview = session.get(&["overview"])?;
    session.banner(format!(
        "Asking node {} for its RabbitMQ version...",
        session.node()
    ));
    session.say(overview["rabbitmq_version"].as_str().unwrap_or_default());
    Ok(())
}

/// What is told of a node.
struct Standing {
    node: String,
    overview: Value,
    about: Value,
}

impl Standing {
    fn ask(session: &Session) -> Result<Self, Stop> {
        let overview = session.get(&["overview"])?;
        let nodes = session.find(&["nodes"])?.unwrap_or_default();
        let about = nodes.get(0).cloned().unwrap_or_default();
        let node = session.node();
        Ok(Self {
            node,
            overview,
            about,
        })
    }

    fn alarms(&self) -> Vec<String> {
        let named = [("mem_alarm", "memory"), ("disk_free_alarm", "disk")];
        let standing = named.iter().filter(|(field, _)| self.about[*field] == true);
        standing
            .map(|(_, name)| format!("{name} on node {}", self.node))
            .collect()
    }

    fn listeners(&self) -> Vec<Value> {
        self.overview["listeners"].as_array().cloned().unwrap_or_default()
    }

    fn number(&self, field: &str) -> u64 {
        self.about[field].as_u64().unwrap_or_default()
    }

    fn product(&self) -> String {
        let text = |field: &str| self.overview[field].as_str().unwrap_or_default().to_owned();
        match text("product_name") {
            name if name.is_empty() => format!("RabbitMQ {}", text("rabbitmq_version")),
            name => format!("{name} {}", text("product_version")),
        }
    }
}

/// A section's heading, as RabbitMQ prints it.
fn heading(text: &str) -> String {
    format!("\x1b[1m{text}\x1b[0m\n\n")
}

fn lines(items: &[String]) -> String {
    if items.is_empty() {
        return "(none)\n".to_owned();
    }
    items.iter().map(|item| format!("{item}\n")).collect()
}

fn listener_line(listener: &Value, node: Option<&str>) -> String {
    let text = |field: &str| listener[field].as_str().unwrap_or_default();
    let purpose = match text("protocol") {
        "amqp" => "AMQP 0-9-1",
        "amqp/ssl" => "AMQP 0-9-1 over TLS",
        "http" => "HTTP API",
        "clustering" => "inter-node and CLI tool communication",
        "http/prometheus" => "Prometheus exporter API over HTTP",
        other => other,
    };
    let port = &listener["port"];
    let address = match text("ip_address") {
        address if address.contains(':') => format!("[{address}]"),
        address => address.to_owned(),
    };
    let place = format!(
        "interface: {address}, port: {port}, protocol: {}, purpose: {purpose}",
        text("protocol")
    );
    match node {
        Some(node) => format!("Node: {node}, {place}"),
        None => format!("I{}", &place[1..]),
    }
}

pub(super) fn status(session: &Session) -> Done {
    let standing = Standing::ask(session)?;
    if session.formatter == Formatter::Json {
        session.say(status_json(&standing).to_string());
        return Ok(());
    }
    session.banner(format!("Status of node {} ...", standing.node));
    session.say(status_text(&standing).trim_end());
    Ok(())
}

fn status_json(standing: &Standing) -> Value {
    json!({
        "alarms": standing.alarms(),
        "disk_free": standing.number("disk_free"),
        "disk_free_limit": standing.number("disk_free_limit"),
        "listeners": standing.listeners(),
        "memory": { "total": { "rss": standing.number("mem_used") } },
        "os": "Linux",
        "pid": standing.about["os_pid"].as_str().and_then(|pid| pid.parse::<u64>().ok()),
        "product_name": standing.overview["product_name"],
        "product_version": standing.overview["product_version"],
        "rabbitmq_version": standing.overview["rabbitmq_version"],
        "totals": {
            "connection_count": standing.overview["object_totals"]["connections"],
            "queue_count": standing.overview["object_totals"]["queues"],
        },
        "uptime": standing.number("uptime") / 1000,
        "vm_memory_limit": standing.number("mem_limit"),
    })
}

fn status_text(standing: &Standing) -> String {
    let text = |field: &str| standing.about[field].as_str().unwrap_or("unknown").to_owned();
    let total = |what: &str| {
        standing.overview["object_totals"][what]
            .as_u64()
            .unwrap_or_default()
    };
    let mut out = heading("Runtime");
    out += &format!("OS PID: {}\nOS: Linux\n", text("os_pid"));
    out += &format!("Uptime (seconds): {}\n", standing.number("uptime") / 1000);
    out += "Is under maintenance?: false\n";
    out += &format!(
        "RabbitMQ version: {}\n",
        standing.overview["rabbitmq_version"]
            .as_str()
            .unwrap_or("unknown")
    );
    out += &format!(
        "Product: {}\nNode name: {}\n\n",
        standing.product(),
        standing.node
    );
    out += &heading("Plugins");
    out += "Enabled plugins:\n\n";
    out += &super::plugins::BUILT_IN
        .iter()
        .map(|name| format!(" * {name}\n"))
        .collect::<String>();
    out += &format!(
        "\n{}Node data directory: {}\n\n",
        heading("Data directory"),
        text("db_dir")
    );
    out += &format!("{}{}\n", heading("Alarms"), lines(&standing.alarms()));
    out += &format!(
        "{}Total memory used: {}\nMemory high watermark setting: computed to: {}\n\n",
        heading("Memory"),
        gigabytes(standing.number("mem_used")),
        gigabytes(standing.number("mem_limit"))
    );
    out += &format!(
        "{}Total: {}, limit: {}\n\n",
        heading("File Descriptors"),
        standing.number("fd_used"),
        standing.number("fd_total")
    );
    out += &format!(
        "{}Low free disk space watermark: {}\nFree disk space: {}\n\n",
        heading("Free Disk Space"),
        gigabytes(standing.number("disk_free_limit")),
        gigabytes(standing.number("disk_free"))
    );
    out += &format!(
        "{}Connection count: {}\nQueue count: {}\n\n",
        heading("Totals"),
        total("connections"),
        total("queues")
    );
    let listeners: Vec<String> = standing
        .listeners()
        .iter()
        .map(|listener| listener_line(listener, None))
        .collect();
    out + &heading("Listeners") + &lines(&listeners)
}

/// As RabbitMQ rounds it.
fn gigabytes(bytes: u64) -> String {
    format!("{} gb", (bytes as f64 / 1e9 * 1e4).round() / 1e4)
}

pub(super) fn cluster_status(session: &Session) -> Done {
    let standing = Standing::ask(session)?;
    let node = &standing.node;
    let name = standing.overview["cluster_name"].as_str().unwrap_or(node);
    let flags = session.find(&["feature-flags"])?.unwrap_or_default();
    let flags = flags.as_array().cloned().unwrap_or_default();
    let listeners = standing.listeners();
    if session.formatter == Formatter::Json {
        let status = json!({
            "alarms": standing.alarms(),
            "cluster_name": name,
            "disk_nodes": [node],
            "feature_flags": flags,
            "listeners": { node: listeners },
            "maintenance_status": { node: "not under maintenance" },
            "partitions": {},
            "ram_nodes": [],
            "running_nodes": [node],
            "versions": { node: { "rabbitmq_version": standing.overview["rabbitmq_version"] } },
        });
        session.say(status.to_string());
        return Ok(());
    }
    session.banner(format!("Cluster status of node {node} ..."));
    let mut out = format!("{}Cluster name: {name}\n\n", heading("Basics"));
    out += &format!("{}{node}\n\n", heading("Disk Nodes"));
    out += &format!("{}{node}\n\n", heading("Running Nodes"));
    out += &format!("{}{node}: {}\n\n", heading("Versions"), standing.product());
    out += &format!(
        "{}Node: {node}, status: not under maintenance\n\n",
        heading("Maintenance status")
    );
    out += &format!("{}{}\n", heading("Alarms"), lines(&standing.alarms()));
    out += &format!("{}(none)\n\n", heading("Network Partitions"));
    let listeners: Vec<String> = listeners
        .iter()
        .map(|listener| listener_line(listener, Some(node)))
        .collect();
    out += &format!("{}{}\n", heading("Listeners"), lines(&listeners));
    let flag = |flag: &Value| {
        let text = |field: &str| flag[field].as_str().unwrap_or_default().to_owned();
        format!("Flag: {}, state: {}", text("name"), text("state"))
    };
    let flags: Vec<String> = flags.iter().map(flag).collect();
    out += &format!("{}{}", heading("Feature flags"), lines(&flags));
    session.say(out.trim_end());
    Ok(())
}

pub(super) fn node_health_check(session: &Session) -> Done {
    session.banner(
        "This command is DEPRECATED and will be removed in a future version.\n\
         It performs intrusive, opinionated health checks and requires a fully booted node.\n\
         Use one of the options covered in https://www.rabbitmq.com/monitoring.html#health-checks instead.",
    );
    session.banner("Timeout: 70 seconds ...");
    let standing = Standing::ask(session)?;
    session.banner(format!("Checking health of node {} ...", standing.node));
    let alarms = standing.alarms();
    if !alarms.is_empty() {
        return Err(Stop::error(
            super::session::status::SOFTWARE,
            format!("health check failed. Message: {}", alarms.join(", ")),
        ));
    }
    session.say("Health check passed");
    Ok(())
}

pub(super) fn check_running(session: &Session) -> Done {
    let overview = session.get(&["overview"]);
    let node = session.node();
    if session.spec.name == "check_running" {
        session.banner(format!("Checking if RabbitMQ is running on node {node} ..."));
    } else {
        session.banner(format!("Asking node {node} for its status ..."));
    }
    overview?;
    session.say(format!("RabbitMQ on node {node} is fully booted and running"));
    Ok(())
}

pub(super) fn is_booting(session: &Session) -> Done {
    session.get(&["overview"])?;
    let node = session.node();
    session.banner(format!("Asking node {node} for its boot status ..."));
    session.say(format!(
        "RabbitMQ on node {node} is fully booted (check with is_running), stopped or has not started booting yet"
    ));
    Ok(())
}

pub(super) fn alarms(session: &Session) -> Done {
    let standing = Standing::ask(session)?;
    let (node, alarms) = (&standing.node, standing.alarms());
    if session.formatter == Formatter::Json {
        let result = if alarms.is_empty() { "ok" } else { "error" };
        session.say(json!({ "alarms": alarms, "node": node, "result": result }).to_string());
        return end_of_check(session, &alarms);
    }
    let known = if session.spec.name == "alarms" {
        "known"
    } else {
        "local"
    };
    session.banner(format!(
        "Asking node {node} to report any {known} resource alarms ..."
    ));
    if alarms.is_empty() {
        let what = if session.spec.name == "check_local_alarms" {
            "no local alarms"
        } else {
            "no alarms, local or clusterwide"
        };
        session.say(format!("Node {node} reported {what}"));
        return Ok(());
    }
    let text = format!("Node {node} reported alarms: {}", alarms.join(", "));
    if session.spec.name == "alarms" {
        session.say(text);
        return Ok(());
    }
    Err(Stop::error(super::session::status::UNAVAILABLE, text))
}

/// A check fails where a report only tells.
fn end_of_check(session: &Session, alarms: &[String]) -> Done {
    if alarms.is_empty() || session.spec.name == "alarms" {
        return Ok(());
    }
    Err(Stop {
        status: super::session::status::UNAVAILABLE,
        text: String::new(),
    })
}

pub(super) fn listeners(session: &Session) -> Done {
    let standing = Standing::ask(session)?;
    let node = &standing.node;
    if session.formatter == Formatter::Json {
        let listeners = standing.listeners();
        session.say(json!({ "listeners": listeners, "node": node, "result": "ok" }).to_string());
        return Ok(());
    }
    session.banner(format!("Asking node {node} to report its protocol listeners ..."));
    for listener in standing.listeners() {
        session.say(listener_line(&listener, None));
    }
    Ok(())
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort();
    values.dedup();
    values
}

fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn check_port_listener(session: &Session) -> Done {
    let standing = Standing::ask(session)?;
    let (node, port) = (&standing.node, session.argument(0));
    session.banner(format!(
        "Asking node {node} if there's an active listener on port {port} ..."
    ));
    let ports = sorted(
        standing
            .listeners()
            .iter()
            .filter_map(|listener| listener["port"].as_u64()),
    );
    if port.parse::<u64>().is_ok_and(|port| ports.contains(&port)) {
        session.say(format!("A listener for port {port} is running on node {node}."));
        return Ok(());
    }
    Err(Stop::plain(
        super::session::status::UNAVAILABLE,
        format!(
            "No listener for port {port} is active on node {node}. Found listeners that use the following ports: {}",
            joined(&ports)
        ),
    ))
}

pub(super) fn check_protocol_listener(session: &Session) -> Done {
    let standing = Standing::ask(session)?;
    let (node, protocol) = (&standing.node, session.argument(0));
    session.banner(format!(
        "Asking node {node} if there's an active listener for protocol {protocol} ..."
    ));
    let listeners = standing.listeners();
    let protocols = sorted(
        listeners
            .iter()
            .filter_map(|listener| listener["protocol"].as_str()),
    );
    let name = match protocol.to_lowercase().as_str() {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" => "amqp".to_owned(),
        "amqps" => "amqp/ssl".to_owned(),
        other => other.to_owned(),
    };
    if protocols.contains(&name.as_str()) {
        session.say(format!(
            "A listener for protocol {protocol} is running on node {node}."
        ));
        return Ok(());
    }
    Err(Stop::error(
        super::session::status::UNAVAILABLE,
        format!(
            "No listener for protocol {protocol} is active on node {node}. Found listeners for the following protocols: {}",
            joined(&protocols)
        ),
    ))
}

pub(super) fn check_port_connectivity(session: &Session) -> Done {
    let standing = Standing::ask(session)?;
    let node = &standing.node;
    session.banner(format!(
        "Testing TCP connections to all active listeners on node {node} ..."
    ));
    let listeners = standing.listeners();
    let failed = sorted(
        listeners
            .iter()
            .filter(|listener| !accepts(listener))
            .filter_map(port_of),
    );
    if failed.is_empty() {
        let ports = sorted(listeners.iter().filter_map(port_of));
        session.say(format!(
            "Successfully connected to ports {} on node {node}.",
            joined(&ports)
        ));
        return Ok(());
    }
    Err(Stop::error(
        super::session::status::UNAVAILABLE,
        format!(
            "Connection to ports of the following listeners on node {node} failed:  {}",
            joined(&failed)
        ),
    ))
}

fn port_of(listener: &Value) -> Option<u64> {
    listener["port"].as_u64()
}

fn accepts(listener: &Value) -> bool {
    let host = match listener["ip_address"].as_str().unwrap_or_default() {
        "" | "::" | "0.0.0.0" => "localhost",
        host => host,
    };
    let port = port_of(listener)
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or_default();
    let addresses = (host, port).to_socket_addrs();
    addresses
        .is_ok_and(|mut all| all.any(|address| TcpStream::connect_timeout(&address, CONNECT_MAX).is_ok()))
}

pub(super) fn check_virtual_hosts(session: &Session) -> Done {
    let node = session.ask_node()?;
    session.banner(format!("Checking if all vhosts are running on node {node} ..."));
    health(session, &["health", "checks", "virtual-hosts"])?;
    session.say(format!("Node {node} reported all vhosts as running"));
    Ok(())
}

pub(super) fn check_certificate_expiration(session: &Session) -> Done {
    let node = session.ask_node()?;
    let unit = session.line.value("unit").unwrap_or("weeks").to_owned();
    let within = session.line.value("within").unwrap_or("4").to_owned();
    session.banner(format!("Checking certificate expiration on node {node} ..."));
    health(
        session,
        &["health", "checks", "certificate-expiration", &within, &unit],
    )?;
    session.say(format!("No certificates are expiring within {within} {unit}."));
    Ok(())
}

pub(super) fn critical(session: &Session) -> Done {
    let node = session.ask_node()?;
    let (about, check) = match session.spec.name {
        "check_if_node_is_quorum_critical" => ("quorum of any quorum queues", "node-is-quorum-critical"),
        _ => (
            "data safety of any classic mirrored queues",
            "node-is-mirror-sync-critical",
        ),
    };
    session.banner(format!("Checking if node {node} is critical for {about} ..."));
    health(session, &["health", "checks", check])?;
    session.say(format!(
        "Node {node} seems to be the only one in a single node cluster, the check does not apply"
    ));
    Ok(())
}

/// Asks for a check of the API, and stops if it failed.
fn health(session: &Session, check: &[&str]) -> Done {
    match session.api()?.get(&path(check)) {
        Ok(_) => Ok(()),
        Err(failure) => Err(session.stopped(&failure)),
    }
}

pub(super) fn memory_breakdown(session: &Session) -> Done {
    let standing = Standing::ask(session)?;
    session.banner(format!("Reporting memory breakdown on node {}...", standing.node));
    session.say(format!(
        "total: {} (100.0%)",
        gigabytes(standing.number("mem_used"))
    ));
    Ok(())
}

/// `report`: what support would ask for.
pub(super) fn report(session: &Session) -> Done {
    let standing = Standing::ask(session)?;
    session.say(format!("Reporting server status of node {} ...\n", standing.node));
    session.say(status_text(&standing));
    for what in [
        "connections",
        "channels",
        "queues",
        "exchanges",
        "bindings",
        "consumers",
        "vhosts",
        "policies",
        "parameters",
    ] {
        let found = session.find(&[what])?.unwrap_or_default();
        let found = found.as_array().cloned().unwrap_or_default();
        session.say(format!("{what} ({})\n", found.len()));
        for object in found {
            session.say(object.to_string());
        }
        session.say("");
    }
    let free = bytes_text(standing.number("disk_free") as f64);
    session.say(format!("End of server status report ({free} of disk free)"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_as_rabbitmq_names_them() {
        let listener = json!({"ip_address": "127.0.0.1", "port": 5672, "protocol": "amqp"});
        let place = "interface: 127.0.0.1, port: 5672, protocol: amqp, purpose: AMQP 0-9-1";
        assert_eq!(
            listener_line(&listener, Some("a@b")),
            format!("Node: a@b, {place}")
        );
        assert_eq!(listener_line(&listener, None), format!("I{}", &place[1..]));
    }

    #[test]
    fn gigabytes_are_rounded_as_rabbitmq_does() {
        let check = |bytes, expected: &str| assert_eq!(gigabytes(bytes), expected);
        check(137_500_000, "0.1375 gb");
        check(20_221_200_000, "20.2212 gb");
        check(0, "0 gb");
    }
}
