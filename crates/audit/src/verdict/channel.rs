//! What is known of a consumer's channel: its life, what proves its acks, how far its messages have come in order.

/// A consumer, one connection's lifetime.
#[derive(Default)]
pub(super) struct Channel {
    pub(super) queue: u16,
    /// The broker's life that it is in.
    pub(super) life: u32,
    pub(super) transactional: bool,
    /// Questions asked so far.
    asked: u32,
    /// When they were answered, in their order.
    answers: Vec<u64>,
    /// The latest number of each publisher and lane that came to it for the first time.
    latest: Vec<(u32, u64, u64)>,
}

impl Channel {
    pub(super) fn opened(queue: u16, life: u32, transactional: bool) -> Self {
        Self {
            queue,
            life,
            transactional,
            ..Self::default()
        }
    }

    /// The question whose answer proves what is sent now: the next one.
    pub(super) fn next_question(&self) -> u32 {
        self.asked
    }

    pub(super) fn ask(&mut self) {
        self.asked += 1;
    }

    pub(super) fn answer(&mut self, micros: u64) {
        if self.answers.len() < self.asked as usize {
            self.answers.push(micros);
        }
    }

    /// When this question was answered, if it was.
    pub(super) fn answered(&self, question: u32) -> Option<u64> {
        self.answers.get(question as usize).copied()
    }

    /// It gets nothing more.
    pub(super) fn close(&mut self) {
        self.latest = Vec::new();
        self.answers.shrink_to_fit();
    }

    /// A first delivery; whether a later message of the same publisher and lane was before it.
    pub(super) fn overtaken(&mut self, publisher: u32, lane: u64, number: u64) -> Option<u64> {
        let known = self
            .latest
            .iter_mut()
            .find(|(of, in_lane, _)| (*of, *in_lane) == (publisher, lane));
        match known {
            Some((_, _, latest)) if number < *latest => Some(*latest),
            Some((_, _, latest)) => {
                *latest = number;
                None
            }
            None => {
                self.latest.push((publisher, lane, number));
                None
            }
        }
    }
}
