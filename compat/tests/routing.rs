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

[[users]]
name = "imported"
password_hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
[[users.permissions]]
configure = ".*"
write = ".*"
read = ".*"

[[users]]
name = "few"
password_hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
max_connections = 1
max_channels = 2
[[users.permissions]]
configure = ".*"
write = ".*"
read = ".*"
[[users.permissions]]
vhost = "narrow"
configure = ".*"
write = ".*"
read = ".*"

[[users]]
name = "narrow"
password_hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
[[users.permissions]]
vhost = "narrow"
configure = ".*"
write = ".*"
read = ".*"

[[users]]
name = "strict"
password_hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
[[users.permissions]]
vhost = "strict"
configure = ".*"
write = ".*"
read = ".*"

[[users]]
name = "topical"
password_hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
[[users.permissions]]
configure = ".*"
write = ".*"
read = ".*"
[[users.topic_permissions]]
exchange = "amq.topic"
write = "^{username}\\."
read = "^news\\."

[[users]]
name = "deputy"
tags = ["impersonator"]
password_hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
[[users.permissions]]
configure = ".*"
write = ".*"
read = ".*"
"#;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let broker = Arc::new(Broker::with(Settings {
        config: CONFIG.to_owned(),
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
