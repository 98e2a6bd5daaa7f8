//! What a configuration does to a catalog, what it leaves alone, and what it protects.

use super::*;
use everack_broker::catalog::{Catalog, Options};

const HASH: &str = GUEST_HASH;

fn config(text: &str) -> Config {
    crate::config::parse(std::path::Path::new("everack.toml"), text).unwrap()
}

/// Brings the catalog to agree with a configuration; what was done, one line a command.
fn apply(catalog: &mut Catalog, text: &str) -> Vec<String> {
    let declared = Declared::by(&config(text));
    let commands = declared.commands_at_start(catalog.clone(), true).unwrap();
    let mut done = Vec::new();
    for command in commands {
        done.push(match &command {
            Command::DeclareVhost { vhost } => format!("vhost {vhost}"),
            Command::DeclareUser { user, tags, .. } => format!("user {user} {tags:?}"),
            Command::DeleteUser { user } => format!("no user {user}"),
            Command::SetPermissions {
                user,
                vhost,
                configure,
                write,
                read,
            } => {
                format!("{user} in {vhost}: {configure:?} {write:?} {read:?}")
            }
            Command::ClearPermissions { user, vhost } => format!("{user} not in {vhost}"),
            Command::SetUnroutable { vhost, fate } => format!("{vhost}: {fate:?}"),
            Command::SetDefaultQueueType { vhost, kind } => format!("{vhost}: {kind:?} queues"),
            Command::GuardNoAck { vhost, guard } => format!("{vhost}: {:?}", guard.guard),
            Command::LimitVhost { vhost, limit, most } => format!("{vhost}: {limit:?} {most:?}"),
            Command::LimitUser { user, limit, most } => format!("{user}: {limit:?} {most:?}"),
            Command::SetTopicPermission {
                user,
                exchange,
                write,
                read,
                ..
            } => format!("{user} on {exchange}: {write:?} {read:?}"),
            Command::ClearTopicPermissions { user, exchange, .. } => {
                format!("{user} not on {}", exchange.as_ref().unwrap())
            }
            Command::ReplacePolicies { vhost, policies } => {
                let policies = policies.iter().map(
                    |(
                        kind,
                        name,
                        PolicyDefinition {
                            pattern, apply_to, ..
                        },
                    )| { format!(" {kind:?} {name} {pattern:?} {apply_to};") },
                );
                format!("policies of {vhost}:{}", policies.collect::<String>())
            }
            Command::RememberDeclared { .. } => {
                catalog.apply(command).unwrap();
                continue;
            }
            other => panic!("{other:?}"),
        });
        catalog.apply(command).unwrap();
    }
    done
}

/// What is done to a catalog for it to agree with the file, the first time and no more.
#[track_caller]
fn check(catalog: &mut Catalog, text: &str, expected: &[&str]) {
    let text = text.replace("HASH", HASH);
    assert_eq!(apply(catalog, &text), expected, "{text}");
    let again = Declared::by(&config(&text)).commands_for(&catalog.snapshot());
    assert_eq!(again, [], "the second time there is nothing to do: {text}");
}

fn empty() -> Catalog {
    Catalog::new(Options {
        partitions: 1,
        hash_key: 1,
    })
}

const KEEP: &str = "/: Keep { messages_max: 10000, bytes_max: 16777216 }";
const GUEST_MADE: [&str; 2] = [
    "user guest [\"administrator\"]",
    "guest in /: \".*\" \".*\" \".*\"",
];

