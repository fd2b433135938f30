use std::os::unix::fs::{PermissionsExt, symlink};

use slog::{Discard, o};

use super::*;

/// A source and the place for links beside it.
struct World(tempfile::TempDir);

impl World {
    fn new(files: &[&str]) -> World {
        let world = World(tempfile::tempdir().unwrap());
        fs::create_dir(world.source("")).unwrap();
        for file in files {
            fs::create_dir_all(world.source(file).parent().unwrap()).unwrap();
            fs::write(world.source(file), file).unwrap();
        }
        world
    }

    fn source(&self, path: &str) -> PathBuf {
        self.0.path().join("source").join(path)
    }

    fn base(&self) -> PathBuf {
        self.0.path().join("state/staging")
    }

    fn open(&self) -> io::Result<Arc<Staging>> {
        Staging::open(&self.base(), &self.source(""), &Logger::root(Discard, o!())).map(Arc::new)
    }

    fn root(&self) -> OwnedFd {
        File::open(self.source("")).unwrap().into()
    }
}

impl Stage {
    fn directory_path(&self) -> PathBuf {
        self.staging.path.join(&self.name)
    }
}

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn twins(file: &str, has: &str, gets: &str) -> Twins {
    Twins { file: rel(file), has: rel(has), gets: rel(gets) }
}

#[test]
fn only_its_user_may_enter_it_and_it_is_removed_at_the_end() {
    let world = World::new(&["d/new"]);
    let staging = world.open().unwrap();
    assert_eq!(fs::metadata(world.base()).unwrap().permissions().mode() & 0o777, 0o700);
    let stages = [staging.stage().unwrap(), staging.stage().unwrap()];
    assert_ne!(stages[0].directory_path(), stages[1].directory_path());
    let placed = [twins("d/new", "d/old", "d/new")];
    assert_eq!(stages[0].place(&world.root(), &placed).len(), 1);
    let [first, second] = stages;
    let path = first.directory_path();
    drop(first);
    assert!(!path.exists());
    // A process that still waits holds one.
    drop(staging);
    assert!(world.base().exists());
    drop(second);
    assert!(!world.base().exists());
    assert_eq!(fs::metadata(world.source("d/new")).unwrap().nlink(), 1);
}

#[test]
fn a_closed_one_can_be_opened_again_although_it_is_still_held() {
    let world = World::new(&["f"]);
    let closed = world.open().unwrap();
    let old = closed.stage().unwrap();
    assert_eq!(world.open().unwrap_err().to_string(), "another process uses it");
    closed.close();
    assert!(!world.base().exists() && !closed.is_usable() && closed.stage().is_err());
    assert!(old.place(&world.root(), &[twins("f", "a", "b")]).is_empty());
    let next = world.open().unwrap();
    let stage = next.stage().unwrap();
    assert_eq!(old.directory_path(), stage.directory_path());
    drop((old, closed));
    assert!(
        stage.directory_path().exists() && next.is_usable(),
        "what is left of the old one touches nothing of the new one"
    );
}

#[test]
fn what_a_killed_daemon_left_is_removed_and_nothing_else() {
    let world = World::new(&["f"]);
    fs::create_dir_all(world.base().join("links-7/d")).unwrap();
    fs::hard_link(world.source("f"), world.base().join("links-7/d/f")).unwrap();
    fs::write(world.base().join("mine"), "").unwrap();
    symlink(world.source(""), world.base().join("links-8")).unwrap();
    drop(world.open().unwrap());
    assert!(world.source("f").exists());
    assert_eq!(fs::read_dir(world.base()).unwrap().count(), 1, "only what a user put there");
}

