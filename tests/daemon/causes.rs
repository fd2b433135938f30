//! What ordinarily goes wrong between an admin, ssh, sudo, a shell, rrsync and an rsync daemon: each fault is told by its own
//! cause, by the line that says so whatever stands before it, and with a cure that is one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{Node, Rsyncd, Site, Ssh, free_port, wait};

/// What many a login says before it comes to the matter.
const NOISE: &str =
    "echo 'Authorised use only.' >&2; echo 'bash: warning: setlocale: LC_ALL: cannot change locale (x)' >&2; ";

/// A site at whose sshd there are many ways to fail: each is a host of its own for ssh.
struct Hosts {
    site: Site,
    port: String,
    /// Of each host the name, and the words of its line in the log.
    expected: Vec<(String, Vec<String>)>,
}

impl Hosts {
    fn new(nodes: &[Node]) -> Hosts {
        let mut site = Site::on(nodes);
        site.serve(&[]);
        let config = fs::read_to_string(site.beside("ssh_config")).unwrap();
        let port = config.split_once("Port ").unwrap().1.split_whitespace().next().unwrap().to_owned();
        Hosts { site, port, expected: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.beside(name)
    }

    fn key(&self, name: &str, passphrase: &str) -> PathBuf {
        let key = self.path(&format!("key-{name}"));
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", passphrase, "-f"]).arg(&key).stdin(Stdio::null());
        assert!(keygen.status().unwrap().success());
        key
    }

    /// Lets a key in, with these options of its own.
    fn authorize(&self, key: &Path, options: &str) {
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let keys = self.path("authorized_keys");
        let text = fs::read_to_string(&keys).unwrap();
        fs::write(keys, format!("{text}{options}{public}")).unwrap();
    }

    /// A host that is reached with these options of ssh.
    fn host(&mut self, name: &str, options: &str, words: &[&str]) {
        let config = self.path("ssh_config");
        let text = fs::read_to_string(&config).unwrap();
        let (port, known) = (&self.port, self.path("known_hosts"));
        // Of other options ssh takes the first value, of keys all.
        let key = match options.contains("IdentityFile") {
            true => String::new(),
            false => format!(" IdentityFile {}\n", self.path("user_key").display()),
        };
        let block = format!(
            "Host {name}\n {options}\n HostName 127.0.0.1\n Port {port}\n IdentitiesOnly yes\n \
             UserKnownHostsFile {}\n StrictHostKeyChecking no\n{key}",
            known.display()
        );
        fs::write(&config, text + &block).unwrap();
        self.expect(&format!("{name}:"), words);
    }

    /// A host whose key starts this command, whatever is asked for.
    fn forced(&mut self, name: &str, command: &str, words: &[&str]) {
        let key = self.key(name, "");
        self.authorize(&key, &format!("command=\"{}\" ", command.replace('"', "\\\"")));
        self.host(name, &format!("IdentityFile {}", key.display()), words);
    }

    /// A module of the rsync daemon with these lines.
    fn module(&mut self, name: &str, lines: &str, words: &[&str]) {
        let path = self.path("rsyncd");
        fs::create_dir_all(&path).unwrap();
        self.site.module_option(&format!("[{name}]\npath = {}\nread only = no\n{lines}", path.display()));
        let port = self.site.rsyncd_port();
        self.expect(&format!("rsync://127.0.0.1:{port}/{name}"), words);
    }

    fn expect(&mut self, node: &str, words: &[&str]) {
        self.site.also_serve(node);
        self.expected.push((format!("node: {node},"), words.iter().map(ToString::to_string).collect()));
    }

    /// Runs a daemon for all of them. Each says what is expected, once.
    fn check(mut self) {
        self.site.start();
        for (node, words) in &self.expected {
            let words: Vec<&str> = ["node failing", node].into_iter().chain(words.iter().map(String::as_str)).collect();
            let line = self.site.expect_log_line(&words);
            assert!(!line.contains("Authorised"), "{line}");
        }
        for (node, _) in &self.expected {
            let lines = self.site.troubles().into_iter().filter(|line| line.contains(node));
            assert_eq!(lines.count(), 1, "{node} {:?}", self.site.troubles());
        }
        let status = self.site.run(&["status"]).stdout;
        assert!(!status.contains("protocol 1936287828"), "{status}");
    }
}

fn is_there(program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        println!("not tested: {program} is not installed");
    }
    there
}

