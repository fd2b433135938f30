//! Whatever is done to the tree and whatever goes wrong meanwhile: at rest, every mirror equals the source.
//!
//! `make test` plays short scripts, always the same. The environment makes them long, other ones, or replays one; how is
//! in docs/development.md.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod burst;
mod campaign;
mod crashes;
mod faults;
mod generate;
mod ground;
mod kept;
mod mounts;
mod operation;
mod play;
mod relay;
mod script;
mod settings;
mod shrink;

#[path = "../daemon"]
mod daemon {
    #[expect(dead_code, unused_imports, reason = "the tests of the daemon use the rest of it")]
    pub mod support;
}

use daemon::support;
