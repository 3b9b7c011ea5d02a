// The figures of many traces: at a glance, over time, as histograms, in groups; and what gates say of them.
import { get } from '../api.js';
import { chart } from '../chart.js';
import { el, fill } from '../dom.js';
import { clock, count, duration, money, percent, plural, short, UNKNOWN } from '../format.js';
import { empty, failure, figure, figures, notice, panel, scrolled, tableOf } from '../parts.js';
import { ask, href } from '../place.js';
import { oneLine } from '../recorded.js';

const WITHIN = { '1h': 'last hour', '1d': 'last day', '7d': 'last week', '30d': 'last 30 days', all: 'all time' };
const HOURS = { '1h': 1, '1d': 24, '7d': 168, '30d': 720 };
const GROUPS = { '': 'no groups', model: 'by model', agent: 'by agent', version: 'by version', tool: 'by tool', tag: 'by tag', day: 'by day', phase: 'by phase', kind: 'by kind', input: 'by input size', output: 'by output size' };
const USUAL = '7d';

// How figures of a unit are written.
const WRITTEN = { ms: duration, usd: money, share: (value) => percent(value, 1), number: (value) => (value < 100 && value % 1 !== 0 ? value.toFixed(2) : short(Math.round(value))), count };

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

  async show(query) {
    this.close();
    const asked = (this.asked = new AbortController());
    for (const [name, box] of Object.entries(this.inputs)) box.value = query[name] ?? (name === 'within' ? USUAL : '');
    const { within = USUAL, ...rest } = query;
    const since = HOURS[within] ? Date.now() - HOURS[within] * 3_600_000 : null;
    fill(this.body, notice('Reading and measuring…'));
    try {
      const found = await get('/stats', { ...rest, since: since && Math.floor(since) }, { signal: asked.signal });
      if (asked === this.asked) this.draw(found, within);
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
    fill(this.body, headline(stats), gatesPanel(stats), this.overTime(stats), histograms(stats), this.groups(stats), load());
  }

  overTime({ series }) {
    if (!series || series.loops_per_min.length < 2) return null;
    const xs = series.loops_per_min.map((_, at) => series.start_unix_us / 1e6 + at * series.bucket_s);
    const scales = { x: { time: true }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } };
    const loops = chart({
      label: 'Loops per minute over time',
      data: [xs, series.loops_per_min],
      series: [{ label: 'loops/min', colour: 'model', fill: true }],
      scales,
    });
    const tokens = chart({
      label: 'Tokens per second over time',
      data: [xs, series.input_tokens_per_s, series.output_tokens_per_s],
      series: [
        { label: 'input tokens/s', colour: 'cache' },
        { label: 'output tokens/s', colour: 'tool' },
      ],
      scales,
    });
    this.charts.push(loops, tokens);
    const most = Math.max(...series.loops_per_min);
    const peak = xs[series.loops_per_min.indexOf(most)] * 1000;
    return panel(
      'Over time',
      el('p', { class: 'muted' }, `Stretches of ${duration(series.bucket_s * 1000)}. Most: ${most.toFixed(most < 10 ? 2 : 0)} loops/min at ${clock(peak)}.`),
      el('div', { class: 'two' }, loops.box, tokens.box),
    );
  }

  groups({ group_by: by, groups }) {
    if (!groups) return null;
    if (by === 'day' && groups.length > 1) return panel(`By ${by}`, this.byDay(groups), groupTable(by, groups));
    return panel(`By ${by}`, groups.length === 0 ? el('p', { class: 'muted' }, 'Nothing is in any group.') : groupTable(by, groups));
  }

  byDay(groups) {
    const xs = groups.map(({ key }) => Date.parse(`${key}T12:00:00`) / 1000);
    const scales = { x: { time: true }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } };
    const points = { points: { show: true } };
    const drawn = [
      ['Cost of each day', groups.map((group) => group.cost_usd), 'cost', 'tool', money],
      ['Retry rate of each day', groups.map((group) => group.retry_rate), 'retry rate', 'bad', (value) => percent(value, 1)],
      ['Loop duration of each day, p95', groups.map((group) => group.loop_duration_ms.p95?.value ?? null), 'loop p95', 'model', duration],
      ['Steps per loop of each day, p50', groups.map((group) => group.steps_per_loop.p50?.value ?? null), 'steps p50', 'reasoning', count],
    ].map(([label, values, name, colour, write]) =>
      chart({ label, height: 130, data: [xs, values], series: [{ label: name, colour, ...points, value: (_, value) => (value === null ? UNKNOWN : write(value)) }], scales, axes: [{}, { values: (_, all) => all.map((value) => write(value)), size: 62 }] }),
    );
    this.charts.push(...drawn);
    return el('div', { class: 'two' }, drawn.map((one) => one.box));
  }
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
  const more = ['p95', 'p99'].map((percentile) => [`${percentile} `, at(distribution, percentile, write)]);
  return figure(name, at(distribution, 'p50', write), { note: [more[0], ' · ', more[1]], tone });
}

function headline(stats) {
  const { loops, health, tokens } = stats;
  const rate = (value) => (value === null ? UNKNOWN : value < 0.1 ? String(Number(value.toPrecision(2))) : value.toFixed(value < 10 ? 2 : 1));
  const outcomes = [loops.success && `${loops.success} succeeded`, loops.failure && `${loops.failure} failed`, loops.abandoned && `${loops.abandoned} abandoned`, loops.unknown && `${loops.unknown} without an end`].filter(Boolean);
  return el(
    'div',
    { class: 'headline' },
    figures(
      figure('loops', count(loops.started), { note: outcomes.join(', ') }),
      figure('loops/min', rate(stats.loops_per_min), { note: stats.window_s === null ? null : `over ${duration(stats.window_s * 1000)}` }),
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
    stats.cost_unknown.length > 0 && notice(`Without a price: ${stats.cost_unknown.map(({ model, calls }) => `${model ?? 'no model named'} (${plural(calls, 'call')})`).join(', ')}`, 'warn'),
  );
}

function histograms({ histograms: known, ...stats }) {
  const drawn = SHOWN.filter(([name]) => known[name]?.length > 0).map(([name, title, unit]) => histogram(title, unit, known[name], name === 'cost_usd' ? stats.loop_cost_usd : stats[name]));
  return drawn.length > 0 && panel('Histograms', el('div', { class: 'histograms' }, drawn));
}

function histogram(title, unit, buckets, distribution) {
  const write = WRITTEN[unit] ?? count;
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
