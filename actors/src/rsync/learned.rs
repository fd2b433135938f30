//! Holds what was learned of one node. Each fact is an enum or an `Option`, and changes in the methods of this file
//! alone.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use super::deliver::NameRule;
use super::runner::greeting_time::GreetingTime;
use crate::path::RelPath;
use crate::site::version::Version;
use crate::transport::failure::Cause;
use crate::transport::traits::{Trait, Traits};

/// The time for which a node of which a part took something is not held to refuse everything for that cause.
const IN_PART: Duration = Duration::from_secs(600);
/// The time for which no links are tried at a node where they were of no use.
const LINKS_OFF: Duration = Duration::from_secs(600);

/// The way in which the node's rsync takes deletions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletions {
    /// The node has not been asked yet.
    Unknown,
    /// As missing entries of any list.
    Listed,
    /// Only in protocol 29: the receiver rejects them otherwise.
    Protocol29,
}

/// The version of the node's rsync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remote {
    /// The node has not been asked yet.
    Unknown,
    /// The question is on its way.
    Asking,
    /// The node told this version.
    Known(Version),
    /// The node tells none, as rsync daemons and forced commands do.
    Silent,
}

/// The facts of one node. The facts outlive each run and each SyncActor.
#[derive(Debug)]
pub(super) struct Learned {
    deletions: Deletions,
    names: NameRule,
    /// The file by which the node said that it tells names apart, once: that must be said twice.
    apart_by: Option<RelPath>,
    /// The traits that the node lacks or has; `None` before the node was asked.
    pub traits: Option<Traits>,
    /// `true` if runs make the directories above the mirror.
    pub makes_path: bool,
    greeting: GreetingTime,
    /// The protocol of the latest greeting.
    protocol: Option<u32>,
    remote: Remote,
    /// The cause for which a part of the mirror was refused last while another part was not, and the time of it.
    refused_in_part: Option<(Cause, Instant)>,
    /// No links are tried before.
    links_off_until: Option<Instant>,
    /// The node refused hard links of the source: none are made before. `None` where they are made.
    hard_links_off_until: Option<Instant>,
}

impl Learned {
    /// A node of which nothing is known but these traits.
    pub(crate) fn of(traits: Option<Traits>) -> Self {
        let has_one_case = traits.as_ref().is_some_and(|traits| traits.has(Trait::OneCase));
        Learned {
            deletions: Deletions::Unknown,
            names: if has_one_case { NameRule::One } else { NameRule::Unknown },
            apart_by: None,
            traits,
            makes_path: false,
            greeting: GreetingTime::default(),
            protocol: None,
            remote: Remote::Unknown,
            refused_in_part: None,
            links_off_until: None,
            hard_links_off_until: None,
        }
    }

    /// Returns how the node takes deletions.
    pub(crate) fn deletions(&self) -> Deletions {
        self.deletions
    }

    // ## (Unknown | Listed) => (Listed | Protocol29)
    /// A run showed how the node takes deletions.
    pub(crate) fn takes_deletions(&mut self, deletions: Deletions) {
        self.deletions = deletions;
    }

    /// Returns how the node tells names apart.
    pub(crate) fn names(&self) -> NameRule {
        self.names
    }

    // ## any => (One | Apart | Unclear | NoMirror)
    /// The node was asked how it tells names apart, and asked again if it said that it does.
    pub(crate) fn tells_names(&mut self, names: NameRule) {
        self.names = names;
        self.apart_by = None;
    }

    // ## any => (Unknown | One | Unclear | NoMirror)
    /// The node was asked once how it tells names apart, by `file`.
    pub(crate) fn tells_names_once(&mut self, names: NameRule, file: Option<RelPath>) {
        self.tells_names(names);
        if names == NameRule::Apart {
            // Another run may have brought the file, or taken it, between the looks at its two names.
            self.names = NameRule::Unknown;
            self.apart_by = file;
        }
    }

    /// Returns the file by which the node said once that it tells names apart, if it is to be asked again.
    pub(crate) fn told_apart_by(&self) -> Option<&RelPath> {
        self.apart_by.as_ref()
    }

    // ## (Unclear | NoMirror) => Unknown
    /// A reconcile went well: the node now has what it is asked about.
    pub(crate) fn may_tell_names(&mut self) {
        if matches!(self.names, NameRule::Unclear | NameRule::NoMirror) {
            self.names = NameRule::Unknown;
        }
    }

