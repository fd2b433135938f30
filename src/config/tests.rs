//! Every wrong configuration has its own message at its own place.

use super::*;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

/// A directory with a source `src`, a plain file `file` and a program `rsync`. `DIR` in a text stands for it.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("src/sub")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        fs::write(dir.path().join("rsync"), "").unwrap();
        fs::set_permissions(dir.path().join("rsync"), fs::Permissions::from_mode(0o755)).unwrap();
        Machine(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    /// `text` with `DIR` replaced by the directory.
    fn fill(&self, text: &str) -> String {
        text.replace("DIR", self.path("").to_string_lossy().trim_end_matches('/'))
    }

    fn load(&self, text: &str) -> Result<Loaded, ConfigError> {
        let file = self.path("site.ron");
        fs::write(&file, self.fill(text)).unwrap();
        load(&file)
    }

    /// The keys that are always needed, on lines 2 to 5, with more of them on line 6.
    fn load_with(&self, more: &str) -> Result<Loaded, ConfigError> {
        let needed = "wpath: \"DIR/src\",\nrpath: \"/m\",\nrnodes: [\"h:\"],\nrsync: \"DIR/rsync\",\n";
        self.load(&format!("(\n{needed}{more}\n)"))
    }

    /// Expects `text` to be refused at `line:column` with `width` carets, by a message with all the `fragments`.
    fn refuses(&self, text: &str, place: &str, width: usize, fragments: &[&str]) {
        let error = self.load(text).expect_err(text);
        self.expect(&error, place, width, fragments);
    }

    fn expect(&self, error: &ConfigError, place: &str, width: usize, fragments: &[&str]) {
        let message = error.to_string();
        let prefix = format!("{}:{place}: ", self.path("site.ron").display());
        assert!(message.starts_with(&prefix), "wanted {place}\n{message}");
        assert_eq!(message.matches('^').count(), width, "{message}");
        for fragment in fragments {
            let fragment = self.fill(fragment);
            assert!(message.contains(&fragment), "wanted {fragment}\n{message}");
        }
        let cure = message.lines().last().unwrap();
        assert!(cure.starts_with("  ") && cure.trim().len() > 5 && !cure.contains('^'), "no cure\n{message}");
        assert_eq!(error.exit_code(), Exit::Config, "{message}");
    }
}

