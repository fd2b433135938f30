//! What rsync itself says, and its daemon.

use super::*;
use crate::transport::failure::Cause;

#[test]
fn the_rsync_daemon_of_3_5_0_and_3_2_7() {
    const AT_START: &str =
        "rsync error: error starting client-server protocol (code 5) at main.c(1954) [sender=3.5.0]\n";
    check(&[
        (5, &["@ERROR: Unknown module 'x'\n", AT_START], Cause::NoModule, "@ERROR: Unknown module", "name a module"),
        (
            5,
            &["@ERROR: access denied to m from localhost (127.0.0.1)\n", AT_START],
            Cause::HostDenied,
            "@ERROR: access denied",
            "let localhost (127.0.0.1) in by `hosts allow` and `hosts deny` of [m]",
        ),
        (5, &["@ERROR: chdir failed\n", AT_START], Cause::ModulePath, "@ERROR: chdir", "`path`"),
        (5, &["@ERROR: chroot failed\n", AT_START], Cause::ModulePath, "@ERROR: chroot", "`path`"),
        (5, &["@ERROR: invalid uid nosuchuser\n", AT_START], Cause::Refused, "@ERROR: invalid uid nosuchuser", "log"),
        (5, &["@ERROR: early exec failed\n", AT_START], Cause::PreXfer, "@ERROR: early exec", "early exec"),
        (
            5,
            &["@ERROR: max connections (4) reached -- try again later\n", AT_START],
            Cause::Busy,
            "@ERROR: max connections (4)",
            "raise",
        ),
        (
            5,
            &["Password: @ERROR: auth failed on module m\n", AT_START],
            Cause::DaemonLogin,
            "Password: @ERROR: auth failed",
            "--password-file",
        ),
        (
            1,
            &["rsync: [sender] could not open password file /pw: No such file or directory (2)\n"],
            Cause::PasswordFile,
            "rsync: [sender] could not open password file /pw",
            "write the password into /pw",
        ),
        (
            1,
            &["ERROR: password file must not be other-accessible\n"],
            Cause::PasswordFile,
            "ERROR: password file must not",
            "chmod 600",
        ),
        (
            1,
            &["ERROR: password file must be owned by root when running as root\n"],
            Cause::PasswordFile,
            "ERROR: password file must be owned",
            "chown",
        ),
        (1, &["ERROR: failed to read a password from /pw\n"], Cause::PasswordFile, "ERROR: failed to read", "into /pw"),
        (
            1,
            &["The --password-file option may only be used when accessing an rsync daemon.\n"],
            Cause::Usage,
            "The --password-file option",
            "correct `extra`",
        ),
        (
            11,
            &["rsync: [Receiver] mkdir \"/a/b\" (in m) failed: No such file or directory (2)\n", RESET],
            Cause::NoParent,
            "rsync: [Receiver] mkdir \"/a/b\" (in m) failed",
            "--mkpath",
        ),
        (
            11,
            &["rsync: [Receiver] mkdir \"/srv/m\" failed: File exists (17)\n", RESET],
            Cause::TargetRefused,
            "rsync: [Receiver] mkdir \"/srv/m\" failed: File exists",
            "/srv/m is a symlink that leads nowhere",
        ),
        (
            3,
            &["rsync: [Receiver] ERROR: cannot stat destination \"/home/u/m/\": Permission denied (13)\n", RESET],
            Cause::TargetRefused,
            "rsync: [Receiver] ERROR: cannot stat destination",
            "through each directory above it there (chmod o+x); `namei -l /home/u/m/` shows them",
        ),
        (
            3,
            &["rsync: [Receiver] ERROR: cannot stat destination \"/f/m/\": Not a directory (20)\n", RESET],
            Cause::TargetRefused,
            "rsync: [Receiver] ERROR: cannot stat destination",
            "/f/m/ or a part of it is a file there",
        ),
        (
            11,
            &["rsync: [receiver] write failed on \"/m/big\": File too large (27)\n", RESET],
            Cause::TooLarge,
            "rsync: [receiver] write failed on \"/m/big\"",
            "FAT takes less than 4 GiB",
        ),
        (
            127,
            &[
                "rsync: error while loading shared libraries: libc.so.6: failed to map segment from shared object\n",
                RESET,
            ],
            Cause::RemoteRsyncBroken,
            "rsync: error while loading shared libraries",
            "ulimit -v",
        ),
        (1, &["ERROR: module is read only\n", RESET], Cause::ModuleReadOnly, "ERROR: module", "read only = no"),
        (
            4,
            &["rsync: The server is configured to refuse --delete\n", RESET],
            Cause::OptionRefused,
            "rsync: The server is configured to refuse --delete",
            "remove --delete from `refuse options`",
        ),
        (
            4,
            &["pre-xfer exec returned failure (256):\nthe disk is not mounted\n", RESET],
            Cause::PreXfer,
            "pre-xfer exec returned failure (256): the disk is not mounted (rsync exit code 4)",
            "pre-xfer exec",
        ),
        (
            4,
            &["pre-xfer exec returned failure (256)\n", RESET],
            Cause::PreXfer,
            "pre-xfer exec returned failure (2",
            "",
        ),
        (
            1,
            &["The temp-dir does not exist: /m/nowhere\n"],
            Cause::TempDir,
            "The temp-dir does not exist: /m/nowhere",
            "make /m/nowhere at the node",
        ),
        (
            5,
            &["rsync: server sent \"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\" rather than greeting\n", AT_START],
            Cause::NotRsyncd,
            "rsync: server sent \"SSH-2.0",
            "port",
        ),
        (
            5,
            &["verify depth is 4\nrsync: did not see server greeting\n", AT_START],
            Cause::Refused,
            "rsync: did not see server greeting, after \"verify depth is 4\"",
            "",
        ),
        (
            10,
            &["rsync: getaddrinfo: nowhere.invalid 873: Name or service not known\n"],
            Cause::UnknownHost,
            "rsync: getaddrinfo",
            "",
        ),
        (
            10,
            &["rsync: [sender] failed to connect to 127.0.0.1 (127.0.0.1): Connection refused (111)\n"],
            Cause::Unreachable,
            "rsync: [sender] failed to connect",
            "",
        ),
    ]);
}

