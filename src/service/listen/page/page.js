// Asks for the status every two seconds, and shows it. What comes from the daemon is only ever set as text.

const PAUSE = 2000;
const FEW = 6; // So many nodes are all shown open.
const EVENTS = 60;
const shown = new Map(); // The element of each node, by its name.
const view = { state: null, text: '' };
let told = null; // The last status, and when it came.
let cameAt = 0;
let lostAt = null;
let timer = null;

const daemonNow = () => told.at + (performance.now() - cameAt) / 1000;
const ago = (at) => {
  const seconds = Math.floor(Math.max(0, daemonNow() - at));
  return seconds < 2 ? 'just now' : `${span(seconds < 600 ? seconds : seconds - (seconds % 60))} ago`;
};
const toneOf = ({ verdict, state }) => (verdict === 'failing' ? 'bad' : verdict === 'attention' || state.is === 'backoff' ? 'warn' : TONES[state.is] ?? 'quiet');
const differs = ({ verified }) => (verified ? verified.drift > 0 : false);
const fails = ({ hook }) => (hook ? hook.fails : false);

// === the whole ===

function sentence({ nodes, source, phase, hook: forAll, state_trouble: forgets }) {
  const failing = nodes.filter((node) => node.verdict === 'failing');
  const of = (list) => (nodes.length === 1 ? 'the node' : `${number(list.length)} of ${number(nodes.length)} nodes`);
  const begin = (text) => text[0].toUpperCase() + text.slice(1);
  if (source.trouble) return `Nothing is sent: ${source.trouble}`;
  if (failing.length > 0) {
    const names = failing.slice(0, 2).map((node) => shorten(node.name, 48)).join(', ');
    const more = failing.length > 2 ? ` and ${number(failing.length - 2)} more` : '';
    return `${begin(of(failing))} ${failing.length === 1 ? 'does' : 'do'} not get what changes: ${names}${more}`;
  }
  const parts = [];
  const paused = nodes.filter((node) => node.state.is === 'paused');
  const held = nodes.filter((node) => node.reconcile_held);
  const drifted = nodes.filter(differs);
  const untold = nodes.filter(fails);
  if (paused.length > 0) parts.push(`${of(paused)} ${paused.length === 1 ? 'is' : 'are'} paused`);
  if (held.length > 0) parts.push(`${of(held)} would lose too much, so the comparison is held`);
  const blind = source.unwatched_directories;
  if (blind > 0) parts.push(`${many(blind, 'directory is', 'directories are')} not watched`);
  const silent = source.silent.length;
  if (silent > 0) parts.push(`${many(silent, 'file system does', 'file systems do')} not answer (${source.silent.map((one) => one.path).join(', ')})`);
  const upstream = source.upstream;
  if (upstream?.holds_removals) parts.push('removals wait, since the source is a mirror that is not complete');
  const stuck = nodes.reduce((sum, node) => sum + node.failing_paths, 0);
  if (stuck > 0) parts.push(`${many(stuck, 'path fails', 'paths fail')} again and again, while the rest arrives`);
  const moves = Math.max(...nodes.map((node) => node.unmirrored_moves), 0);
  if (moves > 0) parts.push(`${many(moves, 'directory move is', 'directory moves are')} not mirrored (dir_moves: Log)`);
  const bare = nodes.reduce((sum, node) => sum + node.attributes_unset, 0);
  if (bare > 0) parts.push(`${many(bare, 'path', 'paths')} arrived without all of their attributes`);
  if (forgets) parts.push('what a restart needs is not kept');
  if (drifted.length > 0) parts.push(`${of(drifted)} differed when last verified`);
  if (untold.length > 0) parts.push(`the hook fails for ${of(untold)}`);
  if (fails({ hook: forAll })) parts.push('the hook on_all_synced fails');
  if (parts.length > 0) return begin(parts.join('; '));
  if (phase === 'starting') return 'Starting: not all directories are watched yet';
  if (phase === 'stopping') return 'Ending: what is pending is being sent';
  const behind = nodes.filter((node) => node.pending > 0);
  const pending = behind.reduce((sum, node) => sum + node.pending, 0);
  const way = many(pending, 'path is on its way', 'paths are on their way');
  if (behind.length > 0) return nodes.length === 1 ? way : `${way} to ${behind.length} of ${nodes.length} nodes`;
  const all = { 1: 'The node has', 2: 'Both nodes have' }[nodes.length] ?? `All ${number(nodes.length)} nodes have`;
  return `${all} everything`;
}

