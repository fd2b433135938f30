//! Each kind of mistake in a file leads to its cure, at its place, and all of them are told at once.

use std::fmt::Write;

use crate::config::{ConfigError, check_text};

/// Each complaint as `line:column what: cure`.
fn told(text: &str) -> String {
    let wpath = tempfile::tempdir().unwrap();
    let text = text.replace("SRC", &wpath.path().display().to_string());
    match check_text(&text) {
        Ok(_) => String::new(),
        Err(ConfigError::Environment(complaint)) => panic!("{complaint}"),
        Err(ConfigError::Wrong(complaints)) => {
            let shown = complaints.to_string();
            let mut told = String::new();
            let mut lines = shown.lines();
            while let (Some(first), Some(_), Some(_), Some(cure)) =
                (lines.next(), lines.next(), lines.next(), lines.next())
            {
                writeln!(told, "{}: {}", first.trim_start_matches("f:"), cure.trim()).unwrap();
            }
            told
        }
    }
}

/// Expects these complaints and no others: `line: fragment ... fragment`, one in each line.
fn expect(text: &str, expected: &[&str]) {
    let told = told(text);
    assert_eq!(told.lines().count(), expected.len(), "{text}\n{told}");
    for (line, expected) in told.lines().zip(expected) {
        let (place, fragments) = expected.split_once(": ").unwrap();
        assert!(line.starts_with(&format!("{place}:")), "{text}\nwanted {expected}\n{told}");
        for fragment in fragments.split(" ... ") {
            assert!(line.contains(fragment), "{text}\nwanted {fragment}\n{told}");
        }
    }
}