#[test]
fn rsync_itself() {
    check(&[
        (1, &["rsync: --nonsense: unknown option\n"], Cause::UnknownOption, "rsync: --nonsense", "newer rsync"),
        (4, &["unknown checksum name: foo\n"], Cause::Usage, "unknown checksum", "correct `extra`"),
        (
            4,
            &["Invalid checksum-choice for --checksum: none (0)\n"],
            Cause::Usage,
            "Invalid checksum",
            "correct `extra`",
        ),
        (
            11,
            &["rsync: [client] failed to open exclude file /x: No such file or directory (2)\n"],
            Cause::Usage,
            "rsync",
            "",
        ),
        // Words of the login, and names of files, say nothing of a run that is on.
        (
            23,
            &[CHANGED, "rsync: [sender] send_files failed to open \"/s/f\": Permission denied (13)\n"],
            Cause::Partial,
            "rsync: [sender] send_files failed",
            "permissions",
        ),
        (
            12,
            &["rsync: [sender] send_files failed to open \"/s/Connection refused\": Permission denied (13)\n"],
            Cause::Closed,
            "rsync: [sender] send_files failed",
            "",
        ),
        (
            23,
            &[
                "rsync: [generator] failed to set times on \"/m/: No space left on device (28)\": Operation not permitted (1)\n",
            ],
            Cause::Partial,
            "rsync: [generator] failed to set times",
            "",
        ),
        (
            23,
            &["ERROR: daemon refused to receive file \"a.bak\"\n"],
            Cause::NodeExcludes,
            "ERROR: daemon refused to receive file \"a.bak\"",
            "`rexcludes`",
        ),
        (
            11,
            &[
                "rsync: [receiver] write failed on \"/m/f\": No space left on device (28)\n",
                "rsync: [sender] write error\n",
            ],
            Cause::TargetFull,
            "rsync: [receiver] write failed",
            "make room",
        ),
    ]);
}