function showHead(status) {
  const [word, tone] = VERDICTS[status.verdict];
  const up = span(Math.floor(Math.max(0, daemonNow() - status.started_at)));
  set($('version'), `${status.version}, up ${up}, pid ${status.pid}, rsync ${status.rsync}`);
  set($('wpath'), status.wpath);
  set($('verdict').querySelector('.badge'), word, `badge ${tone}`);
  set($('sentence'), sentence(status));
  setTitle(`${word}: ${status.wpath} - inosync`, $('verdict').querySelector('.badge'));
}

// === lists of terms ===

// Rows are [term, text, small text or class].
function fill(list, rows) {
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach(([term, text, { small, tone } = {}], i) => {
    let row = list.children[i];
    if (!row) {
      row = document.createElement('div');
      row.append(document.createElement('dt'), document.createElement('dd'));
      row.lastChild.append(document.createElement('span'), document.createElement('small'));
      list.append(row);
    }
    set(row.firstChild, term);
    set(row.lastChild.firstChild, text);
    toggle(row.lastChild.lastChild, small);
    if (row.lastChild.className !== (tone ?? '')) row.lastChild.className = tone ?? '';
  });
}

function showSource({ source }) {
  toggle($('trouble'), source.trouble);
  const limit = source.watch_limit;
  const share = limit ? Math.round((source.watched_directories / limit) * 100) : 0;
  const close = share >= 80 ? 'warn' : '';
  fill($('source'), [
    ['Watched directories', number(source.watched_directories), { small: limit ? `${share} % of the limit of ${number(limit)}` : null, tone: close }],
    ['Not watched', number(source.unwatched_directories), { small: source.unwatched_directories > 0 ? 'compared from time to time' : null, tone: source.unwatched_directories > 0 ? 'warn' : '' }],
    ['Queue overflows', number(source.overflows), { tone: source.overflows > 0 ? 'warn' : '' }],
    ['Compared again', number(source.rescans), { small: 'when track of a directory was lost' }],
    ...(source.upstream ? [['Behind the first source', source.upstream.lag === null ? 'not known' : `${number(Math.round(source.upstream.lag))} s`, { small: source.upstream.source, tone: source.upstream.holds_removals ? 'warn' : '' }]] : []),
  ]);
  const names = source.unwatched;
  $('unwatched').hidden = names.length === 0;
  const lines = names.length < source.unwatched_directories ? [...names, `and ${number(source.unwatched_directories - names.length)} more`] : names;
  const list = $('unwatched').querySelector('ul');
  if (list.dataset.shown !== lines.join('\n')) {
    list.dataset.shown = lines.join('\n');
    list.replaceChildren(...lines.map((line) => Object.assign(document.createElement('li'), { textContent: line })));
  }
}

// === nodes ===

function why({ state, name }) {
  if (state.is === 'backoff') {
    const left = Math.ceil(state.until - daemonNow());
    return `${state.why}; ${left > 0 ? `tried again in ${span(left)}, at ${clock(state.until)}` : 'being tried again'}`;
  }
  if (state.is === 'held') return `Nothing is sent: ${state.why}`;
  if (state.is === 'paused') return `Paused: what changes is collected until inosync resume ${name}`;
  if (state.is === 'restarting') return 'What served this node ended; it is started again in a moment';
  return null;
}

function compared({ checked, total, bytes: sent }) {
  const entries = total === null ? `${many(checked, 'entry', 'entries')} so far` : `${number(checked)} of ${many(total, 'entry', 'entries')}`;
  return `${entries}, ${bytes(sent)} sent`;
}

