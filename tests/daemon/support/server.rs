//! The real thing at the other end: an sshd and an rsync daemon, each with its own keys and files, on loopback.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use rustix::process::Signal;

use super::{process, program, wait};

/// Below those that Linux gives by itself (ip_local_port_range, 32768 to 60999).
const PORTS: Range<u16> = 12_000..32_000;

/// A server that listens on a port of its own, or is stopped and may be started again on the same port.
pub struct Server {
    pub port: u16,
    command: Box<dyn Fn(u16) -> Command + Send>,
    output: PathBuf,
    child: Option<Child>,
    /// Whether it ever accepted connections: its port is known to others then.
    is_known: bool,
}

impl Server {
    fn new(output: PathBuf, command: impl Fn(u16) -> Command + Send + 'static) -> Self {
        Server { port: free_port(), command: Box::new(command), output, child: None, is_known: false }
    }

    /// Starts the server and waits until it accepts connections. When somebody was faster at its port, another one is taken
    /// by a server that nobody knows yet.
    pub fn start(&mut self) {
        for _ in 0..5 {
            if self.listens() {
                self.is_known = true;
                return;
            }
            if !self.is_known {
                self.port = free_port();
            }
        }
        panic!("{:?} does not start:\n{}", (self.command)(self.port), self.output());
    }

    /// Ends the server and all its connections. Whether it ran.
    pub fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return false };
        // What could still fork would escape: all stand still before the first one goes.
        process::signal(child.id(), Signal::STOP);
        let mut sessions = BTreeSet::new();
        loop {
            let all = process::descendants(child.id()).into_iter();
            let begun: Vec<u32> = all.filter(|&pid| sessions.insert(pid)).collect();
            if begun.is_empty() {
                break;
            }
            begun.into_iter().for_each(|pid| process::signal(pid, Signal::STOP));
        }
        sessions.into_iter().for_each(|pid| process::signal(pid, Signal::KILL));
        let _ = child.kill();
        let _ = child.wait();
        true
    }

    /// Whether it was started and not stopped.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// The processes that serve its connections.
    pub fn sessions(&self) -> Vec<u32> {
        self.child.as_ref().map_or_else(Vec::new, |child| process::descendants(child.id()))
    }

    /// What the server itself said.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    fn listens(&mut self) -> bool {
        let output = File::create(&self.output).expect("the directory of the site is writable");
        let mut command = (self.command)(self.port);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let child = self.child.insert(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")));
        let port = self.port;
        let answer = wait::until(|| match child.try_wait() {
            Ok(None) => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(|_| true),
            _ => Some(false),
        });
        answer == Some(true)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An sshd that lets in the user who runs the tests, by a key in `dir`; not started yet.
pub fn sshd(dir: &Path) -> Server {
    if rustix::process::geteuid().is_root() {
        // sshd insists on this directory, which on Debian its service makes.
        fs::create_dir_all("/run/sshd").expect("/run/sshd can be made");
    }
    for key in ["host_key", "user_key"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(key)).stdin(Stdio::null());
        let status = keygen.status().expect("ssh-keygen is installed (make test installs openssh-server)");
        assert!(status.success(), "{keygen:?}: {status}");
    }
    fs::copy(dir.join("user_key.pub"), dir.join("authorized_keys")).expect("ssh-keygen wrote the key");

    let conf = dir.join("sshd_config");
    let at = dir.display();
    // Another home: what the start-up files of this account do is none of a test's business.
    let text = format!(
        "ListenAddress 127.0.0.1\nHostKey {at}/host_key\nAuthorizedKeysFile {at}/authorized_keys\nPidFile none\n\
         UsePAM {}\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 100\nUseDNS no\n\
         SetEnv HOME={at}\n",
        if account_is_locked() { "yes" } else { "no" },
    );
    fs::write(&conf, text).expect("the directory of the site is writable");
    Server::new(dir.join("sshd.log"), move |port| {
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-p", &port.to_string(), "-f"]).arg(&conf);
        command
    })
}

/// Without PAM, sshd refuses a user whose password is locked, which root's is on some machines.
fn account_is_locked() -> bool {
    let shadow = fs::read_to_string("/etc/shadow").unwrap_or_default();
    rustix::process::geteuid().is_root() && shadow.lines().any(|line| line.starts_with("root:!"))
}

/// The options that make an ssh client use this sshd, as an ssh_config file in `dir` for the host `mirror`.
pub fn ssh_config(dir: &Path, port: u16) -> PathBuf {
    let path = dir.join("ssh_config");
    let at = dir.display();
    let text = format!(
        "Host mirror ::1\n HostName 127.0.0.1\n Port {port}\n IdentityFile {at}/user_key\n IdentitiesOnly yes\n \
         UserKnownHostsFile {at}/known_hosts\n StrictHostKeyChecking no\n LogLevel ERROR\n"
    );
    // In one step: an ssh that starts now reads it.
    let made = dir.join("ssh_config.new");
    fs::write(&made, text).and_then(|()| fs::rename(made, &path)).expect("the directory of the site is writable");
    path
}

/// An `ssh` for the PATH of the daemon under test that reads our `ssh_config` and none of this machine.
pub fn ssh_client(bin: &Path, config: &Path) {
    fs::create_dir_all(bin).expect("the directory of the site is writable");
    program(&bin.join("ssh"), &format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", config.display()));
}

/// An rsync daemon with one module, `m`, writable; not started yet.
pub fn rsync_daemon(dir: &Path, module: &Path) -> Server {
    let conf = dir.join("rsyncd.conf");
    // Only a daemon with chroot, which takes root, stores absolute symlinks as they are; others munge or cut them.
    let user = if rustix::process::geteuid().is_root() {
        "use chroot = yes\nuid = root\ngid = root\n"
    } else {
        "use chroot = no\nmunge symlinks = no\n"
    };
    let text = format!(
        "log file = {}\n{user}[m]\npath = {}\nread only = no\n",
        dir.join("rsyncd.log").display(),
        module.display()
    );
    fs::write(&conf, text).expect("the directory of the site is writable");
    Server::new(dir.join("rsyncd.err"), move |port| {
        let mut command = Command::new("rsync");
        command.args(["--daemon", "--no-detach", "--address=127.0.0.1", &format!("--port={port}")]);
        command.arg(format!("--config={}", conf.display()));
        command
    })
}

/// A port that nobody listens on, never the same twice: tests run side by side. Not one that the kernel gives to whoever asks
/// for any: a client anywhere on this machine could get it while a server is down, or even connect to itself.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<Mutex<u16>> = LazyLock::new(|| {
        // Another process of tests begins elsewhere.
        let begin = std::process::id().wrapping_mul(331) % u32::from(PORTS.end - PORTS.start);
        Mutex::new(PORTS.start + u16::try_from(begin).unwrap_or_default())
    });
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = *next;
        *next = if port + 1 == PORTS.end { PORTS.start } else { port + 1 };
        // Asked by connecting: what another test starts in this moment would keep a listener for a moment longer.
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            return port;
        }
    }
}
