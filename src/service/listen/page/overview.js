// Asks for the status of all sites every five seconds, and shows it. What comes from the daemons is only ever set as text.

const PAUSE = 5000;
const FEW = 4; // So many sites are all shown open.
const ANSWERS = { not_running: 'not running', not_allowed: 'not allowed', no_answer: 'no answer' };
// The worst first.
const RANK = ['failing', 'unknown', 'attention', 'well'];
const WORST = ['held', 'restarting', 'backoff', 'paused', 'incomplete', 'starting', 'reconciling', 'syncing', 'idle'];
const shown = new Map(); // The element of each site, by its name.
const view = { verdict: null, text: '' };
let told = null; // The last answer, and when it came.
let cameAt = 0;
let lostAt = null;
let timer = null;

const first = (list, isSo) => list.find(isSo) ?? list[0];
const byRank = (a, b) => RANK.indexOf(a.verdict) - RANK.indexOf(b.verdict) || (b.lag ?? 0) - (a.lag ?? 0) || a.name.localeCompare(b.name, 'en', { numeric: true });
const toneOf = (verdict, state) => ({ failing: 'bad', unknown: 'warn', attention: 'warn' })[verdict] ?? (state === 'backoff' ? 'warn' : TONES[state] ?? 'quiet');

// A node: its last error is of now if the node is not well.
function memberOf({ name, state, verdict, lag, pending, last_error: last, reconcile_held: held }, at) {
  const now = state.why ?? held;
  const past = last && (verdict === 'well' ? `${span(Math.max(0, at - last.at))} ago: ${last.text}` : last.text);
  return { name, verdict, state: state.is, lag, pending, error: now ?? past ?? null, isPast: verdict === 'well' };
}

// A site in the form in which it is shown.
function siteOf({ site: name, verdict, answer }) {
  if (answer.is !== 'running') {
    const error = answer.why ?? (answer.is === 'not_allowed' ? 'the user of this page may not ask the daemon' : null);
    return { name, verdict, state: ANSWERS[answer.is] ?? answer.is, source: '', lag: null, pending: 0, error, isPast: false, members: [] };
  }
  const { wpath, source, nodes, phase, state_trouble: forgets, at } = answer.status;
  const members = nodes.map((node) => memberOf(node, at)).sort(byRank);
  const lags = members.flatMap(({ lag }) => (lag === null ? [] : [lag]));
  const blind = source.unwatched_directories > 0 ? `${many(source.unwatched_directories, 'directory is', 'directories are')} not watched` : null;
  const silent = source.silent.length > 0 ? `${source.silent[0].path} does not answer` : null;
  const of = first(members, ({ error, isPast }) => error && !isPast);
  const own = source.trouble ?? (of && !of.isPast ? null : silent ?? blind ?? (forgets && `no state is kept: ${forgets}`));
  return {
    name, verdict, source: wpath, members,
    state: phase !== 'running' ? phase : WORST.find((word) => members.some(({ state }) => state === word)) ?? 'idle',
    lag: lags.length > 0 ? Math.max(...lags) : null,
    pending: members.reduce((sum, { pending }) => sum + pending, 0),
    error: own ?? (of?.error ? `${of.name.replace(/:$/, '')}: ${of.error}` : null),
    isOfNode: !own,
    isPast: !own && (of?.isPast ?? false),
  };
}

function sentence(sites) {
  const all = many(sites.length, 'site', 'sites');
  const count = (verdict) => sites.filter((site) => site.verdict === verdict).length;
  const parts = [['failing', 'fail', 'fails'], ['unknown', 'do not run or may not be asked', 'does not run or may not be asked'], ['attention', 'want attention', 'wants attention']];
  const said = parts.filter(([verdict]) => count(verdict) > 0).map(([verdict, more, one]) => `${number(count(verdict))} ${count(verdict) === 1 ? one : more}`);
  if (sites.length === 0) return 'There is no site: no daemon runs, and no file is in /etc/inosync';
  if (said.length > 0) return `Of ${all}, ${said.join('; ')}`;
  const pending = sites.reduce((sum, site) => sum + site.pending, 0);
  if (pending > 0) return `${all}, all well; ${many(pending, 'path is on its way', 'paths are on their way')}`;
  return sites.length === 1 ? 'The site is well, and its nodes have everything' : `All ${all} are well, and their nodes have everything`;
}

