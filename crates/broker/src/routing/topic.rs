//! Topic exchanges: a persistent trie of words.
//!
//! Keys are words between dots; an empty key has no words at all. In a binding key `*` stands for one word and `#` for any
//! number of words, none included. A change copies the path from the root, so that a snapshot keeps the trie it saw and
//! costs nothing.
//!
//! ```text
//! bound: shop.1.*  shop.2.*  shop.2.paid  shop.#.late  all
//!
//! root ─┬─ shop ─┬─ 1 ── leaf [.*]                 the rest of the key is compared word by word
//!       │        ├─ 2 ─┬─ * ──── leaf []
//!       │        │     └─ paid ─ leaf []
//!       │        └─ # ── late ── leaf []           a rest with a # in it is never a leaf's
//!       └─ all ── leaf []
//! ```
//!
//! A key that shares its way with no other from some word on has a *leaf* there instead of a node for each further word: with a million
//! bindings most of them end in one. The rest of the key is not kept again: the binding has it.
//!
//! A key is matched by walking all places that are still possible word by word, each place once: a key of `n` words costs
//! at most `n` times the nodes that are possible at once, whatever the bindings look like, and memory for these nodes. (Walking
//! depth first is exponential in the number of `#`, which a client chooses.)

use std::collections::HashSet;
use std::sync::Arc;

use super::bucket::Bucket;
use super::keyed_hash::Keyed;
use super::small_map::SmallMap;
use crate::catalog::Bound;
use crate::name::Name;

/// The trie of one exchange.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topic {
    root: Arc<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Bytes of the keys that lead here, the dot behind the last word included.
    way: u16,
    words: SmallMap<Name, Child>,
    star: Option<Child>,
    hash: Option<Arc<Node>>,
    /// The bindings that end here.
    bucket: Bucket,
}

/// What is behind a word.
#[derive(Clone, Debug)]
enum Child {
    /// The bindings of one key, whatever is left of it; there is no `#` in that.
    Leaf(Bucket),
    Node(Arc<Node>),
}

impl Topic {
    /// Puts the buckets of all matching binding keys into `found`, each once.
    pub(crate) fn find<'a>(&'a self, routing_key: &[u8], found: &mut Vec<&'a Bucket>) {
        self.walk(routing_key, found);
    }

    /// Finds, and says how many places it has looked at.
    fn walk<'a>(&'a self, routing_key: &[u8], found: &mut Vec<&'a Bucket>) -> usize {
        let mut places = Places::new(found);
        places.enter(&self.root);
        let (mut rest, mut looked_at) = (whole(routing_key), 0);
        while let Some((word, behind)) = split(rest) {
            looked_at += places.step(word, behind);
            if places.are_none() {
                return looked_at;
            }
            rest = behind;
        }
        places.end();
        looked_at
    }

    pub(crate) fn add(&mut self, binding: Arc<Bound>) {
        Arc::make_mut(&mut self.root).add(binding);
    }

    pub(crate) fn remove(&mut self, binding: &Bound) {
        Arc::make_mut(&mut self.root).remove(binding);
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        let mut pending = vec![self.root.as_ref()];
        let mut leaves: Vec<&Bucket> = Vec::new();
        std::iter::from_fn(move || {
            if let Some(leaf) = leaves.pop() {
                return Some(leaf);
            }
            let node = pending.pop()?;
            pending.extend(node.nodes());
            leaves.extend(node.leaves());
            Some(&node.bucket)
        })
        .filter(|bucket| !bucket.is_empty())
    }

    /// Whether nothing could be left out: each node but the root leads to more than one leaf would, and each leaf to a binding.
    pub(crate) fn is_pruned(&self) -> bool {
        let mut pending = vec![self.root.as_ref()];
        while let Some(node) = pending.pop() {
            let full = node.leaves().all(|leaf| !leaf.is_empty());
            if !full || node.nodes().any(|child| child.is_bare()) {
                return false;
            }
            if node
                .children()
                .any(|child| matches!(child, Child::Node(node) if node.is_one_leaf()))
            {
                return false;
            }
            pending.extend(node.nodes());
        }
        true
    }
}

impl Node {
    fn at(way: usize) -> Self {
        Self {
            // A key has 255 bytes at most.
            way: way as u16,
            ..Self::default()
        }
    }

