//! Names the account that writes at a node, and words the failures that are about what this account may do there.

use crate::rsync::report::failure;
use std::borrow::Cow;

use crate::node::Kind;
use crate::path::Escaped;
use crate::rsync::examine::own_name;
use crate::rsync::report::complaint::{Act, Complaint, End, Why, lines, words};
use crate::rsync::report::{temporary, unset};
use crate::rsync::runner::master::login::Login;
use crate::rsync::runner::process::{Code, Finished};
use crate::rsync::target::Target;
use crate::transport::failure::{Cause, Failure};

/// The cure for EPERM: rsync sets the permissions of what it makes at once, which takes its owner, and a mount for another user
/// says that all in it is owned by that one.
const NOT_PERMITTED: &str = "mount it for that user (uid=), or make it mutable (chattr -i)";

impl Target {
    /// The account under which rsync writes at the node, as far as the configuration tells.
    pub(crate) fn account(&self) -> String {
        let login = Login::of(&self.node, &self.site.extra);
        match (self.node.kind(), login.as_ref().and_then(Login::user)) {
            (Kind::Local, _) => own_name(),
            (Kind::Ssh, Some(user)) => user.to_owned(),
            (Kind::Ssh, None) => "the login user".to_owned(),
            (Kind::Daemon, _) => "the module's user (`uid` in rsyncd.conf)".to_owned(),
        }
    }

    /// The failure of a finished run; `None` if it was a success. Where the node denied something, the failure names the mirror
    /// and the account.
    pub(crate) fn failure_of(&self, finished: &Finished) -> Option<Failure> {
        let failure = failure::of(finished)?;
        Some(match (finished.code, failure.cause, line_of(&finished.stderr, ends_denied)) {
            // The mirror itself, or a directory above it, cannot be made.
            (Code::Exit(11), Cause::Unknown, Some(said)) => Failure::new(Cause::Unwritable, self.denied(&said)),
            (Code::Exit(3), Cause::TargetRefused, Some(said)) => Failure { said: self.denied(&said), ..failure },
            (Code::Exit(23), Cause::Partial, _) if has_only_vanished(&finished.stderr) => {
                Failure::new(Cause::Vanished, failure.said)
            }
            // It is about a directory below: that went while a run was in it, or cannot be entered.
            (code, Cause::SourceGone, _) if self.root.check().is_ok() => match code {
                Code::Exit(23) if line_of(&finished.stderr, ends_denied).is_some() => {
                    Failure::new(Cause::Partial, failure.said)
                }
                _ => Failure::new(Cause::Vanished, failure.said),
            },
            _ => self.with_place(failure),
        })
    }

    /// The failure of a node that refuses everything, of the run that was seen to fail for this cause.
    pub(crate) fn refused(&self, cause: Cause, finished: &Finished, failure: Failure) -> Failure {
        let is_meant = |complaint: &Complaint| {
            cause == Cause::Unwritable && complaint.act != Act::Attributes && complaint.why == Why::Denied
        };
        let decides = |line: &[u8]| Complaint::read(line).is_some_and(|complaint| is_meant(&complaint));
        let Some(line) = line_of(&finished.stderr, decides) else {
            return self.with_place(Failure::new(cause, failure.said));
        };
        // The name in it may be one that rsync made up.
        let why = line.rsplit(": ").next().unwrap_or(&line);
        let failure = Failure::new(cause, self.denied(why));
        // A directory that belongs to somebody else answers EACCES.
        match why.ends_with("(1)") {
            true => Failure { cure: NOT_PERMITTED.into(), ..failure },
            false => failure,
        }
    }

    /// The failure of a node that is read-only, with what makes it so for a service.
    pub(crate) fn with_place(&self, failure: Failure) -> Failure {
        let Some(mirror) = self.node.local_path().filter(|_| failure.cause == Cause::TargetReadOnly) else {
            return failure;
        };
        // systemd.exec(5): set for each service.
        if std::env::var_os("INVOCATION_ID").is_none() {
            return failure;
        }
        let mirror = Escaped(mirror.as_os_str().as_encoded_bytes()).to_string();
        let cure = format!(
            "where it can be written outside of the service, let the unit write there: systemctl edit the unit, with \
             [Service] and ReadWritePaths={mirror}; else remount it writable"
        );
        Failure { cure: cure.into(), ..failure }
    }

