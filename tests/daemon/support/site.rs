//! One source tree, the nodes that mirror it, and the daemon between them.

mod expect;
mod running;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::daemon::Daemon;
use super::disk::{Disk, Kind};
use super::server::{self, Server};
use super::tree::{self, Keeps};

/// A kind of node; a site has at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A directory of this machine.
    Local,
    /// Through a real sshd.
    Ssh,
    /// A module of a real rsync daemon.
    Rsyncd,
    /// A node that is down, always.
    Dead,
}

use Node::{Dead, Local, Rsyncd, Ssh};

/// A site of its own for one test: nothing of it is left behind.
pub struct Site {
    // Fields are dropped in this order: the daemon first, the files last.
    daemon: Option<Daemon>,
    sshd: Option<Server>,
    rsyncd: Option<Server>,
    nodes: Vec<Node>,
    /// Further nodes, as `rnodes` has them: nothing is expected to arrive there.
    failing: Vec<String>,
    /// Nodes with settings of their own, with their names.
    own: Vec<(Node, String, String)>,
    /// The source, beside the mirrors or what another site mirrors to.
    source: PathBuf,
    dead_port: u16,
    /// The ports at which the sshd and the rsync daemon are reached, if they are not their own.
    ssh_proxy: Option<u16>,
    rsyncd_proxy: Option<u16>,
    /// Lines of the configuration beside the paths and the nodes.
    keys: Vec<String>,
    skip: tree::Skip,
    /// The program, with its arguments, that becomes the daemon; empty if it is started directly.
    launcher: Vec<String>,
    /// The mirror, as `rpath` says it; ssh and the rsync daemon have it below a directory of theirs.
    rpath: PathBuf,
    /// The file systems that the source and mirrors are on, if that is not the machine's.
    disks: Vec<Disk>,
    dir: TempDir,
}

// === set-up ===

/// Sets the threads that serve the nodes, in all tests.
const THREADS: &str = "INOSYNC_TEST_NODE_THREADS";

impl Site {
    /// One local node, one behind sshd, one behind an rsync daemon; in the source a file `seed`. Nothing runs yet
    /// but the servers.
    pub fn new() -> Self {
        Site::on(&[Local, Ssh, Rsyncd])
    }

    /// As [`Site::new`], with these nodes.
    pub fn on(nodes: &[Node]) -> Self {
        let mut site = Site::with_servers_down(nodes);
        site.start_servers();
        site
    }

    /// A site whose source is what `first` mirrors to this node, as at a relay.
    pub fn behind(first: &Site, node: Node, nodes: &[Node]) -> Self {
        let mut site = Site::on(nodes);
        fs::remove_dir_all(site.source()).expect("it was just made");
        site.source = first.mirror(node);
        site
    }

    /// As [`Site::on`], but no server runs yet.
    pub fn with_servers_down(nodes: &[Node]) -> Self {
        let dir = tempfile::Builder::new().prefix("inosync-test-").tempdir().expect("the temporary directory works");
        let at = dir.path().canonicalize().expect("it was just made");
        let rpath = at.join("local");
        let mut site = Site {
            daemon: None,
            sshd: nodes.contains(&Ssh).then(|| server::sshd(&at)),
            rsyncd: nodes.contains(&Rsyncd).then(|| server::rsync_daemon(&at, &at.join("rsyncd"))),
            nodes: nodes.to_vec(),
            failing: Vec::new(),
            own: Vec::new(),
            source: at.join("source"),
            dead_port: server::free_port(),
            ssh_proxy: None,
            rsyncd_proxy: None,
            keys: Vec::new(),
            skip: |_| false,
            launcher: Vec::new(),
            rpath,
            disks: Vec::new(),
            dir,
        };
        site.mirror_at("");
        site.forget_config();
        if let Some(config) = site.point_ssh() {
            server::ssh_client(&site.base().join("bin"), &config);
        }
        fs::create_dir(site.source()).expect("the directory is new");
        site.write("seed", "seed");
        site
    }

    /// Starts the servers, and tells ssh where to find its own.
    pub fn start_servers(&mut self) {
        [&mut self.sshd, &mut self.rsyncd].into_iter().flatten().for_each(Server::start);
        self.point_ssh();
    }

    /// Stops the servers with all their connections.
    pub fn stop_servers(&mut self) {
        for server in [&mut self.sshd, &mut self.rsyncd].into_iter().flatten() {
            server.stop();
        }
    }

    /// Stops the server of this node with all its connections. Whether it ran.
    pub fn stop_server(&mut self, node: Node) -> bool {
        self.server(node).as_mut().is_some_and(Server::stop)
    }