function hookText({ running, fails: isFailing, runs, failures, untold, waiting }) {
  const parts = [isFailing ? 'fails' : running ? 'running' : 'idle', many(runs, 'run', 'runs')];
  if (failures > 0) parts.push(`${number(failures)} failed`);
  if (untold > 0) parts.push(`${many(untold, 'path', 'paths')} to tell`);
  if (waiting > 0) parts.push(`${many(waiting, 'path', 'paths')} not at every node yet`);
  return parts.join(', ');
}

function hookTrouble(key, { last_error: error, untold }) {
  const again = untold > 0 ? `, and is told ${many(untold, 'path', 'paths')} again` : '';
  return `The hook ${key} fails${again}${error ? `: ${error.text}` : ''}`;
}

function verdictOf({ at, drift, complete, reconciled_since: reconciled }) {
  const found = drift > 0 ? `${many(drift, 'entry', 'entries')} differed` : 'nothing differed';
  return `${ago(at)}: ${found}${complete ? '' : ', not all could be compared'}${reconciled ? '; reconciled since' : ''}`;
}

function driftTrouble({ verified: { at, drift, reconciled_since: reconciled } }) {
  const since = reconciled ? ' A reconcile since then may have repaired that, which the next verify tells.' : ' inosync verify says which.';
  return `${many(drift, 'entry', 'entries')} differed from the source when verified ${ago(at)}, with nothing on its way.${since}`;
}

// The first of some names, after a text.
const named = (first, count) => (first.length === 0 ? '' : `${first.length < count ? ', the first: ' : ': '}${first.join(', ')}`);

function failingTrouble({ failing_paths: count, failing_oldest: oldest, failing_first: first }) {
  const since = oldest === null ? '' : `; the oldest change of them is ${span(oldest)} old`;
  return `${many(count, 'path fails', 'paths fail')} again and again, while the rest arrives${named(first, count)}${since}. The log says why.`;
}

function movesTrouble({ unmirrored_moves: count, unmirrored_first: first }) {
  const cure = 'inosync once or a restart makes it equal; dir_moves: Replicate mirrors later moves.';
  return `${many(count, 'directory move is', 'directory moves are')} not mirrored${named(first, count)}. ${cure}`;
}

function attributesTrouble({ attributes_unset: count, attributes_unset_first: first, attributes_unset_why: why }) {
  return `${many(count, 'path', 'paths')} arrived without all of their attributes${named(first, count)}. ${why ?? ''}`;
}

function noteOf(node) {
  if (differs(node) || node.unmirrored_moves > 0) return 'differs';
  if (node.failing_paths > 0) return 'not complete';
  if (node.attributes_unset > 0) return 'attributes missing';
  return fails(node) ? 'hook fails' : null;
}

function figures(node) {
  const { totals, rsync, last_error: error } = node;
  const there = rsync.version ?? (rsync.protocol ? 'version not told' : 'not known yet');
  const rows = [
    ['Pending', node.pending > 0 ? many(node.pending, 'path', 'paths') : 'nothing'],
    ['Lag', node.lag === null ? 'none' : span(node.lag)],
    ['Last success', node.last_success_at ? ago(node.last_success_at) : 'none yet'],
    ['Sent', `${many(totals.sent, 'entry', 'entries')}, ${bytes(totals.bytes)}`],
    ['Deleted', many(totals.deleted, 'entry', 'entries')],
    ['Runs', `${many(totals.batches, 'batch', 'batches')}, ${many(totals.reconciles, 'reconcile', 'reconciles')}`],
    ['Trouble', `${many(totals.failures, 'failure', 'failures')}, ${many(totals.restarts, 'restart', 'restarts')}`],
    ['rsync there', rsync.protocol ? `${there}, protocol ${rsync.protocol}` : there],
    ['Destination', node.dest, { tone: 'path' }],
  ];
  if (node.failing_paths > 0) rows.splice(2, 0, ['Failing', `${many(node.failing_paths, 'path', 'paths')}${node.failing_oldest === null ? '' : `, oldest ${span(node.failing_oldest)}`}`, { tone: 'warn' }]);
  if (node.unmirrored_moves > 0) rows.splice(2, 0, ['Not mirrored', many(node.unmirrored_moves, 'directory move', 'directory moves'), { tone: 'warn' }]);
  if (node.attributes_unset > 0) rows.splice(2, 0, ['Attributes', `not set: ${many(node.attributes_unset, 'path', 'paths')}`, { tone: 'warn' }]);
  if (node.progress) rows.splice(2, 0, ['Comparing', compared(node.progress)]);
  if (node.limits.length > 0) rows.push(['Limits there', node.limits.join('; ')]);
  if (node.hook) rows.push(['Hook', hookText(node.hook), { tone: fails(node) ? 'warn' : '' }]);
  if (node.verified) rows.push(['Verified', verdictOf(node.verified), { tone: differs(node) ? 'warn' : '' }]);
  if (error) rows.push(['Last error', `${ago(error.at)}: ${error.text}`]);
  return rows;
}

