// The figures of many traces: at a glance, a metric over time, histograms, groups; and what gates say of them.
import { get } from '../api.js';
import { el, fill } from '../dom.js';
import { count, duration, money, percent, plural, short, UNKNOWN } from '../format.js';
import { knownOverTime, metricOverTime, rate, WRITTEN } from '../numbers/over_time.js';
import { empty, failure, figure, figures, notice, panel, scrolled, tableOf } from '../parts.js';
import { ask, href } from '../place.js';
import { oneLine } from '../recorded.js';

const WITHIN = { '1h': 'last hour', '1d': 'last day', '7d': 'last week', '30d': 'last 30 days', all: 'all time' };
const HOURS = { '1h': 1, '1d': 24, '7d': 168, '30d': 720 };
const GROUPS = { '': 'no groups', model: 'by model', agent: 'by agent', version: 'by version', tool: 'by tool', tag: 'by tag', day: 'by day', hour: 'by hour', phase: 'by phase', kind: 'by kind', input: 'by input size', output: 'by output size' };
const USUAL = '7d';

// What is drawn of each metric, in this order.
const SHOWN = [
  ['loop_duration_ms', 'loop duration', 'ms'],
  ['step_latency_ms', 'step latency', 'ms'],
  ['ttft_ms', 'first token', 'ms'],
  ['steps_per_loop', 'steps per loop', 'count'],
  ['cost_usd', 'cost per loop', 'usd'],
  ['output_tokens_per_s', 'output tokens/s', 'number'],
  ['context_used', 'context used', 'share'],
  ['icl_ms', 'gaps in streams', 'ms'],
];

export const numbersView = {
  name: 'numbers',
  title: () => 'Numbers',
  matches: (path) => (path === '/numbers' ? {} : null),
  open(root, place) {
    const view = new NumbersPage(root);
    view.show(place.query);
    return { update: (next) => view.show(next.query), close: () => view.close() };
  },
};

class NumbersPage {
  constructor(root) {
    this.charts = [];
    this.inputs = {};
    this.form = this.filters();
    this.body = el('div', { 'aria-live': 'polite' });
    fill(root, el('h1', { class: 'unseen' }, 'Numbers'), this.form, this.body);
  }

  close() {
    this.asked?.abort();
    this.found = null;
    this.charts.forEach((one) => one.close());
    this.charts = [];
  }

  filters() {
    const input = (name, label, more = {}) => {
      const box = el('input', { type: 'search', name, placeholder: label, 'aria-label': label, autocomplete: 'off', spellcheck: 'false', ...more });
      box.addEventListener('change', () => ask({ [name]: box.value.trim() }));
      return (this.inputs[name] = box);
    };
    const select = (name, label, options) => {
      const box = el('select', { name, 'aria-label': label }, Object.entries(options).map(([value, text]) => el('option', { value }, text)));
      box.addEventListener('change', () => ask({ [name]: box.value }));
      return (this.inputs[name] = box);
    };
    const form = el(
      'form',
      { class: 'filters', role: 'search', 'aria-label': 'Which traces' },
      select('within', 'Time', WITHIN),
      input('agent', 'agent', { 'data-search': true }),
      input('model', 'model'),
      input('tag', 'tag, KEY=VALUE'),
      select('group_by', 'Groups', GROUPS),
      input('gate', 'gate: retry_rate: value<=0.05', { class: 'find' }),
    );
    form.addEventListener('submit', (event) => event.preventDefault());
    return form;
  }

  async show({ metric, ...query }) {
    this.metric = metric;
    for (const [name, box] of Object.entries(this.inputs)) box.value = query[name] ?? (name === 'within' ? USUAL : '');
    // Another metric of what is here already needs no other figures.
    if (this.found?.query === JSON.stringify(query)) return this.drawOverTime();
    this.close();
    const asked = (this.asked = new AbortController());
    const { within = USUAL, ...rest } = query;
    const since = HOURS[within] ? Date.now() - HOURS[within] * 3_600_000 : null;
    fill(this.body, notice('Reading and measuring…'));
    try {
      const stats = await get('/stats', { ...rest, since: since && Math.floor(since), over_time: 'auto' }, { signal: asked.signal });
      if (asked !== this.asked) return;
      this.found = { query: JSON.stringify(query), stats };
      this.draw(stats, within);
    } catch (error) {
      if (error.name !== 'AbortError') fill(this.body, failure(error));
    }
  }

