//! An rsync reaches what it mirrors and nothing else: whoever may write in the source reads no other file by it, and whatever
//! the configuration names still works.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with};
use rustix::process::Signal;

use crate::support::{Local, Node, Rsyncd, Site, Ssh, descendants, marked, program, signal, wait};

/// What the file beside the source holds.
const SECRET: &str = "the content of a file that only root may read";
/// The names in the directory that is swapped.
const NAMES: usize = 8;

/// Whether the kernel has Landlock, as far as a mirror of this machine takes it.
fn is_confined(site: &Site) -> bool {
    let said = site.run(&["check", "--offline"]).stdout;
    let is_confined = said.contains("rsync: confined to what it mirrors") && !said.contains("but not for");
    if !is_confined {
        println!("not tested, rsync cannot be confined here:\n{said}");
    }
    is_confined
}

/// A site with a directory `d`, and beside it another one with the same names, which holds what is private.
fn tempting(nodes: &[Node]) -> Site {
    let site = Site::on(nodes);
    fs::create_dir(site.beside("private")).unwrap();
    for number in 0..NAMES {
        site.mkdir("d");
        site.write(format!("d/f{number}"), format!("public {number}"));
        let private = site.beside("private").join(format!("f{number}"));
        fs::write(&private, SECRET).unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    }
    symlink(site.beside("private"), site.beside("swap")).unwrap();
    site
}

/// Swaps `d` for a symlink to what is private, and back, again and again. Ends with the directory in its place.
fn swap(directory: &Path, link: &Path, over: &AtomicBool) {
    let exchange = || renameat_with(CWD, directory, CWD, link, RenameFlags::EXCHANGE).unwrap();
    let mut number: usize = 0;
    while !over.load(Ordering::Relaxed) {
        // What changes is listed by its path.
        fs::write(directory.join(format!("f{}", number % NAMES)), format!("public {number}")).unwrap();
        thread::sleep(Duration::from_micros(200 * (number as u64 % 37)));
        exchange();
        thread::sleep(Duration::from_micros(200 * (number as u64 % 23)));
        exchange();
        number += 1;
    }
}

/// How many files of a directory, which is no symlink, hold this.
fn holding(directory: &Path, content: &str) -> usize {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::open(directory, flags, Mode::empty()) else { return 0 };
    let held = |number: usize| {
        let file = openat(&directory, format!("f{number}"), OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
        std::io::read_to_string(fs::File::from(file)).ok()
    };
    (0..NAMES).filter(|number| held(*number).is_some_and(|held| held == content)).count()
}

/// How often what is private was seen at a node, while `d` was swapped until `enough` says so of that number.
fn leaks(site: &Site, enough: impl Fn(usize) -> bool) -> usize {
    let (over, directory, link) = (AtomicBool::new(false), site.at("d"), site.beside("swap"));
    thread::scope(|scope| {
        scope.spawn(|| swap(&directory, &link, &over));
        let mut seen = 0;
        while !enough(seen) {
            for node in site.live() {
                seen += holding(&site.mirror(node).join("d"), SECRET);
            }
            thread::sleep(Duration::from_millis(1));
        }
        over.store(true, Ordering::Relaxed);
        seen
    })
}

/// How long `d` is swapped: longer by hand (`INOSYNC_TEST_SWAP`, in seconds).
fn swap_time() -> Duration {
    let seconds = std::env::var("INOSYNC_TEST_SWAP").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(6))
}

#[test]
fn a_directory_that_is_swapped_for_a_symlink_leads_nowhere() {
    let mut site = tempting(&[Local, Ssh]);
    if !is_confined(&site) {
        return;
    }
    site.start_mirrored();
    site.expect_log("rsync is confined to what it mirrors");
    let (begun, private) = (Instant::now(), site.beside("private"));
    let before = fs::metadata(&private).unwrap().modified().unwrap();
    let seen = leaks(&site, |_| begun.elapsed() > swap_time());
    assert_eq!(seen, 0, "a file from outside of the source was at a node");
    // A path that could not be opened is tried again, by itself.
    site.expect_identical();
    assert_eq!(fs::metadata(&private).unwrap().modified().unwrap(), before, "nothing was made outside");
    for number in 0..NAMES {
        assert_eq!(fs::read_to_string(private.join(format!("f{number}"))).unwrap(), SECRET);
    }
}

