// A real inosync with a local node and one behind a real sshd, for the browser test.

import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';

/** How long any condition may take before the test fails. */
export const DEADLINE = 60_000;

/** Asks until there is an answer. */
export async function until(what, attempt) {
  const end = Date.now() + DEADLINE;
  for (;;) {
    const found = await attempt();
    if (found) return found;
    if (Date.now() > end) throw new Error(`it does not come to pass: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A port at which nobody listens. */
export function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Tells if somebody listens at a port. */
export const answers = (port) => new Promise((resolve) => {
  const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
  socket.on('error', () => resolve(false));
});

/** What runs, and where. Ends with `end()`. */
export class Site {
  static async make(binary) {
    const site = new Site();
    site.binary = path.resolve(binary);
    site.dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'inosync-browser-')));
    [site.port, site.sshPort] = [await freePort(), await freePort()];
    // Names that would be markup if they were not set as text.
    [site.source, site.remote] = [site.at('sou<b>rce'), `mirror:${site.at('re<i>mote')}`];
    for (const dir of ['sou<b>rce', 'bin', 'run', 're<i>mote']) fs.mkdirSync(site.at(dir));
    site.makeSsh();
    // Fails while there is a file for the node.
    fs.writeFileSync(site.at('hook'), `#!/bin/sh\n[ "$INOSYNC_NODE" != local ] || [ ! -e ${site.at('fail')} ] || { echo 'no <i>cache' >&2; exit 3; }\n`, { mode: 0o755 });
    site.write('seed', 'seed');
    return site;
  }

  at(name) { return path.join(this.dir, name); }

  write(name, content) {
    const full = path.join(this.source, name);
    fs.mkdirSync(path.dirname(full), { recursive: true });
    fs.writeFileSync(full, content);
  }

  /** Keys, an sshd_config, and an `ssh` for the daemon that knows nothing else. */
  makeSsh() {
    for (const key of ['host_key', 'user_key']) {
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', this.at(key)]);
    }
    fs.copyFileSync(this.at('user_key.pub'), this.at('authorized_keys'));
    if (process.getuid() === 0) fs.mkdirSync('/run/sshd', { recursive: true });
    const locked = process.getuid() === 0 && /^root:!/m.test(fs.readFileSync('/etc/shadow', 'utf8'));
    fs.writeFileSync(this.at('sshd_config'), `ListenAddress 127.0.0.1
HostKey ${this.at('host_key')}
AuthorizedKeysFile ${this.at('authorized_keys')}
PidFile none
UsePAM ${locked ? 'yes' : 'no'}
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 100
UseDNS no
SetEnv HOME=${this.dir}
`);
    fs.writeFileSync(this.at('ssh_config'), `Host mirror
 HostName 127.0.0.1
 Port ${this.sshPort}
 IdentityFile ${this.at('user_key')}
 IdentitiesOnly yes
 UserKnownHostsFile ${this.at('known_hosts')}
 StrictHostKeyChecking no
 LogLevel ERROR
`);
    fs.writeFileSync(path.join(this.at('bin'), 'ssh'), `#!/bin/sh\nexec /usr/bin/ssh -F ${this.at('ssh_config')} "$@"\n`, { mode: 0o755 });
  }

  async startSshd() {
    this.sshd = spawn('/usr/sbin/sshd', ['-D', '-e', '-p', String(this.sshPort), '-f', this.at('sshd_config')], { stdio: 'ignore', detached: true });
    await until('sshd listens', () => answers(this.sshPort));
  }

  /** Ends sshd with its sessions. */
  async stopSshd() {
    const { sshd } = this;
    if (!sshd) return;
    this.sshd = null;
    // Each session is a process group of its own.
    const children = (pid) => fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
    const family = (pid) => { try { return [pid, ...children(pid).flatMap(family)]; } catch { return []; } };
    for (const pid of family(sshd.pid)) { try { process.kill(pid, 'SIGKILL'); } catch { /* It is gone. */ } }
    await until('sshd is gone', async () => !(await answers(this.sshPort)));
  }

  env() {
    return {
      ...process.env, PATH: `${this.at('bin')}:${process.env.PATH}`, TMPDIR: this.dir, RUNTIME_DIRECTORY: this.at('run'),
      STATE_DIRECTORY: this.at('state'),
    };
  }

  async start() {
    fs.writeFileSync(this.at('site.ron'), `(
    wpath: "${this.source}",
    rpath: "${this.at('local')}",
    rnodes: ["", "${this.remote}"],
    listen: "127.0.0.1:${this.port}",
    rspeed: 4000,
    on_synced: ["${this.at('hook')}"],
    on_all_synced: ["/bin/true"],
)
`);
    const log = fs.openSync(this.at('log'), 'a');
    this.daemon = spawn(this.binary, ['-c', this.at('site.ron')], { env: this.env(), stdio: ['ignore', 'ignore', log] });
    fs.closeSync(log);
    await until('the page is served', () => answers(this.port));
  }

  async stop() {
    const { daemon } = this;
    if (!daemon) return;
    this.daemon = null;
    const ended = new Promise((resolve) => { daemon.once('exit', resolve); });
    daemon.kill('SIGTERM');
    await ended;
  }

  /** Asks the daemon, as a person does in a shell. */
  ask(...options) {
    return execFileSync(this.binary, ['-c', this.at('site.ron'), ...options], { env: this.env(), encoding: 'utf8' });
  }

  async end() {
    await this.stopSshd();
    await this.stop();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}
