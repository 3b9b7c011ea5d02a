// The list of traces: what to look at first. Filters and order are in the address, so that a list can be passed on.
import { get } from '../api.js';
import { sparkline } from '../chart.js';
import { el, fill } from '../dom.js';
import { ago, clock, count, duration, money, plural, UNKNOWN } from '../format.js';
import { onChange } from '../live.js';
import { empty, failure, nothingRecorded, outcomeBadge, statusMark } from '../parts.js';
import { ask, href } from '../place.js';
import { called, oneLine, recorded } from '../recorded.js';

const PAGE = 100;

const COLUMNS = [
  { name: 'time', title: 'started' },
  { title: 'agent', class: 'wide' },
  { title: 'model', class: 'minor' },
  { name: 'outcome', title: 'outcome', sortable: false, class: 'minor' },
  { name: 'steps', title: 'steps', class: 'number' },
  { title: 'tools', class: 'number minor' },
  { name: 'retries', title: 'retries', class: 'number' },
  { name: 'duration', title: 'duration', class: 'number' },
  { name: 'cost', title: 'cost', class: 'number' },
  { title: 'last runs', class: 'trend minor' },
];

const SPANS = { '': 'any time', '15m': 'last 15 min', '1h': 'last hour', '1d': 'last day', '7d': 'last week', '30d': 'last 30 days' };
const MINUTES = { '15m': 15, '1h': 60, '1d': 1440, '7d': 10_080, '30d': 43_200 };
const FILTERS = ['text', 'agent', 'model', 'tag', 'outcome', 'status', 'within', 'replays'];

export const tracesView = {
  name: 'traces',
  title: () => 'Traces',
  matches: (path) => (path === '/' ? {} : null),
  open(root, place) {
    const list = new TraceList(root);
    list.show(place.query);
    const stop = onChange(() => list.refresh());
    const close = () => {
      stop();
      list.search?.abort();
    };
    return { update: (next) => list.show(next.query), close, keys: { j: () => list.move(1), k: () => list.move(-1) } };
  },
};

class TraceList {
  constructor(root) {
    this.query = {};
    this.shown = PAGE;
    this.asked = null;
    this.form = this.filters();
    this.body = el('tbody', {});
    this.head = el('tr', {});
    this.table = el(
      'table',
      { class: 'traces' },
      el('caption', { class: 'unseen' }, 'Recorded traces'),
      el('thead', {}, this.head),
      this.body,
    );
    this.below = el('div', { class: 'below' });
    this.inside = el('div', { class: 'inside' });
    this.state = el('p', { class: 'unseen', role: 'status' });
    fill(root, el('h1', { class: 'unseen' }, 'Traces'), this.form, el('div', { class: 'scroll-x' }, this.table), this.below, this.inside, this.state);
  }

  filters() {
    this.inputs = {};
    const input = (name, attributes) => {
      const box = el('input', { type: 'search', name, autocomplete: 'off', spellcheck: 'false', ...attributes });
      let timer;
      box.addEventListener('input', () => {
        clearTimeout(timer);
        timer = setTimeout(() => ask({ [name]: box.value.trim() }), 200);
      });
      this.inputs[name] = box;
      return box;
    };
    const select = (name, label, options) => {
      const box = el('select', { name, 'aria-label': label }, Object.entries(options).map(([value, text]) => el('option', { value }, text)));
      box.addEventListener('change', () => ask({ [name]: box.value }));
      this.inputs[name] = box;
      return box;
    };
    const replays = el('input', { type: 'checkbox', name: 'replays' });
    replays.addEventListener('change', () => ask({ replays: replays.checked ? 'true' : '' }));
    this.inputs.replays = replays;
    const form = el(
      'form',
      { class: 'filters', role: 'search', 'aria-label': 'Filter traces' },
      input('text', { placeholder: 'Find an id, a name, a command…', 'aria-label': 'Text', 'data-search': true, class: 'find' }),
      input('agent', { placeholder: 'agent', 'aria-label': 'Agent', list: 'agents' }),
      input('model', { placeholder: 'model', 'aria-label': 'Model', list: 'models' }),
      input('tag', { placeholder: 'tag: KEY=VALUE', 'aria-label': 'Tag' }),
      select('outcome', 'Outcome', { '': 'any outcome', success: 'success', failure: 'failure', abandoned: 'abandoned', unknown: 'unknown' }),
      select('status', 'Status', { '': 'any status', complete: 'complete', recording: 'recording', incomplete: 'incomplete', aborted: 'aborted' }),
      select('within', 'Time', SPANS),
      el('label', {}, replays, ' replays'),
      el('button', { type: 'button', class: 'small', onclick: () => ask(Object.fromEntries(FILTERS.map((name) => [name, '']))) }, 'Clear'),
      el('datalist', { id: 'agents' }),
      el('datalist', { id: 'models' }),
    );
    form.addEventListener('submit', (event) => event.preventDefault());
    return form;
  }

