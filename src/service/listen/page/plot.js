// The samples of the last hour, and the plots of them.

const HOUR = 3600;
const samples = new Map();
let every = 10;
let words = Object.keys(TONES);
let newest = 0;

// === samples ===

async function loadHistory(now) {
  if (now < newest - 60) forget(); // The clock of the daemon was set back.
  if (now < newest + every) return false;
  const response = await fetch(`history.json?since=${newest}`, { signal: AbortSignal.timeout(10000) });
  if (!response.ok) return false;
  const told = await response.json();
  every = told.every;
  words = told.states;
  for (const node of told.nodes) {
    const row = samples.get(node.name) ?? [];
    const late = told.at.length - node.lag.length;
    node.lag.forEach((lag, i) => {
      row.push({ at: told.at[i + late], lag: lag ?? 0, rate: node.bytes[i] / every, entries: node.entries[i], state: words[node.state[i]] });
    });
    while (row.length > 0 && row[0].at < now - HOUR) row.shift();
    samples.set(node.name, row);
  }
  newest = told.at.at(-1) ?? newest;
  return told.at.length > 0;
}

function forget() {
  samples.clear();
  newest = 0;
}

// === plots ===

const x = (at, now) => (Math.max(0, 1 - (now - at) / HOUR) * 360).toFixed(1);

// The first round value that is not below.
function above(value, steps) {
  return steps.find((step) => step >= value) ?? value;
}

const SPANS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400, 172800, 604800, 2592000, 31536000];
const RATES = ['', 'K', 'M', 'G'].flatMap((_, power) => [1, 2, 5, 10, 20, 50, 100, 200, 500].map((n) => n * 1024 ** power)).slice(6);

const PLOTS = {
  lag: { of: (sample) => sample.lag, steps: SPANS, say: span, title: 'Lag', none: 'none in the last hour' },
  rate: { of: (sample) => sample.rate, steps: RATES, say: rate, title: 'Throughput', none: 'nothing in the last hour' },
};

// Line and area of one kind of value; where samples are lacking, there is a gap. The scale ends at `least` or above.
function draw(svg, row, kind, now, least = 0) {
  const { of, steps } = PLOTS[kind];
  const most = row.reduce((most, sample) => Math.max(most, of(sample)), 0);
  const top = above(Math.max(most, least), steps);
  const y = (value) => (99.5 - (value / top) * 99).toFixed(1);
  const [line, area] = [[], []];
  let from = 0;
  const close = (to) => {
    if (to <= from) return;
    const points = row.slice(from, to).map((sample) => `${x(sample.at, now)} ${y(of(sample))}`);
    const first = x(row[from].at - every, now);
    line.push(`M${first} ${y(of(row[from]))}L${points.join('L')}`);
    area.push(`M${first} 99.5V${y(of(row[from]))}L${points.join('L')}V99.5Z`);
    from = to;
  };
  row.forEach((sample, i) => { if (i > 0 && sample.at - row[i - 1].at > 3 * every) close(i); });
  close(row.length);
  svg.querySelector('.line').setAttribute('d', line.join(''));
  svg.querySelector('.area').setAttribute('d', area.join(''));
  return { most, top };
}

function drawBand(svg, row, now) {
  const runs = [];
  for (const { at, state } of row) {
    const last = runs.at(-1);
    if (last && last.state === state && at - last.to <= 3 * every) last.to = at;
    else runs.push({ state, from: at - every, to: at });
  }
  svg.replaceChildren(...runs.map(({ state, from, to }) => {
    const rect = document.createElementNS(svg.namespaceURI, 'rect');
    const left = x(from, now);
    rect.setAttribute('class', TONES[state] ?? 'quiet');
    rect.setAttribute('x', left);
    rect.setAttribute('width', Math.max(0.6, x(to, now) - left));
    rect.setAttribute('height', 100);
    return rect;
  }));
  const times = new Map();
  row.forEach(({ state }) => times.set(state, (times.get(state) ?? 0) + every));
  return [...times].sort((a, b) => b[1] - a[1]);
}

// What the colours of the band are, and how long each was.
function drawLegend(figure, times) {
  const parts = times.map(([state, seconds]) => {
    const part = document.createElement('span');
    part.className = TONES[state] ?? 'quiet';
    part.textContent = `${state} ${span(seconds)}`;
    return part;
  });
  figure.querySelector('.legend').replaceChildren(...parts);
  const said = times.map(([state, seconds]) => `${state} for ${span(seconds)}`).join(', ');
  figure.querySelector('svg').setAttribute('aria-label', `States in the last hour: ${said || 'no sample yet'}`);
}

// All plots of a node that is shown open.
function drawNode(element, row, now) {
  for (const kind of ['lag', 'rate']) {
    const figure = element.querySelector(`[data-plot=${kind}]`);
    const { most, top } = draw(figure.querySelector('svg'), row, kind, now);
    const { say, title, none } = PLOTS[kind];
    figure.querySelector('.top').textContent = say(top);
    figure.dataset.summary = row.length === 0 ? 'no sample yet' : most > 0 ? `at most ${say(most)}` : none;
    figure.querySelector('svg').setAttribute('aria-label', `${title} in the last hour: ${figure.dataset.summary}`);
    if (!figure.dataset.pointed) figure.querySelector('.readout').textContent = figure.dataset.summary;
  }
  const figure = element.querySelector('[data-plot=state]');
  drawLegend(figure, drawBand(figure.querySelector('svg'), row, now));
}

// Says the value below the pointer.
function watchPointer(element, rowOf, nowOf) {
  for (const kind of ['lag', 'rate']) {
    const figure = element.querySelector(`[data-plot=${kind}]`);
    const [svg, readout] = [figure.querySelector('svg'), figure.querySelector('.readout')];
    const cursor = svg.querySelector('.cursor');
    svg.addEventListener('pointermove', (event) => {
      const { left, width } = svg.getBoundingClientRect();
      const at = nowOf() - HOUR * (1 - (event.clientX - left) / width);
      const near = rowOf().reduce((best, sample) => (!best || Math.abs(sample.at - at) < Math.abs(best.at - at) ? sample : best), null);
      if (!near || Math.abs(near.at - at) > 3 * every) return;
      figure.dataset.pointed = 'yes';
      cursor.setAttribute('d', `M${x(near.at, nowOf())} 0V100`);
      const entries = kind === 'rate' && near.entries > 0 ? `, ${near.entries} entries in ${every} s` : '';
      readout.textContent = `${span(nowOf() - near.at)} ago: ${PLOTS[kind].say(PLOTS[kind].of(near))}${entries}`;
    });
    svg.addEventListener('pointerleave', () => {
      delete figure.dataset.pointed;
      cursor.removeAttribute('d');
      readout.textContent = figure.dataset.summary ?? '';
    });
  }
}