  draw(stats, within) {
    if (stats.traces === 0) {
      const further = within === 'all' ? 'Record an agent, or clear the filters.' : 'Look further back, or clear the filters.';
      fill(this.body, empty(`No trace ${within === 'all' ? 'passes' : `of the ${WITHIN[within]} passes`} these filters`, el('p', {}, further)));
      return;
    }
    fill(this.body, headline(stats), gatesPanel(stats), this.overTime(stats), histograms(stats), groupsPanel(stats), load());
    this.drawOverTime();
  }

  // The panel, in which the chosen metric is drawn once it is in the document.
  overTime({ over_time: over }) {
    this.overTimeBox = null;
    if (!over || over.stretches.length === 0) return null;
    const known = knownOverTime(over);
    if (known.length === 0) return null;
    this.metricBox = el('select', { name: 'metric', 'aria-label': 'Metric', onchange: () => ask({ metric: this.metricBox.value }) }, known.map(([name, title]) => el('option', { value: name }, title)));
    this.overTimeBox = el('div', {});
    return panel('Over time', el('div', { class: 'fields' }, this.metricBox, el('span', { class: 'muted' }, `of the traces that began in each ${over.unit}`)), this.overTimeBox);
  }

  drawOverTime() {
    this.charts.forEach((one) => one.close());
    this.charts = [];
    if (!this.overTimeBox) return;
    const { over_time: over } = this.found.stats;
    const name = [...this.metricBox.options].some(({ value }) => value === this.metric) ? this.metric : this.metricBox.options[0].value;
    this.metricBox.value = name;
    const drawn = metricOverTime(over, name);
    this.charts.push(drawn.chart);
    fill(this.overTimeBox, drawn.chart.box, el('details', {}, el('summary', {}, 'The same as a table'), drawn.table));
  }
}

function groupsPanel({ group_by: by, groups }) {
  if (!groups) return null;
  return panel(`By ${by}`, groups.length === 0 ? el('p', { class: 'muted' }, 'Nothing is in any group.') : groupTable(by, groups));
}

// Conditions, each with its figure, its limit and the room that is left.
export function gatesPanel({ gates }) {
  if (gates.gates.length === 0) return null;
  const mark = { passed: ['✓', 'good'], failed: ['✗', 'bad'], unknown: ['?', 'bad'], unknown_accepted: ['?', 'warn'] };
  const row = (gate) => {
    const [sign, tone] = mark[gate.verdict];
    const write = WRITTEN[gate.unit] ?? count;
    const share = gate.limit && gate.margin !== null ? gate.margin / Math.abs(gate.limit) : null;
    return el(
      'tr',
      {},
      el('td', {}, el('span', { class: `mark ${tone}`, role: 'img', 'aria-label': gate.verdict }, sign), ' ', el('code', {}, gate.gate)),
      el('td', { class: 'number' }, gate.figure === null ? UNKNOWN : `${gate.at_least ? '≥' : ''}${write(gate.figure)}`, gate.certified === false && el('small', { title: 'the sample is too small for this percentile' }, ' ?')),
      el('td', { class: 'number' }, gate.limit === null ? UNKNOWN : write(gate.limit)),
      el('td', { class: 'margin' }, marginBar(share, tone), el('span', { class: 'number' }, share === null ? gate.why ?? UNKNOWN : `${share < 0 ? '−' : ''}${percent(Math.abs(share))}`)),
    );
  };
  return panel(
    gates.passed ? 'Gates: all hold' : `Gates: ${gates.gates.filter((gate) => gate.verdict === 'failed' || gate.verdict === 'unknown').length} of ${gates.gates.length} fail`,
    scrolled(tableOf('Gates and their margins', ['gate', ['figure', 'number'], ['limit', 'number'], 'room that is left'], gates.gates.map(row))),
  );
}

// How much of the limit is left, or by how much it is missed.
function marginBar(share, tone) {
  if (share === null) return null;
  const width = `${Math.min(Math.abs(share), 1) * 100}%`;
  return el('span', { class: 'margin-track', 'aria-hidden': 'true' }, el('span', { class: `bar ${share < 0 ? 'bad' : tone}`, style: { width } }));
}

