//! The files that a configuration includes, and those that these include.

use std::path::PathBuf;
use std::rc::Rc;

use super::complaint::{ConfigComplaint, ConfigComplaints};
use super::file::{self, TextFile};
use super::paths::shown;
use super::record::Record;
use super::value::Value;

/// The files of one configuration. More of them are a mistake.
const MOST: usize = 100;

/// A configuration file with those that it includes, each once, the file itself first. A key counts in the first of them
/// that has it: the file itself wins over what it includes, and of what it includes the later wins over the earlier.
pub struct IncludedFiles {
    pub main: Rc<TextFile>,
    files: Vec<Rc<TextFile>>,
    /// The complaints about files that cannot be included.
    wrong: ConfigComplaints,
}

impl IncludedFiles {
    /// Reads what the file includes.
    pub fn of(main: TextFile) -> Self {
        let main = Rc::new(main);
        let mut included = IncludedFiles { main: main.clone(), files: Vec::new(), wrong: ConfigComplaints::default() };
        included.take(main, &mut Vec::new());
        included
    }

    /// All of the keys, with the complaints so far.
    pub fn record(&self) -> Record<'_> {
        Record::of(self.files.iter().map(|file| file.source()), self.wrong.clone())
    }

    /// The paths of all files, the file itself first.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().map(|file| file.path.clone())
    }

    /// Takes a file in, and then what it includes. `chain` has the files that led to it, without symlinks in their paths.
    fn take(&mut self, file: Rc<TextFile>, chain: &mut Vec<PathBuf>) {
        self.files.push(file.clone());
        chain.push(resolved(&file));
        let values = match includes(&file) {
            Ok(values) => values,
            Err(complaints) => return self.wrong.add(complaints),
        };
        for value in values.iter().rev() {
            match file::named(value) {
                Ok(next) if chain.contains(&resolved(&next)) => self.wrong.add(circle(value, &next, chain)),
                Ok(next) if self.files.iter().any(|known| resolved(known) == resolved(&next)) => (),
                Ok(_) if self.files.len() == MOST => {
                    let what = format!("`{}`: more than {MOST} files are included", value.key());
                    return self.wrong.add(value.complaint(what, "write the keys into fewer files"));
                }
                Ok(next) => self.take(next.into(), chain),
                Err(complaint) => self.wrong.add(complaint),
            }
        }
        chain.pop();
    }
}

/// The names of the files to include, as the file has them: one, or a list.
fn includes(file: &TextFile) -> Result<Vec<Value<'_>>, ConfigComplaints> {
    // Most files do not, and need not be read twice.
    if !file.source().text.contains("include") {
        return Ok(Vec::new());
    }
    let record = Record::of_file(file.source());
    let Some(value) = record.value("include") else { return Ok(Vec::new()) };
    Ok(value.one_or_more()?)
}

fn circle(value: &Value<'_>, next: &TextFile, chain: &[PathBuf]) -> ConfigComplaint {
    let start = chain.iter().position(|path| *path == resolved(next)).unwrap_or_default();
    let names: Vec<String> = chain[start..].iter().chain([&chain[start]]).map(|path| shown(path)).collect();
    let what = format!("`{}`: a circle: {}", value.key(), names.join(" includes "));
    value.complaint(what, "leave one of them out: a file cannot include itself, nor what includes it")
}

fn resolved(file: &TextFile) -> PathBuf {
    file.path.canonicalize().unwrap_or_else(|_| file.path.clone())
}