    /// The mirror is a new one: how the one before took deletions and names says nothing of it.
    pub(crate) fn mirror_is_new(&mut self) {
        self.deletions = Deletions::Unknown;
        self.tells_names(NameRule::Unknown);
    }

    /// Returns how long greetings take.
    pub(crate) fn greeting(&self) -> GreetingTime {
        self.greeting
    }

    /// A greeting came after `took`.
    pub(crate) fn greeted(&mut self, took: Duration) {
        self.greeting.heard(took);
    }

    /// A greeting did not come in time.
    pub(crate) fn greeting_missed(&mut self) {
        self.greeting.missed();
    }

    /// Returns the protocol of the latest greeting that named one.
    pub(crate) fn protocol(&self) -> Option<u32> {
        self.protocol
    }

    /// A greeting named a protocol, or none.
    pub(crate) fn speaks(&mut self, protocol: Option<u32>) {
        self.protocol = protocol.or(self.protocol);
    }

    /// Returns the version that the node told, if it told one.
    pub(crate) fn version(&self) -> Option<Version> {
        match self.remote {
            Remote::Known(version) => Some(version),
            Remote::Unknown | Remote::Asking | Remote::Silent => None,
        }
    }

    // ## Unknown => Asking
    /// Returns true if the node is to be asked for its version now: nobody did yet, and nobody is about it.
    pub(crate) fn ask_version(&mut self) -> bool {
        let asks = self.remote == Remote::Unknown;
        if asks {
            self.remote = Remote::Asking;
        }
        asks
    }

    // ## any => (Known | Silent)
    /// The node was asked for its version and answered.
    pub(crate) fn tells_version(&mut self, version: Option<Version>) {
        self.remote = version.map_or(Remote::Silent, Remote::Known);
    }

    // ## Asking => Unknown
    /// The question for the version has ended. Without an answer the node may be asked again.
    pub(crate) fn asked_version(&mut self) {
        if self.remote == Remote::Asking {
            self.remote = Remote::Unknown;
        }
    }

    /// The node refused a part of a run for this cause, and took another part.
    pub(crate) fn refuses_in_part(&mut self, cause: Cause, now: Instant) {
        self.refused_in_part = Some((cause, now));
    }

    /// Tells if the node took something a while ago of what it refused for this cause.
    pub(crate) fn is_refused_in_part(&self, cause: Cause, now: Instant) -> bool {
        self.refused_in_part.is_some_and(|(of, at)| of == cause && now.saturating_duration_since(at) < IN_PART)
    }

    /// Links were of no use at the node.
    pub(crate) fn links_failed(&mut self, now: Instant) {
        self.links_off_until = Some(now + LINKS_OFF);
    }

    /// Tells if links may be tried at the node.
    pub(crate) fn tries_links(&self, now: Instant) -> bool {
        self.links_off_until.is_none_or(|until| until <= now)
    }

    /// The node has no hard links.
    pub(crate) fn refuses_hard_links(&mut self, now: Instant) {
        self.hard_links_off_until = Some(now + LINKS_OFF);
    }

    /// Tells if hard links may be made at the node.
    pub(crate) fn tries_hard_links(&self, now: Instant) -> bool {
        self.hard_links_off_until.is_none_or(|until| until <= now)
    }

    /// Hard links were made at the node. Returns true if it had refused them before: those of that time are missing.
    pub(crate) fn takes_hard_links(&mut self, now: Instant) -> bool {
        self.tries_hard_links(now) && self.hard_links_off_until.take().is_some()
    }
}

/// Progress of the report that a run has made the mirror. The run itself may have failed, so a later one reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum NewMirror {
    /// No report is due.
    #[default]
    No,
    /// A run made the mirror. The next delivery or reconcile that succeeds reports it.
    Made,
    /// A reconcile is about to begin, which sends everything also to a mirror that is made until then: the reconcile
    /// reports.
    ReconcileNext {
        /// `true` if a run made the mirror meanwhile or before.
        made: bool,
    },
}

impl NewMirror {
    // ## No => Made; ReconcileNext => ReconcileNext
    /// A run made the mirror.
    pub(crate) fn made(&mut self) {
        match self {
            NewMirror::No | NewMirror::Made => *self = NewMirror::Made,
            NewMirror::ReconcileNext { made } => *made = true,
        }
    }

    // ## (No | Made) => ReconcileNext
    /// A reconcile is about to begin.
    pub(crate) fn reconcile_comes(&mut self) {
        *self = NewMirror::ReconcileNext { made: self.is_made() };
    }

