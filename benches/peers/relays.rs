//! A source, its relays and their leaves: a daemon at the source and at each relay, and a line of its own to each node.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::contestant::{Who, inosync};
use crate::ground::{Arena, Ground, RPATH, SEED, Way};
use crate::line::Line;
use crate::process::Process;
use crate::trouble::{At, Outcome};
use crate::{meter, mirror};

/// How long a change may take to all nodes, also when they are being filled.
const LIMIT: Duration = Duration::from_secs(240);
/// How long the daemons may take until they mirror.
const START: Duration = Duration::from_secs(90);
/// Between two looks at a mirror.
const LOOK: Duration = Duration::from_millis(1);

/// The tree that is built.
pub struct Shape {
    pub relays: usize,
    /// At each relay.
    pub leaves: usize,
    pub way: Way,
    /// Round trips to the relays, and from a relay to its leaves.
    pub round_trips: [Duration; 2],
    /// More of the configuration of the first daemon and of a relay's, each key with a comma behind it.
    pub keys: [&'static str; 2],
}

/// A directory that a daemon mirrors to, and the line to it.
pub struct Node {
    pub mirror: PathBuf,
    pub line: Line,
    name: String,
}

/// A daemon, which may run or not, and its nodes.
pub struct Station {
    pub name: String,
    /// The directory that it watches.
    pub source: PathBuf,
    pub nodes: Vec<Node>,
    keys: &'static str,
    daemon: Option<Process>,
}

/// All of it. The daemons end first, and the files last.
pub struct Relays {
    pub first: Station,
    pub relays: Vec<Station>,
    pub arena: Arena,
}

impl Relays {
    /// Fills the source by `fill`, copies it to all nodes, starts all daemons and waits until they mirror.
    pub fn start(ground: &Ground, shape: &Shape, fill: impl FnOnce(&Path) -> Outcome<()>) -> Outcome<Relays> {
        let arena = ground.arena()?;
        fill(&arena.source())?;
        let node = |name: String, round_trip: Duration| {
            let mirror = arena.path().join(&name).join(&RPATH[1..]);
            copy(&arena.source(), &mirror)?;
            let (line, name) = ground.line_to(&arena, shape.way, &name)?;
            line.set(round_trip);
            Ok(Node { mirror, line, name })
        };
        let [near, far] = shape.round_trips;
        let relays = (0..shape.relays).map(|relay| node(format!("relay{relay}"), near)).collect::<Outcome<Vec<_>>>()?;
        let [first_keys, relay_keys] = shape.keys;
        let mut stations = Vec::new();
        for (at, relay) in relays.iter().enumerate().filter(|_| shape.leaves > 0) {
            let leaves =
                (0..shape.leaves).map(|leaf| node(format!("leaf{at}-{leaf}"), far)).collect::<Outcome<Vec<_>>>()?;
            stations.push(Station::of(format!("station{at}"), relay.mirror.clone(), leaves, relay_keys));
        }
        let first = Station::of("first".into(), arena.source(), relays, first_keys);
        let mut tree = Relays { first, relays: stations, arena };
        tree.first.start(ground, &tree.arena)?;
        tree.relays.iter_mut().try_for_each(|relay| relay.start(ground, &tree.arena))?;
        tree.settle()?;
        Ok(tree)
    }

    /// Waits until all daemons mirror: changes go through to the end.
    fn settle(&self) -> Outcome<()> {
        for _ in 0..2 {
            let start = Instant::now();
            let mut seen = 0;
            // One that is not watching yet does not see a change.
            while seen < self.ends().count() {
                (start.elapsed() < START).then_some(()).at("the daemons do not mirror")?;
                let written = mirror::write(&self.arena.at(SEED), 16)?;
                let has =
                    |node: &Node| mirror::latency(&node.mirror.join(SEED), written, Duration::from_secs(3)).is_ok();
                seen = self.ends().filter(|node| has(node)).count();
            }
        }
        Ok(())
    }

    /// The nodes behind which there is none.
    pub fn ends(&self) -> impl Iterator<Item = &Node> {
        let is_end = self.relays.is_empty();
        self.first.nodes.iter().filter(move |_| is_end).chain(self.leaves())
    }