function elementOf(node) {
  let element = shown.get(node.name);
  if (!element) {
    element = $('node').content.firstElementChild.cloneNode(true);
    const details = element.querySelector('details');
    details.open = told.nodes.length <= FEW;
    details.addEventListener('toggle', () => drawPlots(node.name));
    watchPointer(element, () => samples.get(node.name) ?? [], daemonNow);
    shown.set(node.name, element);
  }
  return element;
}

function showNode(node) {
  const element = elementOf(node);
  const tone = toneOf(node);
  const find = (selector) => element.querySelector(selector);
  set(find('summary .badge'), node.state.is, `badge ${tone}`);
  set(find('h3'), node.name);
  find('h3').title = node.name;
  set(find('.cell.pending'), node.pending > 0 ? `${number(node.pending)} pending` : '', 'cell pending');
  const stuck = node.failing_paths > 0 && failingTrouble(node);
  const note = noteOf(node);
  set(find('.cell.lag'), node.lag !== null ? `${span(node.lag)} behind` : note ?? 'up to date', `cell lag ${node.lag !== null ? '' : note ? 'warn' : 'none'}`);
  const callout = find('.why');
  toggle(callout, why(node) ?? (stuck || null));
  callout.className = `callout why ${tone}`;
  toggle(find('.callout.held'), node.reconcile_held && `The comparison of the whole tree is held: ${node.reconcile_held}`);
  toggle(find('.callout.moves'), node.unmirrored_moves > 0 && movesTrouble(node));
  toggle(find('.callout.attributes'), node.attributes_unset > 0 && attributesTrouble(node));
  toggle(find('.callout.drift'), differs(node) && driftTrouble(node));
  toggle(find('.callout.hook'), fails(node) && hookTrouble('on_synced', node.hook));
  if (find('details').open) fill(find('.figures'), figures(node));
  const { text, state } = view;
  element.hidden = (state !== null && node.state.is !== state) || !node.name.toLowerCase().includes(text);
  return element;
}

function showNodes({ nodes, hook }) {
  const isFew = nodes.length <= FEW;
  toggle($('hook'), hook && (hook.fails ? hookTrouble('on_all_synced', hook) : `Hook on_all_synced: ${hookText(hook)}`));
  $('hook').className = hook?.fails ? 'callout warn' : 'muted';
  set($('node-count'), isFew ? '' : number(nodes.length));
  const rank = ({ verdict, state }) => ['failing', 'attention', 'well'].indexOf(verdict) * 2 - (state.is === 'backoff');
  const order = (a, b) => rank(a) - rank(b);
  const elements = (isFew ? nodes : [...nodes].sort(order)).map(showNode);
  for (const [name] of shown) if (!nodes.some((node) => node.name === name)) { shown.delete(name); samples.delete(name); }
  const list = $('nodes');
  // What is where it belongs is not moved: it would lose the focus.
  if (elements.length !== list.children.length || elements.some((element, i) => list.children[i] !== element)) list.replaceChildren(...elements);
  $('none').hidden = elements.some((element) => !element.hidden);
  $('filter').hidden = isFew;
  if (!isFew) showStates(nodes);
}

