//! New names of files that have other names, too. One of them mostly goes soon: somebody renames by a link and a removal,
//! as an rsync with `--link-dest` does at a relay. Until then nothing is told of the new name. A plain data structure
//! without clock, disk or actor.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::change::NewNames;
use crate::messages::FindMoved;
use crate::path::RelPath;

/// The time after which a new name is told. Where an rsync writes, there must have been no further news of this kind for so
/// long: the old names of a directory go after the last link of it.
pub(crate) const LINK_TIME: Duration = Duration::from_millis(500);
/// The longest time that a new name waits there while such news goes on.
pub(crate) const LINK_AT_LATEST: Duration = Duration::from_secs(4);
/// A smaller file is sent as soon as it is linked.
pub(crate) const LARGE: u64 = 64 * 1024;
/// Names that wait; further ones are told at once.
const MOST: usize = 20_000;

/// The names that wait, and those that went meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    wait: LinkPatience,
    /// New names of files, with the times since which they wait.
    files: BTreeMap<RelPath, Instant>,
    /// The time of the latest news, and one before which no name waits; of use while any waits.
    times: Option<LinkTimes>,
    /// Directories that were made lately, without those below others, and the time of the last one.
    tops: (BTreeSet<RelPath>, Option<Instant>),
    gone: Vec<RelPath>,
    /// `true` while an answer is to come: a second question waits for it.
    asked: bool,
    /// The last that was told of the names that wait.
    told: NewNames,
}

/// The wait of new names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum LinkPatience {
    /// None waits: nobody finds what they were before.
    #[default]
    None,
    /// Each waits for itself.
    Alone,
    /// They wait together: an rsync writes in the source.
    Together,
}

#[derive(Debug, Clone, Copy)]
struct LinkTimes {
    latest: Instant,
    oldest: Instant,
}

impl Linked {
    /// Lets new names wait from now on.
    pub(crate) fn recognise(&mut self) {
        if self.wait == LinkPatience::None {
            self.wait = LinkPatience::Alone;
        }
        self.asked = false;
    }

    /// Lets new names wait for each other from now on: an rsync writes in the source.
    pub(crate) fn wait_together(&mut self) {
        if self.wait == LinkPatience::Alone {
            self.wait = LinkPatience::Together;
        }
    }

    /// Tells if new names wait.
    pub(crate) fn recognises(&self) -> bool {
        self.wait != LinkPatience::None
    }

    /// Notes that the last question was answered. `found`: some of the names were those of files that went.
    pub(crate) fn answered(&mut self, found: bool, now: Instant) {
        self.asked = false;
        if let Some(times) = self.times.as_mut().filter(|_| found) {
            times.latest = now;
        }
    }

    /// Lets the new name of a file of this size wait. Returns true if it waits.
    pub(crate) fn holds_file(&mut self, path: &RelPath, size: u64, now: Instant) -> bool {
        let holds = self.recognises() && size >= LARGE && self.files.len() < MOST;
        if holds {
            self.files.insert(path.clone(), now);
            let oldest = self.times.filter(|_| self.files.len() > 1).map_or(now, |times| times.oldest);
            self.times = Some(LinkTimes { latest: now, oldest });
        }
        holds
    }

    /// Notes a new directory: links in it to what is in it need not come after that.
    pub(crate) fn made(&mut self, dir: &RelPath, now: Instant) {
        let (tops, last) = &mut self.tops;
        let is_over = last.is_some_and(|last| last + LINK_AT_LATEST < now);
        if is_over || tops.len() >= MOST {
            tops.clear();
        }
        *last = Some(now);
        if self.top_of(dir).is_none() {
            self.tops.0.insert(dir.clone());
        }
    }

    fn top_of(&self, path: &RelPath) -> Option<RelPath> {
        path.ancestors().chain([path.clone()]).find(|dir| self.tops.0.contains(dir))
    }

    /// Waits no longer for what is at a path, of which something else is told. Returns true if it was waited for.
    pub(crate) fn ends(&mut self, path: &RelPath) -> bool {
        !self.files.is_empty() && self.files.remove(path).is_some()
    }

