use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::domain::NamedInode;
use super::*;
use crate::root::reach::named::is_on_disk;
use crate::rsync::recipe::tests::site;
use crate::site::InitialSync;
use crate::site::extra::Extra;

/// A source with a file in it, and a file beside it.
struct Ground {
    dir: TempDir,
    site: Site,
    node: Node,
}

impl Ground {
    fn new(node: &str, extra: &str) -> Ground {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        for name in ["source/d", "mirror", "outside"] {
            fs::create_dir_all(at.join(name)).unwrap();
        }
        for name in ["source/d/f", "outside/f", "outside/secret", "mirror/f"] {
            fs::write(at.join(name), name).unwrap();
        }
        symlink("../../outside/f", at.join("source/d/link")).unwrap();
        symlink("../outside", at.join("source/out")).unwrap();
        let node = if node == "local" { at.join("mirror").display().to_string() } else { node.to_owned() };
        let (rpath, node) = if node.starts_with('/') { (node, String::new()) } else { ("/mirror".into(), node) };
        let extra = Extra::parse(&extra.replace("DIR", &at.display().to_string())).unwrap();
        let site = Site { confine: true, wpath: at.join("source"), extra, ..site("", InitialSync::Full) };
        Ground { site, node: Node::parse(&node, &rpath).unwrap(), dir }
    }

    /// How a shell ends that does this in the bounds of an rsync.
    async fn run(&self, script: &str) -> Code {
        let script = script.replace("DIR", &self.dir.path().display().to_string());
        let directory: std::os::fd::OwnedFd = File::open(&self.site.wpath).unwrap().into();
        let arguments = ["-c", &script].map(OsString::from);
        let reach = NodeBounds::of(&self.site, &self.node).unwrap();
        let bounds = Bounds { domain: reach.domain(directory.as_fd(), true).unwrap(), door: None };
        let shell = Path::new("/bin/sh");
        let process = Process::start(&Children::default(), shell, Some(directory), &arguments, Some(bounds));
        let patience = Patience::of(std::time::Duration::from_secs(60));
        process.unwrap().finish(Input::of(&[]), patience, |_| Bearing::Nothing, || ()).await.unwrap().code
    }

    async fn expect(&self, works: bool, script: &str) {
        let code = self.run(script).await;
        assert_eq!(code == Code::Exit(0), works, "{}: {script}: {code:?}", self.node.name());
    }
}

/// Tells if the kernel has what the test is about.
fn has_landlock() -> bool {
    let found = abi().is_some_and(|abi| abi >= RECEIVES);
    if !found {
        println!("not tested, this kernel has no Landlock");
    }
    found
}

#[tokio::test]
async fn nothing_but_the_source_is_read() {
    if !has_landlock() {
        return;
    }
    let ground = Ground::new("h:", "");
    for (works, script) in [
        (true, "cat d/f"),
        (true, "cat DIR/source/d/f"),
        (true, "ls d"),
        (false, "cat d/link"),
        (false, "cat out/secret"),
        (false, "ls out/"),
        (false, "cat DIR/outside/secret"),
        (false, "echo x > DIR/outside/new"),
        (false, "echo x > d/new"),
        (false, "rm d/f"),
        (false, "cat DIR/mirror/f"),
        (false, "cat /proc/1/environ"),
        (true, "cat /etc/passwd"),
        (true, "echo x > /dev/null"),
        // Names are looked up, times and sizes told: nothing of what is in a file.
        (true, "test -e DIR/outside/secret"),
    ] {
        ground.expect(works, script).await;
    }
}

#[tokio::test]
async fn no_secret_of_this_machine_is_among_what_may_be_read() {
    if !has_landlock() {
        return;
    }
    let ground = Ground::new("h:", "");
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".into());
    let keys = [format!("{home}/.ssh"), "/etc/ssh".into(), "/etc/ssl/private".into(), "/etc/shadow".into()];
    for path in keys.iter().filter(|path| Path::new(path).exists()) {
        ground.expect(false, &format!("cat {path} || ls {path}/")).await;
    }
    for (paths, _, why) in table::SYSTEM {
        for path in *paths {
            assert!(!keys.iter().any(|key| Path::new(key).starts_with(path)), "{path}: {why}");
        }
    }
}

#[tokio::test]
async fn a_mirror_of_this_machine_and_what_belongs_to_it_is_written() {
    if !has_landlock() {
        return;
    }
    let extra = "-b --backup-dir=DIR/new/old --partial-dir DIR/part -M--log-file=DIR/outside/log --link-dest=../linked";
    let ground = Ground::new("local", extra);
    fs::create_dir(ground.dir.path().join("linked")).unwrap();
    for (works, script) in [
        (true, "cat DIR/mirror/f && echo x > DIR/mirror/g && mkdir DIR/mirror/d && mv DIR/mirror/g DIR/mirror/d/g"),
        (true, "echo x > DIR/new/old/f && echo x > DIR/part/f && echo x >> DIR/outside/log"),
        (true, "mv DIR/mirror/f DIR/new/old/f2 && echo x > DIR/linked/f && ln DIR/linked/f DIR/mirror/f"),
        (false, "echo x > DIR/new/f"),
        (false, "cat DIR/outside/secret"),
        (false, "cat DIR/outside/log"),
        (false, "echo x > d/f"),
    ] {
        ground.expect(works, script).await;
    }
}

