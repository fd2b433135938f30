//! Parameters that pass, are refused or cause a warning, and the messages for them.

use std::collections::BTreeSet;

use super::*;
use crate::node::Node;
use crate::patterns::excludes::Excludes;
use crate::site::extra::table::{REFUSED, takes_value};

fn refusal(line: &str) -> String {
    let error = Extra::parse(line).expect_err(line);
    format!("{error}; {}", error.cure())
}

#[test]
fn what_a_mirror_can_use_passes_unchanged() {
    let lines = "-a|-az|--rsh=ssh -a|-e ssh|-aHAXS --numeric-ids|-r --recursive --relative -d --dirs|-O -J -U -N -46
        |--chmod=F644 --chmod D755|--timeout 30|--modify-window=0|-@ 1|-@1|--bwlimit 100|--bwlimit=1m|-B 1024|-W
        |--password-file=/etc/secret|--port 8730|--contimeout=5|--partial --partial-dir .rsync-partial|-T /tmp|-s
        |--rsync-path 'sudo rsync'|-M--fake-super|-M --log-file=/var/log/x|--remote-option=--fake-super
        |-ab --backup-dir=/old|--backup-dir /old
        |--backup --backup-dir /old --suffix .1|--link-dest /x|--inplace --no-whole-file|--fsync
        |--no-perms --no-o --no-g --no-D|--outbuf=L|-c|--checksum|-I|--delay-updates|--no-motd --motd|-8
        |--secluded-args|--mkpath|--munge-links|--cc=xxh64|-@ 2|--skip-compress gz/bz2|--compress-level 9 --zc zstd --zl 3
        |--usermap *:www|--chown www:www|--no-h --no-i --no-progress|--force|--no-such-option|--sparse|";
    for line in lines.split('|').map(str::trim) {
        let extra = Extra::parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(extra.words(), shell_words::split(line).unwrap(), "{line}");
    }
}

#[test]
fn what_breaks_the_mirror_is_refused_in_every_spelling() {
    for (message, lines) in [
        ("its own list of paths", "--files-from=x|--files-from x|--from0|-0|-az0|--no-from0|-M --from0"),
        ("something else than a sender", "--daemon|--config=x|--dparam x|--detach|--no-detach|--server|--sender"),
        ("something else than a sender", "--list-only|--version|-V|--help"),
        ("batch files", "--write-batch=x|--only-write-batch x|--read-batch=x"),
        ("use `inosync dry-run`", "-n|--dry-run|-avzn"),
        ("deletes from the source", "--remove-source-files|--remove-sent-files"),
        ("what is deleted on a node, and when", "--ignore-missing-args|--delete|--del|--delete-before|--delete-during"),
        ("what is deleted on a node, and when", "--delete-delay|--delete-after|--delete-missing-args"),
        ("what is deleted on a node, and when", "--no-force"),
        ("use the key `max_delete`", "--max-delete=5|--max-delete 5"),
        ("never touched on a node", "--delete-excluded|-M--delete-excluded"),
        ("cannot read for a moment", "--ignore-errors"),
        ("empty directories", "-m|--prune-empty-dirs"),
        ("use `rexcludes`", "--exclude=x|--exclude x|--exclude-from=x|--include=x|--include-from x|--filter=x"),
        ("stay old on a node without notice; use `rexcludes`", "--max-size=1m|--min-size=10|-M--max-size=1m"),
        ("symlinks would be left out", "--no-links|--no-l|--safe-links|-M--safe-links|--remote-option=--no-l"),
        ("devices and special files would be left out", "--drop-D"),
        ("asks rsync by this to send", "--no-c|--no-checksum|--no-I|--no-ignore-times"),
        ("compared by content", "--cc=none|--checksum-choice none|--cc=NONE|--cc=md5,none|--checksum-choice=none,md5"),
        ("made within that time", "-@3|--modify-window=3600|-a@ 60"),
        ("split by the shell of the node", "--old-args"),
        ("use `rexcludes`", "-f x|-f-x|-F|-aFF|-C|--cvs-exclude"),
        ("mount points", "-x|--one-file-system"),
        ("must arrive where it is", "--no-dirs|--no-d|--old-dirs|--old-d|--no-relative|--no-R|--no-implied-dirs"),
        ("must arrive where it is", "--no-i-d|--no-recursive|--no-r"),
        ("behind a symlink", "-L|--copy-links|--copy-unsafe-links|-k|--copy-dirlinks"),
        ("out of the mirror", "-K|--keep-dirlinks"),
        ("without notice", "--existing|--ignore-non-existing|--ignore-existing|--compare-dest=/x|-u|--update"),
        ("keeps the size", "--size-only"),
        ("torn on the node", "--append|--append-verify"),
        ("the whole tree again", "--no-times|--no-t"),
        ("use -D", "--copy-devices|--write-devices"),
        ("abort a whole batch", "-y|--fuzzy"),
        ("byte for byte", "--iconv=utf8|--iconv utf8"),
        ("daemon chooses it", "--protocol=29"),
        ("left half done", "--stop-after=1|--time-limit 1|--stop-at=12:00"),
        ("use --timeout=SECONDS", "--no-timeout"),
        ("write the seconds", "--timeout=0|--timeout 0"),
        (
            "reads rsync's output",
            "--out-format=%n|--log-format=%n|-i|--itemize-changes|--info=progress2|--debug=ALL|-M-v|-M-vv|-M--verbose",
        ),
        ("reads rsync's output", "--stats|-q|--quiet|-avh|--human-readable|--stderr=all|--msgs2stderr"),
        ("use --partial", "-P|--progress|-avP"),
        ("use `logfile`", "--log-file=/x|--log-file /x"),
        ("stdin carries", "--password-file=-|--password-file -"),
    ] {
        for line in lines.split('|') {
            let error = refusal(line);
            assert!(error.contains(" is refused: ") && error.contains(message), "{line}: {error}");
        }
    }
}

