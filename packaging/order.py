#!/usr/bin/env python3
"""Writes packaging/order.ld anew: the functions that a daemon runs, which the linker puts beside each other.

    order.py [BINARY]

BINARY is the static one of this machine with its symbols; without it, it is built by `make deb`. A daemon with three nodes
(local, ssh, rsync daemon) runs twice with a breakpoint on each function: a first start, then changes of all kinds; and a restart.
What ran in both until it was at rest comes first in the list. It needs Linux on x86-64, rsync, sshd, and nm of the binutils; nothing is
installed.
"""

import ctypes
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-musl"

# === what ran ===

TRACEME, PEEK, POKE, CONT, GETREGS, SETREGS, DETACH, SETOPTIONS = 0, 1, 4, 7, 12, 13, 17, 0x4200
# Its threads, and what it forks: a process of its own is let go when it becomes another program.
FORK, VFORK, CLONE, EXEC, EXITKILL = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 20
EXEC_STOP = 4
REGISTERS, RIP = 27, 16
BREAKPOINT = 0xCC

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def trace(command, functions, out):
    """Runs the command with a breakpoint on each function, and writes the addresses of those that ran."""
    pid = os.fork()
    if pid == 0:
        libc.ptrace(TRACEME, 0, None, None)
        os.execv(command[0], command)
    os.waitpid(pid, 0)
    libc.ptrace(SETOPTIONS, pid, None, FORK | VFORK | CLONE | EXEC | EXITKILL)
    program = os.path.realpath(command[0])
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    base = next(int(line.split("-")[0], 16) for line in maps if line.endswith(program))
    code, ran = {}, set()
    signal.signal(signal.SIGUSR1, lambda *_: write(ran, out))
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        for function in functions:
            memory.seek(base + function)
            code[function] = memory.read(1)[0]
            memory.seek(base + function)
            memory.write(bytes([BREAKPOINT]))
    libc.ptrace(CONT, pid, None, None)
    registers = (ctypes.c_ulong * REGISTERS)()
    while True:
        thread, status = os.waitpid(-1, 0x40000000)  # __WALL
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if thread == pid:
                break
            continue
        sent, stop = os.WSTOPSIG(status), status >> 16
        if stop == EXEC_STOP:
            libc.ptrace(DETACH, thread, None, None)
            continue
        if sent == signal.SIGTRAP and not stop:
            libc.ptrace(GETREGS, thread, None, registers)
            function = registers[RIP] - 1 - base
            if function in code:
                ran.add(function)
                at = ctypes.c_void_p(base + function)
                word = libc.ptrace(PEEK, thread, at, None) & ~0xFF | code[function]
                libc.ptrace(POKE, thread, at, ctypes.c_void_p(word & (1 << 64) - 1))
                registers[RIP] -= 1
                libc.ptrace(SETREGS, thread, None, registers)
            sent = 0
        elif stop or sent == signal.SIGSTOP:
            sent = 0
        libc.ptrace(CONT, thread, None, ctypes.c_void_p(sent))
    write(ran, out)


def write(ran, out):
    """Writes the file as a whole: who waits for it sees all of it."""
    new = out.with_suffix(".new")
    new.write_text("\n".join(map(str, ran)))
    new.rename(out)


class Traced:
    """A daemon that runs with breakpoints, under a process of its own that handles them. Its log is lost."""

    def __init__(self, command, functions, out):
        self.out = out
        self.tracer = os.fork()
        if self.tracer == 0:
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                trace(command, functions, out)
            finally:
                os._exit(0)

    def so_far(self):
        """What ran until now."""
        os.kill(self.tracer, signal.SIGUSR1)
        while not self.out.exists():
            time.sleep(0.1)
        return self.read()

    def end(self):
        children = Path(f"/proc/{self.tracer}/task/{self.tracer}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        os.waitpid(self.tracer, 0)
        return self.read()

    def read(self):
        ran = {int(line) for line in self.out.read_text().split()}
        self.out.unlink()
        return ran


# === what is run ===


def free_port():
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        return ear.getsockname()[1]


def site(work):
    """Makes a source, an sshd and an rsync daemon; the configuration, and the servers. The mirror of this machine is missing."""
    for name in ("source", "ssh", "daemon", "state"):
        (work / name).mkdir()
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / key], check=True)
    port, module = free_port(), free_port()
    (work / "known").write_text(f"[127.0.0.1]:{port} {(work / 'host.pub').read_text()}")
    (work / "sshd.conf").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {work}/host\nAuthorizedKeysFile {work}/user.pub\n"
        "StrictModes no\nUsePAM no\nPidFile none\n"
    )
    (work / "rsyncd.conf").write_text(f"use chroot = no\n[m]\npath = {work}/daemon\nread only = no\nuid = {os.getuid()}\n")
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    servers = [
        subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", work / "sshd.conf"]),
        subprocess.Popen(
            ["rsync", "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={module}", f"--config={work}/rsyncd.conf"]
        ),
    ]
    shell = f"ssh -p {port} -i {work}/user -o UserKnownHostsFile={work}/known"
    (work / "site.ron").write_text(
        f'(wpath: "{work}/source", rpath: "{work}/local", state_dir: "{work}/state", '
        f'rexcludes: ["*.skipped", "/skipped/"], rnodes: [(node: "", name: "local"), '
        f'(node: "{getpass.getuser()}@127.0.0.1:", name: "ssh", rpath: "{work}/ssh", extra: "-a -e \'{shell}\'"), '
        f'(node: "127.0.0.1::m", name: "daemon", rpath: "/", extra: "-a --port={module}")])'
    )
    return work / "site.ron", servers


