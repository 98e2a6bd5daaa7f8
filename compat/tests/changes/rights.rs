//! Tags decide who may change what.

use anyhow::Context as _;
use everack_compat::broker::Broker;

use super::{Row, play, play_as};

const WHO: &[Row] = &[
    ("PUT", "/vhosts/closed", "", 201, ""),
    (
        "PUT",
        "/users/dev",
        r#"{"password": "x", "tags": "management"}"#,
        201,
        "",
    ),
    (
        "PUT",
        "/users/gov",
        r#"{"password": "x", "tags": "policymaker"}"#,
        201,
        "",
    ),
    (
        "PUT",
        "/users/nil",
        r#"{"password": "x", "tags": "none"}"#,
        201,
        "",
    ),
    (
        "PUT",
        "/permissions/%2f/dev",
        r#"{"configure": ".*", "write": ".*", "read": ".*"}"#,
        201,
        "",
    ),
    (
        "PUT",
        "/permissions/%2f/gov",
        r#"{"configure": ".*", "write": ".*", "read": ".*"}"#,
        201,
        "",
    ),
];

const NOT_ADMINISTRATOR: &str = "Not administrator user";
const NOT_FOR_YOU: &str = "User not authorised to access object";
const SOME_POLICY: &str = r#"{"pattern": "^dev", "definition": {"max-length": 5}}"#;

/// What nobody but an administrator may.
const ADMINISTRATION: &[Row] = &[
    ("GET", "/users", "", 401, NOT_ADMINISTRATOR),
    ("GET", "/users/dev", "", 401, NOT_ADMINISTRATOR),
    ("GET", "/users/without-permissions", "", 401, NOT_ADMINISTRATOR),
    (
        "PUT",
        "/users/dev",
        r#"{"tags": "administrator"}"#,
        401,
        NOT_ADMINISTRATOR,
    ),
    ("DELETE", "/users/guest", "", 401, NOT_ADMINISTRATOR),
    (
        "POST",
        "/users/bulk-delete",
        r#"{"users": ["guest"]}"#,
        401,
        NOT_ADMINISTRATOR,
    ),
    ("GET", "/permissions", "", 401, NOT_ADMINISTRATOR),
    ("DELETE", "/permissions/%2f/guest", "", 401, NOT_ADMINISTRATOR),
    ("GET", "/topic-permissions", "", 401, NOT_ADMINISTRATOR),
    ("PUT", "/vhosts/mine", "", 401, NOT_ADMINISTRATOR),
    ("DELETE", "/vhosts/closed", "", 401, NOT_ADMINISTRATOR),
    (
        "PUT",
        "/operator-policies/%2f/o",
        SOME_POLICY,
        401,
        NOT_ADMINISTRATOR,
    ),
    (
        "PUT",
        "/vhost-limits/%2f/max-queues",
        r#"{"value": 1}"#,
        401,
        NOT_ADMINISTRATOR,
    ),
    (
        "PUT",
        "/cluster-name",
        r#"{"name": "mine"}"#,
        401,
        NOT_ADMINISTRATOR,
    ),
    ("GET", "/vhost-limits", "", 200, ""),
    ("GET", "/policies/%2f", "", 200, ""),
    ("PUT", "/policies/closed/p", SOME_POLICY, 401, NOT_FOR_YOU),
];

pub(super) fn rights(broker: &Broker) -> anyhow::Result<()> {
    play(broker, WHO)?;
    for login in ["dev:x", "gov:x"] {
        play_as(broker, login, ADMINISTRATION).with_context(|| login.to_owned())?;
    }
    let makes_none: &[Row] = &[
        ("PUT", "/policies/%2f/dev", SOME_POLICY, 401, NOT_FOR_YOU),
        ("GET", "/parameters", "", 401, NOT_FOR_YOU),
        ("GET", "/global-parameters", "", 401, NOT_FOR_YOU),
    ];
    play_as(broker, "dev:x", makes_none)?;
    let makes_some: &[Row] = &[
        ("PUT", "/policies/%2f/dev", SOME_POLICY, 201, ""),
        ("DELETE", "/policies/%2f/dev", "", 204, ""),
        ("GET", "/parameters", "", 200, ""),
        ("PUT", "/global-parameters/gov", r#"{"value": 5}"#, 201, ""),
        ("DELETE", "/global-parameters/gov", "", 204, ""),
    ];
    play_as(broker, "gov:x", makes_some)?;
    play_as(
        broker,
        "nil:x",
        &[("GET", "/policies", "", 401, "Not management user")],
    )?;
    let gone: &[Row] = &[
        (
            "POST",
            "/users/bulk-delete",
            r#"{"users": ["dev", "gov", "nil"]}"#,
            204,
            "",
        ),
        ("DELETE", "/vhosts/closed", "", 204, ""),
    ];
    play(broker, gone)
}
