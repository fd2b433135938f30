//! The comparison of two readings of the configuration: what a reload changes. Pure; the supervisor carries it out.

use std::fmt;
use std::sync::Arc;

use crate::node::Node;
use crate::path::Shown;
use crate::site::version::Version;
use crate::site::{InitialSync, Site};

/// One reading of the configuration.
#[derive(Debug, Clone)]
pub struct ConfigSnapshot {
    /// The site that it describes.
    pub site: Arc<Site>,
    /// The version of the rsync that it names.
    pub version: Version,
}

/// The difference between two readings of the configuration, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ConfigDiff {
    /// Nodes that are new, in the order of the configuration.
    pub added: Vec<Node>,
    /// Nodes that are gone.
    pub removed: Vec<Node>,
    /// The keys that have another value, without those that only say which nodes there are.
    pub keys: Vec<&'static str>,
    /// The most that it takes at every node.
    pub takes: Takes,
    /// The nodes that stay and have other settings, with the most that this takes at each.
    changed: Vec<(Node, Takes)>,
}

/// The measures that a difference takes, each with those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Takes {
    /// The next use reads the new value.
    #[default]
    Nothing,
    /// The nodes are reached in another way: a new SyncActor for each.
    Transports,
    /// The nodes that stay are reconciled.
    Reconcile,
    /// Watcher and filter go by other patterns. This takes a reconcile also where `initial_sync` is `Off`: a SyncActor that
    /// still went by the patterns before may have dropped what is newly included.
    Patterns,
    /// The daemon starts anew.
    Restart,
}

/// The keys that a node may have for itself.
const OF_NODES: [&str; 5] = ["delete", "dir_moves", "extra", "rspeed", "rsync"];

/// Compares two sites key by key. Each row has the key's name, its field, and the measure that a change of it takes. A new
/// field of [`Site`] does not compile before it has a row.
macro_rules! keys_with_measures {
    ($old:expr, $new:expr; $($key:literal $field:ident: $takes:expr,)*) => {{
        let Site { nodes: _, options: _, $($field),* } = $old;
        [$(($key, *$field == $new.$field, $takes)),*]
    }};
}

/// The keys that differ between two sites, or between two settings of one node, each with what it takes.
fn differing(old: &Site, new: &Site) -> Vec<(&'static str, Takes)> {
    let compares = if new.initial_sync == InitialSync::Off { Takes::Transports } else { Takes::Reconcile };
    let keys = keys_with_measures! { old, new;
        // The watcher and the look at the source go by these.
        "wpath" wpath: Takes::Restart,
        "state_dir" state_file: Takes::Restart,
        "staging" staging: Takes::Restart,
        "dir_moves" dir_moves: Takes::Restart,
        "settle" settle: Takes::Restart,
        "await_names" await_names: Takes::Restart,
        "heartbeat" heartbeat: Takes::Restart,
        "watch_poll" watch_poll: Takes::Restart,
        "allow_empty" allow_empty: Takes::Restart,
        "marker" marker: Takes::Restart,
        "rexcludes" excludes: Takes::Patterns,
        "delete" delete: compares,
        "extra" extra: compares,
        "initial_sync" initial_sync: compares,
        "rspeed" rspeed: Takes::Transports,
        "priority" priority: Takes::Transports,
        "rsync" rsync: Takes::Transports,
        "confine" confine: Takes::Transports,
        "logfile" logfile: Takes::Transports,
        "standby" standby: Takes::Transports,
        "max_standbys" max_standbys: Takes::Transports,
        "ssh_master" ssh_master: Takes::Transports,
        "bulk_size" bulk_size: Takes::Transports,
        "max_delete" max_delete: Takes::Transports,
        "reconcile_jobs" reconcile_jobs: Takes::Transports,
        "node_threads" node_threads: Takes::Transports,
        "stop_timeout" stop_timeout: Takes::Nothing,
        "resync_every" resync_every: Takes::Nothing,
        "verify_every" verify_every: Takes::Nothing,
        "on_synced" on_synced: Takes::Nothing,
        "on_all_synced" on_all_synced: Takes::Nothing,
        "hook_timeout" hook_timeout: Takes::Nothing,
    };
    keys.into_iter().filter(|(_, same, _)| !same).map(|(key, _, takes)| (key, takes)).collect()
}

impl ConfigSnapshot {
    /// The version of the rsync that runs to a node.
    fn version_at(&self, node: &Node) -> Version {
        self.site.own_version(node).unwrap_or(self.version)
    }
}