    pub fn leaves(&self) -> impl Iterator<Item = &Node> {
        self.relays.iter().flat_map(|relay| &relay.nodes)
    }

    /// The bytes so far on the first hop and on the second.
    pub fn bytes(&self) -> [u64; 2] {
        [bytes(self.first.nodes.iter()), bytes(self.leaves())]
    }

    /// The same, once nothing passes any more.
    pub fn rest(&self) -> Outcome<[u64; 2]> {
        meter::rest(|| self.bytes().iter().sum())?;
        Ok(self.bytes())
    }
}

impl Station {
    fn of(name: String, source: PathBuf, nodes: Vec<Node>, keys: &'static str) -> Station {
        Station { name, source, nodes, keys, daemon: None }
    }

    pub fn start(&mut self, ground: &Ground, arena: &Arena) -> Outcome<()> {
        let Station { name, source, nodes, keys, .. } = self;
        let nodes: Vec<&String> = nodes.iter().map(|node| &node.name).collect();
        let text = format!(
            "(wpath: {source:?}, rpath: {RPATH:?}, rnodes: {nodes:?}, dir_moves: Replicate, {keys}stop_timeout: 2)\n"
        );
        let file = |kind: &str| arena.path().join(format!("{name}.{kind}"));
        fs::write(file("ron"), text).at(name.as_str())?;
        let log = File::options().append(true).create(true).open(file("log")).at(name.as_str())?;
        let mut command = Command::new(inosync(Who::Inosync)?);
        command.arg("-c").arg(file("ron")).current_dir("/");
        command.env("PATH", ground.search()).env("STATE_DIRECTORY", file("state"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemon = Some(Process::start(&mut command)?);
        Ok(())
    }

    /// Kills the daemon and all its processes.
    pub fn kill(&mut self) {
        self.daemon.take().into_iter().for_each(Process::kill);
    }

    /// Removes what the daemon keeps for its next start.
    pub fn forget(&self, arena: &Arena) -> Outcome<()> {
        let state = arena.path().join(format!("{}.state", self.name));
        fs::remove_dir_all(&state).at(state.display())
    }

    pub fn id(&self) -> u32 {
        self.daemon.as_ref().map_or(0, Process::id)
    }

    pub fn bytes(&self) -> u64 {
        bytes(self.nodes.iter())
    }
}

fn bytes<'a>(nodes: impl Iterator<Item = &'a Node>) -> u64 {
    nodes.map(|node| node.line.bytes()).sum()
}

/// Waits until each of these mirrors is like that. Returns the milliseconds from `start` to the last one.
pub fn until_all<'a>(
    start: Instant,
    mut nodes: impl Iterator<Item = &'a Node>,
    is_so: impl Fn(&Path) -> bool,
) -> Outcome<f64> {
    nodes.try_fold(0.0, |_, node| {
        while !is_so(&node.mirror) {
            (start.elapsed() < LIMIT).then_some(()).at(format_args!("{} does not follow", node.mirror.display()))?;
            thread::sleep(LOOK);
        }
        Ok(start.elapsed().as_secs_f64() * 1000.0)
    })
}

/// Waits until each of these mirrors equals the source. Returns the seconds from `start` to the last one.
pub fn until_equal<'a>(start: Instant, source: &Path, mut nodes: impl Iterator<Item = &'a Node>) -> Outcome<f64> {
    let last =
        nodes.try_fold(start, |last, node| mirror::identical(source, &node.mirror, LIMIT).map(|at| last.max(at)))?;
    Ok((last - start).as_secs_f64())
}

/// Copies a tree as it is; holes stay holes.
fn copy(source: &Path, mirror: &Path) -> Outcome<()> {
    fs::create_dir_all(mirror).at(mirror.display())?;
    let mut rsync = Command::new("/usr/bin/rsync");
    rsync.args(["-aS", "--modify-window=-1", "--"]).arg(format!("{}/", source.display())).arg(mirror);
    let status = rsync.stdin(Stdio::null()).status().at("rsync")?;
    status.success().then_some(()).at("rsync -aS failed")
}
