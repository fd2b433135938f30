//! The settings of single nodes, where they differ from those of the site.

use std::path::PathBuf;

use crate::node::{Kind, Node};
use crate::site::extra::Extra;
use crate::site::speed_limit::SpeedLimit;
use crate::site::version::Version;
use crate::site::{DeleteMode, DirMoves, InitialSync, Site};

/// The settings of one node; `None` stands for the setting of the site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeOptions {
    /// The user's own rsync parameters, in place of those of the site.
    pub extra: Option<Extra>,
    /// Limit of the data rate.
    pub rspeed: Option<SpeedLimit>,
    /// The rsync program on this machine for the runs to the node.
    pub rsync: Option<NodeProgram>,
    /// Handling of directories that are moved within the tree.
    pub dir_moves: Option<DirMoves>,
    /// The times at which what the source lost is deleted at the node.
    pub delete: Option<DeleteMode>,
}

/// An rsync program that the runs to one node use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeProgram {
    /// Absolute path of the program.
    pub path: PathBuf,
    /// The version of the program; `None` while it was not asked.
    pub version: Option<Version>,
    /// `false` if the program cannot be confined.
    pub confine: bool,
}

/// The treatment of entries that a comparison with the state finds gone: nobody saw their removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GoneEntries {
    /// As removals that were seen.
    Removed,
    /// The directory that had them is compared at each node: some nodes delete by comparisons, and some do not.
    Compared,
    /// They stay at the nodes.
    Kept,
}

impl Site {
    /// Returns the site as it is for one node: the settings of the node are in force.
    pub fn at(&self, node: &Node) -> Site {
        let mut site = self.clone();
        let NodeOptions { extra, rspeed, rsync, dir_moves, delete } =
            self.options.get(node.name()).cloned().unwrap_or_default();
        site.extra = extra.unwrap_or_else(|| self.extra_for(node.kind()));
        site.rspeed = rspeed.unwrap_or(site.rspeed);
        site.dir_moves = dir_moves.unwrap_or(site.dir_moves);
        site.delete = delete.unwrap_or(site.delete);
        if let Some(own) = rsync {
            site.rsync = own.path;
            site.confine &= own.confine;
        }
        site
    }

    /// Returns the version of the rsync program of a node; `None` if the node has none of its own.
    pub(crate) fn own_version(&self, node: &Node) -> Option<Version> {
        self.options.get(node.name())?.rsync.as_ref()?.version
    }

    /// The parameters of the site for a node of this kind.
    fn extra_for(&self, kind: Kind) -> Extra {
        if kind == Kind::Daemon && self.spares_daemons() { self.extra.without_shell() } else { self.extra.clone() }
    }

    /// Returns true if the remote shell of the site's `extra` is for the ssh nodes alone. Where all nodes are rsync daemons,
    /// they are reached through it: nobody else can be meant.
    pub fn spares_daemons(&self) -> bool {
        self.extra.rsh().is_some() && self.nodes.iter().any(|node| node.kind() == Kind::Ssh)
    }

    /// Returns true if comparisons may not delete at the nodes what the source does not have: then only removals that were
    /// seen are mirrored, if any.
    pub(crate) fn keeps_extras(&self) -> bool {
        self.initial_sync != InitialSync::Full || self.delete.keeps_extras()
    }

    /// Returns what a comparison with the state does about an entry that is gone.
    pub(crate) fn gone_entries(&self) -> GoneEntries {
        let kept: Vec<bool> = self.nodes.iter().map(|node| self.at(node).keeps_extras()).collect();
        match (kept.contains(&true), kept.contains(&false)) {
            (false, _) => GoneEntries::Removed,
            (true, true) => GoneEntries::Compared,
            (true, false) => GoneEntries::Kept,
        }
    }

    /// Tells if a node of which nothing is known is compared at the start. A heartbeat may not say more than is known.
    pub(crate) fn compares_unknown(&self) -> bool {
        self.initial_sync != InitialSync::Off || self.heartbeat.is_some()
    }

    /// Returns how the nodes together follow a move of a directory: as those that follow least.
    pub(crate) fn least_dir_moves(&self) -> DirMoves {
        if self.nodes.iter().all(|node| self.follows(node)) { DirMoves::Replicate } else { DirMoves::Log }
    }

