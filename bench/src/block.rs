//! Publish frames, encoded once: a ring of messages that a producer sends over and over.
//!
//! Each message is method frame, header frame and body frames, as they go on the wire. Bodies of 8 bytes and more
//! begin with an id, those of 16 and more go on with a stamp; both are patched in place just before sending:
//!
//! ```text
//! body  0..8   id     producer u16 | number u48, big end first     how a consumer sees order and loss
//!       8..16  stamp  sent at, ns u56 | weight u8                  0 in messages that are not sampled
//!      16..    filling
//! ```

use crate::wire::{self, CHANNEL, FRAME_BODY, FRAME_HEADER, id};

/// Block size aimed at: large enough for cheap system calls, small enough to stay in the second-level cache.
const BLOCK_BYTES_AIM: usize = 256 * 1024;
const SLOTS_MAX: usize = 8192;
/// One sampled message stands for at most so many.
pub const SAMPLE_EVERY: usize = 64;

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The exchange; empty is the default exchange.
    pub exchange: String,
    /// The routing key: of the default exchange, the queue's name.
    pub routing_key: String,
}

/// How the messages of a block are made.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Body sizes in bytes, taken in turn.
    pub sizes: Vec<u32>,
    /// Destinations, taken in turn.
    pub routes: Vec<Route>,
    /// Delivery mode 2 instead of 1.
    pub persistent: bool,
    /// Carry what messages carry in real life: five headers, a content type, a priority, and an hour to live.
    pub dressed: bool,
    /// Ask for a return when no queue takes the message.
    pub mandatory: bool,
    /// The agreed frame size; bodies are split to fit. 0 is no limit.
    pub frame_max: u32,
    /// About how many bytes the block may take; above 256 KiB it says nothing.
    pub bytes_aim: usize,
}

/// Nothing to nowhere, in a block of the usual size.
impl Default for Recipe {
    fn default() -> Self {
        Self {
            sizes: Vec::new(),
            routes: Vec::new(),
            persistent: false,
            dressed: false,
            mandatory: false,
            frame_max: 0,
            bytes_aim: BLOCK_BYTES_AIM,
        }
    }
}

/// Encoded messages and where each begins.
pub struct Block {
    bytes: Vec<u8>,
    /// Where each message begins, and at the end where the last one stops.
    starts: Vec<usize>,
    /// Where each body begins.
    bodies: Vec<usize>,
    sizes: Vec<u32>,
}

impl Block {
    /// Messages of one size for one queue.
    pub fn to_queue(queue: &str, body_bytes: u32, persistent: bool, frame_max: u32) -> Self {
        let route = Route {
            exchange: String::new(),
            routing_key: queue.to_owned(),
        };
        Self::new(&Recipe {
            sizes: vec![body_bytes],
            routes: vec![route],
            persistent,
            frame_max,
            ..Recipe::default()
        })
    }

    /// Encodes a ring of messages. Sizes and routes must not be empty.
    pub fn new(recipe: &Recipe) -> Self {
        assert!(!recipe.sizes.is_empty(), "a recipe has sizes");
        assert!(!recipe.routes.is_empty(), "a recipe has routes");
        let cycle = least_common_multiple(recipe.sizes.len(), recipe.routes.len());
        let mut block = Self {
            bytes: Vec::new(),
            starts: vec![0],
            bodies: Vec::new(),
            sizes: Vec::new(),
        };
        loop {
            for index in 0..cycle {
                let size = recipe.sizes[index % recipe.sizes.len()];
                block.push(recipe, &recipe.routes[index % recipe.routes.len()], size);
            }
            if block.bytes.len() * (block.len() + cycle) / block.len() > recipe.bytes_aim.min(BLOCK_BYTES_AIM)
                || block.len() + cycle > SLOTS_MAX
            {
                return block;
            }
        }
    }

    /// How many messages the ring holds.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// A block is never empty.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// The bytes of all messages.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where message `slot` begins; `slot == len()` is the end.
    pub fn start(&self, slot: usize) -> usize {
        self.starts[slot]
    }

