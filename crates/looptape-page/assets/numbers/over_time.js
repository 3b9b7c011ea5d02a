// One metric over time: the traces that began in each minute, hour or day, as a chart and as a table.
import { chart } from '../chart.js';
import { el } from '../dom.js';
import { clock, count, day, duration, money, percent, short, UNKNOWN } from '../format.js';
import { scrolled, tableOf } from '../parts.js';

// How figures of a unit are written.
export const WRITTEN = { rate, tokens: (value) => short(Math.round(value)), ms: duration, usd: money, share: (value) => percent(value, 1), number: (value) => (value < 100 && value % 1 !== 0 ? value.toFixed(2) : short(Math.round(value))), count };

// What can be drawn over time: its title, its unit, and its lines: a metric, what of it, its colour.
const OVER_TIME = {
  loops_per_min: ['loops per minute', 'rate', [['loops_per_min', 'figure', 'model', 'loops/min']]],
  loops_failed: ['loops: with an end, and failed', 'count', [['loops_completed', 'figure', 'model', 'with an end'], ['loops_failed', 'figure', 'bad', 'failed']]],
  loop_duration_ms: ['loop duration', 'ms', spreadOf('loop_duration_ms')],
  step_latency_ms: ['step latency', 'ms', spreadOf('step_latency_ms')],
  ttft_ms: ['first token', 'ms', spreadOf('ttft_ms')],
  steps_per_loop: ['steps per loop', 'count', spreadOf('steps_per_loop')],
  retry_rate: ['retry rate', 'share', [['retry_rate', 'figure', 'bad', 'retries per step']]],
  error_rate: ['failed attempts', 'share', [['error_rate', 'figure', 'bad', 'of all attempts']]],
  cost_usd: ['cost', 'usd', [['cost_usd', 'figure', 'tool', 'cost']]],
  loop_cost_usd: ['cost of a loop', 'usd', spreadOf('cost_usd')],
  tokens_per_s: ['tokens per second', 'rate', [['input_tokens_per_s', 'figure', 'cache', 'input'], ['output_tokens_per_s', 'figure', 'tool', 'output']]],
  tokens: ['tokens', 'tokens', [['input_tokens', 'figure', 'cache', 'input'], ['output_tokens', 'figure', 'tool', 'output']]],
  cache_hit_ratio: ['read from cache', 'share', [['cache_hit_ratio', 'figure', 'cache', 'of the input']]],
  context_used: ['context used', 'share', [...spreadOf('context_used').slice(0, 2), ['context_used', 'figure', 'bad', 'peak']]],
};

function spreadOf(metric) {
  return [[metric, 'p50', 'model', 'p50'], [metric, 'p95', 'tool', 'p95'], [metric, 'p99', 'bad', 'p99']];
}

// What of it is known: names and titles.
export function knownOverTime(over) {
  return Object.entries(OVER_TIME)
    .filter(([, [, , lines]]) => lines.some(([name, of]) => over.metrics[name]?.[of]))
    .map(([name, [title]]) => [name, title]);
}

// A metric of every stretch: as a chart, and as a table.
export function metricOverTime(over, name) {
  const [title, unit, all] = OVER_TIME[name];
  const write = WRITTEN[unit];
  const lines = all.filter(([metric, of]) => over.metrics[metric]?.[of]);
  const valueOf = (one) => (typeof one === 'object' ? one?.value ?? null : one);
  const { xs, places } = withGaps(over);
  const data = lines.map(([metric, of]) => places.map((place) => (place === null ? null : valueOf(over.metrics[metric][of][place]))));
  const series = lines.map(([metric, of, colour, label], line) => ({ label, colour, points: { show: true, size: 5 }, value: (_, value, __, place) => (place === null || place === undefined || value === null ? UNKNOWN : stretchCell(over, lines[line], places[place], write)) }));
  const drawn = chart({
    label: `${title} of each ${over.unit}`,
    height: 220,
    data: [xs, ...data],
    x: { label: over.unit, value: (_, __, ___, place) => (over.stretches[places[place]] ? stretchName(over, places[place]) : UNKNOWN) },
    series,
    scales: { x: { time: true, range: () => withRoom(over.unit, xs[0], xs.at(-1)) }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } },
    axes: [{}, { values: (_, ticks) => ticks.map((tick) => write(tick)), size: 70 }],
  });
  const rows = over.stretches.map((_, place) =>
    el('tr', {}, el('th', { scope: 'row' }, stretchName(over, place)), el('td', { class: 'number' }, count(over.traces[place])), lines.map((line) => el('td', { class: 'number' }, stretchCell(over, line, place, write)))),
  );
  const table = scrolled(tableOf(`${title} of each ${over.unit}`, [over.unit, ['traces', 'number'], ...lines.map(([, , , label]) => [label, 'number'])], rows));
  return { chart: drawn, table };
}

function stretchCell(over, [metric, of], place, write) {
  const one = over.metrics[metric][of][place];
  if (one === null || place === null) return UNKNOWN;
  if (typeof one === 'object') return one.value === null ? '∞' : `${write(one.value)}${one.certified ? '' : ' ?'}`;
  return `${over.metrics[metric].at_least?.[place] ? '≥' : ''}${write(one)}`;
}

// The middle of each stretch in s, and its place; where no trace began for a while, there is a place that is null.
function withGaps({ stretches }) {
  const [xs, places] = [[], []];
  stretches.forEach(({ start_unix_us: start, end_unix_us: end }, place) => {
    const before = stretches[place - 1]?.end_unix_us;
    if (before !== undefined && before < start) {
      xs.push((before + start) / 2e6);
      places.push(null);
    }
    xs.push((start + end) / 2e6);
    places.push(place);
  });
  return { xs, places };
}

const STRETCH_S = { minute: 60, hour: 3600, day: 86_400 };

// Room beside the first and the last stretch, and around a single one.
function withRoom(unit, least, most) {
  const room = Math.max(STRETCH_S[unit] / 2, (most - least) * 0.01, least === most ? STRETCH_S[unit] * 2 : 0);
  return [least - room, most + room];
}

function stretchName({ unit, stretches }, place) {
  const start = stretches[place].start_unix_us / 1000;
  return unit === 'day' ? day(start) : clock(start).slice(0, 16);
}

export function rate(value) {
  return value === 0 ? '0' : value < 0.1 ? String(Number(value.toPrecision(2))) : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}
