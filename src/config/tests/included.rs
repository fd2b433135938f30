//! Files that a configuration is read from beside its own: included ones, and files of patterns.

use super::*;

impl Machine {
    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), self.fill(text)).unwrap();
    }

    /// The keys that are always needed, as `common.ron`.
    fn with_common(&self, more: &str) {
        let needed = "wpath: \"DIR/src\",\nrpath: \"/m\",\nrnodes: [\"h:\"],\nrsync: \"DIR/rsync\",\n";
        self.write("common.ron", &format!("(\n{needed}{more}\n)"));
    }

    fn expect_in(&self, error: &ConfigError, file: &str, place: &str, fragments: &[&str]) {
        let message = error.to_string();
        assert!(message.contains(&format!("{}:{place}: ", self.path(file).display())), "{file}:{place}\n{message}");
        for fragment in fragments {
            assert!(message.contains(&self.fill(fragment)), "wanted {fragment}\n{message}");
        }
    }
}

#[test]
fn keys_of_the_file_itself_win_over_included_ones_and_later_files_over_earlier() {
    let machine = Machine::new();
    machine.with_common("rspeed: 1, bulk_size: 1, stop_timeout: 1, max_delete: 1");
    machine.write("more.ron", "(rspeed: 2, bulk_size: 2, stop_timeout: 2)");
    machine.write("below.ron", "(include: [\"common.ron\"], rspeed: 3)");
    for (text, rspeed, bulk_size, stop_timeout) in [
        ("(include: \"common.ron\")", 1, 1, 1),
        ("(include: [\"common.ron\", \"more.ron\"])", 2, 2, 2),
        ("(include: [\"more.ron\", \"common.ron\"], stop_timeout: 5)", 1, 1, 5),
        ("(rspeed: 9, include: [\"DIR/more.ron\", \"below.ron\"])", 9, 1, 1),
        ("(include: [\"below.ron\", \"more.ron\", \"more.ron\"])", 2, 2, 2),
        ("(include: \"below.ron\")", 3, 1, 1),
    ] {
        let site = machine.load(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        let seconds = site.stop_timeout.as_secs();
        assert_eq!((site.rspeed, site.bulk_size >> 20, seconds), (rspeed, bulk_size, stop_timeout), "{text}");
    }
    // What is taken back has its default again.
    assert_eq!(machine.load("(include: \"common.ron\", max_delete: None)").unwrap().max_delete, None);
}

#[test]
fn a_complaint_about_an_included_value_names_its_own_file_and_line() {
    let machine = Machine::new();
    for (more, place, fragments) in [
        ("rspeed: \"much\"", "6:9", &["`rspeed` must be a whole number", "6 | rspeed: \"much\""][..]),
        ("rspede: 1", "6:1", &["unknown key `rspede`", "did you mean `rspeed`?"]),
        ("extra: [\"-a\",\n\"--files-from=x\"]", "7:1", &["--files-from"]),
        ("rspeed: 1,\nrspeed: 2", "7:1", &["the key `rspeed` is given twice"]),
        ("rspeed = 1", "6:8", &["write a colon"]),
    ] {
        machine.with_common(more);
        let error = machine.load("(include: \"common.ron\")").unwrap_err();
        machine.expect_in(&error, "common.ron", place, fragments);
        assert_eq!(error.exit_code(), Exit::Config);
        assert!(!error.to_string().contains("site.ron"), "{error}");
    }
    // Both files have their faults, and the whole has all keys.
    machine.with_common("bulk_size: -1");
    let error = machine.load("(include: \"common.ron\",\nrspeed: true)").unwrap_err();
    machine.expect_in(&error, "common.ron", "6:12", &[]);
    machine.expect_in(&error, "site.ron", "2:9", &[]);
    // What is missing is missing in the file that the command line names.
    machine.write("common.ron", "(rspeed: 1)");
    let error = machine.load("(include: \"common.ron\")").unwrap_err();
    machine.expect_in(&error, "site.ron", "1:23", &["the key `wpath` is missing"]);
}

#[test]
fn a_file_that_cannot_be_included_is_told_where_it_is_named() {
    let machine = Machine::new();
    machine.write("a.ron", "(rspeed: 1,\n include: \"b.ron\")");
    machine.write("b.ron", "(include: [\n\"./a.ron\"])");
    symlink(machine.path("a.ron"), machine.path("link.ron")).unwrap();
    machine.write("loop.ron", "(include: \"link.ron\")");
    rustix::fs::mknodat(rustix::fs::CWD, machine.path("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for (text, file, place, fragments) in [
        ("(include:\n \"none.ron\")", "site.ron", "2:2", &["`include`: DIR/none.ron cannot be read: No such file"][..]),
        ("(include: [\n\"none.ron\"])", "site.ron", "2:1", &["`include[0]`: DIR/none.ron cannot be read"]),
        ("(include: \"src\")", "site.ron", "1:11", &["DIR/src is not a file"]),
        ("(include: \"fifo\")", "site.ron", "1:11", &["DIR/fifo is not a file"]),
        ("(include: \"\")", "site.ron", "1:11", &["is not a file"]),
        ("(include: \"~/x.ron\")", "site.ron", "1:11", &["`~` is not expanded"]),
        ("(include: 5)", "site.ron", "1:11", &["`include` must be a string"]),
        ("(include: \"site.ron\")", "site.ron", "1:11", &["a circle: DIR/site.ron includes DIR/site.ron"]),
        ("(include: \"a.ron\")", "b.ron", "2:1", &["a circle: DIR/a.ron includes DIR/b.ron includes DIR/a.ron"]),
        ("(include: \"loop.ron\")", "b.ron", "2:1", &["a circle: DIR/a.ron includes DIR/b.ron includes DIR/a.ron"]),
    ] {
        let error = machine.load(text).expect_err(text);
        machine.expect_in(&error, file, place, fragments);
        // The missing keys may be in the file that is not there.
        assert!(!error.to_string().contains("is missing"), "{text}\n{error}");
    }
    machine.write("wide.ron", "()");
    let names: Vec<String> = (0..101).map(|at| format!("\"{at}.ron\"")).collect();
    (0..101).for_each(|at| machine.write(&format!("{at}.ron"), "()"));
    let error = machine.load(&format!("(include: [{}])", names.join(", "))).unwrap_err();
    assert!(error.to_string().contains("more than 100 files are included"), "{error}");
}

#[test]
fn all_files_of_a_configuration_are_known() {
    let machine = Machine::new();
    machine.with_common("include: \"deeper.ron\"");
    machine.write("deeper.ron", "(exclude_from: \"list\")");
    machine.write("list", "*.o\n");
    let service = machine.read("(include: \"common.ron\")").unwrap().service;
    let expected = ["site.ron", "common.ron", "deeper.ron", "list"].map(|name| machine.path(name));
    assert_eq!(service.files, expected);
    fs::set_permissions(machine.path("list"), fs::Permissions::from_mode(0o666)).unwrap();
    let site = machine.load("(include: \"common.ron\")").unwrap();
    let found = permissions::find(&service.files, &site);
    assert_eq!(found, [machine.fill("configuration: DIR/list: everybody may write it")]);
}

#[test]
fn patterns_of_a_file_exclude_like_those_of_the_configuration() {
    let machine = Machine::new();
    machine.write("list", "# objects\n*.o\n\n/a b/c\r\n#x\n");
    machine.write("more", "cache/");
    for (more, expected) in [
        ("exclude_from: \"list\"", &["*.o", "/a b/c"][..]),
        ("rexcludes: [\"x\"], exclude_from: [\"DIR/list\", \"more\"]", &["x", "*.o", "/a b/c", "cache/"]),
    ] {
        let site = machine.load_with(more).unwrap();
        let patterns: Vec<String> = site.excludes.patterns().iter().map(ToString::to_string).collect();
        assert_eq!(patterns, expected, "{more}");
        let outline = outline(&machine.path("site.ron")).unwrap();
        assert_eq!(outline.excludes, site.excludes);
    }
}

#[test]
fn a_mistake_in_a_file_of_patterns_is_told_with_its_line() {
    let machine = Machine::new();
    machine.write("list", "*.o\na/b\n# a/b\n//\n");
    let error = machine.load_with("exclude_from: \"list\"").unwrap_err();
    machine.expect_in(&error, "list", "2:1", &["`a/b` has a `/` inside", "2 | a/b", "write `/a/b` (in wpath)"]);
    machine.expect_in(&error, "list", "4:1", &[]);
    for (more, fragment) in [
        ("exclude_from: \"none\"", "`exclude_from`: DIR/none cannot be read: No such file"),
        ("exclude_from: \"src\"", "`exclude_from`: DIR/src is not a file"),
        ("exclude_from: true", "`exclude_from` must be a string, but is `true`"),
    ] {
        let error = machine.load_with(more).unwrap_err();
        machine.expect_in(&error, "site.ron", "6:15", &[fragment]);
    }
    fs::write(machine.path("list"), b"a\n\xff\n").unwrap();
    let error = machine.load_with("exclude_from: \"list\"").unwrap_err();
    machine.expect_in(&error, "list", "2:1", &["this byte is not UTF-8"]);
    // A pattern that is most likely meant otherwise.
    machine.write("list", "x\n- *.bak\n");
    let warnings = machine.read_with("exclude_from: \"list\"").unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].to_string().contains(&machine.fill("DIR/list:2:1: ")), "{}", warnings[0]);
}