#[test]
fn a_mistake_in_the_notation_leads_to_its_cure() {
    let site = "(\n wpath: \"SRC\",\n rpath: \"/m\",\n rnodes: [\"h:\"],\n";
    for (line, expected) in [
        ("rspeed = 5,", "5: `=` behind the key ... write a colon: `rspeed:`"),
        ("rspeed := 5,", "5: `:=` behind the key"),
        ("rspeed:: 5,", "5: `::` behind the key"),
        ("rspeed 5,", "5: a colon is missing behind the key `rspeed`"),
        ("rspeed: 5;", "5: `;` behind a value: write a comma"),
        ("rspeed: ,", "5: the key `rspeed` has no value: write one: rspeed: 0"),
        ("rspeed,", "5: the key `rspeed` has no value"),
        ("rspeed:\n standby: true,", "6: the key `rspeed` has no value"),
        ("rspeed: 5,000,", "5: a comma inside a number ends it: write 5000"),
        ("rspeed: 5 MB,", "5: must be a whole number ... without a unit"),
        ("rspeed: \"5\",", "5: without quotes: 5"),
        ("stop_timeout: 30s,", "5: must be a whole number ... of seconds ... without a unit"),
        ("rspeed: 5,,", "5: a comma is too many here: remove it"),
        ("(rspeed: 5,", "5: a parenthesis is too many here"),
        ("\"rspeed\": 5,", "5: a key in quotes: write it without: rspeed: 0"),
        ("'rspeed': 5,", "5: a key in quotes"),
        ("r-speed: 5,", "5: `r-speed` cannot be a key: did you mean `rspeed`?"),
        ("log.level: Debug,", "5: `log.level` cannot be a key: did you mean `log`?"),
        ("extra: '-a',", "5: a text in single quotes: write double quotes: extra: \"-a\""),
        ("extra: `-a`,", "5: a text in backticks"),
        ("extra: \u{201c}-a\u{201d},", "5: a text in typographic quotes: write double quotes: extra: \"-a\""),
        ("extra: -a -z,", "5: a text without quotes ... extra: \"-a -z\""),
        ("extra: \"-a,", "5: a quote is not closed: write \"-a\""),
        ("extra: \"-a, // why", "5: a quote is not closed: write \"-a\""),
        ("extra: -a\",", "5: a text without quotes"),
        ("extra: \"-e \"ssh -p 1\"\",", "5: a quote inside a text ends it: write `\\\"`"),
        ("extra: \"C:\\q\",", "5: `\\q` in a text means nothing: write `\\\\` for a backslash ... extra: r\"...\""),
        ("extra: r\"-a,", "5: a raw text is not closed"),
        ("extra: \"-a\" \"-z\",", "5: there is text behind the value"),
        ("extra: \"-a\" + \"-z\",", "5: there is text behind the value"),
        ("extra: [\"-a\",\n rspeed: 5,", "5: a list is not closed: `]` is missing"),
        ("extra: [\"-a\"\n rspeed: 5,", "5: a list is not closed: `]` is missing"),
        ("extra: [\"-a\"),", "5: `)` does not close the list: write `]`"),
        ("extra: [\"-a\" \"-z\"],", "5: a comma is missing between two values"),
        ("extra: [\"-a\"; \"-z\"],", "5: `;` between two values"),
        ("extra: [\"-a\",, \"-z\"],", "5: a comma is too many"),
        ("rexcludes: [*.tmp],", "5: a text without quotes ... \"*.tmp\""),
        ("rexcludes: [\"*.tmp],", "5: a quote is not closed: write \"*.tmp\""),
        ("rexcludes: *.tmp,", "5: a text without quotes ... rexcludes: [\"*.tmp\"]"),
        ("rexcludes: {\"*.tmp\"},\n standby: true]", "5: braces are not used here: write `[` and `]`"),
        ("settle: [(\"*.part\": 30)],", "5: `:` between two values: write a comma"),
        ("log: (format: Json level: Debug),", "5: a comma is missing behind the value of `format`"),
        ("log: (format: Json,\n rspeed: 5,", "5: a group is not closed: `)` is missing"),
        ("# why\n rspeed: 5, # so", "5: `#` begins no comment here: begin each comment with `//`"),
        ("-- why", "5: `--` begins no comment here"),
        ("/* why", "5: a `/*` comment is not closed"),
        ("\u{a0}rspeed: 5,", "5: none of the keyboard's"),
        ("include \"x.ron\",", "5: a colon is missing ... write include: \"common.ron\""),
    ] {
        let text = format!("{site} {line}\n)");
        let told = told(&text);
        let first = told.lines().next().unwrap_or_default();
        let (place, fragments) = expected.split_once(": ").unwrap();
        assert!(first.starts_with(&format!("{place}:")), "{line}\nwanted {expected}\n{told}");
        assert!(fragments.split(" ... ").all(|fragment| first.contains(fragment)), "{line}\nwanted {expected}\n{told}");
        // One mistake is one complaint, but where another bracket or the end is missing because of it.
        let more = ["(rspeed", "/* why", "{\"*.tmp", "-a\",", "[\"-a\"\n"].iter().any(|start| line.contains(start));
        assert!(more || told.lines().count() == 1, "{line}\n{told}");
    }
}

