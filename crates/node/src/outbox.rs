//! What one round of a machine leaves for its driver to carry.
//!
//! The order in which the driver carries it out matters and is the same everywhere: jobs go to the log; requests are put into other machines' mailboxes; the catalog's new snapshot is published (so that nobody
//! routes to a queue whose partition has not been told of it first); then answers are given and connections woken.

use std::sync::Arc;

use everack_broker::catalog::Snapshot;
use everack_broker::ids::{Millis, PartitionId};

use crate::append::AppendJob;
use crate::catalog_service::CatalogRequest;
use crate::dead_letters::Mail;
use crate::link::Link;
use crate::notice::Notice;
use crate::report::{Inquirer, Report};
use crate::request::{Request, RescueDone};
use crate::traces::Event;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Frames to make durable.
    pub jobs: Vec<AppendJob>,
    /// Requests to partitions.
    pub requests: Vec<(PartitionId, Request)>,
    /// What most rounds have nothing of; see [`Outbox::seldom`].
    pub seldom: Option<Box<Seldom>>,
    /// Links with new notices, to be woken last.
    pub dirty: Vec<Arc<Link>>,
    /// When the machine wants a [`Request::Tick`] at the latest; told again by each round as long as it does.
    pub wake_at: Option<Millis>,
    /// Whether the machine wants a [`Request::Tick`] in [`TICK_MILLIS`].
    pub wants_tick: bool,
    /// Whether requests were put into other machines' mailboxes; kept for the driver between its two steps.
    pub posted: bool,
}

/// What a round leaves that does not come with messages.
#[derive(Debug, Default)]
pub struct Seldom {
    /// Requests to the catalog.
    pub catalog: Vec<CatalogRequest>,
    /// Messages that are to go on to other queues.
    pub dead: Vec<Mail>,
    /// The topology as it is from now on.
    pub snapshot: Option<Snapshot>,
    /// Answers that may be seen only once the snapshot is published.
    pub answers: Vec<(Arc<Link>, Notice)>,
    /// Records that have been dealt with.
    pub rescued: Vec<Arc<dyn RescueDone>>,
    /// What was asked, and by whom.
    pub reports: Vec<(Arc<dyn Inquirer>, Report)>,
    /// What has happened to messages that are followed.
    pub traced: Vec<Event>,
}

/// How long publishers of a queue that is far behind its consumers are held back at most, at a time.
pub const TICK_MILLIS: u64 = 10;

/// The longest list of an empty outbox that is kept.
const KEPT_MAX: usize = 1024;

impl Outbox {
    /// Leaves `notice` with `link` and puts the link on the list to be woken.
    pub fn notify(&mut self, link: &Arc<Link>, notice: Notice) {
        link.push(notice);
        self.touch(link);
    }

    /// Puts `link` on the list to be woken, once.
    pub fn touch(&mut self, link: &Arc<Link>) {
        if link.mark_dirty() {
            self.dirty.push(link.clone());
        }
    }

    /// To add what most rounds have nothing of.
    pub fn seldom(&mut self) -> &mut Seldom {
        self.seldom.get_or_insert_default()
    }

    /// Hands the answers to their links; the driver calls it once the snapshot is published.
    pub fn give_answers(&mut self) {
        let Some(seldom) = &mut self.seldom else {
            return;
        };
        for (link, notice) in std::mem::take(&mut seldom.answers) {
            self.notify(&link, notice);
        }
    }

    /// Wakes every link that has news, and tells everybody who has asked.
    pub fn wake_all(&mut self) {
        for link in self.dirty.drain(..) {
            link.clean_and_wake();
        }
        if let Some(seldom) = self.seldom.take() {
            seldom.rescued.into_iter().for_each(|done| done.rescued());
            let reports = seldom.reports.into_iter();
            reports.for_each(|(inquirer, report)| inquirer.told(report));
        }
    }

    /// Whether it has taken no more memory than most rounds need: an empty one may be kept for the next round then.
    pub fn is_small(&self) -> bool {
        let longest = self.jobs.capacity().max(self.requests.capacity());
        longest.max(self.dirty.capacity()) <= KEPT_MAX
    }

    /// Whether there is nothing left to carry.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.requests.is_empty() && self.dirty.is_empty() && self.seldom.is_none()
    }
}
