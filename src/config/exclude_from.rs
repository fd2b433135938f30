//! Files of exclude patterns, one pattern a line.

use std::ops::Range;
use std::path::Path;

use inosync_actors::patterns::excludes::{self, Pattern};

use super::complaint::{ConfigComplaint, ConfigComplaints};
use super::file::{self, TextFile};
use super::value::Value;

/// A file of patterns. Empty lines and lines that begin with `#` have none.
pub struct PatternFile {
    pub file: TextFile,
    /// Each pattern with its place in the text.
    lines: Vec<(Range<usize>, Pattern)>,
}

impl PatternFile {
    /// Reads the file, or each of the files, that the value names.
    pub fn read(value: &Value<'_>) -> Result<Vec<PatternFile>, ConfigComplaints> {
        let mut wrong = ConfigComplaints::default();
        let mut files = Vec::new();
        for name in value.one_or_more()? {
            let read = file::named(&name).map_err(ConfigComplaints::from).and_then(PatternFile::of);
            files.extend(wrong.keep(read));
        }
        wrong.or(files)
    }

    /// The patterns of all files that the value names.
    pub fn patterns_of(value: &Value<'_>) -> Result<Vec<Pattern>, ConfigComplaints> {
        let files = PatternFile::read(value)?;
        Ok(files.iter().flat_map(PatternFile::patterns).cloned().collect())
    }

    /// Parses each line of the text.
    fn of(file: TextFile) -> Result<PatternFile, ConfigComplaints> {
        let source = file.source();
        let mut wrong = ConfigComplaints::default();
        let mut lines = Vec::new();
        for line in source.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let at = source.range(line);
            let parsed =
                Pattern::parse(line).map_err(|error| source.complaint(at.clone(), error.to_string(), error.cure()));
            lines.extend(wrong.keep(parsed).map(|pattern| (at, pattern)));
        }
        wrong.or(())?;
        Ok(PatternFile { file, lines })
    }

    /// The patterns, in the order of the lines.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.lines.iter().map(|(_, pattern)| pattern)
    }

    /// A complaint about each pattern that most likely does something else than its author means. `directories` are the
    /// names of the source.
    pub fn warnings(&self, directories: &[&Path]) -> Vec<ConfigComplaint> {
        let complaint = |(at, pattern): &(Range<usize>, Pattern)| {
            let warning = directories.iter().find_map(|directory| excludes::warning(pattern, directory))?;
            Some(self.file.source().complaint(at.clone(), warning.to_string(), warning.cure()))
        };
        self.lines.iter().filter_map(complaint).collect()
    }
}
