//! Where a piece of synchronous code lets others get on: at each look at a machine, at each call to the disk.
//!
//! In a process the upkeep runs beside everything else. Here there is one thread, so the upkeep calls [`others`] wherever another
//! thread could come in between, and whoever plays the world decides who does. Nothing happens where nobody plays.

use std::cell::RefCell;
use std::rc::Rc;

/// What lets others get on for so many simulated microseconds; 0 is a moment in which something may happen or not.
pub type Others = Rc<dyn Fn(u64)>;

thread_local! {
    static OTHERS: RefCell<Option<Others>> = const { RefCell::new(None) };
}

/// Lets others get on for so many simulated microseconds.
pub fn others(micros: u64) {
    let playing = OTHERS.with_borrow(Clone::clone);
    if let Some(playing) = playing {
        playing(micros);
    }
}

/// Whether somebody plays on this thread.
pub fn is_set() -> bool {
    OTHERS.with_borrow(Option::is_some)
}

/// As long as it lives, [`others`] reaches the one who plays on this thread.
#[must_use]
pub struct Stage(());

impl Stage {
    /// Sets the stage.
    ///
    /// # Panics
    /// When somebody plays on this thread already.
    pub fn set(play: Others) -> Self {
        OTHERS.with_borrow_mut(|others| {
            assert!(others.is_none(), "one history at a time on a thread");
            *others = Some(play);
        });
        Self(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        OTHERS.with_borrow_mut(|others| *others = None);
    }
}
