//! Plays a script on a ground of its own, lets it come to rest and compares. What differs then is lost.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::faults::{ALL, Fault};
use crate::generate::Moves;
use crate::ground::Ground;
use crate::kept::{Kept, in_the_way, may_differ};
use crate::operation::Verb;
use crate::script::{self, Step};
use crate::settings::hard_links;
use crate::support::tree::{self, Skip};
use crate::support::wait;

/// The file of a heartbeat, which no source has.
const HEARTBEAT: &[u8] = b".inosync-heartbeat";

/// How a script is played.
#[derive(Debug, Clone)]
pub struct Manner {
    pub faults: Vec<Fault>,
    /// What is done with whole directories. When they are renamed and that is only logged, the trees are equal only after
    /// the next start.
    pub moves: Moves,
    /// Whether that is so for another reason.
    pub only_after_start: bool,
    /// With more than one, the order of operations is another one each time, and a replay only similar.
    pub threads: usize,
    /// How long the trees may take to become equal.
    pub patience: Duration,
}

/// What became of a script.
pub struct Outcome {
    pub counts: [u32; ALL.len()],
    pub took: Duration,
    /// How many paths the tree had in the end.
    pub paths: usize,
    pub lost: Vec<Lost>,
    log: String,
    results: Vec<Option<Result<Duration, io::ErrorKind>>>,
}

/// A path that is not on a node as it is in the source.
#[derive(Debug, Clone)]
pub struct Lost {
    pub path: Vec<u8>,
    /// At which node, when, and what is on both sides.
    pub how: String,
}

/// Plays a script on a ground of its own. Returns when all mirrors are equal, or do not become so in time.
pub fn play(steps: &[Step], manner: &Manner) -> Outcome {
    play_on(Ground::new(&manner.faults, manner.moves), steps, manner)
}

/// Plays a script on this ground.
pub fn play_on(ground: Ground, steps: &[Step], manner: &Manner) -> Outcome {
    let start = Instant::now();
    let ground = Mutex::new(ground);
    let results = Mutex::new(vec![None; steps.len()]);
    let source = ground.lock().unwrap().site.source();
    let next = AtomicUsize::new(0);
    let worker = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(step) = steps.get(at) else { return };
            let result = perform(step, &source, &ground);
            results.lock().unwrap()[at] = Some(result.map(|()| start.elapsed()).map_err(|error| error.kind()));
        }
    };
    let mut kept = {
        let site = &ground.lock().unwrap().site;
        Kept::at(site.live().map(|node| site.mirror(node)))
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| kept.watch(is_of_a_moment, &stop));
        let _stop = SetAtEnd(&stop);
        thread::scope(|scope| (0..manner.threads).for_each(|_| drop(scope.spawn(worker))));
    });
    let mut ground = ground.into_inner().unwrap_or_else(PoisonError::into_inner);
    ground.heal();
    let only_after_start = manner.only_after_start || manner.moves == Moves::Logged;
    let mut check = |ground: &Ground, when: &str, skip: Skip| {
        let mut lost = compare(ground, when, skip, manner.patience);
        let gone = kept.lost(steps, is_of_a_moment).into_iter();
        lost.extend(gone.map(|(mirror, path)| {
            let how = format!("{} lost a name {when}: {}", mirror.display(), path.escape_ascii());
            Lost { path, how }
        }));
        lost
    };
    let mut lost = if only_after_start { Vec::new() } else { check(&ground, "at rest", is_leftover) };
    if lost.is_empty() {
        ground.restart(true);
        lost = check(&ground, "after the next start", is_leftover);
    }
    if lost.is_empty() {
        // Its comparison of the whole tree removes what killed receivers left.
        ground.restart(false);
        lost = check(&ground, "after a start without the state", |_| false);
    }
    let results = results.into_inner().unwrap();
    let paths = tree::read(&source, |_| false).len();
    Outcome { counts: ground.counts, paths, took: start.elapsed(), lost, log: ground.log(), results }
}

/// Is set when this is dropped: a panic of one thread must not leave the other waiting for ever.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn perform(step: &Step, source: &Path, ground: &Mutex<Ground>) -> io::Result<()> {
    match step {
        Step::Do(operation) => operation.perform(source),
        Step::Begin(fault, number) => {
            ground.lock().unwrap().begin(*fault, *number);
            Ok(())
        }
        Step::End(fault) => {
            ground.lock().unwrap().end(*fault);
            Ok(())
        }
    }
}

