//! Users, permissions and who may give which command.

use super::harness::{
    Harness, OWNER, arguments, bind, binding, delete_exchange, delete_queue, exchange, queue,
};
use crate::catalog::{Access, Command, DeclareExchange, DeclareQueue, Fact, RefusalKind, Resource};
use crate::name::Name;

fn set(user: &str, configure: &str, write: &str, read: &str) -> Command {
    Command::SetPermissions {
        user: user.into(),
        vhost: "/".into(),
        configure: configure.into(),
        write: write.into(),
        read: read.into(),
    }
}

fn declare_user(user: &str, tags: &[&str]) -> Command {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Command::DeclareUser {
        user: user.into(),
        password_hash: "hash".into(),
        tags,
    }
}

/// A user `u` with these permissions.
fn harness(configure: &str, write: &str, read: &str) -> Harness {
    let mut harness = Harness::new();
    harness.done(declare_user("u", &[]));
    harness.done(set("u", configure, write, read));
    harness
}

/// Whether `u` may; if not, with which text.
fn check(harness: &Harness, command: &Command, expected: Result<(), &str>) {
    let result = harness.catalog.snapshot().authorise(&"u".into(), command);
    let expected = expected.map_err(|text| (RefusalKind::AccessRefused, text.to_owned()));
    assert_eq!(
        result.map_err(|refusal| (refusal.kind, refusal.text)),
        expected,
        "{command:?}"
    );
}

#[test]
fn declaring_and_deleting_need_configure() {
    let harness = harness("^mine", "", "");
    let text = |what: &str| format!("configure access to {what} in vhost '/' refused for user 'u'");
    check(&harness, &Command::DeclareQueue(queue("mine.q")), Ok(()));
    check(
        &harness,
        &Command::DeclareQueue(queue("q")),
        Err(&text("queue 'q'")),
    );
    check(
        &harness,
        &Command::DeclareQueue(DeclareQueue {
            passive: true,
            ..queue("q")
        }),
        Ok(()),
    );
    check(
        &harness,
        &Command::DeclareExchange(exchange("mine.x", "direct")),
        Ok(()),
    );
    check(
        &harness,
        &Command::DeclareExchange(exchange("x", "direct")),
        Err(&text("exchange 'x'")),
    );
    check(&harness, &delete_queue("q", OWNER), Err(&text("queue 'q'")));
    check(&harness, &delete_exchange("x"), Err(&text("exchange 'x'")));
    check(&harness, &delete_exchange("mine.x"), Ok(()));
}

#[test]
fn what_nobody_may_is_said_first() {
    let harness = harness("", "", "");
    check(
        &harness,
        &delete_exchange(""),
        Err("operation not permitted on the default exchange"),
    );
    let text = "queue name 'amq.foo' contains reserved prefix 'amq.*'";
    check(&harness, &Command::DeclareQueue(queue("amq.foo")), Err(text));
}

#[test]
fn leading_on_needs_more() {
    let with = |to: &str| DeclareQueue {
        arguments: arguments(&[("x-dead-letter-exchange", to.into())]),
        ..queue("q")
    };
    let text =
        |access: &str, what: &str| format!("{access} access to {what} in vhost '/' refused for user 'u'");
    check(
        &harness(".*", "dlx", "q"),
        &Command::DeclareQueue(with("dlx")),
        Ok(()),
    );
    let read = text("read", "queue 'q'");
    check(
        &harness(".*", "dlx", "r"),
        &Command::DeclareQueue(with("dlx")),
        Err(&read),
    );
    let write = text("write", "exchange 'dlx'");
    check(
        &harness(".*", "^x$", "q"),
        &Command::DeclareQueue(with("dlx")),
        Err(&write),
    );
    let write = text("write", "exchange 'amq.default'");
    check(
        &harness(".*", "^x$", "q"),
        &Command::DeclareQueue(with("")),
        Err(&write),
    );

    let alternate = arguments(&[("alternate-exchange", "ae".into())]);
    let declare = DeclareExchange {
        arguments: alternate,
        ..exchange("x", "direct")
    };
    check(
        &harness(".*", "ae", "x"),
        &Command::DeclareExchange(declare.clone()),
        Ok(()),
    );
    let write = text("write", "exchange 'ae'");
    check(
        &harness(".*", "", "x"),
        &Command::DeclareExchange(declare),
        Err(&write),
    );

    // Not if the queue is there already.
    let mut harness = harness(".*", "", "");
    harness.done(Command::DeclareQueue(with("dlx")));
    check(&harness, &Command::DeclareQueue(with("dlx")), Ok(()));
}

