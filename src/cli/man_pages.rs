//! The manual pages in `packaging/man` against the code.

use std::process::Command;

use crate::cli::{Command as CommandLine, parse_from};
use crate::config::KEYS;

const COMMAND: &str = include_str!("../../packaging/man/inosync.1");
const FILE: &str = include_str!("../../packaging/man/inosync.ron.5");

fn help() -> String {
    parse_from(["inosync", "--help"]).unwrap_err().message
}

/// The entries that a page has for a tag, such as an option: they are on a line of their own behind `.TP`.
fn has_entry(page: &str, tag: &str) -> bool {
    let mut lines = page.lines().zip(page.lines().skip(1));
    let words = |line: &str| line.replace('\\', "").split([' ', ',', '"', ':']).any(|word| word == tag);
    lines.any(|(before, line)| before == ".TP" && line.starts_with(".B") && words(line))
}

#[test]
fn every_command_and_every_option_is_in_the_manual() {
    let helps = CommandLine::NAMES.map(|name| parse_from(["inosync", name, "--help"]).unwrap_err().message);
    let words = helps.iter().flat_map(|help| help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-'));
    let options: Vec<&str> = words.filter(|word| word.starts_with("--") && word.len() > 2).collect();
    assert!(options.len() > 5, "{options:?}");
    for tag in options.into_iter().chain(CommandLine::NAMES) {
        assert!(has_entry(COMMAND, tag), "inosync.1 lacks {tag}");
    }
}

#[test]
fn every_exit_code_is_in_the_manual() {
    let help = help();
    let codes = help.lines().skip_while(|line| *line != "EXIT CODES:").skip(1).take_while(|line| !line.is_empty());
    let codes: Vec<&str> =
        codes.filter_map(|line| line.split_whitespace().next()).filter(|word| word.parse::<u8>().is_ok()).collect();
    assert!(codes.len() > 5 && codes.contains(&"64"), "{help}");
    for code in codes {
        assert!(has_entry(COMMAND, code), "inosync.1 lacks exit code {code}");
    }
}

#[test]
fn every_key_is_in_the_manual() {
    for key in KEYS.iter().map(|key| key.name) {
        assert!(has_entry(FILE, key), "inosync.ron.5 lacks {key}");
    }
}

#[test]
fn the_pages_are_of_this_version() {
    let version = format!("\"inosync {}\"", env!("CARGO_PKG_VERSION"));
    for page in [COMMAND, FILE] {
        assert!(page.lines().next().unwrap().contains(&version), "{version}");
    }
}

#[test]
fn the_pages_are_sound_for_man() {
    for page in ["inosync.1", "inosync.ron.5"] {
        let path = format!("{}/packaging/man/{page}", env!("CARGO_MANIFEST_DIR"));
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(path)
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "80");
        match man.output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && said.is_empty(), "{page}: {said}");
            }
            Err(_) => println!("not tested: man(1) is not there"),
        }
    }
}
