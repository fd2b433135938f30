//! What systemd is told, over a socket like its own.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Local, Site, wait};

/// Ours, in place of systemd's.
struct Manager(UnixDatagram);

impl Manager {
    /// Lets every later start of this site tell us, and with a watchdog of so many milliseconds if there is one.
    fn of(site: &mut Site, watchdog: Option<u64>) -> Self {
        let path = site.beside("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut launcher = vec!["env".to_owned(), format!("NOTIFY_SOCKET={}", path.display())];
        launcher.extend(watchdog.map(|time| format!("WATCHDOG_USEC={}", time * 1000)));
        site.always_start_by(&launcher.iter().map(String::as_str).collect::<Vec<_>>());
        Manager(socket)
    }

    /// What comes within this time; `None` if nothing does.
    fn hear(&self, within: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(within)).unwrap();
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    /// The next message that says more than how far it is.
    #[track_caller]
    fn expect(&self, state: &str) -> String {
        loop {
            let heard = self.hear(wait::DEADLINE).unwrap_or_else(|| panic!("no {state} comes"));
            if !heard.starts_with("STATUS=") {
                assert!(heard.lines().any(|line| line == state), "{heard} instead of {state}");
                return heard;
            }
        }
    }
}

#[test]
fn it_is_ready_when_it_watches_and_tells_of_reloads_and_the_stop() {
    let mut site = Site::on(&[Local]);
    site.mkdir("dir");
    let manager = Manager::of(&mut site, None);
    site.start();
    assert!(manager.expect("READY=1").contains("STATUS=watching 2 directories, 1 node\n"));
    site.config("rspeed: 7");
    site.reload();
    assert!(manager.expect("RELOADING=1").contains("MONOTONIC_USEC="));
    assert!(manager.expect("READY=1").contains("STATUS=watching 2 directories, 1 node\n"));
    // Refused: it is as ready as before.
    std::fs::write(site.beside("site.ron"), "(").unwrap();
    site.reload_file();
    manager.expect("RELOADING=1");
    assert!(manager.expect("READY=1").contains("STATUS=reload refused"));
    // One that takes a new start.
    site.serve_from("other");
    site.reload();
    manager.expect("RELOADING=1");
    assert!(manager.expect("READY=1").contains("STATUS=watching 1 directory, 1 node\n"));
    assert_eq!(site.stop().code, Some(0));
    assert!(manager.expect("STOPPING=1").contains("EXTEND_TIMEOUT_USEC=50000000\n"));
    assert_eq!(manager.hear(Duration::from_millis(1)), None);
}

#[test]
fn a_start_that_fails_is_never_ready() {
    let mut site = Site::on(&[Local]);
    let manager = Manager::of(&mut site, None);
    for (key, code) in [("rsync: \"/bin/false\"", 69), ("rspeed: \"wrong\"", 78)] {
        site.forget_config();
        site.config(key);
        site.launch();
        assert_eq!(site.wait().code, Some(code));
        assert_eq!(manager.hear(Duration::from_millis(1)), None, "{key}");
    }
}

#[test]
fn a_service_manager_that_does_not_listen_holds_nothing_up() {
    let mut site = Site::on(&[Local]);
    let _manager = Manager::of(&mut site, Some(20));
    site.start();
    // Its socket takes net.unix.max_dgram_qlen messages, 10 or 512.
    let another = UnixDatagram::unbound().unwrap();
    another.set_nonblocking(true).unwrap();
    let is_full = || another.send_to(b"STATUS=full\n", site.beside("notify")).is_err().then_some(());
    assert!(wait::until(is_full).is_some());
    site.write("file", "content");
    site.expect_identical();
    assert_eq!(site.stop().code, Some(0));
}

/// Whether each thread of this process is stopped, as proc_pid_stat(5) says.
fn stands_still(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stat = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
    threads.flatten().all(|thread| stat(thread).rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
}

#[test]
fn a_daemon_that_is_stuck_does_not_calm_the_watchdog() {
    let mut site = Site::on(&[Local]);
    let manager = Manager::of(&mut site, Some(100));
    site.start();
    // It may do so before it is ready.
    let next = |state: &str| {
        let heard = wait::until(|| manager.hear(wait::DEADLINE).filter(|heard| heard.contains(state)));
        assert!(heard.is_some(), "no {state}");
    };
    next("READY=1");
    (0..3).for_each(|_| next("WATCHDOG=1"));
    site.daemon().signal(Signal::STOP);
    let pid = site.daemon().id();
    assert!(wait::until(|| stands_still(pid).then_some(())).is_some(), "it does not stand still");
    // What was sent before, and then nothing.
    while manager.hear(Duration::from_millis(1)).is_some() {}
    let heard = manager.hear(Duration::from_secs(1));
    assert_eq!(heard, None, "it calms the watchdog although it stands still");
    site.daemon().signal(Signal::CONT);
    next("WATCHDOG=1");
    assert_eq!(site.stop().code, Some(0));
}
