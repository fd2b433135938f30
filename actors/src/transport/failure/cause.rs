//! The causes for which a node cannot be brought up to date: a table with the text, the cure and the kind of each.

/// A row of the table of causes.
#[derive(Debug, Clone, Copy)]
struct CauseRow {
    words: &'static str,
    cure: &'static str,
    is_lasting: bool,
    stops_all: bool,
}

impl CauseRow {
    /// Marks a cause that makes any run fail, regardless of its content.
    const fn and_any_run(self) -> CauseRow {
        CauseRow { stops_all: true, ..self }
    }
}

/// Makes a row for a cause that lasts until a person does something.
const fn lasting(words: &'static str, cure: &'static str) -> CauseRow {
    CauseRow { words, cure, is_lasting: true, stops_all: false }
}

/// Makes a row for a cause that can pass by itself; `cure` is empty if nobody need do anything.
const fn passing(words: &'static str, cure: &'static str) -> CauseRow {
    CauseRow { words, cure, is_lasting: false, stops_all: false }
}

/// Declares the causes, each with its row of the table.
macro_rules! causes {
    ($($(#[$doc:meta])* $cause:ident: $row:expr;)*) => {
        /// The causes of failures that inosync tells apart.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Cause {
            $($(#[$doc])* $cause,)*
        }

        impl Cause {
            const fn row(self) -> CauseRow {
                match self {
                    $(Cause::$cause => $row,)*
                }
            }
        }
    };
}

causes! {
    /// The host name does not resolve to an address.
    UnknownHost: passing("the node's name has no address",
        "correct the name, or HostName in ssh_config, or the resolver of this machine").and_any_run();
    /// The host cannot be reached.
    Unreachable: passing("the node cannot be reached",
        "if it stays so: start the host or its server, or correct name, port or firewall").and_any_run();
    /// ssh does not know the node's host key.
    HostKeyUnknown: lasting("the node's host key is not known",
        "log in once by hand as this user: ssh asks to accept the key").and_any_run();
    /// The node shows another host key than the one that ssh knows.
    HostKeyChanged: lasting("the node's host key has CHANGED, or somebody is in between",
        "compare the fingerprint with that of the node; only then remove the old key: ssh-keygen -R \
         HOST").and_any_run();
    /// The node's ssh server closes the connection before the login.
    Dropped: passing("the node's ssh server ends the connection before the login",
        "if it stays so, its log there says why: MaxStartups in sshd_config, or a ban of this host").and_any_run();
    /// The node refuses this user's ssh key.
    Authentication: lasting("the node refuses the login",
        "install this user's ssh key there; one with a passphrase needs an ssh-agent, or a key without one; if the key \
         is there, the log of its ssh server says what is wrong").and_any_run();
    /// ssh ignores the private key because other users may read it.
    KeyOpen: lasting("the private key is readable by others", "chmod 600 on the key file").and_any_run();
    /// ssh cannot read the private key.
    KeyUnusable: lasting("the private key cannot be used",
        "IdentityFile must name a private key that this user may read").and_any_run();
    /// The account at the node, or its password, has expired.
    AccountExpired: lasting("the account at the node has expired",
        "renew it or its password there (chage -l shows both)").and_any_run();
    /// ssh rejects its own configuration.
    SshConfig: lasting("ssh rejects its configuration",
        "correct the file or option that ssh names, or --rsh in `extra`").and_any_run();
    /// The remote shell program is missing on this host.
    NoRemoteShell: lasting("the remote shell program cannot be run",
        "install ssh, or correct --rsh in `extra`").and_any_run();
    /// The account at the node may not run programs: its shell is nologin, or it is for SFTP only.
    NoShell: lasting("the account at the node may not run programs",
        "it has nologin for a shell, or is for SFTP alone: give it a shell, or use another account").and_any_run();
    /// The login shell at the node prints text that rsync cannot understand.
    NoisyShell: lasting("the node's login shell prints something",
        "let the login scripts print only for interactive shells");
    /// The session ends before the node's rsync answers.
    Silent: passing("the node ended the session before rsync answered",
        "if it stays so: `ssh HOST rsync --version`, as this user, must print a version and nothing else");
    /// sudo or doas at the node does not let rsync run.
    Sudo: lasting("sudo at the node refuses to run rsync",
        "allow it there without a password, by visudo: USER ALL=(root) NOPASSWD: /usr/bin/rsync").and_any_run();
    /// There is no rsync at the node.
    NoRemoteRsync: lasting("the node has no rsync",
        "install rsync at the node, or give --rsync-path in `extra`").and_any_run();
    /// The program that is named as the node's rsync cannot be run.
    RemoteRsyncBroken: lasting("the node's rsync cannot be run",
        "correct --rsync-path in `extra`, or install rsync at the node anew").and_any_run();
    /// The node's rsync is OpenBSD's openrsync, which lacks what inosync needs.
    OpenRsync: lasting("the node's rsync is openrsync, which cannot do this",
        "install rsync itself there, and name it by --rsync-path in `extra`");
    /// rrsync at the node accepts no writes (`-ro`).
    RrsyncReadOnly: lasting("rrsync at the node is read-only",
        "replace -ro by -wo in its line in authorized_keys there");
    /// rrsync at the node allows no deletions (`-no-del`).
    RrsyncNoDeletions: lasting("rrsync at the node allows no deletions",
        "remove -no-del from its line in authorized_keys there");
    /// rrsync at the node allows one rsync at a time.
    RrsyncLocked: passing("rrsync at the node lets in one rsync at a time",
        "add -no-lock to its line in authorized_keys there");
    /// rrsync at the node refuses the run for another reason.
    Rrsync: lasting("rrsync at the node refuses the run",
        "correct its line in authorized_keys there, or what it refuses here; the manual has both");
    /// No rsync daemon answers at the address.
    NotRsyncd: lasting("no rsync daemon answers at the node", "correct its port in `rnodes`").and_any_run();
    /// The rsync daemon has no such module.
    NoModule: lasting("the node's rsync daemon has no such module",
        "name a module that rsyncd.conf at the node has").and_any_run();
    /// The rsync daemon does not allow connections from this host.
    HostDenied: lasting("the node's rsync daemon does not let this host in",
        "correct `hosts allow` and `hosts deny` in rsyncd.conf at the node").and_any_run();
    /// The rsync daemon refuses the user or the password.
    DaemonLogin: lasting("the node's rsync daemon refuses the login",
        "give user and --password-file in `extra` as `auth users` and `secrets file` in rsyncd.conf there have them; \
         others must not read that file").and_any_run();
    /// The file of `--password-file` cannot be used.
    PasswordFile: lasting("the password file cannot be used", "correct --password-file in `extra`").and_any_run();
    /// The rsync daemon has no free connection (`max connections`).
    Busy: passing("the node's rsync daemon has no free connection",
        "raise `max connections` in rsyncd.conf at the node").and_any_run();
    /// The rsync daemon cannot enter the directory of the module.
    ModulePath: lasting("the directory of the module cannot be entered",
        "mount or make `path` of the module there, and let its `uid` enter it").and_any_run();
    /// The module of the rsync daemon is read-only.
    ModuleReadOnly: lasting("the module at the node is read-only",
        "write `read only = no` for it in rsyncd.conf there").and_any_run();
    /// A `pre-xfer exec` or `early exec` program of the rsync daemon refuses the session.
    PreXfer: lasting("a program of the node's rsync daemon refuses the session",
        "it is `pre-xfer exec` or `early exec` in rsyncd.conf there: do what it asks for");
    /// The rsync daemon refuses the session at its start, for a reason of its own.
    Refused: lasting("the node's rsync daemon refuses the session",
        "look at its log; with --rsh in `extra` an rsync daemon is reached through that shell, as rsync itself does");
    /// The rsync daemon at the node refuses an option, such as deletions.
    OptionRefused: lasting("the node refuses an option",
        "remove it from `refuse options` in rsyncd.conf at the node, or correct `extra`");
    /// The directory for temporary files (`--temp-dir`, or `temp dir` in rsyncd.conf) is missing at the node.
    TempDir: lasting("the directory for temporary files is missing at the node",
        "make it there, or correct --temp-dir in `extra` or `temp dir` in rsyncd.conf");
    /// One of the two rsyncs does not know an option that the other one uses.
    UnknownOption: lasting("rsync does not know an option", "correct `extra`, or install a newer rsync at the node");
    /// rsync rejects the options that it was given.
    Usage: lasting("rsync rejects its options", "correct `extra`");
    /// The two rsyncs have no protocol version in common.
    Protocol: lasting("the rsync versions do not understand each other", "install a newer rsync at the node");
    /// The receiving rsync rejects entries that are listed for deletion.
    RejectsMissing: passing("the node's rsync rejects deletions", "");
    /// The source directory is missing, or is not the one that the daemon started with.
    SourceGone: passing("the source is not there", "").and_any_run();
    /// A directory above the mirror is missing, and rsync cannot make it.
    NoParent: lasting("a directory above the mirror is missing",
        "make that directory at the node by hand: one of the two rsyncs is too old for --mkpath");
    /// The mirror is not a directory, or may not be entered.
    TargetRefused: lasting("the mirror cannot be entered",
        "the mirror must be a directory that this user may enter and write");
    /// The account at the node may not write the mirror.
    Unwritable: lasting("the mirror cannot be written",
        "make that directory there and give it to that user (mkdir -p, chown), or correct `rpath` or the node");
    /// The node accepts file contents, but neither times nor permissions nor owners.
    AttributesRefused: lasting("attributes cannot be set at the node",
        "give what is there to that user (chown -R), or mount it for that user (uid=)");
    /// The node's disk or quota is full.
    TargetFull: passing("the node is full", "make room at the node, or exclude what need not be there");
    /// A file does not fit at the node; smaller files may.
    NoRoom: lasting("a file does not fit at the node", "make room at the node, or exclude the file by `rexcludes`");
    /// The node keeps its old files although rsync sent new ones.
    NotTaken: lasting("the node leaves its old files as they are",
        "remove -no-overwrite from the line of rrsync in authorized_keys there, or the option that some other wrapper \
         of rsync adds there");
    /// A file is larger than the node's file system or account allows.
    TooLarge: lasting("the node takes no file of this size",
        "exclude it by `rexcludes`; FAT takes less than 4 GiB a file, an account what `ulimit -f` allows");
    /// The node's file system is read-only.
    TargetReadOnly: passing("the node is read-only", "remount it writable");
    /// No data was transferred during the whole timeout.
    Timeout: passing("the node does not answer", "").and_any_run();
    /// The node's output never ends.
    Talkative: passing("the node talks without end",
        "look at what runs there in place of rsync: its login scripts, --rsync-path in `extra`, a forced \
         command").and_any_run();
    /// rsync was killed, here or at the node.
    Killed: passing("rsync was killed", "");
    /// The connection to the node broke.
    Closed: passing("the connection to the node broke", "");
    /// The node's rsync daemon excludes some paths; all others are done.
    NodeExcludes: passing("the node's rsync daemon excludes some paths",
        "exclude them by `rexcludes` too, or drop `exclude` and `filter` from rsyncd.conf there");
    /// Some entries failed; all others are done.
    Partial: passing("some paths failed", "look at the paths: permissions here and at the node are the usual reason");
    /// The node has another kind of entry by the name, and keeps what the source lost (`delete: Never`).
    InTheWay: lasting("not mirrored: the node keeps another kind of entry by that name (delete)",
        "remove what the node has there, or give the entry another name; with delete: Always it is replaced");
    /// Some entries vanished while they were sent; all others are done.
    Vanished: passing("some paths vanished while they were sent", "");
    /// A reconcile would delete more entries than `max_delete` allows.
    TooManyDeletions: lasting("reconcile held", "see with inosync dry-run what it is; if it is right: inosync allow-deletes NODE");
    /// rsync could not be started.
    NotStarted: passing("rsync cannot be started",
        "look at `rsync` in the configuration and at the limits of the daemon's processes");
    /// The file system of a directory or file of this machine that an rsync is to reach has failed.
    PlaceFails: passing("a place on this machine cannot be reached",
        "look at what is mounted there: a file system that has failed must be unmounted (umount -l) and mounted again");
    /// A failure that none of the other causes explains.
    Unknown: passing("rsync failed", "");
}

impl Cause {
    /// Returns the description of the fault for logs.
    pub(crate) fn words(self) -> &'static str {
        self.row().words
    }

    /// Returns the general remedy for the admin; empty if the fault passes by itself.
    pub(crate) fn cure(self) -> &'static str {
        self.row().cure
    }

    /// Tells if the node fails to store data. A node that merely answers has not recovered from such a cause.
    pub(crate) fn is_about_storing(self) -> bool {
        matches!(
            self,
            Cause::TargetFull
                | Cause::NoRoom
                | Cause::TooLarge
                | Cause::TargetReadOnly
                | Cause::TargetRefused
                | Cause::Unwritable
        )
    }

    /// Tells if the cause lasts until a person does something, so that frequent retries are of no use.
    pub fn is_lasting(self) -> bool {
        self.row().is_lasting
    }

    /// Tells if the cause may pass in a moment, as a broken connection does; then the log waits for the next try.
    pub(crate) fn is_hiccup(self) -> bool {
        matches!(
            self,
            Cause::Killed | Cause::Closed | Cause::Silent | Cause::Dropped | Cause::Vanished | Cause::RejectsMissing
        )
    }

    /// Tells if the cause says only that a run broke. An earlier failure may have named the real reason.
    pub(crate) fn is_vague(self) -> bool {
        matches!(self, Cause::Killed | Cause::Closed | Cause::Silent | Cause::Unknown)
    }

    /// Tells if the cause makes any run fail, regardless of its content.
    pub(crate) fn stops_all(self) -> bool {
        self.row().stops_all
    }
}
