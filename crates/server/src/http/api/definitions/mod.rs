//! Definitions: a whole topology with its users as one JSON document, in RabbitMQ's format, out and in.
//!
//! | room | what it does |
//! |---|---|
//! | [`export`] | from a snapshot to a document |
//! | [`plan`] | from a document to commands, tried one by one on a copy of the catalog |
//! | [`form`] | a document that a browser uploads |
//!
//! An import is all or nothing: what the plan finds is handed over as one command of the catalog. As in RabbitMQ, users, permissions, limits, policies
//! and parameters replace what is there; queues and exchanges that are there stay as they are; bindings whose ends are missing are passed over.

mod export;
mod form;
mod plan;

use std::path::Path as File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest as _, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use everack_broker::catalog::{Command, Snapshot};
use everack_broker::name::Name;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use self::plan::{Fault, Plan, Scope};
use super::{Json, users};
use crate::auth::Authenticator;
use crate::auth::declared::Declared;
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::asker::Asker;
use crate::http::Node;
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::errand;
use crate::http::refusal::Refusal;

/// Most bytes of a document.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 64 << 20;

/// How long hashing plain-text passwords may take: less than a request may, so that who asked is told why nothing came of it. Each takes some
/// hundredths of a second of a core, and is meant to.
const HASHING_MAX: Duration = Duration::from_secs(20);

/// One import at a time: a document of that size takes some times as much memory.
static IMPORTS: Semaphore = Semaphore::const_new(1);

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/definitions", get(export_all).post(import_all))
        .route("/api/definitions/{vhost}", get(export_vhost).post(import_vhost))
        .layer(DefaultBodyLimit::max(DOCUMENT_BYTES_MAX))
}

