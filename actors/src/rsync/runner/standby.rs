//! The rsync processes that wait at one node, connected, for the next list: so a change is there in milliseconds. This
//! is the account of them; [`Rsync`](crate::rsync::Rsync) starts and feeds them.
//!
//! A process sits in the directory that the source was when it was started. If that is not the source any more,
//! whatever is listed would look deleted: it is compared just before feeding, and a process that must not be fed is
//! killed before its input closes.

mod brake;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::brake::Brake;
use super::budget::{Budget, NodeBudget, Permit};
use crate::rsync::recipe::Recipe;
use crate::rsync::runner::process::Process;

/// The time for which a standby may wait: the node's side of an old one may be gone without a word.
pub(crate) const LIFETIME: Duration = Duration::from_secs(300);
/// A recipe that was not used for so long has no standby any more.
const DEMAND: Duration = Duration::from_secs(600);
/// Most standbys of one recipe, and of all, at one node. sshd allows 10 sessions over one connection (sshd_config(5),
/// MaxSessions), and those that were fed need theirs until they end.
const MOST: usize = 4;
const MOST_IN_ALL: usize = 7;
/// Standbys of one node that connect at a time: more would come later, and all together.
const MOST_CONNECTING: usize = 2;
/// The same over a long line, where it is the line that takes the time.
const MOST_CONNECTING_FAR: usize = FAR;
/// Standbys that a long line is to have for what is sent. One is taken each round trip, and takes four to be ready: for the session,
/// for rsync's start, for its greeting, and for the checksum that both agree on.
const FAR: usize = 5;
/// One that takes longer to connect is not waited for.
pub(crate) const CONNECTS: Duration = Duration::from_secs(10);
/// `--timeout` of a standby: it sends keep-alives every half of it, which an rsync daemon with a shorter `timeout` of
/// its own (rsyncd.conf(5)) does not wait for. A standby that dies of this halves it, down to the last.
const TIMEOUTS: (u32, u32) = (60, 4);

/// Asks whoever holds a process to hand it over.
pub(crate) type Handover = oneshot::Sender<Process>;

/// A process that waits.
#[derive(Debug)]
struct WaitingProcess {
    id: u64,
    recipe: Recipe,
    /// `true` if it makes the directories above the mirror.
    make_path: bool,
    connected: bool,
    started: Instant,
    take: oneshot::Sender<Handover>,
    _permit: Permit,
}

/// The use of one recipe.
#[derive(Debug, Clone, Copy)]
struct Demand {
    used: Instant,
    /// The number that is kept.
    depth: usize,
}

/// The standbys of one node.
#[derive(Debug)]
pub(crate) struct Standbys {
    kept: Vec<WaitingProcess>,
    demand: BTreeMap<Recipe, Demand>,
    /// The recipe that has one whether it is used or not.
    always: Recipe,
    budget: NodeBudget,
    last: u64,
    brake: Brake,
    /// The start of the wait for the connection that standbys will share, while it lasts.
    awaits_master: Option<Instant>,
    /// The time at which somebody looks again for one to be started.
    looks_at: Option<Instant>,
    timeout: u32,
    /// The number that may connect at a time.
    most_connecting: usize,
}

/// A standby to be started.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The kind of run that the standby waits for.
    pub recipe: Recipe,
    /// To be kept with it.
    pub permit: Permit,
}

impl Standbys {
    /// None yet; the recipe `always` is to have one whether it is used or not.
    pub(crate) fn new(always: Recipe, budget: &Budget) -> Self {
        let demand = BTreeMap::from([(always, Demand { used: Instant::now(), depth: 1 })]);
        Standbys {
            kept: Vec::new(),
            demand,
            always,
            budget: budget.of_node(),
            last: 0,
            brake: Brake::default(),
            awaits_master: None,
            looks_at: None,
            timeout: TIMEOUTS.0,
            most_connecting: MOST_CONNECTING,
        }
    }

    /// Notes if the node is behind a long line. There several runs go beside each other, and each needs one.
    pub(crate) fn set_line(&mut self, is_long: bool, now: Instant) {
        let was_long = self.most_connecting == MOST_CONNECTING_FAR;
        self.most_connecting = if is_long { MOST_CONNECTING_FAR } else { MOST_CONNECTING };
        if is_long {
            self.want(self.always, FAR, now);
        } else if let Some(demand) = self.demand.get_mut(&self.always).filter(|_| was_long) {
            demand.depth = demand.depth.min(1);
        }
    }

