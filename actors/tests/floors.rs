//! The rooms of the library and of the command stand on floors: a room knows only rooms on floors below its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of the library (the files and folders directly below `actors/src/`), the lowest floor first.
const LIBRARY: &[&[&str]] = &[
    &["backoff", "bytes", "children", "ending", "errno", "heartbeat", "path", "read_pace", "timer", "work_order"],
    &["change", "mounts", "node", "patterns", "temp_name", "watch_error"],
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

/// The rooms of the command, below `src/`.
const COMMAND: &[&[&str]] = &[&["exit"], &["logging"], &["config"], &["cli", "service"], &["commands"]];

/// The sources of the library and of the command, with their floors.
fn houses() -> [(PathBuf, &'static [&'static [&'static str]]); 2] {
    let actors = Path::new(env!("CARGO_MANIFEST_DIR"));
    [(actors.join("src"), LIBRARY), (actors.parent().unwrap().join("src"), COMMAND)]
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The room of a file, whose path is relative to the sources; `None` for the root and for what only tests use.
fn room(file: &Path) -> Option<&str> {
    let first = file.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
    (!matches!(first, "lib" | "main" | "proptests")).then_some(first)
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
    for (src, floors) in houses() {
        let floor = |room: &str| floors.iter().position(|floor| floor.contains(&room));
        for path in files_below(&src).into_iter().filter(|file| !is_test(file)) {
            let file = path.strip_prefix(&src).unwrap();
            let Some(room) = room(file) else { continue };
            let Some(own) = floor(room) else {
                faults.push(format!("`{room}` has no floor: give it one in this test"));
                continue;
            };
            let code = code(&path);
            for other in named(&code).into_iter().filter(|other| *other != room) {
                if floor(other).is_none_or(|other| other >= own) {
                    let known = floors[..own].concat().join(", ");
                    faults.push(format!("{}: `{room}` names `{other}`, but may know only: {known}", file.display()));
                }
            }
        }
    }
    faults.sort();
    faults.dedup();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_floor_has_only_rooms_that_exist() {
    for (src, floors) in houses() {
        for room in floors.concat() {
            assert!(src.join(format!("{room}.rs")).is_file(), "there is no room `{room}`");
        }
    }
}

/// The name of the type that a line defines, if it defines one for the whole file.
fn defined(line: &str) -> Option<&str> {
    let visible = line.strip_prefix("pub").map(|rest| rest.split_once(' ').map_or("", |(_, rest)| rest));
    let (kind, rest) = visible.unwrap_or(line).split_once(' ')?;
    matches!(kind, "struct" | "enum" | "trait" | "type")
        .then(|| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

#[test]
fn each_name_of_a_type_means_one_thing_in_the_library_and_the_command() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (src, _) in houses() {
        for path in files_below(&src).into_iter().filter(|file| !is_test(file)) {
            for name in code(&path).lines().filter_map(defined) {
                places.entry(name.to_owned()).or_default().push(path.display().to_string());
            }
        }
    }
    assert!(places.contains_key("Site"), "no definition was found");
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "one name for several types: give each its own: {places:#?}");
}

/// Calls that look at a disk, and wait for ever where that does not answer.
const LOOKS: [&str; 6] =
    ["read_dir(", "symlink_metadata(", "fs::metadata(", "read_link(", "File::open(", "canonicalize("];
/// The functions of a file, each from its name on.
fn functions(code: &str) -> impl Iterator<Item = &str> {
    code.split("fn ").skip(1)
}

#[test]
fn what_lies_in_the_source_is_looked_at_where_that_may_be_given_up() {
    let mut faults = Vec::new();
    let [(src, _), _] = houses();
    for path in files_below(&src).into_iter().filter(|file| !is_test(file)) {
        let file = path.strip_prefix(&src).unwrap();
        if room(file) == Some("root") {
            continue;
        }
        for function in functions(&code(&path)).filter(|function| function.contains(".under(")) {
            if let Some(look) = LOOKS.iter().find(|look| function.contains(**look)) {
                let name = function.split(['(', '<']).next().unwrap_or_default();
                faults.push(format!("{}: `{name}` uses `{look}`: a method of `Reach` may be given up", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let seen = functions("fn a() { x.under(root) }\nfn b() { read_dir(y) }").filter(|one| one.contains(".under("));
    assert_eq!(seen.count(), 1);
}
