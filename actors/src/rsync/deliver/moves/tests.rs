use super::*;
use crate::transport::failure::Cause;

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn set(paths: &[&str]) -> BTreeSet<RelPath> {
    paths.iter().map(|path| rel(path)).collect()
}

fn plan(renamed: &[(&str, &str, Option<&str>)]) -> Plan {
    let mut plan = Plan::default();
    for (new, old, via) in renamed {
        plan.renamed.insert(rel(new), Rename { old: rel(old), via: via.map(rel) });
    }
    plan
}

#[test]
fn what_was_not_linked_is_sent_whatever_its_size_and_time() {
    let mut plan = plan(&[("a", "1", None), ("b", "2", None), ("c", "3", None), ("d/e", "4", None)]);
    (plan.large, plan.present) = (set(&["a", "b", "x"]), set(&["c"]));
    (plan.subtrees, plan.subtrees_rewritten) = (set(&["d", "f"]), set(&["g", "h"]));
    for (linked, built, [present, large, subtrees, rewritten, late]) in [
        (&["a", "b", "c", "d/e"][..], &[][..], [&["c"][..], &["a", "b", "x"], &["d", "f"], &["g", "h"], &[]]),
        (&["b", "c"], &["f", "h"], [&["a", "c"], &["b", "x"], &["d"], &["g"], &["d/e"]]),
        // A symlink is in it, which is not made so.
        (&["b", "c"], &["h+", "g"], [&["a", "c"], &["b", "x"], &["d", "f", "h"], &[], &["d/e"]]),
        (&[], &["d/below+"], [&["a", "b", "c"], &["x"], &["d", "f"], &["g", "h"], &["d/e"]]),
    ] {
        let expected = Rest {
            present: set(present),
            large: set(large),
            subtrees: set(subtrees),
            subtrees_rewritten: set(rewritten),
            late: set(late),
            ..Rest::default()
        };
        let made = |dir: &&str| (rel(dir.strip_suffix('+').unwrap_or(dir)), dir.ends_with('+'));
        let made = built.iter().map(made).collect();
        assert_eq!(Rest::of(&plan, &set(linked), &made), expected, "{linked:?} {built:?}");
    }
}

#[test]
fn a_name_between_takes_a_second_run() {
    let plan = plan(&[("a", "z", Some(".a.via")), ("n", "m", None)]);
    let shown = |twins: &[Twins]| -> Vec<String> {
        twins.iter().map(|Twins { file, has, gets }| format!("{file}: {has} {gets}")).collect()
    };
    let (first, second) = twins(&plan.renamed);
    assert_eq!(shown(&first), ["a: z .a.via", "n: m n"]);
    assert_eq!(shown(&second), ["a: .a.via a"]);
}

#[test]
fn what_a_plan_holds_back_is_held_back_in_a_run_over_a_directory() {
    for (protected, kept, expected) in [
        (&["d/new/x", "else", "d"][..], &[][..], &["- /x", "- /x/**"][..]),
        (&[], &["d/new/m", "other"], &["P /m/**"]),
        (&[], &["d/new"], &["P /**"]),
        (&[], &["d"], &["P /**"]),
        (&[], &[""], &["P /**"]),
        (&[], &["d/newer", "d/new2/x"], &[]),
    ] {
        let mut plan = Plan::default();
        (plan.protected, plan.kept) = (set(protected), set(kept));
        assert_eq!(rules_in(&plan, &rel("d/new")), expected.iter().map(OsString::from).collect::<Vec<_>>(), "{kept:?}");
    }
}

#[test]
fn only_what_any_run_would_fail_of_fails_a_delivery() {
    for (cause, expected) in [
        (Cause::Unreachable, true),
        (Cause::SourceGone, true),
        (Cause::Timeout, true),
        (Cause::Closed, false),
        (Cause::OptionRefused, false),
        (Cause::UnknownOption, false),
        (Cause::Partial, false),
        (Cause::TargetFull, false),
    ] {
        assert_eq!(cause.stops_all(), expected, "{cause:?}");
    }
}