#[test]
fn backups_must_leave_the_mirror() {
    for line in ["-b", "--backup", "-ab --suffix=.old", "-b --backup-dir=old", "--backup-dir ../old"] {
        assert_eq!(Extra::parse(line), Err(ExtraError::BackupInMirror), "{line}");
    }
}

#[test]
fn an_option_for_rsync_daemons_only_is_known() {
    let daemon_only = |line| Extra::parse(line).unwrap().daemon_only().map(str::to_owned);
    assert_eq!(daemon_only("-a --password-file=/s -v").as_deref(), Some("--password-file"));
    assert_eq!(daemon_only("--contimeout 5").as_deref(), Some("--contimeout"));
    assert_eq!(daemon_only("-a --timeout=5 --rsync-path --contimeout"), None);
}

#[test]
fn every_refusal_is_of_an_option_and_says_what_to_do_instead() {
    for (names, reason, cure) in REFUSED {
        for name in names.split_whitespace() {
            assert_eq!(refusal(&format!("--{name}")), format!("--{name} is refused: {reason}; {cure}"));
        }
    }
    let bundle = Extra::parse("-avzn").unwrap_err().to_string();
    assert!(bundle.starts_with("-n (in `-avzn`) is refused: "), "{bundle}");
    let value = Extra::parse("--iconv=utf8").unwrap_err().to_string();
    assert!(value.starts_with("--iconv (in `--iconv=utf8`) is refused: "), "{value}");
}

#[test]
fn a_word_that_is_no_option_would_be_a_source() {
    for (line, message) in [
        ("-a /etc", "`/etc` is no option, so rsync would take it for one more source"),
        ("-v 1", "`1` is no option"),
        ("-", "`-` is no option"),
        ("''", "`` is no option"),
        ("-a -- x", "`--` ends rsync's options"),
        ("--chmod=F644 D755", "`D755` is no option"),
        ("-Mx", "`x` is no option"),
        ("-e", "`-e` needs a value"),
        ("-a --timeout", "`--timeout` needs a value"),
        ("\u{2013}a", "begins with a typographic dash, so it is no option; write the dashes of the keyboard: `--a`"),
        ("-a, -z", "`-a,` has `,` in it, which is no option; write the parameters with a blank"),
        ("-a=1", "has `=` in it"),
        ("'-a -v'", "`-a -v` is one parameter with a blank in it"),
        ("'--rsh ssh'", "`--rsh ssh` is one parameter with a blank in it"),
        ("-M'--fake-super --existing'", "with a blank in it"),
        ("-e 'ssh", "a quote is not closed"),
    ] {
        let error = refusal(line);
        assert!(error.contains(message), "{line}: {error}");
    }
    let nul = ExtraError::Nul(Shown::from("-a\0"));
    assert_eq!(Extra::from_words(vec!["-z".into(), "-a\0".into()]), Err(vec![(1, nul)]));
}

#[test]
fn a_value_is_not_looked_into() {
    for (line, words) in [
        ("-e 'ssh -n -p 1'", vec!["-e", "ssh -n -p 1"]),
        ("-azessh", vec!["-azessh"]),
        ("-e -n", vec!["-e", "-n"]),
        ("--rsh --delete", vec!["--rsh", "--delete"]),
        ("--rsync-path=--daemon", vec!["--rsync-path=--daemon"]),
    ] {
        assert_eq!(Extra::parse(line).unwrap().words(), words, "{line}");
    }
}

