//! The rooms of the library stand on floors: a room knows only rooms on floors below its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms (the files and folders directly below `src/`), the lowest floor first.
const FLOORS: [&[&str]; 11] = [
    &["backoff", "bytes", "children", "ending", "errno", "order", "path", "timer"],
    &["change", "mounts", "node", "patterns", "watch_error"],
    &["root"],
    &["site"],
    &["transport"],
    &["health", "outbox", "reload"],
    &["status"],
    &["messages"],
    &["filter", "hook", "rsync", "state", "sync", "watcher"],
    &["supervisor"],
    &["daemon"],
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The room that a file is in; `None` for the root of the library and what only its tests use.
fn room(file: &Path) -> Option<String> {
    let first = file.strip_prefix(src()).unwrap().iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
    (!matches!(first, "lib" | "proptests")).then(|| first.to_owned())
}

/// The code without comments and without tests, which may look up.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn is_test(file: &Path) -> bool {
    file.iter().any(|part| matches!(part.to_str(), Some("tests" | "tests.rs" | "fuzz" | "fuzz.rs")))
}

/// The rooms that code names: `crate::room::...`.
fn named(code: &str) -> Vec<&str> {
    let starts = code.match_indices("crate::").map(|(at, found)| &code[at + found.len()..]);
    starts.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()).collect()
}

#[test]
fn a_room_knows_only_rooms_on_lower_floors() {
    let mut faults = Vec::new();
    for file in files_below(&src()).into_iter().filter(|file| !is_test(file)) {
        let Some(room) = room(&file) else { continue };
        let Some(own) = floor(&room) else {
            faults.push(format!("`{room}` has no floor: give it one in this test"));
            continue;
        };
        let code = code(&file);
        for other in named(&code).into_iter().filter(|other| **other != room) {
            if floor(other).is_none_or(|other| other >= own) {
                faults.push(format!(
                    "{}: `{room}` names `{other}`, but may know only: {}",
                    file.strip_prefix(src()).unwrap().display(),
                    FLOORS[..own].concat().join(", ")
                ));
            }
        }
    }
    faults.sort();
    faults.dedup();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_floor_has_only_rooms_that_exist() {
    for room in FLOORS.concat() {
        assert!(src().join(format!("{room}.rs")).is_file(), "there is no room `{room}`");
    }
}