    /// Starts the server of this node, unless it runs.
    pub fn start_server(&mut self, node: Node) {
        if let Some(server) = self.server(node).as_mut().filter(|server| !server.runs()) {
            server.start();
            self.point_ssh();
        }
    }

    fn server(&mut self, node: Node) -> &mut Option<Server> {
        match node {
            Ssh => &mut self.sshd,
            Rsyncd => &mut self.rsyncd,
            Local | Dead => panic!("{node} has no server"),
        }
    }

    /// Tells the ssh of the daemon under test where our sshd is. What it was told.
    fn point_ssh(&self) -> Option<PathBuf> {
        let sshd = self.sshd.as_ref()?;
        Some(server::ssh_config(self.base(), self.ssh_proxy.unwrap_or(sshd.port)))
    }

    /// The rsync parameter that reaches our sshd without help of the PATH.
    pub fn rsh(&self) -> String {
        format!("--rsh='ssh -F {}'", self.base().join("ssh_config").display())
    }

    /// Adds a line to the configuration, such as `rspeed: 100`, in place of the one for the same key.
    pub fn config(&mut self, line: &str) {
        let key = line.split(':').next().unwrap_or(line);
        self.keys.retain(|kept| !kept.starts_with(&format!("{key}:")));
        self.keys.push(line.to_owned());
    }

    /// Takes back what [`Site::config`] added.
    pub fn forget_config(&mut self) {
        self.keys.clear();
        if let Ok(threads) = std::env::var(THREADS) {
            self.config(&format!("node_threads: {threads}"));
        }
    }

    /// Lets the configuration name these nodes, of those that the site was made with.
    pub fn serve(&mut self, nodes: &[Node]) {
        self.nodes = nodes.to_vec();
    }

    /// Lets the configuration name this node too, at which nothing is expected to arrive.
    pub fn also_serve(&mut self, node: &str) {
        self.failing.push(node.to_owned());
    }

    /// Gives a node a name and settings of its own, such as `rspeed: 100`.
    pub fn own(&mut self, node: Node, name: &str, settings: &str) {
        self.own.retain(|(other, ..)| *other != node);
        self.own.push((node, name.to_owned(), settings.to_owned()));
    }

    fn entry(&self, node: Node) -> String {
        let place = self.name(node);
        match self.own.iter().find(|(other, ..)| *other == node) {
            Some((_, name, settings)) => format!("(node: {place:?}, name: {name:?}, {settings})"),
            None => format!("{place:?}"),
        }
    }

    /// A node's name in the log and the status.
    pub fn shown(&self, node: Node) -> String {
        match self.own.iter().find(|(other, ..)| *other == node) {
            Some((_, name, _)) => name.clone(),
            None if node == Local => "local".to_owned(),
            None => self.name(node),
        }
    }

    /// Lets the configuration name another source, with a file `seed` in it.
    pub fn serve_from(&mut self, source: &str) {
        self.source = self.base().join(source);
        fs::create_dir(self.source()).expect("the directory is new");
        self.write("seed", "seed");
    }

    /// Puts the mirror so many directories deeper on each node. They do not exist; what they are below does.
    pub fn mirror_at(&mut self, deeper: &str) {
        for node in [Ssh, Rsyncd] {
            let parent = self.mirror(node).parent().expect("a mirror is below the site").to_owned();
            fs::create_dir_all(parent).expect("the directory of the site is writable");
        }
        if !deeper.is_empty() {
            self.rpath = self.rpath.join(deeper);
        }
    }

    /// Puts a file system of this kind where the mirror of this node is. It can be had here; if not, that is said.
    #[must_use]
    pub fn mirror_on(&mut self, node: Node, kind: Kind) -> bool {
        let disk = Disk::mount(kind, &self.mirror(node));
        self.disks.extend(disk);
        self.disk(&self.mirror(node)).is_some()
    }

    /// As [`Site::mirror_on`], of a directory in the source, which is to be empty.
    #[must_use]
    pub fn mount_in_source(&mut self, kind: Kind, at: &str) -> bool {
        let disk = Disk::mount(kind, &self.at(at));
        let is_there = disk.is_some();
        self.disks.extend(disk);
        is_there
    }

    /// As [`Site::mirror_on`], of the source, which is new.
    #[must_use]
    pub fn source_on(&mut self, kind: Kind) -> bool {
        if kind != Kind::Overlay {
            // A FUSE mount wants an empty directory.
            fs::remove_file(self.at("seed")).expect("it was just made");
        }
        let disk = Disk::mount(kind, &self.source());
        self.disks.extend(disk);
        self.write("seed", "seed");
        self.disk(&self.source()).is_some()
    }