#[test]
fn brings_the_catalog_to_agree() {
    let mut catalog = empty();
    let mut check = |text: &str, expected: &[&str]| check(&mut catalog, text, expected);
    check("", &[&["vhost /", KEEP], &GUEST_MADE[..]].concat());
    let ann = "[[vhosts]]\nname = 'shop'\n[[users]]\nname = 'ann'\npassword_hash = 'HASH'\n";
    check(
        &format!("{ann}[[users.permissions]]\nvhost = 'shop'\nwrite = '^orders$'"),
        &[
            "vhost shop",
            "shop: Keep { messages_max: 10000, bytes_max: 16777216 }",
            "user ann []",
            "ann in shop: \"\" \"^orders$\" \"\"",
        ],
    );
    check(
        &format!("{ann}tags = ['monitoring']\n[[users.permissions]]\nread = 'x'"),
        &[
            "ann not in shop",
            "user ann [\"monitoring\"]",
            "ann in /: \"\" \"\" \"x\"",
        ],
    );
    check("[auth]\nguest = 'off'", &["no user ann", "no user guest"]);
    check("", &[]);
    check("[auth]\nguest = 'loopback'", &GUEST_MADE);
    check("", &["no user guest"]);
    assert!(
        catalog.snapshot().vhost(b"shop").is_some(),
        "a vhost is never deleted by omission"
    );
}

#[test]
fn governs_as_the_file_says() {
    let mut catalog = empty();
    let mut check = |text: &str, expected: &[&str]| check(&mut catalog, text, expected);
    let off = "[auth]\nguest = 'off'\n";
    check(off, &["vhost /", KEEP]);
    let user = "[[users]]\nname = 'ann'\npassword_hash = 'HASH'\n";
    check(
        &format!(
            "{off}[[vhosts]]\nname = '/'\nmax_queues = 5\nunroutable = 'nack'\ndefault_queue_type = 'quorum'\nno_ack_guard = 'deny'\n{user}max_channels = 3\n\
             [[users.topic_permissions]]\nexchange = 'amq.topic'\nwrite = '^{{username}}'\n\
             [[policies]]\nname = 'p'\npattern = '^q'\ndefinition = {{ max-length = 5 }}\n\
             [[policies]]\nname = 'p'\npattern = ''\nkind = 'operator'\napply_to = 'queues'\n\
             definition = {{ expires = 1000 }}"
        ),
        &[
            "/: Deny",
            "/: Nack",
            "/: Quorum queues",
            "/: Queues Some(5)",
            "user ann []",
            "ann on amq.topic: \"^{username}\" \"\"",
            "ann: Channels Some(3)",
            "policies of /: User p \"^q\" all; Operator p \"\" queues;",
        ],
    );
    check(
        &format!("{off}{user}[[policies]]\nname = 'p'\npattern = '^r'\ndefinition = {{ max-length = 5 }}"),
        &[
            "/: Warn",
            KEEP,
            "/: Classic queues",
            "/: Queues None",
            "ann not on amq.topic",
            "ann: Channels None",
            "policies of /: User p \"^r\" all;",
        ],
    );
    check(off, &["no user ann", "policies of /:"]);
}

/// What the management API does, one thing of each kind.
fn made_by_hand() -> Vec<Command> {
    let (ann, root) = (Name::from("ann"), Name::new(ROOT));
    let limit = PolicyDefinition {
        settings: [("max-length", 5.into())].into_iter().collect(),
        ..PolicyDefinition::default()
    };
    let mut made = Declared::new_vhost(&"made".into());
    made.extend([
        Command::DeclareUser {
            user: ann.clone(),
            password_hash: HASH.to_owned(),
            tags: Vec::new(),
        },
        Declared::all_permissions(&ann, &root),
        Command::SetTopicPermission {
            user: ann.clone(),
            vhost: root.clone(),
            exchange: "amq.topic".into(),
            write: "w".to_owned(),
            read: "r".to_owned(),
        },
        Command::LimitUser {
            user: ann,
            limit: UserLimit::Channels,
            most: Some(5),
        },
        Command::LimitVhost {
            vhost: root.clone(),
            limit: VhostLimit::Queues,
            most: Some(50),
        },
        Command::SetPolicy {
            vhost: root,
            name: "made".into(),
            kind: PolicyKind::User,
            definition: limit,
        },
    ]);
    made
}

