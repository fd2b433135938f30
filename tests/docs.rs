//! README.md and docs/ agree with the program: their links lead somewhere, and what they say of options, exit codes and
//! messages is so. The configuration reference is compared with the code in `src/config/tests/docs.rs`.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Said when the pages and the program differ: a page may be of a feature that was not merged yet.
const WHICH: &str = "correct the page; or is the code of a new feature not here yet?";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page, by its path below the top directory.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> =
        ["README.md", "CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(String::from).to_vec();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        pages.push(format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    pages.retain(|page| page.ends_with(".md"));
    pages
}

/// The lines that are not in a block of code.
fn prose(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let outside = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        is_code ^= fence;
        !is_code && !fence
    };
    text.lines().filter(outside).collect()
}

/// A page's text on one line, so that a sentence is found however it is wrapped.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What GitHub makes of the headings.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for heading in prose(text).iter().filter(|line| line.starts_with('#')) {
        let title = heading.trim_start_matches('#').trim();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect();
        let earlier = anchors.iter().filter(|other| **other == anchor).count();
        anchors.push(if earlier == 0 { anchor } else { format!("{anchor}-{earlier}") });
    }
    anchors
}

/// Where the links of a line lead: what stands between `](` and `)`, not in backticks.
fn links(line: &str) -> Vec<&str> {
    let mut links = Vec::new();
    for part in line.split('`').step_by(2) {
        links.extend(part.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link));
    }
    links
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_in_it() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = read(&page);
        for link in prose(&text).into_iter().flat_map(links).filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => PathBuf::from(&page),
                file => Path::new(&page).parent().unwrap().join(file),
            };
            let there = fs::read_to_string(root().join(&target));
            let found = match (&there, anchor) {
                (Err(_), _) => root().join(&target).exists() && anchor.is_empty(),
                (Ok(_), "") => true,
                (Ok(there), anchor) => anchors(there).iter().any(|other| other == anchor),
            };
            if !found {
                wrong.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "these links lead nowhere:\n{}", wrong.join("\n"));
}

/// What stands in backticks, and the words of blocks of code.
fn code_words(text: &str) -> Vec<&str> {
    let inline = text.split('`').skip(1).step_by(2);
    let blocks = text.lines().filter(|line| line.starts_with("    "));
    inline.chain(blocks).flat_map(str::split_whitespace).collect()
}

#[test]
fn every_file_that_the_pages_name_is_there() {
    let tops = [".ci/", ".github/", "actors/", "benches/", "docs/", "packaging/", "src/", "tests/"];
    let mut wrong = Vec::new();
    for page in pages() {
        let text = read(&page);
        let named = code_words(&text).into_iter().filter(|word| tops.iter().any(|top| word.starts_with(top)));
        let missing = named.filter(|word| !word.contains(['*', '<']) && !root().join(word).exists());
        wrong.extend(missing.map(|word| format!("{page}: {word}")));
    }
    assert!(wrong.is_empty(), "these files are not there:\n{}", wrong.join("\n"));
}

#[test]
fn every_target_of_make_that_the_pages_name_is_one() {
    let makefile = read("Makefile");
    let mut found = 0;
    for page in pages() {
        let text = read(&page);
        let words = code_words(&text);
        for target in words.windows(2).filter(|pair| pair[0] == "make").map(|pair| pair[1]) {
            found += 1;
            assert!(makefile.contains(&format!("\n{target}:")), "{page}: make {target} is not in the Makefile");
        }
    }
    assert!(found > 10, "only {found} are named");
}

#[test]
fn every_page_of_the_manual_is_in_the_table_of_the_readme() {
    let readme = read("README.md");
    for page in pages().iter().filter(|page| page.starts_with("docs/")) {
        assert!(readme.contains(&format!("]({page})")), "README.md does not name {page}");
    }
    let lines = readme.lines().count();
    assert!(lines <= 120, "README.md has {lines} lines and should stay one page: move something to docs/");
}