impl ConfigDiff {
    /// Compares a reading with the one before.
    pub(crate) fn between(old: &ConfigSnapshot, new: &ConfigSnapshot) -> ConfigDiff {
        let mut difference = ConfigDiff {
            added: without(&new.site.nodes, &old.site.nodes),
            removed: without(&old.site.nodes, &new.site.nodes),
            ..ConfigDiff::default()
        };
        let of_site = differing(&old.site, &new.site).into_iter().filter(|(key, _)| !OF_NODES.contains(key));
        for (key, takes) in of_site {
            difference.note(key);
            difference.takes = difference.takes.max(takes);
        }
        for node in without(&new.site.nodes, &difference.added) {
            let mut found = differing(&old.site.at(&node), &new.site.at(&node));
            found.retain(|(key, _)| OF_NODES.contains(key));
            // Another rsync may be installed at the same path.
            let is_upgraded = old.version_at(&node) != new.version_at(&node);
            found.extend(is_upgraded.then_some(("rsync", Takes::Transports)));
            found.iter().for_each(|(key, _)| difference.note(key));
            let most = found.into_iter().map(|(_, takes)| takes).max();
            difference.changed.extend(most.map(|takes| (node, takes)));
        }
        // The state goes by how the nodes together follow moves.
        let moves = |site: &Site| (site.least_dir_moves(), site.most_dir_moves());
        if moves(&old.site) != moves(&new.site) {
            difference.note("dir_moves");
            difference.takes = Takes::Restart;
        }
        if difference.changed.iter().any(|(_, takes)| *takes == Takes::Restart) {
            difference.takes = Takes::Restart;
        }
        difference
    }

    fn note(&mut self, key: &'static str) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    /// Returns what the difference takes at a node that stays.
    pub(crate) fn takes_at(&self, node: &Node) -> Takes {
        let own = self.changed.iter().find(|(changed, _)| is_same(changed, node)).map(|(_, takes)| *takes);
        self.takes.max(own.unwrap_or_default())
    }

    /// With keys that changed as well, each once.
    pub(crate) fn beside(mut self, keys: &[&'static str]) -> Self {
        keys.iter().for_each(|key| self.note(key));
        self
    }

    /// Returns true if nothing is different.
    pub(crate) fn is_empty(&self) -> bool {
        *self == ConfigDiff::default()
    }
}

/// The nodes that are not among `others`.
fn without(nodes: &[Node], others: &[Node]) -> Vec<Node> {
    nodes.iter().filter(|node| !others.iter().any(|other| is_same(node, other))).cloned().collect()
}

/// Returns true if two nodes are the same for a reload: under the same name and destination.
pub(crate) fn is_same(node: &Node, other: &Node) -> bool {
    node == other && node.name() == other.name()
}

impl fmt::Display for ConfigDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing changed");
        }
        let names = |nodes: &[Node]| nodes.iter().map(|node| Shown::from(node.name()).to_string()).collect::<Vec<_>>();
        let keys = self.keys.iter().map(|key| (*key).to_owned()).collect();
        let parts = [("added", names(&self.added)), ("removed", names(&self.removed)), ("changed", keys)];
        let parts = parts.into_iter().filter(|(_, what)| !what.is_empty());
        let parts: Vec<String> = parts.map(|(how, what)| format!("{how} {}", what.join(" "))).collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::patterns::excludes::Excludes;
    use crate::patterns::settle::Settle;
    use crate::site::extra::Extra;
    use crate::site::options::{NodeOptions, NodeProgram};
    use crate::site::{DeleteMode, DirMoves, Priority};

    const OLDEST: Version = Version::OLDEST;

    fn node(name: &str, rpath: &str) -> Node {
        Node::parse(name, rpath).unwrap()
    }

    fn site() -> Site {
        Site {
            wpath: PathBuf::from("/source"),
            excludes: Excludes::default(),
            nodes: vec![node("a:", "/m"), node("b:", "/m")],
            options: BTreeMap::new(),
            rsync: PathBuf::from("/usr/bin/rsync"),
            confine: true,
            extra: Extra::default(),
            rspeed: 0.into(),
            logfile: None,
            initial_sync: InitialSync::Full,
            dir_moves: DirMoves::Log,
            delete: DeleteMode::Always,
            standby: true,
            max_standbys: 4,
            ssh_master: true,
            bulk_size: 8,
            priority: Priority::Low,
            state_file: None,
            staging: None,
            stop_timeout: Duration::from_secs(30),
            resync_every: None,
            settle: Settle::default(),
            await_names: true,
            heartbeat: None,
            watch_poll: Duration::from_secs(60),
            allow_empty: false,
            marker: None,
            max_delete: None,
            reconcile_jobs: None,
            node_threads: None,
            verify_every: None,
            on_synced: None,
            on_all_synced: None,
            hook_timeout: Duration::from_secs(60),
        }
    }

