// What the daemon might say: statuses and histories for pictures of the page, and for what a test cannot bring about.

const WORDS = ['starting', 'idle', 'syncing', 'incomplete', 'reconciling', 'backoff', 'held', 'paused', 'restarting'];
const LONG = 'backup-replica@mirror-07.eu-central.storage.internal.example.org:/srv/mirrors/customers/a-very-long-directory-name-that-goes-on';

/** The same numbers each time. */
function dice(seed) {
  let state = seed;
  return () => { state = (state * 1103515245 + 12345) % 2147483648; return state / 2147483648; };
}

function node(name, is, now, more = {}) {
  const verdict = { held: 'failing', restarting: 'failing', paused: 'attention', incomplete: 'attention' }[is] ?? (more.lasts ? 'failing' : more.reconcile_held || more.moves || more.failing || more.hook?.fails || more.verified?.drift ? 'attention' : 'well');
  const state = { is };
  if (is === 'backoff') Object.assign(state, { why: more.why ?? 'the node cannot be reached', until: now + 42, lasts: more.lasts ?? false });
  if (is === 'held') state.why = more.why ?? 'the source is empty';
  const behind = ['syncing', 'backoff', 'held', 'paused'].includes(is);
  const event = (back, text, error = false) => ({ at: now - back, text, is_error: error });
  const recent = [
    event(3100, 'reconciled: 48,211 sent, 0 deleted, 1.9 GiB'), event(611, 'mirrored: 3 sent, 0 deleted, 14.2 KiB'),
    event(95, 'mirrored: 1 sent, 1 deleted, 803 B'), event(14, 'mirrored: 212 sent, 9 deleted, 61.4 MiB'),
  ];
  const error = event(31, 'ssh: connect to host mirror-07 port 22: Connection refused: the node cannot be reached: is it up, and does a firewall let ssh through?', true);
  if (is === 'backoff') recent.splice(3, 1, error);
  if (more.verified?.drift) recent.splice(2, 1, event(now - more.verified.at, `verified: ${more.verified.drift} entries differ`, true));
  return {
    name, dest: name === 'local' ? '/srv/mirror/' : name.endsWith(':') ? `${name}/srv/mirror/` : `${name}/`, state, verdict,
    pending: behind ? more.pending ?? 37 : is === 'reconciling' ? 1 : more.failing?.length ?? 0,
    failing_paths: more.failing?.length ?? 0, failing_oldest: more.failing ? 266_000 : null, failing_first: (more.failing ?? []).slice(0, 3),
    unmirrored_moves: more.moves?.length ?? 0, unmirrored_first: (more.moves ?? []).slice(0, 3), lag: behind ? more.lag ?? 3.4 : is === 'reconciling' ? 12 : null,
    attributes_unset: 0, attributes_unset_first: [], attributes_unset_why: null, limits: [], keeps_removed: false,
    reconcile_held: more.reconcile_held ?? null, last_success_at: now - 14, last_error: is === 'backoff' ? error : null,
    totals: { batches: 1834, reconciles: 2, sent: 51342, deleted: 1203, bytes: 2187341234, failures: is === 'backoff' ? 18 : 0, restarts: 0 },
    rsync: name.startsWith('rsync://') ? { version: null, protocol: 31 } : { version: '3.2.7', protocol: 31 }, recent,
    progress: more.progress ?? null, hook: more.hook ?? null, verified: more.verified ?? null,
    delivery: { count: 0, seconds: 0, buckets: {} },
  };
}

function hook(more = {}) {
  return { program: '/usr/local/bin/purge', running: false, fails: false, runs: 1834, failures: 0, untold: 0, waiting: 0, last_run_at: null, last_error: null, ...more };
}

const verified = (at, drift, more = {}) => ({ at, took_seconds: 312.4, drift, complete: true, reconciled_since: false, ...more });

function status(nodes, now, source = {}, all = null) {
  const rank = ['well', 'attention', 'failing'];
  const worst = Math.max(...nodes.map((node) => rank.indexOf(node.verdict)), source.unwatched_directories || all?.fails ? 1 : 0);
  return {
    version: '0.1.0', rsync: '3.4.1', wpath: '/srv/www/customers', pid: 48213, started_at: now - 266_520, at: now, phase: 'running',
    source: { trouble: null, watched_directories: 18_342, watch_limit: 65_536, unwatched_directories: 0, unwatched: [], silent: [], overflows: 0, rescans: 0, upstream: null, ...source },
    nodes, hook: all, verdict: rank[worst],
  };
}

