//! Where everything happens: a temporary directory with the servers, and in it one arena after the other.

use std::cell::Cell;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use crate::line::Line;
use crate::meter::Meter;
use crate::mirror;
use crate::server::{self, Server, SshServer};
use crate::trouble::{At, Outcome};

/// How a mirror is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A directory of this machine.
    Local,
    /// By ssh.
    Ssh,
    /// A module of an rsync daemon.
    Daemon,
}

impl Way {
    pub const ALL: [Way; 3] = [Way::Local, Way::Ssh, Way::Daemon];

    pub fn name(self) -> &'static str {
        match self {
            Way::Local => "local",
            Way::Ssh => "ssh",
            Way::Daemon => "rsync daemon",
        }
    }

    fn dir(self) -> &'static str {
        match self {
            Way::Local => "local",
            Way::Ssh => "ssh",
            Way::Daemon => "rsyncd",
        }
    }
}

/// The temporary directory and what runs in it. Dropped last, after all contestants.
pub struct Ground {
    sshd: Outcome<SshServer>,
    rsyncd: Outcome<Server>,
    lsyncd: bool,
    arenas: Cell<u32>,
    started: Instant,
    dir: TempDir,
}

impl Ground {
    /// `target` is where the trees go if shared memory has too little room.
    pub fn new(target: &Path) -> Outcome<Ground> {
        let parent = if free_bytes(Path::new("/dev/shm")) > ROOM { Path::new("/dev/shm") } else { target };
        fs::create_dir_all(parent).at(parent.display())?;
        let dir = tempfile::Builder::new().prefix("inosync-bench-").tempdir_in(parent).at(parent.display())?;
        fs::create_dir(dir.path().join("bin")).at("the directory for the ssh client")?;
        let (sshd, rsyncd) = (server::sshd(dir.path()), server::rsync_daemon(dir.path()));
        let lsyncd = Path::new("/usr/bin/lsyncd").exists();
        Ok(Ground { sshd, rsyncd, lsyncd, arenas: Cell::new(0), started: Instant::now(), dir })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn has_lsyncd(&self) -> bool {
        self.lsyncd
    }

    /// Why mirrors cannot be reached this way, if so.
    pub fn lacks(&self, way: Way) -> Option<String> {
        let error = match way {
            Way::Local => return None,
            Way::Ssh => self.sshd.as_ref().err(),
            Way::Daemon => self.rsyncd.as_ref().err(),
        };
        error.map(ToString::to_string)
    }

    /// What counts the bytes to and from mirrors at [`Arena::metered_node`], or why there are none.
    pub fn meter(&self) -> Result<&Meter, String> {
        self.sshd.as_ref().map(|sshd| &sshd.meter).map_err(ToString::to_string)
    }

    /// The long line to mirrors at [`Arena::distant_node`], or why there are none.
    pub fn line(&self) -> Result<&Line, String> {
        self.sshd.as_ref().map(|sshd| &sshd.line).map_err(ToString::to_string)
    }

    /// The server of the mirrors that are reached this way, or why there is none. There is none for a directory of this machine.
    pub fn server(&self, way: Way) -> Outcome<&Server> {
        match way {
            Way::Local => Err("no server is needed".into()),
            Way::Ssh => self.sshd.as_ref().map(|sshd| &sshd.server).map_err(|error| error.to_string().into()),
            Way::Daemon => self.rsyncd.as_ref().map_err(|error| error.to_string().into()),
        }
    }

    /// A line to a node of its own, whose mirrors are below the directory `name` of the arena. Returns the node, too, as
    /// inosync's `rnodes` has it.
    pub fn line_to(&self, arena: &Arena, way: Way, name: &str) -> Outcome<(Line, String)> {
        let line = Line::start(self.server(way)?.port)?;
        let node = match way {
            Way::Daemon => format!("rsync://127.0.0.1:{}/m/{}/{name}", line.port, arena.name),
            _ => {
                let host = format!("{}-{name}", arena.name);
                server::add_ssh_host(self.path(), &host, line.port)?;
                format!("{host}:{}", arena.dir.join(name).display())
            }
        };
        Ok((line, node))
    }

    /// The PATH of the contestants: it begins with our own ssh client.
    pub fn search(&self) -> OsString {
        let mut search = self.path().join("bin").into_os_string();
        search.push(":");
        search.push(env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        search
    }

    /// Tells who watches what is being done.
    pub fn say(&self, what: &str) {
        eprintln!("[{:6.1} s] {what}", self.started.elapsed().as_secs_f64());
    }

    /// Fresh directories for a scenario: a source with nothing but [`SEED`], and no mirror yet.
    pub fn arena(&self) -> Outcome<Arena> {
        self.arenas.set(self.arenas.get() + 1);
        let name = format!("arena{}", self.arenas.get());
        let dir = self.path().join(&name);
        for part in ["source/zz", Way::Local.dir(), Way::Ssh.dir(), Way::Daemon.dir()] {
            fs::create_dir_all(dir.join(part)).at(dir.display())?;
        }
        mirror::write(&dir.join("source").join(SEED), 16)?;
        let daemon_port = self.rsyncd.as_ref().map_or(0, |server| server.port);
        Ok(Arena { dir, name, daemon_port })
    }
}

/// In shared memory, for the largest scenario: a file of 2 GiB in the mirror, and trees.
const ROOM: u64 = 5 << 30;

fn free_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(0, |stat| stat.f_bavail * stat.f_frsize)
}

/// One source with its mirrors; dropping it removes them.
pub struct Arena {
    dir: PathBuf,
    name: String,
    daemon_port: u16,
}

/// The file that is changed to see whether a daemon mirrors. A comparison of the whole tree comes to it last.
pub const SEED: &str = "zz/seed";

/// The last part of every mirror's path, what inosync calls `rpath`.
pub const RPATH: &str = "/m";

impl Arena {
    pub fn path(&self) -> &Path {
        &self.dir
    }

    pub fn source(&self) -> PathBuf {
        self.dir.join("source")
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.source().join(path)
    }

    /// The mirror as a directory of this machine.
    pub fn mirror(&self, way: Way) -> PathBuf {
        self.dir.join(way.dir()).join(&RPATH[1..])
    }

    /// The mirror's place as inosync's `rnodes` has it, without [`RPATH`].
    pub fn node(&self, way: Way) -> String {
        let dir = self.dir.join(way.dir());
        match way {
            Way::Local => dir.display().to_string(),
            Way::Ssh => format!("mirror:{}", dir.display()),
            Way::Daemon => format!("rsync://127.0.0.1:{}/m/{}/{}", self.daemon_port, self.name, way.dir()),
        }
    }

    /// The mirror that is reached by ssh, as [`Arena::node`] has it, but by way of the [`Meter`].
    pub fn metered_node(&self) -> String {
        format!("metered:{}", self.dir.join(Way::Ssh.dir()).display())
    }

    /// The mirror that is reached by ssh, as [`Arena::node`] has it, but over the [`Line`].
    pub fn distant_node(&self) -> String {
        format!("distant:{}", self.dir.join(Way::Ssh.dir()).display())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
