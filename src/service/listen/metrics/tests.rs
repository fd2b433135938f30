use super::*;
use crate::service::listen::tests::status;

/// The names of all metrics, each with its kind.
fn kinds() -> Vec<(&'static str, &'static str)> {
    fn of<T>(rows: &[MetricRow<T>]) -> impl Iterator<Item = (&'static str, &'static str)> {
        rows.iter().map(|row| match row.read {
            Read::Counter(_) => (row.name, "counter"),
            Read::Gauge(_) | Read::Labelled(..) => (row.name, "gauge"),
            Read::Histogram(_) => (row.name, "histogram"),
        })
    }
    of(OF_SITE).chain(of(OF_DAEMON)).chain(of(OF_PROCESS)).chain(of(OF_NODE)).collect()
}

fn names() -> Vec<&'static str> {
    kinds().into_iter().map(|(name, _)| name).collect()
}

/// All names that samples have.
fn sample_names() -> Vec<String> {
    let of = |(name, kind): (&str, &str)| match kind {
        "histogram" => ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).into(),
        _ => vec![name.to_owned()],
    };
    kinds().into_iter().flat_map(of).collect()
}

/// Three sites, of which two run.
fn sites() -> Vec<SiteStatus> {
    let running =
        |site: &str| SiteStatus { site: site.to_owned(), answer: SiteAnswer::Running { status: Box::new(status()) } };
    let silent = SiteStatus { site: "c".to_owned(), answer: SiteAnswer::NoAnswer { why: "stopped".to_owned() } };
    vec![running("a"), running("b\"1"), silent]
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
    let text = text_of_sites(&sites()).unwrap();
    for (name, kind) in kinds() {
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        assert_eq!(text.matches(&format!("# TYPE {name} {kind}\n")).count(), 1, "{name}");
    }
}

#[test]
fn the_samples_of_all_sites_stand_together_under_one_head_each_with_its_site() {
    let text = text_of_sites(&sites()).unwrap();
    let mut heads = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()) {
            heads.push(name.to_owned());
        } else if !line.starts_with('#') {
            let family = heads.last().unwrap();
            assert!(line.starts_with(family.as_str()), "{line} stands below {family}");
            assert!(
                ["\"a\"", "\"b\\\"1\"", "\"c\""].iter().any(|site| line.contains(&format!("site={site}"))),
                "{line}"
            );
        }
    }
    let mut once = heads.clone();
    once.dedup();
    assert!(heads.is_sorted() && once == heads, "{heads:?}");
    for (sample, count) in [
        ("inosync_site_up{site=\"a\"} 1", 1),
        ("inosync_site_up{site=\"c\"} 0", 1),
        ("inosync_lag_seconds{node=\"local\",site=\"a\"} 0", 1),
        ("inosync_delivery_seconds_bucket{node=\"local\",site=\"a\",le=\"0.5\"} 3", 1),
        ("site=\"c\"", 1),
    ] {
        assert_eq!(text.matches(sample).count(), count, "{sample}\n{text}");
    }
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_nothing_else() {
    let dashboard = include_str!("../../../../packaging/grafana-inosync.json");
    let parsed: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let targets = parsed["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let of_all_sites = targets.filter(|target| !target["expr"].as_str().unwrap().contains("site=~\"$site\""));
    assert_eq!(
        of_all_sites.collect::<Vec<_>>(),
        Vec::<&serde_json::Value>::new(),
        "the site that is chosen is not asked for"
    );
    assert!(dashboard.contains("histogram_quantile") && dashboard.contains("\"name\": \"site\""));
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for text in [dashboard, include_str!("../../../../packaging/prometheus/inosync.rules.yml")] {
        let is_name = |word: &&str| word.starts_with("inosync_") || word.starts_with("process_");
        let words = text.split(|c| !is_word(c)).filter(is_name);
        let unknown: Vec<&str> = words.filter(|word| !sample_names().iter().any(|name| name == word)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    let states = NodeState::WORDS.iter().filter(|word| !dashboard.contains(&format!("state=\\\"{word}\\\"")));
    assert_eq!(states.collect::<Vec<_>>(), [&"starting"], "the timeline counts from there");
    assert!(names().iter().filter(|name| dashboard.contains(**name)).count() > 10);
}
