//! Bit rot, in one place, so that what it may cost is known: a record of messages that was durable for certain, or one of the two files of
//! a checkpoint.
//!
//! Rot in the group that was synced last cannot be told from a torn write (`docs/internals/recovery.md`), so it is not put there.

use bytes::Bytes;
use everack_node::record;
use everack_storage::disk::{Disk as _, Memory};
use everack_storage::{Found, Log, Options, Position, segment};

use crate::book::Number;
use crate::content;
use crate::random::Random;

/// Changes a byte of a record of messages in a segment behind which there is another; returns the messages that it holds.
pub(super) fn in_record(memory: &Memory, segment_bytes: u32, random: &mut Random) -> Option<Vec<Number>> {
    let names = memory.kill().list().ok()?;
    let newest = names
        .iter()
        .filter_map(|entry| segment::parse_name(&entry.name))
        .max()?;
    let mut records = records(memory, segment_bytes)?;
    records.retain(|(position, _)| position.segment() < newest);
    if records.is_empty() {
        return None;
    }
    let (position, payload) = random.pick(&records);
    let (batch, _) = record::decode_messages(payload.clone()).ok()?;
    let numbers = (0..batch.len()).filter_map(|index| content::number_of(batch.properties(index)));
    let numbers: Vec<Number> = numbers.collect();
    let name = segment::file_name(position.segment());
    let contents = memory.contents(&name)?;
    let from = position.offset() as usize;
    let start = contents
        .get(from..)?
        .windows(payload.len())
        .position(|window| window == payload)?;
    let at = from + start + random.below(payload.len() as u64) as usize;
    let bit = 1 << random.below(8);
    memory.corrupt(&name, |bytes| bytes[at] ^= bit);
    Some(numbers)
}

/// All records of messages in the log.
fn records(memory: &Memory, segment_bytes: u32) -> Option<Vec<(Position, Bytes)>> {
    let options = Options {
        segment_bytes,
        ..Options::default()
    };
    let (log, _) = Log::open(memory.kill(), options).ok()?;
    let mut records = Vec::new();
    let visited = log.reader().replay(Position::ZERO, |found| {
        if let Found::Record { position, payload } = found
            && record::decode_messages(Bytes::copy_from_slice(payload)).is_ok()
        {
            records.push((position, Bytes::copy_from_slice(payload)));
        }
        Ok::<(), ()>(())
    });
    visited.is_ok().then_some(records)
}

/// Changes a byte of the newest checkpoint or of its copy; nothing may be lost by that.
pub(super) fn in_checkpoint(memory: &Memory, random: &mut Random) -> bool {
    let Ok(entries) = memory.kill().list() else {
        return false;
    };
    let names = entries
        .into_iter()
        .filter(|entry| entry.name.starts_with("checkpoint-"));
    let names: Vec<_> = names.collect();
    // The copy is made last: without one there is no second file.
    let [.., _, _] = &names[..] else { return false };
    let pair = &names[names.len() - 2..];
    let stem = |name: &str| name.split('.').next().map(str::to_owned);
    if stem(&pair[0].name) != stem(&pair[1].name) {
        return false;
    }
    let victim = random.pick(pair);
    let at = random.below(victim.length) as usize;
    memory.corrupt(&victim.name, |bytes| bytes[at] ^= 1 << (at % 8));
    true
}