    /// The `--timeout` of the next one, if it is not the usual one.
    pub(crate) fn timeout(&self) -> Option<u32> {
        (self.timeout < TIMEOUTS.0).then_some(self.timeout)
    }

    /// Returns true if none is to be started until a run succeeds, or never.
    pub(crate) fn rests(&self) -> bool {
        self.brake.rests()
    }

    /// The next one to be started, if there is to be one now.
    pub(crate) fn wanted(&self, now: Instant) -> Option<Wanted> {
        if self.rests() || self.kept.len() >= MOST_IN_ALL || self.brake.until(now).is_some() {
            return None;
        }
        if self.kept.iter().filter(|kept| !kept.connected).count() >= self.most_connecting {
            return None;
        }
        let kept = |recipe| self.kept.iter().filter(|kept| kept.recipe == recipe).count();
        let lacking = self.demand.iter().filter(|(recipe, demand)| kept(**recipe) < demand.depth);
        // One of each comes before more of any: a rename takes one of three kinds.
        let (recipe, _) = lacking.min_by_key(|(recipe, _)| kept(**recipe))?;
        Some(Wanted { recipe: *recipe, permit: self.budget.take()? })
    }

    /// Tells if the recipe that always has a standby has none that is connected, but one that will be, or the
    /// connection that it will share is on its way. If all are under way that may be, there should be more.
    pub(crate) fn is_missing(&mut self, now: Instant) -> bool {
        let awaits_master = self.awaits_master.is_some_and(|since| now < since + CONNECTS);
        let kept = || self.kept.iter().filter(|kept| kept.recipe == self.always);
        let connects = |kept: &WaitingProcess| now < kept.started + CONNECTS;
        let missing = (awaits_master || kept().any(connects)) && !kept().any(|kept| kept.connected);
        let all = kept().count();
        if let Some(demand) =
            self.demand.get_mut(&self.always).filter(|demand| missing && all >= demand.depth.min(self.most_connecting))
        {
            demand.depth = (demand.depth + 1).min(MOST);
        }
        missing
    }

    /// Returns when to look for [`Standbys::wanted`] again because of the time. `None` if somebody does so by then.
    pub(crate) fn next_look(&mut self, now: Instant) -> Option<Instant> {
        let at = self.brake.until(now).filter(|_| !self.rests())?;
        if self.looks_at.is_some_and(|armed| armed <= at) {
            return None;
        }
        self.looks_at = Some(at);
        Some(at)
    }

    /// The time of [`Standbys::next_look`] has come.
    pub(crate) fn looks(&mut self) {
        self.looks_at = None;
    }

    /// The connection that standbys will share is being made. Returns true if nobody waited for it before.
    pub(crate) fn await_master(&mut self, now: Instant) -> bool {
        let is_first = self.awaits_master.is_none();
        self.awaits_master.get_or_insert(now);
        is_first
    }

    /// The connection is up, or cannot be made.
    pub(crate) fn master_was_tried(&mut self) {
        self.awaits_master = None;
    }

    /// Ends all that wait: none is ever started again.
    pub(crate) fn retire(&mut self) {
        self.kept.clear();
        self.brake.retire();
    }

    /// One was started. Returns its number, and through what it will be asked for.
    pub(crate) fn keep(
        &mut self,
        wanted: Wanted,
        make_path: bool,
        started: Instant,
    ) -> (u64, oneshot::Receiver<Handover>) {
        self.last += 1;
        let (take, asked) = oneshot::channel();
        let Wanted { recipe, permit } = wanted;
        self.kept.push(WaitingProcess {
            id: self.last,
            recipe,
            make_path,
            connected: false,
            started,
            take,
            _permit: permit,
        });
        (self.last, asked)
    }

    /// Notes that this standby is connected.
    pub(crate) fn connected(&mut self, id: u64) {
        self.kept.iter_mut().filter(|kept| kept.id == id).for_each(|kept| kept.connected = true);
    }

