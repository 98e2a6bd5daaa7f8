//! The commands that change something.

use std::path::Path;

use everack_api_client::path;
use serde_json::{Map, Value, json};

use super::session::{Done, Session, Stop, status};
use crate::command::{connection_names, read_file, write_private};
use crate::output::entries;

pub(super) fn add_vhost(session: &Session) -> Done {
    let name = session.argument(0);
    session.banner(format!("Adding vhost \"{name}\" ..."));
    let mut body = json!({});
    let said = [
        ("description", "description"),
        ("tags", "tags"),
        ("default-queue-type", "default_queue_type"),
    ];
    for (option, field) in said {
        if let Some(value) = session.line.value(option) {
            body[field] = json!(value);
        }
    }
    // RabbitMQ leaves one that is there as it is.
    match session.find(&["vhosts", name])? {
        Some(_) => Ok(()),
        None => session.put(&["vhosts", name], &body),
    }
}

pub(super) fn delete_vhost(session: &Session) -> Done {
    let name = session.argument(0);
    session.banner(format!("Deleting vhost \"{name}\" ..."));
    let gone = session.delete(&["vhosts", name], "")?;
    gone.then_some(()).ok_or_else(|| Stop::no_vhost(name))
}

pub(super) fn add_user(session: &Session) -> Done {
    let name = session.argument(0);
    session.banner(format!("Adding user \"{name}\" ..."));
    let password = password(session, 1)?;
    if session.find(&["users", name])?.is_some() {
        return Err(Stop::error(
            status::SOFTWARE,
            format!("User \"{name}\" already exists"),
        ));
    }
    session.put(&["users", name], &json!({ "password": password, "tags": "" }))?;
    session.banner(
        "Done. Don't forget to grant the user permissions to some virtual hosts! See 'rabbitmqctl help set_permissions' to learn more.",
    );
    Ok(())
}

/// The password among the arguments, or the first line of standard input.
fn password(session: &Session, at: usize) -> Result<String, Stop> {
    if let Some(given) = session.arguments().get(at) {
        return Ok(given.clone());
    }
    session.say("Password: ");
    let read = crate::command::password_in(Path::new("-")).unwrap_or_default();
    if read.is_empty() {
        return Err(Stop::error(
            status::DATA,
            "Password is not provided via argument or stdin",
        ));
    }
    Ok(read)
}

pub(super) fn delete_user(session: &Session) -> Done {
    let name = session.argument(0);
    session.banner(format!("Deleting user \"{name}\" ..."));
    let gone = session.delete(&["users", name], "")?;
    gone.then_some(()).ok_or_else(|| Stop::no_user(name))
}

/// Changes a user that is there; what is not said stays.
fn amend_user(session: &Session, name: &str, changes: &[(&str, Value)]) -> Done {
    let user = session
        .find(&["users", name])?
        .ok_or_else(|| Stop::no_user(name))?;
    let mut body = json!({ "password_hash": user["password_hash"], "tags": tags(&user["tags"]) });
    if let Some(algorithm) = user.get("hashing_algorithm") {
        body["hashing_algorithm"] = algorithm.clone();
    }
    for (field, value) in changes {
        if *field == "password"
            && let Some(body) = body.as_object_mut()
        {
            body.remove("password_hash");
            body.remove("hashing_algorithm");
        }
        body[*field] = value.clone();
    }
    session.put(&["users", name], &body)
}

/// Tags as the API takes them.
fn tags(tags: &Value) -> String {
    match tags {
        Value::Array(tags) => tags
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(","),
        Value::String(text) => text.clone(),
        _ => String::new(),
    }
}

pub(super) fn change_password(session: &Session) -> Done {
    let name = session.argument(0);
    session.banner(format!("Changing password for user \"{name}\" ..."));
    let password = password(session, 1)?;
    amend_user(session, name, &[("password", json!(password))])
}

pub(super) fn clear_password(session: &Session) -> Done {
    let name = session.argument(0);
    session.banner(format!("Clearing password for user \"{name}\" ..."));
    amend_user(session, name, &[("password_hash", json!(""))])
}