#[test]
fn the_remote_shell_is_seen_in_every_spelling() {
    for (line, expected) in [
        ("-e ssh", true),
        ("-e ssh -av", true),
        ("-essh", true),
        ("-e=ssh", true),
        ("-avze 'ssh -p 1'", true),
        ("--rsh=ssh", true),
        ("--rsh ssh", true),
        ("", false),
        ("-a", false),
        ("-T/e", false),
        ("--rsync-path -e", false),
        ("--existing-e", false),
    ] {
        assert_eq!(Extra::parse(line).unwrap().rsh().is_some(), expected, "{line}");
    }
    assert_eq!(Extra::default(), Extra::parse("").unwrap());
}

#[test]
fn the_address_family_is_the_last_one_asked_for() {
    for (line, expected) in
        [("", None), ("-a4", Some("-4")), ("--ipv6", Some("-6")), ("-6 --ipv4", Some("-4")), ("-e -4", None)]
    {
        assert_eq!(Extra::parse(line).unwrap().address_family(), expected, "{line}");
    }
}

#[test]
fn every_option_that_rsync_lists_with_a_value_is_known_to_take_one() {
    let help = std::process::Command::new("rsync").arg("--help").output().unwrap().stdout;
    let help = String::from_utf8_lossy(&help).into_owned();
    let listed: Vec<&str> =
        help.lines().filter_map(|line| line.strip_prefix("--")?.split_once('=')).map(|(n, _)| n).collect();
    let listed: Vec<&str> = listed.into_iter().filter(|name| !name.contains([' ', ','])).collect();
    assert!(listed.len() > 30, "{help}");
    for name in listed {
        assert!(takes_value(name), "{name}");
    }
}

#[test]
fn every_wrong_parameter_is_told_with_its_place() {
    let words = ["-a", "-u", "--timeout", "5", "x", "-n", "-b"].map(String::from).to_vec();
    let places: Vec<usize> = Extra::from_words(words).unwrap_err().into_iter().map(|(at, _)| at).collect();
    assert_eq!(places, [1, 4, 5, 6]);
}

#[test]
fn verbosity_is_taken_back_where_rsync_would_name_what_is_unchanged() {
    for line in ["-avz", "-vv", "--verbose", "-v -e ssh"] {
        assert_eq!(Extra::parse(line).unwrap().words().last().map(String::as_str), Some("--no-verbose"), "{line}");
    }
    assert_eq!(Extra::parse("-e -v").unwrap().words(), ["-e", "-v"]);
}

#[test]
fn a_run_that_only_compares_goes_without_what_hides_a_difference() {
    for (line, expected) in [
        ("-a --link-dest=/x -z", "-a -z"),
        ("-a --link-dest /x -z", "-a -z"),
        ("-a --copy-dest=/x", "-a --copy-dest=/x"),
        ("-e --link-dest=/x", "-e --link-dest=/x"),
    ] {
        assert_eq!(Extra::parse(line).unwrap().comparing().join(" "), expected);
    }
}

#[test]
fn changes_in_place_do_not_reach_a_linked_copy() {
    assert!(refusal("--inplace --link-dest=/x").contains("through the hard link into the other copy"));
    assert!(Extra::parse("--inplace --no-inplace --link-dest=/x").is_ok());
    assert!(Extra::parse("--inplace --copy-dest=/x").is_ok());
}

#[test]
fn what_does_less_than_it_seems_to_is_told() {
    for (line, expected) in [
        ("-a --fake-super", Some(ExtraWarning::FakeSuper)),
        ("-a -M--fake-super", Some(ExtraWarning::FakeSuper)),
        ("--remote-option --fake-super", Some(ExtraWarning::FakeSuper)),
        ("--partial-dir=tmp", Some(ExtraWarning::PartialName)),
        ("--partial-dir=.tmp", None),
        ("--partial-dir=/tmp", None),
        ("-aHAX", None),
    ] {
        let warnings: Vec<_> = Extra::parse(line).unwrap().warnings().iter().map(|(_, warning)| *warning).collect();
        assert_eq!(warnings, expected.into_iter().collect::<Vec<_>>(), "{line}");
    }
}