/// A file that rsync was writing when it was killed: `.NAME.XXXXXX`. No operation makes such a name.
fn is_leftover(path: &[u8]) -> bool {
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let Some((head, tail)) = name.split_last_chunk::<7>() else { return false };
    head.starts_with(b".") && tail[0] == b'.' && tail[1..].iter().all(u8::is_ascii_alphanumeric)
}

/// A name that rsync gives a file, or a symlink, until it is in place: `.NAME.XXXXXX`, `.NAME.12345`.
fn is_of_a_moment(path: &[u8]) -> bool {
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let number = name.rsplit(|&b| b == b'.').next().unwrap_or_default();
    let is_numbered = name.starts_with(b".") && number.len() > 3 && number.iter().all(u8::is_ascii_digit);
    is_numbered || is_leftover(path)
}

/// Waits until every mirror is equal; else what differs.
fn compare(ground: &Ground, when: &str, skip: Skip, patience: Duration) -> Vec<Lost> {
    let (source, deadline) = (ground.site.source(), Instant::now() + patience);
    let mut lost = Vec::new();
    for (name, mirror, keeps) in ground.mirrors() {
        let differing = || {
            let mut found = tree::differing(&source, &mirror, skip, &keeps);
            found.retain(|(path, _)| path != HEARTBEAT && !may_differ(&source, &mirror, path));
            if hard_links() {
                found.extend(tree::linked_otherwise(&source, &mirror, skip));
            }
            found
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if wait::until_within(left, || differing().is_empty().then_some(())).is_none() {
            let on = |how, path: &[u8]| format!("{name} {when}: {how}{}", in_the_way(&source, &mirror, path));
            lost.extend(differing().into_iter().map(|(path, how)| Lost { how: on(how, &path), path }));
        }
    }
    lost
}

impl Outcome {
    pub fn is_good(&self) -> bool {
        self.lost.is_empty()
    }

    /// How many operations found what they needed.
    pub fn done(&self, steps: &[Step]) -> usize {
        let is_operation = |step: &Step| matches!(step, Step::Do(operation) if operation.verb != Verb::Pause);
        let done =
            |(step, result): &(&Step, &Option<Result<_, _>>)| is_operation(step) && matches!(result, Some(Ok(_)));
        steps.iter().zip(&self.results).filter(done).count()
    }

    /// All that helps to see why something was lost. `repeat` says how to play it again.
    pub fn report(&self, steps: &[Step], repeat: &str) -> String {
        let mut text = format!("{} paths differ\n", self.lost.len());
        for lost in self.lost.iter().take(20) {
            let _ = writeln!(text, "\n{}", lost.how);
            self.history(steps, &lost.path, &mut text);
        }
        let lines: Vec<&str> = self.log.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        let _ = write!(text, "\n--- end of the log\n{tail}\n--- to repeat\n{repeat}");
        text
    }

    /// The last steps that had to do with a path, and the faults among them.
    fn history(&self, steps: &[Step], path: &[u8], text: &mut String) {
        let concerns = |step: &Step| match step {
            Step::Do(operation) => operation.concerns(path),
            Step::Begin(fault, _) => !fault.is_a_moment(),
            Step::End(_) => true,
        };
        let told: Vec<(usize, &Step)> = steps.iter().enumerate().filter(|(_, step)| concerns(step)).collect();
        for (at, step) in &told[told.len().saturating_sub(25)..] {
            let result = match self.results.get(*at).copied().flatten() {
                Some(Ok(time)) => format!("{:.3} s", time.as_secs_f64()),
                Some(Err(kind)) => kind.to_string(),
                None => "not reached".to_owned(),
            };
            let _ = writeln!(text, "    {at:>6}  {step}  ({result})");
        }
    }

    pub fn log(&self) -> &str {
        &self.log
    }
}

/// Where scripts and logs of failures are kept.
pub fn kept(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/convergence");
    fs::create_dir_all(&dir).unwrap();
    dir.join(name)
}

/// Keeps a script for a replay.
pub fn keep(name: &str, steps: &[Step], head: &str) -> PathBuf {
    let path = kept(name);
    fs::write(&path, format!("// {head}\n{}", script::text(steps))).unwrap();
    path
}
