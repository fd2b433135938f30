//! A node that lacks nothing but paths that fail again and again: its lag is that of the rest.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Local, Site, wait};

/// A file at the node that cannot be replaced, until the end of the test.
pub struct Immutable(PathBuf);

impl Immutable {
    /// `None`, said in the output, where this machine knows no such file.
    pub fn new(file: &Path) -> Option<Immutable> {
        let is_so = chattr("+i", file);
        if !is_so {
            println!("not tested: no file can be made immutable here");
        }
        is_so.then(|| Immutable(file.to_owned()))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        chattr("-i", &self.0);
    }
}

fn chattr(option: &str, file: &Path) -> bool {
    Command::new("chattr").arg(option).arg(file).status().unwrap().success()
}

fn state(status: &Value) -> &str {
    status["state"]["is"].as_str().unwrap_or_default()
}

#[test]
fn a_node_that_lacks_only_what_fails_is_incomplete_and_not_behind() {
    let mut site = Site::on(&[Local]);
    let port = site.listen();
    site.write("stuck", "1");
    site.start_mirrored();
    let Some(immutable) = Immutable::new(&site.mirror(Local).join("stuck")) else { return };
    site.write("stuck", "2");
    let status = site.expect_state(Local, "incomplete");
    assert_eq!((&status["failing_paths"], &status["pending"]), (&1.into(), &1.into()), "{status:#}");
    assert_eq!((&status["lag"], &status["failing_first"][0]), (&Value::Null, &"stuck".into()), "{status:#}");
    assert!(status["failing_oldest"].as_f64() > Some(0.0), "{status:#}");
    site.expect_log_line(&["some paths failed and are tried again", "stuck"]);
    let asked = site.ask(&["status"]);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stdout.contains("node local: incomplete\n  failing paths: 1, oldest: "), "{asked:?}");
    assert_eq!(site.metric(port, "inosync_lag_seconds{node=\"local\"}"), 0.0);
    assert_eq!(site.metric(port, "inosync_failing_paths{node=\"local\"}"), 1.0);
    assert!(site.metric(port, "inosync_failing_paths_oldest_seconds{node=\"local\"}") > 0.0);
    assert_eq!(site.metric(port, "inosync_node_state{node=\"local\",state=\"incomplete\"}"), 1.0);
    let asked = site.ask(&["explain", "stuck"]);
    assert!(asked.stdout.contains("it fails again and again: lacking since"), "{asked:?}");
    // What else changes arrives, and does not wait for it.
    site.write("other", "x");
    site.expect_on_nodes("other", "x");
    site.expect_state(Local, "incomplete");
    drop(immutable);
    site.expect_identical();
    let status = site.expect_state(Local, "idle");
    assert_eq!((&status["failing_paths"], &status["failing_oldest"]), (&0.into(), &Value::Null), "{status:#}");
    assert_eq!(site.ask(&["status"]).code, Some(0));
}

#[test]
fn a_path_that_fails_again_does_not_flap_while_it_is_tried_and_begins_anew_when_it_changes() {
    let mut site = Site::on(&[Local]);
    site.write("stuck", "1");
    site.start_mirrored();
    let Some(_immutable) = Immutable::new(&site.mirror(Local).join("stuck")) else { return };
    site.write("stuck", "2");
    site.expect_state(Local, "incomplete");
    // Its tries come at doubling intervals from 100 ms on.
    let tries = |site: &Site| site.status_of(Local)["last_error"]["at"].as_u64();
    let first = tries(&site);
    let later = wait::until(|| {
        let status = site.status_of(Local);
        assert_eq!((state(&status), &status["lag"]), ("incomplete", &Value::Null), "{status:#}");
        (tries(&site) > first.map(|at| at + 2)).then_some(())
    });
    assert!(later.is_some(), "it is tried no more");
    let oldest = site.status_of(Local)["failing_oldest"].as_f64().unwrap();
    site.write("stuck", "3");
    let status = site.expect_status(Local, "incomplete again", |status| {
        // What it may be on its way for is its last change alone.
        let lag = status["lag"].as_f64();
        assert!(lag.is_none_or(|lag| lag < oldest), "{status:#}");
        state(status) == "incomplete"
    });
    assert!(status["failing_oldest"].as_f64() >= Some(oldest), "it lacks the first change still: {status:#}");
}