    // ## ReconcileNext => (No | Made)
    /// The reconcile begins now, or does not begin at all.
    pub(crate) fn reconcile_came(&mut self) {
        *self = if self.is_made() { NewMirror::Made } else { NewMirror::No };
    }

    // ## (No | Made) => No
    /// A reconcile begins. Returns true if the mirror is one that was made before, which the reconcile reports.
    pub(crate) fn taken_by_reconcile(&mut self) -> bool {
        let made = self.is_made();
        *self = NewMirror::No;
        made
    }

    // ## Made => No
    /// A delivery went well. Returns true if it reports a new mirror; `said` tells if one of its own runs said so.
    pub(crate) fn taken_by_delivery(&mut self, said: bool) -> bool {
        match self {
            NewMirror::ReconcileNext { .. } => false,
            NewMirror::No => said,
            NewMirror::Made => {
                *self = NewMirror::No;
                true
            }
        }
    }

    fn is_made(self) -> bool {
        matches!(self, NewMirror::Made | NewMirror::ReconcileNext { made: true })
    }
}

/// The report of a new mirror in the hands of a reconcile, which sends everything. Given back unless the reconcile succeeds:
/// it may fail, or be broken off at any moment.
pub(super) struct ReconciledMirror<'m> {
    mirror: &'m RefCell<NewMirror>,
    is_new: Cell<bool>,
}

impl<'m> ReconciledMirror<'m> {
    /// Takes the report of a mirror that was made before.
    pub(crate) fn take(mirror: &'m RefCell<NewMirror>) -> Self {
        let is_new = Cell::new(mirror.borrow_mut().taken_by_reconcile());
        ReconciledMirror { mirror, is_new }
    }

    /// Notes that the reconcile itself made the mirror.
    pub(crate) fn made(&self) {
        self.is_new.set(true);
    }

    /// Tells if the mirror is new.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new.get()
    }

    /// Notes that the mirror has everything.
    pub(crate) fn succeeded(&self) {
        self.is_new.set(false);
    }
}

impl Drop for ReconciledMirror<'_> {
    fn drop(&mut self) {
        if self.is_new.get() {
            self.mirror.borrow_mut().made();
        }
    }
}