#[test]
fn what_was_made_by_hand_stays() {
    let mut catalog = empty();
    check(&mut catalog, "[auth]\nguest = 'off'", &["vhost /", KEEP]);
    for command in made_by_hand() {
        catalog.apply(command).unwrap();
    }
    let policy = "[[policies]]\nname = 'p'\npattern = '^q'\ndefinition = { max-length = 5 }";
    let both = "policies of /: User made \"\" all; User p \"^q\" all;";
    check(&mut catalog, "", &[]);
    check(&mut catalog, policy, &[both]);
    check(&mut catalog, "", &["policies of /: User made \"\" all;"]);
    // Once in the file, out of it means revoked.
    let ann = "[[users]]\nname = 'ann'\npassword_hash = 'HASH'\n";
    check(&mut catalog, ann, &["ann: Channels None"]);
    check(&mut catalog, "", &["no user ann"]);
}

#[test]
fn before_anything_was_remembered_the_file_was_the_whole_truth() {
    let mut catalog = empty();
    let defaults = Declared::by(&config("")).defaults_for(&catalog.snapshot());
    for command in defaults.into_iter().chain(made_by_hand()) {
        catalog.apply(command).unwrap();
    }
    let revoked = ["/: Queues None", "no user ann", "policies of /:"];
    check(&mut catalog, "", &revoked);
    assert!(
        catalog.snapshot().user(GUEST).is_some(),
        "guest was there by default"
    );
}

#[test]
fn a_broker_that_has_been_used_gets_no_defaults() {
    let mut catalog = empty();
    check(&mut catalog, "", &[&["vhost /", KEEP], &GUEST_MADE[..]].concat());
    catalog
        .apply(Command::DeclareVhost { vhost: "v".into() })
        .unwrap();
    let gone = [
        Command::DeleteUser {
            user: Name::new(GUEST),
        },
        Command::DeleteVhost {
            vhost: Name::new(ROOT),
        },
    ];
    for command in gone {
        catalog.apply(command).unwrap();
    }
    check(&mut catalog, "", &[]);
    check(
        &mut catalog,
        "[[users]]\nname = 'ann'\npassword_hash = 'HASH'\n[[users.permissions]]\nread = 'x'",
        &["vhost /", KEEP, "user ann []", "ann in /: \"\" \"\" \"x\""],
    );
}

/// What is said of a change that the file does not allow; nothing if it does.
#[track_caller]
fn check_undone(text: &str, command: Command, expected: Option<&str>) {
    let mut catalog = empty();
    let text = text.replace("HASH", HASH);
    apply(&mut catalog, &text);
    let before = catalog.snapshot();
    catalog.apply(command.clone()).unwrap();
    let undone = Declared::by(&config(&text)).undone(&before, &catalog.snapshot());
    assert_eq!(undone.as_deref(), expected, "{command:?} with {text}");
}