pub(super) fn set_user_tags(session: &Session) -> Done {
    let name = session.argument(0);
    let words = session
        .arguments()
        .iter()
        .skip(1)
        .flat_map(|word| word.split(','));
    let words: Vec<&str> = words.map(str::trim).filter(|word| !word.is_empty()).collect();
    session.banner(format!(
        "Setting tags for user \"{name}\" to [{}] ...",
        words.join(", ")
    ));
    amend_user(session, name, &[("tags", json!(words.join(",")))])
}

pub(super) fn authenticate_user(session: &Session) -> Done {
    let name = session.argument(0);
    session.banner(format!("Authenticating user \"{name}\" ..."));
    let password = password(session, 1)?;
    let api = session.api()?.as_user(name, &password);
    let api = api.map_err(|error| Stop::error(status::SOFTWARE, format!("{error:#}")))?;
    match api.get("/api/whoami") {
        Ok(_) => {}
        // Who may log in, but has no tag for this API, has given the right password.
        Err(everack_api_client::Failure::Refused { status, reason, .. })
            if status.as_u16() == 401 && reason.starts_with("Not management user") => {}
        Err(everack_api_client::Failure::Refused { status, .. }) if status.as_u16() == 401 => {
            return Err(Stop::error(
                self::status::DATA,
                format!("Error: failed to authenticate user \"{name}\"\nuser '{name}' - invalid credentials"),
            ));
        }
        Err(failure) => return Err(session.stopped(&failure)),
    }
    session.say("Success");
    Ok(())
}

/// A virtual host and a user that have to be there.
fn both(session: &Session, user: &str) -> Done {
    let vhost = session.vhost();
    let missing = || Stop::error(status::NO_USER, format!("User {user} does not exist"));
    session.find(&["users", user])?.ok_or_else(missing)?;
    let missing = || {
        Stop::error(
            status::UNAVAILABLE,
            format!("Virtual host {vhost} does not exist"),
        )
    };
    session.find(&["vhosts", vhost])?.ok_or_else(missing)?;
    Ok(())
}

pub(super) fn set_permissions(session: &Session) -> Done {
    let (user, vhost) = (session.argument(0), session.vhost());
    session.banner(format!(
        "Setting permissions for user \"{user}\" in vhost \"{vhost}\" ..."
    ));
    both(session, user)?;
    let body = json!({
        "configure": session.argument(1),
        "write": session.argument(2),
        "read": session.argument(3),
    });
    session.put(&["permissions", vhost, user], &body)
}

pub(super) fn clear_permissions(session: &Session) -> Done {
    let (user, vhost) = (session.argument(0), session.vhost());
    session.banner(format!(
        "Clearing permissions for user \"{user}\" in vhost \"{vhost}\" ..."
    ));
    both(session, user)?;
    session.delete(&["permissions", vhost, user], "").map(drop)
}

pub(super) fn set_topic_permissions(session: &Session) -> Done {
    let (user, exchange, vhost) = (session.argument(0), session.argument(1), session.vhost());
    session.banner(format!(
        "Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."
    ));
    both(session, user)?;
    let body = json!({ "exchange": exchange, "write": session.argument(2), "read": session.argument(3) });
    session.put(&["topic-permissions", vhost, user], &body)
}

pub(super) fn clear_topic_permissions(session: &Session) -> Done {
    let (user, vhost) = (session.argument(0), session.vhost());
    match session.arguments().get(1) {
        Some(exchange) => session.banner(format!(
            "Clearing topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."
        )),
        None => session.banner(format!(
            "Clearing topic permissions for user \"{user}\" in vhost \"{vhost}\" ..."
        )),
    }
    both(session, user)?;
    let mut segments = vec!["topic-permissions", vhost, user];
    segments.extend(session.arguments().get(1).map(String::as_str));
    session.delete(&segments, "").map(drop)
}