    fn children(&self) -> impl Iterator<Item = &Child> {
        let words = self.words.iter().map(|(_, child)| child);
        words.chain(&self.star)
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        let nodes = self.children().filter_map(|child| match child {
            Child::Node(node) => Some(node.as_ref()),
            Child::Leaf(_) => None,
        });
        nodes.chain(self.hash.as_deref())
    }

    fn leaves(&self) -> impl Iterator<Item = &Bucket> {
        self.children().filter_map(|child| match child {
            Child::Leaf(bucket) => Some(bucket),
            Child::Node(_) => None,
        })
    }

    /// Puts a binding below, whose key leads here. The depth is bounded by the length of a key: 256 words at most.
    fn add(&mut self, binding: Arc<Bound>) {
        let key = binding.routing_key.clone();
        let Some((word, behind)) = split(self.rest_of(&key)) else {
            return self.bucket.add(binding);
        };
        let way = usize::from(self.way) + word.len() + 1;
        if word == b"#" {
            let node = self.hash.get_or_insert_with(|| Arc::new(Node::at(way)));
            return Arc::make_mut(node).add(binding);
        }
        match self.child_mut(word) {
            Some(child) => child.add(binding, way),
            None => {
                let child = Child::of(binding, behind, way);
                self.put_child(word, child);
            }
        }
    }

    /// Removes a binding below, and on the way back what leads nowhere any more, or to no more than a leaf does.
    fn remove(&mut self, binding: &Bound) {
        let Some((word, _)) = split(self.rest_of(&binding.routing_key)) else {
            return self.bucket.remove(binding);
        };
        if word == b"#" {
            let node = self.hash.as_mut().expect("a bound key has its path");
            Arc::make_mut(node).remove(binding);
            self.hash = self.hash.take().filter(|node| !node.is_bare());
            return;
        }
        let child = self.child_mut(word).expect("a bound key has its path");
        if child.remove(binding) {
            self.drop_child(word);
        }
    }

    /// What a key that leads here has behind this place; `None` if it ends here.
    fn rest_of<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        match self.way {
            0 => whole(key),
            way => behind(key, usize::from(way) - 1),
        }
    }

    fn put_child(&mut self, word: &[u8], child: Child) {
        match word {
            b"*" => self.star = Some(child),
            word => self.words.add(Name::new(word), child),
        }
    }

    fn child_mut(&mut self, word: &[u8]) -> Option<&mut Child> {
        match word {
            b"*" => self.star.as_mut(),
            word => self.words.get_mut(word),
        }
    }

    fn drop_child(&mut self, word: &[u8]) {
        match word {
            b"*" => self.star = None,
            word => {
                self.words.remove(word);
            }
        }
    }

    fn is_bare(&self) -> bool {
        self.bucket.is_empty() && self.star.is_none() && self.hash.is_none() && self.words.is_empty()
    }

    /// Whether a leaf would say the same.
    fn is_one_leaf(&self) -> bool {
        let below = self.words.len() + usize::from(self.star.is_some());
        match (&self.hash, self.bucket.is_empty()) {
            (None, true) => below == 1 && self.leaves().next().is_some(),
            (None, false) => below == 0,
            (Some(_), _) => false,
        }
    }
}

impl Child {
    /// A binding whose key goes on with `behind`, `way` bytes from its start.
    fn of(binding: Arc<Bound>, behind: Option<&[u8]>, way: usize) -> Self {
        if words(behind).all(|word| word != b"#") {
            return Child::Leaf(Bucket::One(binding));
        }
        let mut node = Node::at(way);
        node.add(binding);
        Child::Node(Arc::new(node))
    }

    fn add(&mut self, binding: Arc<Bound>, way: usize) {
        if let Child::Leaf(bucket) = self {
            if bucket.routing_key() == Some(&binding.routing_key) {
                return bucket.add(binding);
            }
            let mut node = Node::at(way);
            node.put_bucket(std::mem::take(bucket));
            *self = Child::Node(Arc::new(node));
        }
        if let Child::Node(node) = self {
            Arc::make_mut(node).add(binding);
        }
    }

    /// Removes a binding; says whether that was all.
    fn remove(&mut self, binding: &Bound) -> bool {
        match self {
            Child::Leaf(bucket) => {
                bucket.remove(binding);
                bucket.is_empty()
            }
            Child::Node(node) => {
                let changed = Arc::make_mut(node);
                changed.remove(binding);
                let bare = changed.is_bare();
                if let Some(bucket) = changed.take_only_leaf() {
                    *self = Child::Leaf(bucket);
                }
                bare
            }
        }
    }
}

