//! What the real programs say, word for word, at the versions that are named; read off at runs that failed so.

mod account;
mod rsync;
mod way;

use super::*;
use crate::rsync::report::failure;
use crate::transport::failure::Cause;

/// What rsync adds where the other end goes without a word, and the exit code in words.
const LEFT: &str = "rsync: connection unexpectedly closed (0 bytes received so far) [sender]\n\
    rsync error: error in rsync protocol data stream (code 12) at io.c(285) [sender=3.5.0]\n";
/// The same of an end that was not rsync's.
const UNCLEAN: &str = "protocol version mismatch -- is your shell clean?\n(see the rsync manpage for an explanation)\n\
    rsync error: protocol incompatibility (code 2) at compat.c(625) [sender=3.5.0]\n";
/// What an rsync daemon's end makes of the connection.
const RESET: &str = "rsync: [sender] read error: Connection reset by peer (104)\n";
/// What comes before the cause in many logins.
const NOISE: &str = "Authorised use only.\n\
    /home/u/.bashrc: line 1: warning: setlocale: LC_ALL: cannot change locale (xx_YY.UTF-8): No such file or directory\n\
    perl: warning: Setting locale failed.\nperl: warning: Please check that your locale settings:\n\
    \tLANGUAGE = (unset),\n\tLC_ALL = \"xx_YY.UTF-8\",\n    are supported and installed on your system.\n";
/// OpenSSH's frame around a host key that is another one.
const CHANGED: &str = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\n\
    @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n\
    @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\n\
    IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\n\
    Someone could be eavesdropping on you right now (man-in-the-middle attack)!\n\
    It is also possible that a host key has just been changed.\n\
    The fingerprint for the ED25519 key sent by the remote host is\n\
    SHA256:NjQz8+QTFLC64VdnepUZ3TTCNo3Zz50yFc26QqLyeCQ.\nPlease contact your system administrator.\n\
    Add correct host key in /root/.ssh/known_hosts to get rid of this message.\n\
    Offending ED25519 key in /root/.ssh/known_hosts:1\n";
const DENIED: &str = "root@h: Permission denied (publickey,keyboard-interactive).\n";

/// Each row: exit code, what is said, the cause, the line that is told, and a part of the cure.
type Row = (i32, &'static [&'static str], Cause, &'static str, &'static str);

fn check(rows: &[Row]) {
    for (code, said, cause, told, cure) in rows {
        // Noise before it changes nothing.
        for before in ["", NOISE] {
            let stderr = [&[before], *said].concat().concat();
            let failure = failure::of(&Finished { code: Code::Exit(*code), stderr: stderr.clone().into() }).unwrap();
            assert_eq!(failure.cause, *cause, "{stderr}");
            assert!(failure.said.starts_with(told), "{told} is not told:\n{failure}\n{stderr}");
            assert!(failure.cure.contains(cure), "{cure} is not the cure:\n{failure}");
            assert!(!failure.cure.contains(['{', '}']), "{failure}");
        }
    }
}