#[test]
fn what_closes_the_file_is_told() {
    let keys = "wpath: \"SRC\", rpath: \"/m\", rnodes: [\"h:\"]";
    for (text, expected) in [
        (format!("({keys}"), "1: the file ends too early: the closing `)` is missing: write `)` at the end"),
        (format!("({keys}\n]"), "2: `]` closes nothing here: write `)` instead"),
        (format!("({keys}\n}}"), "2: `}` closes nothing here: write `)` instead"),
        (format!("({keys}\n),"), "2: there is text behind the closing `)`: remove the comma"),
        (format!("({keys}\n))"), "2: there is text behind the closing `)`: remove the `)`"),
        (format!("({keys}\n)\n({keys})"), "3: one file mirrors one tree"),
        (format!("({keys}\n)\nrspeed: 5"), "3: there is text behind the closing `)`: move the `)`"),
    ] {
        expect(&text, &[expected]);
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_in_the_order_of_its_lines() {
    expect(
        "(\n  wPath: \"/a\",\n  rpath = \"m\",\n  rnodes: [\"h\", ssh],\n  exclude: ['*.o'],\n  rspeed: \"5\",\n  standby: yes\n  log: (level: info),\n)",
        &[
            "2: unknown key `wPath` ... did you mean `wpath`?",
            "3: `=` behind the key `rpath`",
            "3: rpath `m` is relative",
            "4: a text without quotes",
            "5: a text in single quotes",
            "6: without quotes: 5",
            "7: `standby` must be true or false ... write true",
            "7: a comma is missing behind the value of `standby`",
            "8: `log.level` cannot be `info`: write Info",
        ],
    );
    expect(
        "(\n  wpath: \"/no/such\",\n  rpath: \"/m\",\n  rnodes: [\"h\", \"h:\", \"i\"],\n  rexcludes: [\"a/b\", \"ok\", \"./c\"],\n  extra: [\"-a\", \"-u\", \"-n\"],\n)",
        &[
            "2: wpath `/no/such` does not exist",
            "4: `rnodes[0]`: node `h` names neither",
            "4: `rnodes[2]`: node `i` names neither",
            "5: `rexcludes[0]` ... write `/a/b`",
            "5: `rexcludes[2]` ... without it: `/c`",
            "6: `extra[1]`: -u is refused",
            "6: `extra[2]`: -n is refused",
        ],
    );
}

#[test]
fn a_file_of_another_program_or_notation_is_recognised() {
    for (text, expected) in [
        ("settings {\n  logfile = \"/x\",\n}\n", "1: this is a configuration of lsyncd ... docs/migrating.md"),
        ("----\n-- User\n----\nsync{default.rsync, source=\"/x\"}\n", "4: this is a configuration of lsyncd"),
        ("-- c\nlocal x = 1\nsync {\n  default.rsyncssh,\n}\n", "3: this is a configuration of lsyncd"),
        ("wpath = \"/x\"\nrnodes = [\"h:\"]\n", "1: as for the Python inosync ... docs/migrating.md"),
        ("#!/usr/bin/python\nimport socket\nwpath = \"/x\"\n", "2: as for the Python inosync ... docs/migrating.md"),
        ("{\n  \"wpath\": \"/x\"\n}", "1: braces, as JSON ... keys without quotes"),
        ("Site {\n  wpath: \"/x\"\n}", "1: braces, as JSON"),
        ("wpath: \"/x\"\nrpath: \"/y\"\n", "1: around all keys ... a comma behind each value"),
        ("---\nwpath: /x\n", "1: this is YAML"),
        ("<config/>", "1: this is XML"),
        ("[site]\nwpath = \"/x\"\n", "1: begins with a bracket (INI, TOML, JSON)"),
        ("hello", "1: one pair of parentheses ... notation: (key: value"),
        ("\u{7f}ELF\0", "1: the file is no text ... name the configuration with -c FILE"),
    ] {
        expect(text, &[expected]);
    }
}

#[test]
fn tabs_line_ends_and_unusual_layouts_are_right() {
    for text in [
        "(\r\n\twpath: \"SRC\",\r\n\trpath: \"/m\",\r\n\trnodes: [\"h:\"],\r\n)\r\n",
        "#![enable(implicit_some)]\nSite(wpath: \"SRC\" // c\n, rpath: r#\"/m\"#, rnodes: [\"h:\" /* c */], extra: Some(\"-a\"))",
        "(wpath: \"SRC\", rpath: \"/m\", rnodes: [\"h:\"], extra: None, log: Log(format: Json))",
    ] {
        assert_eq!(told(text), "", "{text}");
    }
}

#[test]
fn a_file_of_nothing_but_brackets_commas_or_keys_is_refused() {
    let keys: String = (0..20_000).map(|number| format!("key{number}: 1,\n")).collect();
    for (body, expected) in [
        ("rnodes: ".to_owned() + &"[\n".repeat(100_000), "brackets are in each other too often"),
        ("rnodes: ".to_owned() + &"(\n".repeat(100_000), "brackets are in each other too often"),
        ("log: ".to_owned() + &"{a:\n".repeat(100_000), "brackets are in each other too often"),
        (",\n".repeat(100_000), "a comma is too many here"),
        ("]\n".repeat(100_000), "`]` closes nothing here"),
        (keys, "unknown key `key0`"),
    ] {
        let text = format!("({body}");
        for text in [format!("{text})"), text] {
            let Err(ConfigError::Wrong(complaints)) = check_text(&text) else {
                panic!("{expected}: it is taken");
            };
            assert!(complaints.to_string().contains(expected), "{expected}\n{complaints:.300}");
        }
    }
}