#[test]
fn without_bounds_it_leads_out() {
    let mut site = tempting(&[Local]);
    site.config("confine: false");
    site.start_mirrored();
    site.expect_log_line(&["rsync is not confined", "confine: false"]);
    let begun = Instant::now();
    let seen = leaks(&site, |seen| seen > 0 || begun.elapsed() > wait::DEADLINE);
    assert!(seen > 0, "the test above has lost its point");
}

/// Of each rsync that an inosync of the site has started for a node and that runs: whether it gave up to gain privileges, which the kernel
/// wants before it confines a process.
fn rsyncs(base: &Path) -> Vec<bool> {
    let status = |pid: u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        // One that has just ended has no arguments any more: it may have been asked for its version, which takes no bounds.
        let mirrors = !line.is_empty() && !line.contains("--version");
        fs::read_to_string(format!("/proc/{pid}/status")).ok().filter(|_| mirrors)
    };
    let is_rsync = |status: &String| status.starts_with("Name:\trsync\n");
    let found = marked(&base.display().to_string()).into_iter().filter_map(status).filter(is_rsync);
    found.map(|status| status.contains("NoNewPrivs:\t1")).collect()
}

#[test]
fn every_rsync_that_reads_the_source_is_confined() {
    let mut site = Site::new();
    if !is_confined(&site) {
        return;
    }
    (0..200).for_each(|number| site.write(format!("f{number}"), vec![b'x'; 20_000]));
    // One that is missing is made before, by an rsync that opens no file.
    fs::create_dir(site.mirror(Local)).unwrap();
    site.config("rspeed: 2000");
    let base = site.beside("").components().collect::<std::path::PathBuf>();
    for options in [&["dry-run"][..], &["once"], &["verify"]] {
        let over = AtomicBool::new(false);
        let ended = thread::scope(|scope| {
            let look = scope.spawn(|| {
                let mut seen = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    seen.extend(rsyncs(&base));
                }
                seen
            });
            let ended = site.run(options);
            over.store(true, Ordering::Relaxed);
            let seen = look.join().unwrap();
            assert!(!seen.is_empty() && !seen.contains(&false), "{options:?}: {seen:?}");
            ended
        });
        assert_eq!(ended.code, Some(0), "{options:?}: {}", ended.log);
    }
    site.start_mirrored();
    site.settle();
    let waiting = rsyncs(&base);
    assert!(waiting.len() >= 3 && !waiting.contains(&false), "{waiting:?}");
}

#[test]
fn the_log_and_the_check_say_whether_rsync_is_confined_and_a_reload_changes_it() {
    let mut site = Site::on(&[Local]);
    if !is_confined(&site) {
        return;
    }
    site.start_mirrored();
    site.expect_log_line(&["rsync is confined to what it mirrors", "Landlock ABI"]);
    site.settle();
    site.config("confine: false");
    let line = site.reload();
    assert!(line.contains("changed confine"), "{line}");
    site.expect_log_line(&["rsync is not confined", "confine: false"]);
    site.settle();
    let base = site.beside("").components().collect::<std::path::PathBuf>();
    wait::until(|| rsyncs(&base).iter().all(|confined| !confined).then_some(())).unwrap();
    site.stop();
    assert!(site.run(&["check"]).stdout.contains("rsync: not confined (confine: false)\n"));
    let script = site.beside("rsync");
    program(&script, "#!/bin/sh\nexec rsync \"$@\"\n");
    site.config("confine: true");
    site.config(&format!("rsync: {script:?}"));
    let check = site.run(&["check"]);
    let words = format!("warning: rsync: not confined: {} is a script", script.display());
    assert!(check.stdout.contains(&words) && check.code == Some(0), "{}", check.stdout);
}

