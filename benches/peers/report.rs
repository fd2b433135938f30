//! The rows of the table: what was measured for whom, what it should be, and whether it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::contestant::Who;
use crate::stats;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    MiB,
    Bytes,
    Times,
    Runs,
}

impl Unit {
    fn show(self, value: f64) -> String {
        let number = number(value);
        match self {
            Unit::Milliseconds => format!("{number} ms"),
            Unit::MiB => format!("{number} MiB"),
            Unit::Bytes => format!("{number} B"),
            Unit::Times => format!("{number}x"),
            Unit::Runs => number,
        }
    }
}

/// Two digits, or all of them if there are more before the point.
pub fn number(value: f64) -> String {
    match value {
        v if v >= 9.95 || v == 0.0 => group(v.round() as u64),
        v if v >= 0.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// How many times as much, or which part of it.
fn factor(ratio: f64) -> String {
    if ratio < 0.1 { format!("1/{}", group((1.0 / ratio).round() as u64)) } else { format!("{ratio:.2}x") }
}

fn group(value: u64) -> String {
    let digits = value.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

struct Figure {
    value: f64,
    samples: Vec<f64>,
}

struct Check {
    /// What should be, in words.
    aim: String,
    /// The measured ratio, if the aim is about one.
    ratio: Option<f64>,
    met: Option<bool>,
}

/// One piece of work.
pub struct Row {
    work: String,
    unit: Unit,
    figures: BTreeMap<Who, Figure>,
    checks: Vec<Check>,
    notes: Vec<String>,
}

impl Row {
    pub fn new(work: impl Into<String>, unit: Unit) -> Row {
        Row { work: work.into(), unit, figures: BTreeMap::new(), checks: Vec::new(), notes: Vec::new() }
    }

    /// One figure of all samples, of which there may be none.
    pub fn figure(&mut self, who: Who, samples: &[f64], of: impl Fn(&[f64]) -> Option<f64>) {
        if let Some(value) = of(samples) {
            self.figures.insert(who, Figure { value, samples: samples.to_vec() });
        }
    }

    pub fn median(&mut self, who: Who, samples: &[f64]) {
        self.figure(who, samples, stats::median);
    }

    /// What has to be known beside the figures.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub fn value(&self, who: Who) -> Option<f64> {
        self.figures.get(&who).map(|figure| figure.value)
    }

    /// inosync should need at most this.
    pub fn at_most(mut self, limit: f64) -> Row {
        let met = self.value(Who::Inosync).map(|value| value <= limit);
        self.checks.push(Check { aim: format!("≤ {}", self.unit.show(limit)), ratio: None, met });
        self
    }

    /// inosync should need at most `limit` times what the other needs; `aim` says so.
    pub fn compared(mut self, other: Who, limit: f64, aim: &str) -> Row {
        let ratio = self.value(Who::Inosync).zip(self.value(other)).map(|(own, other)| own / other.max(1e-9));
        self.checks.push(Check { aim: aim.into(), ratio, met: ratio.map(|ratio| ratio <= limit) });
        self
    }

    /// One more ratio, measured elsewhere.
    pub fn check(mut self, aim: &str, ratio: Option<f64>, limit: f64) -> Row {
        self.checks.push(Check { aim: aim.into(), ratio, met: ratio.map(|ratio| ratio <= limit) });
        self
    }

    fn cell(&self, who: Who) -> String {
        let Some(value) = self.value(who) else { return "–".into() };
        let shown = self.unit.show(value);
        match self.value(Who::Inosync) {
            Some(own) if who != Who::Inosync && own > 0.0 && value > 0.0 && self.unit != Unit::Times => {
                format!(
                    "{shown} ({})",
                    if value < own * 9.95 { factor(value / own) } else { number(value / own) + "x" }
                )
            }
            _ => shown,
        }
    }

    fn judgement(&self) -> String {
        let one = |check: &Check| {
            let ratio = check.ratio.map_or(String::new(), |ratio| format!(": {}", factor(ratio)));
            let verdict = match check.met {
                Some(true) => "ok",
                Some(false) => "**MISSED**",
                None => "not measured",
            };
            format!("{}{ratio} {verdict}", check.aim)
        };
        self.checks.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    fn json(&self, scenario: &str) -> Value {
        let figures: BTreeMap<String, Value> = self
            .figures
            .iter()
            .map(|(who, figure)| (who.to_string(), json!({"value": figure.value, "samples": figure.samples})))
            .collect();
        let checks: Vec<Value> =
            self.checks.iter().map(|check| json!({"aim": check.aim, "ratio": check.ratio, "met": check.met})).collect();
        json!({
            "scenario": scenario, "work": self.work, "unit": format!("{:?}", self.unit),
            "figures": figures, "checks": checks, "notes": self.notes,
        })
    }
}

/// A table with columns of its own, for what is not compared with anybody.
pub struct Table {
    title: String,
    heads: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Table {
    pub fn new(title: impl Into<String>, heads: &[&str]) -> Table {
        Table { title: title.into(), heads: heads.iter().map(ToString::to_string).collect(), lines: Vec::new() }
    }

    pub fn line(&mut self, cells: Vec<String>) {
        self.lines.push(cells);
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let lines: String = self.lines.iter().map(|cells| line(cells)).collect();
        format!("\n{}:\n\n{}|{}\n{lines}", self.title, line(&self.heads), " --- |".repeat(self.heads.len()))
    }

    fn json(&self) -> Value {
        json!({"title": self.title, "heads": self.heads, "lines": self.lines})
    }
}

/// All rows, and what could not be measured.
#[derive(Default)]
pub struct Report {
    rows: Vec<(&'static str, Row)>,
    tables: Vec<Table>,
    skipped: Vec<String>,
}

impl Report {
    pub fn add(&mut self, scenario: &'static str, row: Row) {
        self.rows.push((scenario, row));
    }

    pub fn add_table(&mut self, table: Table) {
        self.tables.push(table);
    }

    pub fn skip(&mut self, what: impl Into<String>) {
        self.skipped.push(what.into());
    }

    /// For docs/comparison-with-lsyncd.md.
    pub fn markdown(&self, machine: &[String]) -> String {
        let mut text = String::new();
        for line in machine {
            let _ = writeln!(text, "- {line}");
        }
        if !self.rows.is_empty() {
            text += &self.compared();
        }
        text.extend(self.tables.iter().map(Table::markdown));
        let _ = writeln!(text);
        for skipped in &self.skipped {
            let _ = writeln!(text, "- Not measured: {skipped}");
        }
        text
    }

    /// The table of who needs what.
    fn compared(&self) -> String {
        let mut text = String::new();
        let columns: Vec<Who> = Who::COLUMNS.into_iter().filter(|who| self.has(*who)).collect();
        let heads: String = columns.iter().map(|who| format!(" {who} |")).collect();
        let _ = writeln!(text, "\n| work |{heads} aim |\n| --- |{} --- |", " --- |".repeat(columns.len()));
        for (_, row) in &self.rows {
            let cells: String = columns.iter().map(|who| format!(" {} |", row.cell(*who))).collect();
            let _ = writeln!(text, "| {} |{cells} {} |", row.work, row.judgement());
        }
        let _ = writeln!(text, "\nIn brackets: how many times inosync's figure.");
        for note in self.rows.iter().flat_map(|(_, row)| row.notes.iter().map(|note| format!("{}: {note}", row.work))) {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    fn has(&self, who: Who) -> bool {
        self.rows.iter().any(|(_, row)| row.figures.contains_key(&who))
    }

    pub fn json(&self, machine: &[String]) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|(scenario, row)| row.json(scenario)).collect();
        let tables: Vec<Value> = self.tables.iter().map(Table::json).collect();
        json!({ "machine": machine, "rows": rows, "tables": tables, "skipped": self.skipped })
    }
}