#[test]
fn a_minimal_file_has_the_documented_defaults() {
    let machine = Machine::new();
    let loaded = machine.load("(wpath: \"DIR/src\", rpath: \"/m\", rnodes: [\"h:\"], rsync: \"DIR/rsync\")").unwrap();
    let site = loaded.site;
    assert_eq!(site.wpath, machine.path("src"));
    assert_eq!(site.nodes.iter().map(|node| node.dest().to_owned()).collect::<Vec<_>>(), ["h:/m/"]);
    assert!(site.excludes.is_empty() && site.extra == Extra::default() && site.logfile.is_none());
    assert_eq!((site.rspeed, site.stop_timeout), (0, Duration::from_secs(30)));
    assert_eq!((site.initial_sync, site.dir_moves), (InitialSync::Full, DirMoves::Log));
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn every_key_is_taken_over() {
    let machine = Machine::new();
    let text = r#"
        // a comment with ( and " in it
        Site(
            wpath: /* inline */ "DIR/src/", // trailing
            rexcludes: [
                // inside
                r"*.o", "cache/",
            ],
            rpath: "/m",
            rnodes: ["a:", "b::www", "/mnt",],
            extra: Some("-a -e 'ssh -p 1'"),
            rspeed: 5_000, rsync: "DIR/rsync", logfile: "DIR/log",
            initial_sync: Update, dir_moves: Log, standby: false, stop_timeout: 0,
        )"#;
    let Loaded { site, warnings } = machine.load(text).unwrap();
    assert_eq!(site.nodes.iter().map(|node| node.name()).collect::<Vec<_>>(), ["a:", "b::www", "/mnt"]);
    assert_eq!(site.extra.words(), ["-a", "-e", "ssh -p 1"]);
    assert_eq!((site.rsync, site.logfile), (machine.path("rsync"), Some(machine.path("log"))));
    assert_eq!((site.rspeed, site.stop_timeout, site.initial_sync), (5000, Duration::ZERO, InitialSync::Update));
    assert!(site.excludes.excludes(&inosync_actors::path::RelPath::new(b"x/a.o").unwrap(), false));
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn extra_may_be_a_list() {
    let machine = Machine::new();
    let site = machine.load_with("extra: [\"-a\", \"--rsh=ssh -p 1\"]").unwrap().site;
    assert_eq!(site.extra.words(), ["-a", "--rsh=ssh -p 1"]);
    assert!(site.extra.sets_rsh());
}

#[test]
fn a_symlinked_source_is_resolved() {
    let machine = Machine::new();
    symlink(machine.path("src"), machine.path("link")).unwrap();
    let text = "(wpath: \"DIR/link\", rpath: \"/m\", rnodes: [\"h:\"], rsync: \"DIR/rsync\")";
    assert_eq!(machine.load(text).unwrap().site.wpath, machine.path("src"));
}

#[test]
fn a_wrong_notation_is_shown_where_it_is() {
    let machine = Machine::new();
    for (text, place, width, fragments) in [
        ("", "1:1", 1, &["the file is empty", "at least: (wpath:"][..]),
        (" \n \n", "1:1", 1, &["the file is empty"]),
        ("// nothing\n", "2:1", 1, &["one pair of parentheses"]),
        ("wpath: \"/a\"", "1:1", 5, &["one pair of parentheses", "notation: (key: value"]),
        ("{ \"wpath\": \"/a\" }", "1:1", 1, &["one pair of parentheses"]),
        (
            "(\n  excluds: [\"*.o\"],\n)",
            "2:3",
            7,
            &[
                "unknown key `excluds`",
                "\n    2 |   excluds: [\"*.o\"],\n      |   ^^^^^^^\n  allowed keys: wpath, rexcludes, ",
            ],
        ),
        ("(\n  wpath: \"/a\",\n  wpath: \"/b\",\n)", "3:3", 5, &["the key `wpath` is given twice", "keep one"]),
        ("(\n  wpath: \"/a\",\n  rpath: \"/b\",\n)", "4:1", 1, &["the key `rnodes` is missing", "add rnodes: ["]),
        ("(\n  wpath: \"/a\",\n  rnodes: [],\n)", "4:1", 1, &["the key `rpath` is missing", "add rpath: \"/var/www\""]),
        ("()", "1:2", 1, &["the key `wpath` is missing", "add wpath: \"/var/www\""]),
        ("(\n  wpath \"/a\",\n)", "2:9", 1, &["a colon is missing"]),
        ("(\n  wpath: \"/a\"\n  rpath: \"/b\",\n)", "3:3", 1, &["a comma is missing"]),
        ("(\n  wpath: \"/a,\n  rpath: /b,\n)", "2:10", 1, &["a quote is not closed"]),
        ("(\n  rnodes: [\"a:\",\n)", "3:1", 1, &["`)` cannot stand here: a value or a closing bracket is missing"]),
        ("(\n  rnodes: [\"a:\"\n", "3:1", 1, &["a comma is missing, or a bracket is not closed"]),
        ("(wpath: \"/a\",", "1:14", 1, &["the file ends too early"]),
        ("(wpath: \"DIR/src\", rpath: \"/m\", rnodes: [\"h:\"]) x", "1:PLUS", 1, &["text behind the closing `)`"]),
        ("(\n /* x\n)", "2:5", 1, &["comment is not closed"]),
        ("(\n  wpath: \"/a\\q\",\n)", "2:11", 4, &["unknown escape character"]),
    ] {
        // The length of DIR moves this one.
        let column = machine.fill(text).chars().count();
        machine.refuses(text, &place.replace("PLUS", &column.to_string()), width, fragments);
    }
}

#[test]
fn a_wrong_value_is_shown_where_it_is() {
    let machine = Machine::new();
    for (more, place, width, fragments) in [
        (
            "rexcludes: \"*.o\"",
            "6:12",
            5,
            &["`rexcludes` must be a list, but is the string `\"*.o\"`", "in brackets: rexcludes: [\"*.o\"]"][..],
        ),
        (
            "rexcludes: [\"a\", 7]",
            "6:18",
            1,
            &["`rexcludes[1]` must be a string, but is the number `7`", "rexcludes: \"...\""],
        ),
        ("rexcludes: [\"a\",\n  \"\"]", "7:3", 2, &["`rexcludes[1]`: "]),
        ("extra: true", "6:8", 4, &["`extra` must be a string, but is `true`"]),
        ("extra: \"-a --from0\"", "6:8", 12, &["`extra`: --from0 is refused\n", "its own list"]),
        ("extra: \"-a /etc\"", "6:8", 9, &["`/etc` is no option"]),
        ("extra: \"-e 'ssh\"", "6:8", 9, &["a quote is not closed", "write a list with one string"]),
        ("extra: [\"-a\", \"--delete\"]", "6:15", 10, &["`extra[1]`: --delete is refused", "leave it out"]),
        ("extra: [\"-T\", \"/t\", \"-e\"]", "6:21", 4, &["`extra[2]`: `-e` needs a value"]),
        ("rspeed: -1", "6:9", 2, &["whole number from 0 to 1000000000, but is the number `-1`", "KB/s"]),
        ("rspeed: 1.5", "6:9", 3, &["but is the number `1.5`"]),
        ("rspeed: 1000000001", "6:9", 10, &["from 0 to 1000000000"]),
        ("rspeed: 99999999999999999999999", "6:9", 23, &["from 0 to 1000000000"]),
        ("rspeed: \"5\"", "6:9", 3, &["but is the string `\"5\"`", "without quotes"]),
        ("stop_timeout: 86401", "6:15", 5, &["whole number from 0 to 86400", "seconds"]),
        ("stop_timeout: -5", "6:15", 2, &["`stop_timeout` must be a whole number"]),
        ("rsync: \"/bin/rsync\"", "6:1", 5, &["the key `rsync` is given twice"]),
        ("logfile: \"rsync.log\"", "6:10", 11, &["logfile `rsync.log` is relative", "such as logfile: \"/rsync.log\""]),
        (
            "logfile: \"/no/such/dir/x\"",
            "6:10",
            16,
            &["the directory of logfile, `/no/such/dir`, cannot be opened", "create the directory"],
        ),
        ("logfile: \"DIR/file/x\"", "6:10", 0, &["the directory of logfile, `DIR/file`"]),
        ("logfile: \"DIR/src\"", "6:10", 0, &["is a directory", "name a file in it"]),
        ("logfile: \"/\"", "6:10", 3, &["is no file"]),
        ("logfile: \"DIR/src/sub/x.log\"", "6:10", 0, &["lies in the watched directory", "exclude it by `rexcludes`"]),
        (
            "initial_sync: full",
            "6:15",
            4,
            &["`initial_sync` cannot be `full`", "allowed: Full, Update, Off (without quotes)"],
        ),
        ("initial_sync: \"Full\"", "6:15", 6, &["cannot be the string `\"Full\"`", "(without quotes)"]),
        ("initial_sync: [Full]", "6:15", 6, &["cannot be a list"]),
        ("dir_moves: Replicate", "6:12", 9, &["not available in this version; Log is", "write dir_moves: Log"]),
        ("dir_moves: 1", "6:12", 1, &["`dir_moves` cannot be the number `1`", "allowed: Log"]),
        ("standby: 1", "6:10", 1, &["`standby` must be true or false, but is the number `1`", "allowed: true, false"]),
        ("standby: \"true\"", "6:10", 6, &["must be true or false"]),
        ("standby: yes", "6:10", 3, &["but is `yes`"]),
        ("standby: trueish", "6:10", 7, &["but is `trueish`"]),
        ("/* a\n b */ rspeed: /* c */ x // d", "7:23", 1, &["but is `x`"]),
    ] {
        let error = machine.load_with(more).expect_err(more);
        // 0 stands for the length of a value with DIR in it.
        let value = machine.fill(more.split_once(": ").unwrap().1);
        let width = if width == 0 { value.chars().count() } else { width };
        machine.expect(&error, place, width, fragments);
    }
}

#[test]
fn a_wrong_path_or_node_is_shown_where_it_is() {
    let machine = Machine::new();
    symlink(machine.path("src"), machine.path("alias")).unwrap();
    symlink(machine.path(""), machine.path("up")).unwrap();
    for (wpath, rpath, rnodes, place, fragments) in [
        ("\"src\"", "\"/m\"", "[\"h:\"]", "2:8", &["wpath `src` is relative", "such as wpath: \"/src\""][..]),
        ("7", "\"/m\"", "[\"h:\"]", "2:8", &["`wpath` must be a string, but is the number `7`"]),
        ("['a']", "\"/m\"", "[\"h:\"]", "2:8", &["`wpath` must be a string, but is a list"]),
        ("\"DIR/none\"", "\"/m\"", "[\"h:\"]", "2:8", &["wpath `DIR/none` does not exist", "create the directory"]),
        ("\"DIR/file\"", "\"/m\"", "[\"h:\"]", "2:8", &["wpath `DIR/file` is not a directory", "name a directory"]),
        ("\"DIR/file/x\"", "\"/m\"", "[\"h:\"]", "2:8", &["cannot be opened", "make it a directory"]),
        ("\"DIR/src\"", "\"m\"", "[\"h:\"]", "3:8", &["rpath `m` is relative", "write an absolute path"]),
        ("\"DIR/src\"", "\"/m/../n\"", "[\"h:\"]", "3:8", &["`.` or `..` component"]),
        (
            "\"DIR/src\"",
            "\"/m*\"",
            "[\"\", \"h:\"]",
            "3:8",
            &["`rpath`: `/m*` holds `*`, which the remote side of node `h:`"],
        ),
        ("\"DIR/src\"", "\"/\"", "[\"h::m\", \"h:\"]", "3:8", &["is the root directory of the machine"]),
        ("\"DIR/src\"", "\"/m\"", "[]", "4:9", &["`rnodes` is empty", "name at least one"]),
        ("\"DIR/src\"", "\"/m\"", "\"h:\"", "4:9", &["`rnodes` must be a list", "in brackets: rnodes: [\"h:\"]"]),
        ("\"DIR/src\"", "\"/m\"", "[\"h:\", 5]", "4:16", &["`rnodes[1]` must be a string"]),
        (
            "\"DIR/src\"",
            "\"/m\"",
            "[\"h:\", \"-oX:\"]",
            "4:16",
            &["`rnodes[1]`: node `-oX:` has a user or host that begins"],
        ),
        (
            "\"DIR/src\"",
            "\"/m\"",
            "[\"h:\", \"mirror\"]",
            "4:16",
            &["names neither a host nor", "`mirror:` for a host"],
        ),
        (
            "\"DIR/src\"",
            "\"/m\"",
            "[\"h:\",\n \"h:/\"]",
            "5:2",
            &["`rnodes[1]`: h:/m/ is the same destination as `rnodes[0]` on line 4", "keep one"],
        ),
        ("\"DIR/src\"", "\"DIR/new\"", "[\"\", \"DIR/up/../\"]", "4:14", &["`.` or `..` component"]),
        ("\"DIR/src\"", "\"/new\"", "[\"DIR\", \"DIR/up\"]", "", &["the same destination as `rnodes[0]`"]),
        (
            "\"DIR/src\"",
            "\"DIR/src\"",
            "[\"h:\", \"\"]",
            "4:16",
            &["the local mirror `DIR/src` is the watched directory", "apart from wpath"],
        ),
        (
            "\"DIR/src\"",
            "\"/m\"",
            "[\"h:\", \"h:/m\"]",
            "4:16",
            &["h:/m/m/ lies inside the mirror of `rnodes[0]` on line 4"],
        ),
        ("\"DIR/src\"", "\"/m\"", "[\"h::w/m\", \"h::w\"]", "4:20", &["h::w/m/ lies around the mirror of"]),
        ("\"DIR/src\"", "\"/no/m\"", "[\"\", \"/no/m\"]", "4:14", &["/no/m/no/m/ lies inside the mirror of"]),
        ("\"DIR/src\"", "\"DIR/alias\"", "[\"h:\", \"\"]", "4:16", &["the local mirror `DIR/alias` is the watched"]),
        ("\"DIR/src\"", "\"DIR/src/new/er\"", "[\"\"]", "4:10", &["lies inside the watched directory `DIR/src`"]),
        ("\"DIR/src\"", "\"DIR/alias/new\"", "[\"\"]", "4:10", &["lies inside the watched directory"]),
        ("\"DIR/alias\"", "\"DIR/src/new\"", "[\"\"]", "4:10", &["lies inside the watched directory"]),
        ("\"DIR/src\"", "\"DIR\"", "[\"\"]", "4:10", &["lies around the watched directory"]),
        ("\"DIR/src\"", "\"DIR/up\"", "[\"\"]", "4:10", &["lies around the watched directory"]),
        ("\"/\"", "\"DIR/new\"", "[\"\"]", "4:10", &["lies inside the watched directory `/`"]),
    ] {
        let text = format!("(\nwpath: {wpath},\nrpath: {rpath},\nrnodes: {rnodes},\nrsync: \"DIR/rsync\",\n)");
        let error = machine.load(&text).expect_err(&text);
        let carets = error.to_string().matches('^').count();
        let place = if place.is_empty() {
            format!("4:{}", 14 + machine.path("").as_os_str().len() - 1)
        } else {
            place.to_owned()
        };
        machine.expect(&error, &place, carets.max(1), fragments);
    }
}

#[test]
fn a_directory_beside_the_source_may_be_its_mirror() {
    let machine = Machine::new();
    for rpath in ["DIR/src2", "DIR/sr", "DIR/new/src"] {
        let text = format!("(wpath: \"DIR/src\", rpath: \"{rpath}\", rnodes: [\"\", \"h:\"], rsync: \"DIR/rsync\")");
        assert_eq!(machine.load(&text).unwrap().site.nodes.len(), 2, "{rpath}");
    }
}

#[test]
fn a_log_file_in_the_source_must_be_excluded() {
    let machine = Machine::new();
    assert!(machine.load_with("logfile: \"DIR/src/sub/x.log\", rexcludes: [\"*.log\"]").is_ok());
    let error = machine.load_with("logfile: \"DIR/src/sub/x.log\", rexcludes: [\"*.txt\"]").unwrap_err();
    assert!(error.to_string().contains("lies in the watched directory"), "{error}");
    symlink(machine.path("src/hidden.txt"), machine.path("link.log")).unwrap();
    fs::write(machine.path("src/hidden.txt"), "").unwrap();
    let error = machine.load_with("logfile: \"DIR/link.log\"").unwrap_err();
    assert!(error.to_string().contains("lies in the watched directory"), "{error}");
}

#[test]
fn a_log_file_in_a_local_mirror_would_be_deleted() {
    let machine = Machine::new();
    fs::create_dir(machine.path("m")).unwrap();
    let text = "(wpath: \"DIR/src\", rpath: \"DIR/m\", rnodes: [\"\"], rsync: \"DIR/rsync\",\nlogfile: \"DIR/m/x\")";
    machine.refuses(text, "2:10", machine.path("m/x").as_os_str().len() + 2, &["lies in a local mirror"]);
}

#[test]
fn a_missing_rsync_is_a_fault_of_the_machine() {
    let machine = Machine::new();
    for (rsync, exit, message) in [
        ("DIR/none", Exit::Environment, "does not exist"),
        ("DIR/file", Exit::Environment, "is not executable"),
        ("DIR/src", Exit::Environment, "is not a file"),
        ("DIR/file/x", Exit::Environment, "cannot be found"),
        ("rsync", Exit::Config, "rsync `rsync` is relative"),
    ] {
        let text = format!("(wpath: \"DIR/src\", rpath: \"/m\", rnodes: [\"h:\"],\nrsync: \"{rsync}\")");
        let error = machine.load(&text).unwrap_err();
        assert_eq!(error.exit_code(), exit, "{error}");
        assert!(error.to_string().contains(message) && error.to_string().contains("site.ron:2:8: "), "{error}");
    }
    let source = Source { file: Path::new("site.ron"), text: "()" };
    let error = check::rsync(source, None, Path::new("/no/such/rsync")).unwrap_err();
    let expected =
        "site.ron: rsync `/no/such/rsync` does not exist\n  install rsync, or name it: rsync: \"/path/of/rsync\"";
    assert_eq!((error.to_string().as_str(), error.exit_code()), (expected, Exit::Environment));
}

#[test]
fn every_damage_to_a_file_is_survived_and_shown_at_a_place() {
    let machine = Machine::new();
    let text = machine.fill(
        "(wpath: \"DIR/src\", // c\n rpath: r#\"/m\"#, rnodes: [\"h:\", /* \u{e9} */ \"\"],\n\
         rexcludes: [\"a\"], extra: [\"-a\"], rspeed: 5, initial_sync: Off, standby: false, rsync: \"DIR/rsync\")",
    );
    let check = |damaged: &str| match check_text(Source { file: Path::new("x"), text: damaged }) {
        Ok(_) => true,
        Err(error) => {
            let shown = error.to_string();
            let place = shown.lines().next().unwrap().strip_prefix("x:");
            assert!(place.is_some_and(|place| place.starts_with(|c: char| c.is_ascii_digit())), "{damaged}\n{shown}");
            false
        }
    };
    assert!(check(&text));
    for (at, c) in text.char_indices() {
        let rest = &text[at + c.len_utf8()..];
        check(&text[..at]);
        check(&[&text[..at], rest].concat());
        for other in ["(", ")", "[", "]", "\"", "\\", "\u{e9}", "/*", "//", "\n", "\0", "'", "#"] {
            check(&[&text[..at], other, rest].concat());
        }
    }
}

#[test]
fn an_explicit_standby_is_warned_about() {
    let machine = Machine::new();
    let warnings = machine.load_with("standby: true").unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("site.ron:6: `standby: true` has no effect"), "{warnings:?}");
}

#[test]
fn a_file_that_cannot_be_read_or_is_no_text_is_named() {
    let machine = Machine::new();
    let error = load(&machine.path("none.ron")).unwrap_err();
    assert!(error.to_string().contains("none.ron: cannot read the configuration: No such file"), "{error}");
    assert_eq!(error.exit_code(), Exit::Config);
    let error = load(&machine.path("src")).unwrap_err();
    assert!(error.to_string().contains("src: cannot read the configuration: Is a directory"), "{error}");

    fs::write(machine.path("site.ron"), b"(\n  wpath: \"/\xc3\xa9\xff\",\n)").unwrap();
    let error = load(&machine.path("site.ron")).unwrap_err();
    machine.expect(&error, "2:13", 1, &["not UTF-8", "save the file as UTF-8"]);
}

#[test]
fn columns_count_characters_and_tabs_keep_the_caret_in_place() {
    let machine = Machine::new();
    let error = machine.load_with("\t/* \u{e9}\u{e9} */ rspeed: \"\u{e9}\"").unwrap_err();
    machine.expect(
        &error,
        "6:19",
        3,
        &["\n    6 |  /* \u{e9}\u{e9} */ rspeed: \"\u{e9}\"\n      |                   ^^^\n"],
    );
}

#[test]
fn the_example_loads_as_it_is_shipped() {
    let machine = Machine::new();
    let example = include_str!("../../config.ron.example");
    let demo = "/tmp/inosync-demo";
    let text =
        example.replace(demo, "DIR").replace("\n    // rsync: \"/usr/local/bin/rsync\"", "\n rsync: \"DIR/rsync\"");
    fs::create_dir(machine.path("source")).unwrap();
    let Loaded { site, warnings } = machine.load(&text).unwrap();
    assert_eq!(site.wpath, machine.path("source"));
    assert_eq!(site.nodes.iter().filter_map(|node| node.local_path()).collect::<Vec<_>>(), [machine.path("mirror")]);
    assert_eq!(warnings, Vec::<String>::new());
    assert!(example.contains(&format!("mkdir -p {demo}/source")), "the demo creates what it needs");
}

#[test]
fn the_example_documents_every_key_and_its_alternatives_are_valid() {
    let example = include_str!("../../config.ron.example");
    for (key, _) in KEYS {
        let documented = |line: &str| line.trim_start().trim_start_matches("// ").starts_with(&format!("{key}: "));
        assert!(example.lines().any(documented), "{key}");
    }
    let commented = |prefix: &'static str| example.lines().filter_map(move |line| line.trim().strip_prefix(prefix));
    for node in commented("// \"").filter_map(|line| line.strip_suffix("\",")) {
        inosync_actors::rsync::node::Node::parse(node, "/m").unwrap();
    }
    for extra in commented("// extra: \"").filter_map(|line| line.strip_suffix("\",")) {
        Extra::parse(extra).unwrap();
    }
}