/// What may be said of an export or import.
#[derive(Debug, Default, Deserialize)]
struct Wish {
    /// The name under which a browser keeps an export.
    download: Option<String>,
    /// Only what is in this vhost.
    vhost: Option<String>,
    /// Tell what an import would do, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

async fn export_all(
    Extension(caller): Extension<Caller>,
    Query(wish): Query<Wish>,
) -> Result<Response, Refusal> {
    let vhost = wish.vhost.clone();
    export(&caller, vhost.as_deref(), &wish)
}

async fn export_vhost(
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    Query(wish): Query<Wish>,
) -> Result<Response, Refusal> {
    export(&caller, Some(&vhost), &wish)
}

fn export(caller: &Caller, vhost: Option<&str>, wish: &Wish) -> Result<Response, Refusal> {
    caller.require_administrator()?;
    let document = match vhost {
        None => export::of_all(&caller.snapshot),
        Some(vhost) => {
            let view = caller.snapshot.vhost(vhost.as_bytes());
            export::of_vhost(&view.ok_or(Refusal::bad("vhost_not_found"))?)
        }
    };
    let mut response = Json(document).into_response();
    let name = wish.download.as_ref();
    let name = name.and_then(|name| HeaderValue::from_str(&format!("attachment; filename={name}")).ok());
    if let Some(name) = name {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

async fn import_all(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Query(wish): Query<Wish>,
    request: Request,
) -> Result<Response, Refusal> {
    let vhost = wish.vhost.clone();
    import(node, caller, vhost, wish.dry_run, request).await
}

async fn import_vhost(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
    Query(wish): Query<Wish>,
    request: Request,
) -> Result<Response, Refusal> {
    import(node, caller, Some(vhost), wish.dry_run, request).await
}

async fn import(
    node: Arc<Node>,
    caller: Caller,
    vhost: Option<String>,
    dry_run: bool,
    request: Request,
) -> Result<Response, Refusal> {
    let deadline = Instant::now() + HASHING_MAX;
    caller.require_administrator()?;
    let vhost = vhost.map(|vhost| caller.existing_vhost(&vhost)).transpose()?;
    let turn = IMPORTS.acquire().await;
    let _import = turn.map_err(|_| Refusal::Busy("the broker is about to stop"))?;
    let scope = Scope {
        vhost: vhost.map(|vhost| vhost.name().clone()),
        owner: Some(caller.user.name.clone()),
    };
    let Upload {
        mut document,
        redirect,
    } = Upload::read(request).await?;
    hash_passwords(
        &mut document,
        &node.authenticator,
        &caller.snapshot,
        Some(deadline),
    )
    .await?;
    // From here on nobody else changes what the configuration may declare, until the commands are handed over.
    let governing = node.governing.lock().await;
    let plan = {
        let node = node.clone();
        let tried = move || try_out(&node.engine, &node.config.load(), &document, &scope);
        let tried = tokio::task::spawn_blocking(tried).await;
        tried.map_err(|_| Refusal::Busy("the import was cut short"))??
    };
    if dry_run {
        return Ok(Json(plan.show()).into_response());
    }
    plan.log();
    if !plan.commands.is_empty() {
        let asker = Asker::new(&node.engine);
        let commands = plan.commands;
        asker.command(Command::Together { commands });
        drop(governing);
        asker.outcome().await??;
    }
    Ok(match redirect {
        Some(place) => (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// A document that came in, and where a browser wants to go afterwards.
struct Upload {
    document: Map<String, Value>,
    redirect: Option<HeaderValue>,
}

impl Upload {
    async fn read(request: Request) -> Result<Self, Refusal> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let boundary = form::boundary(kind).map(str::to_owned);
        let bytes = Bytes::from_request(request, &()).await;
        let bytes = bytes.map_err(|_| Refusal::TooLarge(DOCUMENT_BYTES_MAX))?;
        type Parsed = Result<(Map<String, Value>, Option<HeaderValue>), Refusal>;
        let parsed = tokio::task::spawn_blocking(move || -> Parsed {
            match boundary {
                None => Ok((parse(&bytes)?, None)),
                Some(boundary) => {
                    let form = form::Form::parse(&bytes, &boundary);
                    let file = form.file.ok_or(Refusal::bad("failed_to_parse_json"))?;
                    let redirect = form.redirect.and_then(|place| HeaderValue::from_str(place).ok());
                    Ok((parse(file)?, redirect))
                }
            }
        });
        let (document, redirect) = parsed
            .await
            .map_err(|_| Refusal::Busy("the import was cut short"))??;
        Ok(Self { document, redirect })
    }
}

/// Reads a document. Nothing at all is an empty one.
fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(document)) => Ok(document),
        Ok(_) => Err(Refusal::bad("failed_to_parse_json")),
        Err(error) => Err(Refusal::Bad(format!("failed_to_parse_json: {error}"))),
    }
}

/// Hashes the passwords of a document, which is the only part that takes long and cannot be refused by the catalog. One that is right for the
/// user who is there keeps its hash, so that an import can be repeated without changing anything.
///
/// # Errors
/// A user cannot be read, or not all are hashed by the deadline.
async fn hash_passwords(
    document: &mut Map<String, Value>,
    authenticator: &Authenticator,
    catalog: &Snapshot,
    deadline: Option<Instant>,
) -> Result<(), Refusal> {
    let mut hashed = 0;
    let Some(Value::Array(all)) = document.get_mut("users") else {
        return Ok(());
    };
    for user in all {
        let Value::Object(fields) = user else { continue };
        let body = Body::from(fields.clone());
        let (Some(name), Some(_)) = (body.text("name")?, body.text("password")?) else {
            continue;
        };
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Refusal::Bad(format!(
                "too many plain-text passwords: {hashed} were hashed in time, and nothing is imported; give each user a password_hash, \
                 import fewer users at a time, or have the file read at start (data.load_definitions)"
            )));
        }
        hashed += 1;
        let held = catalog
            .user(name.as_bytes())
            .map(|user| user.password_hash.as_str());
        let command = users::command(authenticator, Name::from(name), &body, held).await?;
        if let Command::DeclareUser { password_hash, .. } = command {
            fields.remove("password");
            fields.remove("hashing_algorithm");
            fields.insert("password_hash".to_owned(), password_hash.into());
        }
    }
    Ok(())
}

/// What an import would do now, and whether the configuration file and the limits allow it.
fn try_out(
    engine: &Engine,
    config: &Config,
    document: &Map<String, Value>,
    scope: &Scope,
) -> Result<Plan, Fault> {
    let catalog = engine.topology();
    let before = catalog.snapshot();
    let plan = Plan::of(document, catalog, scope)?;
    let undone = Declared::by(config).undone(&before, &plan.after);
    errand::respect(undone.as_ref()).map_err(Fault::of_whole)?;
    let grown = engine.shared.may_grow_to(&before, &plan.after);
    grown.map_err(|refused| Fault::of_whole(refused.into()))?;
    Ok(plan)
}

/// Imports the file that the configuration names, before anybody connects.
///
/// # Errors
/// The file cannot be read, or what it says cannot be; nothing was changed.
pub(crate) async fn load(
    engine: &Arc<Engine>,
    config: &Arc<Config>,
    authenticator: &Authenticator,
    path: &File,
) -> anyhow::Result<()> {
    let place = || format!("data.load_definitions: {}", path.display());
    let length = std::fs::metadata(path).with_context(place)?.len();
    anyhow::ensure!(
        length <= DOCUMENT_BYTES_MAX as u64,
        "{} is longer than {DOCUMENT_BYTES_MAX} bytes",
        place()
    );
    let bytes = std::fs::read(path).with_context(place)?;
    let refused =
        |refusal: Refusal| anyhow::anyhow!("{}: {}; nothing was imported", place(), refusal.reason());
    let mut document = parse(&bytes).map_err(refused)?;
    let snapshot = engine.topology().snapshot();
    hash_passwords(&mut document, authenticator, &snapshot, None)
        .await
        .map_err(refused)?;
    let plan = try_out(engine, config, &document, &Scope::default());
    let plan = plan.map_err(|fault| refused(fault.into()))?;
    plan.log();
    if plan.commands.is_empty() {
        return Ok(());
    }
    let asker = Asker::new(engine);
    let commands = plan.commands;
    asker.command(Command::Together { commands });
    match asker.outcome().await {
        Ok(outcome) => outcome.map(drop).with_context(place),
        Err(late) => {
            // Consumers have to be able to make room, so the broker comes up all the same.
            tracing::error!(error = %late, path = %path.display(), "the definitions are not in force yet");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use everack_broker::catalog::{Catalog, Options};
    use serde_json::json;

    use super::*;
    use crate::audit_log::AuditLog;

    /// Hashes what can be hashed by the deadline; the reason why it is refused.
    async fn check(users: Value, deadline: Option<Instant>, expected: Option<&str>) {
        let authenticator = Authenticator::new(&Config::default().auth, AuditLog::default()).unwrap();
        let mut document = Map::from_iter([("users".to_owned(), users)]);
        let catalog = Catalog::new(Options {
            partitions: 1,
            hash_key: 1,
        })
        .snapshot();
        let hashed = hash_passwords(&mut document, &authenticator, &catalog, deadline).await;
        let reason = hashed.err().map(|refusal| refusal.reason().to_owned());
        match (&reason, expected) {
            (None, None) => assert!(!format!("{document:?}").contains("secret"), "{document:?}"),
            (Some(reason), Some(part)) => assert!(reason.contains(part), "{reason}"),
            _ => panic!("{reason:?} where {expected:?} was expected"),
        }
    }

    #[tokio::test]
    async fn plain_passwords_are_hashed_until_a_deadline() {
        let plain = || json!([{"name": "ann", "password": "secret", "tags": ""}]);
        let hashed = json!([{"name": "ann", "password_hash": "AAAA", "tags": ""}]);
        check(plain(), None, None).await;
        check(plain(), Some(Instant::now() + HASHING_MAX), None).await;
        check(plain(), Some(Instant::now()), Some("0 were hashed in time")).await;
        check(hashed, Some(Instant::now()), None).await;
    }
}
