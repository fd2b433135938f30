//! What is expected of a [`Site`]: of the trees, and of what the log says.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::{Node, Site};
use crate::support::{tree, wait};

impl Site {
    /// Every live node becomes equal to the source.
    #[track_caller]
    pub fn expect_identical(&self) {
        for node in self.live() {
            let differences = |limit| self.differences(node, limit);
            if wait::until(|| differences(1).is_empty().then_some(())).is_none() {
                self.fail(&format!("{node} does not become equal:\n{}", differences(20).join("\n")));
            }
        }
    }

    fn differences(&self, node: Node, limit: usize) -> Vec<String> {
        tree::differences(&self.source(), &self.mirror(node), self.skip, &self.keeps(node), limit)
    }

    /// Every live node equals the source at this moment. `log` is that of a daemon that has ended.
    #[track_caller]
    pub fn assert_identical(&self, log: &str) {
        for node in self.live() {
            let differences = self.differences(node, 20);
            assert!(differences.is_empty(), "{node} differs:\n{}\n{log}", differences.join("\n"));
        }
    }

    /// The daemon, which has just been started, says that it has compared every live node, or the source with the state. That
    /// comes a moment after the trees are equal: what is changed meanwhile may be part of it.
    #[track_caller]
    pub fn expect_compared(&self) {
        for node in self.live() {
            let name = self.shown(node);
            let is_so = |line: &String| {
                line.contains("compared with the state") || line.contains("reconciled") && line.contains(&name)
            };
            if wait::until(|| self.log_lines().iter().any(is_so).then_some(())).is_none() {
                self.fail(&format!("nobody says that {node} was compared"));
            }
        }
    }

    /// Every live node gets this file with this content.
    #[track_caller]
    pub fn expect_on_nodes(&self, path: impl AsRef<Path>, content: &str) {
        self.live().for_each(|node| self.expect_on_node(node, &path, content));
    }

    #[track_caller]
    pub fn expect_on_node(&self, node: Node, path: impl AsRef<Path>, content: &str) {
        let full = self.mirror(node).join(&path);
        if wait::until(|| (fs::read(&full).ok()? == content.as_bytes()).then_some(())).is_none() {
            let found = fs::read(&full).map(|bytes| bytes.escape_ascii().to_string());
            self.fail(&format!("{:?} on {node} does not become {content:?}, it is {found:?}", path.as_ref()));
        }
    }

    /// The directory gets the time on every live node that it has in the source.
    #[track_caller]
    pub fn expect_time_on_nodes(&self, dir: impl AsRef<Path>) {
        let time = |root: &Path| fs::metadata(root.join(&dir)).ok()?.modified().ok();
        let expected = time(&self.source());
        for node in self.live() {
            if wait::until(|| (time(&self.mirror(node)) == expected).then_some(())).is_none() {
                let found = time(&self.mirror(node));
                self.fail(&format!("{:?} on {node} does not get its time {expected:?} but {found:?}", dir.as_ref()));
            }
        }
    }

    /// The path vanishes from every live node.
    #[track_caller]
    pub fn expect_gone(&self, path: impl AsRef<Path>) {
        for node in self.live() {
            let full = self.mirror(node).join(&path);
            if wait::until(|| full.symlink_metadata().is_err().then_some(())).is_none() {
                self.fail(&format!("{:?} stays on {node}", path.as_ref()));
            }
        }
    }

    /// Whatever was changed before this call has been seen and worked off when it returns: a change made now, at the
    /// top of the tree, has arrived, and then its removal, since removals wait a moment. Says nothing of a node that is
    /// failing.
    #[track_caller]
    pub fn settle(&self) {
        let stamp = format!("{:?}", Instant::now());
        self.write("settled", &stamp);
        self.expect_on_nodes("settled", &stamp);
        self.remove("settled");
        self.expect_gone("settled");
    }

    /// At this moment the file is on every live node with this content.
    #[track_caller]
    pub fn assert_on_nodes(&self, path: impl AsRef<Path>, content: &str) {
        for node in self.live() {
            let found = fs::read_to_string(self.mirror(node).join(&path));
            if found.as_ref().ok().map(String::as_str) != Some(content) {
                self.fail(&format!("{:?} on {node} is not {content:?} but {found:?}", path.as_ref()));
            }
        }
    }

    /// At this moment the path is on no live node.
    #[track_caller]
    pub fn assert_absent(&self, path: impl AsRef<Path>) {
        for node in self.live() {
            if self.mirror(node).join(&path).symlink_metadata().is_ok() {
                self.fail(&format!("{:?} is on {node}", path.as_ref()));
            }
        }
    }

    /// A line of the log comes to hold all of these words. Returns the line.
    #[track_caller]
    pub fn expect_log_line(&self, words: &[&str]) -> String {
        let line = || self.log_lines().into_iter().find(|line| words.iter().all(|word| line.contains(word)));
        wait::until(line).unwrap_or_else(|| self.fail(&format!("the log has no line with {words:?}")))
    }

    #[track_caller]
    pub fn expect_log(&self, word: &str) {
        self.expect_log_line(&[word]);
    }

    /// Fails the test, with all that helps to see why.
    #[track_caller]
    pub fn fail(&self, what: &str) -> ! {
        let last = |text: &str, count: usize| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(count)..].join("\n")
        };
        let tail = last(&self.log_lines().join("\n"), 40);
        let servers = [&self.sshd, &self.rsyncd].into_iter().flatten();
        let servers = servers.map(|server| last(&server.output(), 5)).collect::<Vec<_>>().join("\n");
        let config = fs::read_to_string(self.base().join("site.ron")).unwrap_or_default();
        panic!("{what}\n--- config\n{config}--- end of the log\n{tail}\n--- servers\n{servers}");
    }
}
