//! Nodes with settings of their own.

use inosync_actors::node::Node;
use inosync_actors::site::options::NodeOptions;

use super::*;

impl Machine {
    /// The site with these entries of `rnodes`, one on each line from line 3, and more keys behind them.
    fn load_nodes(&self, entries: &[&str], more: &str) -> Result<Configuration, ConfigError> {
        let entries = entries.join(",\n");
        self.read(&format!(
            "(wpath: \"DIR/src\", rpath: \"/m\", rsync: \"DIR/rsync\",\nrnodes: [\n{entries}],\n{more})"
        ))
    }
}

#[test]
fn a_node_has_its_own_settings_and_else_those_of_the_site() {
    let machine = Machine::new();
    fs::copy(machine.path("rsync"), machine.path("rsync2")).unwrap();
    let entries = [
        "\"a:\"",
        "(node: \"b::m\", name: \"paris\", rpath: \"/\", rspeed: 7, extra: [\"-z\"], rsync: \"DIR/rsync2\", dir_moves: Replicate)",
        "Node(node: \"c:\",)",
    ];
    let site = machine.load_nodes(&entries, "rspeed: 5, extra: \"-a\"").unwrap().site;
    let shown = |node: &Node| {
        let at = site.at(node);
        let program = at.rsync.file_name().unwrap().to_string_lossy().into_owned();
        let place = (node.name().to_owned(), node.dest().to_string_lossy().into_owned());
        (place, at.rspeed, at.extra.words().join(" "), program, at.dir_moves)
    };
    let place = |name: &str, dest: &str| (name.to_owned(), dest.to_owned());
    let text = str::to_owned;
    assert_eq!(
        site.nodes.iter().map(shown).collect::<Vec<_>>(),
        [
            (place("a:", "a:/m/"), 5, text("-a"), text("rsync"), DirMoves::Log),
            (place("paris", "b::m/"), 7, text("-z"), text("rsync2"), DirMoves::Replicate),
            (place("c:", "c:/m/"), 5, text("-a"), text("rsync"), DirMoves::Log),
        ]
    );
    assert!(!site.options.values().any(|options| *options == NodeOptions::default()));
}

#[test]
fn a_mistake_in_an_entry_is_told_at_its_place() {
    let machine = Machine::new();
    for (entries, place, fragments) in [
        (&["(name: \"a\")"][..], "3:1", &["`rnodes[0]` has no `node`"][..]),
        (&["(node: \"a:\", rspede: 1)"], "3:14", &["unknown key `rspede` in `rnodes[0]`", "did you mean `rspeed`?"]),
        (&["(node: \"a:\", wpath: \"/x\")"], "3:14", &["unknown key `wpath` in `rnodes[0]`"]),
        (&["(node: \"a:\", rspeed: 1, rspeed: 2)"], "3:25", &["`rspeed` is given twice in `rnodes[0]`"]),
        (&["(node: \"a:\", rspeed: \"1\")"], "3:22", &["`rnodes[0].rspeed` must be a whole number"]),
        (&["\"a:\"", "(node: \"b:\", rpath: \"m\")"], "4:21", &["rpath `m` is relative"]),
        (&["(node: \"host/x\")"], "3:8", &["names neither a host nor an absolute path"]),
        (&["(node: \"a:\", extra: \"-u\")"], "3:21", &["`rnodes[0].extra`: -u", "is refused"]),
        (&["(node: \"a:\", extra: [\"-a\", \"--password-file=/x\"])"], "3:21", &["for rsync daemons only"]),
        (&["(node: \"a:\", rsync: \"rsync\")"], "3:21", &["rnodes[0].rsync `rsync` is relative"]),
        (&["(node: \"a:\", dir_moves: log)"], "3:25", &["write Log"]),
        (
            &["(node: \"a:\", delete: true)"],
            "3:22",
            &["`rnodes[0].delete` cannot be", "Always, Never, Startup, Running"],
        ),
        (&["(node: \"a:\", name: \"\")"], "3:20", &["is empty"]),
        (&["(node: \"a:\", name: \"a b\")"], "3:20", &["has a blank in it"]),
        (&["(node: \"a:\", name: \"a/b\")"], "3:20", &["has a slash in it"]),
        (&["(node: \"a:\", name: \"-a\")"], "3:20", &["begins with `-`"]),
        (&["\"a:\"", "(node: \"b:\", name: \"a:\")"], "4:20", &["the node on line 3 has the name `a:`, too"]),
        (&["\"\"", "(node: \"\", rpath: \"/n\")"], "4:1", &["the node on line 3 has the name `local`, too"]),
        (&["\"a:\"", "(node: \"a:\", name: \"b\")"], "4:8", &["is the same destination as `rnodes[0]` on line 3"]),
    ] {
        let error = machine.load_nodes(entries, "").expect_err(entries[entries.len() - 1]);
        let message = error.to_string();
        let start = format!("{}:{place}: ", machine.path("site.ron").display());
        assert!(message.contains(&start), "wanted {place}\n{message}");
        fragments.iter().for_each(|fragment| assert!(message.contains(fragment), "wanted {fragment}\n{message}"));
    }
    // A mistake elsewhere brings no others into a right entry.
    let error =
        machine.load_nodes(&["(node: \"a:\", name: \"a\", extra: \"-a\", rspeed: 1)"], "standby = true").unwrap_err();
    assert_eq!(error.to_string().matches("site.ron:").count(), 1, "{error}");
}