#[tokio::test]
async fn an_option_that_names_a_file_lets_it_be_read() {
    if !has_landlock() {
        return;
    }
    for extra in ["--password-file=DIR/outside/f", "--password-file DIR/outside/f --early-input=DIR/outside/f"] {
        let ground = Ground::new("h::m", extra);
        ground.expect(true, "cat DIR/outside/f").await;
        ground.expect(false, "cat DIR/outside/secret").await;
    }
}

#[tokio::test]
async fn another_file_of_the_same_name_is_noticed() {
    let ground = Ground::new("h:", "");
    let reach = NodeBounds::of(&ground.site, &ground.node).unwrap();
    let (file, other) = (ground.dir.path().join("file"), ground.dir.path().join("other"));
    fs::write(&file, "1").unwrap();
    let named = |is_on_disk| {
        let mut named = [&file, &other].map(|path| NamedInode::of(path)).to_vec();
        named.iter_mut().for_each(|named| named.is_on_disk = is_on_disk);
        named
    };
    let all = [
        RuleSources { accounts: named(true), mirrors: Vec::new() },
        RuleSources { accounts: Vec::new(), mirrors: named(true) },
        RuleSources { accounts: Vec::new(), mirrors: named(false) },
    ];
    let changes: [(bool, &dyn Fn()); 4] = [
        (true, &|| ()),
        (true, &|| fs::write(&file, "another content").unwrap()),
        (false, &|| fs::write(&other, "").unwrap()),
        (false, &|| fs::rename(&other, &file).unwrap()),
    ];
    for (is_current, change) in changes {
        change();
        for seen in &all {
            assert_eq!(reach.is_current(seen).await, is_current, "{seen:?}");
        }
    }
}

#[tokio::test]
async fn a_process_from_before_the_mirror_was_made_is_of_no_use() {
    let ground = Ground::new("local", "");
    let reach = NodeBounds::of(&ground.site, &ground.node).unwrap();
    let mirror = reach.mirror.clone().unwrap();
    let seen = |path: &Path| RuleSources { accounts: Vec::new(), mirrors: vec![NamedInode::of(path)] };
    let beside = seen(&mirror.with_file_name("beside"));
    let _ = fs::remove_dir_all(&mirror);
    let before = seen(&mirror);
    assert!(!reach.is_current(&before).await && reach.is_current(&beside).await);
    fs::create_dir_all(&mirror).unwrap();
    assert!(!reach.is_current(&before).await && reach.is_current(&seen(&mirror)).await);
}

#[test]
fn only_what_is_on_a_disk_of_this_machine_is_looked_at_without_a_thread() {
    // A tmpfs wherever there is one.
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("/proc/self", &link).unwrap();
    for (is_disk, path) in [
        (true, dir.path()),
        (false, &dir.path().join("missing")),
        (false, Path::new("/proc/self/status")),
        (false, &link),
    ] {
        assert_eq!(is_on_disk(path), is_disk, "{}", path.display());
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_system_that_does_not_answer_holds_up_nobody_for_long() {
    let ground = Ground::new("h:", "");
    let reach = NodeBounds::of(&ground.site, &ground.node).unwrap();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    for _ in 0..=MOST_WAITING {
        let held = held.clone();
        let asked = reach.ask(move || held.lock().unwrap().recv()).await;
        assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
    drop(hold);
    tokio::time::resume();
    while reach.waiting.load(Ordering::Relaxed) > 0 {
        std::thread::yield_now();
    }
    assert_eq!(reach.ask(|| 7).await.unwrap(), 7);
}

#[tokio::test]
async fn what_would_not_be_itself_in_there_is_not_confined() {
    let dir = tempfile::tempdir().unwrap();
    let program = |name: &str, mode: u32, content: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let site = |confine, rsync| Site { confine, rsync, ..site("", InitialSync::Full) };
    let found = |site: Site| async move { standing(&site).await.err() };
    let rsync = PathBuf::from("/usr/bin/rsync");
    assert_eq!(found(site(false, rsync.clone())).await, Some(Unconfined::Configured));
    if !has_landlock() {
        return;
    }
    assert_eq!(found(site(true, rsync)).await, None);
    let script = program("script", 0o755, b"#!/bin/sh\nexec rsync \"$@\"\n");
    assert!(matches!(found(site(true, script)).await, Some(Unconfined::Script(_))));
    let privileged = program("setuid", 0o4755, b"\x7fELF");
    assert!(matches!(found(site(true, privileged)).await, Some(Unconfined::Privileged(_))));
    let broken = program("broken", 0o755, b"\x7fELF");
    assert!(matches!(found(site(true, broken)).await, Some(Unconfined::Broken { .. })));
}