    /// Takes the files at and below `target`, to which the symlink at `link` leads, unless that is a part of the same new
    /// directory, made not long ago.
    pub(crate) fn take_for_link(&mut self, link: &RelPath, target: &RelPath, now: Instant) -> Vec<RelPath> {
        let is_new = self.tops.1.is_some_and(|last| now <= last + LINK_AT_LATEST);
        let top = if is_new { self.top_of(link) } else { None };
        if top.is_some() && top == self.top_of(target) {
            return Vec::new();
        }
        let below = (!target.is_root()).then(|| self.files.range(target.below())).into_iter().flatten();
        let taken: Vec<RelPath> =
            self.files.get_key_value(target).into_iter().chain(below).map(|(path, _)| path.clone()).collect();
        for path in &taken {
            self.files.remove(path);
        }
        taken
    }

    /// Notes a name that went.
    pub(crate) fn left(&mut self, path: &RelPath) {
        if !self.files.is_empty() && self.gone.len() < MOST {
            self.gone.push(path.clone());
        }
    }

    /// Takes the names that went while others waited.
    pub(crate) fn take_gone(&mut self) -> Option<FindMoved> {
        if self.gone.is_empty() || self.asked {
            return None;
        }
        let gone = std::mem::take(&mut self.gone);
        if self.files.is_empty() {
            return None;
        }
        self.asked = true;
        // Each question is news.
        self.told = NewNames::None;
        Some(FindMoved { gone, new: self.files.keys().cloned().collect() })
    }

    /// Tells if removals wait for these names, if that is news: as long as the names wait together, or an answer is to come.
    pub(crate) fn take_news(&mut self) -> Option<NewNames> {
        let names = match self.wait {
            _ if self.files.is_empty() => NewNames::None,
            _ if self.asked => NewNames::Asked,
            LinkPatience::Together => NewNames::Wait,
            LinkPatience::Alone | LinkPatience::None => NewNames::None,
        };
        let is_news = names != self.told;
        self.told = names;
        is_news.then_some(names)
    }

