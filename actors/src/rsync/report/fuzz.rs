//! Anything that a node, ssh or rsync writes is read without a panic, whatever it is: bytes, and real lines with
//! changes. The same cases each time; more of them: `PROPTEST_CASES=20000`.

use crate::rsync::report::failure;
use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::node::Node;
use crate::path::RelPath;
use crate::proptests::config;
use crate::rsync::recipe::Recipe;
use crate::rsync::report::blame::blame;
use crate::rsync::report::claims::{Bearing, Claims};
use crate::rsync::report::complaint::Complaint;
use crate::rsync::report::itemized::Itemized;
use crate::rsync::report::output;
use crate::rsync::report::output::Line;
use crate::rsync::report::refusal::refusal;
use crate::rsync::runner::greeting::Greeting;
use crate::rsync::runner::process::{Code, Finished};
use crate::site::version::Version;
use crate::transport::blame::Blame;

/// Lines that real programs wrote.
const LINES: &str = include_str!("fuzz/lines.txt");

/// Pieces that mean something in them.
const WORDS: [&str; 14] =
    ["\"", "(", ")", ": ", "|", "/", "..", "\\#012", "\\#", "\r", "\0", "-", "99999999999999999999", "\u{e9}"];

/// A change of a line.
#[derive(Debug, Clone)]
enum Change {
    Put(Index, Vec<u8>),
    Cut(Index, Index),
    Twice,
}

fn change() -> impl Strategy<Value = Change> {
    let bytes = prop_oneof![vec(any::<u8>(), 0..4), select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec())];
    prop_oneof![
        (any::<Index>(), bytes).prop_map(|(at, bytes)| Change::Put(at, bytes)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Cut(from, to)),
        Just(Change::Twice),
    ]
}

fn changed(mut line: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        match change {
            Change::Put(at, bytes) => {
                let at = at.index(line.len() + 1);
                line.splice(at..at, bytes.iter().copied());
            }
            Change::Cut(from, to) => {
                let (from, to) = (from.index(line.len() + 1), to.index(line.len() + 1));
                line.drain(from.min(to)..from.max(to));
            }
            Change::Twice => line.extend(line.clone()),
        }
    }
    line
}

/// A line as somebody may write it.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let real = select(LINES.lines().collect::<Vec<_>>());
    prop_oneof![
        4 => (real, vec(change(), 0..4)).prop_map(|(line, changes)| changed(line.as_bytes().to_vec(), &changes)),
        1 => vec(any::<u8>(), 0..80),
    ]
}

fn code() -> impl Strategy<Value = Code> {
    prop_oneof![any::<u8>().prop_map(|code| Code::Exit(code.into())), (1..65).prop_map(Code::Signal)]
}

proptest! {
    #![proptest_config(config(3_000))]

    #[test]
    fn any_error_output_is_read(lines in vec(line(), 0..6), code in code()) {
        let stderr = lines.join(&b'\n');
        let finished = Finished { code, stderr };
        if let Some(failure) = failure::of(&finished) {
            let is_for_people = |text: &str| !text.chars().any(char::is_control);
            prop_assert!(is_for_people(&failure.said) && is_for_people(&failure.cure), "{failure:?}");
        }
        let node = Node::parse("", "/mnt/mirror").unwrap();
        let blamed = blame(&finished.stderr, b"/srv/www", &node, |_| Vec::new());
        if let Blame::Paths(paths) = &blamed {
            prop_assert!(paths.len() <= Complaint::all(&finished.stderr).count());
        }
        let mut itemized = Itemized::default();
        finished.stderr.split(|&byte| byte == b'\n').flat_map(output::parts).for_each(|line| itemized.add(&line));
        let seen = Cell::new(0);
        let inside = |name: &[u8]| {
            seen.set(seen.get() + 1);
            crate::rsync::report::blame::inside(name, b"/srv/www", b"/mnt/mirror")
        };
        refusal(&finished.stderr, &itemized, &blamed, inside);
        let done = itemized.done(&blamed, std::iter::empty());
        prop_assert!(done.sent + done.deleted <= lines.len() as u64 * 64);
    }

    #[test]
    fn any_line_of_output_is_read_and_names_nothing_outside(line in line()) {
        for part in output::parts(&line) {
            if let Line::Sent(path, _) | Line::Deleted(path) = part {
                let names = path.as_bytes().split(|&byte| byte == b'/');
                prop_assert!(path.is_root() || names.clone().all(|name| !matches!(name, b"" | b"." | b"..")), "{path}");
            }
        }
        output::difference(&line);
        output::stored(&line);
        Greeting::read(&line).and_then(|greeting| greeting.complaint(2));
        Version::parse(&String::from_utf8_lossy(&line));
        crate::rsync::report::noise::is_noise(&line);
    }

    #[test]
    fn a_run_over_one_entry_is_believed_of_that_entry_and_what_is_above_alone(line in line()) {
        let claims = Claims::of(Recipe::Present, b"/d/f\0");
        if claims.bearing(&line) == Bearing::Ours {
            let entry = RelPath::new(b"d/f").unwrap();
            for part in output::parts(&line) {
                let (Line::Sent(path, _) | Line::Deleted(path)) = part else { continue };
                prop_assert!(path == entry || path.is_root() || entry.is_below(&path) || path.is_below(&entry), "{path}");
            }
        }
    }
}
