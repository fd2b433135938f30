//! The table from what rsync, ssh, sudo and the shell write, and from rsync's exit code, to the cause.
//!
//! A reading is decided by one line. `{}` in its pattern stands for any text, `"{}"` for a name in quotes, and `{0}`,
//! `{1}` in its cure for what they were. `^` is the start of the line. Names in quotes count only where the pattern asks
//! for one: a file may be called like an error.

use crate::rsync::report::failure::line::ErrorLine;
use crate::rsync::runner::process::Code;
use crate::transport::failure::Cause;

/// One row of the table: a pattern, and the cause that a line of this pattern means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pattern: &'static str,
    /// A pattern of another line that has to be there too.
    beside: Option<&'static str>,
    /// The exit codes with which it can come; empty: any.
    codes: &'static [i32],
    cause: Cause,
    cure: Option<&'static str>,
    /// The further part of the output that is reported.
    more: More,
}

/// The part of the output that is reported besides the deciding line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Nothing,
    /// The line that follows: it has the reason.
    Next,
    /// The last line that is not rsync's own: rsync says only that it was left alone, and who did that may have said why.
    Foreign,
}

const fn says(pattern: &'static str, cause: Cause) -> Reading {
    Reading { pattern, beside: None, codes: &[], cause, cure: None, more: More::Nothing }
}

impl Reading {
    const fn beside(self, pattern: &'static str) -> Reading {
        Reading { beside: Some(pattern), ..self }
    }

    const fn with_code(self, codes: &'static [i32]) -> Reading {
        Reading { codes, ..self }
    }

    const fn cured_by(self, cure: &'static str) -> Reading {
        Reading { cure: Some(cure), ..self }
    }

    const fn and_more(self, more: More) -> Reading {
        Reading { more, ..self }
    }