    /// Takes the files that wait no longer. A tree of links that never ends is told in parts, each of them as a whole.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<RelPath> {
        if self.next().is_none_or(|at| at > now) {
            return Vec::new();
        }
        let is_calm = !self.asked && self.times.is_some_and(|times| times.latest + LINK_TIME <= now);
        let wait = self.wait;
        let is_due = |since: Instant| match wait {
            LinkPatience::Together => is_calm || since + LINK_AT_LATEST <= now + LINK_TIME,
            LinkPatience::Alone | LinkPatience::None => since + LINK_TIME <= now,
        };
        let due: Vec<RelPath> =
            self.files.iter().filter(|(_, since)| is_due(**since)).map(|(path, _)| path.clone()).collect();
        self.files.retain(|_, since| !is_due(*since));
        if let (Some(times), Some(oldest)) = (&mut self.times, self.files.values().min()) {
            times.oldest = *oldest;
        }
        due
    }

    /// Takes all files that wait.
    pub(crate) fn flush(&mut self) -> Vec<RelPath> {
        std::mem::take(&mut self.files).into_keys().collect()
    }

    /// The time at which something may wait no longer.
    pub(crate) fn next(&self) -> Option<Instant> {
        let times = self.times.filter(|_| !self.files.is_empty())?;
        if self.wait != LinkPatience::Together {
            return Some(times.oldest + LINK_TIME);
        }
        let at_latest = times.oldest + LINK_AT_LATEST;
        Some(if self.asked { at_latest } else { at_latest.min(times.latest + LINK_TIME) })
    }

    /// The files that wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &RelPath> {
        self.files.keys()
    }

    /// Forgets what waits below a directory that went.
    pub(crate) fn forget_below(&mut self, dir: &RelPath) {
        self.files.retain(|path, _| !path.is_below(dir));
        self.tops.0.retain(|path| path != dir && !path.is_below(dir));
    }

    /// Follows the move of a directory with what waits below it.
    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        let tops = &mut self.tops.0;
        if !tops.is_empty() {
            let moved: Vec<RelPath> = tops.iter().filter_map(|top| top.rebase(from, to)).collect();
            tops.retain(|path| path != from && !path.is_below(from));
            tops.extend(moved);
        }
        if self.files.is_empty() {
            return;
        }
        let moved = |(path, at): (&RelPath, &Instant)| Some((path.rebase(from, to)?, *at));
        let moved: Vec<_> = self.files.iter().filter_map(moved).collect();
        self.files.retain(|path, _| !path.is_below(from));
        self.files.extend(moved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(400);

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn linked() -> (Linked, Instant) {
        let mut linked = Linked::default();
        linked.recognise();
        linked.wait_together();
        (linked, Instant::now())
    }

    #[test]
    fn a_large_file_waits_for_another_name_to_go_and_is_told_when_none_does() {
        let (mut linked, start) = (Linked::default(), Instant::now());
        assert!(!linked.holds_file(&rel("a"), LARGE, start), "nothing is recognised");
        linked.recognise();
        linked.wait_together();
        assert!(!linked.holds_file(&rel("small"), LARGE - 1, start));
        linked.left(&rel("before"));
        assert!(linked.holds_file(&rel("a"), LARGE, start));
        assert_eq!(linked.take_gone(), None);
        linked.left(&rel("old"));
        assert_eq!(linked.take_gone(), Some(FindMoved { gone: vec![rel("old")], new: vec![rel("a")] }));
        linked.left(&rel("older"));
        assert_eq!(linked.take_gone(), None, "one question at a time");
        linked.answered(false, start);
        assert_eq!(linked.take_gone(), Some(FindMoved { gone: vec![rel("older")], new: vec![rel("a")] }));
        linked.answered(false, start);
        assert_eq!(linked.next(), Some(start + LINK_TIME));
        assert!(linked.due(start + LINK_TIME / 2).is_empty());
        assert_eq!(linked.due(start + LINK_TIME), vec![rel("a")]);
        assert_eq!(linked.next(), None);
    }

    #[test]
    fn files_wait_while_more_are_linked_or_found_but_not_for_ever() {
        let (mut linked, start) = linked();
        let mut now = start;
        let mut told = Vec::new();
        for number in 0..10 {
            assert!(linked.holds_file(&rel(&number.to_string()), LARGE, now));
            now += STEP;
            told.extend(linked.due(now));
        }
        // The first ones at the latest, and the others when it is calm.
        assert_eq!(told, vec![rel("0"), rel("1")]);
        assert_eq!(linked.due(now + LINK_TIME).len(), 8);
        for (found, waits) in [(true, true), (false, false)] {
            assert!(linked.holds_file(&rel("a"), LARGE, start));
            linked.left(&rel("old"));
            assert!(linked.take_gone().is_some());
            assert!(linked.due(start + LINK_TIME).is_empty(), "an answer is to come");
            linked.answered(found, start + STEP);
            assert_eq!(linked.due(start + LINK_TIME).is_empty(), waits);
            assert_eq!(linked.flush().is_empty(), !waits);
        }
        linked.holds_file(&rel("a"), LARGE, start);
        linked.left(&rel("old"));
        assert!(linked.take_gone().is_some());
        assert_eq!(linked.due(start + LINK_AT_LATEST), vec![rel("a")], "no answer comes");
    }

    #[test]
    fn where_no_rsync_writes_each_file_waits_for_itself_and_a_removal_for_nothing_but_an_answer() {
        let (mut linked, start) = (Linked::default(), Instant::now());
        linked.wait_together();
        linked.recognise();
        assert!(linked.holds_file(&rel("a"), LARGE, start) && linked.holds_file(&rel("b"), LARGE, start + STEP));
        assert_eq!(linked.take_news(), None);
        linked.left(&rel("old"));
        assert!(linked.take_gone().is_some());
        assert_eq!(linked.take_news(), Some(NewNames::Asked), "it may be the second half of a rename");
        linked.left(&rel("older"));
        assert_eq!((linked.take_gone(), linked.take_news()), (None, None), "one question at a time");
        linked.answered(false, start);
        assert!(linked.take_gone().is_some());
        assert_eq!(linked.take_news(), Some(NewNames::Asked), "that is another question");
        linked.answered(false, start);
        assert_eq!(linked.take_news(), Some(NewNames::None));
        linked.left(&rel("older"));
        assert!(linked.take_gone().is_some(), "no answer comes");
        assert_eq!(linked.take_news(), Some(NewNames::Asked));
        assert_eq!(linked.next(), Some(start + LINK_TIME));
        assert_eq!(linked.due(start + LINK_TIME), vec![rel("a")]);
        assert_eq!(linked.next(), Some(start + STEP + LINK_TIME));
        assert_eq!(linked.due(start + STEP + LINK_TIME), vec![rel("b")]);
        linked.wait_together();
        assert_eq!(linked.take_news(), Some(NewNames::None));
        assert!(linked.holds_file(&rel("a"), LARGE, start));
        assert_eq!(linked.take_news(), Some(NewNames::Asked));
        linked.answered(false, start);
        assert_eq!(linked.take_news(), Some(NewNames::Wait), "an rsync writes");
    }

    #[test]
    fn nothing_is_asked_when_nothing_waits_any_more() {
        let (mut linked, start) = linked();
        linked.holds_file(&rel("a"), LARGE, start);
        linked.left(&rel("old"));
        assert!(linked.ends(&rel("a")));
        assert_eq!(linked.take_gone(), None);
        assert_eq!(linked.next(), None);
        linked.holds_file(&rel("b"), LARGE, start + STEP);
        assert_eq!(linked.take_gone(), None, "that went before");
        assert_eq!(linked.next(), Some(start + STEP + LINK_TIME));
    }

    #[test]
    fn what_waits_follows_the_directory_above_it() {
        let (mut linked, start) = linked();
        assert!(linked.holds_file(&rel("d/f"), LARGE, start) && linked.holds_file(&rel("g/f"), LARGE, start));
        linked.moved(&rel("d"), &rel("n"));
        assert!(!linked.ends(&rel("d/f")) && linked.ends(&rel("n/f")));
        linked.forget_below(&rel("g"));
        assert_eq!(linked.waiting().count(), 0);
    }

    #[test]
    fn a_symlink_comes_after_what_it_leads_to_unless_both_are_in_one_new_directory() {
        for (link, target, taken) in [
            ("current", "releases/8", 2),
            ("current", "releases/8/a", 1),
            ("current", "releases", 2),
            ("current", "releases/7", 0),
            ("releases/8/link", "releases/8/a", 0),
            ("releases/8/link", "releases/8", 0),
            ("releases/9/link", "releases/8/a", 1),
        ] {
            let (mut linked, start) = linked();
            for dir in ["releases/8", "releases/8/b", "releases/9"] {
                linked.made(&rel(dir), start);
            }
            ["releases/8/a", "releases/8/b/c"]
                .iter()
                .for_each(|path| assert!(linked.holds_file(&rel(path), LARGE, start)));
            assert_eq!(linked.take_for_link(&rel(link), &rel(target), start).len(), taken, "{link} to {target}");
            assert_eq!(linked.waiting().count(), 2 - taken, "{link} to {target}");
        }
    }

    #[test]
    fn a_directory_is_new_for_a_time_also_by_another_name() {
        for (after, taken) in [(LINK_AT_LATEST, 0), (LINK_AT_LATEST + STEP, 1)] {
            let (mut linked, start) = linked();
            linked.made(&rel("d"), start);
            linked.moved(&rel("d"), &rel("n"));
            assert!(linked.holds_file(&rel("n/f"), LARGE, start));
            assert_eq!(linked.take_for_link(&rel("n/link"), &rel("n/f"), start + after).len(), taken, "{after:?}");
        }
    }
}
