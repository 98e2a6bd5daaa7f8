//! A file system for tests that can lose power: it keeps what was written apart from what was synced, and a cut takes
//! what it may. It also runs full, fails, tears, rots, dawdles and lies on demand.
//!
//! [`Mounted`] is the file system; [`Disk`] what is behind it, without the kernel; [`control`] lets another process
//! command it. It knows nothing of the programs that run on it, and imports nothing of ours. What is modelled and what
//! is not: `powerfail/README.md`.

pub mod campaign;
pub mod control;
pub mod disk;
pub mod faults;
pub mod figures;
mod fuse;
pub mod mount;

pub use disk::{Disk, Model, Outcome};
pub use faults::Mode;
pub use figures::Status;
pub use mount::Mounted;
