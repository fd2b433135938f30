'use strict';
// What the pages share: the words for figures, and how a text is set.

const TONES = {
  starting: 'quiet', idle: 'good', syncing: 'busy', incomplete: 'warn', reconciling: 'deep', backoff: 'bad', held: 'bad',
  paused: 'warn', restarting: 'bad',
};
const VERDICTS = { well: ['well', 'good'], attention: ['attention', 'warn'], failing: ['failing', 'bad'] };
const $ = (id) => document.getElementById(id);

// === words ===

function span(seconds) {
  if (seconds < 10) return `${(Math.round(seconds * 10) / 10).toString()} s`;
  const [s, m, h] = [Math.round(seconds), Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  const pair = (big, unit, small, rest) => (small > 0 ? `${big} ${unit} ${small} ${rest}` : `${big} ${unit}`);
  if (s < 60) return `${s} s`;
  if (m < 60) return pair(m, 'min', Math.floor(seconds % 60), 's');
  if (h < 24) return pair(h, 'h', m % 60, 'min');
  return pair(Math.floor(h / 24), 'd', h % 24, 'h');
}

function bytes(count) {
  if (count < 1024) return `${Math.round(count)} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let at = -1;
  do { count /= 1024; at += 1; } while (count >= 1023.95 && at < units.length - 1);
  return `${count.toFixed(1).replace(/\.0$/, '')} ${units[at]}`;
}

const rate = (perSecond) => `${bytes(perSecond)}/s`;

const number = (value) => value.toLocaleString('en');
const many = (count, one, more) => `${number(count)} ${count === 1 ? one : more}`;
const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });

// Only what differs, so that nothing flickers and screen readers stay silent.
function set(element, text, className) {
  if (element.textContent !== text) element.textContent = text;
  if (className !== undefined && element.className !== className) element.className = className;
}

function toggle(element, text) {
  element.hidden = !text;
  set(element, text ?? '');
}

// Names may share their beginning, or their end.
const shorten = (name, most) => (name.length > most ? `${name.slice(0, most / 2)}…${name.slice(1 - most / 2)}` : name);

// The title, with an icon in the colour of this element.
function setTitle(title, element) {
  if (document.title === title) return;
  document.title = title;
  const { color } = getComputedStyle(element);
  const template = document.createElement('template');
  template.innerHTML = '<svg></svg>';
  const icon = `<svg xmlns="${template.content.firstChild.namespaceURI}" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${color}"/></svg>`;
  document.querySelector('link[rel=icon]').href = `data:image/svg+xml,${encodeURIComponent(icon)}`;
}