const HEALTH = { warn: 'warn', critical: 'bad' };

// A percentile; uncertified ones are marked.
export function at(distribution, name, write) {
  const percentile = distribution[name];
  if (!percentile) return UNKNOWN;
  // Those that failed are longer than any other.
  if (percentile.value === null) return '∞';
  return [write(percentile.value), percentile.certified ? null : el('small', { title: 'the sample is too small for this percentile' }, '?')];
}

function spread(name, distribution, write, tone) {
  if (!distribution.p50) return figure(name, UNKNOWN);
  const more = ['p95', 'p99'].map((percentile) => [`${percentile} `, at(distribution, percentile, write)]);
  return figure(name, at(distribution, 'p50', write), { note: [more[0], ' · ', more[1]], tone });
}

function headline(stats) {
  const { loops, health, tokens } = stats;
  const outcomes = [loops.success && `${loops.success} succeeded`, loops.failure && `${loops.failure} failed`, loops.abandoned && `${loops.abandoned} abandoned`, loops.unknown && `${loops.unknown} without an end`].filter(Boolean);
  return el(
    'div',
    { class: 'headline' },
    figures(
      figure('loops', count(loops.started), { note: outcomes.join(', ') }),
      figure('loops/min', stats.loops_per_min === null ? UNKNOWN : rate(stats.loops_per_min), { note: stats.window_s === null ? null : `over ${duration(stats.window_s * 1000)}` }),
      figure('steps per loop', at(stats.steps_per_loop, 'p50', count), { note: ['p95 ', at(stats.steps_per_loop, 'p95', count)], tone: HEALTH[health.steps_per_loop] }),
      figure('retry rate', percent(stats.retry_rate, 1), { note: plural(stats.retries, 'retry', 'retries'), tone: HEALTH[health.retry_rate] }),
      spread('loop', stats.loop_duration_ms, duration),
      spread('step latency', stats.step_latency_ms, duration, HEALTH[health.step_latency_ms]),
      spread('first token', stats.ttft_ms, duration),
      figure('cost', money(stats.cost_usd, stats.cost_at_least), { note: ['a loop ', at(stats.loop_cost_usd, 'p50', money)] }),
      figure('tokens', short(tokens.input_total), { note: `in, ${short(tokens.output_total)} out` }),
      figure('read from cache', percent(stats.cache_hit_ratio)),
      figure('failed attempts', percent(stats.error_rate, 1), { note: Object.entries(stats.errors).map(([kind, n]) => `${n} × ${kind.replace('_', ' ')}`).slice(0, 3).join(', ') }),
    ),
    withoutCost(stats.cost_unknown),
  );
}

const UNPRICED = {
  no_usage: 'the provider reported no usage',
  no_model: 'neither request nor answer names a model',
  unknown_model: 'the price list does not have the model',
  ambiguous_model: 'several providers offer the model, at different prices',
  local_model: 'the model runs on this machine',
  other_modalities: 'audio or image tokens are billed apart',
};
const MODELS_NAMED = 8;

// By reason, the most called models first.
function withoutCost(unknown) {
  if (unknown.length === 0) return null;
  const lines = [...Map.groupBy(unknown, ({ why }) => why)].map(([why, of]) => {
    const calls = new Map();
    for (const { model, calls: n } of of) calls.set(model, (calls.get(model) ?? 0) + n);
    const models = [...calls].sort(([, a], [, b]) => b - a);
    const named = models.slice(0, MODELS_NAMED).map(([model, n]) => [oneLine(model ?? 'no name', 80), ` (${plural(n, 'call')}), `]);
    const more = models.length - named.length;
    if (more > 0) named.push(`${plural(more, 'more model')}, `);
    return el('div', {}, named, `as ${UNPRICED[why] ?? why}`);
  });
  return notice(['Without a cost:', lines], 'warn');
}

function histograms({ histograms: known, ...stats }) {
  const drawn = SHOWN.filter(([name]) => known[name]?.length > 0).map(([name, title, unit]) => histogram(title, unit, known[name], name === 'cost_usd' ? stats.loop_cost_usd : stats[name]));
  return drawn.length > 0 && panel('Histograms', el('div', { class: 'histograms' }, drawn));
}