    /// Adds lines to the module of the rsync daemon, which reads them at its next connection.
    pub fn module_option(&self, lines: &str) {
        let conf = self.base().join("rsyncd.conf");
        let text = fs::read_to_string(&conf).expect("the site has an rsync daemon");
        fs::write(&conf, format!("{text}{lines}\n")).expect("the directory of the site is writable");
    }

    /// Leaves these paths out of every later comparison.
    pub fn compare_without(&mut self, skip: tree::Skip) {
        self.skip = skip;
    }

    /// The configuration as the daemon reads it.
    pub fn config_file(&self) -> PathBuf {
        let path = self.base().join("site.ron");
        let mut nodes: Vec<String> = self.nodes.iter().map(|&node| self.entry(node)).collect();
        nodes.extend(self.failing.iter().map(|node| format!("{node:?}")));
        let nodes = nodes.join(", ");
        let keys: String = self.keys.iter().map(|key| format!("    {key},\n")).collect();
        let (wpath, rpath) = (self.source(), &self.rpath);
        let text = format!("(\n    wpath: {wpath:?},\n    rpath: {rpath:?},\n    rnodes: [{nodes}],\n{keys})\n");
        // In one step: a daemon that starts or reloads may be reading it.
        let made = self.base().join("site.ron.new");
        fs::write(&made, text).and_then(|()| fs::rename(made, &path)).expect("the directory of the site is writable");
        path
    }
}

// === where things are ===

impl Site {
    fn base(&self) -> &Path {
        self.dir.path()
    }

    /// A file or directory of this name beside the source and the mirrors.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.base().join(name)
    }

    pub fn source(&self) -> PathBuf {
        self.source.clone()
    }

    /// A path in the source.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.source().join(path)
    }

    /// The root of the mirror on this node.
    pub fn mirror(&self, node: Node) -> PathBuf {
        let below = |parent: &str| self.base().join(parent).join(self.rpath.strip_prefix("/").unwrap_or(&self.rpath));
        match node {
            Local | Dead => self.rpath.clone(),
            Ssh => below("ssh"),
            Rsyncd => below("rsyncd"),
        }
    }

    /// The file system that a path is on, if it was made for that.
    pub fn disk(&self, path: &Path) -> Option<&Disk> {
        self.disks.iter().find(|disk| path.starts_with(&disk.at))
    }

    /// What the file system of a node can keep.
    pub fn keeps(&self, node: Node) -> Keeps {
        self.disk(&self.mirror(node)).map_or(Keeps::ALL, |disk| disk.kind.keeps())
    }

    /// The node as `rnodes` has it.
    pub fn name(&self, node: Node) -> String {
        match node {
            Local => String::new(),
            Ssh => format!("mirror:{}", self.base().join("ssh").display()),
            Rsyncd => {
                let port = self.rsyncd_proxy.unwrap_or_else(|| self.rsyncd_port());
                format!("rsync://127.0.0.1:{port}/m")
            }
            Dead => format!("rsync://127.0.0.1:{}/m", self.dead_port),
        }
    }

    /// The port of the rsync daemon itself.
    pub fn rsyncd_port(&self) -> u16 {
        self.server_port(Rsyncd)
    }

    /// The port of the server of this node itself.
    pub fn server_port(&self, node: Node) -> u16 {
        let server = if node == Ssh { &self.sshd } else { &self.rsyncd };
        server.as_ref().map_or(0, |server| server.port)
    }

    /// Lets the server of this node be reached by another port, which leads to it.
    pub fn pass_by(&mut self, node: Node, port: u16) {
        match node {
            Ssh => {
                self.ssh_proxy = Some(port);
                self.point_ssh();
            }
            _ => self.rsyncd_proxy = Some(port),
        }
    }

    /// The processes that serve the connections to this node, if it is behind a server.
    pub fn sessions(&self, node: Node) -> Vec<u32> {
        let server = match node {
            Ssh => &self.sshd,
            Rsyncd => &self.rsyncd,
            Local | Dead => &None,
        };
        server.as_ref().map_or_else(Vec::new, Server::sessions)
    }

    /// The nodes that are not down on purpose.
    pub fn live(&self) -> impl Iterator<Item = Node> + '_ {
        self.nodes.iter().copied().filter(|&node| node != Dead)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Local => "the local node",
            Ssh => "the ssh node",
            Rsyncd => "the rsync daemon's node",
            Dead => "the node that is down",
        })
    }
}
