//! The project's own commands: `cargo xtask` lists them, `cargo xtask NAME` runs one.
//!
//! This is the only entry point a newcomer, CI and we ourselves use. It runs tools and reads files; it contains
//! nothing of the broker.

mod shell;
mod workspace;

mod campaign;
mod codegen;
mod demo;
mod instructions;
mod package;
mod setup;
mod tally;
mod test;
mod tidy;

use std::process::ExitCode;

/// One command: its name, the line that the listing shows, and what it does with the arguments behind its name.
struct Command {
    name: &'static str,
    help: &'static str,
    run: fn(&[String]) -> anyhow::Result<()>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "demo",
        help: "build the release binary and run the order story; arguments go to `everack demo`",
        run: demo::run,
    },
    Command {
        name: "test",
        help: "install what the tests need, then run every check; `--only STEP,...` for some, `--list` for their names",
        run: test::run,
    },
    Command {
        name: "campaign",
        help: "crash points, seeds, kills and power cuts, RabbitMQ beside it, and a report; `--short`, `--list`",
        run: campaign::run,
    },
    Command {
        name: "instructions",
        help: "count the instructions of a message under valgrind, against the kept figures; `--write` keeps these",
        run: instructions::run,
    },
    Command {
        name: "package",
        help: "a Debian package of the release binary; `--binary FILE` of another; `--test` installs it into a clean root",
        run: package::run,
    },
    Command {
        name: "setup",
        help: "only install what the tests need, Debian's rabbitmq-server among it",
        run: setup::run,
    },
    Command {
        name: "tidy",
        help: "check the house rules: who may import whom, leftover markers, documents that drifted",
        run: tidy::run,
    },
    Command {
        name: "codegen",
        help: "write the protocol's methods from their description; `--check` only compares",
        run: codegen,
    },
    Command {
        name: "fix",
        help: "rewrite what a tool can rewrite: generated code and formatting",
        run: fix,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        list();
        return ExitCode::SUCCESS;
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("there is no command `{name}`; these are the commands:\n");
        list();
        return ExitCode::from(2);
    };
    match (command.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    for command in COMMANDS {
        println!("cargo xtask {:<8} {}", command.name, command.help);
    }
}

fn codegen(arguments: &[String]) -> anyhow::Result<()> {
    match arguments {
        [] => codegen::run(false),
        [flag] if flag == "--check" => codegen::run(true),
        _ => anyhow::bail!("the only argument is --check"),
    }
}

fn fix(_arguments: &[String]) -> anyhow::Result<()> {
    codegen::run(false)?;
    shell::run(shell::cargo().args(["fmt", "--all"]))
}