/// Policies of both kinds.
pub(super) fn set_policy(session: &Session) -> Done {
    let (name, pattern, definition) = (session.argument(0), session.argument(1), session.argument(2));
    let (what, segment) = policy_kind(session);
    let what = if segment == "policies" {
        what.to_owned()
    } else {
        format!("{what} override")
    };
    let (vhost, priority) = (session.vhost(), session.line.value("priority").unwrap_or("0"));
    let Ok(number) = priority.parse::<i64>() else {
        let what = format!("Invalid options for this command:\n--priority : {priority}");
        return Err(super::misused(session.tool, session.spec, &session.line, &what));
    };
    session.banner(format!(
        "Setting {what} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \"{number}\" for vhost \"{vhost}\" ..."
    ));
    let body = json!({
        "pattern": pattern,
        "definition": decoded(definition)?,
        "priority": number,
        "apply-to": session.line.value("apply-to").unwrap_or("all"),
    });
    session
        .find(&["vhosts", vhost])?
        .ok_or_else(|| Stop::no_vhost(vhost))?;
    session.put(&[segment, vhost, name], &body)
}

pub(super) fn clear_policy(session: &Session) -> Done {
    let (name, vhost) = (session.argument(0), session.vhost());
    let (what, segment) = policy_kind(session);
    session.banner(format!("Clearing {what} \"{name}\" on vhost \"{vhost}\" ..."));
    let gone = session.delete(&[segment, vhost, name], "")?;
    gone.then_some(()).ok_or_else(no_parameter)
}

fn policy_kind(session: &Session) -> (&'static str, &'static str) {
    if session.spec.name.contains("operator") {
        ("operator policy", "operator-policies")
    } else {
        ("policy", "policies")
    }
}

fn no_parameter() -> Stop {
    Stop::error(status::UNAVAILABLE, "Parameter does not exist")
}

fn decoded(text: &str) -> Result<Value, Stop> {
    let wrong = |_| Stop::error(status::UNAVAILABLE, "JSON decoding error. Reason: badarg");
    serde_json::from_str(text).map_err(wrong)
}

pub(super) fn set_parameter(session: &Session) -> Done {
    let (component, name, value) = (session.argument(0), session.argument(1), session.argument(2));
    let vhost = session.vhost();
    session.banner(format!(
        "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{value}\" in vhost \"{vhost}\" ..."
    ));
    let body = json!({ "component": component, "vhost": vhost, "name": name, "value": decoded(value)? });
    session.put(&["parameters", component, vhost, name], &body)
}

pub(super) fn clear_parameter(session: &Session) -> Done {
    let (component, name, vhost) = (session.argument(0), session.argument(1), session.vhost());
    session.banner(format!(
        "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ..."
    ));
    let gone = session.delete(&["parameters", component, vhost, name], "")?;
    gone.then_some(()).ok_or_else(no_parameter)
}

pub(super) fn set_global_parameter(session: &Session) -> Done {
    let (name, value) = (session.argument(0), session.argument(1));
    session.banner(format!(
        "Setting global runtime parameter \"{name}\" to \"{value}\" ..."
    ));
    session.put(
        &["global-parameters", name],
        &json!({ "name": name, "value": decoded(value)? }),
    )
}

pub(super) fn clear_global_parameter(session: &Session) -> Done {
    let name = session.argument(0);
    session.banner(format!("Clearing global runtime parameter \"{name}\" ..."));
    let gone = session.delete(&["global-parameters", name], "")?;
    gone.then_some(()).ok_or_else(no_parameter)
}

/// Limits of a virtual host: those that are named, and no others.
pub(super) fn set_vhost_limits(session: &Session) -> Done {
    let (text, vhost) = (session.argument(0), session.vhost());
    session.banner(format!(
        "Setting vhost limits to \"{text}\" for vhost \"{vhost}\" ..."
    ));
    let wanted = limits(text)?;
    session
        .find(&["vhosts", vhost])?
        .ok_or_else(|| Stop::no_vhost(vhost))?;
    for (limit, value) in &wanted {
        session.put(&["vhost-limits", vhost, limit], &json!({ "value": value }))?;
    }
    let held = held(session, "vhost-limits", "vhost", vhost)?;
    for limit in held.keys().filter(|limit| !wanted.contains_key(*limit)) {
        session.delete(&["vhost-limits", vhost, limit], "")?;
    }
    Ok(())
}

