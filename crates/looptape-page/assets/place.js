// Where the reader is: /trace/ID?step=3.1 below the page's address, or behind a # where the page is a file.

// A gateway may have its token in front of the page's path.
const BASE = location.protocol === 'file:' ? null : (location.pathname.match(/^(?:\/k\/[^/]+)?\/ui(?=\/|$)/) ?? ['/ui'])[0];

export const isFile = BASE === null;

export function apiBase() {
  return `${BASE}/api`;
}

// What links to a place. Of `query`, what is null or empty is left out.
export function href(path, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== null && one !== undefined && one !== '' && one !== false) search.append(name, one);
  }
  const question = search.size > 0 ? `?${search}` : '';
  if (isFile) return `#${path}${question}`;
  return `${BASE}${path === '/' ? '' : path}${question}`;
}

export function here() {
  const [path, search] = isFile
    ? [location.hash.slice(1).split('?')[0] || '/', location.hash.split('?')[1] ?? '']
    : [location.pathname.slice(BASE.length) || '/', location.search];
  const query = {};
  for (const [name, value] of new URLSearchParams(search)) query[name] = value;
  return { path: path.length > 1 ? path.replace(/\/$/, '') : path, query };
}

const followers = new Set();

export function onPlace(listener) {
  followers.add(listener);
}

// Goes somewhere. A place that replaces this one leaves no entry to go back to.
export function go(path, query = {}, { replace = false } = {}) {
  const to = href(path, query);
  const now = isFile ? location.hash : location.pathname + location.search;
  if (to === now) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', to);
  for (const listener of followers) listener();
}

// The same place with other questions.
export function ask(changes, options = { replace: true }) {
  const { path, query } = here();
  go(path, { ...query, ...changes }, options);
}

addEventListener('popstate', () => {
  for (const listener of followers) listener();
});
addEventListener('hashchange', () => {
  if (isFile) for (const listener of followers) listener();
});

// Links inside the page are followed without loading it again.
document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href]');
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.target || link.hasAttribute('download') || link.origin !== location.origin || isFile) return;
  const inside = link.pathname === BASE || link.pathname.startsWith(`${BASE}/`);
  if (!inside || link.pathname.startsWith(`${BASE}/api/`) || link.hash) return;
  event.preventDefault();
  history.pushState(null, '', link.pathname + link.search);
  for (const listener of followers) listener();
});