function history(nodes, now, count = 360) {
  const at = Array.from({ length: count }, (_, i) => now - 10 * (count - 1 - i));
  const rows = nodes.map((node, number) => {
    const random = dice(number + 7);
    const trouble = node.verdict === 'failing' || node.state.is === 'backoff' ? 45 : node.state.is === 'paused' ? 30 : 0;
    let burst = 0;
    const row = { name: node.name, lag: [], bytes: [], entries: [], state: [] };
    for (let i = 0; i < count; i += 1) {
      if (random() > 0.985) burst = 4 + Math.floor(random() * 10);
      burst = Math.max(0, burst - 1);
      const bad = i >= count - trouble;
      const busy = !bad && (burst > 0 || random() > 0.8);
      row.lag.push(bad ? (i - count + trouble + 1) * 10 : busy ? Math.round(random() * (burst > 0 ? 130 : 20)) / 10 : null);
      row.bytes.push(bad || !busy ? 0 : Math.round(random() * (burst > 0 ? 9e7 : 2e6)));
      row.entries.push(bad || !busy ? 0 : Math.round(random() * 200));
      row.state.push(WORDS.indexOf(bad ? node.state.is : i < 4 ? 'reconciling' : busy ? 'syncing' : 'idle'));
    }
    row.state[count - 1] = WORDS.indexOf(node.state.is);
    row.lag[count - 1] = node.lag;
    return row;
  });
  return { every: 10, states: WORDS, at, nodes: rows };
}

/** Each picture: its name, what it shows. */
export function pictures(now) {
  const all = {
    well: status([node('local', 'idle', now), node('deploy@www1.example.org:', 'idle', now), node('rsync://www2.example.org/site', 'syncing', now)], now),
    trouble: status([
      node('local', 'idle', now), node('deploy@www1.example.org:', 'syncing', now, { pending: 1204, lag: 8.1 }),
      node(LONG, 'backoff', now, { lasts: true, pending: 20117, lag: 452 }), node('www3:', 'paused', now, { pending: 96, lag: 301 }),
      node('rsync://www4.example.org/site', 'reconciling', now, { reconcile_held: '1,204 entries would be deleted, more than max_delete: 1000 allows' }),
    ], now, { unwatched_directories: 3, unwatched: ['customers/acme/private', 'customers/initech/TPS reports/2019', 'x'.repeat(180)], overflows: 2, rescans: 5, watched_directories: 58_120 }),
    held: status([node('local', 'held', now, { pending: 3, lag: 64 }), node('deploy@www1.example.org:', 'held', now, { pending: 3, lag: 64 })], now,
      { trouble: 'the source is empty: it may not be mounted' }),
    checked: status([
      node('local', 'idle', now, { hook: hook(), verified: verified(now - 5400, 0) }),
      node('deploy@www1.example.org:', 'idle', now, { hook: hook({ running: true, untold: 3 }), verified: verified(now - 190_000, 1_204, { complete: false }) }),
      node('rsync://www2.example.org/site', 'reconciling', now, { progress: { checked: 12_031, total: 48_211, bytes: 2.1e9 }, hook: hook(), verified: verified(now - 700, 4, { reconciled_since: true }) }),
      node('www3:', 'idle', now, {
        hook: hook({ fails: true, failures: 12, untold: 96, last_error: { at: now - 20, text: 'it ended with exit code 3: purge: cannot reach the cache at 127.0.0.1:6081', is_error: true } }),
      }),
    ], now, {}, hook({ waiting: 96 })),
    barrier: status([node('local', 'reconciling', now, { progress: { checked: 1, total: null, bytes: 0 } })], now, {},
      hook({ program: '/usr/local/bin/barrier', fails: true, failures: 2, untold: 1, last_error: { at: now - 20, text: 'it was ended after 60 s', is_error: true } })),
    hundred: status(Array.from({ length: 100 }, (_, i) => {
      const is = { 7: 'syncing', 23: 'backoff', 24: 'backoff', 58: 'paused', 71: 'reconciling', 90: 'syncing' }[i] ?? 'idle';
      return node(`edge-${String(i + 1).padStart(3, '0')}.example.net:`, is, now, {
        lasts: i === 23, pending: 12 + i, lag: 3 * i, verified: i === 30 ? verified(now - 700, 4) : null, hook: hook({ fails: i === 31, untold: i === 31 ? 2 : 0 }),
      });
    }), now),
    known: status([
      node('local', 'incomplete', now, { failing: ['customers/acme/Re: offer', 'customers/acme/what?', 'mail/cur/1.host:2,S', 'mail/cur/2.host:2,S'] }),
      node('deploy@www1.example.org:', 'idle', now, { moves: ['wp-content/themes/old to wp-content/themes/new', 'wp-content/plugins/shop'] }),
      node('rsync://www2.example.org/site', 'syncing', now, { failing: ['mail/cur/1.host:2,S'], moves: ['a to b'] }),
    ], now),
    one: status([node('local', 'idle', now)], now),
  };
  return Object.entries(all).map(([name, told]) => ({ name, status: told, history: history(told.nodes, now, name === 'one' ? 25 : 360) }));
}
