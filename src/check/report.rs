//! What a check has found, line by line.

use std::io::Write;

use crate::exit::Exit;

/// The lines of one part of a check, and what they come to. Lines are printed at once, but in a part that is
/// [kept](Report::kept) until it is whole.
#[derive(Debug, Default)]
pub struct Report {
    kept: Option<Vec<String>>,
    faults: usize,
    warnings: usize,
}

impl Report {
    /// A part that is printed as a whole when it is [added](Report::add).
    pub fn kept() -> Report {
        Report { kept: Some(Vec::new()), ..Report::default() }
    }

    /// Says what is as it should be.
    pub fn well(&mut self, line: String) {
        match &mut self.kept {
            Some(lines) => lines.push(line),
            None => say(&line),
        }
    }

    /// Says what would keep the daemon from its work.
    pub fn fault(&mut self, line: String) {
        self.faults += 1;
        self.well(format!("error: {line}"));
    }

    /// Says what the daemon can work with, but a person should know.
    pub fn warning(&mut self, line: String) {
        self.warnings += 1;
        self.well(format!("warning: {line}"));
    }

    /// Adds a part.
    pub fn add(&mut self, part: Report) {
        part.kept.into_iter().flatten().for_each(|line| self.well(line));
        (self.faults, self.warnings) = (self.faults + part.faults, self.warnings + part.warnings);
    }

    /// Says what all of it comes to.
    pub fn end(mut self) -> Exit {
        let (verdict, exit) = self.verdict();
        self.well(verdict);
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