    /// Asks for the one that is best for a recipe: connected, else on its way for longest.
    pub(crate) fn take(&mut self, recipe: Recipe, make_path: bool, now: Instant) -> Option<oneshot::Receiver<Process>> {
        self.want(recipe, 1, now);
        let all = self.kept.len();
        self.kept.retain(|kept| kept.connected || now < kept.started + CONNECTS);
        // What never says that it is connected would be waited for again and again.
        (self.kept.len()..all).for_each(|_| self.was_useless(now));
        let fits = |kept: &WaitingProcess| kept.recipe == recipe && kept.make_path == make_path;
        let at = self.kept.iter().position(|kept| fits(kept) && kept.connected);
        let at = at.or_else(|| self.kept.iter().position(fits))?;
        let (hand, handed) = oneshot::channel();
        // It may have ended a moment ago: then nothing will be handed over.
        let _ = self.kept.remove(at).take.send(hand);
        Some(handed)
    }

    /// One ended by itself while it waited.
    pub(crate) fn died(&mut self, id: u64, is_daemon: bool, now: Instant, chance: f64) {
        let Some(at) = self.kept.iter().position(|kept| kept.id == id) else { return };
        let dead = self.kept.remove(at);
        if dead.connected && is_daemon {
            self.timeout = (self.timeout / 2).max(TIMEOUTS.1);
        }
        self.brake.died(now, chance);
    }

    /// One waited for too long and was ended. What was not needed lately is not replaced.
    pub(crate) fn expired(&mut self, id: u64, now: Instant) {
        let Some(at) = self.kept.iter().position(|kept| kept.id == id) else { return };
        let WaitingProcess { recipe, connected, .. } = self.kept.remove(at);
        if connected {
            // The way to the node keeps what is idle.
            self.brake.succeeded();
            self.timeout = (self.timeout * 2).min(TIMEOUTS.0);
        }
        if let Some(demand) = self.demand.get_mut(&recipe) {
            let unused = now.saturating_duration_since(demand.used);
            if unused >= LIFETIME {
                demand.depth = demand.depth.min(1);
            }
            if unused >= DEMAND && recipe != self.always {
                demand.depth = 0;
            }
        }
    }

    /// Tells if a recipe is to have one.
    pub(crate) fn wants(&self, recipe: Recipe) -> bool {
        self.demand.get(&recipe).is_some_and(|demand| demand.depth > 0)
    }

    /// A recipe is to have so many, as if they had been asked for.
    pub(crate) fn want(&mut self, recipe: Recipe, standbys: usize, now: Instant) {
        let demand = self.demand.entry(recipe).or_insert(Demand { used: now, depth: 0 });
        (demand.used, demand.depth) = (now, demand.depth.max(standbys));
    }

    /// A recipe has none any more. Those that wait are ended.
    pub(crate) fn forget(&mut self, recipe: Recipe) {
        self.demand.remove(&recipe);
        self.kept.retain(|kept| kept.recipe != recipe);
    }

    /// The node took something.
    pub(crate) fn succeeded(&mut self) {
        self.brake.succeeded();
    }

    /// One did what it was fed with.
    pub(crate) fn served(&mut self) {
        self.brake.served();
    }

    /// One was of no use when it was fed.
    pub(crate) fn was_useless(&mut self, now: Instant) {
        if self.brake.was_useless() {
            self.bar(now);
        }
    }

    /// The node had no connection for another run. If that may be because of those that wait, they are ended and for a
    /// while not replaced.
    pub(crate) fn make_room(&mut self, now: Instant) -> bool {
        let made = !self.kept.is_empty();
        if made {
            self.bar(now);
        }
        made
    }

    fn bar(&mut self, now: Instant) {
        self.kept.clear();
        self.brake.bar(now);
    }

    /// Those that wait are of no use any more. Others may be started.
    pub(crate) fn outdated(&mut self) {
        self.kept.clear();
    }

    /// None is kept, and none started until a run succeeds.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.brake.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::brake::{BARRED, DEATHS, USELESS};
    use super::*;
    use Recipe::{Missing, Present};

    /// Starts all that are wanted; returns their numbers and recipes.
    fn fill(standbys: &mut Standbys, now: Instant) -> Vec<(u64, Recipe)> {
        let mut started = Vec::new();
        while let Some(wanted) = standbys.wanted(now) {
            let recipe = wanted.recipe;
            let (id, asked) = standbys.keep(wanted, false, now);
            // Whoever keeps it outlives the test.
            std::mem::forget(asked);
            started.push((id, recipe));
        }
        started
    }

    fn connected(standbys: &mut Standbys, now: Instant) -> usize {
        let started = fill(standbys, now);
        started.iter().for_each(|(id, _)| standbys.connected(*id));
        started.len()
    }

