//! What bad clients get. In each case: others are served meanwhile, the broker's memory stays within the figure that stands beside the
//! case, the answer is clear, and nothing that was confirmed is lost. `HOSTILE_TABLE=FILE` writes down what was measured.

mod accounts;
mod contents;
mod floods;
mod frames;
mod handshake;
mod readers;
mod scene;
mod shortage;
mod silence;
mod table;
mod topology;

use everack_compat::broker::is_rabbitmq;
use libtest_mimic::{Arguments, Trial};
use scene::Scene;
use std::sync::Arc;
use table::Table;

/// One way to be a bad client.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The most that the broker's memory may grow, at its peak and afterwards, in MiB.
    pub(crate) mib: u64,
    /// Debian's RabbitMQ lets it pass, waits for more, or never closes: we promise more than it does.
    pub(crate) ours_alone: bool,
    /// Does it, and says what the broker answered.
    pub(crate) act: fn(&Scene) -> anyhow::Result<String>,
}

/// A case that RabbitMQ passes too.
pub(crate) const fn case(name: &'static str, mib: u64, act: fn(&Scene) -> anyhow::Result<String>) -> Case {
    Case {
        name,
        mib,
        ours_alone: false,
        act,
    }
}

/// A case in which we promise more than RabbitMQ does.
pub(crate) const fn ours(name: &'static str, mib: u64, act: fn(&Scene) -> anyhow::Result<String>) -> Case {
    Case {
        name,
        mib,
        ours_alone: true,
        act,
    }
}

/// The rooms, by what is wrong with the clients in them.
const ROOMS: &[(&str, &[Case])] = &[
    ("before the log-in", handshake::CASES),
    ("log-ins", accounts::CASES),
    ("frames", frames::CASES),
    ("contents", contents::CASES),
    ("topology", topology::CASES),
    ("floods", floods::CASES),
    ("clients that do not read", readers::CASES),
    ("silence", silence::CASES),
];

fn main() {
    let mut arguments = Arguments::from_args();
    // The memory is the broker's as a whole: only one case at a time can be told apart from the others.
    arguments.test_threads = Some(1);
    let table = Arc::new(Table::default());
    let scene = Arc::new(Scene::open(scene::GENEROUS));
    if !arguments.list && !is_rabbitmq() {
        silence::begin(&scene);
    }
    let mut trials = Vec::new();
    for (room, cases) in ROOMS {
        trials.extend(
            cases
                .iter()
                .filter(|case| !case.ours_alone || !is_rabbitmq())
                .map(|case| trial(room, *case, &scene, &table)),
        );
    }
    trials.push(keeps_its_word("nothing confirmed was lost", &scene));
    if !is_rabbitmq() {
        let scarce = Arc::new(Scene::open(scene::SCARCE));
        let cases = shortage::CASES.iter();
        trials.extend(cases.map(|case| trial("memory runs short", *case, &scarce, &table)));
        trials.push(keeps_its_word(
            "nothing confirmed was lost where memory ran short",
            &scarce,
        ));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    table.write_if_wanted();
    drop(scene);
    conclusion.exit();
}

fn trial(room: &'static str, case: Case, scene: &Arc<Scene>, table: &Arc<Table>) -> Trial {
    let (scene, table) = (Arc::clone(scene), Arc::clone(table));
    everack_compat::trial(case.name, move || {
        let row = scene.play(&case)?;
        table.add(room, row);
        Ok(())
    })
}

/// After all of it, a SIGKILL and a start: every message that was confirmed before is there, once, in its order.
fn keeps_its_word(name: &str, scene: &Arc<Scene>) -> Trial {
    let scene = Arc::clone(scene);
    everack_compat::trial(name, move || scene.has_lost_nothing())
}
