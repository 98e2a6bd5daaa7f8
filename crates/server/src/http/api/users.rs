//! Users. For administrators, who see the hashes too: a user can be moved with them.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use everack_broker::catalog::{Command, User};
use everack_broker::name::Name;
use serde_json::{Value, json};

use super::{Answer, Json, Written, limits, permissions, to_json, written};
use crate::auth::Authenticator;
use crate::auth::exported::{self, Exported};
use crate::http::Node;
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::errand::Errand;
use crate::http::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/users", get(list))
        .route("/api/users/without-permissions", get(list_without_permissions))
        .route("/api/users/bulk-delete", post(remove_many))
        .route("/api/users/{name}", get(one).put(declare).delete(remove))
        .route("/api/users/{name}/permissions", get(list_permissions))
        .route("/api/users/{name}/topic-permissions", get(list_topic_permissions))
}

async fn list(Extension(caller): Extension<Caller>) -> Answer {
    caller.require_administrator()?;
    Ok(Json(caller.snapshot.users().map(|user| show(user)).collect()))
}

async fn list_without_permissions(Extension(caller): Extension<Caller>) -> Answer {
    caller.require_administrator()?;
    let permitted: HashSet<&Name> = caller.snapshot.all_permissions().map(|held| &held.user).collect();
    let users = caller.snapshot.users();
    let without = users.filter(|user| !permitted.contains(&user.name));
    Ok(Json(without.map(|user| show(user)).collect()))
}

async fn one(Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Answer {
    caller.require_administrator()?;
    Ok(Json(show(find(&caller, &name)?)))
}

async fn list_permissions(Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Answer {
    caller.require_administrator()?;
    let user = find(&caller, &name)?;
    let held = caller.snapshot.all_permissions();
    let own = held.filter(|permissions| permissions.user == user.name);
    Ok(Json(
        own.map(|permissions| permissions::show(permissions)).collect(),
    ))
}

async fn list_topic_permissions(Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Answer {
    caller.require_administrator()?;
    let user = find(&caller, &name)?;
    let held = caller.snapshot.topic_permissions();
    let own = held.filter(|permission| permission.user == user.name);
    Ok(Json(
        own.map(|permission| permissions::show_topic(permission))
            .collect(),
    ))
}

/// As in RabbitMQ a user has the password and tags of the last request: one without a password can log in only with a certificate.
async fn declare(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Body,
) -> Written {
    caller.require_administrator()?;
    let command = command(&node.authenticator, Name::from(name), &body, None).await?;
    let new = matches!(&command, Command::DeclareUser { user, .. } if caller.snapshot.user(user).is_none());
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(written(new))
}

/// What makes a user of what RabbitMQ says of one. A password that is right for the hash which is held keeps it.
pub(super) async fn command(
    authenticator: &Authenticator,
    user: Name,
    body: &Body,
    held: Option<&str>,
) -> Result<Command, Refusal> {
    let Some(password) = body.text("password")? else {
        return command_with_hash(user, body);
    };
    let tags = body.words("tags")?.ok_or(Refusal::bad("tags_not_present"))?;
    if body.text("password_hash")?.is_some() {
        return Err(Refusal::bad("both_password_and_password_hash_are_provided"));
    }
    let hashed = authenticator.hash(password.as_bytes().to_vec(), held).await;
    Ok(Command::DeclareUser {
        user,
        password_hash: hashed.map_err(|_| Refusal::Busy("the password could not be hashed"))?,
        tags,
    })
}

/// As [`command`], of a user whose password is not told.
pub(super) fn command_with_hash(user: Name, body: &Body) -> Result<Command, Refusal> {
    let tags = body.words("tags")?.ok_or(Refusal::bad("tags_not_present"))?;
    let password_hash = match body.text("password_hash")? {
        Some(hash) => {
            let algorithm = body.text("hashing_algorithm")?;
            exported::import(hash, algorithm).map_err(|refused| refuse_hash(&user, hash, refused))?
        }
        None => String::new(),
    };
    Ok(Command::DeclareUser {
        user,
        password_hash,
        tags,
    })
}

fn refuse_hash(user: &Name, hash: &str, refused: exported::Refused) -> Refusal {
    match refused {
        exported::Refused::NotBase64 => Refusal::Value("not_base64", hash.to_owned()),
        exported::Refused::NoHash(why) => {
            Refusal::Bad(format!("password_hash of user '{user}' cannot be used: {why}"))
        }
    }
}

async fn remove(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Written {
    caller.require_administrator()?;
    let user = find(&caller, &name)?.name.clone();
    let command = Command::DeleteUser { user };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes all of them, or none.
async fn remove_many(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Written {
    caller.require_administrator()?;
    body.require(&["users"])?;
    let users = match body.get("users") {
        Some(Value::Array(_)) => body.words("users")?.unwrap_or_default(),
        _ => return Err(Refusal::bad("users is not a list of strings")),
    };
    let mut commands = Vec::new();
    for name in users {
        let Some(user) = caller.snapshot.user(name.as_bytes()) else {
            return Err(Refusal::Value("no_such_user", name));
        };
        let user = user.name.clone();
        commands.push(Command::DeleteUser { user });
    }
    let command = Command::Together { commands };
    Errand::new(&node.engine, &caller).govern(&node, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn find<'a>(caller: &'a Caller, name: &str) -> Result<&'a User, Refusal> {
    let user = caller.snapshot.user(name.as_bytes());
    user.map(|user| &**user).ok_or(Refusal::NotFound)
}

pub(super) fn show(user: &User) -> Value {
    let Exported { hash, algorithm } = Exported::of(&user.password_hash);
    json!({
        "name": to_json::name(&user.name),
        "password_hash": hash,
        "hashing_algorithm": algorithm,
        "tags": user.tags,
        "limits": limits::values(user.limits),
    })
}
