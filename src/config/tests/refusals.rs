//! What is refused: one row for each kind of mistake, with its place and what the message must say.

use super::*;

#[test]
fn a_wrong_notation_is_shown_where_it_is() {
    let machine = Machine::new();
    for (text, place, width, fragments) in [
        ("", "1:1", 1, &["the file is empty", "at least: (wpath:"][..]),
        (" \n \n", "1:1", 1, &["the file is empty"]),
        ("// nothing\n", "2:1", 1, &["one pair of parentheses"]),
        ("wpath: \"/a\"", "1:1", 5, &["one pair of parentheses", "and a comma behind each value"]),
        ("{ \"wpath\": \"/a\" }", "1:1", 1, &["one pair of parentheses"]),
        (
            "(\n  excluds: [\"*.o\"],\n)",
            "2:3",
            7,
            &[
                "unknown key `excluds`",
                "\n    2 |   excluds: [\"*.o\"],\n      |   ^^^^^^^\n  did you mean `rexcludes`? For example rexcludes: [",
            ],
        ),
        ("(\n  wpath: \"/a\",\n  wpath: \"/b\",\n)", "3:3", 5, &["the key `wpath` is given twice", "keep one"]),
        ("(\n  wpath: \"/a\",\n  rpath: \"/b\",\n)", "4:1", 1, &["the key `rnodes` is missing", "add rnodes: ["]),
        ("(\n  wpath: \"/a\",\n  rnodes: [],\n)", "4:1", 1, &["the key `rpath` is missing", "add rpath: \"/var/www\""]),
        ("()", "1:2", 1, &["the key `wpath` is missing", "add wpath: \"/var/www\""]),
        ("(\n  wpath \"/a\",\n)", "2:9", 1, &["a colon is missing"]),
        ("(\n  wpath: \"/a\"\n  rpath: \"/b\",\n)", "2:14", 1, &["a comma is missing behind the value of `wpath`"]),
        ("(\n  wpath: \"/a,\n  rpath: /b,\n)", "2:10", 1, &["a quote is not closed"]),
        ("(\n  rnodes: [\"a:\",\n)", "2:11", 1, &["a list is not closed: `]` is missing"]),
        ("(\n  rnodes: [\"a:\"\n", "2:11", 1, &["a list is not closed: `]` is missing"]),
        ("(wpath: \"/a\",", "1:14", 1, &["the file ends too early"]),
        ("(wpath: \"DIR/src\", rpath: \"/m\", rnodes: [\"h:\"]) x", "1:PLUS", 1, &["text behind the closing `)`"]),
        ("(\n /* x\n)", "2:2", 2, &["comment is not closed"]),
        ("(\n  wpath: \"/a\\q\",\n)", "2:13", 2, &["`\\q` in a text means nothing"]),
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
        (
            "log: Json",
            "6:6",
            4,
            &["`log` must be a group in parentheses, but is `Json`", "write it as log: (format: Json, level: Info)"],
        ),
        ("log: (format: Jso)", "6:15", 3, &["`log.format` cannot be `Jso`", "allowed: Text, Json (without quotes)"]),
        ("log: (\n level: Trace)", "7:9", 5, &["`log.level` cannot be `Trace`", "allowed: Warning, Info, Debug"]),
        ("log: (\n  lvel: Info)", "7:3", 4, &["unknown key `lvel` in `log`", "allowed: format, level"]),
        ("log: (level: Info, level: Info)", "6:20", 5, &["`level` is given twice in `log`", "keep one of them"]),
        ("rexcludes: [\"a\",\n  \"\"]", "7:3", 2, &["`rexcludes[1]`: "]),
        (
            "extra: \"--contimeout=5\"",
            "6:8",
            16,
            &["`extra`: --contimeout is for rsync daemons only, but node `h:` is none"],
        ),
        ("extra: [\"-a\", \"-b\"]", "6:15", 4, &["`extra[1]`: --backup without an absolute --backup-dir"]),
        ("extra: true", "6:8", 4, &["`extra` must be a string, but is `true`"]),
        ("extra: \"-a --from0\"", "6:8", 12, &["`extra`: --from0 is refused: the daemon hands", "leave it out"]),
        ("extra: \"-a /etc\"", "6:8", 9, &["`/etc` is no option"]),
        ("extra: \"-e 'ssh\"", "6:8", 9, &["a quote is not closed", "write a list with one string"]),
        ("extra: [\"-a\", \"--delete\"]", "6:15", 10, &["`extra[1]`: --delete is refused", "leave it out"]),
        ("extra: [\"-T\", \"/t\", \"-e\"]", "6:21", 4, &["`extra[2]`: `-e` needs a value"]),
        ("rspeed: -1", "6:9", 2, &["whole number from 0 to 1000000000, but is the number `-1`", "KiB/s"]),
        ("rspeed: 1.5", "6:9", 3, &["but is the number `1.5`"]),
        ("rspeed: 1000000001", "6:9", 10, &["from 0 to 1000000000"]),
        ("rspeed: 99999999999999999999999", "6:9", 23, &["from 0 to 1000000000"]),
        ("rspeed: (\"08:00-18:00\", 5)", "6:9", 18, &["a number, or a list of windows", "write brackets around"]),
        ("rspeed: [5]", "6:10", 1, &["`rspeed[0]` must be a pair in parentheses", "(\"08:00-18:00\", 2000)"]),
        ("rspeed: [(\"8-18\", 5)]", "6:11", 6, &["`rspeed[0]`: `8` is no time of the day", "08:00-18:00"]),
        ("rspeed: [(\"noon\", 5)]", "6:11", 6, &["`noon` is no window of the day", "over midnight"]),
        ("rspeed: [(\"08:00-08:00\", 5)]", "6:11", 13, &["ends when it begins", "00:00-24:00"]),
        ("rspeed: [(\"08:00-18:00\", -5)]", "6:26", 2, &["whole number from 0 to 1000000000", "KiB/s"]),
        (
            "rspeed: [(\"08:00-18:00\", 5),\n(\"17:00-9:00\", 6)]",
            "7:2",
            12,
            &[
                "`rspeed[1]`: 17:00-09:00 overlaps 08:00-18:00 on line 6",
                "let one of the two end when the other one begins",
            ],
        ),
        ("rspeed: \"5\"", "6:9", 3, &["but is the string `\"5\"`", "without quotes"]),
        ("watch_poll: 0", "6:13", 1, &["whole number from 1 to 86400", "seconds"]),
        ("settle: [\"*.part\"]", "6:10", 8, &["pair in parentheses", "(\"*.part\", 30)"]),
        ("settle: [(\"a/b\", 3)]", "6:11", 5, &["`settle[0]`", "where it begins"]),
        ("heartbeat: 0", "6:12", 1, &["whole number from 1 to 86400", "seconds"]),
        ("state_dir: \"\", heartbeat: 5", "6:27", 1, &["beside the state", "`state_dir`"]),
        ("settle: [(\"a\", 0)]", "6:16", 1, &["whole number from 1 to 86400", "seconds"]),
        ("stop_timeout: 86401", "6:15", 5, &["whole number from 0 to 86400", "seconds"]),
        ("resync_every: 59", "6:15", 2, &["`resync_every` is 59 seconds", "write 60 or more, or 0 for never"]),
        ("resync_every: 31536001", "6:15", 8, &["whole number from 0 to 31536000", "seconds"]),
        ("verify_every: 59", "6:15", 2, &["`verify_every` is 59 seconds", "write 60 or more, or 0 for never"]),
        ("on_synced: \"/bin/true\"", "6:12", 11, &["`on_synced` must be a list", "on_synced: [\"/bin/true\"]"]),
        ("on_synced: [\"true\"]", "6:13", 6, &["on_synced `true` is relative"]),
        ("socket_dir: \"DIR/src/sub\"", "6:13", 0, &["socket_dir `DIR/src/sub` lies in the watched directory"]),
        ("on_synced: [\"/bin/true\", \"a\\0\"]", "6:26", 5, &["an argument holds a NUL byte", "leave it out"]),
        ("hook_timeout: 0", "6:15", 1, &["whole number from 1 to 86400", "seconds"]),
        ("socket_dir: \"run\"", "6:13", 5, &["socket_dir `run` is relative"]),
        ("listen: 9877", "6:9", 4, &["`listen` must be a string"]),
        ("listen: \"localhost:9877\"", "6:9", 16, &["no address with a port", "127.0.0.1:9877"]),
        ("listen: \"127.0.0.1:0\"", "6:9", 13, &["no address with a port"]),
        ("stop_timeout: -5", "6:15", 2, &["`stop_timeout` must be a whole number"]),
        ("rsync: \"/bin/rsync\"", "6:1", 5, &["the key `rsync` is given twice"]),
        ("logfile: \"rsync.log\"", "6:10", 11, &["logfile `rsync.log` is relative", "such as \"/rsync.log\""]),
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
        ("dir_moves: 1", "6:12", 1, &["`dir_moves` cannot be the number `1`", "allowed: Log, Replicate (without"]),
        ("dir_moves: replicate", "6:12", 9, &["`dir_moves` cannot be `replicate`", "allowed: Log, Replicate (without"]),
        ("state_dir: \"state\"", "6:12", 7, &["state_dir `state` is relative", "such as \"/state\""]),
        (
            "state_dir: \"DIR/src/sub\"",
            "6:12",
            0,
            &["state_dir `DIR/src/sub` lies in the watched directory: each save"],
        ),
        ("staging: 1", "6:10", 1, &["`staging` must be a string, but is the number `1`"]),
        ("staging: \"s\"", "6:10", 3, &["staging `s` is relative", "such as \"/s\""]),
        ("staging: \"DIR/file\"", "6:10", 0, &["staging `DIR/file` is not a directory", "name a directory"]),
        (
            "staging: \"DIR/src/new\"",
            "6:10",
            0,
            &["staging `DIR/src/new` lies in the watched directory: each link would cause the next", "exclude it by"],
        ),
        ("allow_empty: 1", "6:14", 1, &["`allow_empty` must be true or false"]),
        ("max_delete: -1", "6:13", 2, &["whole number from 0 to 2000000000", "entries"]),
        ("reconcile_jobs: 0", "6:17", 1, &["whole number from 1 to 64", "runs"]),
        ("node_threads: 65", "6:15", 2, &["whole number from 0 to 64", "threads"]),
        ("marker: \"/etc/x\"", "6:9", 8, &["marker `/etc/x` is not a plain path below wpath", "by its path there"]),
        ("marker: \"../x\"", "6:9", 6, &["is not a plain path"]),
        ("marker: \"\"", "6:9", 2, &["is not a plain path"]),
        ("marker: \"tmp/x\", rexcludes: [\"tmp/\"]", "6:9", 7, &["marker `tmp/x` is excluded", "name an entry"]),
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
        ("\"src\"", "\"/m\"", "[\"h:\"]", "2:8", &["wpath `src` is relative", "such as \"/src\""][..]),
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
        (
            "\"/\"",
            "\"DIR/new\"",
            "[\"\"]",
            "4:10",
            &["lies inside the watched directory `/`", "rexcludes: [\"DIR/new\"]"],
        ),
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
