//! A script: operations and faults in their order, and its text. A script that was written to a file is replayed by
//! `INOSYNC_TEST_REPLAY=FILE`, and may be edited by hand: one step is one line.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::faults::Fault;
use crate::operation::{Operation, Verb, WORDS};

/// One line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Do(Operation),
    /// A fault begins; the number chooses whom it hits.
    Begin(Fault, u64),
    /// It ends.
    End(Fault),
}

impl Step {
    pub fn pause(millis: u64) -> Self {
        Step::Do(Operation { verb: Verb::Pause, paths: Vec::new(), number: millis })
    }

    /// Tells if the entry of this name may be of another kind afterwards.
    pub fn changes_kind(&self, name: &[u8]) -> bool {
        let Step::Do(Operation { verb: Verb::Retype | Verb::Swap, paths, .. }) = self else { return false };
        paths.iter().any(|path| path.as_os_str().as_bytes() == name)
    }

    /// The step of a line.
    ///
    /// # Panics
    /// When it is none: the file was edited wrongly.
    pub fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| {
            words.get(at).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line:?}: no number"))
        };
        let fault = |at: usize| {
            words.get(at).and_then(|word| Fault::named(word)).unwrap_or_else(|| panic!("{line:?}: no fault"))
        };
        match words[0] {
            "begin" => Step::Begin(fault(1), number(2)),
            "end" => Step::End(fault(1)),
            verb => {
                let found = WORDS.iter().find(|(word, _)| *word == verb);
                let (_, verb) = *found.unwrap_or_else(|| panic!("{line:?}: no operation"));
                let paths = words[2..].iter().map(|word| unescape(word)).collect();
                Step::Do(Operation { verb, paths, number: number(1) })
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Begin(fault, number) => write!(f, "begin {fault} {number}"),
            Step::End(fault) => write!(f, "end {fault}"),
            Step::Do(operation) => {
                let word = WORDS.iter().find(|(_, verb)| *verb == operation.verb).map_or("?", |(word, _)| *word);
                write!(f, "{word} {}", operation.number)?;
                operation.paths.iter().try_for_each(|path| {
                    write!(f, " {}", path.as_os_str().as_bytes().escape_ascii().to_string().replace(' ', "\\x20"))
                })
            }
        }
    }
}

/// The text of a script.
pub fn text(steps: &[Step]) -> String {
    steps.iter().map(|step| format!("{step}\n")).collect()
}

/// The script of a text; empty lines and those that begin with `//` say nothing.
pub fn parse(text: &str) -> Vec<Step> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("//")).map(Step::parse).collect()
}

/// What `escape_ascii` made of the bytes.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'r') => b'\r',
                Some(b'x') => {
                    let digits: String = rest.by_ref().take(2).map(char::from).collect();
                    u8::from_str_radix(&digits, 16).unwrap_or_else(|e| panic!("{text:?}: {e}"))
                }
                Some(other) => other,
                None => panic!("{text:?} ends in a backslash"),
            },
            byte => byte,
        });
    }
    OsString::from_vec(bytes).into()
}
