//! `--check`: looks at everything that a start would need, and says what would be done. Changes nothing anywhere.

use std::io::Write;
use std::rc::Rc;

use inosync_actors::rsync::children::Children;
use inosync_actors::rsync::node::Node;
use inosync_actors::rsync::recipe::Recipe;
use inosync_actors::rsync::version::Version;
use inosync_actors::rsync::{Examination, Rsync, Shared};
use inosync_actors::site::{InitialSync, Site};
use inosync_actors::watcher::{count_directories, raise_watch_limit, watch_limit};

use crate::config::fault_of;
use crate::exit::Exit;
use crate::once::sound_root;

/// Prints a report on standard output. [`Exit::Environment`] when something would keep the daemon from its work.
pub async fn check(site: &Site, version: Version) -> Exit {
    say(&format!("rsync: {} {version}", site.rsync.display()));
    let root = match sound_root(site) {
        Ok(root) => root,
        Err(why) => {
            say(&format!("source: {}: {why}", site.wpath.display()));
            return Exit::Environment;
        }
    };
    let mut sound = check_source(site);
    for (key, hook) in [("on_synced", &site.on_synced), ("on_all_synced", &site.on_all_synced)] {
        let Some(hook) = hook else { continue };
        let fault = fault_of(&hook.program);
        let what = fault.as_deref().unwrap_or("can be run");
        say(&format!("{key}: {} {what}", hook.program.display()));
        sound &= fault.is_none();
    }
    match &site.state_file {
        Some(file) => say(&format!("state: {}", file.display())),
        None => say("state: none is kept; each start compares everything"),
    }
    let shared = Rc::new(site.clone());
    for node in &site.nodes {
        sound &= check_node(
            &Rsync::new(shared.clone(), root.clone(), node.clone(), version, Shared::once(Children::default())),
            node,
            site.initial_sync,
        )
        .await;
    }
    say(if sound { "all is well" } else { "not ready: see above" });
    if sound { Exit::Done } else { Exit::Environment }
}

fn check_source(site: &Site) -> bool {
    let wpath = site.wpath.display();
    let directories = count_directories(&site.wpath, &site.excludes);
    match watch_limit() {
        Some(limit) if directories > limit => {
            say(&format!(
                "source: {wpath}: {directories} directories to watch, but fs.inotify.max_user_watches is {limit}\n  \
                 raise it: {}",
                raise_watch_limit(directories)
            ));
            false
        }
        Some(limit) => {
            say(&format!(
                "source: {wpath}: {directories} directories to watch; fs.inotify.max_user_watches is {limit}"
            ));
            true
        }
        None => {
            say(&format!("source: {wpath}: {directories} directories to watch; this kernel tells no limit"));
            true
        }
    }
}

async fn check_node(rsync: &Rc<Rsync>, node: &Node, initial_sync: InitialSync) -> bool {
    let examined = rsync.examine().await;
    match &examined {
        Ok(Examination { version, protocol, deletions29 }) => {
            let version = version.map_or("rsync".into(), |version| format!("rsync {version}"));
            let protocol = protocol.map_or(String::new(), |number| format!(", protocol {number}"));
            let deletions =
                if *deletions29 { ", deletions in protocol 29 (its rsync rejects them otherwise)" } else { "" };
            say(&format!("node {}: reachable: {version}{protocol}{deletions}", node.name()));
        }
        Err(why) => say(&format!("node {}: {why}", node.name())),
    }
    match initial_sync {
        InitialSync::Off => say("  at start:  nothing (initial_sync: Off)"),
        InitialSync::Full | InitialSync::Update => say(&format!("  at start:  {}", rsync.shown(Recipe::Full))),
    }
    say(&format!("  a change:  {}", rsync.shown(Recipe::Present)));
    examined.is_ok()
}

fn say(line: &str) {
    // A reader that went away is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{line}");
}
