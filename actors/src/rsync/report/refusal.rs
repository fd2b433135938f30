//! Decides whether a run failed because of the node as a whole: nothing could be written, and for one reason. A path that
//! fails by itself is tried again by itself; a node that refuses everything is one failure.

use std::collections::BTreeSet;

use crate::path::RelPath;
use crate::rsync::report::complaint::{Act, Complaint, End, Why};
use crate::rsync::report::itemized::Itemized;
use crate::transport::blame::Blame;
use crate::transport::failure::Cause;

/// The extent to which a node refused a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing, or single entries.
    None,
    /// Entries, for this cause, while others arrived.
    InPart(Cause),
    /// Everything, for this cause.
    Whole(Cause),
}

impl Refusal {
    /// The same where the node took something of another run beside this one, or did not.
    pub(crate) fn beside(self, takes_others: bool) -> Refusal {
        match self {
            Refusal::Whole(cause) if takes_others => Refusal::InPart(cause),
            Refusal::Whole(_) | Refusal::InPart(_) | Refusal::None => self,
        }
    }
}

/// Decides it by what a run complained of and by what it itemized. `inside` finds the path of the tree that a name in a
/// complaint stands for.
pub(crate) fn refusal(
    stderr: &[u8],
    itemized: &Itemized,
    blamed: &Blame,
    inside: impl Fn(&[u8]) -> Option<RelPath>,
) -> Refusal {
    // What cannot be read at the source says nothing of the node.
    let of_node: Vec<Complaint> = Complaint::all(stderr)
        .filter(|complaint| complaint.end == Some(End::Node))
        .filter(|complaint| !(complaint.act == Act::Other && complaint.why == Why::Other))
        .collect();
    let all = |is: &dyn Fn(&Complaint) -> bool| !of_node.is_empty() && of_node.iter().all(is);
    let cause = match () {
        () if all(&|complaint| complaint.why == Why::ReadOnly) => Cause::TargetReadOnly,
        () if all(&|complaint| complaint.why == Why::Full) => Cause::TargetFull,
        () if all(&|complaint| complaint.why == Why::Denied) => Cause::Unwritable,
        () => return Refusal::None,
    };
    match () {
        () if itemized.any_beside(blamed) => Refusal::InPart(cause),
        () if cause == Cause::Unwritable && !is_whole(&of_node, inside) => Refusal::None,
        () => Refusal::Whole(cause),
    }
}

/// Tells if what was denied shows that the mirror as a whole may not be written: its root, or directories in several of its
/// parts. One directory that belongs to somebody else is a matter of its own.
fn is_whole(denied: &[Complaint], inside: impl Fn(&[u8]) -> Option<RelPath>) -> bool {
    let changes = denied.iter().filter(|complaint| matches!(complaint.act, Act::Make | Act::Delete));
    let paths: Vec<RelPath> = changes.filter_map(|complaint| inside(complaint.name.as_deref()?)).collect();
    let parts: BTreeSet<RelPath> = paths.iter().map(|path| path.prefix(1)).collect();
    paths.iter().any(|path| path.depth() <= 1) || parts.len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::report::output::Line;
    use crate::rsync::report::temporary;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn line(words: &str, path: &str, why: &str) -> String {
        let failed = if words.contains("failed") { "" } else { " failed" };
        format!("rsync: [generator] {words} \"/m/{path}\"{failed}: {why}\n")
    }

    #[test]
    fn a_node_that_takes_another_part_of_the_tree_does_not_refuse_everything() {
        use Refusal::{InPart, None, Whole};
        for cause in [Cause::TargetReadOnly, Cause::Unwritable, Cause::TargetFull] {
            for (alone, takes_others, expected) in [
                (Whole(cause), true, InPart(cause)),
                (Whole(cause), false, Whole(cause)),
                (InPart(cause), false, InPart(cause)),
                (None, true, None),
            ] {
                assert_eq!(alone.beside(takes_others), expected);
            }
        }
    }

    #[test]
    fn a_node_that_refuses_everything_for_one_reason_is_one_failure() {
        let (denied, read_only, full) =
            ("Permission denied (13)", "Read-only file system (30)", "No space left on device (28)");
        let (make, times, odd) = ("mkstemp", "failed to set times on", "Operation not permitted (1)");
        let sender = "rsync: [sender] send_files failed to open \"/s/f\": Permission denied (13)\n".to_owned();
        let way = "could not make way for new regular file: f\n".to_owned();
        for (stderr, changed, expected) in [
            (vec![line(make, "a", denied)], &["a"][..], Refusal::Whole(Cause::Unwritable)),
            (
                vec![line(times, "", odd), line("recv_generator: mkdir", "d", denied)],
                &["d"],
                Refusal::Whole(Cause::Unwritable),
            ),
            (vec![line(make, "a", denied), sender.clone(), way], &["a"], Refusal::Whole(Cause::Unwritable)),
            // Something arrived.
            (vec![line(make, "a", denied)], &["a", "b"], Refusal::InPart(Cause::Unwritable)),
            // One directory belongs to somebody else; several do.
            (vec![line(make, "d/a", denied), line(make, "d/e/b", denied)], &["d/a", "d/e/b"], Refusal::None),
            (
                vec![line(make, "d/a", denied), line(make, "e/b", denied)],
                &["d/a", "e/b"],
                Refusal::Whole(Cause::Unwritable),
            ),
            // The file itself is immutable.
            (vec![format!("rsync: [receiver] rename \"/m/.a.aBcDeF\" -> \"a\": {odd}\n")], &["a"], Refusal::None),
            (
                vec![line(make, "a", read_only), line(times, "", read_only)],
                &["a"],
                Refusal::Whole(Cause::TargetReadOnly),
            ),
            (vec![line(make, "d/a", full)], &["d/a"], Refusal::Whole(Cause::TargetFull)),
            (vec![line(make, "a", read_only), line(make, "b", denied)], &["a", "b"], Refusal::None),
            (vec![sender], &[], Refusal::None),
            (vec![], &[], Refusal::None),
        ] {
            let mut itemized = Itemized::default();
            changed.iter().for_each(|path| itemized.add(&Line::Sent(rel(path), 1)));
            let inside = |name: &[u8]| Some(rel(std::str::from_utf8(name).unwrap().strip_prefix("/m/").unwrap()));
            let paths = Complaint::all(stderr.concat().as_bytes())
                .filter_map(|complaint| complaint.name)
                .filter_map(|name| name.strip_prefix(b"/m/").map(|name| RelPath::new(name).unwrap()))
                .map(|path| temporary::stems(&path).next().unwrap_or(path))
                .collect();
            let found = refusal(stderr.concat().as_bytes(), &itemized, &Blame::Paths(paths), inside);
            assert_eq!(found, expected, "{stderr:?} {changed:?}");
        }
    }
}
