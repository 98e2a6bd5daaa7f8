//! Topic exchanges: a persistent trie of words.
//!
//! Keys are words between dots; an empty key has no words at all. In a binding key `*` stands for one word and `#` for any
//! number of words, none included. A change copies the path from the root, so that a snapshot keeps the trie it saw and
//! costs nothing.
//!
//! A key is matched by walking all places that are still possible word by word, each place once: a key of `n` words costs
//! at most `n` times the nodes that are possible at once, whatever the bindings look like, and memory for these nodes. (Walking
//! depth first is exponential in the number of `#`, which a client chooses.)

use std::collections::HashSet;
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
    /// The bindings that end here.
    bucket: Bucket,
}

impl Topic {
    /// Puts the buckets of all matching binding keys into `found`, each once.
    pub(crate) fn find<'a>(&'a self, routing_key: &[u8], found: &mut Vec<&'a Bucket>) {
        self.walk(routing_key, found);
    }

    /// Finds, and says how many places it has looked at.
    fn walk<'a>(&'a self, routing_key: &[u8], found: &mut Vec<&'a Bucket>) -> usize {
        let mut places = Places::default();
        places.enter(&self.root);
        let mut looked_at = 0;
        for word in words(routing_key) {
            looked_at += places.step(word);
            if places.are_none() {
                break;
            }
        }
        found.extend(places.buckets());
        looked_at
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
            b"#" => self.hash.get_or_insert_default(),
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

/// The nodes that are possible before the next word, each once.
#[derive(Default)]
struct Places<'a> {
    /// Those that only this word decides about. Each is led to by one node, so it is here once.
    passing: Vec<&'a Node>,
    /// Ends of `#`: once possible they stay so, whatever word comes.
    staying: Vec<&'a Node>,
    /// The same as `staying`, once there are more than [`FEW`].
    known: HashSet<*const Node, Keyed>,
}

/// So many are found faster by looking at each.
const FEW: usize = 8;

impl<'a> Places<'a> {
    /// Makes `node`, which is no end of a `#`, possible, and the ends of the `#` behind it, which may stand for no word.
    fn enter(&mut self, node: &'a Node) {
        self.passing.push(node);
        let mut hash = node.hash.as_deref();
        // What is behind one that is known already is known too.
        while let Some(node) = hash.filter(|node| self.is_new(node)) {
            self.staying.push(node);
            hash = node.hash.as_deref();
        }
    }

    fn is_new(&mut self, node: &Node) -> bool {
        if self.staying.len() < FEW {
            return !self.staying.iter().any(|place| std::ptr::eq(*place, node));
        }
        if self.known.is_empty() {
            let known = self.staying.iter().map(|place| std::ptr::from_ref(*place));
            self.known.extend(known);
        }
        self.known.insert(node)
    }

    /// Goes on to what is possible after `word`; says how many places that meant to look at.
    fn step(&mut self, word: &[u8]) -> usize {
        let (passing, staying) = (self.passing.len(), self.staying.len());
        for at in 0..passing {
            self.follow(self.passing[at], word);
        }
        for at in 0..staying {
            self.follow(self.staying[at], word);
        }
        self.passing.drain(..passing);
        passing + staying
    }

    fn follow(&mut self, place: &'a Node, word: &[u8]) {
        if let Some(child) = place.words.get(word) {
            self.enter(child);
        }
        if let Some(child) = &place.star {
            self.enter(child);
        }
    }

    fn are_none(&self) -> bool {
        self.passing.is_empty() && self.staying.is_empty()
    }

    fn buckets(&self) -> impl Iterator<Item = &'a Bucket> {
        let places = self.passing.iter().chain(&self.staying);
        places
            .map(|place| &place.bucket)
            .filter(|bucket| !bucket.is_empty())
    }
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

    /// What a key of `words` empty words costs where `bindings` queues are bound with as many `#` as a key holds.
    fn cost(words: usize, bindings: usize) -> usize {
        let mut topic = Topic::default();
        for number in 0..bindings {
            // Like "#.#..#.#..#": with and without a word between them, and another beginning for each queue.
            let key = format!("{number}.#.{}", ["#", "#.", "#..#"][number % 3].repeat(40));
            topic.add(
                bound(&key[..key.len().min(255)], number as u64),
                queue(1),
                Keyed::default(),
            );
            let key = format!("{}{number}", "#.".repeat(60));
            topic.add(bound(&key, number as u64), queue(1), Keyed::default());
            let key = format!("{}{number}", "#..#.".repeat(45));
            topic.add(bound(&key, number as u64), queue(1), Keyed::default());
        }
        topic.walk(".".repeat(words - 1).as_bytes(), &mut Vec::new())
    }

    #[test]
    fn the_work_grows_with_the_words_and_the_nodes_and_no_faster() {
        let once = cost(128, 10);
        let (longer, more) = (cost(256, 10), cost(128, 100));
        assert!(longer <= once * 3, "twice the words: {once}, then {longer}");
        assert!(more <= once * 11, "ten times the bindings: {once}, then {more}");
        let (some, deep) = (chain(30), chain(120));
        assert!(
            deep <= some * 5,
            "four times as many # behind each other: {some}, then {deep}"
        );
    }

    /// What a key costs where one queue is bound with so many `#` behind each other.
    fn chain(hashes: usize) -> usize {
        let mut topic = Topic::default();
        let key = ["#"; 120][..hashes].join(".");
        topic.add(bound(&key, 1), queue(1), Keyed::default());
        topic.walk(&[b'.'; 100], &mut Vec::new())
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