    fn difference(change: impl FnOnce(&mut Site)) -> ConfigDiff {
        let mut new = site();
        change(&mut new);
        let config = |site| ConfigSnapshot { site: Arc::new(site), version: OLDEST };
        ConfigDiff::between(&config(site()), &config(new))
    }

    /// A key, its change, and what that takes.
    type Row = (&'static str, fn(&mut Site), Takes);

    #[test]
    fn each_key_takes_what_depends_on_it_and_no_more() {
        let rows: &[Row] = &[
            ("rexcludes", |site| site.excludes = Excludes::new(vec!["x".into()]).unwrap(), Takes::Patterns),
            ("extra", |site| site.extra = Extra::parse("-a").unwrap(), Takes::Reconcile),
            ("initial_sync", |site| site.initial_sync = InitialSync::Update, Takes::Reconcile),
            ("initial_sync", |site| site.initial_sync = InitialSync::Off, Takes::Transports),
            ("rspeed", |site| site.rspeed = 1.into(), Takes::Transports),
            ("rsync", |site| site.rsync = PathBuf::from("/bin/rsync"), Takes::Transports),
            ("confine", |site| site.confine = false, Takes::Transports),
            ("logfile", |site| site.logfile = Some(PathBuf::from("/log")), Takes::Transports),
            ("standby", |site| site.standby = false, Takes::Transports),
            ("max_standbys", |site| site.max_standbys = 5, Takes::Transports),
            ("ssh_master", |site| site.ssh_master = false, Takes::Transports),
            ("bulk_size", |site| site.bulk_size = 9, Takes::Transports),
            ("priority", |site| site.priority = Priority::Normal, Takes::Transports),
            ("max_delete", |site| site.max_delete = Some(1), Takes::Transports),
            ("reconcile_jobs", |site| site.reconcile_jobs = Some(4), Takes::Transports),
            ("node_threads", |site| site.node_threads = Some(0), Takes::Transports),
            ("stop_timeout", |site| site.stop_timeout = Duration::ZERO, Takes::Nothing),
            ("resync_every", |site| site.resync_every = Some(Duration::from_secs(60)), Takes::Nothing),
            ("verify_every", |site| site.verify_every = Some(Duration::from_secs(60)), Takes::Nothing),
        ];
        for (key, change, takes) in rows {
            let found = difference(change);
            assert_eq!(found.keys, [*key]);
            let everywhere = site().nodes.iter().all(|node| found.takes_at(node) == *takes);
            assert!(everywhere && found.added.is_empty() && found.removed.is_empty(), "{key}: {found:?}");
        }
    }

    #[test]
    fn other_patterns_take_a_reconcile_even_where_none_is_made_at_the_start() {
        let found = difference(|site| {
            site.initial_sync = InitialSync::Off;
            site.excludes = Excludes::new(vec!["x".into()]).unwrap();
        });
        assert!(found.takes >= Takes::Reconcile);
    }

    #[test]
    fn another_source_or_state_or_way_of_moves_is_another_start() {
        let found = difference(|site| site.wpath = PathBuf::from("/other"));
        assert!(found.takes == Takes::Restart && found.keys == ["wpath"]);
        let found = difference(|site| site.state_file = Some(PathBuf::from("/state/file")));
        assert!(found.takes == Takes::Restart && found.keys == ["state_dir"]);
        let found = difference(|site| site.staging = Some(PathBuf::from("/state/dir")));
        assert!(found.takes == Takes::Restart && found.keys == ["staging"]);
        let found = difference(|site| site.dir_moves = DirMoves::Replicate);
        assert!(found.takes == Takes::Restart && found.keys == ["dir_moves"]);
    }

    #[test]
    fn an_upgrade_of_rsync_is_another_way() {
        let config = |version| ConfigSnapshot { site: Arc::new(site()), version };
        let found = ConfigDiff::between(&config(OLDEST), &config(Version::MAKES_PATHS));
        assert!(found.takes_at(&site().nodes[1]) == Takes::Transports && found.keys == ["rsync"]);
    }

    #[test]
    fn the_settings_of_one_node_take_nothing_at_the_others() {
        type Row = (&'static str, fn(&mut NodeOptions), Takes);
        let rows: &[Row] = &[
            ("extra", |own| own.extra = Some(Extra::parse("-a").unwrap()), Takes::Reconcile),
            ("delete", |own| own.delete = Some(DeleteMode::Never), Takes::Reconcile),
            ("rspeed", |own| own.rspeed = Some(7.into()), Takes::Transports),
            ("rsync", |own| own.rsync = Some(program("/opt/rsync", OLDEST)), Takes::Transports),
            ("rsync", |own| own.rsync = Some(program("/usr/bin/rsync", Version::MAKES_PATHS)), Takes::Transports),
        ];
        for (key, change, takes) in rows {
            let found = difference(|site| change(site.options.entry("b:".into()).or_default()));
            let nodes = site().nodes;
            assert_eq!(found.keys, [*key]);
            assert_eq!((found.takes_at(&nodes[0]), found.takes_at(&nodes[1])), (Takes::Nothing, *takes), "{key}");
        }
        // A change of the site takes nothing where a node has its own value, nor does one that says the same.
        let with_own = |site: &mut Site| {
            let own = NodeOptions { rspeed: Some(3.into()), ..NodeOptions::default() };
            site.options.insert("a:".into(), own);
        };
        let config = |change: &dyn Fn(&mut Site)| {
            let mut site = site();
            with_own(&mut site);
            change(&mut site);
            ConfigSnapshot { site: Arc::new(site), version: OLDEST }
        };
        let found = ConfigDiff::between(&config(&|_| ()), &config(&|site| site.rspeed = 9.into()));
        let nodes = site().nodes;
        assert_eq!((found.takes_at(&nodes[0]), found.takes_at(&nodes[1])), (Takes::Nothing, Takes::Transports));
        let same = NodeOptions { rspeed: Some(0.into()), ..NodeOptions::default() };
        assert!(difference(|site| drop(site.options.insert("a:".into(), same))).is_empty());
    }

    fn program(path: &str, version: Version) -> NodeProgram {
        NodeProgram { path: path.into(), version: Some(version), confine: true }
    }

    #[test]
    fn another_way_of_moves_at_one_node_is_another_start() {
        let own = NodeOptions { dir_moves: Some(DirMoves::Replicate), ..NodeOptions::default() };
        let found = difference(|site| drop(site.options.insert("a:".into(), own)));
        assert!(found.takes == Takes::Restart && found.keys == ["dir_moves"]);
    }

    #[test]
    fn nodes_come_and_go_by_name_and_destination() {
        type Change = fn(&mut Site);
        let names = |nodes: &[Node]| nodes.iter().map(|node| node.name().to_owned()).collect::<Vec<_>>();
        let rows: &[(Change, &[&str], &[&str])] = &[
            (|site| site.nodes.reverse(), &[], &[]),
            (|site| site.nodes.push(node("c:", "/m")), &["c:"], &[]),
            (|site| drop(site.nodes.remove(0)), &[], &["a:"]),
            (|site| site.nodes = vec![node("b:", "/m"), node("c:", "/m")], &["c:"], &["a:"]),
            (|site| site.nodes = vec![node("a:", "/n"), node("b:", "/m")], &["a:"], &["a:"]),
            (|site| site.nodes = vec![node("a:/m", "/"), node("b:", "/m")], &["a:/m"], &["a:"]),
        ];
        for (change, added, removed) in rows {
            let found = difference(change);
            assert_eq!((names(&found.added), names(&found.removed)), (added.map_strings(), removed.map_strings()));
            assert!(found.takes == Takes::Nothing && found.keys.is_empty());
        }
    }

    trait MapStrings {
        fn map_strings(&self) -> Vec<String>;
    }

    impl MapStrings for &[&str] {
        fn map_strings(&self) -> Vec<String> {
            self.iter().map(|&text| text.to_owned()).collect()
        }
    }

    #[test]
    fn what_others_go_by_already_is_told_once() {
        assert_eq!(difference(|_| ()).beside(&["listen", "log", "listen"]).to_string(), "changed listen log");
    }

    #[test]
    fn it_is_told_in_one_line() {
        type Change = fn(&mut Site);
        let rows: &[(Change, &str)] = &[
            (|_| (), "nothing changed"),
            (|site| site.nodes.push(node("c:", "/m")), "added c:"),
            (
                |site| {
                    site.nodes = vec![node("b:", "/m"), node("c:", "/m"), node("d:", "/m")];
                    (site.rspeed, site.extra) = (7.into(), Extra::parse("-a").unwrap());
                },
                "added c: d:, removed a:, changed extra rspeed",
            ),
        ];
        for (change, expected) in rows {
            assert_eq!(difference(change).to_string(), *expected);
        }
    }
}
