// Parts that several views are made of.
import { el } from './dom.js';
import { oneLine } from './recorded.js';

// What a trace's status and outcome look like.
const STATUS = {
  complete: ['✓', 'good'],
  incomplete: ['!', 'warn'],
  aborted: ['✗', 'bad'],
  recording: ['●', 'live'],
};

export function statusMark(status) {
  const [mark, tone] = STATUS[status] ?? ['?', 'muted'];
  return el('span', { class: `mark ${tone}`, title: status, role: 'img', 'aria-label': status }, mark);
}

const OUTCOME = { success: 'good', failure: 'bad', abandoned: 'warn', unknown: 'muted' };

export function outcomeBadge(outcome) {
  return el('span', { class: `badge ${OUTCOME[outcome] ?? 'muted'}` }, outcome);
}

export function badge(text, tone = 'muted', title = null) {
  return el('span', { class: `badge ${tone}`, title }, text);
}

// A figure with its name.
export function figure(name, value, { note = null, tone = null } = {}) {
  return el('div', { class: `figure ${tone ?? ''}` }, el('dt', {}, name), el('dd', {}, value, note && el('small', {}, note)));
}

export function figures(...all) {
  return el('dl', { class: 'figures' }, all);
}

export function notice(text, tone = 'muted') {
  return el('div', { class: `notice ${tone}`, role: tone === 'bad' ? 'alert' : 'status' }, text);
}

export function failure(error) {
  if (error.code === 'nothing_recorded') return nothingRecorded();
  return el('div', { class: 'empty', role: 'alert' }, el('h2', {}, 'This cannot be shown'), el('p', {}, oneLine(error.message, 600)));
}

// What an empty database has to say.
export function nothingRecorded() {
  return empty('Nothing is recorded yet', el('p', {}, 'Run an agent with ', el('code', {}, 'looptape record -- CMD…'), ', or ', el('code', {}, 'looptape demo'), ': it appears here.'));
}

export function empty(title, ...rest) {
  return el('div', { class: 'empty' }, el('h2', {}, title), rest);
}

export function copyButton(text, { label = 'Copy', said = 'Copied' } = {}) {
  const button = el('button', { type: 'button', class: 'small' }, label);
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(typeof text === 'function' ? await text() : text);
      button.textContent = said;
    } catch {
      button.textContent = 'The browser forbids it';
    }
    setTimeout(() => (button.textContent = label), 1500);
  });
  return button;
}

// Tabs as links, so that each has an address.
export function tabs(label, all, current) {
  return el(
    'nav',
    { class: 'tabs', 'aria-label': label },
    all.map(({ name, title, href }) => el('a', { href, 'aria-current': name === current ? 'page' : null }, title)),
  );
}

// A part of a page with a heading.
export function panel(title, ...rest) {
  return el('section', { class: 'panel' }, el('h2', {}, title), rest);
}

// A table; a title is a name, or a name with its column's class.
export function tableOf(caption, titles, rows) {
  const heads = titles.map((title) => [title].flat()).map(([name, kind]) => el('th', { scope: 'col', class: kind }, name));
  return el('table', {}, el('caption', { class: 'unseen' }, caption), el('thead', {}, el('tr', {}, heads)), el('tbody', {}, rows));
}

// A table that may be wider than the screen: it can be scrolled by keyboard too.
export function scrolled(table) {
  return el('div', { class: 'scroll-x', tabindex: '0', role: 'region', 'aria-label': table.caption.textContent }, table);
}