    /// Body bytes of messages `from..to`.
    pub fn body_bytes(&self, from: usize, to: usize) -> u64 {
        self.sizes[from..to].iter().map(|&size| u64::from(size)).sum()
    }

    /// Writes ids `first_id..` into messages `from..to` and clears their stamps. Answers the sum of the ids written.
    pub fn mark(&mut self, from: usize, to: usize, first_id: u64) -> u64 {
        let mut sum = 0_u64;
        for (id, slot) in (first_id..).zip(from..to) {
            let body = self.bodies[slot];
            let size = self.sizes[slot];
            if size >= 16 {
                self.bytes[body..body + 8].copy_from_slice(&id.to_be_bytes());
                self.bytes[body + 8..body + 16].fill(0);
            } else if size >= 8 {
                self.bytes[body..body + 8].copy_from_slice(&id.to_be_bytes());
            } else {
                continue;
            }
            sum = sum.wrapping_add(id);
        }
        sum
    }

    /// Puts a stamp into message `slot`; nothing happens where the body is too short. 0 clears it.
    pub fn stamp(&mut self, slot: usize, stamp: u64) {
        if self.sizes[slot] >= 16 {
            let at = self.bodies[slot] + 8;
            self.bytes[at..at + 8].copy_from_slice(&stamp.to_be_bytes());
        }
    }

    fn push(&mut self, recipe: &Recipe, route: &Route, size: u32) {
        let first = self.bodies.len();
        let out = &mut self.bytes;
        wire::method(out, CHANNEL, id::BASIC_PUBLISH, |out| {
            out.extend_from_slice(&[0, 0]);
            wire::short_string(out, route.exchange.as_bytes());
            wire::short_string(out, route.routing_key.as_bytes());
            out.push(u8::from(recipe.mandatory));
        });
        wire::frame(out, FRAME_HEADER, CHANNEL, |out| {
            out.extend_from_slice(&[0, 60, 0, 0]);
            out.extend_from_slice(&u64::from(size).to_be_bytes());
            let delivery_mode = if recipe.persistent { 2 } else { 1 };
            if recipe.dressed {
                dress(out, delivery_mode, first);
            } else {
                // Property flag 12 is the delivery mode.
                out.extend_from_slice(&[0x10, 0x00, delivery_mode]);
            }
        });
        self.bodies.push(out.len() + 7);
        let piece_max = match recipe.frame_max {
            0 => usize::MAX,
            max => max as usize - wire::FRAME_OVERHEAD,
        };
        let mut left = size as usize;
        while left > 0 {
            let piece = left.min(piece_max);
            wire::frame(out, FRAME_BODY, CHANNEL, |out| {
                out.resize(out.len() + piece, b'.')
            });
            left -= piece;
        }
        self.starts.push(out.len());
        self.sizes.push(size);
        let body = self.bodies[first];
        if size >= 8 {
            self.bytes[body..body + (size as usize).min(16)].fill(0);
        }
        debug_assert!(self.starts[first] < body, "a body lies within its message");
    }
}

/// Property flags and properties of message `index` as an application sends them.
fn dress(out: &mut Vec<u8>, delivery_mode: u8, index: usize) {
    // Flags 15 content type, 13 headers, 12 delivery mode, 11 priority, 8 expiration.
    out.extend_from_slice(&[0xb9, 0x00]);
    wire::short_string(out, b"application/json");
    wire::table(out, |out| {
        wire::text_entry(out, "tenant", "shop-eu-1");
        wire::text_entry(out, "trace", "4bf92f3577b34da6a3ce929d0e0e4736");
        wire::text_entry(out, "schema", "order.v3");
        wire::bool_entry(out, "retry", index.is_multiple_of(7));
        wire::text_entry(out, "origin", "checkout");
    });
    out.push(delivery_mode);
    out.push((index % 5) as u8);
    wire::short_string(out, b"3600000");
}

/// A stamp: when it was sent (or should have been) and how many messages the sample stands for (1..=64).
pub fn stamp(sent_at: u64, weight: usize) -> u64 {
    debug_assert!((1..=SAMPLE_EVERY).contains(&weight), "a weight fits its byte");
    sent_at << 8 | weight as u64
}