function histogram(title, unit, buckets, distribution) {
  // Three of them stand side by side.
  const write = unit === 'usd' ? (usd) => money(usd, false, 3) : WRITTEN[unit];
  const most = Math.max(...buckets.map(({ n }) => n));
  const total = buckets.reduce((sum, { n }) => sum + n, 0);
  const columns = buckets.map(({ from, to, n }) => el('span', { class: 'column', title: `${write(from)} to ${write(to)}: ${count(n)}` }, el('span', { style: { height: `${(n / most) * 100}%` } })));
  const said = ['p50', 'p95', 'p99'].map((percentile) => [el('dt', {}, percentile), el('dd', {}, at(distribution, percentile, write))]);
  return el(
    'figure',
    { class: 'histogram' },
    el('figcaption', {}, title, el('small', {}, ` ${plural(total, 'value')}`)),
    el('div', { class: 'columns', role: 'img', 'aria-label': `${title}: from ${write(buckets[0].from)} to ${write(buckets.at(-1).to)}, most often ${count(most)} times in one column` }, columns),
    el('div', { class: 'ends muted', 'aria-hidden': 'true' }, el('span', {}, write(buckets[0].from)), el('span', {}, write(buckets.at(-1).to))),
    el('dl', { class: 'percentiles' }, said),
  );
}

// Columns of a group's table, by what is grouped.
const OF_TOOLS = [
  ['calls', (group) => count(group.calls)],
  ['errors', (group) => percent(group.error_rate)],
  ['p50', (group) => toolTime(group, 'p50')],
  ['p95', (group) => toolTime(group, 'p95')],
  ['p99', (group) => toolTime(group, 'p99'), 'minor'],
  ['of the loops', (group) => percent(group.loop_share), 'minor'],
];
const OF_KINDS = [
  ['calls', (group) => count(group.calls)],
  ['p50', (group) => at(group.latency_ms, 'p50', duration)],
  ['p95', (group) => at(group.latency_ms, 'p95', duration)],
];
const OF_STEPS = [
  ['steps', (group) => count(group.steps)],
  ['retry rate', (group) => percent(group.retry_rate, 1)],
  ['latency p50', (group) => at(group.step_latency_ms, 'p50', duration)],
  ['p95', (group) => at(group.step_latency_ms, 'p95', duration)],
  ['first token', (group) => at(group.ttft_ms, 'p50', duration), 'minor'],
  ['in', (group) => short(group.tokens.input_total), 'minor'],
  ['out', (group) => short(group.tokens.output_total), 'minor'],
  ['cost', (group) => money(group.cost_usd, group.cost_at_least)],
];
const OF_TRACES = [
  ['loops', (group) => count(group.loops.started)],
  ['steps p50', (group) => at(group.steps_per_loop, 'p50', count), 'minor'],
  ['loop p50', (group) => at(group.loop_duration_ms, 'p50', duration)],
  ['p95', (group) => at(group.loop_duration_ms, 'p95', duration), 'minor'],
  ['retry rate', (group) => percent(group.retry_rate, 1)],
  ['cost', (group) => money(group.cost_usd, group.cost_at_least)],
  ['a loop', (group) => at(group.loop_cost_usd, 'p50', money)],
];

function toolTime(group, percentile) {
  if (group.measured > 0) return at(group.tool_ms, percentile, duration);
  return group.tool_inferred_ms[percentile] ? ['≤ ', at(group.tool_inferred_ms, percentile, duration)] : UNKNOWN;
}

function groupTable(by, groups) {
  const columns = by === 'tool' ? OF_TOOLS : by === 'kind' ? OF_KINDS : groups[0] && 'loops' in groups[0] ? OF_TRACES : OF_STEPS;
  const titles = [by, ...columns.map(([title, , kind = '']) => [title, `number ${kind}`])];
  const rows = groups.map((group) => el('tr', {}, el('th', { scope: 'row', class: 'wide' }, oneLine(group.key, 60)), columns.map(([, read, kind = '']) => el('td', { class: `number ${kind}` }, read(group)))));
  return scrolled(tableOf(`Figures by ${by}`, titles, rows));
}

function load() {
  return el('p', { class: 'muted' }, el('a', { href: href('/load') }, 'Load runs →'));
}
