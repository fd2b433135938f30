//! Runs one rsync after the other at one node.

pub mod confine;
pub(super) mod connection;
pub(super) mod greeting;
pub(super) mod greeting_time;
mod launcher;
mod listener;
pub mod master;
pub(super) mod order;
mod pool;
pub(super) mod process;
mod reading;
pub mod shell;
pub(super) mod speed;
pub(super) mod standby;