#[test]
fn what_the_file_declares_cannot_be_changed_by_hand() {
    let ann = "[[users]]\nname = 'ann'\npassword_hash = 'HASH'\n[[users.permissions]]\nread = 'x'";
    let policy = "[[policies]]\nname = 'p'\npattern = '^q'\ndefinition = { max-length = 5 }";
    let delete = |user: &str| Command::DeleteUser { user: user.into() };
    let root = || Name::new(ROOT);
    check_undone(ann, delete("ann"), Some("user 'ann'"));
    check_undone(ann, delete("guest"), None);
    check_undone("", delete("guest"), None);
    check_undone(
        "[auth]\nguest = 'loopback'",
        delete("guest"),
        Some("user 'guest'"),
    );
    let guest = Command::DeclareUser {
        user: Name::new(GUEST),
        password_hash: HASH.to_owned(),
        tags: Vec::new(),
    };
    check_undone("", guest.clone(), None);
    check_undone(
        "[auth]\nguest = 'off'",
        guest,
        Some("that there is no user 'guest'"),
    );
    let permissions = |user: &str, vhost: &str| Declared::all_permissions(&user.into(), &vhost.into());
    check_undone(
        ann,
        permissions("ann", "/"),
        Some("the permissions of user 'ann' in vhost '/'"),
    );
    let other = format!("[[vhosts]]\nname = 'other'\n{ann}");
    check_undone(&other, permissions("ann", "other"), None);
    check_undone(
        &other,
        Command::DeleteVhost {
            vhost: "other".into(),
        },
        Some("vhost 'other'"),
    );
    check_undone("", Command::DeleteVhost { vhost: root() }, None);
    check_undone(ann, Command::DeleteVhost { vhost: root() }, Some("vhost '/'"));
    let limit = |vhost: Name| Command::LimitVhost {
        vhost,
        limit: VhostLimit::Queues,
        most: Some(5),
    };
    check_undone(&other, limit("other".into()), Some("vhost 'other'"));
    check_undone(&other, limit(root()), None);
    let clear = |name: &str, kind| Command::ClearPolicy {
        vhost: root(),
        name: name.into(),
        kind,
    };
    check_undone(
        policy,
        clear("p", PolicyKind::User),
        Some("policy 'p' in vhost '/'"),
    );
    check_undone(policy, clear("p", PolicyKind::Operator), None);
    check_undone(
        policy,
        Command::SetPolicy {
            vhost: root(),
            name: "other".into(),
            kind: PolicyKind::User,
            definition: PolicyDefinition {
                settings: [("max-length", 5.into())].into_iter().collect(),
                ..PolicyDefinition::default()
            },
        },
        None,
    );
}

#[test]
fn no_queue_is_governed_by_half_of_a_new_set() {
    let mut catalog = Catalog::new(Options {
        partitions: 1,
        hash_key: 1,
    });
    let policies = |of_all: &str, of_queue: &str, gone: &str| {
        format!(
            "[[policies]]\nname = 'all'\npattern = ''\n{of_all}\n\
             [[policies]]\nname = 'queue'\npattern = '^q$'\npriority = 1\n{of_queue}\n\
             [[policies]]\nname = '{gone}'\nkind = 'operator'\npattern = ''\ndefinition = {{ max-length = 9 }}\n"
        )
    };
    let old = policies(
        "definition = { max-length = 1 }",
        "definition = { max-length = 7, overflow = 'reject-publish' }",
        "bound",
    );
    let new = policies(
        "definition = { max-length = 2 }",
        "definition = { max-length = 20, overflow = 'drop-head' }",
        "limit",
    );
    let (old, new) = (Declared::by(&config(&old)), Declared::by(&config(&new)));
    for command in old.commands_for(&catalog.snapshot()) {
        catalog.apply(command).unwrap();
    }
    let queue = everack_broker::catalog::DeclareQueue {
        vhost: "/".into(),
        name: "q".into(),
        durable: true,
        ..Default::default()
    };
    catalog.apply(Command::DeclareQueue(queue)).unwrap();
    let governed = |catalog: &Catalog| {
        let snapshot = catalog.snapshot();
        let view = snapshot.vhost(b"/").unwrap();
        view.queue(b"q").unwrap().governance.clone()
    };
    let mut seen = vec![governed(&catalog)];
    for command in new.commands_for(&catalog.snapshot()) {
        let told = catalog.apply(command).unwrap().regulated_queues.len();
        assert!(told <= 1);
        seen.push(governed(&catalog));
    }
    seen.dedup();
    assert_eq!(seen.len(), 2, "the old set, then the new one: {seen:#?}");
}

#[test]
fn guest_may_have_a_password_of_its_own() {
    let declared = Declared::by(&config(&format!(
        "[[users]]\nname = 'guest'\npassword_hash = '{}'",
        crate::auth::password::NOBODY_HASH
    )));
    let guest = &declared.users[&Name::new(GUEST)];
    assert_eq!(guest.password_hash, crate::auth::password::NOBODY_HASH);
    assert!(guest.permissions.is_empty());
}
