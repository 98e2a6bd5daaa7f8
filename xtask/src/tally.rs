//! Counting: what passed and what failed, over every step, whatever ran it.

use std::collections::VecDeque;
use std::fmt;

/// Lines kept of what the failed tests of one step said: the last ones.
const SAID_LINES_MAX: usize = 60;

/// How many checks passed, failed and were left out, and what the failed ones said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) said: VecDeque<String>,
}

impl Tally {
    pub(crate) const PASSED: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
        said: VecDeque::new(),
    };
    pub(crate) const FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
        said: VecDeque::new(),
    };

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.said.extend(other.said);
    }
}

/// Reads what `cargo test` prints, line by line.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    tally: Tally,
    /// Between `failures:` and the closing line of a test binary.
    telling: bool,
}

impl Reader {
    /// Adds the counts of the line that a test binary closes with,
    /// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`,
    /// and keeps the end of what its failed tests said.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(rest) = line.trim().strip_prefix("test result: ") {
            self.telling = false;
            self.tally.add(counts(rest));
        } else if self.telling || line == "failures:" {
            self.telling = true;
            self.tally.said.push_back(line.to_owned());
            if self.tally.said.len() > SAID_LINES_MAX {
                self.tally.said.pop_front();
            }
        }
    }

    pub(crate) fn end(self) -> Tally {
        self.tally
    }
}

fn counts(rest: &str) -> Tally {
    let count = |word: &str| -> u64 {
        let before = rest.split(word).next().unwrap_or_default();
        before
            .split([' ', ';', '.'])
            .rfind(|part| !part.is_empty())
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    };
    Tally {
        passed: count(" passed"),
        failed: count(" failed"),
        skipped: count(" ignored"),
        said: VecDeque::new(),
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Tally {
        let mut reader = Reader::default();
        lines.lines().for_each(|line| reader.read(line));
        reader.end()
    }

    fn check(lines: &str, passed: u64, failed: u64, skipped: u64) {
        let tally = read(lines);
        assert_eq!(
            (tally.passed, tally.failed, tally.skipped),
            (passed, failed, skipped),
            "{lines}"
        );
    }

    #[test]
    fn reads_the_closing_line_of_a_test_binary() {
        check(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0s",
            12,
            0,
            1,
        );
        check(
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            3,
            2,
            0,
        );
        check(
            "test result: ok. 1 passed; 0 failed;\nnoise\ntest result: ok. 2 passed; 0 failed;",
            3,
            0,
            0,
        );
    }

    #[test]
    fn leaves_other_lines_alone() {
        check("running 3 tests\ntest a ... ok\n5 passed, 1 failed", 0, 0, 0);
    }

    #[test]
    fn keeps_what_failed_tests_said() {
        let said =
            read("a\nfailures:\n\n---- b ----\nit broke\ntest result: FAILED. 0 passed; 1 failed;\nc").said;
        assert_eq!(said, ["failures:", "", "---- b ----", "it broke"]);
        let many = format!("failures:\n{}", "x\n".repeat(3 * SAID_LINES_MAX));
        assert_eq!(read(&many).said.len(), SAID_LINES_MAX);
    }

    #[test]
    fn prints_the_plain_closing_line() {
        let mut tally = Tally {
            passed: 3,
            ..Tally::FAILED
        };
        assert_eq!(tally.to_string(), "3 passed, 1 failed");
        tally.skipped = 2;
        assert_eq!(tally.to_string(), "3 passed, 1 failed, 2 skipped");
    }
}
