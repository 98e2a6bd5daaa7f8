//! How things look, wherever they stand: the frame of a page, tables, charts, numbers.

pub(crate) mod chart;
pub(crate) mod format;
pub(crate) mod layout;
pub(crate) mod messages;
pub(crate) mod parts;
pub(crate) mod table;
