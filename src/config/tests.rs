//! Every wrong configuration has its own message at its own place.

use inosync_actors::site::extra::Extra;
use inosync_actors::site::{DirMoves, InitialSync};
use slog::Level;

use super::keys::Key;
use super::places::DEFAULT_RSYNC;
use super::*;
use crate::logging::{Format, LogStyle};

mod docs;
mod fuzz;
mod included;
mod node_options;
mod refusals;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

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

    fn load(&self, text: &str) -> Result<Site, ConfigError> {
        self.read(text).map(|read| read.site)
    }

    fn read(&self, text: &str) -> Result<Configuration, ConfigError> {
        let file = self.path("site.ron");
        fs::write(&file, self.fill(text)).unwrap();
        load(&file)
    }

    /// The keys that are always needed, on lines 2 to 5, with more of them on line 6.
    fn load_with(&self, more: &str) -> Result<Site, ConfigError> {
        self.read_with(more).map(|read| read.site)
    }

    fn read_with(&self, more: &str) -> Result<Configuration, ConfigError> {
        let needed = "wpath: \"DIR/src\",\nrpath: \"/m\",\nrnodes: [\"h:\"],\nrsync: \"DIR/rsync\",\n";
        self.read(&format!("(\n{needed}{more}\n)"))
    }

    /// Expects `text` to be refused at `line:column` with `width` carets, by a message with all the `fragments`.
    fn refuses(&self, text: &str, place: &str, width: usize, fragments: &[&str]) {
        let error = self.load(text).expect_err(text);
        self.expect(&error, place, width, fragments);
    }

    fn expect(&self, error: &ConfigError, place: &str, width: usize, fragments: &[&str]) {
        let message = error.to_string();
        let prefix = format!("{}:{place}: ", self.path("site.ron").display());
        let start = message.find(&prefix);
        let Some(complaint) = start.and_then(|start| message.get(start..)) else { panic!("wanted {place}\n{message}") };
        let message = complaint.to_owned();
        let carets = message.lines().nth(2).unwrap_or_default();
        assert_eq!(carets.matches('^').count(), width, "{message}");
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
    let site = machine.load("(wpath: \"DIR/src\", rpath: \"/m\", rnodes: [\"h:\"], rsync: \"DIR/rsync\")").unwrap();
    assert_eq!(site.wpath, machine.path("src"));
    assert_eq!(site.nodes.iter().map(|node| node.dest().to_owned()).collect::<Vec<_>>(), ["h:/m/"]);
    assert!(site.excludes.is_empty() && site.extra == Extra::default() && site.logfile.is_none());
    assert_eq!((site.rspeed, site.stop_timeout, site.resync_every), (0.into(), Duration::from_secs(30), None));
    assert_eq!(site.watch_poll, Duration::from_secs(60));
    assert_eq!((site.initial_sync, site.dir_moves), (InitialSync::Full, DirMoves::Log));
    assert_eq!((site.standby, site.max_standbys, site.ssh_master, site.bulk_size), (true, 128, true, 8 << 20));
    assert_eq!((site.allow_empty, site.marker, site.max_delete), (false, None, None));
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
            initial_sync: Update, dir_moves: Replicate, standby: false, max_standbys: 7, ssh_master: false, bulk_size: 3,
            state_dir: "DIR/state", staging: "DIR/links", stop_timeout: 0, allow_empty: true, marker: "d/.here", max_delete: 1_000,
            watch_poll: 5, settle: [("*.part", 30), ("/up/*", 5)], await_names: false, heartbeat: 10, resync_every: 60,
            reconcile_jobs: 4, node_threads: 0,
        )"#;
    let site = machine.load(text).unwrap();
    assert_eq!(site.nodes.iter().map(|node| node.name()).collect::<Vec<_>>(), ["a:", "b::www", "/mnt"]);
    assert_eq!(site.extra.words(), ["-a", "-e", "ssh -p 1"]);
    assert_eq!((site.rsync, site.logfile), (machine.path("rsync"), Some(machine.path("log"))));
    assert_eq!((site.rspeed, site.stop_timeout, site.initial_sync), (5000.into(), Duration::ZERO, InitialSync::Update));
    assert_eq!((site.dir_moves, site.resync_every), (DirMoves::Replicate, Some(Duration::from_secs(60))));
    assert_eq!((site.standby, site.max_standbys, site.ssh_master, site.bulk_size), (false, 7, false, 3 << 20));
    let marker = inosync_actors::path::RelPath::new(b"d/.here").unwrap();
    assert_eq!((site.allow_empty, site.marker, site.max_delete), (true, Some(marker), Some(1000)));
    assert_eq!((site.watch_poll, site.await_names), (Duration::from_secs(5), false));
    assert_eq!(site.heartbeat, Some(Duration::from_secs(10)));
    assert_eq!((site.reconcile_jobs, site.node_threads), (Some(4), Some(0)));
    assert!(site.excludes.excludes(&inosync_actors::path::RelPath::new(b".inosync-heartbeat").unwrap(), false));
    let time = |path: &[u8]| site.settle.time(&inosync_actors::path::RelPath::new(path).unwrap());
    let seconds = |path| time(path).map(|time| time.as_secs());
    assert_eq!((seconds(b"a.part"), seconds(b"up/a"), seconds(b"a")), (Some(30), Some(5), None));
    assert!(site.excludes.excludes(&inosync_actors::path::RelPath::new(b"x/a.o").unwrap(), false));
}

