//! Any text is a site or is refused with its place, and never a panic: bytes, RON-like words, and the example with
//! changes. The same cases each time; more of them: `PROPTEST_CASES=20000`.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;

use super::*;

const EXAMPLE: &str = include_str!("../../../config.ron.example");
const WORDS: [&str; 34] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    "'",
    "//",
    "/*",
    "*/",
    "\n",
    " ",
    "\u{feff}",
    "é",
    "\u{0}",
    "\r",
    "Some(",
    "None",
    "true",
    "-1",
    "1e9",
    "99999999999999999999",
    "r#\"",
    "\"#",
    "\"\\u{110000}\"",
    "\"\\xff\"",
    "wpath",
    "rnodes: [",
    "#![enable(implicit_some)]",
    "Site",
];

fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let chosen = std::env::var_os("PROPTEST_CASES").is_some();
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed => fixed,
    };
    ProptestConfig { cases: if chosen { default.cases } else { cases }, rng_seed, ..default }
}

/// The example where this machine has what it names, with every key that it has in a comment.
fn example(machine: &Machine) -> String {
    let keys = EXAMPLE.lines().map(|line| {
        let trimmed = line.trim_start();
        let is_key = KEYS.iter().any(|key| trimmed.starts_with(&format!("// {}: ", key.name)));
        if is_key { line.replacen("// ", "", 1) } else { line.to_owned() }
    });
    // Of two lines for one key the first counts.
    let mut seen = Vec::new();
    let first = keys.filter(|line| {
        let key = line.trim_start().split(": ").next().unwrap_or_default().to_owned();
        let again = Key::named(&key).is_some() && seen.contains(&key);
        seen.push(key);
        !again
    });
    let text: Vec<String> = first.collect();
    let text =
        text.join("\n").replace("/tmp/inosync-demo/source", "DIR/src").replace("/tmp/inosync-demo/mirror", "DIR/m");
    machine.write("common.ron", "()");
    machine.write("excludes.txt", "*.o");
    let text = text.replace("/usr/local/bin/rsync", "DIR/rsync").replace("/var/log/inosync", "DIR");
    machine.fill(&text)
}

/// Loads it; what is refused has a place in the text, unless it is about this machine, and a cure.
fn expect_verdict(machine: &Machine, bytes: &[u8]) -> Result<(), TestCaseError> {
    let file = machine.path("site.ron");
    fs::write(&file, bytes).unwrap();
    let Err(error) = load(&file) else { return Ok(()) };
    let message = error.to_string();
    let rest = message.strip_prefix(&format!("{}:", file.display()));
    prop_assert!(rest.is_some(), "another file: {}", message);
    prop_assert!(message.lines().last().unwrap().starts_with("  "), "no cure: {}", message);
    let mut place = rest.unwrap().splitn(3, ':').map(str::parse::<usize>);
    match (place.next(), place.next()) {
        (Some(Ok(line)), Some(Ok(column))) => {
            let lines = String::from_utf8_lossy(bytes).split('\n').count();
            prop_assert!((1..=lines).contains(&line) && column >= 1, "no such place: {}", message);
        }
        _ => prop_assert!(matches!(error, ConfigError::Environment(_)), "no place: {}", message),
    }
    Ok(())
}

#[derive(Debug, Clone)]
enum Edit {
    Delete(Index, Index),
    Double(Index, Index),
    Insert(Index, &'static str),
    Byte(Index, u8),
    Cut(Index),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let range = |from: &Index, length: &Index, bytes: &Vec<u8>| {
            let from = from.index(bytes.len());
            from..(from + length.index(40)).min(bytes.len())
        };
        match self {
            Edit::Delete(from, length) => drop(bytes.drain(range(from, length, bytes))),
            Edit::Double(from, length) => {
                let range = range(from, length, bytes);
                let piece = bytes[range.clone()].to_vec();
                bytes.splice(range.end..range.end, piece);
            }
            Edit::Insert(at, word) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, word.bytes());
            }
            Edit::Byte(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Edit::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => any::<(Index, Index)>().prop_map(|(from, length)| Edit::Delete(from, length)),
        2 => any::<(Index, Index)>().prop_map(|(from, length)| Edit::Double(from, length)),
        4 => (any::<Index>(), select(WORDS.to_vec())).prop_map(|(at, word)| Edit::Insert(at, word)),
        2 => any::<(Index, u8)>().prop_map(|(at, byte)| Edit::Byte(at, byte)),
        1 => any::<Index>().prop_map(Edit::Cut),
    ]
}

#[test]
fn the_example_that_is_changed_is_valid_before() {
    let machine = Machine::new();
    let site = machine.load(&example(&machine)).unwrap();
    assert_eq!((site.rspeed, site.standby, site.max_standbys), (5000, false, 100));
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn any_bytes_are_refused_with_a_place(bytes in vec(any::<u8>(), 0..200)) {
        expect_verdict(&Machine::new(), &bytes)?;
    }

    #[test]
    fn any_words_are_refused_with_a_place_or_are_a_site(words in vec(select(WORDS.to_vec()), 0..40)) {
        expect_verdict(&Machine::new(), words.concat().as_bytes())?;
        expect_verdict(&Machine::new(), format!("({}", words.concat()).as_bytes())?;
    }

    #[test]
    fn the_example_with_changes_is_a_site_or_is_refused_with_a_place(edits in vec(edit(), 1..5)) {
        let machine = Machine::new();
        let mut bytes = example(&machine).into_bytes();
        edits.iter().for_each(|edit| edit.apply(&mut bytes));
        expect_verdict(&machine, &bytes)?;
    }
}
