//! What was measured, as a page of `docs/proof`.

use everack_compat::broker::is_rabbitmq;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

/// One case, measured.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) mib_max: u64,
    /// Growth of the broker's memory at its peak and a moment after the case, in MiB; `None` where it cannot be known.
    pub(crate) mib: Option<(u64, u64)>,
    /// The longest that the bystander waited for one of its rounds.
    pub(crate) longest: Duration,
    pub(crate) answer: String,
}

/// All cases, by room, in the order in which they were played.
#[derive(Default)]
pub(crate) struct Table(Mutex<Vec<(&'static str, Row)>>);

impl Table {
    pub(crate) fn add(&self, room: &'static str, row: Row) {
        self.0.lock().expect("no row panics").push((room, row));
    }

    /// Writes the page to where `HOSTILE_TABLE` says.
    pub(crate) fn write_if_wanted(&self) {
        let Some(path) = std::env::var_os("HOSTILE_TABLE") else {
            return;
        };
        std::fs::write(&path, self.page()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn page(&self) -> String {
        let rows = self.0.lock().expect("no row panics");
        let mut page = String::from(HEAD);
        let largest = rows
            .iter()
            .filter_map(|(_, row)| Some((row.mib?.0, row.name)))
            .max();
        let longest = rows.iter().map(|(_, row)| row.longest).max().unwrap_or_default();
        let _ = writeln!(
            page,
            "Measured on {} (UTC), {}, {} cores, {} kernel {}: {} cases. The largest growth was {} MiB, in \"{}\". The bystander's longest \
             round trip in any case was {} ms.\n",
            date(),
            if is_rabbitmq() { "RabbitMQ" } else { "Everack" },
            std::thread::available_parallelism().map_or(0, usize::from),
            std::env::consts::OS,
            std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim(),
            rows.len(),
            largest.map_or(0, |(mib, _)| mib),
            largest.map_or("", |(_, name)| name),
            longest.as_millis(),
        );
        let mut last = "";
        for (room, row) in rows.iter() {
            if *room != last {
                let _ = writeln!(page, "\n## {}\n\n{COLUMNS}", capital(room));
                last = room;
            }
            let (peak, after) = row.mib.map_or(("?".into(), "?".into()), |(peak, after)| {
                (peak.to_string(), after.to_string())
            });
            let answer = row.answer.replace('|', "\\|").replace(char::is_control, "?");
            let _ = writeln!(
                page,
                "| {} | {peak} | {after} | {} | {} | {answer} |",
                row.name,
                row.mib_max,
                row.longest.as_millis()
            );
        }
        page
    }
}

const HEAD: &str = "# Bad clients

Written by the tests in `compat/tests/hostile`, against the real binary over real sockets:

    HOSTILE_TABLE=docs/proof/hostile.md cargo test -p everack-compat --test hostile

Each case is one or many clients that break the protocol, flood the broker, hold on to its memory or just stop talking. In each of
them four things are checked, and the run fails if one does not hold:

1. Others are served: a bystander on a connection of its own goes round all the time (publish, get, look at a queue) and
   never waits longer than the bound.
2. Memory is bounded: the broker's resident memory, at its peak (`VmHWM`, begun again before each case) and after the case, grows by no
   more than the figure that stands in the column *bound*.
3. The answer is clear: a code and a text, or the ending that the last column names.
4. Nothing confirmed is lost: a durable queue is filled with confirmed messages before the first case. Its count is looked at by the
   bystander all the time. At the end the broker is killed with SIGKILL and started again, and every message is there, once, in its order.

";

const COLUMNS: &str = "| case | peak, MiB | after, MiB | bound, MiB | longest round trip, ms | answer |\n|---|---:|---:|---:|---:|---|";

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// Today as year, month and day (the civil calendar, from days since 1970).
fn date() -> String {
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}
