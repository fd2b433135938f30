//! The alerts for Prometheus, by promtool.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// promtool, with these arguments, where it can be run.
pub fn promtool(args: &[&str]) -> Option<Command> {
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/promtool");
    let is_there = |program: &&str| Command::new(program).arg("--version").output().is_ok();
    let Some(program) = [unpacked, "promtool"].into_iter().find(is_there) else {
        println!("not tested: promtool (of Debian's package prometheus) is not there");
        return None;
    };
    let mut command = Command::new(program);
    command.args(args);
    Some(command)
}

fn read(name: &str) -> String {
    fs::read_to_string(dir().join(name)).unwrap()
}

fn dir() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/prometheus"))
}

#[test]
fn promtool_finds_that_the_alerts_are_right_and_fire_when_they_should() {
    for args in [["check", "rules", "inosync.rules.yml"], ["test", "rules", "inosync.rules.test.yml"]] {
        let Some(mut promtool) = promtool(&args) else { return };
        let output = promtool.current_dir(dir()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
}

#[test]
fn every_alert_fires_in_a_test_and_is_in_the_manual() {
    let values = |text: &str, key: &str| -> BTreeSet<String> {
        text.lines().filter_map(|line| line.trim_start().strip_prefix(key)).map(|name| name.trim().to_owned()).collect()
    };
    let rules = values(&read("inosync.rules.yml"), "- alert:");
    assert!(rules.len() > 9, "{rules:?}");
    let tests = read("inosync.rules.test.yml");
    let fired: BTreeSet<String> = tests
        .split("- eval_time:")
        .filter(|test| test.contains("exp_alerts:"))
        .flat_map(|test| values(test, "alertname:"))
        .collect();
    assert_eq!(fired, rules);
    let manual = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md")).unwrap();
    let missing: Vec<_> = rules.iter().filter(|rule| !manual.contains(&format!("| `{rule}` |"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
