//! What an account at a node, its shell, sudo and rrsync say.

use super::*;
use crate::transport::failure::Cause;

#[test]
fn accounts_and_shells() {
    check(&[
        // nologin and internal-sftp: rsync reads four bytes of their sentence as the number of a protocol.
        (
            2,
            &["the node prints 'This...' where rsync should answer\n", UNCLEAN],
            Cause::NoShell,
            "the node prints 'This...'",
            "nologin",
        ),
        (
            128,
            &["fatal: unrecognized command 'rsync --server -ldtpRe.LsfxCIvu . /m'\n", LEFT],
            Cause::NoShell,
            "fatal: unrecognized command 'rsync",
            "give it a shell",
        ),
        (
            2,
            &["the node prints 'Welc...' where rsync should answer\n", UNCLEAN],
            Cause::NoisyShell,
            "the node prints 'Welc...'",
            "interactive",
        ),
        (2, &[UNCLEAN], Cause::NoisyShell, "protocol version mismatch", "interactive"),
        (2, &["the node speaks protocol 19\n", UNCLEAN], Cause::Protocol, "the node speaks protocol 19", "newer rsync"),
        // /bin/false says nothing; a script of the admin's own may say why.
        (12, &[LEFT], Cause::Silent, "rsync: connection unexpectedly closed (0 bytes", "rsync --version"),
        (
            12,
            &["validate-rsync: not from here\n", LEFT],
            Cause::Silent,
            "rsync: connection unexpectedly closed (0 bytes received so far) [sender], after \"validate-rsync: not from",
            "",
        ),
        (
            12,
            &[
                "sudo: a terminal is required to read the password; either use the -S option to read from standard \
                 input or configure an askpass helper\nsudo: a password is required\n",
                LEFT,
            ],
            Cause::Sudo,
            "sudo: a password is required",
            "NOPASSWD: /usr/bin/rsync",
        ),
        (12, &["sudo: no tty present and no askpass program specified\n", LEFT], Cause::Sudo, "sudo: no tty", ""),
        (12, &["sudo: sorry, you must have a tty to run sudo\n", LEFT], Cause::Sudo, "sudo: sorry", "requiretty"),
        (12, &["doas: Operation not permitted\n", LEFT], Cause::Sudo, "doas: Operation", "nopass"),
        (12, &["sudo: rsyncnone: command not found\n", LEFT], Cause::NoRemoteRsync, "sudo: rsyncnone", "--rsync-path"),
        (12, &["env: 'rsyncnone': No such file or directory\n", LEFT], Cause::NoRemoteRsync, "env: 'rsyncnone'", ""),
        (127, &["dash: 1: rsyncnone: not found\n", LEFT], Cause::NoRemoteRsync, "dash: 1: rsyncnone: not found", ""),
        (
            12,
            &["ionice: failed to execute rsyncnone: No such file or directory\n", LEFT],
            Cause::NoRemoteRsync,
            "ionice: failed to execute",
            "",
        ),
        (
            127,
            &["bash: ligne 1: rsync : commande introuvable\n", LEFT],
            Cause::NoRemoteRsync,
            "rsync: connection unexpectedly closed (0 bytes received so far) [sender], after \"bash: ligne 1: rsync",
            "install rsync",
        ),
        (
            12,
            &["bash: line 1: /opt/r: Permission denied\n", LEFT],
            Cause::RemoteRsyncBroken,
            "bash: line 1: /opt/r:",
            "",
        ),
        (12, &["bash: line 1: /opt: Is a directory\n", LEFT], Cause::RemoteRsyncBroken, "bash: line 1: /opt:", ""),
        (12, &["dash: 1: /opt/r: Permission denied\n", LEFT], Cause::RemoteRsyncBroken, "dash: 1: /opt/r:", ""),
        (
            12,
            &["bash: line 1: /opt/r: cannot execute: required file not found\n", LEFT],
            Cause::RemoteRsyncBroken,
            "bash: line 1: /opt/r: cannot execute",
            "--rsync-path",
        ),
        // As its source has it, built with the C library of Linux and of macOS.
        (
            1,
            &["openrsync: unrecognized option '--log-format=%i'\nusage: openrsync [-aDgIlnoprtVvx]\n", LEFT],
            Cause::OpenRsync,
            "openrsync: unrecognized option",
            "install rsync itself",
        ),
        (12, &["rsync: unrecognized option `--log-format=%i'\n", LEFT], Cause::OpenRsync, "rsync: unrec", ""),
        // Its newest, of 2026, to a client of 3.5.0.
        (
            12,
            &["/opt/openrsync: invalid option -- '@'\nusage: openrsync [-DFP]\n", LEFT],
            Cause::OpenRsync,
            "/opt/openrsync: invalid option -- '@'",
            "install rsync itself",
        ),
    ]);
}

#[test]
fn rrsync_of_3_5_0_and_of_3_1_3() {
    check(&[
        (
            12,
            &["/usr/bin/rrsync error: sending to read-only server is not allowed\n", LEFT],
            Cause::RrsyncReadOnly,
            "/usr/bin/rrsync error: sending to read-only server",
            "-wo",
        ),
        (
            12,
            &["/usr/local/bin/rrsync: sending to read-only server not allowed\n", LEFT],
            Cause::RrsyncReadOnly,
            "/usr/local/bin/rrsync",
            "",
        ),
        (
            12,
            &["/usr/bin/rrsync error: option --delete has been disabled on this server.\n", LEFT],
            Cause::RrsyncNoDeletions,
            "/usr/bin/rrsync error: option --delete has been disabled",
            "-no-del",
        ),
        (
            12,
            &["/usr/bin/rrsync error: option -s has been disabled on this server.\n", LEFT],
            Cause::Rrsync,
            "/usr/bin/rrsync error: option -s",
            "allows no -s",
        ),
        (
            12,
            &["/usr/bin/rrsync error: invalid rsync-command syntax or options\n", LEFT],
            Cause::Rrsync,
            "/usr/bin/rrsync error: invalid rsync-command",
            "--modify-window=0",
        ),
        (
            12,
            &["/usr/bin/rrsync error: Another instance of rrsync is already accessing this directory.\n", LEFT],
            Cause::RrsyncLocked,
            "/usr/bin/rrsync error: Another instance",
            "-no-lock",
        ),
        (
            12,
            &["/usr/bin/rrsync error: SSH_ORIGINAL_COMMAND does not run rsync\n", LEFT],
            Cause::Rrsync,
            "/usr/bin/rrsync error: SSH_ORIGINAL_COMMAND",
            "drop --rsync-path",
        ),
        (
            12,
            &["/usr/bin/rrsync error: Restricted directory does not exist!\n", LEFT],
            Cause::Rrsync,
            "/usr/bin/rrsync error: Restricted directory",
            "make or mount the directory",
        ),
        (
            12,
            &[
                "/usr/bin/rrsync error: do not use .. in arg (anchor the path at the root of your restricted dir)\n",
                LEFT,
            ],
            Cause::Rrsync,
            "/usr/bin/rrsync error: do not use ..",
            "without `..`",
        ),
        (12, &["/usr/bin/rrsync error: Not invoked via sshd\n", LEFT], Cause::Rrsync, "/usr/bin/rrsync error: Not", ""),
    ]);
}