    /// The verdict on an error output, if this reading decides it.
    fn decides(&self, lines: &[ErrorLine<'_>], code: Code) -> Option<ErrorMeaning> {
        let fits = self.codes.is_empty() || matches!(code, Code::Exit(code) if self.codes.contains(&code));
        let first = |pattern| lines.iter().enumerate().find_map(|(at, line)| Some((at, line.find(pattern)?)));
        let (line, mut names) = if fits { first(self.pattern) } else { None }?;
        if let Some(pattern) = self.beside {
            names.extend(first(pattern)?.1);
        }
        let cure = self.cure.map(|cure| {
            let fill = |cure: String, (at, name): (usize, &String)| cure.replace(&format!("{{{at}}}"), name);
            names.iter().enumerate().fold(cure.to_owned(), fill)
        });
        Some(ErrorMeaning { cause: self.cause, cure, line: Some(line), more: self.more })
    }
}

/// The meaning of an error output.
#[derive(Debug)]
pub(super) struct ErrorMeaning {
    pub(super) cause: Cause,
    /// The cure, where it is more exact than that of the cause.
    pub(super) cure: Option<String>,
    /// The line that decided it; `None` if the exit code did.
    pub(super) line: Option<usize>,
    pub(super) more: More,
}

/// ssh says this of a login that failed, and lists the methods.
const DENIED: &str = "Permission denied ({}).";
/// Exit codes of a run that ends before the other rsync greets. What ends it is passed on by some of them, or is not.
const UNGREETED: &[i32] = &[1, 2, 5, 12, 126, 127, 128, 255];

/// Of the way to the node: readings of runs that ended before the two rsyncs worked. The more telling first.
const WAY: &[Reading] = &[
    // This host.
    says("Failed to exec {}:", Cause::NoRemoteShell),
    says("Bad configuration option:", Cause::SshConfig),
    says("^unknown option -- ", Cause::SshConfig),
    says("Bad owner or permissions on {}", Cause::SshConfig)
        .cured_by("let only this user write {0}: chmod go-w, and chown"),
    says("^Can't open user config file {}:", Cause::SshConfig),
    says("^ssh: Could not resolve hostname {}:", Cause::UnknownHost),
    says("^rsync: getaddrinfo: ", Cause::UnknownHost),
    says("Error resolving '{}'", Cause::UnknownHost),
    // The host key.
    says("Host key for {} has changed", Cause::HostKeyChanged).beside("^Offending {} key in {}:{}").cured_by(
        "compare the fingerprint with that of the node; only then remove the old key: ssh-keygen -R \"{0}\" -f {2}",
    ),
    says("Host key for {} has changed", Cause::HostKeyChanged)
        .cured_by("compare the fingerprint with that of the node; only then remove the old key: ssh-keygen -R \"{0}\""),
    says("host key mismatch for {} !", Cause::HostKeyChanged)
        .cured_by("compare the fingerprint with that of the node; only then remove {0} from ~/.ssh/known_hosts"),
    says("REMOTE HOST IDENTIFICATION HAS CHANGED", Cause::HostKeyChanged).beside(DENIED),
    says("Host key verification failed", Cause::HostKeyUnknown),
    says("is not in the trusted hosts file", Cause::HostKeyUnknown),
    // The login.
    says("^Permissions {} for '{}' are too open", Cause::KeyOpen).beside(DENIED).cured_by("chmod 600 {1}"),
    says("^Load key \"{}\":", Cause::KeyUnusable)
        .beside(DENIED)
        .cured_by("IdentityFile must name a private key that this user may read: look at {0}"),
    says("Identity file {} not accessible", Cause::KeyUnusable)
        .beside(DENIED)
        .cured_by("make {0}, or correct IdentityFile in ssh_config, or -i in --rsh"),
    says(DENIED, Cause::Authentication),
    says("Too many authentication failures", Cause::Authentication),
    says("No auth methods could be used", Cause::Authentication),
    says("^Login for {}", Cause::Authentication).beside("^Password:"),
    says("Password change required", Cause::AccountExpired).cured_by("give it a new password there: passwd"),
    says("^Your account has expired", Cause::AccountExpired),
    // The network: after the host key and the login, since a jump host may end with these.
    says("^Timeout, server {} not responding", Cause::Timeout),
    says("failed to connect to", Cause::Unreachable),
    says("Connection refused", Cause::Unreachable),
    says("No route to host", Cause::Unreachable),
    says("Network is unreachable", Cause::Unreachable),
    says("Connection timed out", Cause::Unreachable),
    says("Operation timed out", Cause::Unreachable),
    says("^channel {}: open failed: administratively prohibited", Cause::Unreachable)
        .cured_by("let the jump host forward: AllowTcpForwarding in sshd_config there, no restriction of the key"),
    says("^kex_exchange_identification: ", Cause::Dropped),
    says("^ssh_exchange_identification: ", Cause::Dropped),
    // The account.
    says("^channel {}: open failed: connect failed: open failed", Cause::NoShell)
        .cured_by("raise MaxSessions in sshd_config there"),
    says("^the node prints 'This...'", Cause::NoShell),
    says("^This account is ", Cause::NoShell),
    says("^This service allows sftp connections only", Cause::NoShell),
    says("exec request failed on channel", Cause::NoShell),
    says("^fatal: unrecognized command 'rsync", Cause::NoShell),
    says("^fatal: Interactive git shell is not enabled", Cause::NoShell),
    // sudo, and what is used in its place.
    says("^sudo: sorry, you must have a tty", Cause::Sudo).cured_by("remove requiretty there, by visudo"),
    says("^sudo: a password is required", Cause::Sudo),
    says("^sudo: a terminal is required", Cause::Sudo),
    says("^sudo: no tty present", Cause::Sudo),
    says(" is not in the sudoers file", Cause::Sudo),
    says("^Sorry, user {} is not allowed to execute '", Cause::Sudo),
    says("^sudo: PAM ", Cause::Sudo),
    says("^doas: Operation not permitted", Cause::Sudo).cured_by("allow it in doas.conf there, with nopass"),
    says("^doas: Authenti", Cause::Sudo).cured_by("allow it in doas.conf there, with nopass"),
    says("^doas: a tty is required", Cause::Sudo).cured_by("allow it in doas.conf there, with nopass"),
    // rrsync.
    says("sending to read-only server {}not allowed", Cause::RrsyncReadOnly),
    says("option --delete{} has been disabled on this server", Cause::RrsyncNoDeletions),
    says("option {} has been disabled on this server", Cause::Rrsync)
        .cured_by("rrsync at the node allows no {0}: drop it from `extra`, and let `rpath` have plain letters alone"),
    says("invalid rsync-command syntax or options", Cause::Rrsync).cured_by(
        "rrsync takes no nanoseconds: write --modify-window=0 in `extra`, and none of what rrsync does not know",
    ),
    says("Another instance of rrsync is already accessing this directory", Cause::RrsyncLocked),
    says("SSH_ORIGINAL_COMMAND {}", Cause::Rrsync)
        .cured_by("drop --rsync-path from `extra`: rrsync starts rsync by itself"),
    says("Restricted directory does not exist!", Cause::Rrsync)
        .cured_by("make or mount the directory that its line in authorized_keys there names, or correct that"),
    says("rrsync error: do not use .. in {}", Cause::Rrsync)
        .cured_by("`rpath` begins at rrsync's own directory: write it without `..`"),
    says("rrsync error: ", Cause::Rrsync),
    // The node's rsync.
    says("rsync: unrecognized option", Cause::OpenRsync),
    says("rsync: unknown option -- ", Cause::OpenRsync),
    says("rsync: invalid option -- ", Cause::OpenRsync),
    says("^usage: {}rsync [-", Cause::OpenRsync),
    says("error while loading shared libraries: {}: failed to map segment", Cause::RemoteRsyncBroken)
        .with_code(UNGREETED)
        .cured_by("let the account have more memory there (ulimit -v), or remount what it is on without noexec"),
    says("error while loading shared libraries", Cause::RemoteRsyncBroken).with_code(UNGREETED),
    says("^bash: line {}: {}: cannot execute", Cause::RemoteRsyncBroken).with_code(UNGREETED),
    says("^bash: line {}: {}: Permission denied", Cause::RemoteRsyncBroken).with_code(UNGREETED),
    says("^bash: line {}: {}: Is a directory", Cause::RemoteRsyncBroken).with_code(UNGREETED),
    says("^sh: {}: {}: Permission denied", Cause::RemoteRsyncBroken).with_code(UNGREETED),
    says("^dash: {}: {}: Permission denied", Cause::RemoteRsyncBroken).with_code(UNGREETED),
    says("^zsh:{}: permission denied: ", Cause::RemoteRsyncBroken).with_code(UNGREETED),
    says("Exec format error", Cause::RemoteRsyncBroken).with_code(UNGREETED),
    // An rsync daemon.
    says("could not open password file {}: ", Cause::PasswordFile)
        .cured_by("write the password into {0} (chmod 600), or correct --password-file in `extra`"),
    says("failed to read a password from {}", Cause::PasswordFile).cured_by("write the password into {0}, on one line"),
    says("password file must not be other-accessible", Cause::PasswordFile)
        .cured_by("chmod 600 on the file of --password-file in `extra`"),
    says("password file must be owned by ", Cause::PasswordFile)
        .cured_by("chown the file of --password-file in `extra` to the user that runs inosync"),
    says("@ERROR: auth failed", Cause::DaemonLogin),
    says("@ERROR: Unknown module", Cause::NoModule),
    says("@ERROR: max connections", Cause::Busy),
    says("@ERROR: access denied to {} from {}", Cause::HostDenied)
        .cured_by("let {1} in by `hosts allow` and `hosts deny` of [{0}] in rsyncd.conf at the node"),
    says("@ERROR: chdir failed", Cause::ModulePath),
    says("@ERROR: chroot failed", Cause::ModulePath),
    says("@ERROR: early exec failed", Cause::PreXfer),
    says("@ERROR: ", Cause::Refused),
    says("module is read only", Cause::ModuleReadOnly),
    says("^pre-xfer exec returned failure ({}):", Cause::PreXfer).and_more(More::Next),
    says("^pre-xfer exec returned failure", Cause::PreXfer),
    says("server sent \"{}\" rather than greeting", Cause::NotRsyncd),
    says("The server is configured to refuse {}", Cause::OptionRefused)
        .cured_by("remove {0} from `refuse options` in rsyncd.conf at the node, or correct `extra`"),
    // The two rsyncs.
    says("The temp-dir does not exist: {}", Cause::TempDir)
        .cured_by("make {0} at the node, or correct --temp-dir in `extra` or `temp dir` in rsyncd.conf"),
    says("The temp-dir is not a directory", Cause::TempDir),
    says("unknown option", Cause::UnknownOption),
    says("^unknown {} name: ", Cause::Usage),
    says("^Invalid {} for --", Cause::Usage),
    says("^iconv_open(", Cause::Usage),
    says("^The --{} option may only be used ", Cause::Usage),
    says("^the node speaks protocol", Cause::Protocol),
    says("^the node prints '", Cause::NoisyShell),
    says("is your shell clean", Cause::NoisyShell),
    says("protocol version mismatch", Cause::Protocol),
];

/// Of a receiver that rejects a list.
const LIST: &[Reading] =
    &[says("invalid file mode 00", Cause::RejectsMissing), says("due to invalid path from sender", Cause::Vanished)];

/// Of a run that is on.
const RUN: &[Reading] = &[
    says("failed to open exclude file {}:", Cause::Usage),
    says("failed to open include file {}:", Cause::Usage),
    says(": No space left on device (", Cause::TargetFull),
    says(": Disk quota exceeded (", Cause::TargetFull),
    says("write failed on \"{}\"{}: File too large (", Cause::TooLarge),
    says(": Read-only file system (", Cause::TargetReadOnly),
    says("cannot stat destination \"{}\": Permission denied (", Cause::TargetRefused)
        .cured_by("let that user through each directory above it there (chmod o+x); `namei -l {0}` shows them"),
    says("cannot stat destination \"{}\": Not a directory (", Cause::TargetRefused)
        .cured_by("{0} or a part of it is a file there: move that away, or correct `rpath` or the node"),
    says("mkdir \"{}\"{} failed: File exists (", Cause::TargetRefused).with_code(&[11]).cured_by(
        "{0} is a symlink that leads nowhere, or a file: make or mount there what it points to, or correct `rpath`",
    ),
    says("io timeout", Cause::Timeout),
    says("^what the node says does not end, ", Cause::Talkative),
    says("^a directory above what is to be deleted is not what it was, ", Cause::Vanished),
    says("^ERROR: daemon refused to receive ", Cause::NodeExcludes),
    says("mkdir \"{}\"{} failed: No such file or directory", Cause::NoParent).with_code(&[11]),
    says("[sender] change_dir", Cause::SourceGone).with_code(&[3, 23]),
    says("getcwd()", Cause::SourceGone).with_code(&[3, 23]),
];

/// The messages of an rsync that was left alone by the other end. Any other known message tells more.
const LEFT_ALONE: &[Reading] = &[
    says("connection unexpectedly closed (0 bytes", Cause::RemoteRsyncBroken).with_code(&[126]).and_more(More::Foreign),
    says("connection unexpectedly closed (0 bytes", Cause::NoRemoteRsync).with_code(&[127]).and_more(More::Foreign),
    says("connection unexpectedly closed (0 bytes", Cause::Silent).and_more(More::Foreign),
    says("did not see server greeting", Cause::Refused).and_more(More::Foreign),
];

/// Decides the meaning of an error output.
pub(super) fn verdict(lines: &[ErrorLine<'_>], code: Code) -> ErrorMeaning {
    let find =
        |tables: &[&[Reading]]| tables.iter().copied().flatten().find_map(|reading| reading.decides(lines, code));
    let found = match has_worked(code) {
        true => find(&[LIST, RUN]),
        false => find(&[LIST, WAY, RUN]).or_else(|| no_rsync(lines, code)).or_else(|| find(&[LEFT_ALONE])),
    };
    found.unwrap_or(ErrorMeaning { cause: by_code(code), cure: None, line: None, more: More::Nothing })
}

/// Tells if a run with this end got as far as files and directories. Then what ssh and the login said was no hindrance.
fn has_worked(code: Code) -> bool {
    matches!(code, Code::Exit(3 | 6 | 11 | 13 | 21..=25))
}

/// Recognises a remote shell that does not find rsync. Messages of rsync itself with the same words end with the
/// errno; another process may have torn their lines.
fn no_rsync(lines: &[ErrorLine<'_>], code: Code) -> Option<ErrorMeaning> {
    let ends = [": not found", ": No such file or directory", ": command not found", ": Command not found."];
    let is_so = |line: &ErrorLine<'_>| {
        let text = line.bare();
        text.contains("rsync") && (ends.iter().any(|end| text.ends_with(end)) || text.contains("command not found: "))
    };
    let line = lines.iter().position(is_so).filter(|_| matches!(code, Code::Exit(12 | 127 | 255)))?;
    Some(ErrorMeaning { cause: Cause::NoRemoteRsync, cure: None, line: Some(line), more: More::Nothing })
}

/// Maps an exit code to its cause: rsync(1), EXIT VALUES.
fn by_code(code: Code) -> Cause {
    match code {
        Code::Exit(1 | 4) => Cause::Usage,
        // Without a word about the protocol: the receiver gave up on a list that no longer fits what is on disk.
        Code::Exit(2) => Cause::Vanished,
        Code::Exit(3) => Cause::TargetRefused,
        Code::Exit(5) => Cause::Refused,
        Code::Exit(10 | 12 | 255) => Cause::Closed,
        Code::Exit(14) => Cause::NoRemoteShell,
        Code::Exit(16 | 19 | 20 | 137 | 143) | Code::Signal(_) => Cause::Killed,
        Code::Exit(23) => Cause::Partial,
        Code::Exit(24) => Cause::Vanished,
        Code::Exit(25) => Cause::TooManyDeletions,
        Code::Exit(30 | 35) => Cause::Timeout,
        Code::Exit(126) => Cause::RemoteRsyncBroken,
        Code::Exit(127) => Cause::NoRemoteRsync,
        Code::Exit(_) => Cause::Unknown,
    }
}
