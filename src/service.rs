//! The daemon as a service: its process, its signals, and the places where others reach it.

pub mod all_sites;
pub mod allocator;
pub mod config_warnings;
pub mod control;
pub mod listen;
pub mod notify;
mod process_use;
pub mod program;
pub mod run;
pub mod signals;
pub mod status_log;
mod terminal;
