//! Topic exchanges: a persistent trie of words.
//!
//! Keys are words between dots; an empty key has no words at all. In a binding key `*` stands for one word and `#` for any
//! number of words, none included. A change copies the path from the root, so that a snapshot keeps the trie it saw and
//! costs nothing.
//!
//! A key is matched by walking all places that are still possible word by word, each place once: a key of `n` words costs
//! at most `n` times the nodes that are possible at once, whatever the bindings look like. (Walking depth first is
//! exponential in the number of `#`, which a client chooses.)

use std::sync::Arc;

use super::bucket::{Bucket, Member};
use super::keyed_hash::Keyed;
use super::small_map::SmallMap;
use crate::catalog::Binding;
use crate::name::Name;

/// The trie of one exchange.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topic {
    root: Arc<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    words: SmallMap<Name, Arc<Node>>,
    star: Option<Arc<Node>>,
    hash: Option<Arc<Node>>,
    /// Whether this node is the end of a `#`, hence stays possible whatever word comes.
    swallows: bool,
    /// The bindings that end here.
    bucket: Bucket,
}

impl Topic {
    /// Puts the buckets of all matching binding keys into `found`, each once.
    pub(crate) fn find<'a>(&'a self, routing_key: &[u8], found: &mut Vec<&'a Bucket>) {
        // The places that are possible before the next word begin at `from`; those after it are put behind them.
        let mut places = Vec::with_capacity(16);
        let mut from = 0;
        enter(&self.root, &mut places);
        for word in words(routing_key) {
            let to = places.len();
            for at in from..to {
                step(places[at], word, &mut places);
            }
            from = to;
            // Only a `#` leads to one place in several ways.
            if places[from..].iter().any(|place| place.swallows) {
                keep_each_once(&mut places, from);
            }
            if from == places.len() {
                return;
            }
        }
        found.extend(
            places[from..]
                .iter()
                .map(|place| &place.bucket)
                .filter(|bucket| !bucket.is_empty()),
        );
    }

    pub(crate) fn add(&mut self, binding: Arc<Binding>, member: Member, keyed: Keyed) {
        let mut node = Arc::make_mut(&mut self.root);
        for word in words(&binding.routing_key) {
            node = Arc::make_mut(node.child_or_new(word, keyed));
        }
        node.bucket.add(binding, member, keyed);
    }

    pub(crate) fn remove(&mut self, binding: &Binding) {
        remove(
            Arc::make_mut(&mut self.root),
            &mut words(&binding.routing_key),
            binding,
        );
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        let mut pending = vec![self.root.as_ref()];
        std::iter::from_fn(move || {
            let node = pending.pop()?;
            pending.extend(node.children());
            Some(&node.bucket)
        })
        .filter(|bucket| !bucket.is_empty())
    }

    /// Whether no node could be left out: each leads to a binding.
    pub(crate) fn is_pruned(&self) -> bool {
        let mut pending: Vec<&Node> = self.root.children().collect();
        while let Some(node) = pending.pop() {
            if node.is_bare() {
                return false;
            }
            pending.extend(node.children());
        }
        true
    }
}

impl Node {
    fn children(&self) -> impl Iterator<Item = &Node> {
        let words = self.words.iter().map(|(_, child)| child.as_ref());
        words.chain(self.star.as_deref()).chain(self.hash.as_deref())
    }

    fn child_or_new(&mut self, word: &[u8], keyed: Keyed) -> &mut Arc<Node> {
        match word {
            b"*" => self.star.get_or_insert_default(),
            b"#" => self.hash.get_or_insert_with(|| {
                Arc::new(Node {
                    swallows: true,
                    ..Node::default()
                })
            }),
            word => {
                if self.words.get(word).is_none() {
                    self.words.add(Name::new(word), Arc::default(), keyed);
                }
                self.words.get_mut(word).expect("found or just added")
            }
        }
    }

    fn child_mut(&mut self, word: &[u8]) -> Option<&mut Arc<Node>> {
        match word {
            b"*" => self.star.as_mut(),
            b"#" => self.hash.as_mut(),
            word => self.words.get_mut(word),
        }
    }

    fn drop_child(&mut self, word: &[u8]) {
        match word {
            b"*" => self.star = None,
            b"#" => self.hash = None,
            word => {
                self.words.remove(word);
            }
        }
    }

    fn is_bare(&self) -> bool {
        self.bucket.is_empty() && self.star.is_none() && self.hash.is_none() && self.words.is_empty()
    }
}

/// The words of a key. No bytes are no words; a dot always parts two, of which either may be empty.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    key.split(|byte| *byte == b'.').filter(|_| !key.is_empty())
}

