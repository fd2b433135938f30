//! The lines of a check, and its result.

use std::io::Write;

use serde::Serialize;

use crate::exit::Exit;

/// The lines of one part of a check, with the number of faults and warnings. Lines are printed at once, except in a part
/// that is [kept](Report::kept) until it is whole.
#[derive(Debug, Default)]
pub struct Report {
    kept: Option<Vec<String>>,
    faults: usize,
    warnings: usize,
    /// True if the lines are printed as JSON at the end.
    is_json: bool,
}

/// A whole report, for programs.
#[derive(Serialize)]
struct ReportInJson<'a> {
    /// `well`, `ready` (with warnings) or `not_ready`.
    verdict: &'static str,
    errors: usize,
    warnings: usize,
    /// The lines as they are printed for people.
    lines: &'a [String],
}

impl Report {
    /// A part that is printed as a whole when it is [added](Report::add) to another.
    pub fn kept() -> Report {
        Report { kept: Some(Vec::new()), ..Report::default() }
    }

    /// A report that is printed as JSON when it ends.
    pub fn json() -> Report {
        Report { is_json: true, ..Report::kept() }
    }

    /// Adds a line that says by itself how grave it is, and is not counted.
    pub fn remark(&mut self, line: String) {
        self.well(line);
    }

    /// Adds a line about something that is right.
    pub fn well(&mut self, line: String) {
        match &mut self.kept {
            Some(lines) => lines.push(line),
            None => say(&line),
        }
    }

    /// Adds a line about something that would keep the daemon from its work.
    pub fn fault(&mut self, line: String) {
        self.faults += 1;
        self.well(format!("error: {line}"));
    }

    /// Adds a line about something that the daemon can work with, but a person should know.
    pub fn warning(&mut self, line: String) {
        self.warnings += 1;
        self.well(format!("warning: {line}"));
    }

    /// Adds the lines and counts of a part.
    pub fn add(&mut self, part: Report) {
        part.kept.into_iter().flatten().for_each(|line| self.well(line));
        self.faults += part.faults;
        self.warnings += part.warnings;
    }

    /// Ends the report with the result of all lines.
    pub fn end(mut self) -> Exit {
        let (verdict, exit) = self.verdict();
        if self.is_json {
            let verdict = match (self.faults, self.warnings) {
                (0, 0) => "well",
                (0, _) => "ready",
                _ => "not_ready",
            };
            let Report { faults: errors, warnings, kept, .. } = &self;
            let lines = kept.as_deref().unwrap_or_default();
            let whole = ReportInJson { verdict, errors: *errors, warnings: *warnings, lines };
            say(&serde_json::to_string_pretty(&whole).unwrap_or_default());
        } else {
            self.well(verdict);
        }
        exit
    }

    /// The lines of a part that is kept.
    #[cfg(test)]
    pub fn lines(&self) -> &[String] {
        self.kept.as_deref().unwrap_or_default()
    }

    fn verdict(&self) -> (String, Exit) {
        match (self.faults, self.warnings) {
            (0, 0) => ("all is well".to_owned(), Exit::Done),
            (0, _) => ("ready, but see the lines that begin with `warning`".to_owned(), Exit::Done),
            _ => ("not ready: see the lines that begin with `error`".to_owned(), Exit::Environment),
        }
    }
}

fn say(line: &str) {
    // A reader that went away is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_at_its_beginning_how_grave_it_is() {
        let mut report = Report::kept();
        report.well("a: yes".to_owned());
        report.warning("b: hardly".to_owned());
        report.fault("c: no".to_owned());
        assert_eq!(report.kept.unwrap(), ["a: yes", "warning: b: hardly", "error: c: no"]);
    }

    #[test]
    fn the_verdict_is_that_of_the_worst_line_of_any_part() {
        let part = |faults, warnings| {
            let mut part = Report::kept();
            (0..faults).for_each(|_| part.fault(String::new()));
            (0..warnings).for_each(|_| part.warning(String::new()));
            part
        };
        for (parts, expected) in [
            ([(0, 0), (0, 0)], Exit::Done),
            ([(0, 1), (0, 0)], Exit::Done),
            ([(0, 0), (1, 0)], Exit::Environment),
            ([(1, 1), (0, 1)], Exit::Environment),
        ] {
            let mut whole = Report::kept();
            parts.iter().for_each(|&(faults, warnings)| whole.add(part(faults, warnings)));
            assert_eq!(whole.verdict().1, expected, "{parts:?}");
            assert_eq!(whole.verdict().0 == "all is well", parts == [(0, 0), (0, 0)], "{parts:?}");
        }
    }
}
