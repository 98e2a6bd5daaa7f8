//! Health checks: 200 if all is well, 503 and the reason if not.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use everack_node::alarms::Resource;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::auth::certificate;
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::refusal::Refusal;

const DAY_S: u64 = 86_400;

pub(super) fn routes() -> Router<Arc<Node>> {
    let checks = "/api/health/checks";
    Router::new()
        .route(&format!("{checks}/alarms"), get(alarms))
        .route(&format!("{checks}/local-alarms"), get(local_alarms))
        .route(
            &format!("{checks}/certificate-expiration/{{within}}/{{unit}}"),
            get(certificate_expiration),
        )
        .route(&format!("{checks}/port-listener/{{port}}"), get(port_listener))
        .route(
            &format!("{checks}/protocol-listener/{{protocol}}"),
            get(protocol_listener),
        )
        .route(&format!("{checks}/virtual-hosts"), get(virtual_hosts))
        .route(
            &format!("{checks}/node-is-mirror-sync-critical"),
            get(single_node),
        )
        .route(&format!("{checks}/node-is-quorum-critical"), get(single_node))
        .route("/api/healthchecks/node", get(node))
        .route("/api/healthchecks/node/{name}", get(named_node))
}

async fn alarms(State(node): State<Arc<Node>>) -> Response {
    check(&node, "There are alarms in effect in the cluster")
}

async fn local_alarms(State(node): State<Arc<Node>>) -> Response {
    check(&node, "There are alarms in effect on the node")
}

fn check(node: &Node, reason: &str) -> Response {
    let stands = |resource| node.engine.shared.alarms.stands(resource);
    let resources = [(Resource::Memory, "memory"), (Resource::Disk, "disk")];
    let alarms: Vec<_> = resources
        .into_iter()
        .filter(|(resource, _)| stands(*resource))
        .map(|(_, name)| json!({ "node": node.name, "resource": name }))
        .collect();
    if alarms.is_empty() {
        return well();
    }
    failed(json!({ "status": "failed", "reason": reason, "alarms": alarms }))
}

/// RabbitMQ's old check of a node, which nobody should rely on: an alarm fails it, and that it does not answer.
async fn node(State(node): State<Arc<Node>>) -> Response {
    check(&node, "resource alarm(s) in effect")
}

async fn named_node(State(here): State<Arc<Node>>, Path(name): Path<String>) -> Result<Response, Refusal> {
    if name == here.name {
        Ok(check(&here, "resource alarm(s) in effect"))
    } else {
        Err(Refusal::NotFound)
    }
}

/// There is one node: it has no followers that could be behind, and takes part in no vote.
async fn single_node() -> Response {
    Json(json!({ "status": "ok", "reason": "single node cluster" })).into_response()
}

/// All virtual hosts share one log: a broker that answers has them all.
async fn virtual_hosts() -> Response {
    well()
}

async fn port_listener(State(node): State<Arc<Node>>, Path(port): Path<String>) -> Result<Response, Refusal> {
    let port: u16 = port.parse().map_err(|_| Refusal::bad("Invalid port"))?;
    let ports: Vec<u16> = node.served.iter().map(|served| served.address.port()).collect();
    Ok(if ports.contains(&port) {
        Json(json!({ "status": "ok", "port": port })).into_response()
    } else {
        failed(json!({ "status": "failed", "reason": "No active listener", "missing": port, "ports": ports }))
    })
}

/// RabbitMQ's old names of the protocols are understood as well.
async fn protocol_listener(State(node): State<Arc<Node>>, Path(asked): Path<String>) -> Response {
    let protocol = match asked.as_str() {
        "amqp091" | "amqp0.9.1" | "amqp-0-9-1" | "amqp0-9-1" => "amqp",
        "amqps" | "amqp-ssl" => "amqp/ssl",
        other => other,
    };
    let served = node.served.iter().map(|served| served.protocol);
    let mut protocols: Vec<&str> = served.collect();
    protocols.dedup();
    if protocols.contains(&protocol) {
        return Json(json!({ "status": "ok", "protocol": protocol })).into_response();
    }
    failed(json!({
        "status": "failed",
        "reason": "No active listener",
        "missing": protocol,
        "protocols": protocols,
    }))
}

