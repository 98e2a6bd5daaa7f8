//! An allocator that counts what this thread allocates while it is told to, and remembers where that was if asked to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// Frames of a place that are shown: ours, the innermost first.
const FRAMES_SHOWN: usize = 6;

/// Counts, and passes everything on to the system's allocator.
pub(crate) struct Counting;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// By the chain of calls; none while nobody asks for them.
    static PLACES: RefCell<Option<BTreeMap<String, u64>>> = const { RefCell::new(None) };
}

/// Does `work` and counts what it allocates, a grown piece of memory as a new one.
pub(crate) fn count(work: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    switched(true, work);
    COUNT.get() - before
}

/// Does `work` uncounted, within what is counted.
pub(crate) fn pause<T>(work: impl FnOnce() -> T) -> T {
    switched(false, work)
}

/// Does `work` and tells the chains of calls in which something is allocated meanwhile, each with how often, the most frequent first.
pub(crate) fn places(work: impl FnOnce()) -> Vec<(u64, String)> {
    PLACES.set(Some(BTreeMap::new()));
    count(work);
    let places = PLACES.take().unwrap_or_default();
    let mut places: Vec<_> = places.into_iter().map(|(place, times)| (times, place)).collect();
    places.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
    places
}

fn switched<T>(on: bool, work: impl FnOnce() -> T) -> T {
    let before = ON.replace(on);
    let done = work();
    ON.set(before);
    done
}

fn counted() {
    // A thread that ends frees its locals, and counts nothing any more.
    if !ON.try_with(Cell::get).unwrap_or(false) {
        return;
    }
    COUNT.set(COUNT.get() + 1);
    // Looking at the stack allocates, on this very thread.
    pause(|| {
        PLACES.with_borrow_mut(|places| {
            if let Some(places) = places {
                *places
                    .entry(ours(&Backtrace::force_capture().to_string()))
                    .or_default() += 1;
            }
        });
    });
}

/// The frames of a backtrace that are in our code.
fn ours(backtrace: &str) -> String {
    let lines: Vec<&str> = backtrace.lines().map(str::trim).collect();
    let named = lines.iter().zip(lines.iter().skip(1));
    let frames = named.filter(|(name, place)| {
        name.contains("everack_")
            && place.starts_with("at ")
            && !place.contains("/rustc/")
            && !place.contains("/tests/")
    });
    let shown = frames.map(|(name, place)| {
        let name = name.split_once(": ").map_or(*name, |(_, name)| name);
        format!("{name} ({})", place.trim_start_matches("at "))
    });
    let shown: Vec<String> = shown.take(FRAMES_SHOWN).collect();
    shown.join("\n      ")
}

// SAFETY: everything is passed on to the system's allocator unchanged; the count has no part in it. What is not here (memory that is grown,
// or zeroed) goes through `alloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        counted();
        // SAFETY: the caller's promises hold for the system's allocator as well.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, hence from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}
