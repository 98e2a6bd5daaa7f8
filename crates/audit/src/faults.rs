//! The schedule of faults: `kill9*5,pause:3,between*3,term*2`, and the order in which a seed brings them.
//!
//! It says what happens and when; who does it to processes is the nemesis.

use anyhow::{Context, ensure};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Most faults of one run: each costs a life of the broker, and a line in the report.
const FAULTS_MAX: usize = 100_000;
/// Longest pause.
const PAUSE_MAX_SECONDS: f64 = 3600.0;

/// Something that is done to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to the whole process group, then a start.
    Kill,
    /// SIGSTOP, and SIGCONT after this time.
    Pause(Duration),
    /// SIGKILL, then the command between, then a start.
    Between,
    /// SIGTERM; when it has ended, a start.
    Terminate,
}

impl Fault {
    /// The word of the schedule.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill9",
            Self::Pause(_) => "pause",
            Self::Between => "between",
            Self::Terminate => "term",
        }
    }
}

/// Faults, in the order in which they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule(pub Vec<Fault>);

impl Schedule {
    /// Whether any of them is this kind of fault.
    pub fn has(&self, wanted: impl Fn(Fault) -> bool) -> bool {
        self.0.iter().any(|fault| wanted(*fault))
    }

    /// The faults mixed, each with the length of the life that it ends.
    ///
    /// With a time for the whole, lives share it out; without, they last 0.4 to 1.4 s, and every tenth 4 s longer, so that
    /// there is something old to be lost as well.
    pub fn mixed(&self, random: &mut fastrand::Rng, whole: Option<Duration>) -> Vec<(Duration, Fault)> {
        let mut faults = self.0.clone();
        random.shuffle(&mut faults);
        let share = whole.map(|whole| whole.as_secs_f64() / (faults.len() as f64 + 1.0));
        let mut life = |number: usize| match share {
            Some(share) => share * (0.3 + 1.4 * random.f64()),
            None => 0.4 + random.f64() + if number % 10 == 9 { 4.0 } else { 0.0 },
        };
        let lives = |(number, fault)| (Duration::from_secs_f64(life(number)), fault);
        faults.into_iter().enumerate().map(lives).collect()
    }
}

impl FromStr for Schedule {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut faults = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (fault, times) = one(word).with_context(|| {
                format!(
                    "`{word}` is no fault; there are kill9, term, between and pause:SECONDS, each with *TIMES"
                )
            })?;
            ensure!(
                faults.len() + times <= FAULTS_MAX,
                "more than {FAULTS_MAX} faults"
            );
            faults.extend(std::iter::repeat_n(fault, times));
        }
        Ok(Self(faults))
    }
}

fn one(word: &str) -> Option<(Fault, usize)> {
    let (what, times) = match word.split_once('*') {
        Some((what, times)) => (what, times.parse().ok().filter(|times| *times > 0)?),
        None => (word, 1),
    };
    let fault = match what.split_once(':') {
        None if what == "kill9" => Fault::Kill,
        None if what == "term" => Fault::Terminate,
        None if what == "between" => Fault::Between,
        Some(("pause", seconds)) => {
            let seconds: f64 = seconds.trim_end_matches('s').parse().ok()?;
            Fault::Pause(Duration::from_secs_f64(
                Some(seconds).filter(|seconds| (0.0..=PAUSE_MAX_SECONDS).contains(seconds))?,
            ))
        }
        _ => return None,
    };
    Some((fault, times))
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        let mut rest = &self.0[..];
        while let Some(fault) = rest.first() {
            let times = rest.iter().take_while(|other| *other == fault).count();
            let pause = match fault {
                Fault::Pause(pause) => format!(":{}", pause.as_secs_f64()),
                _ => String::new(),
            };
            words.push(format!("{}{pause}*{times}", fault.name()));
            rest = &rest[times..];
        }
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let schedule = text.parse::<Schedule>().map(|schedule| schedule.to_string());
        assert_eq!(schedule.unwrap_or_else(|_| "refused".into()), expected, "{text}");
    }

    #[test]
    fn schedules() {
        check("kill9", "kill9*1");
        check(
            "kill9*5,pause:3,between*3, term*2",
            "kill9*5,pause:3*1,between*3,term*2",
        );
        check("pause:0.5s*4", "pause:0.5*4");
        check("", "");
        check("kill9*0", "refused");
        check("kill8", "refused");
        check("pause", "refused");
        check("pause:-1", "refused");
        check("kill9*99999999", "refused");
    }

    #[test]
    fn a_seed_gives_one_order_and_keeps_every_fault() {
        let schedule: Schedule = "kill9*20,term*20".parse().unwrap();
        let of = |seed| schedule.mixed(&mut fastrand::Rng::with_seed(seed), None);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let kills = of(3).iter().filter(|(_, fault)| *fault == Fault::Kill).count();
        assert_eq!((of(3).len(), kills), (40, 20));
    }

    #[test]
    fn lives_share_the_time_out() {
        let schedule: Schedule = "kill9*9".parse().unwrap();
        let whole = Duration::from_secs(100);
        for (life, _) in schedule.mixed(&mut fastrand::Rng::with_seed(1), Some(whole)) {
            assert!((2.9..17.1).contains(&life.as_secs_f64()), "{life:?}");
        }
    }
}
