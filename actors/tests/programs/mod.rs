//! Programs that a test makes and runs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes a program of this text, or another one of it. A process of its own writes it: what is open for writing cannot be run
/// (ETXTBSY in execve(2)), and whatever another test starts at the same time has our descriptors for a moment.
pub fn program(path: &Path, text: &str) {
    let mut install = Command::new("install");
    install.args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped());
    let mut child = install.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{install:?}");
}