/// Makes `node` possible, and the ends of the `#` behind it, which may stand for no word.
fn enter<'a>(node: &'a Node, places: &mut Vec<&'a Node>) {
    let mut node = Some(node);
    while let Some(place) = node {
        places.push(place);
        node = place.hash.as_deref();
    }
}

/// Makes possible what `word` leads to from `place`.
fn step<'a>(place: &'a Node, word: &[u8], next: &mut Vec<&'a Node>) {
    if place.swallows {
        enter(place, next);
    }
    if let Some(child) = place.words.get(word) {
        enter(child, next);
    }
    if let Some(child) = &place.star {
        enter(child, next);
    }
}

/// Lets each of the places from `from` on stand once.
fn keep_each_once(places: &mut Vec<&Node>, from: usize) {
    let address = |place: &&Node| std::ptr::from_ref(*place);
    places[from..].sort_unstable_by_key(address);
    let mut kept = from;
    for at in from..places.len() {
        if at == from || !std::ptr::eq(places[at], places[kept - 1]) {
            places[kept] = places[at];
            kept += 1;
        }
    }
    places.truncate(kept);
}

/// Removes the binding and, on the way back, the nodes that lead nowhere any more. The depth is bounded by the length of a
/// key: 256 words at most.
fn remove<'a>(node: &mut Node, words: &mut impl Iterator<Item = &'a [u8]>, binding: &Binding) {
    let Some(word) = words.next() else {
        node.bucket.remove(binding);
        return;
    };
    let child = Arc::make_mut(node.child_mut(word).expect("a bound key has its path"));
    remove(child, words, binding);
    if child.is_bare() {
        node.drop_child(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::bucket::tests::{bound, queue};

    fn matches(binding_key: &str, routing_key: &str) -> bool {
        let mut topic = Topic::default();
        let binding = bound(binding_key, 1);
        topic.add(binding.clone(), queue(1), Keyed::default());
        let mut found = Vec::new();
        topic.find(routing_key.as_bytes(), &mut found);
        assert!(
            found.len() <= 1,
            "{binding_key} was found twice for {routing_key}"
        );
        let matches = !found.is_empty();
        topic.remove(&binding);
        assert!(topic.root.is_bare());
        matches
    }

    #[test]
    fn patterns() {
        fn check(binding_key: &str, hits: &[&str], misses: &[&str]) {
            for hit in hits {
                assert!(matches(binding_key, hit), "{binding_key} should match {hit:?}");
            }
            for miss in misses {
                assert!(
                    !matches(binding_key, miss),
                    "{binding_key} should not match {miss:?}"
                );
            }
        }
        check("", &[""], &["a", "."]);
        check("a", &["a"], &["", "b", "a.", ".a", "a.a"]);
        check("*", &["a", "*", "#"], &["", ".", "a.b"]);
        check("#", &["", "a", ".", "a.b.c", ".."], &[]);
        check("a.*", &["a.b", "a."], &["a", "a.b.c", "b.a"]);
        check("*.*", &["a.b", "."], &["a", "a.b.c", ""]);
        check("a.#", &["a", "a.b", "a.b.c", "a."], &["", "b", "ab"]);
        check("#.a", &["a", "b.a", "c.b.a", ".a"], &["", "a.b", "ba"]);
        check(
            "a.#.b",
            &["a.b", "a.x.b", "a.x.y.b", "a.b.b"],
            &["a", "b", "a.b.c"],
        );
        check("#.#", &["", "a", "a.b"], &[]);
        check("#.a.#.b.#", &["a.b", "x.a.y.b.z", "a.a.b.b"], &["a", "b.a", ""]);
        check("*.#", &["a", "a.b"], &[""]);
        check("#.*", &["a", "a.b"], &[""]);
        check("a..b", &["a..b"], &["a.b", "a.x.b"]);
    }

    #[test]
    fn many_hashes_do_not_explode() {
        let mut topic = Topic::default();
        topic.add(bound(&("#.a.".repeat(60) + "#"), 1), queue(1), Keyed::default());
        let mut found = Vec::new();
        topic.find("a.".repeat(127).trim_end_matches('.').as_bytes(), &mut found);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_snapshot_keeps_the_trie_it_saw() {
        let mut topic = Topic::default();
        topic.add(bound("a.b", 1), queue(1), Keyed::default());
        let snapshot = topic.clone();
        topic.add(bound("a.*", 2), queue(2), Keyed::default());
        topic.remove(&bound("a.b", 1));
        let count = |topic: &Topic| {
            let mut found = Vec::new();
            topic.find(b"a.b", &mut found);
            found.iter().map(|bucket| bucket.entries().count()).sum::<usize>()
        };
        assert_eq!((count(&snapshot), count(&topic)), (1, 1));
        assert_eq!(snapshot.buckets().count(), 1);
    }
}