/// Looks at the files that the configuration names, as they are now.
async fn certificate_expiration(
    State(node): State<Arc<Node>>,
    Extension(_): Extension<Caller>,
    Path((within, unit)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let by = now_s().saturating_add_signed(period_s(&within, &unit)?);
    let config = node.config.load_full();
    let files = [
        ("certfile", config.tls.certificate.get()),
        ("cacertfile", config.tls.client_ca.get()),
    ];
    let files: Vec<_> = files
        .into_iter()
        .filter_map(|(key, path)| Some((key, path?.to_owned())))
        .collect();
    let looked = tokio::task::spawn_blocking(move || expiring(&files, by)).await;
    let found = looked.map_err(|_| Refusal::Busy("the certificates could not be read"))?;
    if found.is_empty() {
        return Ok(well());
    }
    let encrypted = node.served.iter().filter(|served| served.protocol == "amqp/ssl");
    let shown = encrypted.map(|served| {
        let mut shown = json!({
            "node": node.name,
            "protocol": served.protocol,
            "interface": served.address.ip().to_string(),
            "port": served.address.port(),
        });
        for (key, path, at) in &found {
            shown[*key] = json!(path.display().to_string());
            shown[format!("{key}_expires_on")] = json!(at);
        }
        shown
    });
    let expired: Value = shown.collect();
    Ok(failed(json!({
        "status": "failed",
        "reason": "Certificates expiring",
        "expired": expired,
    })))
}

/// The files with a certificate that does not hold until then, and until when, in seconds since 1970; none if it cannot be read.
fn expiring(files: &[(&'static str, PathBuf)], by: u64) -> Vec<(&'static str, PathBuf, Option<u64>)> {
    let ends = files
        .iter()
        .map(|(key, path)| (*key, path.clone(), earliest(path)));
    ends.filter(|(_, _, end)| end.is_none_or(|end| end < by))
        .collect()
}

/// When the first of the certificates in a file ends.
fn earliest(path: &FilePath) -> Option<u64> {
    let text = std::fs::read(path).ok()?;
    let mut earliest = None;
    for found in CertificateDer::pem_slice_iter(&text) {
        let end = certificate::holds_until(&found.ok()?)?;
        earliest = Some(earliest.map_or(end, |earliest: u64| earliest.min(end)));
    }
    earliest
}

/// As RabbitMQ reads it: a month has four weeks and a year 365 days.
fn period_s(within: &str, unit: &str) -> Result<i64, Refusal> {
    let days = match unit {
        "days" => 1,
        "weeks" => 7,
        "months" => 28,
        "years" => 365,
        _ => {
            let units = "Supported units: days, weeks, months, years.";
            return Err(Refusal::Bad(format!("Time unit not recognised. {units}")));
        }
    };
    let within: i64 = within
        .parse()
        .map_err(|_| Refusal::bad("Invalid expiration value."))?;
    Ok(within.saturating_mul(days).saturating_mul(DAY_S as i64))
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn well() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

fn failed(shown: Value) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(shown)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_units() {
        let check = |within: &str, unit: &str, days: Option<i64>| {
            let expected = days.map(|days| days * DAY_S as i64);
            assert_eq!(period_s(within, unit).ok(), expected, "{within} {unit}");
        };
        check("3", "days", Some(3));
        check("2", "weeks", Some(14));
        check("1", "months", Some(28));
        check("1", "years", Some(365));
        check("-1", "days", Some(-1));
        check("1", "hours", None);
        check("x", "days", None);
        assert!(period_s("9223372036854775807", "years").is_ok());
    }

    #[test]
    fn files_end_with_their_first_certificate() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("chain.pem");
        let pem = |year| {
            let mut parameters = rcgen::CertificateParams::default();
            parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().expect("a key");
            parameters.self_signed(&key).expect("a certificate").pem()
        };
        std::fs::write(&file, pem(2035) + &pem(2030)).expect("it can be written");
        let in_2030 = 1_893_456_000;
        assert_eq!(earliest(&file), Some(in_2030));
        let files = [
            ("certfile", file.clone()),
            ("cacertfile", folder.path().join("none")),
        ];
        assert_eq!(expiring(&files[..1], in_2030), []);
        let (file, none) = (files[0].1.clone(), files[1].1.clone());
        let both = [("certfile", file, Some(in_2030)), ("cacertfile", none, None)];
        assert_eq!(expiring(&files, in_2030 + 1), both);
    }
}
