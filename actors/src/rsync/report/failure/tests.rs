mod words;

use super::*;
use crate::rsync::report::failure;
use crate::transport::failure::Cause;

#[test]
fn text_decides_before_the_code() {
    for (code, stderr, cause) in [
        (2, "invalid file mode 00 for d/x [Receiver]\n", Cause::RejectsMissing),
        (12, "invalid file mode 00 for d/x [Receiver]\n", Cause::RejectsMissing),
        (255, "root@h: Permission denied (publickey).\n", Cause::Authentication),
        (12, "ssh: connect to host h port 22: Connection refused\n", Cause::Unreachable),
        (12, "bash: line 1: rsync: command not found\n", Cause::NoRemoteRsync),
        (127, "sh: 1: /opt/rsync: not found\n", Cause::NoRemoteRsync),
        (5, "@ERROR: Unknown module 'x'\n", Cause::NoModule),
        (5, "@ERROR: max connections (4) reached -- try again later\n", Cause::Busy),
        (5, "@ERROR: auth failed on module x\n", Cause::DaemonLogin),
        (2, "protocol version mismatch -- is your shell clean?\n", Cause::NoisyShell),
        (2, "the node speaks protocol 19\nprotocol version mismatch -- is your shell clean?\n", Cause::Protocol),
        (11, "rsync: [receiver] write failed on \"/m/f\": No space left on device (28)\n", Cause::TargetFull),
        (23, "rsync: [receiver] mkstemp \"/m/.f.aBcDeF\" failed: Read-only file system (30)\n", Cause::TargetReadOnly),
        (11, "rsync: [Receiver] mkdir \"/x/y\" failed: No such file or directory (2)\n", Cause::NoParent),
        (23, "rsync: [sender] send_files failed to open \"/s/f\": Permission denied (13)\n", Cause::Partial),
        (12, "rsync: [sender] link_stat \"/s/rsync\" failed: No such file or directory (2)\n", Cause::Closed),
        (12, "] link_stat \"/s/a\" failed: No such file or directory (2)\nrsync: [sen", Cause::Closed),
        (127, "zsh:1: command not found: rsync\n", Cause::NoRemoteRsync),
        (127, "bash: line 1: /opt/rsync: No such file or directory\n", Cause::NoRemoteRsync),
        (12, "directory has vanished: \"/s/rsync\" not found\n", Cause::Closed),
        (2, "ABORTING due to invalid path from sender: d/x\n", Cause::Vanished),
        (3, "rsync: [Receiver] getcwd(): No such file or directory (2)\n", Cause::SourceGone),
        (24, "file has vanished: \"/s/f\"\n", Cause::Vanished),
        (10, "", Cause::Closed),
        (99, "", Cause::Unknown),
    ] {
        let finished = Finished { code: Code::Exit(code), stderr: stderr.into() };
        assert_eq!(failure::of(&finished).map(|failure| failure.cause), Some(cause), "{code} {stderr}");
    }
    let killed = Finished { code: Code::Signal(9), stderr: vec![] };
    assert_eq!(failure::of(&killed).map(|failure| failure.cause), Some(Cause::Killed));
    assert_eq!(failure::of(&Finished { code: Code::Exit(0), stderr: vec![] }), None);
}

#[test]
fn a_reconcile_that_would_delete_too_much_says_how_much_and_how_to_release_it() {
    let names = ["a".to_owned(), "b/c".to_owned()];
    for (count, most, words) in [
        (1_234, 100, "1,234 entries, more than max_delete (100): a, b/c, ..."),
        (1_234_567, 1_000, "1,234,567 entries, more than max_delete (1,000)"),
        (3, 0, "3 entries, more than max_delete (0)"),
    ] {
        let said = Failure::too_many_deletions(count, most, &names).to_string();
        assert!(said.starts_with(&format!("reconcile held: it would delete {words}")), "{said}");
        assert!(said.ends_with("if it is right: inosync allow-deletes NODE"), "{said}");
    }
    let finished = Finished { code: Code::Exit(25), stderr: vec![] };
    assert_eq!(failure::of(&finished).map(|failure| failure.cause), Some(Cause::TooManyDeletions));
}

#[test]
fn a_failure_reads_as_cause_words_and_cure() {
    let stderr = b"\nrsync: write failed on \"/m/\x1bf\": No space left on device (28)\n";
    let failure = failure::of(&Finished { code: Code::Exit(11), stderr: stderr.to_vec() }).unwrap();
    assert_eq!(
        failure.to_string(),
        "the node is full: rsync: write failed on \"/m/\\x1bf\": No space left on device (28) (rsync exit code 11); \
         make room at the node, or exclude what need not be there"
    );
}
