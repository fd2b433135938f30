//! Attributes that could not be set at a node, while what they belong to has arrived. To try that again is of no use
//! before somebody has changed something.

use crate::transport::unset::Unset;
use std::borrow::Cow;
use std::collections::BTreeSet;

use slog::warn;

use crate::path::{Escaped, RelPath};
use crate::rsync::learned::Warning;
use crate::rsync::report::complaint;
use crate::rsync::report::complaint::{Act, Complaint, End, Why, lines};
use crate::rsync::runner::process::{Code, Finished, MORE_ATTRIBUTES};
use crate::rsync::target::Target;
use crate::transport::blame::Blame;
use crate::transport::failure::{Cause, Failure};

/// Tells if a line of the error output is about an attribute that the node refuses to set.
pub(crate) fn is_unset(line: &[u8]) -> bool {
    Complaint::read(line).is_some_and(|complaint| {
        let Complaint { end, act, why, .. } = complaint;
        end == Some(End::Node) && act == Act::Attributes && !matches!(why, Why::ReadOnly | Why::Other)
    })
}

impl Target {
    /// Splits a run into what it could not set, and how it ended but for that.
    pub(crate) fn without_unset(&self, finished: Finished) -> (Unset, Finished) {
        let Some(Split { attributes, more, rest }) = split(&finished) else { return (Unset::default(), finished) };
        // Without these no path stands for them.
        let Blame::Paths(paths) = self.blamed(&attributes) else { return (Unset::default(), finished) };
        let mut paths: BTreeSet<RelPath> = paths.into_iter().collect();
        let root = paths.remove(&RelPath::root());
        if paths.is_empty() && !more {
            // A mirror that takes nothing does not take its own attributes either: then the rest is what matters.
            if rest.code == Code::Exit(0) {
                self.tell_of_root(&attributes);
            }
            return (Unset { root, ..Unset::default() }, rest);
        }
        let refused = Cause::AttributesRefused;
        let first = Failure { cause: Cause::Partial, said: String::new(), cure: refused.cure().into() };
        let Failure { said, cure, .. } = self.partial(&attributes, first);
        let why = Some(Failure { cause: refused, said, cure });
        (Unset { paths, more, root, why }, rest)
    }

    /// The mirror's own directory may belong to somebody else, and all that is in it arrive: that is told once.
    fn tell_of_root(&self, attributes: &Finished) {
        let why = lines(&attributes.stderr).next().map(|line| Escaped(line).to_string()).unwrap_or_default();
        if self.warns_first(Warning::RootAttributes) {
            warn!(self.log, "the mirror's own directory does not take all attributes: they stay as they are there";
                "why" => why, "cure" => format!("give it to {} there (chown), or let `rpath` name a directory in it", self.account()));
        }
    }
}

/// A run that complained about attributes.
struct Split {
    attributes: Finished,
    /// `true` if there were more.
    more: bool,
    /// The end of the run but for them.
    rest: Finished,
}

/// `None` if it did not.
fn split(finished: &Finished) -> Option<Split> {
    let mut attributes = Vec::new();
    let mut others = Vec::new();
    let mut more = false;
    for line in lines(&finished.stderr) {
        if line == MORE_ATTRIBUTES.trim_ascii_end() {
            more = true;
            continue;
        }
        let part = if is_unset(line) { &mut attributes } else { &mut others };
        part.extend([line, b"\n"].concat());
    }
    if attributes.is_empty() {
        return None;
    }
    let is_all = finished.code == Code::Exit(23) && Complaint::all(&others).next().is_none();
    let code = if is_all { Code::Exit(0) } else { finished.code };
    let attributes = Finished { code: finished.code, stderr: attributes };
    let rest = Finished { code, stderr: others };
    Some(Split { attributes, more, rest })
}

