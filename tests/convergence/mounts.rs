//! Mounts that come and go in the tree while it changes: at rest the mirror is equal, but for what an unmount hid, each
//! directory has one watch, and nothing was worth a warning. `INOSYNC_TEST_MOUNTS=1` plays it; it takes root.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::campaign::turn;
use crate::settings::{is_set, seeds, source_fs};
use crate::support::{Local, Site, plant, tree, wait};

const SEEDS: u64 = 10;
const STEPS: usize = 150;
const PATIENCE: Duration = Duration::from_secs(20);
/// Few names, so that what is mounted, moved and written meets.
const PLACES: [&str; 11] = ["a", "b", "c", "a/b", "a/b/c", "b/d", "jail", "jail/a", "m", "m/x", "c/k"];

/// The tree, from which all that is mounted in it is unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn points(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4).map(str::to_owned));
        points.filter(|point| Path::new(point) != self.0 && Path::new(point).starts_with(&self.0)).collect()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // One may cover another, which can be reached only after it.
        let mut left = usize::MAX;
        while let points = self.points()
            && !points.is_empty()
            && points.len() < left
        {
            left = points.len();
            for point in points.iter().rev() {
                run("umount", &["-l", point]);
            }
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Does it if it can be done.
fn step(rng: &mut Rng, site: &Site, number: usize) {
    let mut place = || site.at(PLACES[rng.usize(..PLACES.len())]);
    let (from, to) = (place(), place());
    let (one, other) = (from.to_str().unwrap(), to.to_str().unwrap());
    match rng.u8(..17) {
        0 | 1 => drop(fs::create_dir_all(&from)),
        2..=4 => drop(fs::write(from.join(format!("f{}", number % 5)), format!("{number}"))),
        5 | 6 => drop(fs::rename(&from, &to)),
        7 => drop(fs::remove_dir(&from)),
        8 | 9 => {
            run("mount", &["--bind", one, other]);
        }
        10 => {
            run("mount", &["--rbind", one, other]);
        }
        11 => {
            run("mount", &["--move", one, other]);
        }
        12 => {
            run("mount", &["-t", "tmpfs", "inosync-test", one]);
        }
        13 => {
            // What it shows is changed by nobody else: of that nothing would be told.
            let below = site.beside(&format!("below/{number}"));
            plant(&below.join("sub/f"), &number.to_string());
            run("bindfs", &[below.to_str().unwrap(), one]);
        }
        14 => {
            // A file over a file.
            let (file, over) = (from.join("f0"), site.beside("over"));
            plant(&over, &number.to_string());
            run("mount", &["--bind", over.to_str().unwrap(), file.to_str().unwrap()]);
        }
        _ => {
            run("umount", &["-l", one]);
        }
    }
    // The pace of the script.
    if rng.u8(..10) < 3 {
        thread::sleep(Duration::from_millis(rng.u64(..150)));
    }
}

/// The directories that there are, each once whatever names it has, and the files that are mounted over others.
fn watchable(site: &Site, points: &[String]) -> (usize, usize) {
    let number = |path: &Path| path.symlink_metadata().map(|meta| (meta.dev(), meta.ino()));
    let (mut seen, mut left) = (BTreeSet::new(), vec![site.source()]);
    while let Some(dir) = left.pop() {
        seen.extend(number(&dir));
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        left.extend(
            entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()),
        );
    }
    let files = points.iter().map(Path::new).filter(|point| point.is_file());
    (seen.len(), files.flat_map(number).collect::<BTreeSet<_>>().len())
}

/// The difference between the daemon's watches and the directories that there are.
fn miscounted(site: &Site, points: &[String]) -> Option<String> {
    let (directories, files) = watchable(site, points);
    let (told, kernel) = (site.status()["source"]["watched_directories"].clone(), site.kernel_watches());
    // One more is for the state.
    let is_so = told == directories && kernel == directories + files + 1;
    (!is_so).then(|| format!("{directories} directories and {files} files; told {told}, in the kernel {kernel}"))
}

/// What is not at the node as it is in the source, but for what an unmount hid.
fn differing(site: &Site) -> Vec<String> {
    let lines = site.log_lines();
    let told = lines.iter().filter(|line| line.contains("a file system was unmounted"));
    let kept: Vec<&[u8]> = told.filter_map(|line| Some(line.rsplit_once("from: ")?.1.as_bytes())).collect();
    let is_kept = |path: &[u8]| {
        let below = |top: &&[u8]| path.strip_prefix(*top).is_some_and(|rest| rest.starts_with(b"/"));
        kept.iter().any(below) && !site.source().join(String::from_utf8_lossy(path).as_ref()).exists()
    };
    let differing = tree::differing(&site.source(), &site.mirror(Local), |_| false, &tree::Keeps::ALL);
    differing.into_iter().filter(|(path, _)| !is_kept(path)).map(|(_, how)| how).collect()
}

#[test]
fn what_is_mounted_and_unmounted_while_the_tree_changes_is_mirrored() {
    if !is_set("INOSYNC_TEST_MOUNTS") {
        return println!("not played: INOSYNC_TEST_MOUNTS is not set");
    }
    let _turn = turn();
    for seed in seeds(SEEDS) {
        let mut site = Site::on(&[Local]);
        site.config("dir_moves: Replicate");
        if let Some(kind) = source_fs() {
            // The usual place is on another file system, of which a warning tells.
            site.config("staging: \"\"");
            assert!(site.source_on(kind), "INOSYNC_TEST_SOURCE_FS: no {}", kind.name());
        }
        site.start();
        let mounted = Mounted(site.source());
        let mut rng = Rng::with_seed(seed);
        (0..STEPS).for_each(|number| step(&mut rng, &site, number));
        let wrong = || [differing(&site), miscounted(&site, &mounted.points()).into_iter().collect()].concat();
        if wait::until_within(PATIENCE, || wrong().is_empty().then_some(())).is_none() {
            panic!("seed {seed}: {:#?}\n{:#?}\n{}", wrong(), mounted.points(), site.log_lines().join("\n"));
        }
        let told = |line: &String| line.contains("a file system was");
        let troubles: Vec<String> = site.troubles().into_iter().filter(|line| !told(line)).collect();
        assert!(troubles.is_empty(), "seed {seed}: {troubles:#?}");
        println!("seed {seed}: {} mounts at the end, watches: {}", mounted.points().len(), site.kernel_watches());
        drop(mounted);
        site.stop();
    }
}
