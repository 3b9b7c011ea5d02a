// Live: asks now and then whether something was written, and tells whoever wants to know. Nothing is asked while the page is not
// looked at.
import { get } from './api.js';
import { isFile } from './place.js';

const EVERY_MS = 1000;
const watchers = new Set();
let mark;
let timer = null;

// Calls back when something was written. Gives a function that stops it.
export function onChange(listener) {
  watchers.add(listener);
  if (timer === null && !isFile) look();
  return () => watchers.delete(listener);
}

async function look() {
  timer = setTimeout(look, EVERY_MS);
  if (document.hidden || watchers.size === 0) return;
  try {
    const { mark: now } = await get('/changes');
    const changed = mark !== undefined && now !== mark;
    mark = now;
    setState('live');
    if (changed) for (const listener of [...watchers]) listener();
  } catch {
    setState('lost');
  }
}

function setState(state) {
  document.documentElement.dataset.connection = state;
}