    /// The failure of some paths of a run, in the words of the complaint that tells most, with the name that its file has at the
    /// source.
    pub(crate) fn partial(&self, finished: &Finished, failure: Failure) -> Failure {
        let complaints = || lines(&finished.stderr).filter_map(|line| Some((line, Complaint::read(line)?)));
        // That attributes cannot be set is often the consequence.
        let first =
            complaints().find(|(_, complaint)| complaint.act != Act::Attributes).or_else(|| complaints().next());
        let Some((line, complaint)) = first.filter(|_| failure.cause == Cause::Partial) else { return failure };
        let cure = self.cure_of(line, &complaint).unwrap_or(failure.cure);
        let failure = Failure { cure, ..failure };
        let Complaint { name: Some(name), end, .. } = complaint else { return failure };
        let file =
            self.inside(&name).filter(|path| end != Some(End::Source) && temporary::stems(path).next().is_some());
        let file = file.and_then(|path| temporary::originals(&self.root, &path).into_iter().next());
        let line = Escaped(line).to_string();
        let name = Escaped(&name).to_string();
        let line = file.map_or(line.clone(), |file| line.replacen(&name, &file.to_string(), 1));
        let end = failure.said.rfind(" (rsync exit code").and_then(|at| failure.said.get(at..)).unwrap_or_default();
        Failure { said: format!("{line}{end}"), ..failure }
    }

    /// The cure of what a complaint is about, where it is more exact than to look at the path.
    fn cure_of(&self, line: &[u8], complaint: &Complaint) -> Option<Cow<'static, str>> {
        if complaint.act == Act::Attributes && complaint.end == Some(End::Node) {
            return unset::cure(line, complaint);
        }
        let is_symlink = words(line) == Some(b"symlink ");
        let line = String::from_utf8_lossy(line);
        match (complaint.end, complaint.act, complaint.why) {
            (Some(End::Node), Act::Make, Why::Unsupported) if is_symlink => {
                Some("the file system there has no symlinks: name it in `rexcludes`, or mirror what it leads to".into())
            }
            (Some(End::Source), _, Why::Denied) => {
                Some(format!("let {} read it here, or exclude it by `rexcludes`", own_name()).into())
            }
            (Some(End::Node), Act::Make | Act::Delete, Why::Denied) if line.ends_with("(13)") => {
                Some(format!("let {} write the directory that it is in there (chown, chmod)", self.account()).into())
            }
            (Some(End::Node), _, Why::Denied) if line.ends_with("(1)") => Some(
                format!("give it to {} there (chown), or make it mutable (lsattr, chattr -i)", self.account()).into(),
            ),
            _ => None,
        }
    }

    fn denied(&self, said: &str) -> String {
        let mirror = self.node.mirror_root();
        let mirror = Escaped(if mirror.is_empty() { b"/" } else { mirror });
        format!("{mirror} by {}: {said}", self.account())
    }
}

/// Tells if rsync complained of nothing but of what went here while it was sent. It has code 24 for most of that, and 23
/// for what is listed.
fn has_only_vanished(stderr: &[u8]) -> bool {
    let mut complaints = lines(stderr).filter_map(|line| Some((line, Complaint::read(line)?))).peekable();
    complaints.peek().is_some()
        && complaints.all(|(line, complaint)| complaint.end == Some(End::Source) && line.ends_with(b"(2)"))
}

fn ends_denied(line: &[u8]) -> bool {
    line.starts_with(b"rsync: ") && (line.ends_with(b"(13)") || line.ends_with(b"(1)"))
}

/// The first line of an error output of which this holds, for people.
fn line_of(stderr: &[u8], is_it: impl Fn(&[u8]) -> bool) -> Option<String> {
    lines(stderr).find(|line| is_it(line)).map(|line| Escaped(line).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_here_has_vanished_and_what_is_not_there_at_the_node_has_not() {
        const GONE: &str = r#"rsync: [sender] link_stat "/src/d" failed: No such file or directory (2)"#;
        for (stderr, expected) in [
            (GONE.to_owned(), true),
            (format!("{GONE}\nrsync error: some files/attrs were not transferred (code 23) at main.c(1)\n"), true),
            (r#"rsync: [sender] send_files failed to open "/src/f": Permission denied (13)"#.to_owned(), false),
            (
                format!("{GONE}\nrsync: [receiver] mkstemp \"/m/.f.aBcDeF\" failed: No such file or directory (2)"),
                false,
            ),
            (String::new(), false),
        ] {
            assert_eq!(has_only_vanished(stderr.as_bytes()), expected, "{stderr}");
        }
    }
}
