//! Clients and frameworks run a shop through the broker's SIGKILL: nothing confirmed is lost, nothing settled comes back, and
//! each recovers by its own means. See `everack_compat::shop`.

use everack_compat::broker;
use everack_compat::shop::programme;
use everack_compat::shop::story;
use libtest_mimic::Arguments;

/// A shop mostly waits: for its pace, for the broker's return, for its library's next attempt.
const AT_A_TIME: usize = 6;
/// RabbitMQ does not: its start is seconds of work.
const AT_A_TIME_OF_RABBITMQ: usize = 2;

fn main() {
    let mut arguments = Arguments::from_args();
    let at_a_time = if broker::is_rabbitmq() {
        AT_A_TIME_OF_RABBITMQ
    } else {
        AT_A_TIME
    };
    arguments.test_threads.get_or_insert(at_a_time);
    let trials = programme::ALL
        .iter()
        .map(|programme| {
            let name = format!("{} keeps its shop open through a crash", programme.name);
            everack_compat::trial(name, move || story::play(programme))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
