//! The words on the command line.

use std::time::Duration;

use everack_simulator::flaw::Flaw;

pub(crate) const USAGE: &str = "\
simulator [seeds] [--seeds N | --for 1h] [--from N] [--flaw NAME] [--threads N] [--json]
    plays histories, one a seed, and prints what happened in them; exits 1 if anything was broken
simulator --seed N [--trace] [--flaw NAME]
    plays one history again; with --trace every event is told, else the last ones
simulator flaws [--seeds N] [--from N] [--flaw NAME] [--json]
    puts known bugs back and counts the seeds that find them; exits 1 if one is not found
simulator crash-points [--tale NAME] [--second-step N] [--second-outcomes] [--json]
    the power goes at every call of every story, with every outcome, and again during recovery: at every Nth call of it (0: never),
    with one outcome in turn, or with each";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    One,
    Seeds,
    Flaws,
    CrashPoints,
    Help,
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) command: Command,
    pub(crate) seeds: u64,
    pub(crate) from: u64,
    pub(crate) lasts: Option<Duration>,
    pub(crate) flaw: Flaw,
    pub(crate) threads: usize,
    pub(crate) trace: bool,
    pub(crate) json: bool,
    pub(crate) tale: Option<String>,
    pub(crate) second_step: usize,
    pub(crate) second_outcomes: bool,
}

impl Arguments {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut arguments = Self {
            command: Command::Seeds,
            seeds: 1000,
            from: 1,
            lasts: None,
            flaw: Flaw::None,
            threads,
            trace: false,
            json: false,
            tale: None,
            second_step: 3,
            second_outcomes: false,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` wants a value"));
            match word.as_str() {
                "seeds" => arguments.command = Command::Seeds,
                "flaws" => arguments.command = Command::Flaws,
                "crash-points" => arguments.command = Command::CrashPoints,
                "help" | "--help" | "-h" => arguments.command = Command::Help,
                "--seeds" => arguments.seeds = number(&value()?)?,
                "--from" => arguments.from = number(&value()?)?,
                "--for" => arguments.lasts = Some(duration(&value()?)?),
                "--seed" => {
                    arguments.command = Command::One;
                    arguments.from = number(&value()?)?;
                }
                "--flaw" => arguments.flaw = flaw(&value()?)?,
                "--threads" => arguments.threads = number(&value()?)?.clamp(1, 1024) as usize,
                "--tale" => arguments.tale = Some(value()?),
                "--second-step" => arguments.second_step = number(&value()?)? as usize,
                "--second-outcomes" => arguments.second_outcomes = true,
                "--trace" => arguments.trace = true,
                "--json" => arguments.json = true,
                _ => return Err(format!("`{word}` is not known")),
            }
        }
        Ok(arguments)
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

/// `90`, `90s`, `5m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        _ => (text, 1),
    };
    let seconds = number(digits)?.checked_mul(unit);
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is too long"))
}

fn flaw(name: &str) -> Result<Flaw, String> {
    Flaw::named(name).ok_or_else(|| {
        let known: Vec<String> = Flaw::ALL.iter().map(|flaw| flaw.name()).collect();
        format!("no known bug is called `{name}`; there are: {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn words_are_understood() {
        let arguments = parse("--seed 7 --trace --flaw confirms-early").unwrap();
        assert_eq!(
            (arguments.command, arguments.from, arguments.trace),
            (Command::One, 7, true)
        );
        assert_eq!(arguments.flaw, Flaw::ConfirmsEarly);
        assert_eq!(parse("--for 1h").unwrap().lasts, Some(Duration::from_secs(3600)));
        assert_eq!(
            parse("crash-points --json").unwrap().command,
            Command::CrashPoints
        );
        for wrong in [
            "--seed",
            "--seeds x",
            "--flaw none",
            "dance",
            "--for 9999999999999999999h",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
