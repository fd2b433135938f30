use super::*;
use crate::service::listen::tests::status;

/// The names of all metrics.
fn names() -> Vec<&'static str> {
    OF_DAEMON.iter().map(|metric| metric.name).chain(OF_NODE.iter().map(|metric| metric.name)).collect()
}

#[test]
fn the_text_is_that_of_prometheus() {
    let (text, golden) = (text(&status()).unwrap(), include_str!("golden.txt"));
    assert!(text == golden, "if this is what it should be, it goes into golden.txt:\n{text}");
}

#[test]
fn names_are_told_once_and_counters_end_in_total() {
    let mut all = names();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), names().len());
    let text = text(&status()).unwrap();
    for name in names() {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
    }
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_nothing_else() {
    let dashboard = include_str!("../../../../packaging/grafana-inosync.json");
    serde_json::from_str::<serde_json::Value>(dashboard).unwrap();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for text in [dashboard, include_str!("../../../../packaging/prometheus/inosync.rules.yml")] {
        let words = text.split(|c| !is_word(c)).filter(|word| word.starts_with("inosync_"));
        let unknown: Vec<&str> = words.filter(|word| !names().contains(word)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    let states = NodeState::WORDS.iter().filter(|word| !dashboard.contains(&format!("state=\\\"{word}\\\"")));
    assert_eq!(states.collect::<Vec<_>>(), [&"starting"], "the timeline counts from there");
    assert!(names().iter().filter(|name| dashboard.contains(**name)).count() > 10);
}