  async show(query) {
    this.query = query;
    this.shown = PAGE;
    for (const [name, box] of Object.entries(this.inputs)) {
      if (box.type === 'checkbox') box.checked = query[name] === 'true';
      else if (document.activeElement !== box) box.value = query[name] ?? '';
    }
    this.heading();
    this.offerInside();
    await this.refresh();
  }

  heading() {
    const { sort = 'time', order = 'down' } = this.query;
    const cells = COLUMNS.map(({ name, title, sortable = true, class: kind }) => {
      if (!name || !sortable) return el('th', { scope: 'col', class: kind }, title);
      const current = sort === name;
      const sorted = current ? (order === 'up' ? 'ascending' : 'descending') : 'none';
      const next = current && order === 'down' ? 'up' : 'down';
      const click = () => ask({ sort: name === 'time' ? '' : name, order: next === 'up' ? 'up' : '' });
      const arrow = current ? (order === 'up' ? ' ↑' : ' ↓') : '';
      return el('th', { scope: 'col', class: kind, 'aria-sort': sorted }, el('button', { type: 'button', onclick: click }, title, arrow));
    });
    fill(this.head, cells);
  }

  // What was said in the traces is not indexed: it is looked through when that is asked for.
  offerInside() {
    this.search?.abort();
    const { text } = this.query;
    fill(this.inside, text && el('p', {}, el('button', { type: 'button', onclick: () => this.lookInside() }, 'Look for it inside the messages')));
  }

  async lookInside() {
    const search = (this.search = new AbortController());
    const { within, sort, order, ...query } = this.query;
    const state = el('p', { class: 'muted', role: 'status' });
    const list = el('ul', { class: 'found' });
    const stop = el('button', { type: 'button', class: 'small', onclick: () => search.abort() }, 'Stop');
    fill(this.inside, state, list, stop);
    let [offset, call, looked, found] = [0, null, 0, 0];
    while (offset !== null && !search.signal.aborted) {
      try {
        const answer = await get('/search', { ...query, since: this.since(), offset, call }, { signal: search.signal });
        looked += answer.looked_at;
        found += answer.found.length;
        list.append(...answer.found.map((one) => this.foundRow(one)));
        offset = found >= 500 ? null : answer.next;
        call = answer.next_call;
      } catch (error) {
        if (error.name !== 'AbortError') list.append(el('li', { class: 'bad-text' }, oneLine(error.message)));
        break;
      }
      state.textContent = `${plural(found, 'trace')} of ${count(looked)} that were looked at say it${offset === null ? '' : ' …'}`;
    }
    stop.remove();
  }

  foundRow(one) {
    const place = href(`/trace/${encodeURIComponent(one.label)}`, { step: one.step });
    return el('li', {}, el('a', { href: place, class: 'id' }, recorded(one.short)), ' ', one.agent && oneLine(one.agent, 40), one.step && el('small', {}, ` step ${one.step} `), el('span', { class: 'muted' }, ' … ', oneLine(one.excerpt, 200), ' …'));
  }

  since() {
    const { within } = this.query;
    return within && MINUTES[within] ? Date.now() - MINUTES[within] * 60_000 : null;
  }

  async refresh() {
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    const { within, ...query } = this.query;
    try {
      const answer = await get('/traces', { ...query, since: this.since(), limit: this.shown }, { signal: asked.signal });
      if (asked === this.asked) this.draw(answer);
    } catch (error) {
      if (error.name === 'AbortError') return;
      fill(this.body);
      fill(this.below, failure(error));
    }
  }

