// Everything that is shown comes through here: from the API, or, where the page is a file, from the data inside it.
import { apiBase, isFile } from './place.js';
import { unpack } from './unpack.js';

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// The data inside a file: {trace, bodies, answers, table}; answers by their addresses (path and query), packed.
const held = JSON.parse(document.getElementById('looptape-data')?.textContent ?? 'null');

export function heldData() {
  return held;
}

function address(path, query) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of [value].flat()) if (one !== null && one !== undefined && one !== '' && one !== false) search.append(name, one);
  }
  return search.size > 0 ? `${path}?${search}` : path;
}

// A file has of each step all that can be asked, and of a prompt's heat the last step's.
function inFile(path, query) {
  const places = [address(path, query), address(path, { ...query, composition: 'true' }), path];
  const at = places.find((place) => Object.hasOwn(held?.answers ?? {}, place));
  if (at === undefined) throw new ApiError(404, 'not_in_file', 'This is not in the file.');
  return unpack(held.table, held.answers[at]);
}

// GET an answer; `signal` gives up on it.
export async function get(path, query, { signal } = {}) {
  if (isFile) return inFile(path, query);
  return answer(await reach(address(path, query), { signal }));
}

// GET bytes or text as they are.
export async function getBytes(path, query, { signal } = {}) {
  const at = address(path, query);
  if (isFile) throw new ApiError(404, 'not_in_file', 'Bytes as they passed are not in the file.');
  const response = await reach(at, { signal });
  if (!response.ok) await answer(response);
  return new Uint8Array(await response.arrayBuffer());
}

// POST, with the token from the terminal if this page has it.
export async function post(path, body) {
  const headers = { 'content-type': 'application/json' };
  const token = writeToken();
  if (token) headers['x-looptape-page-token'] = token;
  return answer(await reach(path, { method: 'POST', headers, body: JSON.stringify(body) }));
}

async function reach(at, options) {
  try {
    return await fetch(apiBase() + at, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, 'unreachable', 'looptape does not answer: was it stopped?');
  }
}

async function answer(response) {
  const json = await response.json().catch(() => null);
  if (response.ok && json !== null) return json;
  const { code = 'unknown', message = `looptape answered ${response.status}` } = json?.error ?? {};
  throw new ApiError(response.status, code, message);
}

// Where something of a trace is: traceAt('last', 'steps', 3).
export function traceAt(trace, ...rest) {
  return ['/traces', trace, ...rest].map((part, at) => (at === 0 ? part : encodeURIComponent(part))).join('/');
}

// The address that a browser would download from.
export function downloadAddress(path, query) {
  return apiBase() + address(path, query);
}

// The token comes behind the # of the address that the terminal printed. It stays in this tab and leaves the address.
const TOKEN = 'looptape-token';
function takeToken() {
  const given = location.hash.match(/^#token=([0-9a-f]+)$/);
  if (given) {
    sessionStorage.setItem(TOKEN, given[1]);
    history.replaceState(null, '', location.pathname + location.search);
  }
}
if (!isFile) {
  takeToken();
  // Where the page is open already, the browser changes no more than what is behind the #. What is shown asks anew.
  addEventListener('hashchange', () => {
    if (location.hash.startsWith('#token=')) {
      takeToken();
      location.reload();
    }
  });
}

export function writeToken() {
  return isFile ? null : sessionStorage.getItem(TOKEN);
}
