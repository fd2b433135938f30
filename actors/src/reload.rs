//! The comparison of two readings of the configuration: what a reload changes. Pure; the supervisor carries it out.

use std::fmt;
use std::rc::Rc;

use crate::node::Node;
use crate::path::Shown;
use crate::site::version::Version;
use crate::site::{InitialSync, Site};

/// One reading of the configuration.
#[derive(Debug, Clone)]
pub struct ConfigSnapshot {
    /// The site that it describes.
    pub site: Rc<Site>,
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
    /// The most that it takes.
    pub takes: Takes,
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

/// Compares two sites key by key. Each row has the key's name, its field, and the measure that a change of it takes. A new
/// field of [`Site`] does not compile before it has a row.
macro_rules! keys_with_measures {
    ($old:expr, $new:expr; $($key:literal $field:ident: $takes:expr,)*) => {{
        let Site { nodes: _, $($field),* } = &**$old;
        [$(($key, *$field == $new.$field, $takes)),*]
    }};
}

impl ConfigDiff {
    /// Compares a reading with the one before.
    pub(crate) fn between(old: &ConfigSnapshot, new: &ConfigSnapshot) -> ConfigDiff {
        let compares = if new.site.initial_sync == InitialSync::Off { Takes::Transports } else { Takes::Reconcile };
        let keys = keys_with_measures! { &old.site, &new.site;
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
            "extra" extra: compares,
            "initial_sync" initial_sync: compares,
            "rspeed" rspeed: Takes::Transports,
            "rsync" rsync: Takes::Transports,
            "confine" confine: Takes::Transports,
            "logfile" logfile: Takes::Transports,
            "standby" standby: Takes::Transports,
            "max_standbys" max_standbys: Takes::Transports,
            "ssh_master" ssh_master: Takes::Transports,
            "bulk_size" bulk_size: Takes::Transports,
            "max_delete" max_delete: Takes::Transports,
            "stop_timeout" stop_timeout: Takes::Nothing,
            "resync_every" resync_every: Takes::Nothing,
            "verify_every" verify_every: Takes::Nothing,
            "on_synced" on_synced: Takes::Nothing,
            "on_all_synced" on_all_synced: Takes::Nothing,
            "hook_timeout" hook_timeout: Takes::Nothing,
        };
        // Another rsync may be installed at the same path.
        let is_new = |key, same: bool| !same || key == "rsync" && old.version != new.version;
        let changed = || keys.iter().filter(|(key, same, _)| is_new(*key, *same));
        ConfigDiff {
            added: without(&new.site.nodes, &old.site.nodes),
            removed: without(&old.site.nodes, &new.site.nodes),
            keys: changed().map(|(key, ..)| *key).collect(),
            takes: changed().map(|(.., takes)| *takes).max().unwrap_or_default(),
        }
    }

    /// With keys that changed as well, each once.
    pub(crate) fn beside(mut self, keys: &[&'static str]) -> Self {
        for key in keys {
            if !self.keys.contains(key) {
                self.keys.push(key);
            }
        }
        self
    }

    /// Returns true if nothing is different.
    pub(crate) fn is_empty(&self) -> bool {
        *self == ConfigDiff::default()
    }
}

/// The nodes that are not among `others`. A node is the same under the same name and destination.
fn without(nodes: &[Node], others: &[Node]) -> Vec<Node> {
    let is_other = |node: &&Node| !others.iter().any(|other| *node == other && node.name() == other.name());
    nodes.iter().filter(is_other).cloned().collect()
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
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::patterns::excludes::Excludes;
    use crate::patterns::settle::Settle;
    use crate::site::DirMoves;
    use crate::site::extra::Extra;

    const OLDEST: Version = Version::OLDEST;

    fn node(name: &str, rpath: &str) -> Node {
        Node::parse(name, rpath).unwrap()
    }

    fn site() -> Site {
        Site {
            wpath: PathBuf::from("/source"),
            excludes: Excludes::default(),
            nodes: vec![node("a:", "/m"), node("b:", "/m")],
            rsync: PathBuf::from("/usr/bin/rsync"),
            confine: true,
            extra: Extra::default(),
            rspeed: 0,
            logfile: None,
            initial_sync: InitialSync::Full,
            dir_moves: DirMoves::Log,
            standby: true,
            max_standbys: 4,
            ssh_master: true,
            bulk_size: 8,
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
            verify_every: None,
            on_synced: None,
            on_all_synced: None,
            hook_timeout: Duration::from_secs(60),
        }
    }

    fn difference(change: impl FnOnce(&mut Site)) -> ConfigDiff {
        let mut new = site();
        change(&mut new);
        let config = |site| ConfigSnapshot { site: Rc::new(site), version: OLDEST };
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
            ("rspeed", |site| site.rspeed = 1, Takes::Transports),
            ("rsync", |site| site.rsync = PathBuf::from("/bin/rsync"), Takes::Transports),
            ("confine", |site| site.confine = false, Takes::Transports),
            ("logfile", |site| site.logfile = Some(PathBuf::from("/log")), Takes::Transports),
            ("standby", |site| site.standby = false, Takes::Transports),
            ("max_standbys", |site| site.max_standbys = 5, Takes::Transports),
            ("ssh_master", |site| site.ssh_master = false, Takes::Transports),
            ("bulk_size", |site| site.bulk_size = 9, Takes::Transports),
            ("max_delete", |site| site.max_delete = Some(1), Takes::Transports),
            ("stop_timeout", |site| site.stop_timeout = Duration::ZERO, Takes::Nothing),
            ("resync_every", |site| site.resync_every = Some(Duration::from_secs(60)), Takes::Nothing),
            ("verify_every", |site| site.verify_every = Some(Duration::from_secs(60)), Takes::Nothing),
        ];
        for (key, change, takes) in rows {
            let expected = ConfigDiff { keys: vec![key], takes: *takes, ..ConfigDiff::default() };
            assert_eq!(difference(change), expected, "{key}");
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
        let config = |version| ConfigSnapshot { site: Rc::new(site()), version };
        let found = ConfigDiff::between(&config(OLDEST), &config(Version::MAKES_PATHS));
        assert!(found.takes == Takes::Transports && found.keys == ["rsync"]);
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
                    (site.rspeed, site.extra) = (7, Extra::parse("-a").unwrap());
                },
                "added c: d:, removed a:, changed extra rspeed",
            ),
        ];
        for (change, expected) in rows {
            assert_eq!(difference(change).to_string(), *expected);
        }
    }
}