#[test]
fn what_rsync_keeps_at_a_node_lies_outside_of_the_mirror_or_is_excluded() {
    for (extra, node, rpath, pattern) in [
        ("--backup-dir=/m/old", "h:", "/m", Some("/old/")),
        ("-b --backup-dir /m//x/../old/", "h:", "/m", Some("/old/")),
        ("--backup-dir=/m", "", "/m", None),
        ("--partial-dir=/m/p/q", "h::w", "/m", Some("/p/q/")),
        ("--backup-dir=/old", "h::w", "/", Some("/old/")),
        ("-T /m/t", "/d", "/m", Some("")),
        ("-T /d/m/t", "/d", "/m", Some("/t/")),
        ("-T/m/t", "h:", "/m", Some("/t/")),
        ("--temp-dir=/m/t", "h:", "/m", Some("/t/")),
        ("-M--log-file=/m/x.log", "h:", "/m", Some("/x.log")),
        ("--backup-dir=/m2", "h:", "/m", Some("")),
        ("--backup-dir=/", "h:", "/m", Some("")),
        ("--backup-dir=/m/old", "h:d", "/m", Some("")),
        ("--partial-dir=.p", "h:", "/m", Some("")),
    ] {
        let extra = Extra::parse(extra).unwrap();
        let node = Node::parse(node, rpath).unwrap();
        let check = |excludes: &[&str]| {
            let excludes = Excludes::new(excludes.iter().map(|&text| text.to_owned()).collect()).unwrap();
            extra.keeps()[0].check_at(&node, &excludes).map_err(|error| format!("{error}; {}", error.cure()))
        };
        match pattern {
            Some("") => assert_eq!(check(&[]), Ok(()), "{extra:?}"),
            Some(pattern) => {
                let told = check(&[]).unwrap_err();
                assert!(told.contains("lies inside the mirror of node") && told.contains(pattern), "{told}");
                assert_eq!(check(&[pattern]), Ok(()), "{extra:?}");
            }
            None => assert!(check(&["/m", "m"]).unwrap_err().ends_with("name a directory outside of the mirror")),
        }
    }
}

#[test]
fn scratch_directories_are_absolute() {
    for (line, message) in [
        ("-T tmp", "--temp-dir=tmp is refused: a relative path"),
        ("--temp-dir ../tmp", "write an absolute path outside of the mirror: --temp-dir=/DIR"),
        ("--partial-dir=../p", "--partial-dir=../p is refused"),
        ("--backup-dir=old", "--backup without an absolute --backup-dir"),
    ] {
        assert!(refusal(line).contains(message), "{line}: {}", refusal(line));
    }
}

/// Options of rsync 3.5.0 that do no harm: they are about attributes, the connection, or the way in which a file is
/// written.
const HARMLESS: &str = "\
    8-bit-output acls address archive atimes backup backup-dir block-size blocking-io bwlimit checksum \
    checksum-choice checksum-seed chmod chown compress compress-choice compress-level compress-threads confine-root \
    contimeout copy-as copy-dest crtimes D delay-updates devices dirs early-input executability fake-super fsync group \
    groupmap hard-links ignore-times inc-recursive inplace insecure-links ipv4 ipv6 link-dest links log-file-format \
    max-alloc mkpath modify-window munge-links no-inc-recursive no-i-r no-motd no-OPTION no-whole-file numeric-ids \
    omit-dir-times omit-link-times open-noatime outbuf owner partial partial-dir password-file perms port preallocate \
    recursive force i-r no-W relative remote-option rsh rsync-path secluded-args skip-compress sockopts sparse specials suffix super \
    temp-dir timeout times trust-sender usermap verbose whole-file xattrs";

#[test]
fn every_option_of_the_installed_rsync_is_sorted() {
    let help = std::process::Command::new("rsync").arg("--help").output().unwrap().stdout;
    let help = String::from_utf8_lossy(&help).into_owned();
    let words = help.lines().filter(|line| line.starts_with('-')).flat_map(|line| line.split("  ").next());
    let words = words.flat_map(|options| options.split(", "));
    let names: BTreeSet<&str> =
        words.filter_map(|word| word.trim().strip_prefix("--")?.split(['=', ' ']).next()).collect();
    assert!(names.len() > 100, "{help}");
    let sorted = |name: &&&str| is_one_of(name, HARMLESS) != REFUSED.iter().any(|(names, ..)| is_one_of(name, names));
    let unsorted: Vec<_> = names.iter().filter(|name| !sorted(name)).collect();
    assert!(unsorted.is_empty(), "{unsorted:?}");
}

#[test]
fn it_is_known_whether_files_are_stored_at_the_end_of_a_run_only() {
    for (line, expected) in
        [("-a", false), ("--delay-updates", true), ("-a --delay-updates -z", true), ("--partial-dir=.p", false)]
    {
        assert_eq!(Extra::parse(line).unwrap().stores_late(), expected, "{line}");
    }
}