#[test]
fn every_way_that_ssh_can_fail_is_told_by_its_own_cause_and_cure() {
    let mut hosts = Hosts::new(&[Ssh]);
    hosts.host("refused", &format!("Port {}", free_port()), &["WARN", "cannot be reached", "Connection refused"]);
    hosts.host(
        "nameless",
        "HostName nowhere.invalid",
        &["WARN", "name has no address", "nowhere.invalid", "correct the name"],
    );

    let other = hosts.key("other", "");
    let other = fs::read_to_string(other.with_extension("pub")).unwrap();
    let known = hosts.path("known-changed");
    fs::write(&known, format!("[127.0.0.1]:{} {other}", hosts.port)).unwrap();
    let remove = format!("ssh-keygen -R \"[127.0.0.1]:{}\" -f {}", hosts.port, known.display());
    let strict = |known: &Path| format!("StrictHostKeyChecking yes\n UserKnownHostsFile {}", known.display());
    hosts.host("changed", &strict(&known), &["ERRO", "host key has CHANGED, or somebody is in between", &remove]);
    hosts.host("unknown", &strict(Path::new("/dev/null")), &["ERRO", "host key is not known", "log in once by hand"]);

    let key = |key: &Path| format!("IdentityFile {}", key.display());
    let wrong = hosts.key("wrong", "");
    hosts.host("denied", &key(&wrong), &["ERRO", "refuses the login", "Permission denied (", "ssh key"]);
    let locked = hosts.key("locked", "passphrase");
    hosts.authorize(&locked, "");
    hosts.host("passphrase", &key(&locked), &["ERRO", "refuses the login", "one with a passphrase needs an ssh-agent"]);
    let open = hosts.key("open", "");
    hosts.authorize(&open, "");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let chmod = format!("chmod 600 {}", open.display());
    hosts.host("open", &key(&open), &["ERRO", "private key is readable by others", "are too open", &chmod]);
    let garbage = hosts.path("garbage");
    fs::write(&garbage, "garbage").unwrap();
    fs::set_permissions(&garbage, fs::Permissions::from_mode(0o600)).unwrap();
    hosts.host("garbage", &key(&garbage), &["ERRO", "private key cannot be used", "Load key"]);
    hosts.check();
}

#[test]
fn every_way_that_an_account_can_fail_is_told_by_its_own_cause_and_cure() {
    let mut hosts = Hosts::new(&[Ssh]);
    let no_shell = ["ERRO", "may not run programs", "This...", "for SFTP alone"];
    hosts.forced("nologin", "/usr/sbin/nologin", &no_shell);
    hosts.forced("sftp", "internal-sftp", &no_shell);
    hosts.forced("noisy", "echo Welcome; eval $SSH_ORIGINAL_COMMAND", &["ERRO", "login shell prints", "'Welc...'"]);
    hosts.forced("silent", "exit 1", &["WARN", "before rsync answered", "rsync --version"]);
    hosts.forced(
        "script",
        "echo not from here >&2; exit 1",
        &["WARN", "before rsync answered", "after \"not from here\""],
    );
    hosts.forced("missing", "/nonexistent/rsync --server", &["ERRO", "has no rsync", "/nonexistent/rsync"]);
    hosts.forced("broken", "/etc/passwd", &["ERRO", "rsync cannot be run", "/etc/passwd: Permission denied"]);
    let unrecognized = "echo \"openrsync: unrecognized option '--log-format=%i'\" >&2; exit 1";
    hosts.forced("openrsync", unrecognized, &["ERRO", "is openrsync", "unrecognized option", "--rsync-path"]);
    if rustix::process::geteuid().is_root() && is_there("/usr/bin/sudo") {
        let sudo = format!("{NOISE}exec runuser -u nobody -- sudo rsync --server");
        hosts.forced("sudo", &sudo, &["ERRO", "sudo at the node refuses", "a password is required", "NOPASSWD"]);
    }
    if is_there("/usr/bin/rrsync") && is_there("/usr/bin/python3") {
        let base = hosts.site.beside("").display().to_string();
        let rrsync = |options: &str| format!("{NOISE}exec /usr/bin/rrsync {options}");
        let sets = |cause, words, cure| ["ERRO", cause, words, cure];
        for (name, options, words) in [
            ("ro", format!("-ro {base}"), sets("rrsync at the node is read-only", "read-only server", "-wo")),
            ("no-del", format!("-no-lock -no-del {base}"), sets("no deletions", "option --delete", "remove -no-del")),
            ("window", format!("-no-lock {base}"), sets("refuses the run", "invalid rsync", "--modify-window=0")),
            ("gone", format!("-no-lock {base}/none"), sets("refuses the run", "does not exist", "make or mount")),
        ] {
            hosts.forced(name, &rrsync(&options), &words);
        }
    }
    hosts.check();
}

