//! The far ends: an sshd and an rsync daemon, each with its own keys and files, on loopback ports of their own.

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::line::Line;
use crate::meter::Meter;
use crate::process::Process;
use crate::trouble::{At, Outcome};

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);

/// A server that listens; dropping it ends it and its sessions.
pub struct Server {
    pub port: u16,
    process: Process,
}

impl Server {
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    fn start(log: &Path, command: impl Fn(u16) -> Command) -> Outcome<Server> {
        // Another process may take the port before the server does.
        for _ in 0..5 {
            let port = free_port()?;
            let mut command = command(port);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log).at(log.display())?);
            let mut process = Process::start(&mut command)?;
            let start = Instant::now();
            while !process.has_ended() && start.elapsed() < START {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    return Ok(Server { port, process });
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        let said = fs::read_to_string(log).unwrap_or_default();
        Err(format!("{:?} does not start: {}", command(0).get_program(), said.trim()).into())
    }
}

/// An sshd, and two more ways to it.
pub struct SshServer {
    pub meter: Meter,
    pub line: Line,
    pub server: Server,
}

/// An sshd that lets in the user who runs this, by a key in `dir`, and an `ssh` in `dir/bin` that reaches it as
/// `mirror`, as `metered` through the meter, and as `distant` over the line.
pub fn sshd(dir: &Path) -> Outcome<SshServer> {
    if rustix::process::geteuid().is_root() {
        // sshd insists on this directory, which on Debian its service makes.
        fs::create_dir_all("/run/sshd").at("/run/sshd")?;
    }
    for key in ["host_key", "user_key"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(key)).stdin(Stdio::null());
        let status = keygen.status().at("ssh-keygen (package openssh-client)")?;
        status.success().then_some(()).at("ssh-keygen makes no key")?;
    }
    fs::copy(dir.join("user_key.pub"), dir.join("authorized_keys")).at("authorized_keys")?;
    let (conf, at) = (dir.join("sshd_config"), dir.display());
    // A shell that sshd starts may read its user's files, and what these do is not to be measured: here are none.
    let home = dir.join("home");
    fs::create_dir(&home).at(home.display())?;
    let pam = if account_is_locked() { "yes" } else { "no" };
    let text = format!(
        "ListenAddress 127.0.0.1\nHostKey {at}/host_key\nAuthorizedKeysFile {at}/authorized_keys\nPidFile none\n\
         UsePAM {pam}\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 100\nUseDNS no\n\
         SetEnv HOME={at}/home\n"
    );
    fs::write(&conf, text).at(conf.display())?;
    let server = Server::start(&dir.join("sshd.log"), |port| {
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-p", &port.to_string(), "-f"]).arg(&conf);
        command
    })?;
    let meter = Meter::start(server.port)?;
    let line = Line::start(server.port)?;
    ssh_client(dir, &[("mirror", server.port), ("metered", meter.port), ("distant", line.port)])?;
    Ok(SshServer { meter, line, server })
}

/// Without PAM, sshd refuses a user whose password is locked, which root's is on some machines.
fn account_is_locked() -> bool {
    let shadow = fs::read_to_string("/etc/shadow").unwrap_or_default();
    rustix::process::geteuid().is_root() && shadow.lines().any(|line| line.starts_with("root:!"))
}

/// The contestants find this `ssh` in their PATH. It reads our configuration and none of this machine.
fn ssh_client(dir: &Path, hosts: &[(&str, u16)]) -> Outcome<()> {
    let (config, at) = (dir.join("ssh_config"), dir.display());
    let hosts: String = hosts.iter().map(|(name, port)| format!("Host {name}\n Port {port}\n")).collect();
    // Further hosts come to `ssh_lines`, which must not be included for one host only.
    let text = format!(
        "Include {at}/ssh_lines\n{hosts}Host *\n HostName 127.0.0.1\n IdentityFile {at}/user_key\n IdentitiesOnly yes\n \
         UserKnownHostsFile {at}/known_hosts\n StrictHostKeyChecking no\n LogLevel ERROR\n"
    );
    fs::write(&config, text).at(config.display())?;
    script(&dir.join("bin/ssh"), &format!("exec /usr/bin/ssh -F {} \"$@\"", config.display()))
}

/// Lets the `ssh` in `dir/bin` reach the sshd as `host`, too, by this port.
pub fn add_ssh_host(dir: &Path, host: &str, port: u16) -> Outcome<()> {
    let path = dir.join("ssh_lines");
    let hosts = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, format!("{hosts}Host {host}\n Port {port}\n")).at(path.display())
}

/// An rsync daemon whose module `m` is `dir`.
pub fn rsync_daemon(dir: &Path) -> Outcome<Server> {
    let user = match rustix::process::geteuid().is_root() {
        true => "use chroot = yes\nuid = root\ngid = root\n",
        false => "use chroot = no\nmunge symlinks = no\n",
    };
    let (conf, log) = (dir.join("rsyncd.conf"), dir.join("rsyncd.log"));
    let text = format!("log file = {}\n{user}[m]\npath = {}\nread only = no\n", log.display(), dir.display());
    fs::write(&conf, text).at(conf.display())?;
    Server::start(&dir.join("rsyncd.err"), |port| {
        let mut command = Command::new("rsync");
        command.args(["--daemon", "--no-detach", "--address=127.0.0.1", &format!("--port={port}")]);
        command.arg(format!("--config={}", conf.display()));
        command
    })
}

/// An executable file of one line for sh.
pub fn script(path: &Path, line: &str) -> Outcome<()> {
    fs::create_dir_all(path.parent().unwrap_or(path)).at(path.display())?;
    fs::write(path, format!("#!/bin/sh\n{line}\n")).at(path.display())?;
    fs::set_permissions(path, Permissions::from_mode(0o755)).at(path.display())
}

fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).at("loopback")?;
    Ok(listener.local_addr().at("loopback")?.port())
}