  draw({ traces, more, agents }) {
    const focused = document.activeElement?.dataset?.trace;
    const byAgent = new Map(agents.map((runs) => [runs.agent, runs]));
    fill(this.body, traces.map((trace) => this.row(trace, byAgent.get(trace.agent))));
    if (focused) this.links().find((link) => link.dataset.trace === focused)?.focus({ preventScroll: true });
    this.suggest(traces);
    this.state.textContent = `${traces.length}${more ? ' or more' : ''} traces`;
    if (traces.length === 0) fill(this.below, this.nothing());
    else if (more) fill(this.below, el('button', { type: 'button', onclick: () => this.further() }, `Show ${PAGE} more`));
    else fill(this.below, el('p', { class: 'muted' }, traces.length === 1 ? 'One trace' : `${count(traces.length)} traces, all there are`));
  }

  row(trace, runs) {
    const link = el('a', { href: href(`/trace/${encodeURIComponent(trace.label)}`), 'data-trace': trace.label, class: 'id' }, recorded(trace.short));
    const started = trace.started_unix_us / 1000;
    const retries = Math.max(0, trace.attempts - trace.steps);
    const among = runs?.listed.find((one) => one.label === trace.label);
    const times = runs?.median_usd > 0 && trace.cost_usd !== null ? trace.cost_usd / runs.median_usd : null;
    const unusual = among?.unusual && times !== null && el('span', { class: 'badge warn', title: `unusual: ${times.toFixed(1)} times the median of the last runs of ${trace.agent}` }, `${times.toFixed(1)}×`);
    const names = called(trace);
    const who = names.length > 0 ? names.map((name, at) => [at > 0 && ' · ', oneLine(name, 60)]) : el('span', { class: 'muted' }, 'unnamed');
    return el(
      'tr',
      { class: trace.status },
      el('td', { class: 'started', title: clock(started) }, statusMark(trace.status), ' ', link, el('small', {}, ago(started))),
      el('td', { class: 'wide' }, who, trace.tags.map((tag) => el('span', { class: 'tag' }, oneLine(tag, 40)))),
      el('td', { class: 'minor' }, (trace.models ?? []).map((model, at) => [at > 0 && ', ', oneLine(model, 40)])),
      el('td', { class: 'minor' }, trace.outcome && outcomeBadge(trace.outcome)),
      el('td', { class: 'number steps' }, count(trace.steps)),
      el('td', { class: 'number minor' }, trace.tool_calls ? count(trace.tool_calls) : ''),
      el('td', { class: 'number retries' }, retries ? el('span', { class: 'warn-text' }, count(retries)) : ''),
      el('td', { class: 'number duration' }, trace.status === 'recording' ? el('span', { class: 'muted' }, 'running') : duration(trace.duration_ms)),
      el('td', { class: 'number cost' }, unusual, unusual && ' ', trace.steps === 0 && trace.cost_usd === null ? UNKNOWN : money(trace.cost_usd, trace.cost_at_least)),
      el('td', { class: 'trend minor' }, runs?.costs_usd.length > 2 && sparkline(runs.costs_usd.map((usd) => usd ?? 0), { mark: among?.at })),
    );
  }

  nothing() {
    const filtered = FILTERS.some((name) => this.query[name]);
    if (filtered) return empty('No trace passes these filters', el('p', {}, 'Clear some of them, or look further back.'));
    return nothingRecorded();
  }

  suggest(traces) {
    const distinct = (values) => [...new Set(values.filter(Boolean))].sort().slice(0, 50);
    const offer = (id, values) => fill(this.form.querySelector(`#${id}`), values.map((value) => el('option', { value })));
    offer('agents', distinct(traces.map((trace) => trace.agent)));
    offer('models', distinct(traces.flatMap((trace) => trace.models ?? [])));
  }

  async further() {
    const last = this.links().length;
    this.shown += PAGE;
    await this.refresh();
    this.links()[last]?.focus();
  }

  links() {
    return [...this.body.querySelectorAll('a[data-trace]')];
  }

  move(by) {
    const links = this.links();
    const at = links.indexOf(document.activeElement);
    links[Math.max(0, Math.min(links.length - 1, at < 0 ? 0 : at + by))]?.focus();
  }
}