#[test]
fn every_way_that_an_rsync_daemon_can_fail_is_told_by_its_own_cause_and_cure() {
    let mut hosts = Hosts::new(&[Ssh, Rsyncd]);
    let motd = hosts.path("motd");
    fs::write(&motd, "created by the operations team\n*deleting|0|0|seed\n").unwrap();
    let conf = fs::read_to_string(hosts.path("rsyncd.conf")).unwrap();
    fs::write(hosts.path("rsyncd.conf"), format!("motd file = {}\n{conf}", motd.display())).unwrap();
    let pre = "pre-xfer exec = /bin/sh -c 'echo the disk is not mounted; exit 1'";
    hosts.module(
        "pre",
        pre,
        &["ERRO", "a program of the node's rsync daemon", "failure (256): the disk is not mounted"],
    );
    hosts.module(
        "early",
        "early exec = /bin/false",
        &["ERRO", "a program of the node's rsync daemon", "early exec failed"],
    );
    hosts.module("temp", "temp dir = /nowhere", &["ERRO", "directory for temporary files", "temp-dir does not exist"]);
    hosts.module("ro", "read only = yes", &["ERRO", "module at the node is read-only", "read only = no"]);
    hosts.module("deny", "hosts deny = *", &["ERRO", "does not let this host in", "access denied", "of [deny]"]);
    hosts.module("path", "path = /nowhere", &["ERRO", "directory of the module", "failed"]);
    hosts.module(
        "refuse",
        "refuse options = delete",
        &["ERRO", "refuses an option", "remove --delete from `refuse options`"],
    );
    hosts.module(
        "auth",
        "auth users = bob\nsecrets file = /nowhere",
        &["ERRO", "daemon refuses the login", "auth failed"],
    );
    hosts.module("max", "max connections = -1", &["WARN", "no free connection", "max connections"]);
    let port = hosts.site.rsyncd_port();
    hosts.expect(&format!("rsync://127.0.0.1:{port}/none"), &["ERRO", "no such module", "Unknown module 'none'"]);
    let ssh = format!("rsync://127.0.0.1:{}/m", hosts.port);
    hosts.expect(&ssh, &["ERRO", "no rsync daemon answers", "SSH-2.0", "correct its port"]);
    hosts.expect("rsync://nowhere.invalid/m", &["WARN", "name has no address", "nowhere.invalid"]);
    hosts.check();
}

/// What `check` says of the only node.
fn checked(site: &Site) -> String {
    let said = site.run(&["check"]).stdout;
    said.lines().find(|line| line.trim_start_matches("error: ").starts_with("node ")).unwrap_or(&said).to_owned()
}