function showStates(nodes) {
  const counts = new Map(words.map((word) => [word, 0]));
  nodes.forEach((node) => counts.set(node.state.is, (counts.get(node.state.is) ?? 0) + 1));
  const group = $('states');
  for (const [word, count] of counts) {
    let button = group.querySelector(`[data-state="${word}"]`);
    if (!button) {
      button = document.createElement('button');
      button.type = 'button';
      button.dataset.state = word;
      button.className = `badge ${TONES[word] ?? 'quiet'}`;
      button.addEventListener('click', () => { view.state = view.state === word ? null : word; show(); });
      group.append(button);
    }
    button.hidden = count === 0 && view.state !== word;
    button.setAttribute('aria-pressed', String(view.state === word));
    set(button, `${number(count)} ${word}`);
  }
}

function drawPlots(only) {
  for (const [name, element] of shown) {
    if (only !== undefined && only !== name) continue;
    const row = samples.get(name) ?? [];
    const node = told.nodes.find((node) => node.name === name);
    if (!element.querySelector('details').open) draw(element.querySelector('.spark'), row, 'lag', daemonNow(), 60);
    else if (node) { fill(element.querySelector('.figures'), figures(node)); drawNode(element, row, daemonNow()); }
  }
}

// === what happened ===

function showRecent({ nodes }) {
  const all = nodes.flatMap((node) => node.recent.map((event, i) => ({ ...event, name: node.name, i })));
  const wanted = all.filter((event) => event.is_error || !$('errors').checked);
  wanted.sort((a, b) => b.at - a.at || b.i - a.i);
  const list = $('recent');
  const events = wanted.slice(0, EVENTS);
  while (list.children.length > events.length) list.lastChild.remove();
  events.forEach((event, i) => {
    if (!list.children[i]) list.append($('event').content.firstElementChild.cloneNode(true));
    const [time, who, what] = list.children[i].children;
    list.children[i].className = event.is_error ? 'is-error' : '';
    time.dateTime = new Date(event.at * 1000).toISOString();
    time.title = new Date(event.at * 1000).toLocaleString();
    set(time, ago(event.at));
    set(who, shorten(event.name, 32));
    who.title = event.name;
    set(what, event.is_error ? `error: ${event.text}` : event.text);
  });
  $('quiet').hidden = events.length > 0;
}

// === round and round ===

function show() {
  $('all').hidden = !told;
  if (!told) return;
  [showHead, showSource, showNodes, showRecent].forEach((part) => part(told));
  set($('updated'), `As of ${clock(told.at)}, every ${PAUSE / 1000} s`);
}

function showLoss(why) {
  lostAt ??= performance.now();
  const seconds = Math.floor((performance.now() - lostAt) / 1000);
  const since = seconds < 2 ? '' : `, for ${span(seconds)} now`;
  const age = told ? ` What is shown is of ${clock(told.at)}.` : '';
  toggle($('notice'), `${why}${since}.${age}`);
}

async function poll() {
  clearTimeout(timer);
  let why = 'The daemon does not answer';
  try {
    const response = await fetch('status.json', { signal: AbortSignal.timeout(5000) });
    if (!response.ok) {
      why = response.status === 503 ? 'The daemon is starting or ending' : `The daemon answers with ${response.status}`;
      throw new Error(why);
    }
    told = await response.json();
    why = 'This page cannot show what the daemon says: load it again';
    [cameAt, lostAt] = [performance.now(), null];
    toggle($('notice'), null);
    const isNew = await loadHistory(told.at).catch(() => false);
    show();
    if (isNew) drawPlots();
  } catch {
    showLoss(why);
  }
  document.body.classList.toggle('stale', lostAt !== null);
  // A page that nobody sees asks for nothing.
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(poll, PAUSE);
}

document.addEventListener('visibilitychange', () => { if (!document.hidden) poll(); });
$('search').addEventListener('input', () => { view.text = $('search').value.trim().toLowerCase(); show(); });
$('errors').addEventListener('change', show);
poll();