#[test]
fn binding_needs_write_and_read() {
    let text =
        |access: &str, what: &str| format!("{access} access to {what} in vhost '/' refused for user 'u'");
    let command = bind(binding("x", "k", "q"));
    check(&harness("", "^q$", "^x$"), &command, Ok(()));
    check(
        &harness("", "^x$", "^x$"),
        &command,
        Err(&text("write", "queue 'q'")),
    );
    check(
        &harness("", "^q$", "^q$"),
        &command,
        Err(&text("read", "exchange 'x'")),
    );
    check(
        &harness("", "^q$", "^x$"),
        &bind(binding("x", "k", "x:q")),
        Ok(()),
    );
    check(
        &harness("", "^x$", "^x$"),
        &bind(binding("x", "k", "x:q")),
        Err(&text("write", "exchange 'q'")),
    );
}

#[test]
fn administration_needs_the_tag() {
    let mut harness = harness(".*", ".*", ".*");
    let command = Command::DeclareVhost { vhost: "v".into() };
    check(&harness, &command, Err("user 'u' is not an administrator"));
    harness.done(declare_user("u", &["administrator"]));
    check(&harness, &command, Ok(()));
}

#[test]
fn entering_a_virtual_host() {
    let mut harness = harness(".*", ".*", ".*");
    harness.done(Command::DeclareVhost {
        vhost: "other".into(),
    });
    let open = |harness: &Harness, vhost: &str| {
        let result = harness.catalog.snapshot().open_vhost(&"u".into(), &vhost.into());
        result
            .map(|view| view.name().to_string())
            .map_err(|refusal| (refusal.kind, refusal.text))
    };
    let refused = |text: &str| Err((RefusalKind::NotAllowed, text.to_owned()));
    assert_eq!(open(&harness, "/"), Ok("/".to_owned()));
    assert_eq!(open(&harness, "nope"), refused("vhost nope not found"));
    assert_eq!(
        open(&harness, "other"),
        refused("access to vhost 'other' refused for user 'u'")
    );
    harness.done(Command::ClearPermissions {
        user: "u".into(),
        vhost: "/".into(),
    });
    assert_eq!(
        open(&harness, "/"),
        refused("access to vhost '/' refused for user 'u'")
    );
    let text = "configure access to queue 'q' in vhost '/' refused for user 'u'";
    check(&harness, &Command::DeclareQueue(queue("q")), Err(text));
}

#[test]
fn users_and_permissions_come_and_go() {
    let mut harness = Harness::new();
    harness.refused(set("u", "", "", ""), (RefusalKind::NotFound, "no user 'u'"));
    assert!(harness.done(declare_user("u", &[])).changed);
    assert!(!harness.done(declare_user("u", &[])).changed);
    assert!(harness.done(declare_user("u", &["monitoring"])).changed);
    assert!(harness.done(set("u", "a", "b", "c")).changed);
    assert!(!harness.done(set("u", "a", "b", "c")).changed);
    let kept = harness
        .catalog
        .snapshot()
        .permissions(&"u".into(), &"/".into())
        .expect("just set");
    assert!(kept.may_configure(b"xax"));
    assert!(!kept.may_write(b"xax"));
    assert!(kept.may(Access::Read, Resource::Queue(b"c")));
    let text = "invalid permission pattern '(': error: unclosed group";
    harness.refused(set("u", "(", "", ""), (RefusalKind::PreconditionFailed, text));

    let outcome = harness.done(Command::DeleteUser { user: "u".into() });
    assert_eq!(outcome.facts, [Fact::UserDeleted { user: "u".into() }]);
    assert!(
        harness
            .catalog
            .snapshot()
            .permissions(&"u".into(), &"/".into())
            .is_none()
    );
    assert!(
        !harness
            .done(Command::DeleteUser {
                user: Name::from("u")
            })
            .changed
    );
}