/// The sources of the program, without comments and tests, and with each text of several lines on one.
fn sources() -> Vec<(PathBuf, String)> {
    let mut sources = Vec::new();
    let mut dirs = vec![root().join("src"), root().join("actors/src")];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("tests") {
                dirs.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                let code = code.collect::<Vec<_>>().join("\n");
                let mut parts = code.split("\\\n");
                let first = parts.next().unwrap_or_default().to_owned();
                sources.push((path, parts.fold(first, |text, part| text + part.trim_start())));
            }
        }
    }
    sources
}

#[test]
fn every_heading_of_troubleshooting_is_a_message_of_the_program() {
    let (page, sources) = (read("docs/troubleshooting.md"), sources());
    let headings = prose(&page).into_iter().filter_map(|line| line.strip_prefix("### "));
    let unknown: Vec<&str> =
        headings.filter(|heading| !sources.iter().any(|(_, source)| source.contains(heading))).collect();
    assert!(unknown.is_empty(), "no source says these: {WHICH}\n{}", unknown.join("\n"));
}

/// The text of the first literal, up to its end or to what is put into it, and without the detail behind a colon.
fn message(code: &str) -> Option<&str> {
    let literal = code.split_once('"')?.1.split('"').next()?;
    let pieces = literal.split(['{', '}']).step_by(2);
    let piece = pieces.map(|piece| piece.split([':', ';', ',']).next().unwrap_or_default().trim());
    piece.into_iter().find(|piece| piece.len() >= 8)
}

#[test]
fn every_warning_and_error_of_the_log_is_in_troubleshooting() {
    let page = unwrapped(&read("docs/troubleshooting.md"));
    let mut missing = BTreeSet::new();
    for (path, source) in sources() {
        for macro_name in ["warn!(", "error!("] {
            let messages = source.split(macro_name).skip(1).filter_map(message);
            missing
                .extend(messages.filter(|message| !page.contains(message)).map(|m| format!("{}: {m}", path.display())));
        }
    }
    let missing: Vec<String> = missing.into_iter().collect();
    assert!(
        missing.is_empty(),
        "say in docs/troubleshooting.md what these mean and what to do:\n{}",
        missing.join("\n")
    );
}

#[test]
fn every_cause_of_a_failure_is_in_troubleshooting() {
    let page = read("docs/troubleshooting.md");
    let source = read("actors/src/transport/failure/cause.rs");
    let table = source.split_once("fn row").unwrap().1;
    let rows = ["lasting(", "passing("].into_iter().flat_map(|row| table.split(row).skip(1));
    let words: Vec<&str> = rows.filter_map(|row| row.split('"').nth(1)).collect();
    assert!(words.len() > 20, "{words:?}");
    for words in words {
        assert!(page.contains(&format!("\n### {words}")) || page.contains(&format!("`{words}`")), "{words}");
    }
}

/// The first cells of the table with this heading line.
fn table<'a>(page: &'a str, head: &str) -> Vec<&'a str> {
    let rows = page.lines().skip_while(|line| *line != head).skip(2).take_while(|line| line.starts_with('|'));
    let cells: Vec<&str> = rows.filter_map(|row| row.trim_start_matches('|').split('|').next()).collect();
    assert!(!cells.is_empty(), "there is no table: {head}");
    cells
}

fn help() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_inosync")).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The names with two dashes in a text.
fn options(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| word.starts_with("--") && word.len() > 2).map(String::from).collect()
}

#[test]
fn the_manual_has_the_commands_and_the_options_of_the_program() {
    let help = help();
    let groups = help.split("\nCOMMANDS that ").skip(1).flat_map(|group| {
        group.lines().skip(1).take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("     "))
    });
    let commands: Vec<&str> = groups.collect();
    let names: BTreeSet<&str> = commands.iter().filter_map(|line| line.split_whitespace().next()).collect();
    let page = read("docs/commands.md");
    let of_manual = table(&page, "| command | meaning |");
    let named: BTreeSet<&str> =
        of_manual.iter().filter_map(|cell| cell.split('`').nth(1)?.split_whitespace().next()).collect();
    assert_eq!(named, names, "docs/commands.md (left) and --help (right) differ: {WHICH}");
    let general = help.lines().filter(|line| line.starts_with("    -"));
    // The description of an option may name another one.
    let usage = |line: &'_ str| options(line.trim_start().split("  ").next().unwrap_or_default());
    let of_program: BTreeSet<String> = general.chain(commands.iter().copied()).flat_map(usage).collect();
    let of_manual: BTreeSet<String> =
        table(&page, "| option | meaning |").into_iter().chain(of_manual).flat_map(options).collect();
    assert_eq!(of_manual, of_program, "docs/commands.md (left) and --help (right) differ: {WHICH}");
}

