//! Exchanges, addresses that messages carry themselves, and what operators set about them, with pika.

use everack_compat::broker::{Broker, Settings, User};
use everack_compat::script;
use std::sync::Arc;

/// Operators' part, as our configuration says it.
const CONFIG: &str = r#"
[[vhosts]]
name = "/"

[[vhosts]]
name = "narrow"
max_connections = 1
max_queues = 2

[[vhosts]]
name = "strict"
unroutable = "nack"

[[vhosts]]
name = "typed"
default_queue_type = "quorum"

[[policies]]
name = "aside"
pattern = "^ro-by-policy"
apply_to = "exchanges"
definition = { alternate-exchange = "ro-aside" }

[[policies]]
name = "short"
pattern = "^ro-short"
apply_to = "queues"
definition = { max-length = 5 }

[[policies]]
name = "bound"
kind = "operator"
pattern = "^ro-short"
apply_to = "queues"
definition = { max-length = 3 }
"#;

/// Of the password that the cases call IMPORTED, as RabbitMQ exports it.
const HASH: &str = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";

/// One user, as our configuration says it: settings of its own, and the virtual hosts in which it may do everything.
fn user(name: &str, settings: &str, vhosts: &[&str]) -> String {
    let everything = |vhost: &&str| {
        format!(
            "[[users.permissions]]\nvhost = {vhost:?}\nconfigure = \".*\"\nwrite = \".*\"\nread = \".*\"\n"
        )
    };
    let permissions: String = vhosts.iter().map(everything).collect();
    format!("[[users]]\nname = {name:?}\npassword_hash = {HASH:?}\n{settings}{permissions}")
}

fn config() -> String {
    let topical = r#"[[users.topic_permissions]]
exchange = "amq.topic"
write = "^{username}\\."
read = "^news\\."
"#;
    [
        CONFIG.to_owned(),
        user("imported", "", &["/"]),
        user("few", "max_connections = 1\nmax_channels = 2\n", &["/", "narrow"]),
        user("narrow", "", &["narrow"]),
        user("strict", "", &["strict"]),
        user("typed", "", &["typed"]),
        user("topical", "", &["/"]) + topical,
        user("deputy", "tags = [\"impersonator\"]\n", &["/"]),
    ]
    .concat()
}

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let broker = Arc::new(Broker::with(Settings {
        config: config(),
        management: true,
        users: vec![User {
            name: "ann",
            password: "secret",
            permissions: Some([".*"; 3]),
        }],
        ..Settings::default()
    }));
    let management = vec![("MANAGEMENT", broker.management().to_string())];
    let conclusion = libtest_mimic::run(
        &arguments,
        script::trials_with("pika/routing.py", &broker, management),
    );
    drop(broker);
    conclusion.exit();
}
