//! docs/configuration.md has the keys and defaults of the code, and whatever the manual writes in RON can be read.

use std::collections::BTreeSet;

use super::*;

const REFERENCE: &str = include_str!("../../../docs/configuration.md");
const COMMANDS: &str = include_str!("../../../docs/commands.md");
const EXAMPLE: &str = include_str!("../../../config.ron.example");

/// Key and default of each row of the reference.
fn reference() -> Vec<(&'static str, &'static str)> {
    let mut rows = Vec::new();
    let mut is_key = false;
    for line in REFERENCE.lines() {
        match line {
            "| key | type | default | meaning |" => is_key = true,
            line if !line.starts_with('|') => is_key = false,
            line if is_key && !line.starts_with("| --- ") => {
                let cells: Vec<&str> = line.split(" | ").collect();
                rows.push((cells[0].trim_start_matches('|').trim().trim_matches('`'), cells[cells.len() - 2]));
            }
            _ => {}
        }
    }
    rows
}

/// What stands in backticks, if the whole cell does.
fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

#[test]
fn the_reference_has_exactly_the_keys_of_the_code() {
    let of_reference: BTreeSet<&str> = reference().into_iter().map(|(key, _)| key).collect();
    let of_code: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
    let unknown: Vec<_> = of_reference.difference(&of_code).collect();
    let missing: Vec<_> = of_code.difference(&of_reference).collect();
    assert!(missing.is_empty(), "docs/configuration.md lacks {missing:?}");
    assert!(
        unknown.is_empty(),
        "docs/configuration.md has {unknown:?}, which KEYS in src/config/keys.rs has not: is their code not here yet?"
    );
    assert_eq!(reference().len(), of_reference.len(), "a key is there twice");
}

#[test]
fn the_defaults_of_the_reference_are_those_of_the_code() {
    let machine = Machine::new();
    let without = format!("{:?}", machine.load_with("").unwrap());
    for (key, cell) in reference().into_iter().filter(|(key, _)| Key::named(key).is_some()) {
        let required = Key::named(key).is_some_and(Key::is_required);
        assert_eq!(cell == "required", required, "{key}: {cell}");
        match code(cell) {
            _ if required => {}
            _ if key == "rsync" => assert_eq!(code(cell), Some(format!("\"{DEFAULT_RSYNC}\"").as_str())),
            Some(default) if Key::named(default).is_some() => {}
            Some(default) => {
                let with = machine.load_with(&format!("{key}: {default},"));
                let with = with.unwrap_or_else(|error| panic!("{key}: the default {default} is refused: {error}"));
                assert_eq!(format!("{with:?}"), without, "{key}: {default} is not the default");
            }
            None => assert!(["none", "see [below](#directories-of-its-own)"].contains(&cell), "{key}: {cell}"),
        }
    }
}

#[test]
fn the_example_names_the_keys_and_defaults_of_the_reference() {
    let of_reference = reference();
    // A comment, and the key below it, which may be a comment too.
    let mut said = String::new();
    for line in EXAMPLE.lines().map(str::trim_start).skip_while(|line| *line != "(").skip(1) {
        let text = line.trim_start_matches("// ");
        let key = text.split_once(": ").map_or("", |(key, _)| key);
        match of_reference.iter().find(|(known, _)| *known == key) {
            Some((key, cell)) => {
                if let Some(default) = code(cell).filter(|default| !default.starts_with(['"', '['])) {
                    let agrees = key == &"staging" || said.contains(&format!("Default: {default}."));
                    assert!(agrees, "config.ron.example does not say of {key}: Default: {default}.\n{said}");
                }
            }
            None if line.is_empty() => said.clear(),
            None => said += &format!("{text} "),
        }
    }
    for (key, _) in of_reference {
        let named = |line: &str| line.trim_start().trim_start_matches("// ").starts_with(&format!("{key}: "));
        assert!(EXAMPLE.lines().any(named), "config.ron.example lacks {key}, which docs/configuration.md has");
    }
}

#[test]
fn what_a_reload_does_is_said_of_every_key() {
    let table = COMMANDS.split_once("| what changed | what happens |").unwrap().1.split_once("\n\n").unwrap().0;
    let first_cells: String = table.lines().filter_map(|row| row.split(" | ").next()).collect();
    for key in KEYS.iter().map(|key| key.name) {
        assert!(first_cells.contains(&format!("`{key}`")), "the table of a reload in docs/commands.md lacks {key}");
    }
}

/// The blocks of RON in a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("\n```ron\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

#[test]
fn every_ron_block_of_the_manual_is_a_configuration_or_a_part_of_one() {
    let machine = Machine::new();
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(top.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<PathBuf> = docs.filter(|path| path.is_file()).chain([top.join("README.md")]).collect();
    let mut count = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for block in blocks(&text) {
            count += 1;
            // The machine of the manual has these; this one has others.
            let mut here = String::new();
            for (at, part) in block.split('"').enumerate() {
                let is_text = at % 2 == 1;
                here += match part {
                    _ if is_text && here.ends_with("wpath: \"") => "DIR/src",
                    _ if is_text && here.ends_with("exclude_from: \"") => "DIR/file",
                    part if is_text && part.starts_with("/usr/local/") => "DIR/rsync",
                    part => part,
                };
                here.push('"');
            }
            here.pop();
            let result = match here.trim_start().strip_prefix('(') {
                Some(rest) => machine.load(&format!("( rsync: \"DIR/rsync\", {rest}")),
                None => machine.load_with(&here),
            };
            assert!(result.is_ok(), "{}:\n{block}\n{}", page.display(), result.unwrap_err());
        }
    }
    assert!(count > 5, "{count}");
}