    #[test]
    fn one_waits_for_what_is_sent_and_others_only_after_they_were_needed() {
        let (mut standbys, now) = (Standbys::new(Present, &Budget::new(9)), Instant::now());
        assert_eq!(fill(&mut standbys, now), [(1, Present)]);
        assert!(standbys.take(Missing, false, now).is_none());
        assert_eq!(fill(&mut standbys, now), [(2, Missing)]);
        assert!(standbys.take(Present, false, now).is_some());
        assert_eq!(fill(&mut standbys, now), [(3, Present)], "the next one is started at once");
        standbys.expired(2, now + LIFETIME);
        standbys.expired(3, now + LIFETIME);
        let later = now + LIFETIME;
        assert_eq!(fill(&mut standbys, later), [(4, Present), (5, Missing)]);
        [4, 5].iter().for_each(|id| standbys.expired(*id, now + DEMAND));
        assert_eq!(fill(&mut standbys, now + DEMAND), [(6, Present)], "nothing was deleted for long");
    }

    #[test]
    fn a_change_that_finds_none_connected_makes_more() {
        let (mut standbys, now) = (Standbys::new(Present, &Budget::new(9)), Instant::now());
        assert!(!standbys.is_missing(now), "none is on its way");
        fill(&mut standbys, now);
        assert!(standbys.is_missing(now));
        assert!(!standbys.is_missing(now + CONNECTS), "it is not waited for without end");
        standbys.connected(1);
        assert!(!standbys.is_missing(now));
        assert_eq!(connected(&mut standbys, now), 1, "two are kept now");
        for _ in 0..9 {
            while standbys.take(Present, false, now).is_some() {}
            fill(&mut standbys, now);
            standbys.is_missing(now);
        }
        for _ in 0..9 {
            standbys.kept.iter_mut().for_each(|kept| kept.connected = true);
            fill(&mut standbys, now);
        }
        assert_eq!(standbys.kept.len(), MOST);
    }

    #[test]
    fn a_long_line_has_one_for_each_round_trip_that_one_takes_and_one_more_until_it_is_short() {
        let (mut standbys, now) = (Standbys::new(Present, &Budget::new(9)), Instant::now());
        standbys.set_line(true, now);
        assert_eq!(fill(&mut standbys, now).len(), FAR);
        standbys.set_line(false, now);
        while standbys.take(Present, false, now).is_some() {}
        assert_eq!(fill(&mut standbys, now).len(), 1);
    }

    #[test]
    fn one_of_each_recipe_comes_before_more_of_any() {
        let (mut standbys, now) = (Standbys::new(Present, &Budget::new(9)), Instant::now());
        standbys.want(Present, MOST, now);
        standbys.want(Recipe::Link, 2, now);
        [Recipe::Large, Missing].iter().for_each(|recipe| standbys.want(*recipe, 1, now));
        let mut started = Vec::new();
        while let Some(wanted) = standbys.wanted(now) {
            started.push(wanted.recipe);
            let (id, asked) = standbys.keep(wanted, false, now);
            std::mem::forget(asked);
            standbys.connected(id);
        }
        assert_eq!(started, [Present, Recipe::Large, Recipe::Link, Missing, Present, Recipe::Link, Present]);
    }

    #[test]
    fn a_recipe_that_is_forgotten_has_none_until_it_is_wanted_again() {
        let (mut standbys, now) = (Standbys::new(Present, &Budget::new(9)), Instant::now());
        standbys.want(Recipe::Link, 1, now);
        assert_eq!(fill(&mut standbys, now).len(), 2);
        standbys.forget(Recipe::Link);
        assert!(!standbys.wants(Recipe::Link) && standbys.wants(Present));
        assert_eq!((standbys.kept.len(), fill(&mut standbys, now).len()), (1, 0));
        standbys.want(Recipe::Link, 1, now);
        assert_eq!(fill(&mut standbys, now).len(), 1);
    }

    #[test]
    fn all_nodes_share_a_budget() {
        let (budget, now) = (Budget::new(1), Instant::now());
        let mut standbys = [(); 2].map(|()| Standbys::new(Present, &budget));
        assert_eq!(standbys.each_mut().map(|standbys| fill(standbys, now).len()), [1, 0]);
        standbys[0].clear();
        assert_eq!(standbys.each_mut().map(|standbys| fill(standbys, now).len()), [0, 1]);
    }