#[test]
fn the_manual_has_the_exit_codes_of_the_program() {
    let numbers = |words: Vec<&str>| words.iter().filter_map(|word| word.trim().parse().ok()).collect::<BTreeSet<u8>>();
    let page = read("docs/commands.md");
    let of_manual = numbers(table(&page, "| exit code | meaning |"));
    let exit = read("src/exit.rs");
    let values = exit.split_once("pub enum Exit").unwrap().1.split_once("\n}").unwrap().0;
    let of_code = numbers(values.lines().filter_map(|line| line.split_once("= ")?.1.strip_suffix(',')).collect());
    assert_eq!(of_manual, of_code, "docs/commands.md (left) and src/exit.rs (right) differ: {WHICH}");
    let help = help();
    let said = help.split_once("EXIT CODES:\n").unwrap().1;
    let of_help = numbers(said.lines().filter_map(|line| line.split_whitespace().next()).collect());
    assert_eq!(of_manual, of_help, "docs/commands.md (left) and --help (right) differ: {WHICH}");
}

/// The words of a text that begin with this.
fn words_with<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(prefix) && word.len() > prefix.len()).collect()
}

#[test]
fn the_environment_of_hooks_is_as_the_manual_says() {
    let (page, sources) = (read("docs/hooks.md"), sources());
    for variable in words_with(&page, "INOSYNC_") {
        let known = sources.iter().any(|(_, source)| source.contains(variable));
        assert!(known, "docs/hooks.md: no source has {variable}: {WHICH}");
    }
}

#[test]
fn the_settings_of_the_long_test_are_in_the_manual() {
    let page = read("docs/development.md");
    let described = words_with(&page, "INOSYNC_TEST_");
    for file in ["campaign.rs", "crashes.rs", "burst.rs", "settings.rs"] {
        let text = read(&format!("tests/convergence/{file}"));
        for variable in words_with(&text, "INOSYNC_TEST_") {
            assert!(described.contains(variable), "docs/development.md does not have {variable}");
        }
    }
}

#[test]
fn the_metrics_of_the_manual_are_those_of_the_program() {
    let golden = root().join("src/service/listen/metrics/golden.txt");
    let golden =
        fs::read_to_string(golden).unwrap_or_else(|error| panic!("golden.txt of the metrics: {error}: {WHICH}"));
    let of_program: BTreeSet<&str> =
        golden.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    let page = read("docs/operating.md");
    let heads = ["| metric, by node | meaning |", "| metric, of the daemon | meaning |"];
    let cells = heads.into_iter().flat_map(|head| table(&page, head));
    let names = |cell| ["inosync_", "process_"].into_iter().flat_map(move |prefix| words_with(cell, prefix));
    let of_manual: BTreeSet<&str> = cells.flat_map(names).collect();
    assert_eq!(of_manual, of_program, "docs/operating.md (left) and golden.txt (right) differ: {WHICH}");
}

/// A word without a slash is the name of a site.
#[test]
fn the_demo_and_the_example_start_the_example_as_a_file() {
    let (demo, example) = (read("tests/demo.sh"), read("config.ron.example"));
    let file = demo.lines().find_map(|line| line.strip_prefix("config=")).unwrap();
    assert!(example.contains(&format!("inosync -c {file}\n")), "{file}");
    let checked = Command::new(env!("CARGO_BIN_EXE_inosync")).args(["-c", file, "check"]).current_dir(root()).output();
    let said = String::from_utf8_lossy(&checked.unwrap().stderr).into_owned();
    assert!(!said.contains("there is no site"), "{said}");
}
