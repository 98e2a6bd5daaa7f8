//! Counting: what passed and what failed, over every step, whatever ran it.

use std::fmt;

/// How many checks passed, failed and were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    pub(crate) const PASSED: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    pub(crate) const FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Adds the counts of one line of `cargo test`, if it is the line a test binary closes with:
    /// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`.
    pub(crate) fn read(&mut self, line: &str) {
        let Some(rest) = line.trim().strip_prefix("test result: ") else {
            return;
        };
        let count = |word: &str| -> u64 {
            let before = rest.split(word).next().unwrap_or_default();
            before
                .split([' ', ';', '.'])
                .rfind(|part| !part.is_empty())
                .and_then(|n| n.parse().ok())
                .unwrap_or(0)
        };
        self.add(Self {
            passed: count(" passed"),
            failed: count(" failed"),
            skipped: count(" ignored"),
        });
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

    fn check(lines: &str, passed: u64, failed: u64, skipped: u64) {
        let mut tally = Tally::default();
        lines.lines().for_each(|line| tally.read(line));
        assert_eq!(
            tally,
            Tally {
                passed,
                failed,
                skipped
            },
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
    fn prints_the_plain_closing_line() {
        assert_eq!(
            Tally {
                passed: 3,
                failed: 1,
                skipped: 0
            }
            .to_string(),
            "3 passed, 1 failed"
        );
        assert_eq!(
            Tally {
                passed: 3,
                failed: 0,
                skipped: 2
            }
            .to_string(),
            "3 passed, 0 failed, 2 skipped"
        );
    }
}
