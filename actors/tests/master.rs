//! The shared ssh connection against a real sshd, which ssh itself starts in place of a TCP connection.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod programs;

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use inosync_actors::children::Children;
use inosync_actors::node::Node;
use inosync_actors::rsync::runner::master::Master;
use inosync_actors::rsync::runner::master::login::Login;
use inosync_actors::rsync::runner::master::runtime_dir::RuntimeDir;
use inosync_actors::site::extra::Extra;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use slog::{Discard, Logger, o};
use tempfile::TempDir;
use tokio::process::Command;

use programs::program;

const DEADLINE: Duration = Duration::from_secs(30);

/// A node behind an sshd, the ssh that reaches it, and the place for the sockets.
struct World {
    dir: TempDir,
    children: Children,
}

impl World {
    async fn new() -> World {
        let world = World { dir: tempfile::tempdir().unwrap(), children: Children::default() };
        for name in ["source", "mirror", "sockets"] {
            fs::create_dir(world.path(name)).unwrap();
        }
        fs::write(world.path("source/file"), "content").unwrap();
        for key in ["host_key", "user_key"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(world.path(key));
            assert!(keygen.status().await.expect("openssh is installed").success());
        }
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").expect("sshd insists on it");
        }
        world.ssh_config("");
        world.ssh_program("");
        world.sshd_config("");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn sshd_config(&self, more: &str) {
        let at = self.dir.path().display();
        // Without PAM, sshd refuses a user whose password is locked.
        let shadow = fs::read_to_string("/etc/shadow").unwrap_or_default();
        let pam = if shadow.lines().any(|line| line.starts_with("root:!")) { "yes" } else { "no" };
        let text = format!(
            "HostKey {at}/host_key\nAuthorizedKeysFile {at}/user_key.pub\nPidFile none\nStrictModes no\n\
             PermitRootLogin yes\nUseDNS no\nUsePAM {pam}\n{more}"
        );
        fs::write(self.path("sshd_config"), text).unwrap();
    }

    /// `more` are settings of the user.
    fn ssh_config(&self, more: &str) {
        let at = self.dir.path().display();
        let text = format!(
            "Host mirror\n IdentityFile {at}/user_key\n IdentitiesOnly yes\n UserKnownHostsFile {at}/known_hosts\n \
             StrictHostKeyChecking no\n \
             ProxyCommand sh -c 'echo >> {at}/connections; exec /usr/sbin/sshd -i -E {at}/sshd.log -f {at}/sshd_config'\n{more}"
        );
        fs::write(self.path("ssh_config"), text).unwrap();
    }

    /// `first` is what the program does before it is ssh.
    fn ssh_program(&self, first: &str) {
        let text = format!("#!/bin/sh\n{first}\nexec /usr/bin/ssh -F {} \"$@\"\n", self.path("ssh_config").display());
        program(&self.path("ssh"), &text);
    }

    fn master(&self) -> Rc<Master> {
        let directory = Arc::new(RuntimeDir::below([self.path("sockets")]).unwrap());
        let node = Node::parse("mirror:", self.path("mirror").to_str().unwrap()).unwrap();
        let login = Login::of(&node, &Extra::default()).unwrap();
        let ssh = format!("{} -o BatchMode=yes", self.path("ssh").display());
        Master::new(self.children.clone(), directory, &ssh, login, Logger::root(Discard, o!()))
    }

    /// Connections that were made or tried.
    fn connections(&self) -> usize {
        fs::read_to_string(self.path("connections")).unwrap_or_default().lines().count()
    }

    fn sockets(&self) -> usize {
        let directories = fs::read_dir(self.path("sockets")).unwrap();
        directories.map(|directory| fs::read_dir(directory.unwrap().path()).unwrap().count()).sum()
    }

    /// What rsync says about a run that may share the connection.
    async fn sync(&self, master: &Master) -> String {
        self.sync_by(&master.rsh()).await
    }

    async fn sync_by(&self, rsh: &str) -> String {
        let mut rsync = Command::new("rsync");
        rsync.arg("-rI").arg(format!("--rsh={rsh}")).arg(self.path("source/"));
        rsync.arg(format!("mirror:{}/", self.path("mirror").display()));
        let output = rsync.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}\n{}", fs::read_to_string(self.path("sshd.log")).unwrap_or_default());
        assert!(self.path("mirror/file").exists());
        said
    }

    /// The process that holds the connection.
    async fn pid(&self, master: &Master) -> Pid {
        let mut check = Command::new(self.path("ssh"));
        check.arg("-o").arg(format!("ControlPath={}", master.control_path().unwrap().display()));
        let said = check.args(["-O", "check", "mirror"]).output().await.unwrap().stderr;
        let said = String::from_utf8(said).unwrap();
        let pid = said.split_once("(pid=").and_then(|(_, rest)| rest.split_once(')')).map(|(pid, _)| pid.parse());
        Pid::from_raw(pid.unwrap_or_else(|| panic!("{said}")).unwrap()).unwrap()
    }
}

async fn becomes_true(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < DEADLINE, "still not true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it ends in time")
}

async fn is_made(master: &Rc<Master>) {
    master.wanted();
    assert!(in_time(master.ready()).await);
}