#[test]
fn a_password_file_is_told_by_what_is_wrong_with_it_until_it_is_right() {
    let mut site = Site::on(&[Rsyncd]);
    let (secrets, password) = (site.beside("secrets"), site.beside("password"));
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::write(&secrets, "bob:secret\n").unwrap();
    mode(&secrets, 0o600);
    site.module_option(&format!("auth users = bob\nsecrets file = {}", secrets.display()));
    site.serve(&[]);
    site.also_serve(&format!("rsync://bob@127.0.0.1:{}/m", site.rsyncd_port()));
    site.config(&format!("extra: \"--password-file={}\"", password.display()));
    let tells = |words: &[&str]| {
        let said = checked(&site);
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    };
    tells(&[
        "the password file cannot be used",
        "could not open",
        &format!("write the password into {}", password.display()),
    ]);
    fs::write(&password, "").unwrap();
    mode(&password, 0o644);
    tells(&["the password file cannot be used", "must not be other-accessible", "chmod 600"]);
    mode(&password, 0o600);
    tells(&["the password file cannot be used", "failed to read a password"]);
    fs::write(&password, "wrong\n").unwrap();
    tells(&["the node's rsync daemon refuses the login", "auth failed", "secrets file"]);
    fs::write(&password, "secret\n").unwrap();
    tells(&["reachable"]);
}

#[test]
fn the_cure_for_a_host_key_that_has_changed_is_one() {
    let mut hosts = Hosts::new(&[Ssh]);
    let (known, other) = (hosts.path("known"), hosts.key("other", ""));
    let other = fs::read_to_string(other.with_extension("pub")).unwrap();
    fs::write(&known, format!("[127.0.0.1]:{} {other}", hosts.port)).unwrap();
    let accepts = format!("StrictHostKeyChecking accept-new\n UserKnownHostsFile {}", known.display());
    hosts.host("changed", &accepts, &[]);
    let said = checked(&hosts.site);
    assert!(said.contains("CHANGED"), "{said}");
    let cure = said.split_once("only then remove the old key: ").unwrap().1;
    assert!(Command::new("sh").args(["-c", cure]).status().unwrap().success(), "{cure}");
    assert!(checked(&hosts.site).contains("reachable"));
}

#[test]
fn a_message_of_the_day_is_not_read_as_rsyncs_own_words() {
    for keys in [&["standby: true"][..], &["standby: false", "extra: \"--motd\""]] {
        let mut site = Site::on(&[Rsyncd]);
        keys.iter().for_each(|key| site.config(key));
        let motd = site.beside("motd");
        fs::write(&motd, "created by ACME\n*deleting|0|0|seed\n<f+++++++++|9|9|news\n").unwrap();
        let conf = fs::read_to_string(site.beside("rsyncd.conf")).unwrap();
        fs::write(site.beside("rsyncd.conf"), format!("motd file = {}\n{conf}", motd.display())).unwrap();
        site.start_mirrored();
        site.write("new", "x");
        site.expect_on_nodes("new", "x");
        let line = site.expect_log_line(&["mirrored"]);
        // The file, and the times of the directory that it is in.
        assert!(line.contains("sent: 2, deleted: 0"), "{line}");
        assert_eq!(site.troubles(), Vec::<String>::new());
    }
}

#[test]
fn what_the_end_of_the_daemon_breaks_off_is_no_fault_of_the_node() {
    let mut site = Site::on(&[Ssh]);
    site.config("rspeed: 1000");
    site.write("big", vec![b'x'; 6_000_000]);
    let is_arriving = |site: &Site| {
        let entries = fs::read_dir(site.mirror(Ssh)).into_iter().flatten().flatten();
        let arrives = entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".big."));
        arrives.then_some(())
    };
    for (options, signals) in [(&["once"][..], 1), (&[], 2)] {
        site.launch_with(options);
        assert!(wait::until(|| is_arriving(&site)).is_some(), "nothing is being sent");
        for _ in 1..signals {
            site.daemon().signal(Signal::TERM);
            site.expect_log("stopping");
        }
        let ended = site.stop();
        assert_eq!(ended.code, Some(75), "{}", ended.log);
        let faults = ["node failing", "not reconciled", "trying once more", "was killed"];
        assert!(!faults.iter().any(|fault| ended.log.contains(fault)), "{}", ended.log);
    }
}