#[test]
fn the_log_is_text_at_level_info_unless_the_file_says_otherwise() {
    let machine = Machine::new();
    for (more, format, level) in [
        ("", Format::Text, Level::Info),
        ("log: ()", Format::Text, Level::Info),
        ("log: (level: Warning)", Format::Text, Level::Warning),
        ("log: Log(format: Json /* c */,)", Format::Json, Level::Info),
        ("log: (format: Text, level: Debug)", Format::Text, Level::Debug),
    ] {
        assert_eq!(machine.read_with(more).unwrap().service.log, LogStyle { format, level }, "{more}");
    }
}

#[test]
fn what_the_daemon_keeps_is_named_after_the_configuration_file() {
    let machine = Machine::new();
    let name = machine.path("site.ron").display().to_string().replace('/', "%");
    let in_dir = |dir: &str, extension: &str| Some(machine.path(dir).join(format!("{name}.{extension}")));
    for (more, state_file, staging) in [
        ("state_dir: \"DIR/s\"", in_dir("s", "redb"), in_dir("s", "staging")),
        ("state_dir: \"DIR/s\", staging: \"DIR/t\"", in_dir("s", "redb"), in_dir("t", "staging")),
        ("state_dir: \"DIR/s\", staging: \"\"", in_dir("s", "redb"), None),
        ("state_dir: \"\"", None, None),
        ("state_dir: \"\", staging: \"DIR/t\"", None, in_dir("t", "staging")),
        // Inside of the source, if it is excluded there.
        (
            "state_dir: \"DIR/s\", staging: \"DIR/src/.own\", rexcludes: [\"/.own/\"]",
            in_dir("s", "redb"),
            in_dir("src/.own", "staging"),
        ),
    ] {
        let site = machine.load_with(more).unwrap();
        assert_eq!((site.state_file, site.staging), (state_file, staging), "{more}");
    }
    let site = machine.load_with("").unwrap();
    let beside = |path: PathBuf| path.parent().map(|dir| dir.join(format!("{name}.staging")));
    assert_eq!(site.staging, site.state_file.and_then(beside));
}

#[test]
fn what_the_daemon_keeps_is_in_no_local_mirror() {
    let machine = Machine::new();
    fs::create_dir(machine.path("m")).unwrap();
    for key in ["state_dir", "staging"] {
        let text = format!(
            "(wpath: \"DIR/src\", rpath: \"DIR/m\", rnodes: [\"\"], rsync: \"DIR/rsync\",\n{key}: \"DIR/m/x\")"
        );
        let (place, width) = (format!("2:{}", key.len() + 3), machine.path("m/x").as_os_str().len() + 2);
        machine.refuses(
            &text,
            &place,
            width,
            &[&format!("{key} `DIR/m/x` lies in a local mirror, which would delete it")],
        );
    }
}

#[test]
fn no_time_between_resyncs_is_never() {
    assert_eq!(Machine::new().load_with("resync_every: 0").unwrap().resync_every, None);
}

#[test]
fn extra_may_be_a_list() {
    let machine = Machine::new();
    let site = machine.load_with("extra: [\"-a\", \"--rsh=ssh -p 1\"]").unwrap();
    assert_eq!(site.extra.words(), ["-a", "--rsh=ssh -p 1"]);
    assert!(site.extra.rsh().is_some());
}

#[test]
fn a_symlinked_source_keeps_its_name() {
    let machine = Machine::new();
    symlink(machine.path("src"), machine.path("link")).unwrap();
    let text = "(wpath: \"DIR/link\", rpath: \"/m\", rnodes: [\"h:\"], rsync: \"DIR/rsync\")";
    assert_eq!(machine.load(text).unwrap().wpath, machine.path("link"));
}

