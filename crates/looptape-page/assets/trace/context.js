// How the context grew, where it was trimmed, and how the steps' cost and time went with it.
import { chart, colour } from '../chart.js';
import { el } from '../dom.js';
import { count, duration, money, percent, plural, short } from '../format.js';
import { empty } from '../parts.js';
import { href } from '../place.js';

// Of longer traces the table shows those that stand out.
const MOST_STEPS = 200;

// Gives nodes, and a function that ends them. `onPick(step)` is told of a step that is clicked.
export function contextView(trace, series, head, onPick) {
  const steps = series.step;
  if (steps.length === 0) return { nodes: [empty('No model was called', el('p', {}, 'So there is no context to look at.'))], close() {} };
  const open = [];
  const plot = (title, note, options) => {
    const one = chart({ ...options, onClick: (at) => onPick(steps[at]), x: { label: 'step' } });
    open.push(one);
    return [el('h2', {}, title), note && el('p', { class: 'muted' }, note), one.box];
  };
  const tokens = { size: 56, values: (_, all) => all.map((value) => short(value)) };
  const perStep = { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000], values: (_, all) => all.map((value) => `${value}`) };
  const stackOf = (...all) => steps.map((_, at) => all.reduce((sum, one) => sum + (one[at] ?? 0), 0));
  const read = series.cache_read;
  const written = series.cache_write;
  const fresh = series.input.map((all, at) => (all === null ? null : all - (read[at] ?? 0) - (written[at] ?? 0)));
  const [reads, writes] = [read, written].map((all) => all.some((of) => of > 0));
  const limit = Math.max(...series.input_limit.map((value) => value ?? 0));
  const peak = Math.max(...series.input.map((value) => value ?? 0));
  const trims = steps.filter((_, at) => series.trimmed[at]);
  const showLimit = limit > 0 && peak > limit * 0.4;
  const value = (_, of) => (of === null || of === undefined ? '–' : short(of));
  const growth = plot('Input of each step', trims.length > 0 ? `The history was trimmed at ${plural(trims.length, 'step')}: ${trims.slice(0, 20).join(', ')}${trims.length > 20 ? ', …' : ''}` : null, {
    label: `Input tokens by step, at most ${count(peak)}`,
    height: 220,
    data: [steps, stackOf(read, written, fresh), ...(writes ? [stackOf(read, written)] : []), ...(reads ? [stackOf(read)] : []), ...(showLimit ? [steps.map(() => limit)] : [])],
    series: [
      { label: 'input', colour: 'model', fill: true, value },
      ...(writes ? [{ label: 'of it from or to the cache', colour: 'reasoning', fill: true, value }] : []),
      ...(reads ? [{ label: 'read from the cache', colour: 'cache', fill: true, value }] : []),
      ...(showLimit ? [{ label: 'what the model takes', colour: 'bad', dash: [6, 4], value }] : []),
    ],
    axes: [perStep, tokens],
    hooks: { draw: [(own) => markTrims(own, steps, series.trimmed)] },
  });
  const output = plot('Output and cost of each step', null, {
    label: 'Output tokens and cost by step',
    height: 170,
    data: [steps, series.output, series.cost_usd],
    series: [
      { label: 'output tokens', colour: 'tool', value },
      { label: 'cost', colour: 'good', scale: 'usd', value: (_, of) => money(of) },
    ],
    axes: [perStep, tokens, { scale: 'usd', side: 1, size: 74, grid: { show: false }, values: (_, all) => all.map((of) => (of === 0 ? '$0' : money(of))) }],
    scales: { x: { time: false }, usd: { range: (_, __, most) => [0, most || 1] } },
  });
  const streamed = series.ttft_ms.some((of) => of !== null);
  const timing = plot('Time of each step', null, {
    label: streamed ? 'Time and time to the first token by step' : 'Time by step',
    height: 170,
    data: [steps, series.step_latency_ms, ...(streamed ? [series.ttft_ms] : [])],
    series: [
      { label: 'time', colour: 'model', value: (_, of) => duration(of) },
      ...(streamed ? [{ label: 'to the first token', colour: 'warn', value: (_, of) => duration(of) }] : []),
    ],
    axes: [perStep, { size: 66, values: (_, all) => all.map((of) => duration(of)) }],
  });
  return {
    nodes: [growth, output, timing, el('h2', {}, 'The same in figures'), stepTable(trace, series)],
    close: () => open.forEach((one) => one.close()),
  };
}

// A dashed line where the history became shorter.
function markTrims(plot, steps, trimmed) {
  const pen = plot.ctx;
  pen.save();
  pen.strokeStyle = colour('warn');
  pen.setLineDash([4, 4]);
  steps.forEach((step, at) => {
    if (!trimmed[at]) return;
    const x = plot.valToPos(step, 'x', true);
    pen.beginPath();
    pen.moveTo(x, plot.bbox.top);
    pen.lineTo(x, plot.bbox.top + plot.bbox.height);
    pen.stroke();
  });
  pen.restore();
}

function stepTable(trace, series) {
  const all = series.step.map((_, at) => at);
  const chosen = all.length <= MOST_STEPS ? all : [...all].sort((a, b) => (series.cost_usd[b] ?? 0) - (series.cost_usd[a] ?? 0)).slice(0, MOST_STEPS);
  const heads = ['step', 'input', 'cached', 'context', 'output', 'cost', 'time', 'first token', 'retries'];
  const row = (at) =>
    el(
      'tr',
      {},
      el('th', { scope: 'row' }, el('a', { href: href(`/trace/${encodeURIComponent(trace)}`, { step: series.step[at] }) }, series.step[at]), series.trimmed[at] && el('span', { class: 'badge warn' }, 'trimmed')),
      [count(series.input[at]), series.cache_read[at] === null ? '–' : count(series.cache_read[at]), percent(series.context_used[at], 1), count(series.output[at]), money(series.cost_usd[at]), duration(series.step_latency_ms[at]), duration(series.ttft_ms[at]), series.retries[at] || ''].map((text) => el('td', { class: 'number' }, text)),
    );
  return el('div', { class: 'scroll-x', tabindex: '0' }, all.length > MOST_STEPS && el('p', { class: 'muted' }, `The ${MOST_STEPS} dearest of ${count(all.length)} steps`), el('table', { class: 'small' }, el('thead', {}, el('tr', {}, heads.map((text, at) => el('th', { scope: 'col', class: at > 0 ? 'number' : null }, text)))), el('tbody', {}, chosen.map(row))));
}