impl Node {
    /// Takes in what was a leaf at this place.
    fn put_bucket(&mut self, bucket: Bucket) {
        let Some(key) = bucket.routing_key().cloned() else {
            return;
        };
        match split(self.rest_of(&key)) {
            None => self.bucket = bucket,
            Some((word, _)) => self.put_child(word, Child::Leaf(bucket)),
        }
    }

    /// Takes out all that is here, if it is what a leaf can hold.
    fn take_only_leaf(&mut self) -> Option<Bucket> {
        if !self.is_one_leaf() {
            return None;
        }
        if !self.bucket.is_empty() {
            return Some(std::mem::take(&mut self.bucket));
        }
        self.leaves().next().cloned()
    }
}

/// All words of a key: no bytes are no words.
fn whole(key: &[u8]) -> Option<&[u8]> {
    Some(key).filter(|key| !key.is_empty())
}

/// What a key has behind the word that ends before byte `end`; `None` if that was the last.
fn behind(key: &[u8], end: usize) -> Option<&[u8]> {
    key.get(end + 1..)
}

/// The first word, and the words behind it. A dot always parts two, of which either may be empty.
fn split(rest: Option<&[u8]>) -> Option<(&[u8], Option<&[u8]>)> {
    let rest = rest?;
    let end = rest.iter().position(|byte| *byte == b'.').unwrap_or(rest.len());
    Some((&rest[..end], behind(rest, end)))
}

fn words(rest: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    let mut rest = rest;
    std::iter::from_fn(move || {
        let (word, behind) = split(rest)?;
        rest = behind;
        Some(word)
    })
}

/// Whether the words of a routing key are those of a pattern without `#`.
fn fit(pattern: Option<&[u8]>, key: Option<&[u8]>) -> bool {
    let mut key = words(key);
    words(pattern).all(|wanted| key.next().is_some_and(|word| wanted == b"*" || wanted == word))
        && key.next().is_none()
}

/// The nodes that are possible before the next word, each once, and what was found on the way.
struct Places<'a, 'f> {
    /// Those that only this word decides about. Each is led to by one node, so it is here once.
    passing: Vec<&'a Node>,
    /// Ends of `#`: once possible they stay so, whatever word comes.
    staying: Vec<&'a Node>,
    /// The same as `staying`, once there are more than [`FEW`].
    known: HashSet<*const Node, Keyed>,
    /// A leaf is led to by one node, and fits keys of one length only: it is found once.
    found: &'f mut Vec<&'a Bucket>,
}

/// So many are found faster by looking at each.
const FEW: usize = 8;

impl<'a, 'f> Places<'a, 'f> {
    fn new(found: &'f mut Vec<&'a Bucket>) -> Self {
        Self {
            passing: Vec::new(),
            staying: Vec::new(),
            known: HashSet::default(),
            found,
        }
    }

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

    /// Goes on to what is possible after `word`, with `behind` still to come; says how many places that meant to look at.
    fn step(&mut self, word: &[u8], behind: Option<&[u8]>) -> usize {
        let (passing, staying) = (self.passing.len(), self.staying.len());
        for at in 0..passing {
            self.follow(self.passing[at], word, behind);
        }
        for at in 0..staying {
            self.follow(self.staying[at], word, behind);
        }
        self.passing.drain(..passing);
        passing + staying
    }

    fn follow(&mut self, place: &'a Node, word: &[u8], behind: Option<&[u8]>) {
        let way = usize::from(place.way);
        if let Some(child) = place.words.get(word) {
            self.take(child, way + word.len(), behind);
        }
        if let Some(child) = &place.star {
            self.take(child, way + 1, behind);
        }
    }

    /// Goes on at a child whose word ends at byte `end` of the keys that lead there.
    fn take(&mut self, child: &'a Child, end: usize, rest: Option<&[u8]>) {
        match child {
            Child::Node(node) => self.enter(node),
            Child::Leaf(bucket) => {
                let key = bucket.routing_key();
                if key.is_some_and(|key| fit(behind(key, end), rest)) {
                    self.found.push(bucket);
                }
            }
        }
    }

    fn are_none(&self) -> bool {
        self.passing.is_empty() && self.staying.is_empty()
    }