    /// Returns how any of the nodes follows a move of a directory.
    pub(crate) fn most_dir_moves(&self) -> DirMoves {
        if self.nodes.iter().any(|node| self.follows(node)) { DirMoves::Replicate } else { DirMoves::Log }
    }

    fn follows(&self, node: &Node) -> bool {
        self.at(node).dir_moves == DirMoves::Replicate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(nodes: &[&str], options: &[(&str, NodeOptions)]) -> Site {
        Site {
            nodes: nodes.iter().map(|node| Node::parse(node, "/m").unwrap()).collect(),
            extra: Extra::parse("-a --rsh='ssh -p 1' -z").unwrap(),
            rspeed: 5.into(),
            rsync: "/usr/bin/rsync".into(),
            confine: true,
            options: options.iter().map(|(name, options)| ((*name).to_owned(), options.clone())).collect(),
            ..Site::default()
        }
    }

    #[test]
    fn what_a_node_does_not_say_is_as_the_site_has_it() {
        let rsync = NodeProgram { path: "/opt/rsync".into(), version: None, confine: false };
        let own = NodeOptions {
            extra: Some(Extra::parse("-c").unwrap()),
            rspeed: Some(0.into()),
            rsync: Some(rsync),
            dir_moves: Some(DirMoves::Replicate),
            delete: Some(DeleteMode::Never),
        };
        let site = site(&["a:", "b:"], &[("b:", own)]);
        let shown = |node: &Node| {
            let at = site.at(node);
            (at.extra.words().join(" "), at.rspeed, at.rsync, at.confine, at.dir_moves)
        };
        let expected = ("-a --rsh=ssh -p 1 -z".to_owned(), 5.into(), "/usr/bin/rsync".into(), true, DirMoves::Log);
        assert_eq!(shown(&site.nodes[0]), expected);
        assert_eq!(shown(&site.nodes[1]), ("-c".to_owned(), 0.into(), "/opt/rsync".into(), false, DirMoves::Replicate));
        assert_eq!((site.least_dir_moves(), site.most_dir_moves()), (DirMoves::Log, DirMoves::Replicate));
        assert_eq!(site.at(&site.nodes[1]).delete, DeleteMode::Never);
    }

    #[test]
    fn what_is_found_gone_is_deleted_as_far_as_comparisons_delete() {
        use DeleteMode::{Always, Never, Running, Startup};
        for (initial_sync, modes, expected) in [
            (InitialSync::Full, [Always, Always], GoneEntries::Removed),
            (InitialSync::Full, [Always, Startup], GoneEntries::Removed),
            (InitialSync::Full, [Always, Running], GoneEntries::Compared),
            (InitialSync::Full, [Never, Startup], GoneEntries::Compared),
            (InitialSync::Full, [Never, Running], GoneEntries::Kept),
            (InitialSync::Update, [Always, Always], GoneEntries::Kept),
        ] {
            let own = |delete| NodeOptions { delete: Some(delete), ..NodeOptions::default() };
            let options = [("a:", own(modes[0])), ("b:", own(modes[1]))];
            let site = Site { initial_sync, ..site(&["a:", "b:"], &options) };
            assert_eq!(site.gone_entries(), expected, "{initial_sync:?} {modes:?}");
        }
    }

    #[test]
    fn a_remote_shell_is_for_ssh_nodes_and_for_the_daemons_that_want_it() {
        let wants = NodeOptions { extra: Some(Extra::parse("-e 'ssh -p 2'").unwrap()), ..NodeOptions::default() };
        for (nodes, options, expected) in [
            (&["a:", "b::m"][..], &[][..], &[Some("ssh -p 1"), None][..]),
            (&["a:", "b::m", "rsync://c/m", ""], &[], &[Some("ssh -p 1"), None, None, Some("ssh -p 1")]),
            (&["a:", "b::m", "c::m"], &[("c::m", wants)], &[Some("ssh -p 1"), None, Some("ssh -p 2")]),
            (&["b::m", "rsync://c/m"], &[], &[Some("ssh -p 1"), Some("ssh -p 1")]),
            (&["b::m", "/local"], &[], &[Some("ssh -p 1"), Some("ssh -p 1")]),
        ] {
            let site = site(nodes, options);
            let found: Vec<Option<String>> =
                site.nodes.iter().map(|node| site.at(node).extra.rsh().map(str::to_owned)).collect();
            assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), expected, "{nodes:?}");
        }
    }
}
