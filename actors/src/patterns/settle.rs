//! The time that files of some names are left alone after they were last touched. Knows names only: what waits is kept
//! by the pending set.

use std::sync::Arc;
use std::time::Duration;

use crate::path::RelPath;
use crate::patterns::excludes::{Excludes, Pattern};

/// The patterns of a site with their times, the first that matches counts. Clones share them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settle(Arc<[(Excludes, Duration)]>);

impl Settle {
    /// Takes patterns, which mean what they do in [`Excludes`], with their times.
    pub fn new(patterns: Vec<(Pattern, Duration)>) -> Self {
        let one = |(pattern, time)| (Excludes::from_patterns(vec![pattern]), time);
        Settle(patterns.into_iter().map(one).collect())
    }

    /// The time that this file is to be untouched before it is sent; `None` if it goes at once.
    pub fn time(&self, file: &RelPath) -> Option<Duration> {
        self.0.iter().find(|(pattern, _)| pattern.excludes(file, false)).map(|(_, time)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_matches_counts() {
        let pattern = |text: &str, time| (Pattern::parse(text).unwrap(), Duration::from_secs(time));
        let settle = Settle::new(vec![pattern("*.part", 30), pattern("/uploads/*", 5)]);
        for (path, time) in [("a.part", Some(30)), ("uploads/d/x", Some(5)), ("uploads/a.part", Some(30)), ("x", None)]
        {
            assert_eq!(settle.time(&RelPath::new(path.as_bytes()).unwrap()), time.map(Duration::from_secs), "{path}");
        }
    }
}