    #[test]
    fn a_node_that_is_down_is_left_alone_after_some_tries() {
        let (mut standbys, mut now) = (Standbys::new(Present, &Budget::new(9)), Instant::now());
        let mut tries = 0;
        while let [(id, _)] = fill(&mut standbys, now)[..] {
            standbys.died(id, false, now, 0.5);
            assert!(fill(&mut standbys, now).is_empty(), "not at once");
            tries += 1;
            now = standbys.next_look(now).unwrap_or(now + LIFETIME);
            standbys.looks();
        }
        assert_eq!(tries, DEATHS);
        standbys.succeeded();
        assert_eq!(fill(&mut standbys, now).len(), 1);
    }

    #[test]
    fn a_daemon_that_ends_idle_connections_is_told_more_often_that_all_is_well() {
        let (mut standbys, mut now) = (Standbys::new(Present, &Budget::new(9)), Instant::now());
        let mut timeouts = Vec::new();
        for _ in 0..DEATHS {
            let [(id, _)] = fill(&mut standbys, now)[..] else { panic!("one is wanted") };
            standbys.connected(id);
            standbys.died(id, true, now, 0.5);
            timeouts.extend(standbys.timeout());
            now = standbys.next_look(now).unwrap_or(now);
            standbys.looks();
        }
        assert_eq!(timeouts, [30, 15, 7, 4, 4]);
    }

    #[test]
    fn one_at_a_time_waits_until_another_standby_may_be_started() {
        let mut standbys = Standbys::new(Present, &Budget::new(9));
        let now = Instant::now();
        assert_eq!(standbys.next_look(now), None, "one may be started at once");
        standbys.brake.died(now, 0.5);
        let at = standbys.next_look(now).unwrap();
        assert!(at > now && standbys.next_look(now).is_none(), "somebody waits already");
        standbys.looks();
        assert_eq!(standbys.next_look(now), Some(at));
        assert_eq!(standbys.next_look(at), None, "the time has come");
    }

    #[test]
    fn a_change_waits_for_the_shared_connection_but_not_without_end() {
        let mut standbys = Standbys::new(Present, &Budget::new(9));
        let now = Instant::now();
        assert!(standbys.await_master(now));
        assert!(!standbys.await_master(now + CONNECTS), "somebody waits already");
        assert!(standbys.is_missing(now) && !standbys.is_missing(now + CONNECTS));
        standbys.master_was_tried();
        assert!(!standbys.is_missing(now));
    }

    #[test]
    fn a_node_that_is_retired_never_has_a_standby_again() {
        let mut standbys = Standbys::new(Present, &Budget::new(9));
        let now = Instant::now();
        assert_eq!(fill(&mut standbys, now).len(), 1);
        standbys.retire();
        standbys.succeeded();
        assert!(standbys.kept.is_empty() && standbys.rests() && fill(&mut standbys, now).is_empty());
    }

    #[test]
    fn standbys_that_are_no_use_are_given_up_for_a_while() {
        let (mut standbys, now) = (Standbys::new(Present, &Budget::new(9)), Instant::now());
        for _ in 0..USELESS {
            assert_eq!(connected(&mut standbys, now), 1);
            assert!(standbys.take(Present, false, now).is_some());
            standbys.was_useless(now);
            standbys.succeeded();
        }
        assert_eq!((connected(&mut standbys, now), connected(&mut standbys, now + BARRED)), (0, 1));
    }

    #[test]
    fn one_that_would_not_make_the_way_to_the_mirror_is_not_taken() {
        let (mut standbys, now) = (Standbys::new(Present, &Budget::new(9)), Instant::now());
        connected(&mut standbys, now);
        assert!(standbys.take(Present, true, now).is_none());
        assert!(standbys.take(Present, false, now).is_some());
    }

    #[test]
    fn standbys_that_never_say_that_they_are_connected_are_given_up() {
        let (mut standbys, mut now) = (Standbys::new(Present, &Budget::new(9)), Instant::now());
        for _ in 0..USELESS {
            assert!(!fill(&mut standbys, now).is_empty());
            now += CONNECTS;
            assert!(standbys.take(Present, false, now).is_none());
        }
        assert!(fill(&mut standbys, now).is_empty());
        assert!(!standbys.is_missing(now), "nothing is waited for");
    }
}