#[test]
fn both_names_are_of_the_one_file() {
    let world = World::new(&["a", "d/b"]);
    let staging = world.open().unwrap();
    let stage = staging.stage().unwrap();
    let all = [twins("a", "x/old", "a"), twins("d/b", "b", "x/deep/b")];
    assert_eq!(stage.place(&world.root(), &all).len(), 2);
    for twins in &all {
        let inode = |path: PathBuf| fs::symlink_metadata(path).unwrap().ino();
        let [has, gets] = [&twins.has, &twins.gets].map(|name| inode(name.under(&stage.directory_path())));
        assert_eq!((has, gets), (inode(twins.file.under(&world.source(""))), has));
    }
}

#[test]
fn only_a_regular_file_of_the_source_is_linked() {
    let world = World::new(&["d/f", "free"]);
    fs::create_dir(world.0.path().join("outside")).unwrap();
    fs::write(world.0.path().join("outside/f"), "secret").unwrap();
    symlink("../outside", world.source("linked")).unwrap();
    symlink("d/f", world.source("symlink")).unwrap();
    let staging = world.open().unwrap();
    for (file, has, gets) in [
        ("linked/f", "old", "new"),
        ("d/f", "linked/f", "new"),
        ("d/f", "linked/deep/f", "new"),
        ("d/f", "free/f", "new"),
        ("symlink", "old", "new"),
        ("d", "old", "new"),
        ("missing", "old", "new"),
        ("missing/f", "old", "new"),
        // One is a file where the other needs a directory.
        ("d/f", "x", "x/y"),
        ("d/f", "x/y", "x"),
    ] {
        let stage = staging.stage().unwrap();
        let (refused, free) = (twins(file, has, gets), twins("free", "free", "else"));
        let all = [refused, free.clone()];
        assert_eq!(stage.place(&world.root(), &all), [&free], "{file} {has} {gets}");
        let named =
            [&all[0].has, &all[0].gets].into_iter().filter(|name| name.under(&stage.directory_path()).is_file());
        assert_eq!(named.count(), 0, "{file} {has} {gets}");
    }
    assert_eq!(fs::metadata(world.source("d/f")).unwrap().nlink(), 1);
}

#[test]
fn a_name_is_placed_once() {
    let world = World::new(&["a", "b"]);
    let stage = world.open().unwrap().stage().unwrap();
    let all = [twins("a", "x", "y"), twins("b", "y", "z")];
    assert_eq!(stage.place(&world.root(), &all), [&all[0]]);
    assert_eq!(fs::read(stage.directory_path().join("y")).unwrap(), b"a");
}

#[test]
fn a_place_on_another_file_system_is_refused() {
    let world = World::new(&[]);
    let proc = Path::new("/proc/self");
    let error = Staging::open(&world.base(), proc, &Logger::root(Discard, o!())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::CrossesDevices);
    assert!(!world.base().exists(), "it is given up again");
    assert!(Staging::open(Path::new("/proc/staging"), &world.source(""), &Logger::root(Discard, o!())).is_err());
}

#[test]
fn where_the_first_file_cannot_be_linked_none_is_and_the_log_says_it_once() {
    let world = World::new(&[]);
    let staging = world.open().unwrap();
    staging.failed(&rel("mount/f"), Errno::XDEV, true);
    assert!(staging.is_usable() && !staging.past().warned, "a file of another mount says nothing of the others");
    for (why, usable, warned) in [
        (Errno::NOENT, true, false),
        (Errno::LOOP, true, false),
        // One file of another user says nothing of the others.
        (Errno::PERM, true, true),
        (Errno::XDEV, false, true),
    ] {
        staging.failed(&rel("f"), why, false);
        assert_eq!((staging.is_usable(), staging.past().warned), (usable, warned), "{why}");
    }
    staging.past().standing = Standing::Works;
    staging.failed(&rel("f"), Errno::XDEV, false);
    assert!(staging.is_usable(), "others can be");
}

#[test]
fn a_place_where_others_may_put_something_is_refused() {
    let world = World::new(&[]);
    fs::create_dir_all(world.base()).unwrap();
    fs::set_permissions(world.base(), fs::Permissions::from_mode(0o775)).unwrap();
    assert_eq!(world.open().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    fs::set_permissions(world.base(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(world.open().is_ok());
}
