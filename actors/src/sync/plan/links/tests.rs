use crate::sync::plan::BatchPlan;
use crate::sync::plan::Since;
use crate::transport::plan::Plan;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::*;
use crate::change::Change;
use crate::outbox::fate::Fate;
use crate::outbox::lease::LeaseId;
use crate::outbox::pending::PendingSet;
use crate::sync::disk::{BatchRoom, FileVersion};
use crate::sync::plan::{PlanGround, plan};
use crate::transport::Lane;
use crate::transport::blame::Blame;

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

/// A disk with these directories (`d/`), links (`l>text`) and files, of which those that are `large` take the bulk lane. The
/// tree is at `/tree`.
#[derive(Default)]
struct Table {
    entries: HashMap<RelPath, EntryOnDisk>,
    links: HashMap<RelPath, Vec<u8>>,
    /// The link whose text is not known to be one before which all was reported, unless it is this text.
    unreported: Option<(RelPath, &'static [u8])>,
}

impl Table {
    fn of(entries: &[&str]) -> Table {
        let mut table = Table::default();
        for entry in entries {
            let size = if entry.contains("large") { 1 << 30 } else { 1 };
            let (path, found) = match (entry.strip_suffix('/'), entry.split_once('>')) {
                (Some(dir), _) => (rel(dir), EntryOnDisk::Directory),
                (_, Some((link, text))) => {
                    table.links.insert(rel(link), text.as_bytes().to_vec());
                    (rel(link), EntryOnDisk::Other)
                }
                _ => (rel(entry), EntryOnDisk::File(FileVersion { size, ..FileVersion::default() })),
            };
            table.entries.insert(path, found);
        }
        table
    }
}

impl Disk for Table {
    fn look(&mut self, path: &RelPath) -> EntryOnDisk {
        self.entries.get(path).copied().unwrap_or(EntryOnDisk::Missing)
    }

    fn fits(&mut self, _: &RelPath, room: &mut BatchRoom) -> bool {
        room.take(1)
    }

    fn read_link(&mut self, path: &RelPath) -> Option<Vec<u8>> {
        self.links.get(path).cloned()
    }

    fn inside(&mut self, absolute: &[u8]) -> Option<Vec<u8>> {
        absolute.strip_prefix(b"/tree").map(<[u8]>::to_vec)
    }