fn exists(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[actix::test]
async fn all_runs_of_a_node_share_one_connection() {
    let world = World::new().await;
    let master = world.master();
    is_made(&master).await;
    for _ in 0..3 {
        assert_eq!(world.sync(&master).await, "");
        master.wanted();
    }
    assert_eq!(world.connections(), 1);
}

#[actix::test]
async fn a_run_that_sends_much_has_a_connection_of_its_own() {
    let world = World::new().await;
    let master = world.master();
    is_made(&master).await;
    assert_eq!(world.sync_by(&master.rsh_alone()).await, "");
    assert_eq!(world.connections(), 2);
}

#[actix::test]
async fn a_run_before_the_connection_is_up_makes_its_own() {
    let world = World::new().await;
    let master = world.master();
    world.sync(&master).await;
    assert_eq!((world.connections(), master.is_up()), (1, false));
}

#[actix::test]
async fn a_run_that_the_shared_connection_has_no_session_for_makes_its_own() {
    let world = World::new().await;
    world.sshd_config("MaxSessions 1\n");
    let master = world.master();
    is_made(&master).await;
    let rsh = master.rsh();
    let mut words = rsh.split(' ');
    let mut session = Command::new(words.next().unwrap());
    session.args(words).arg("mirror").arg(format!("touch {}; cat", world.path("begun").display()));
    let _session = session.stdin(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    becomes_true("a session runs", || world.path("begun").exists()).await;
    assert_eq!(world.connections(), 1);
    let said = world.sync(&master).await;
    assert!(said.contains("session request failed") && said.lines().count() == 1, "{said}");
    assert_eq!(world.connections(), 2);
}

#[actix::test]
async fn a_killed_connection_is_made_again_when_it_is_wanted() {
    let world = World::new().await;
    let master = world.master();
    is_made(&master).await;
    kill_process(world.pid(&master).await, Signal::KILL).unwrap();
    becomes_true("the end is noticed", || !master.is_up()).await;
    assert_eq!((world.sockets(), master.control_path()), (0, None));
    assert_eq!(world.sync(&master).await, "");
    let before = world.connections();
    becomes_true("the connection is up again", || {
        master.wanted();
        master.is_up()
    })
    .await;
    assert_eq!(world.connections(), before + 1);
    world.sync(&master).await;
    assert_eq!(world.connections(), before + 1);
}

#[actix::test]
async fn a_connection_that_was_given_up_is_replaced() {
    let world = World::new().await;
    let master = world.master();
    is_made(&master).await;
    let (first, pid) = (master.control_path(), world.pid(&master).await);
    let process = master.process().unwrap();
    master.give_up(process + 1);
    assert!(master.is_up(), "that was another one");
    master.give_up(process);
    assert!(!master.is_up());
    becomes_true("another connection is up", || {
        master.wanted();
        master.is_up()
    })
    .await;
    becomes_true("the first one is gone", || !exists(pid)).await;
    assert_ne!(master.control_path(), first);
    world.sync(&master).await;
    assert_eq!(world.connections(), 2);
}

#[actix::test]
async fn a_node_that_is_down_is_not_asked_at_every_turn() {
    let world = World::new().await;
    fs::remove_file(world.path("sshd_config")).unwrap();
    let master = world.master();
    let since = Instant::now();
    becomes_true("three tries were made", || {
        master.wanted();
        world.connections() == 3
    })
    .await;
    assert!(since.elapsed() >= Duration::from_millis(75 + 150), "{:?}", since.elapsed());
    assert!(!in_time(master.ready()).await);
}

#[actix::test]
async fn the_connection_ends_with_the_daemon() {
    let world = World::new().await;
    let master = world.master();
    is_made(&master).await;
    let pid = world.pid(&master).await;
    in_time(world.children.end_all()).await;
    assert!(!exists(pid));
    becomes_true("the end is noticed", || !master.is_up()).await;
    master.wanted();
    assert!(!in_time(master.ready()).await);
    drop(master);
    becomes_true("the directory is gone", || is_empty(&world.path("sockets"))).await;
}

#[actix::test]
async fn the_connection_ends_with_its_last_user() {
    let world = World::new().await;
    let master = world.master();
    is_made(&master).await;
    let pid = world.pid(&master).await;
    drop(master);
    becomes_true("ssh is gone", || !exists(pid)).await;
    becomes_true("the directory is gone", || is_empty(&world.path("sockets"))).await;
}

#[actix::test]
async fn the_settings_of_the_user_do_not_take_the_connection_away() {
    let world = World::new().await;
    world.ssh_config(&format!(
        " ForkAfterAuthentication yes\n ControlMaster auto\n ControlPath {0}/own\n ControlPersist yes\n \
         LocalForward {0}/forwarded localhost:1\n RequestTTY force\n RemoteCommand uptime\n",
        world.dir.path().display()
    ));
    let master = world.master();
    is_made(&master).await;
    let pid = world.pid(&master).await;
    assert!(!world.path("own").exists() && !world.path("forwarded").exists());
    in_time(world.children.end_all()).await;
    assert!(!exists(pid));
}

#[actix::test]
async fn an_ssh_that_does_not_know_all_options_will_do() {
    let world = World::new().await;
    world.ssh_program(
        "case \"$*\" in *ForkAfterAuthentication*) \
         echo 'command-line: line 0: Bad configuration option: forkafterauthentication' >&2; exit 255 ;; esac",
    );
    let master = world.master();
    is_made(&master).await;
    assert_eq!(world.sync(&master).await, "");
    assert_eq!(world.connections(), 1);
}