    /// The key ends: what ends here with it is found.
    fn end(self) {
        let places = self.passing.into_iter().chain(self.staying);
        let buckets = places.map(|place| &place.bucket);
        self.found.extend(buckets.filter(|bucket| !bucket.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::bucket::tests::bound;

    fn matches(binding_key: &str, routing_key: &str) -> bool {
        let mut topic = Topic::default();
        let binding = bound(binding_key, 1);
        topic.add(binding.clone());
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
    fn a_key_alone_is_one_leaf_until_another_shares_its_way() {
        let shape = |keys: &[&str]| {
            let mut topic = Topic::default();
            for (number, key) in (1..).zip(keys) {
                topic.add(bound(key, number));
            }
            let mut pending = vec![topic.root.as_ref()];
            let (mut nodes, mut leaves) = (0, 0);
            while let Some(node) = pending.pop() {
                nodes += 1;
                leaves += node.leaves().count();
                pending.extend(node.nodes());
            }
            (nodes, leaves)
        };
        assert_eq!(shape(&["a.b.c.*.d"]), (1, 1));
        assert_eq!(shape(&["a.b.c", "a.b.c"]), (1, 1));
        assert_eq!(shape(&["a.b.c", "a.b.d"]), (3, 2));
        assert_eq!(shape(&["a.b.c", "a.b"]), (3, 1));
        assert_eq!(shape(&["a.b.#"]), (4, 0));
        assert_eq!(shape(&["#.a.b"]), (2, 1));
    }

    /// The definition, word by word.
    fn defined(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((&b"#", behind)) => (0..=key.len()).any(|some| defined(behind, &key[some..])),
            Some((word, behind)) => key
                .split_first()
                .is_some_and(|(first, rest)| (*word == b"*" || word == first) && defined(behind, rest)),
        }
    }

    #[test]
    fn whatever_comes_and_goes_it_finds_what_the_definition_says() {
        let mut random = 7_u64;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        let mut key = |alphabet: &[&str]| {
            let words = draw(5);
            let words = (0..words).map(|_| alphabet[draw(alphabet.len() as u64) as usize]);
            words.collect::<Vec<_>>().join(".")
        };
        let (mut topic, mut there) = (Topic::default(), Vec::<Arc<Bound>>::new());
        for number in 0..3000_u64 {
            let binding = bound(&key(&["a", "b", "", "*", "#"]), number % 3);
            match there.iter().position(|known| *known == binding) {
                Some(at) => topic.remove(&there.swap_remove(at)),
                None => {
                    topic.add(binding.clone());
                    there.push(binding);
                }
            }
            assert!(topic.is_pruned(), "after {number} steps");
            let routing_key = key(&["a", "b", "", "c"]);
            let mut found = Vec::new();
            topic.find(routing_key.as_bytes(), &mut found);
            let mut found: Vec<_> = found.iter().flat_map(|bucket| bucket.bindings()).collect();
            found.sort();
            let mut expected: Vec<_> = there
                .iter()
                .filter(|binding| {
                    let pattern: Vec<_> = words(whole(&binding.routing_key)).collect();
                    let key: Vec<_> = words(whole(routing_key.as_bytes())).collect();
                    defined(&pattern, &key)
                })
                .collect();
            expected.sort();
            assert_eq!(found, expected, "{routing_key:?} after {number} steps");
        }
        assert!(there.len() > 50, "bindings come and go");
    }

    #[test]
    fn many_hashes_do_not_explode() {
        let mut topic = Topic::default();
        topic.add(bound(&("#.a.".repeat(60) + "#"), 1));
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
            topic.add(bound(&key[..key.len().min(255)], number as u64));
            let key = format!("{}{number}", "#.".repeat(60));
            topic.add(bound(&key, number as u64));
            let key = format!("{}{number}", "#..#.".repeat(45));
            topic.add(bound(&key, number as u64));
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
        topic.add(bound(&key, 1));
        topic.walk(&[b'.'; 100], &mut Vec::new())
    }

    #[test]
    fn a_snapshot_keeps_the_trie_it_saw() {
        let mut topic = Topic::default();
        topic.add(bound("a.b", 1));
        let snapshot = topic.clone();
        topic.add(bound("a.*", 2));
        topic.remove(&bound("a.b", 1));
        let count = |topic: &Topic| {
            let mut found = Vec::new();
            topic.find(b"a.b", &mut found);
            found
                .iter()
                .map(|bucket| bucket.bindings().count())
                .sum::<usize>()
        };
        assert_eq!((count(&snapshot), count(&topic)), (1, 1));
        assert_eq!(snapshot.buckets().count(), 1);
    }
}
