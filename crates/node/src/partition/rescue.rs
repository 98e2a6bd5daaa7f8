//! Survivors of a segment that is mostly dead: written again at the end of the log, so that it can go.
//!
//! Whoever rewrites a segment hands its records over one by one. The partition knows which of their messages are still alive, writes
//! those again, and points its queues at the new place once that is durable. What is settled meanwhile is passed over.

use everack_broker::ids::{Location, Millis};
use everack_broker::partition::{Command, Move};

use super::Partition;
use super::staged::Staged;
use crate::outbox::Outbox;
use crate::record::{self, Placement, Target};
use crate::request::{Rescue, RescueTarget};

impl Partition {
    pub(super) fn rescue(&mut self, rescue: Rescue, outbox: &mut Outbox) {
        let targets = self.survivors(&rescue.targets, Location(rescue.location.0));
        if targets.is_empty() {
            outbox.seldom().rescued.push(rescue.done);
            return;
        }
        // What was one record may have come to be very many slices: then its messages are written once for each part of them.
        let mut pieces = record::pieces(&targets).peekable();
        let mut done = Some(rescue.done);
        while let Some(piece) = pieces.next() {
            let offset = record::encode_placed(
                &mut self.frames,
                Placement::Moved,
                self.id,
                None,
                &rescue.messages,
                piece,
            );
            let done = if pieces.peek().is_none() {
                done.take()
            } else {
                None
            };
            self.staged.push(Staged::Rescued {
                offset,
                targets: piece.to_vec(),
                done,
            });
            self.hand_out_if_large(outbox);
        }
    }

    /// The slices of `targets` that are alive and still lie at `location`.
    fn survivors(&self, targets: &[RescueTarget], location: Location) -> Vec<Target> {
        let (mut survivors, mut live) = (Vec::new(), Vec::new());
        for target in targets {
            let end = target.first.plus(u64::from(target.to - target.from));
            live.clear();
            let _ = self
                .machine
                .live(target.queue, target.first, end, usize::MAX, &mut live);
            // Messages that were moved before have another location and are not this record's any more.
            for live in live.iter().filter(|live| live.location == location) {
                survivors.push(Target {
                    queue: target.queue,
                    first: live.first,
                    from: live.from,
                    to: live.to,
                });
            }
        }
        survivors
    }

    /// The survivors are durable at `location`. Neighbours of one queue become one command.
    pub(super) fn relocate(&mut self, location: Location, targets: &[Target], now: Millis) {
        for targets in targets.chunk_by(|left, right| left.queue == right.queue) {
            let moves = targets.iter().map(|target| Move {
                first: target.first,
                count: target.to - target.from,
                location,
                from: target.from,
            });
            let command = Command::Relocate {
                queue: targets[0].queue,
                moves: moves.collect(),
            };
            self.machine.apply(command, now);
        }
    }
}
