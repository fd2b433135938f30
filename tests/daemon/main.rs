//! inosync as a user runs it: the binary, against real rsync, a real sshd and a real rsync daemon.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod alerts;
mod aside;
mod at_rest;
mod causes;
mod check;
mod command_line;
mod confined;
mod deploys;
mod dir_moves;
mod ears;
mod excludes;
mod failures;
mod files;
mod forced_command;
mod guards;
mod hangs;
mod harness;
mod hooks;
mod incomplete;
mod lanes;
mod limits;
mod line;
mod links;
mod listen;
mod log;
mod moves;
mod moves_cost;
mod names;
mod names_alike;
mod nodes;
mod progress;
mod races;
mod random;
mod relays;
mod reload;
mod removals;
mod renames;
mod service;
mod settle;
mod snapshots;
mod standby;
mod standby_trouble;
mod start;
mod state;
mod status;
mod stop;
#[allow(dead_code, reason = "the convergence tests use the rest of it")]
mod support;
mod trouble;
mod unlike;
mod unmirrored;
mod unseen;
mod unwritable;
mod verify;