/// A warning about a node that is logged once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Warning {
    /// The node's own filter keeps what was removed.
    NodeFilter,
    /// The mirror's own directory does not take all attributes.
    RootAttributes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_mirror_is_reported_once_and_not_by_a_delivery_before_the_reconcile_that_will_send_everything() {
        use NewMirror::{Made, No, ReconcileNext};
        let made = |mut mirror: NewMirror| {
            mirror.made();
            mirror
        };
        assert_eq!([No, Made, ReconcileNext { made: false }].map(made), [Made, Made, ReconcileNext { made: true }]);
        for (before, said, reports, after) in [
            (No, false, false, No),
            (No, true, true, No),
            (Made, false, true, No),
            (Made, true, true, No),
            (ReconcileNext { made: false }, true, false, ReconcileNext { made: false }),
            (ReconcileNext { made: true }, true, false, ReconcileNext { made: true }),
        ] {
            let mut mirror = before;
            assert_eq!((mirror.taken_by_delivery(said), mirror), (reports, after), "{before:?} {said}");
        }
        for (before, reports) in [(No, false), (Made, true)] {
            let mut mirror = before;
            mirror.reconcile_comes();
            assert_eq!(mirror, ReconcileNext { made: reports });
            mirror.reconcile_came();
            assert_eq!(mirror, before, "the reconcile did not begin");
            assert_eq!((mirror.taken_by_reconcile(), mirror), (reports, No));
        }
    }

    #[test]
    fn a_reconcile_that_is_broken_off_leaves_the_report_of_a_new_mirror_to_the_next_run() {
        use NewMirror::{Made, No};
        for (before, makes, succeeds, after) in [
            (Made, false, false, Made),
            (No, true, false, Made),
            (No, false, false, No),
            (Made, false, true, No),
            (No, true, true, No),
        ] {
            let mirror = RefCell::new(before);
            let reconciled = ReconciledMirror::take(&mirror);
            if makes {
                reconciled.made();
            }
            assert_eq!(reconciled.is_new(), makes || before == Made);
            if succeeds {
                reconciled.succeeded();
            }
            drop(reconciled);
            assert_eq!(*mirror.borrow(), after, "{before:?} {makes} {succeeds}");
        }
    }

    #[test]
    fn a_node_is_asked_for_its_version_by_one_at_a_time_until_it_answers() {
        let mut learned = Learned::of(None);
        assert!(learned.ask_version());
        assert!(!learned.ask_version(), "somebody asks already");
        learned.asked_version();
        assert!(learned.ask_version(), "there was no answer");
        learned.tells_version(None);
        learned.asked_version();
        assert!(!learned.ask_version(), "it told that it tells nothing");
        assert_eq!(learned.version(), None);
        learned.tells_version(Some(Version::new(3, 2, 7)));
        assert_eq!(learned.version(), Some(Version::new(3, 2, 7)));
    }

    #[test]
    fn what_was_of_the_mirror_before_is_asked_again() {
        let mut learned = Learned::of(Some([Trait::OneCase].into_iter().collect()));
        assert_eq!(learned.names(), NameRule::One);
        learned.takes_deletions(Deletions::Protocol29);
        learned.mirror_is_new();
        assert_eq!((learned.names(), learned.deletions()), (NameRule::Unknown, Deletions::Unknown));
        learned.tells_names(NameRule::Unclear);
        learned.may_tell_names();
        assert_eq!(learned.names(), NameRule::Unknown);
        learned.tells_names(NameRule::Apart);
        learned.may_tell_names();
        assert_eq!(learned.names(), NameRule::Apart, "the answer was clear");
    }

    #[test]
    fn names_are_told_apart_only_if_the_node_says_so_twice() {
        use NameRule::{Apart, NoMirror, One, Unclear, Unknown};
        let file = RelPath::new(b"file").unwrap();
        for (before, once, names, asks_again) in [
            (Unknown, Apart, Unknown, true),
            (Unknown, One, One, false),
            (Unknown, Unclear, Unclear, false),
            (Unknown, NoMirror, NoMirror, false),
            // The file system at the node may be another one since.
            (One, Apart, Unknown, true),
            (Apart, One, One, false),
        ] {
            let mut learned = Learned::of(None);
            learned.tells_names(before);
            learned.tells_names_once(once, Some(file.clone()));
            assert_eq!(
                (learned.names(), learned.told_apart_by().is_some()),
                (names, asks_again),
                "{before:?} {once:?}"
            );
            for second in [Apart, One, Unclear] {
                learned.tells_names(once.confirmed_by(second));
                assert_eq!(learned.told_apart_by(), None);
                assert_eq!(learned.names() == Apart, once == Apart && second == Apart, "{once:?} {second:?}");
                learned.tells_names_once(once, Some(file.clone()));
            }
            learned.mirror_is_new();
            assert_eq!((learned.names(), learned.told_apart_by()), (Unknown, None), "{once:?}");
        }
    }

    #[test]
    fn a_refusal_in_part_and_links_of_no_use_are_forgotten_after_a_while() {
        let mut learned = Learned::of(None);
        let now = Instant::now();
        assert!(learned.tries_links(now) && !learned.is_refused_in_part(Cause::Unwritable, now));
        learned.links_failed(now);
        learned.refuses_in_part(Cause::Unwritable, now);
        assert!(!learned.tries_links(now) && learned.is_refused_in_part(Cause::Unwritable, now));
        assert!(!learned.is_refused_in_part(Cause::TargetFull, now));
        let later = now + LINKS_OFF.max(IN_PART);
        assert!(learned.tries_links(later) && !learned.is_refused_in_part(Cause::Unwritable, later));
    }

    #[test]
    fn refused_hard_links_are_tried_again_and_that_they_are_made_again_is_told_once() {
        let (mut learned, now) = (Learned::of(None), Instant::now());
        assert!(learned.tries_hard_links(now) && !learned.takes_hard_links(now));
        learned.links_failed(now);
        assert!(learned.tries_hard_links(now), "those of a move may have failed for another reason");
        learned.refuses_hard_links(now);
        assert!(!learned.tries_hard_links(now) && !learned.takes_hard_links(now));
        let later = now + LINKS_OFF;
        assert!(learned.tries_hard_links(later));
        assert_eq!([learned.takes_hard_links(later), learned.takes_hard_links(later)], [true, false]);
    }

    #[test]
    fn a_greeting_without_a_protocol_says_nothing_against_the_one_before() {
        let mut learned = Learned::of(None);
        learned.speaks(Some(31));
        learned.speaks(None);
        assert_eq!(learned.protocol(), Some(31));
    }
}
