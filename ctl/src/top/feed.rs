//! Asks the broker again and again, beside the screen: a broker that is slow or away does not keep a key from being heard.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use everack_api_client::Api;

use super::glance::Glance;
use super::view::Question;

/// What comes back: a look at the broker, or why there is none.
pub(super) type News = Result<Glance, String>;

/// The asking thread, seen from the screen.
#[derive(Debug)]
pub(super) struct Feed {
    wanted: Arc<Wanted>,
    news: Receiver<News>,
}

/// What the thread is to ask for.
#[derive(Debug)]
struct Wanted {
    /// The question, and whether it is asked at all.
    question: Mutex<(Question, bool)>,
    changed: Condvar,
}

impl Feed {
    /// Begins to ask, once in `every`.
    pub(super) fn begin(api: Api, question: Question, every: Duration) -> std::io::Result<Self> {
        // One answer waits at most; the thread waits for it to be taken.
        let (sender, news) = sync_channel(1);
        let wanted = Arc::new(Wanted {
            question: Mutex::new((question, true)),
            changed: Condvar::new(),
        });
        let asked = wanted.clone();
        let thread = std::thread::Builder::new().name("feed".to_owned());
        // It ends with the process: an answer that is waited for may take long.
        thread.spawn(move || ask(&api, &asked, &sender, every))?;
        Ok(Self { wanted, news })
    }

    /// What has come in since.
    pub(super) fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// Asks for this from now on; at once if it is something else.
    pub(super) fn want(&self, question: Question, paused: bool) {
        let wanted = (question, !paused);
        let mut asked = self
            .wanted
            .question
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *asked != wanted {
            *asked = wanted;
            self.wanted.changed.notify_one();
        }
    }
}

fn ask(api: &Api, wanted: &Wanted, sender: &SyncSender<News>, every: Duration) {
    let mut asked_last: Option<(Question, Instant)> = None;
    loop {
        let question = wanted.next(asked_last.as_ref(), every);
        let began = Instant::now();
        let news = Glance::take(api, &question).map_err(|failure| failure.to_string());
        if sender.send(news).is_err() {
            return;
        }
        asked_last = Some((question, began));
    }
}

impl Wanted {
    /// Waits until it is time to ask, and says for what: when `every` is over since the last time, or when something else is wanted.
    fn next(&self, last: Option<&(Question, Instant)>, every: Duration) -> Question {
        let mut asked = self.question.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = match last {
                Some((question, at)) if *question == asked.0 => every.saturating_sub(at.elapsed()),
                _ => Duration::ZERO,
            };
            if asked.1 && left.is_zero() {
                return asked.0.clone();
            }
            let nap = if asked.1 { left } else { every };
            let woken = self.changed.wait_timeout(asked, nap);
            asked = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