pub(super) fn clear_vhost_limits(session: &Session) -> Done {
    let vhost = session.vhost();
    session.banner(format!("Clearing vhost \"{vhost}\" limits ..."));
    for limit in held(session, "vhost-limits", "vhost", vhost)?.keys() {
        session.delete(&["vhost-limits", vhost, limit], "")?;
    }
    Ok(())
}

/// Limits of a user: those that are not named stay.
pub(super) fn set_user_limits(session: &Session) -> Done {
    let (user, text) = (session.argument(0), session.argument(1));
    session.banner(format!(
        "Setting user limits to \"{text}\" for user \"{user}\" ..."
    ));
    let wanted = limits(text)?;
    let missing = || Stop::error(status::UNAVAILABLE, format!("{{:no_such_user, \"{user}\"}}"));
    session.find(&["users", user])?.ok_or_else(missing)?;
    for (limit, value) in &wanted {
        session.put(&["user-limits", user, limit], &json!({ "value": value }))?;
    }
    Ok(())
}

pub(super) fn clear_user_limits(session: &Session) -> Done {
    let (user, limit) = (session.argument(0), session.argument(1));
    session.banner(format!("Clearing \"{limit}\" limit for user \"{user}\" ..."));
    let limits = match limit {
        "all" => held(session, "user-limits", "user", user)?
            .keys()
            .cloned()
            .collect(),
        one => vec![one.to_owned()],
    };
    for limit in limits {
        session.delete(&["user-limits", user, &limit], "")?;
    }
    Ok(())
}

fn limits(text: &str) -> Result<Map<String, Value>, Stop> {
    match decoded(text)? {
        Value::Object(limits) => Ok(limits),
        _ => Err(Stop::error(
            status::UNAVAILABLE,
            "JSON decoding error. Reason: badarg",
        )),
    }
}

/// The limits that are set for somebody.
fn held(session: &Session, segment: &str, key: &str, name: &str) -> Result<Map<String, Value>, Stop> {
    let all = session.find(&[segment])?.unwrap_or_default();
    let all = entries(&all);
    let mine = all.iter().find(|limits| limits[key] == name);
    Ok(mine
        .and_then(|limits| limits["value"].as_object().cloned())
        .unwrap_or_default())
}

pub(super) fn purge_queue(session: &Session) -> Done {
    let (queue, vhost) = (session.argument(0), session.vhost());
    session.banner(format!("Purging queue '{queue}' in vhost '{vhost}' ..."));
    let purged = session.delete(&["queues", vhost, queue, "contents"], "")?;
    purged
        .then_some(())
        .ok_or_else(|| Stop::error(status::UNAVAILABLE, "not_found"))
}

pub(super) fn delete_queue(session: &Session) -> Done {
    let (queue, vhost) = (session.argument(0), session.vhost());
    let (if_empty, if_unused) = (session.line.has("if-empty"), session.line.has("if-unused"));
    let conditions: Vec<&str> = [
        (if_empty, "if queue is empty "),
        (if_unused, "if queue is unused "),
    ]
    .iter()
    .filter(|(given, _)| *given)
    .map(|(_, text)| *text)
    .collect();
    session.banner(format!(
        "Deleting queue '{queue}' on vhost '{vhost}' {}...",
        conditions.join("and ")
    ));
    let missing = || Stop::error(status::USAGE, "Queue not found");
    let found = session.find(&["queues", vhost, queue])?.ok_or_else(missing)?;
    let condition = format!("?if-empty={if_empty}&if-unused={if_unused}");
    if !session.delete(&["queues", vhost, queue], &condition)? {
        return Err(missing());
    }
    let ready = found["messages_ready"].as_u64().unwrap_or_default();
    session.banner(format!(
        "Queue was successfully deleted with {ready} ready messages"
    ));
    Ok(())
}