def service_manager(path):
    """Reads what the daemon tells systemd, which would wait else."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(path)
        pid = os.fork()
        while pid == 0:
            ear.recv(4096)
    return pid


def change_all(source, settle):
    """Makes changes of all kinds, and lets each group arrive."""
    for n in range(5):
        (source / f"file {n}").write_text(f"{n}\n")
        settle()
    (source / "directory" / "below").mkdir(parents=True)
    (source / "directory" / "below" / "file").write_text("content\n" * 100_000)
    (source / "link").symlink_to("file 1")
    settle()
    with open(source / "file 1", "a") as file:
        file.write("more\n")
    (source / "file 2").chmod(0o600)
    os.link(source / "file 3", source / "another name")
    settle()
    (source / "file 0").rename(source / "renamed")
    (source / "directory" / "below").rename(source / "moved")
    settle()
    for n in range(500):
        (source / "directory" / f"one of many {n}").write_text(f"{n}\n")
    settle()
    (source / "link").unlink()
    (source / "file 4").unlink()
    shutil.rmtree(source / "directory")
    settle()


def measure(binary, functions, work):
    """Lets a daemon start, work, and start again: what ran in both until it was at rest, in the restart, in the
    first start, and besides."""
    config, servers = site(work)
    for name in ("a", "b", "c"):
        (work / "source" / name).mkdir()
    (work / "source" / "a" / "file").write_text("file\n")
    (work / "source" / "seed").write_text("seed\n")
    line = [str(binary), "-c", str(config)]

    def ask(*command):
        return subprocess.run([*line, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60).returncode

    def settle():
        until = time.monotonic() + 60
        while ask("wait", "--timeout", "30") != 0:
            if time.monotonic() > until:
                sys.exit("error: the nodes do not get what changes")
            time.sleep(0.1)

    def rest(daemon):
        """Lets it do what it does now and then, too."""
        settle()
        time.sleep(15)
        return daemon.so_far()

    os.environ |= {"NOTIFY_SOCKET": str(work / "notify"), "WATCHDOG_USEC": "20000000"}
    manager = service_manager(os.environ["NOTIFY_SOCKET"])
    try:
        daemon = Traced(line, functions, work / "ran")
        first_start = rest(daemon)
        change_all(work / "source", settle)
        for command in (["status"], ["status", "--json"], ["pause", "local"], ["resume", "local"], ["reload"]):
            if ask(*command) not in (0, 1):
                sys.exit(f"error: {command} failed")
        settle()
        all_that_ran = daemon.end()
        daemon = Traced(line, functions, work / "ran")
        settle()
        (work / "source" / "seed").write_text("again\n")
        restart = rest(daemon)
        all_that_ran |= daemon.end()
    finally:
        for server in servers:
            server.terminate()
            server.wait()
        os.kill(manager, signal.SIGKILL)
        os.waitpid(manager, 0)
    return first_start & restart, restart - first_start, first_start - restart, all_that_ran - first_start - restart


# === the list ===


def build():
    """Builds the binary of a package with its symbols: built in another way, other copies of functions are used."""
    subprocess.run(["make", "deb"], cwd=ROOT, check=True, env={**os.environ, "SYMBOLS": "1"})
    return ROOT / "target" / TARGET / "release" / "inosync"


def symbols(binary):
    """The names of Rust's functions, by their addresses."""
    by_address = {}
    for line in subprocess.run(["nm", binary], capture_output=True, text=True, check=True).stdout.splitlines():
        address, kind, name = line.rsplit(None, 2) if line[0] != " " else (None, None, None)
        if kind in ("t", "T") and name.startswith("_R"):
            by_address.setdefault(int(address, 16), []).append(name)
    return by_address


def pattern(name):
    """The name without what changes from build to build: the hash of each crate, where in the name something came before, and
    the number that the linker appends where names are the same."""
    return re.sub(r"B[0-9a-zA-Z]*_", "B*_", re.sub(r"Cs[0-9a-zA-Z]+_", "Cs*_", name)).split(".")[0] + "*"


def main():
    binary = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else build()
    names = symbols(binary)
    with tempfile.TemporaryDirectory(prefix="inosync-order-") as work:
        tiers = measure(binary, list(names), Path(work))
    lines, seen = [], set()
    for tier in tiers:
        patterns = {pattern(name) for address in tier for name in names[address]} - seen
        print(f"{len(patterns)} functions")
        lines += (f"        *(.text*.{name})" for name in sorted(patterns))
        seen |= patterns
    head = (
        "/* The functions that a daemon runs lie beside each other, so that one at rest has no more of the program in its memory.\n"
        "   Written by packaging/order.py; those that run until it is at rest come first. A name that the program has no longer does no harm. */\n"
    )
    # The first steps of the program, the C library and a division are no functions of Rust.
    fixed = "        *crt1.o(.text .text.*)\n        *libc.a:*(.text .text.*)\n        *(.text.main .text.__udivti3)\n"
    text = "SECTIONS {\n    .text.run : {\n" + fixed + "\n".join(lines) + "\n    }\n} INSERT BEFORE .text;\n"
    (ROOT / "packaging" / "order.ld").write_text(head + text)
    # Cargo does not know of the list, and would not link the program anew.
    (ROOT / "src" / "main.rs").touch()


if __name__ == "__main__":
    main()