#[test]
fn a_directory_beside_the_source_may_be_its_mirror() {
    let machine = Machine::new();
    for rpath in ["DIR/src2", "DIR/sr", "DIR/new/src"] {
        let text = format!("(wpath: \"DIR/src\", rpath: \"{rpath}\", rnodes: [\"\", \"h:\"], rsync: \"DIR/rsync\")");
        assert_eq!(machine.load(&text).unwrap().nodes.len(), 2, "{rpath}");
    }
}

#[test]
fn a_mirror_in_the_source_must_be_excluded_as_a_whole() {
    let machine = Machine::new();
    fs::create_dir_all(machine.path("src/mnt/disk")).unwrap();
    symlink(machine.path("src/mnt"), machine.path("alias")).unwrap();
    symlink(machine.path("src/sub"), machine.path("src/mnt/out")).unwrap();
    for (rpath, excludes, taken) in [
        ("DIR/src/mnt/disk/copy", "\"/mnt\"", true),
        ("DIR/src/mnt/disk/copy", "\"/mnt/*\"", true),
        ("DIR/src/mnt/disk/copy", "\"disk/\"", true),
        ("DIR/src/mnt/disk/copy", "\"/mnt/disk/copy\"", true),
        ("DIR/alias/disk", "\"/mnt/disk\"", true),
        ("DIR/src/mnt", "\"/mnt\"", true),
        // A part of it is mirrored, or what holds it by another name.
        ("DIR/src/mnt/disk/copy", "\"/mnt/disk/copy/*\"", false),
        ("DIR/src/mnt/disk/copy", "\"/mnt/disk/copy/sub\", \"/mnt2\"", false),
        ("DIR/src/mnt", "\"/mnt/*\"", false),
        ("DIR/src/mnt/out/copy", "\"/mnt\"", false),
        ("DIR/src", "\"/*\"", false),
        ("DIR", "\"/*\"", false),
    ] {
        let text = format!(
            "(wpath: \"DIR/src\", rpath: \"{rpath}\", rnodes: [\"\"], rsync: \"DIR/rsync\", rexcludes: [{excludes}])"
        );
        let loaded = machine.load(&text);
        assert_eq!(loaded.is_ok(), taken, "{text}: {loaded:?}");
        if let Err(error) = loaded {
            assert!(error.to_string().contains("the watched directory"), "{error}");
        }
    }
    // Beside the mirror, and not in it.
    let text = |dir: &str| {
        format!(
            "(wpath: \"DIR/src\", rpath: \"DIR/src/mnt/disk/copy\", rnodes: [\"\"], rsync: \"DIR/rsync\", rexcludes: [\"/mnt\"],\n\
             state_dir: \"{dir}\", staging: \"{dir}\", logfile: \"{dir}/log\")"
        )
    };
    assert!(machine.load(&text("DIR/src/mnt/disk")).is_ok());
    fs::create_dir_all(machine.path("src/mnt/disk/copy/own")).unwrap();
    let error = machine.load(&text("DIR/src/mnt/disk/copy/own")).unwrap_err().to_string();
    assert_eq!(error.matches("lies in a local mirror, which would delete it").count(), 3, "{error}");
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
    let file = file::TextFile::of_text("site.ron", "()");
    let error = places::program(file.source(), None, Path::new("/no/such/rsync")).unwrap_err();
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
    let check = |damaged: &str| match check_text(damaged) {
        Ok(_) => true,
        Err(error) => {
            let shown = error.to_string();
            let place = shown.lines().next().unwrap().strip_prefix("f:");
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
    let site = machine.load(&text).unwrap();
    assert_eq!(site.wpath, machine.path("source"));
    assert_eq!(site.nodes.iter().filter_map(|node| node.local_path()).collect::<Vec<_>>(), [machine.path("mirror")]);
    assert!(example.contains(&format!("mkdir -p {demo}/source")), "the demo creates what it needs");
}

#[test]
fn the_example_documents_every_key_and_its_alternatives_are_valid() {
    let example = include_str!("../../config.ron.example");
    for key in KEYS.iter().map(|key| key.name) {
        let documented = |line: &str| line.trim_start().trim_start_matches("// ").starts_with(&format!("{key}: "));
        assert!(example.lines().any(documented), "{key}");
    }
    let commented = |prefix: &'static str| example.lines().filter_map(move |line| line.trim().strip_prefix(prefix));
    for node in commented("// \"").filter_map(|line| line.strip_suffix("\",")) {
        inosync_actors::node::Node::parse(node, "/m").unwrap();
    }
    for extra in commented("// extra: \"").filter_map(|line| line.strip_suffix("\",")) {
        Extra::parse(extra).unwrap();
    }
}