/// The time and weight in a stamp; `None` where there is none.
#[inline]
pub fn read_stamp(stamp: u64) -> Option<(u64, u64)> {
    if stamp == 0 {
        None
    } else {
        Some((stamp >> 8, stamp & 0xff))
    }
}

fn least_common_multiple(one: usize, other: usize) -> usize {
    let (mut high, mut low) = (one, other);
    while low > 0 {
        (high, low) = (low, high % low);
    }
    one / high * other
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanner::HEAD_BYTES;
    use crate::wire::Reader;

    fn route(key: &str) -> Route {
        Route {
            exchange: String::new(),
            routing_key: key.to_owned(),
        }
    }

    fn recipe(sizes: &[u32], keys: &[&str]) -> Recipe {
        Recipe {
            sizes: sizes.to_vec(),
            routes: keys.iter().map(|key| route(key)).collect(),
            persistent: true,
            frame_max: 4096,
            ..Recipe::default()
        }
    }

    /// The kinds and payload sizes of the frames of one message.
    fn frames(block: &Block, slot: usize) -> Vec<(u8, u32)> {
        let mut reader = Reader::new(&block.bytes()[block.start(slot)..block.start(slot + 1)]);
        let mut frames = Vec::new();
        while let Some(kind) = reader.u8() {
            reader.u16().expect("a channel");
            let size = reader.u32().expect("a size");
            reader.take(size as usize).expect("a payload");
            assert_eq!(reader.u8(), Some(wire::FRAME_END));
            frames.push((kind, size));
        }
        frames
    }

    #[test]
    fn dressed_messages_have_properties_in_their_order() {
        let mut recipe = recipe(&[16], &["a"]);
        recipe.dressed = true;
        let block = Block::new(&recipe);
        let method = 7 + 10 + 1;
        // Kind, channel, size; class, weight, body size.
        let mut reader = Reader::new(&block.bytes()[block.start(6) + method + 7 + 12..]);
        assert_eq!(reader.u16(), Some(0xb900));
        assert_eq!(reader.short_string(), Some(&b"application/json"[..]));
        let headers = reader.long_string().expect("a table");
        assert_eq!(wire::table_text(headers, "schema").as_deref(), Some("order.v3"));
        assert_eq!((reader.u8(), reader.u8()), (Some(2), Some(1)));
        assert_eq!(reader.short_string(), Some(&b"3600000"[..]));
        assert_eq!(reader.u8(), Some(wire::FRAME_END));
    }

    #[test]
    fn bodies_are_split_at_the_frame_size() {
        let block = Block::new(&recipe(&[0, 16, 10_000], &["a", "bb"]));
        assert_eq!(block.len() % 6, 0);
        assert_eq!(frames(&block, 0), [(1, 10), (2, 15)]);
        assert_eq!(frames(&block, 1), [(1, 11), (2, 15), (3, 16)]);
        assert_eq!(
            frames(&block, 2),
            [(1, 10), (2, 15), (3, 4088), (3, 4088), (3, 1824)]
        );
    }

    #[test]
    fn ids_and_stamps_land_at_the_head_of_the_body() {
        let mut block = Block::new(&recipe(&[16], &["a"]));
        assert_eq!(block.mark(0, 3, 5), 5 + 6 + 7);
        block.stamp(1, stamp(0x1234, 9));
        let body = block.bodies[1];
        let head = &block.bytes()[body..body + HEAD_BYTES];
        assert_eq!(head[..8], 6_u64.to_be_bytes());
        let read = u64::from_be_bytes(head[8..].try_into().expect("8 bytes"));
        assert_eq!(read_stamp(read), Some((0x1234, 9)));
        block.mark(0, 3, 8);
        assert_eq!(block.bytes()[body + 8..body + 16], [0; 8]);
    }

    #[test]
    fn blocks_are_large_but_bounded() {
        let small = Block::new(&recipe(&[16], &["w1a.0000"]));
        assert!(small.bytes().len() > BLOCK_BYTES_AIM / 2 && small.bytes().len() <= BLOCK_BYTES_AIM);
        assert_eq!(Block::new(&recipe(&[1 << 20], &["a"])).len(), 1);
    }
}