#[test]
fn what_is_mounted_below_the_source_is_mirrored() {
    let mut site = Site::on(&[Local, Rsyncd]);
    for name in ["a", "b", "later"] {
        site.mkdir(name);
    }
    let elsewhere = site.beside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("bound"), "bound").unwrap();
    let mut mounts = Mounts(Vec::new());
    let bind = ["--bind", elsewhere.to_str().unwrap()];
    if !(mounts.mount(&["-t", "tmpfs", "tmpfs"], &site.at("a")) && mounts.mount(&bind, &site.at("b"))) {
        return;
    }
    site.write("a/mounted", "mounted");
    site.start_mirrored();
    site.assert_on_nodes("a/mounted", "mounted");
    site.assert_on_nodes("b/bound", "bound");
    // What waits at a node was started before.
    site.settle();
    site.write("b/more", "more");
    mounts.mount(&["-t", "tmpfs", "tmpfs"], &site.at("later"));
    site.write("later/late", "late");
    site.expect_on_nodes("b/more", "more");
    site.expect_on_nodes("later/late", "late");
    site.stop();
}

/// What is mounted for as long as this lives.
struct Mounts(Vec<std::path::PathBuf>);

impl Mounts {
    /// Whether it could be mounted.
    fn mount(&mut self, what: &[&str], at: &Path) -> bool {
        let output = Command::new("mount").args(what).arg(at).output().unwrap();
        if !output.status.success() {
            println!("not tested, no mounts here: {}", String::from_utf8_lossy(&output.stderr));
            return false;
        }
        self.0.push(at.to_owned());
        true
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for at in &self.0 {
            let _ = Command::new("umount").arg("-l").arg(at).output();
        }
    }
}

