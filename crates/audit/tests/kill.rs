//! SIGKILL under load, with a backlog: nothing that was confirmed may be lost; and the check itself can fail.

use anyhow::{Context, ensure};
use everack_audit::{Campaign, Entry, Journal, Nemesis, Verdict, read};
use everack_compat::broker::{Broker, is_rabbitmq};
use libtest_mimic::{Arguments, Trial};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn main() {
    let mut arguments = Arguments::from_args();
    // Each campaign wants the machine for itself.
    arguments.test_threads = Some(1);
    let trial = |name: &str, act: fn() -> anyhow::Result<()>| {
        Trial::test(name, move || Ok(act().map_err(|error| format!("{error:#}"))?))
    };
    let mut trials = vec![
        trial(
            "a broker that is killed 50 times under load loses nothing",
            fifty_kills,
        ),
        trial("a removed delivery is found to be a loss", removed_delivery),
    ];
    if !is_rabbitmq() {
        trials.push(trial("a wiped log is found to be a loss", wiped_log));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// The broker of one campaign.
struct Killer(Broker);

impl Nemesis for Killer {
    fn url(&self) -> String {
        self.0.url()
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.0.kill();
        Ok(())
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        self.0.restart().map(drop)
    }
}

fn campaign(kills: u32) -> Campaign {
    Campaign {
        kills,
        life_ms: 400..1400,
        long_life: (10, 4000),
        publishers: 4,
        consumers: 2,
        queues: 2,
        backlog: 2000,
    }
}

/// Runs something asynchronous with a journal of its own.
fn with_journal<F: Future<Output = anyhow::Result<()>>>(
    act: impl FnOnce(Arc<Journal>) -> F,
) -> anyhow::Result<Vec<(u64, Entry)>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("journal");
    let journal = Arc::new(Journal::create(&path)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(act(journal))?;
    read(&path)
}

fn fifty_kills() -> anyhow::Result<()> {
    let kills = std::env::var("AUDIT_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(50);
    let mut killer = Killer(Broker::start());
    let journal = with_journal(|journal| {
        let killer = &mut killer;
        async move { campaign(kills).run(killer, &journal).await }
    });
    let journal = journal.with_context(|| format!("the broker's log ends with:\n{}", killer.0.log()))?;
    let verdict = Verdict::of(&journal);
    eprintln!("{verdict}");
    ensure!(verdict.kills == u64::from(kills), "only {} kills", verdict.kills);
    ensure!(
        verdict.confirmed > 100 * u64::from(kills),
        "too little load to mean anything: {verdict}"
    );
    ensure!(verdict.redelivered > 0, "no kill hit anybody at work: {verdict}");
    ensure!(verdict.is_clean(), "{verdict}");
    Ok(())
}

/// Negative control of the books: take one message out of them, and the verdict has to name it.
fn removed_delivery() -> anyhow::Result<()> {
    let mut killer = Killer(Broker::start());
    let mut journal = with_journal(|journal| {
        let killer = &mut killer;
        async move { campaign(2).run(killer, &journal).await }
    })?;
    ensure!(Verdict::of(&journal).is_clean(), "{}", Verdict::of(&journal));
    let confirmed = journal.iter().rev().find_map(|(_, entry)| match entry {
        Entry::Confirmed(id) => Some(*id),
        _ => None,
    });
    let victim = confirmed.context("something was confirmed")?;
    journal.retain(|(_, entry)| match entry {
        Entry::Delivered { id, .. } | Entry::Acked(id) | Entry::Returned(id) => *id != victim,
        _ => true,
    });
    let verdict = Verdict::of(&journal);
    ensure!(
        verdict.lost == [victim],
        "the removed message {victim} was not found to be lost: {verdict}"
    );
    Ok(())
}

/// Negative control of the whole: what a broker with a disk that forgets would look like from outside.
fn wiped_log() -> anyhow::Result<()> {
    let mut killer = Killer(Broker::start());
    let data = killer.0.data();
    let journal = with_journal(|journal| {
        let killer = &mut killer;
        async move {
            campaign(0).fill(killer, &journal).await?;
            wipe_newest_segment(&data)?;
            killer.restart()?;
            campaign(0).drain(killer, &journal).await
        }
    });
    let journal = journal.with_context(|| format!("the broker's log ends with:\n{}", killer.0.log()))?;
    let verdict = Verdict::of(&journal);
    eprintln!("{verdict}");
    ensure!(
        !verdict.lost.is_empty(),
        "the wiped messages were not missed: {verdict}"
    );
    ensure!(
        verdict.phantom.is_empty() && verdict.damaged == 0,
        "damage was delivered: {verdict}"
    );
    Ok(())
}

/// Fills the newest segment of the log that holds anything with zeros, as if none of it had reached the disk.
fn wipe_newest_segment(data: &Path) -> anyhow::Result<()> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(data)? {
        let path = entry?.path();
        let is_segment = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("segment-"));
        if is_segment && fs::read(&path)?.iter().skip(4096).any(|&byte| byte != 0) {
            segments.push(path);
        }
    }
    let newest = segments
        .into_iter()
        .max()
        .with_context(|| format!("no segment in {}", data.display()))?;
    let length = fs::metadata(&newest)?.len() as usize;
    Ok(fs::write(&newest, vec![0; length])?)
}