    fn is_reported(&mut self, link: &RelPath, text: &[u8]) -> bool {
        self.unreported.as_ref().is_none_or(|(other, reported)| link != other || text == *reported)
    }
}

#[test]
fn a_link_leads_to_each_link_on_its_way_and_to_what_is_at_its_end() {
    let disk = ["d/", "d/e/", "a>d/file", "b>a", "loop>pool", "pool>loop", "up>d", "d/in>e/x", "far>/far", "x/l>y"];
    for (link, text, to) in [
        ("l", "d/file", &["d/file"][..]),
        ("l", "./d//e/../file", &["d/file"]),
        ("d/l", "e/x", &["d/e/x"]),
        ("d/l", "../a", &["a", "d/file"]),
        ("l", "b", &["b", "a", "d/file"]),
        ("l", "up/in", &["up", "d/in", "d/e/x"]),
        ("l", "/tree/d/e", &["d/e"]),
        ("l", "/tree/b", &["b", "a", "d/file"]),
        ("l", "none/below", &["none/below"]),
        ("l", "/elsewhere/d", &[]),
        ("l", "../tree/d", &[]),
        ("l", "far/d", &["far"]),
        ("l", "loop", &[]),
        ("loop", "pool", &[]),
        ("l", "l", &[]),
        ("l", "l/below", &[]),
        ("l", ".", &[]),
        ("d/e/l", "..", &[]),
        ("d/e/l", "../../d", &[]),
        ("d/l", ".././", &[]),
        ("l", "skipped/x", &[]),
        ("l", "", &[]),
    ] {
        let mut table = Table::of(&disk);
        table.links.insert(rel(link), text.as_bytes().to_vec());
        let excludes = Excludes::new(vec!["skipped/".into()]).unwrap();
        table.entries.insert(rel("skipped"), EntryOnDisk::Directory);
        let found = follow(&rel(link), text.as_bytes(), &excludes, &mut table);
        assert_eq!(found, to.iter().map(|path| rel(path)).collect::<Vec<_>>(), "{link} -> {text}");
    }
}

#[test]
fn links_go_in_as_many_runs_as_they_lead_to_each_other() {
    for (after, runs) in [
        (&[("a", ""), ("b", "")][..], ""),
        (&[("a", "content"), ("b", "")], "a"),
        (&[("a", "b"), ("b", "c"), ("c", "content")], "c b a"),
        (&[("a", "b"), ("b", "c"), ("c", "")], "b a"),
        (&[("a", "b content"), ("b", "")], "a"),
        (&[("a", "b"), ("b", "a"), ("c", "content")], "c"),
        (&[("a", "b content"), ("b", "a")], "a"),
        (&[("a", "content"), ("b", "content"), ("c", "a b")], "a,b c"),
    ] {
        let row = |(link, words): &(&str, &str)| {
            let words: Vec<&str> = words.split_whitespace().collect();
            let links = words.iter().filter(|word| **word != "content").map(|word| rel(word)).collect();
            (rel(link), After { content: words.contains(&"content"), links })
        };
        let found: Vec<String> = in_order(&after.iter().map(row).collect())
            .iter()
            .map(|run| run.iter().map(RelPath::to_string).collect::<Vec<_>>().join(","))
            .collect();
        assert_eq!(found.join(" "), runs, "{after:?}");
    }
}

fn touched(path: &str) -> Change {
    Change::Touched { path: rel(path), is_dir: false, rewritten: true }
}

fn removed(path: &str) -> Change {
    Change::Removed { path: rel(path), is_dir: false }
}

fn renamed(from: &str, to: &str) -> [Change; 2] {
    [removed(from), Change::Renamed { from: rel(from), to: rel(to) }]
}

fn subtree(path: &str) -> Change {
    Change::Subtree { path: rel(path) }
}

/// What becomes of a batch, in short: `+sent`, `1link` for one of the first run after these, `-deleted`, `~bulk`, `<behind`.
fn planned(disk: &mut Table, changes: &[Change]) -> String {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    changes.iter().for_each(|change| set.add(change, now));
    next(&mut set, disk, now + Duration::from_secs(1)).2
}

fn next(set: &mut PendingSet, disk: &mut Table, now: Instant) -> (LeaseId, BatchPlan, String) {
    let batch = set.lease(Lane::Fast, 99, 9999, now);
    let room = Some(BatchRoom { bytes: 1 << 20, entries: 99 });
    let plan = plan(&batch.paths, PlanGround { set, excludes: &Excludes::default(), disk, room, now });
    set.defer(batch.id, &plan.paths.bulk);
    if !plan.run.links.is_empty() {
        set.sends_links(batch.id);
    }
    set.hold_back(batch.id, &plan.paths.behind, now);
    let Plan { present, large, subtrees, subtrees_rewritten, missing, late_links, .. } = &*plan.run;
    let BatchPaths { bulk, behind, .. } = &plan.paths;
    let sent = present.iter().chain(large).chain(subtrees).chain(subtrees_rewritten).map(|path| format!("+{path}"));
    let late = (1..).zip(late_links).flat_map(|(run, links)| links.iter().map(move |link| format!("{run}{link}")));
    let gone = missing.iter().map(|path| format!("-{path}"));
    let left = bulk.iter().map(|path| format!("~{path}")).chain(behind.keys().map(|path| format!("<{path}")));
    let words = sent.chain(late).chain(gone).chain(left).collect::<Vec<_>>().join(" ");
    (batch.id, plan, words)
}

#[test]
fn a_link_goes_after_what_it_leads_to_and_nothing_else_waits() {
    let disk = [
        "r/",
        "r/2/",
        "r/2/f",
        "large",
        "now>r/2",
        "deep>r/2/f",
        "big>large",
        "to>now",
        "gone>r/1",
        "one>eno",
        "eno>one",
    ];
    for (changes, expected) in [
        (&[touched("now")][..], "+now"),
        (&[touched("now"), touched("seed")], "+now"),
        (&[touched("now"), subtree("r/2")], "+r/2 1now"),
        (&[touched("now"), touched("r/2/f")], "+r/2/f 1now"),
        (&[touched("deep"), subtree("r")], "+r 1deep"),
        (&[touched("to"), touched("now"), subtree("r/2")], "+r/2 1now 2to"),
        (&[touched("to"), touched("now")], "+now 1to"),
        (&[touched("to"), subtree("r/2")], "+r/2 1to"),
        (&[touched("big"), touched("large")], "~large <big"),
        (&[touched("big"), touched("large"), removed("old"), touched("r/2/f")], "+r/2/f ~large ~old <big"),
        (&[touched("now"), subtree("r/2"), removed("r/1")], "+r/2 1now -r/1"),
        (&[touched("gone"), removed("r/1")], "+gone -r/1"),
        (&[touched("one"), touched("eno")], "+eno +one"),
    ] {
        assert_eq!(planned(&mut Table::of(&disk), changes), expected, "{changes:?}");
    }
    let changes = [&renamed("tmp", "now")[..], &[subtree("r/2")]].concat();
    assert_eq!(planned(&mut Table::of(&disk), &changes), "+r/2 1now -tmp", "switched by a rename");
    let mut unreported = Table { unreported: Some((rel("now"), b"")), ..Table::of(&disk) };
    assert_eq!(planned(&mut unreported, &[touched("now"), removed("r/1")]), "<now <r/1");
    assert_eq!(planned(&mut unreported, &[touched("now"), subtree("r/2")]), "+r/2 <now", "there may be more of it");
    unreported.unreported = Some((rel("now"), b"r/2"));
    assert_eq!(planned(&mut unreported, &[touched("now"), subtree("r/2")]), "+r/2 1now");
}

#[test]
fn a_link_and_all_removals_wait_until_what_it_leads_to_is_done_in_the_other_lane() {
    let disk = &mut Table::of(&["large", "big>large", "x"]);
    let (mut set, start) = (PendingSet::default(), Instant::now());
    let now = start + Duration::from_secs(1);
    let deliver = |set: &mut PendingSet, id| set.settle(id, now, |_| Fate::Delivered, |_| Duration::ZERO);
    [touched("large"), touched("big")].iter().for_each(|change| set.add(change, start));
    let (fast, _, words) = next(&mut set, disk, now);
    assert_eq!(words, "~large <big");
    deliver(&mut set, fast);
    assert_eq!(set.next_due(Lane::Fast, now), None);
    let bulk = set.lease(Lane::Bulk, 99, 9999, now).id;
    [removed("old"), touched("x")].iter().for_each(|change| set.add(change, start));
    let (fast, _, words) = next(&mut set, disk, now);
    assert_eq!(words, "+x", "the removal waits, and nothing else");
    deliver(&mut set, fast);
    set.worked(bulk);
    assert_eq!(set.next_due(Lane::Fast, now), None, "that it arrived is not said yet");
    deliver(&mut set, bulk);
    let (fast, _, words) = next(&mut set, disk, now);
    assert_eq!(words, "+big", "the removal goes after it");
    assert_eq!(set.next_due(Lane::Bulk, now), None);
    deliver(&mut set, fast);
    assert_eq!(next(&mut set, disk, now).2, "-old");
}

#[test]
fn a_link_whose_target_failed_in_the_same_delivery_is_planned_again() {
    let disk = &mut Table::of(&["f", "l>f"]);
    let (mut set, now) = (PendingSet::default(), Instant::now());
    [touched("f"), touched("l")].iter().for_each(|change| set.add(change, now));
    for round in 0..2 {
        let (batch, plan, words) = next(&mut set, disk, now);
        assert_eq!(words, "+f 1l", "{round}");
        let since = Since { left: [rel("l")].into(), ..Since::default() };
        let blamed = Blame::Paths(vec![rel("f")]);
        set.settle(batch, now, |path| plan.fate(path, &blamed, &since), |_| Duration::ZERO);
    }
    assert_eq!(next(&mut set, disk, now).2, "+f +l", "it has failed twice");
}

#[test]
fn a_link_waits_for_nothing_that_changes_later() {
    let disk = &mut Table::of(&["d/", "d/large", "l>d"]);
    let (mut set, start) = (PendingSet::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    [touched("d/large"), touched("l")].iter().for_each(|change| set.add(change, start));
    let (fast, _, words) = next(&mut set, disk, at(1));
    assert_eq!(words, "~d/large <l");
    set.settle(fast, at(1), |_| Fate::Delivered, |_| Duration::ZERO);
    let bulk = set.lease(Lane::Bulk, 99, 9999, at(1)).id;
    set.settle(bulk, at(2), |_| Fate::Delivered, |_| Duration::ZERO);
    set.add(&touched("d/large"), at(3));
    assert_eq!(next(&mut set, disk, at(4)).2, "+l ~d/large");
}

#[test]
fn a_link_is_left_alone_until_all_is_reported_that_was_changed_before_it_got_its_text() {
    let disk = &mut Table { unreported: Some((rel("l"), b"")), ..Table::of(&["d/", "d/e/", "l>d", "out>/far"]) };
    let (mut set, start) = (PendingSet::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    set.add(&touched("l"), start);
    for second in [1, 2] {
        assert_eq!(next(&mut set, disk, at(second)).2, "<l");
        set.roll_back();
        assert!(set.next_due(Lane::Fast, at(second)).is_some_and(|due| due > at(second)), "there is no hurry");
    }
    disk.links.insert(rel("l"), b"d/e".to_vec());
    disk.unreported = Some((rel("l"), b"d"));
    let (_, plan, words) = next(&mut set, disk, at(3));
    assert_eq!(words, "<l", "it leads elsewhere by now");
    assert_eq!(plan.paths.unreported_links, BTreeMap::from([(rel("l"), b"d/e".to_vec())]));
    set.roll_back();
    disk.unreported = Some((rel("l"), b"d/e"));
    assert_eq!(next(&mut set, disk, at(4)).2, "+l");
    set.roll_back();
    disk.unreported = Some((rel("out"), b""));
    set.add(&touched("out"), start);
    assert_eq!(next(&mut set, disk, at(5)).2, "+l +out", "what it leads to is not mirrored");
}

#[test]
fn links_into_each_others_directories_do_not_wait_for_each_other_whatever_they_go_with() {
    let disk = &mut Table::of(&["d/", "e/", "d/large", "d/l>../e", "e/l>../d"]);
    let (mut set, start) = (PendingSet::default(), Instant::now());
    let now = start + Duration::from_secs(1);
    [touched("d/l"), touched("e/l"), touched("d/large")].iter().for_each(|change| set.add(change, start));
    let (fast, _, words) = next(&mut set, disk, now);
    assert_eq!(words, "~d/large <d/l <e/l");
    set.settle(fast, now, |_| Fate::Delivered, |_| Duration::ZERO);
    let bulk = set.lease(Lane::Bulk, 99, 9999, now).id;
    set.settle(bulk, now, |_| Fate::Delivered, |_| Duration::ZERO);
    for _ in 0..2 {
        let batch = set.lease(Lane::Fast, 1, 9999, now);
        let plan = plan(&batch.paths, PlanGround { set: &set, excludes: &Excludes::default(), disk, room: None, now });
        if !plan.run.links.is_empty() {
            set.sends_links(batch.id);
        }
        set.hold_back(batch.id, &plan.paths.behind, now);
        assert_eq!((plan.run.present.len(), plan.paths.behind), (1, BTreeMap::new()));
        set.settle(batch.id, now, |_| Fate::Delivered, |_| Duration::ZERO);
    }
    assert!(set.lease(Lane::Fast, 9, 9999, now).paths.is_empty());
}

#[test]
fn at_a_full_node_removals_wait_for_no_link() {
    let disk = &mut Table::of(&["large", "l>large"]);
    let (mut set, start) = (PendingSet::default(), Instant::now());
    let now = start + Duration::from_secs(1);
    [touched("large"), touched("l"), removed("old")].iter().for_each(|change| set.add(change, start));
    let (fast, _, words) = next(&mut set, disk, now);
    assert_eq!(words, "~large ~old <l");
    set.settle(fast, now, |_| Fate::Delivered, |_| Duration::ZERO);
    let bulk = set.lease(Lane::Bulk, 99, 9999, now);
    assert_eq!(bulk.paths.len(), 1, "{bulk:?}");
    set.roll_back_batch(bulk.id);
    set.make_room();
    assert_eq!(set.lease(Lane::Bulk, 99, 9999, now).paths.len(), 2);
}
