//! Routing on a snapshot of the catalog.