/// The cure of attributes that cannot be set, by the line that says so; `None` where no more is known than that.
pub(crate) fn cure(line: &[u8], complaint: &Complaint) -> Option<Cow<'static, str>> {
    let words = complaint::words(line).unwrap_or_default();
    let is = |word: &str| words.windows(word.len()).any(|part| part == word.as_bytes());
    Some(Cow::from(match (complaint.act, complaint.why) {
        (Act::Make | Act::Delete | Act::Other, _) => return None,
        (_, Why::Unsupported) if is("acl") => {
            "the file system there has no ACLs: drop -A from `extra`, or mount it with acl"
        }
        (_, Why::Full) if is("acl") => "the file system there has no room for an ACL like this: drop -A from `extra`",
        (_, _) if is("acl") => "drop -A from `extra`, or let a user write there that may set ACLs",
        (_, Why::Unsupported) if is("xattr") => {
            "the file system there has no such extended attributes: drop -X from `extra`"
        }
        (_, Why::Full) if is("xattr") => {
            "the file system there has no room for an attribute like this: drop -X from `extra`"
        }
        (_, _) if is("xattr") => {
            "drop -X from `extra`, or let root write there: others set only what begins with `user.`"
        }
        (_, Why::Unsupported) => {
            "the file system there has no such attributes: drop what sends them from `extra`, or add --no-perms to it"
        }
        (_, _) if words.starts_with(b"chown") || words.starts_with(b"uid") => {
            "only root may give files away: add --no-owner to `extra`, or let root write there"
        }
        (_, _) if words.starts_with(b"chgrp") || words.starts_with(b"gid") => {
            "that user is not in the group there: add --no-group to `extra`, or put it in"
        }
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACL: &str = "rsync: [receiver] set_acl: xacl_set(one, ACL_TYPE_ACCESS): Operation not supported (95)";
    const TIMES: &str = r#"rsync: [generator] failed to set times on "/m/.": Operation not permitted (1)"#;
    const MAKE: &str = r#"rsync: [receiver] mkstemp "/m/.a.aBcDeF" failed: Permission denied (13)"#;
    const END: &str =
        "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1394)";

    fn finished(code: i32, lines: &[&str]) -> Finished {
        Finished {
            code: Code::Exit(code),
            stderr: lines.iter().flat_map(|line| [line, "\n"]).collect::<String>().into(),
        }
    }

    #[test]
    fn what_fails_for_its_attributes_alone_is_told_apart_from_what_did_not_arrive() {
        let is_unset = |line: &str| is_unset(line.as_bytes());
        for line in [
            ACL,
            TIMES,
            r#"rsync: [receiver] chown "/m/.f.aBcDeF" failed: Operation not permitted (1)"#,
            r#"rsync: [receiver] rsync_xal_set: fsetxattr("f","user.n") failed: No space left on device (28)"#,
            r#"rsync: [receiver] rsync_xal_set: fsetxattr("f","user.n") failed: Argument list too long (7)"#,
            r#"rsync: [generator] failed to set permissions on "/m/d": Operation not permitted (1)"#,
        ] {
            assert!(is_unset(line), "{line}");
        }
        for line in [
            MAKE,
            END,
            r#"rsync: [generator] failed to set times on "/m/f": Read-only file system (30)"#,
            // It went while it was worked on.
            r#"rsync: [generator] failed to set times on "/m/f": No such file or directory (2)"#,
            r#"rsync: [sender] get_acl: xacl_get(f, ACL_TYPE_ACCESS): Permission denied (13)"#,
        ] {
            assert!(!is_unset(line), "{line}");
        }
    }

    #[test]
    fn a_run_that_could_only_not_set_attributes_went_well_otherwise() {
        for (code, lines, attributes, rest) in [
            (23, &[ACL, END][..], &[ACL][..], Some((0, &[END][..]))),
            (23, &[ACL, MAKE, TIMES, END], &[ACL, TIMES], Some((23, &[MAKE, END]))),
            (11, &[ACL, END], &[ACL], Some((11, &[END]))),
            (23, &[MAKE, END], &[], None),
            (0, &[], &[], None),
        ] {
            let found = split(&finished(code, lines));
            let found = found.map(|Split { attributes, rest, .. }| (attributes.stderr, rest.code, rest.stderr));
            let expected =
                rest.map(|(code, rest)| (finished(0, attributes).stderr, Code::Exit(code), finished(0, rest).stderr));
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn more_than_is_kept_of_attributes_is_about_attributes() {
        let more = std::str::from_utf8(MORE_ATTRIBUTES).unwrap().trim();
        let Split { attributes, more, rest } = split(&finished(23, &[ACL, more, END])).unwrap();
        assert_eq!((attributes.stderr, more, rest.code), (finished(0, &[ACL]).stderr, true, Code::Exit(0)));
    }

    #[test]
    fn each_kind_of_attribute_has_a_cure() {
        for (line, expected) in [
            (ACL, Some("drop -A")),
            (
                "rsync: [receiver] set_acl: sys_acl_set_file(d, ACL_TYPE_DEFAULT): Operation not supported (95)",
                Some("drop -A"),
            ),
            (
                r#"rsync: [receiver] rsync_xal_set: fsetxattr("f","user.n") failed: Operation not supported (95)"#,
                Some("drop -X"),
            ),
            (
                r#"rsync: [receiver] rsync_xal_set: fsetxattr("f","user.n") failed: No space left on device (28)"#,
                Some("no room"),
            ),
            (
                r#"rsync: [receiver] rsync_xal_set: lsetxattr("f","trusted.n") failed: Operation not permitted (1)"#,
                Some("root"),
            ),
            (
                r#"rsync: [receiver] failed to set permissions on "/m/f": Operation not supported (95)"#,
                Some("--no-perms"),
            ),
            (r#"rsync: [receiver] chown "/m/f" failed: Operation not permitted (1)"#, Some("--no-owner")),
            (r#"rsync: [receiver] chgrp "/m/f" failed: Operation not permitted (1)"#, Some("--no-group")),
            (TIMES, None),
            (MAKE, None),
        ] {
            let found = Complaint::read(line.as_bytes()).and_then(|complaint| cure(line.as_bytes(), &complaint));
            assert_eq!(found.is_some(), expected.is_some(), "{line}");
            assert!(found.is_none_or(|cure| cure.contains(expected.unwrap_or_default())), "{line}");
        }
    }
}
