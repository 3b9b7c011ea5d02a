// The frame around the views: which one is shown, what is on the keyboard, light and dark.
import { el, fill } from './dom.js';
import { heldData } from './api.js';
import { go, here, href, isFile, onPlace } from './place.js';
import { failure } from './parts.js';
import { auditView, rankingView } from './views/audit.js';
import { diffView } from './views/diff.js';
import { loadRunView, loadView } from './views/load.js';
import { numbersView } from './views/numbers.js';
import { replayView } from './views/replay.js';
import { traceView } from './views/trace.js';
import { tracesView } from './views/traces.js';

// Each: name, title(place), matches(path) → parameters or null, open(root, place) → {update(place), close(), keys}.
// `update` is asked for when only the questions of the place change.
const VIEWS = [tracesView, traceView, diffView, rankingView, auditView, numbersView, loadView, loadRunView, replayView];

// What stands at the top of every page.
const PLACES = [
  { view: 'traces', title: 'Traces', path: '/' },
  { view: 'diff', title: 'Diff', path: '/diff' },
  { view: 'audit', title: 'Audit', path: '/audit' },
  { view: 'numbers', title: 'Numbers', path: '/numbers' },
  { view: 'load', title: 'Load', path: '/load' },
];

const KEYS = [
  ['j, k', 'next, previous'],
  ['Enter', 'open'],
  ['/', 'find'],
  ['Escape', 'close, go back'],
  ['t', 'light or dark'],
  ['?', 'this help'],
];

let current = null;

function start() {
  showTheme(storedTheme());
  // What is painted has to be painted anew.
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => showTheme(storedTheme()));
  const main = el('main', { id: 'main', tabindex: '-1' });
  document.body.append(header(), main, help());
  onPlace(() => show(main));
  addEventListener('keydown', pressed);
  show(main);
}

function header() {
  // A file holds one trace.
  const links = (isFile ? [] : PLACES).map(({ view, title, path }) => el('a', { href: href(path), 'data-view': view }, title));
  return el(
    'header',
    { class: 'top' },
    el('a', { class: 'skip', href: '#main', onclick: skip }, 'Skip to the content'),
    el('a', { class: 'logo', href: href('/') }, el('span', { class: 'reels', 'aria-hidden': 'true' }, '◉━◉'), ' looptape'),
    el('nav', { 'aria-label': 'Main' }, links),
    el('span', { class: 'connection', role: 'status' }),
    el('button', { type: 'button', class: 'icon', id: 'theme', onclick: turn, title: 'Light or dark (t)', 'aria-label': 'Light or dark' }, '◐'),
    el('button', { type: 'button', class: 'icon', onclick: askForHelp, title: 'Keys (?)', 'aria-label': 'Keys' }, '?'),
  );
}

function skip(event) {
  event.preventDefault();
  document.getElementById('main').focus();
}

function help() {
  return el(
    'dialog',
    { id: 'help', 'aria-labelledby': 'help-title' },
    el('h2', { id: 'help-title' }, 'Keys'),
    el('dl', {}, KEYS.map(([key, what]) => [el('dt', {}, el('kbd', {}, key)), el('dd', {}, what)])),
    el('form', { method: 'dialog' }, el('button', {}, 'Close')),
  );
}

function askForHelp() {
  document.getElementById('help').showModal();
}

function show(main) {
  const place = here();
  if (isFile && place.path === '/') {
    go(`/trace/${encodeURIComponent(heldData()?.trace ?? '')}`, {}, { replace: true });
    return;
  }
  const found = VIEWS.map((view) => ({ view, params: view.matches(place.path) })).find(({ params }) => params);
  const view = found?.view;
  const at = { ...place, params: found?.params };
  for (const link of document.querySelectorAll('header nav a')) {
    const isHere = link.dataset.view === (view?.of ?? view?.name);
    if (isHere) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    // On a narrow screen the row of links may be wider than its place.
    if (isHere) link.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }
  document.title = `${view?.title(at) ?? 'Not found'} · looptape`;
  if (current && current.view === view && current.path === place.path) {
    current.shown.update?.(at);
    return;
  }
  const first = current === null;
  current?.shown?.close?.();
  main.className = view?.name ?? '';
  fill(main);
  if (!view) {
    current = { view, path: place.path, shown: {} };
    fill(main, failure(new Error(`There is no page at ${place.path}.`)));
    return;
  }
  current = { view, path: place.path, shown: view.open(main, at) ?? {} };
  if (!first) main.focus({ preventScroll: true });
  if (!first) scrollTo(0, 0);
}

function isTyping(target) {
  return target.closest?.('input, select, textarea, [contenteditable]') && target.type !== 'checkbox';
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector('dialog[open]')) return;
  if (isTyping(event.target)) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const keys = current?.shown?.keys ?? {};
  const own = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
  if (own) {
    if (own(event) !== false) event.preventDefault();
  } else if (event.key === '?') {
    event.preventDefault();
    askForHelp();
  } else if (event.key === 't') {
    turn();
  } else if (event.key === '/') {
    const box = document.querySelector('[data-search]');
    if (box) {
      event.preventDefault();
      box.focus();
      box.select?.();
    }
  }
}

// 'light', 'dark', or null for what the system says.
function storedTheme() {
  try {
    return localStorage.getItem('looptape-theme');
  } catch {
    return null;
  }
}

function showTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  document.dispatchEvent(new Event('looptape-theme'));
}

function turn() {
  const system = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  const now = document.documentElement.dataset.theme ?? system;
  const next = now === 'dark' ? 'light' : 'dark';
  const theme = next === system ? null : next;
  try {
    if (theme) localStorage.setItem('looptape-theme', theme);
    else localStorage.removeItem('looptape-theme');
  } catch {
    // A page from disk may not be allowed to remember.
  }
  showTheme(theme);
}

start();
