//! The console against an API that is made up: what it renders, and what it refuses. Nothing listens; requests are answered in process.

mod log_in;
mod pages;
mod scene;
mod security;
mod story;
