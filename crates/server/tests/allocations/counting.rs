//! An allocator that counts what the broker's threads allocate while it is told to, and remembers where the first of it was if asked to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// So many places are remembered of each stretch.
const PLACES_MAX: usize = 400;
/// Frames of a place that are shown: ours, the innermost first.
const FRAMES_SHOWN: usize = 6;

/// Counts, and passes everything on to the system's allocator.
pub(crate) struct Counting;

/// What was allocated in a stretch.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
    /// How often which chain of calls was seen, the most frequent first.
    pub(crate) places: Vec<(u64, String)>,
}

static ON: AtomicBool = AtomicBool::new(false);
static REMEMBERING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static PLACES: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

thread_local! {
    /// The client's thread is not the broker; nor is looking at the stack.
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
}

/// Whatever this thread allocates from now on is not the broker's.
pub(crate) fn exempt_this_thread() {
    EXEMPT.set(true);
}

/// From now on places are remembered, which takes seconds.
pub(crate) fn remember_places() {
    REMEMBERING.store(true, Relaxed);
}

/// Counts what other threads allocate while `work` runs.
pub(crate) fn count(work: impl FnOnce()) -> Counted {
    let counts = || (ALLOCATIONS.load(Relaxed), BYTES.load(Relaxed));
    let before = counts();
    ON.store(true, Relaxed);
    work();
    ON.store(false, Relaxed);
    let after = counts();
    Counted {
        allocations: after.0 - before.0,
        bytes: after.1 - before.1,
        places: places(),
    }
}

fn places() -> Vec<(u64, String)> {
    let seen = std::mem::take(&mut *PLACES.lock().expect("nobody panics with it"));
    let mut places: BTreeMap<String, u64> = BTreeMap::new();
    for backtrace in seen {
        *places.entry(ours(&backtrace.to_string())).or_default() += 1;
    }
    let mut places: Vec<_> = places.into_iter().map(|(place, times)| (times, place)).collect();
    places.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
    places
}

/// The frames of a backtrace that are in our code, or all names if there is none.
fn ours(backtrace: &str) -> String {
    let lines: Vec<&str> = backtrace.lines().map(str::trim).collect();
    let named = lines.iter().zip(lines.iter().skip(1));
    let frames = named.filter(|(name, place)| {
        name.contains("everack_") && place.starts_with("at ") && !name.contains("allocations")
    });
    let shown = frames.map(|(name, place)| {
        let name = name.split_once(": ").map_or(*name, |(_, name)| name);
        format!("{name} ({})", place.trim_start_matches("at "))
    });
    let shown: Vec<String> = shown.take(FRAMES_SHOWN).collect();
    if shown.is_empty() {
        lines.join(" ")
    } else {
        shown.join("\n      ")
    }
}

fn counted(bytes: usize) {
    if !ON.load(Relaxed) || EXEMPT.try_with(Cell::get).unwrap_or(true) {
        return;
    }
    ALLOCATIONS.fetch_add(1, Relaxed);
    BYTES.fetch_add(bytes as u64, Relaxed);
    if !REMEMBERING.load(Relaxed) {
        return;
    }
    // Looking at the stack allocates, on this very thread.
    EXEMPT.set(true);
    if let Ok(mut places) = PLACES.lock()
        && places.len() < PLACES_MAX
    {
        places.push(Backtrace::force_capture());
    }
    EXEMPT.set(false);
}

// SAFETY: everything is passed on to the system's allocator unchanged; the count has no part in it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        counted(layout.size());
        // SAFETY: the caller's promises hold for the system's allocator as well.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        counted(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        counted(bytes);
        // SAFETY: the pointer came from here, hence from the system's allocator.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
