//! Complaints about a configuration: place, fault and cure. Shown with the line and a caret, or in one line for the log.

use std::fmt;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use inosync_actors::path::Escaped;

/// Complaints that are shown at once.
const MOST_SHOWN: usize = 20;

/// One fault of a configuration, or one doubt about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigComplaint {
    file: String,
    /// `None` if and only if the file does not mention the thing.
    place: Option<Box<TextPlace>>,
    /// The fault; one line.
    what: String,
    /// The remedy, or the allowed values; one line.
    cure: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TextPlace {
    /// In bytes of the text.
    start: usize,
    /// The number of the line; the first is 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
    /// The whole line, made printable.
    excerpt: String,
    /// Characters of the line that the caret marks.
    width: usize,
}

impl ConfigComplaint {
    /// A complaint about a part of a text.
    pub fn at(file: &Path, text: &str, at: Range<usize>, what: impl Into<String>, cure: impl Into<String>) -> Self {
        let before = text.get(..at.start).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].split('\n').next().unwrap_or_default();
        let column = before[start..].chars().count() + 1;
        let meant = text.get(at.clone()).unwrap_or_default().split('\n').next().unwrap_or_default().trim_end();
        ConfigComplaint {
            place: Some(Box::new(TextPlace {
                start: at.start,
                line: before.matches('\n').count() + 1,
                column,
                excerpt: line.trim_end().replace(char::is_control, " "),
                width: meant.chars().count().max(1),
            })),
            ..ConfigComplaint::of(file, what, cure)
        }
    }

    /// A complaint about something that the file does not mention.
    pub fn of(file: &Path, what: impl Into<String>, cure: impl Into<String>) -> Self {
        let file = Escaped(file.as_os_str().as_bytes()).to_string();
        ConfigComplaint { file, place: None, what: what.into(), cure: cure.into() }
    }

    /// The place, the fault and the cure in one line.
    pub fn in_one_line(&self) -> String {
        let place = self.place.as_ref().map_or(String::new(), |place| format!(":{}:{}", place.line, place.column));
        format!("{}{place}: {}: {}", self.file, self.what, self.cure)
    }

    /// True if the place begins in a part of the text.
    pub fn starts_in(&self, part: &Range<usize>) -> bool {
        self.place.as_ref().is_some_and(|place| part.contains(&place.start))
    }

    /// The fault with its line, for the log.
    pub fn what(&self) -> String {
        let line = self.place.as_ref().map_or(String::new(), |place| format!(" (line {})", place.line));
        format!("{}{line}", self.what)
    }

    /// The words that tell how to mend the fault.
    pub fn cure(&self) -> &str {
        &self.cure
    }

    fn order(&self) -> (&str, usize, usize) {
        let place = self.place.as_ref().map_or((usize::MAX, 0), |place| (place.line, place.column));
        (&self.file, place.0, place.1)
    }
}

impl fmt::Display for ConfigComplaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_deref() {
            None => write!(f, "{}: {}", self.file, self.what)?,
            Some(TextPlace { line, column, excerpt, width, .. }) => {
                writeln!(f, "{}:{line}:{column}: {}", self.file, self.what)?;
                writeln!(f, "{line:>5} | {excerpt}")?;
                write!(f, "{:>5} | {}{}", "", " ".repeat(column - 1), "^".repeat(*width))?;
            }
        }
        write!(f, "\n  {}", self.cure)
    }
}

/// All complaints about a configuration: file by file, in the order of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigComplaints(Vec<ConfigComplaint>);

impl ConfigComplaints {
    /// Adds one complaint or more.
    pub fn add(&mut self, more: impl Into<ConfigComplaints>) {
        self.0.extend(more.into().0);
        self.0.sort_by(|one, other| one.order().cmp(&other.order()));
    }

    /// The value of a result; its complaints are added.
    pub fn keep<T>(&mut self, result: Result<T, impl Into<ConfigComplaints>>) -> Option<T> {
        result.map_err(|complaints| self.add(complaints)).ok()
    }

    /// The value, if nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, ConfigComplaints> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// True if nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first one in one line, and how many more there are.
    pub fn in_one_line(&self) -> String {
        let first = self.0.first().map(ConfigComplaint::in_one_line).unwrap_or_default();
        match self.0.len() {
            0 | 1 => first,
            number => format!("{first} (and {} more: see inosync check)", number - 1),
        }
    }
}

impl From<ConfigComplaint> for ConfigComplaints {
    fn from(complaint: ConfigComplaint) -> Self {
        ConfigComplaints(vec![complaint])
    }
}

impl From<Vec<ConfigComplaint>> for ConfigComplaints {
    fn from(mut complaints: Vec<ConfigComplaint>) -> Self {
        complaints.sort_by(|one, other| one.order().cmp(&other.order()));
        ConfigComplaints(complaints)
    }
}

impl fmt::Display for ConfigComplaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, complaint) in self.0.iter().take(MOST_SHOWN).enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{complaint}")?;
        }
        match self.0.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more: correct these first"),
        }
    }
}