#[test]
fn a_program_of_a_node_has_to_be_there() {
    let machine = Machine::new();
    let error = machine.load_nodes(&["(node: \"a:\", rsync: \"DIR/none\")"], "").unwrap_err();
    assert_eq!(error.exit_code(), Exit::Environment);
    assert!(error.to_string().contains("site.ron:3:21: "), "{error}");
}

#[test]
fn parameters_for_daemons_only_are_refused_of_the_nodes_that_get_them() {
    let machine = Machine::new();
    let entries = ["(node: \"a:\", extra: \"-a\")", "\"b::m\""];
    assert!(machine.load_nodes(&entries, "extra: \"--contimeout=5\"").is_ok());
    let entries = ["\"a:\"", "(node: \"b::m\", extra: \"--contimeout=5\")"];
    assert!(machine.load_nodes(&entries, "").is_ok());
}

#[test]
fn a_daemon_beside_ssh_nodes_is_warned_of_unless_it_says_itself_how_it_is_reached() {
    let machine = Machine::new();
    let rsh = "extra: \"-a --rsh='ssh -p 1'\"";
    for (entries, expected) in [
        (&["\"a:\"", "\"b::m\""][..], 1),
        (&["\"a:\"", "(node: \"b::m\", extra: \"-a\")", "\"rsync://c/m\""], 1),
        (&["\"a:\"", "(node: \"b::m\", extra: \"-e ssh\")"], 0),
        (&["\"b::m\"", "\"\""], 0),
        (&["\"a:\"", "\"\""], 0),
    ] {
        let warnings = machine.load_nodes(entries, rsh).unwrap().warnings;
        let told = warnings.iter().filter(|warning| warning.to_string().contains("is for the ssh nodes")).count();
        assert_eq!((told, warnings.len()), (expected, expected), "{entries:?} {warnings:?}");
    }
}

#[test]
fn a_start_that_deletes_nothing_cannot_be_all_that_deletes() {
    let machine = Machine::new();
    for (initial_sync, delete, is_taken) in
        [("Full", "Startup", true), ("Update", "Startup", false), ("Off", "Startup", false), ("Update", "Never", true)]
    {
        let site = machine.load_with(&format!("initial_sync: {initial_sync}, delete: {delete}"));
        assert_eq!(site.is_ok(), is_taken, "{initial_sync} {delete}");
        let own = machine
            .load_nodes(&[&format!("(node: \"a:\", delete: {delete})")], &format!("initial_sync: {initial_sync}"));
        assert_eq!(own.is_ok(), is_taken, "{initial_sync} {delete} of a node");
    }
}