function showLine(element, line) {
  const find = (selector) => element.querySelector(selector);
  set(find('.badge'), line.state, `badge ${toneOf(line.verdict, line.state)}`);
  set(find('.cell.pending'), line.pending > 0 ? `${number(line.pending)} pending` : '');
  const rest = line.members?.length === 0 ? '' : line.verdict === 'well' && line.pending === 0 ? 'up to date' : '';
  set(find('.cell.lag'), line.lag !== null ? `${span(line.lag)} behind` : rest, `cell lag ${line.lag !== null ? '' : 'none'}`);
  toggle(find('.error'), line.error);
  find('.error').className = `error ${line.isOfNode ? 'of-node ' : ''}${line.isPast ? 'past' : toneOf(line.verdict, line.state)}`;
}

function elementOf(site, isFew) {
  let element = shown.get(site.name);
  if (!element) {
    element = $('site').content.firstElementChild.cloneNode(true);
    element.querySelector('details').open = isFew;
    shown.set(site.name, element);
  }
  return element;
}

function showSite(site, isFew) {
  const element = elementOf(site, isFew);
  const summary = element.querySelector('summary');
  showLine(summary, site);
  set(summary.querySelector('h2'), site.name);
  set(summary.querySelector('.source'), site.source);
  const list = element.querySelector('.list');
  while (list.children.length > site.members.length) list.lastChild.remove();
  site.members.forEach((member, i) => {
    if (!list.children[i]) list.append($('member').content.firstElementChild.cloneNode(true));
    showLine(list.children[i], member);
    set(list.children[i].querySelector('h3'), member.name);
  });
  const names = [site.name, site.source, ...site.members.map(({ name }) => name)];
  const isNamed = names.some((name) => name.toLowerCase().includes(view.text));
  element.hidden = (view.verdict !== null && site.verdict !== view.verdict) || !isNamed;
  return element;
}

function showCounts(sites) {
  const group = $('states');
  for (const word of RANK) {
    let button = group.querySelector(`[data-verdict="${word}"]`);
    if (!button) {
      button = document.createElement('button');
      button.type = 'button';
      button.dataset.verdict = word;
      button.className = `badge ${toneOf(word, 'idle')}`;
      button.addEventListener('click', () => { view.verdict = view.verdict === word ? null : word; show(); });
      group.append(button);
    }
    const count = sites.filter(({ verdict }) => verdict === word).length;
    button.hidden = count === 0 && view.verdict !== word;
    button.setAttribute('aria-pressed', String(view.verdict === word));
    set(button, `${number(count)} ${word}`);
  }
}

function show() {
  $('all').hidden = !told;
  if (!told) return;
  const sites = told.sites.map(siteOf).sort(byRank);
  const isFew = sites.length <= FEW;
  const worst = sites[0]?.verdict ?? 'unknown';
  set($('host'), location.host);
  set($('verdict').querySelector('.badge'), worst, `badge ${toneOf(worst, 'idle')}`);
  set($('sentence'), sentence(sites));
  setTitle(`${worst}: ${many(sites.length, 'site', 'sites')} - inosync`, $('verdict').querySelector('.badge'));
  toggle($('closed'), told.closed.length > 0 && `More sites may run: ${told.closed.join(', ')} may not be read by the user of this page`);
  const elements = sites.map((site) => showSite(site, isFew));
  for (const [name] of shown) if (!sites.some((site) => site.name === name)) shown.delete(name);
  const list = $('sites');
  // What is where it belongs is not moved: it would lose the focus.
  if (elements.length !== list.children.length || elements.some((element, i) => list.children[i] !== element)) list.replaceChildren(...elements);
  $('none').hidden = elements.length === 0 || elements.some((element) => !element.hidden);
  $('filter').hidden = isFew;
  if (!isFew) showCounts(sites);
  set($('updated'), `As of ${clock(cameAt / 1000)}, every ${PAUSE / 1000} s`);
}

async function poll() {
  clearTimeout(timer);
  try {
    const response = await fetch('status.json', { signal: AbortSignal.timeout(10000) });
    if (!response.ok) throw new Error(String(response.status));
    told = await response.json();
    [cameAt, lostAt] = [Date.now(), null];
    toggle($('notice'), null);
    show();
  } catch {
    lostAt ??= Date.now();
    const age = told ? ` What is shown is of ${clock(cameAt / 1000)}.` : '';
    toggle($('notice'), `inosync overview has not answered for ${span(Math.floor((Date.now() - lostAt) / 1000))}.${age}`);
  }
  document.body.classList.toggle('stale', lostAt !== null);
  // A page that nobody sees asks for nothing.
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(poll, PAUSE);
}

document.addEventListener('visibilitychange', () => { if (!document.hidden) poll(); });
$('search').addEventListener('input', () => { view.text = $('search').value.trim().toLowerCase(); show(); });
poll();
