//! The terminal: taken over at the start, given back at the end, whatever the end is. Brings keys to the state and the state to the
//! screen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGTERM};

use super::draw::Scene;
use super::feed::Feed;
use super::state::{State, Wish};

/// How long a key, or an answer, may wait for the screen.
const TICK: Duration = Duration::from_millis(100);
/// How often it is drawn when nothing happens: it tells how long there has been no answer.
const CLOCK: Duration = Duration::from_secs(1);

/// Shows the screen until somebody ends it.
pub(super) fn show(state: &mut State, scene: &Scene, feed: &Feed) -> anyhow::Result<()> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, ended.clone()).context("cannot listen for signals")?;
    }
    // This also gives the terminal back if something panics.
    let mut terminal = ratatui::try_init().context("cannot take the terminal over")?;
    let shown = watch(&mut terminal, state, scene, feed, &ended);
    ratatui::restore();
    shown
}

fn watch(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    scene: &Scene,
    feed: &Feed,
    ended: &AtomicBool,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut drawn: Option<Instant> = None;
    while !ended.load(Ordering::Relaxed) {
        let news = feed.news();
        let is_due = drawn.is_none_or(|at| at.elapsed() >= CLOCK) || news.is_some();
        if let Some(news) = news {
            state.absorb(news, began.elapsed());
        }
        if is_due {
            let now = began.elapsed();
            terminal
                .draw(|frame| scene.draw(frame, state, now))
                .context("cannot draw")?;
            drawn = Some(Instant::now());
        }
        if !event::poll(TICK).context("cannot hear keys")? {
            continue;
        }
        // A key or another size: both are to be seen at once.
        drawn = None;
        if let Event::Key(key) = event::read().context("cannot hear keys")?
            && key.kind != KeyEventKind::Release
            && state.key(key) == Wish::Quit
        {
            return Ok(());
        }
        feed.want(state.question(), state.paused);
    }
    Ok(())
}