pub(super) fn close_connection(session: &Session) -> Done {
    let (name, reason) = (session.argument(0), session.argument(1));
    session.banner(format!("Closing connection {name}, reason: {reason}..."));
    match session
        .api()?
        .delete_because(&path(&["connections", name]), reason)
    {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_not_found() => Err(Stop::error(
            status::UNAVAILABLE,
            format!("Error:\n{{:not_a_connection_pid, \"{name}\"}}"),
        )),
        Err(failure) => Err(session.stopped(&failure)),
    }
}

pub(super) fn close_all_connections(session: &Session) -> Done {
    let reason = session.argument(0);
    let vhost = (!session.line.has("global")).then(|| session.vhost());
    match vhost {
        Some(vhost) => session.banner(format!(
            "Closing all connections in vhost {vhost}, reason: {reason}..."
        )),
        None => session.banner(format!(
            "Closing all connections on node {}, reason: {reason}...",
            session.node()
        )),
    }
    let closed = close(session, vhost, None, reason)?;
    session.banner(format!("Closed {closed} connections"));
    Ok(())
}

pub(super) fn close_all_user_connections(session: &Session) -> Done {
    let (user, reason) = (session.argument(0), session.argument(1));
    session.banner(format!("Closing connections of user {user}, reason: {reason}..."));
    close(session, None, Some(user), reason).map(drop)
}

fn close(session: &Session, vhost: Option<&str>, user: Option<&str>, reason: &str) -> Result<u64, Stop> {
    let api = session.api()?;
    let names = match connection_names(api, vhost, user) {
        Ok(names) => names,
        Err(failure) if failure.is_not_found() => Vec::new(),
        Err(failure) => return Err(session.stopped(&failure)),
    };
    let mut closed = 0;
    for name in names {
        match api.delete_because(&path(&["connections", &name]), reason) {
            Ok(_) => closed += 1,
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(session.stopped(&failure)),
        }
    }
    Ok(closed)
}

pub(super) fn export_definitions(session: &Session) -> Done {
    let file = session.argument(0);
    json_only(session)?;
    let definitions = |session: &Session| session.get(&["definitions"]);
    if file == "-" {
        session.say(definitions(session)?.to_string());
        return Ok(());
    }
    session.banner(format!(
        "Exporting definitions in JSON to a file at \"{file}\" ..."
    ));
    let unwritten = |error: anyhow::Error| Stop::error(status::UNAVAILABLE, format!("{error:#}"));
    write_private(Path::new(file), &definitions(session)?).map_err(unwritten)
}

pub(super) fn import_definitions(session: &Session) -> Done {
    let file = session.argument(0);
    json_only(session)?;
    if file != "-" && !Path::new(file).exists() {
        let what = format!("Bad argument: File {file} does not exist");
        let misused = super::misused(session.tool, session.spec, &session.line, &what);
        return Err(Stop {
            status: status::DATA,
            ..misused
        });
    }
    let place = if file == "-" {
        "standard input".to_owned()
    } else {
        format!("a file at \"{file}\"")
    };
    session.banner(format!("Importing definitions in JSON from {place} ..."));
    let text = read_file(Path::new(file));
    let text = text.map_err(|error| Stop::error(status::UNAVAILABLE, format!("{error:#}")))?;
    let unread = |_| Stop::error(status::DATA, format!("Failed to parse input from {place}"));
    let body: Value = serde_json::from_str(&text).map_err(unread)?;
    let posted = session.api()?.post(&path(&["definitions"]), &body);
    posted.map(drop).map_err(|failure| session.stopped(&failure))
}

fn json_only(session: &Session) -> Done {
    match session
        .line
        .value("format")
        .unwrap_or("json")
        .to_lowercase()
        .as_str()
    {
        "json" => Ok(()),
        other => Err(Stop::error(
            status::UNAVAILABLE,
            format!("definitions in {other} are not supported, JSON is"),
        )),
    }
}