#[test]
fn files_that_the_configuration_names_are_within_reach() {
    let mut site = Site::on(&[Local]);
    let (old, part, scratch) = (site.beside("old/deep"), site.beside("part"), site.beside("scratch"));
    fs::create_dir(&scratch).unwrap();
    let [old_dir, part_dir, scratch_dir] = [&old, &part, &scratch].map(|path| path.display().to_string());
    let log = site.beside("at-the-node.log").display().to_string();
    site.config(&format!(
        "extra: \"-a -b --backup-dir={old_dir} --partial-dir={part_dir} -T{scratch_dir} -M--log-file={log}\""
    ));
    site.config(&format!("logfile: {:?}", site.beside("own.log")));
    site.start_mirrored();
    site.write("seed", "another");
    site.expect_on_nodes("seed", "another");
    wait::until(|| (fs::read_to_string(old.join("seed")).ok()? == "seed").then_some(())).unwrap();
    for name in ["own.log", "at-the-node.log"] {
        assert!(!fs::read(site.beside(name)).unwrap().is_empty(), "{name}");
    }
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn an_rsync_daemon_asks_for_the_password_of_a_file() {
    let mut site = Site::on(&[Rsyncd]);
    let (secrets, password) = (site.beside("secrets"), site.beside("password"));
    for (path, text) in [(&secrets, "root:open sesame\n"), (&password, "open sesame\n")] {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    site.module_option(&format!("auth users = root\nsecrets file = {}", secrets.display()));
    site.config(&format!("extra: \"--password-file={}\"", password.display()));
    // The name that rsync gives, if the node names none.
    site.start_by(&["env", "USER=root"], &[]);
    site.expect_identical();
    site.write("more", "more");
    site.expect_on_nodes("more", "more");
}

#[test]
fn a_program_that_connects_to_rsync_daemons_is_not_confined() {
    let mut site = Site::on(&[Rsyncd]);
    let [private, seen, config] = ["private", "seen", "rsyncd.conf"].map(|name| site.beside(name));
    fs::write(&private, SECRET).unwrap();
    // What is started by rsyncd itself: nothing listens at the port.
    site.stop_server(Rsyncd);
    let [from, to, config] = [private, seen.clone(), config].map(|path| path.display().to_string());
    // Several connect at once while the test reads: each writes a note of its own, which then takes the name.
    let program = format!(
        "RSYNC_CONNECT_PROG=cat {from} > {to}.$$; echo '%H' >> {to}.$$; mv {to}.$$ {to}; exec rsync --daemon --config={config}"
    );
    site.start_by(&["env", &program], &[]);
    site.expect_identical();
    site.write("more", "more");
    site.expect_on_nodes("more", "more");
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.starts_with(SECRET) && seen.ends_with("127.0.0.1\n"), "{seen}");
}

/// Lets the ssh of the daemon find what this file says first.
fn ssh_reads(site: &Site, config: &str) {
    let (bin, own, all) = (site.beside("bin/ssh"), site.beside("ssh_config"), site.beside("ssh_all"));
    fs::write(&all, format!("Include {}\n{config}\nInclude {}\n", site.beside("included").display(), own.display()))
        .unwrap();
    program(&bin, &format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", all.display()));
}

#[test]
fn ssh_reads_and_runs_whatever_its_configuration_names() {
    for ssh_master in [true, false] {
        let mut site = Site::on(&[Ssh]);
        site.config(&format!("ssh_master: {ssh_master}"));
        // Nothing that rsync could read, nor start.
        let (proxy, seen) = (site.beside("proxy"), site.beside("seen"));
        program(
            &proxy,
            &format!(
                // At once: that of a standby comes while the file is read.
                "#!/bin/sh\ncat {key} > {seen}.$$\nmv {seen}.$$ {seen}\nexec /usr/sbin/sshd -i -f {sshd}\n",
                key = site.beside("user_key").display(),
                seen = seen.display(),
                sshd = site.beside("sshd_config").display()
            ),
        );
        fs::write(site.beside("included"), format!("Host mirror\n ProxyCommand {}\n", proxy.display())).unwrap();
        ssh_reads(&site, "");
        site.start_mirrored();
        site.write("more", "more");
        site.expect_on_nodes("more", "more");
        assert_eq!(fs::read(&seen).unwrap(), fs::read(site.beside("user_key")).unwrap());
        assert!(site.troubles().is_empty(), "{:?}", site.troubles());
    }
}

#[test]
fn ssh_asks_an_agent_for_the_key() {
    let mut site = Site::on(&[Ssh]);
    let socket = site.beside("agent");
    let mut agent = Command::new("ssh-agent");
    let mut agent = agent.arg("-D").arg("-a").arg(&socket).stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut add = Command::new("ssh-add");
    let key = site.beside("user_key");
    add.arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket);
    // The socket has its name before anybody listens.
    wait::until(|| add.output().unwrap().status.success().then_some(())).unwrap();
    fs::remove_file(&key).unwrap();
    fs::write(site.beside("included"), "").unwrap();
    ssh_reads(&site, &format!("Host mirror\n IdentityAgent {}\n IdentityFile none", socket.display()));
    site.start_mirrored();
    site.write("more", "more");
    site.expect_on_nodes("more", "more");
    site.stop();
    signal(agent.id(), Signal::TERM);
    let _ = agent.wait();
}

#[test]
fn a_remote_shell_of_the_users_own_gets_what_rsync_tells_it() {
    let mut site = Site::on(&[Ssh]);
    let (shell, heard) = (site.beside("shell"), site.beside("heard"));
    program(&shell, &format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {}\nexec ssh \"$@\"\n", heard.display()));
    site.config(&format!("extra: \"-4 -e '{} -v -o \\\"LogLevel ERROR\\\"'\"", shell.display()));
    site.config("standby: false");
    site.start_mirrored();
    let words = fs::read_to_string(&heard).unwrap();
    assert!(words.starts_with("-v\n-o\nLogLevel ERROR\nmirror\nrsync\n--server\n"), "{words}");
}

/// The processes of a site with this name.
fn named(site: &Site, name: &str) -> Vec<u32> {
    let all = descendants(site.daemon().id()).into_iter();
    all.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim_end() == name))
        .collect()
}

#[test]
fn nothing_is_left_of_a_remote_shell_whose_rsync_is_killed() {
    let mut site = Site::on(&[Ssh]);
    // One that does not look whether anybody is there.
    let shell = site.beside("shell");
    program(&shell, "#!/bin/sh\nexec sleep 600\n");
    site.config(&format!("extra: \"-e {}\"", shell.display()));
    site.start();
    let before = wait::until(|| Some(named(&site, "sleep")).filter(|found| !found.is_empty())).unwrap();
    named(&site, "rsync").into_iter().for_each(|pid| signal(pid, Signal::KILL));
    wait::until(|| (!named(&site, "sleep").iter().any(|pid| before.contains(pid))).then_some(())).unwrap();
    site.config("extra: \"\"");
    site.reload();
    site.expect_identical();
}
