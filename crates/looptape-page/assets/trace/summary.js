// A trace as a whole: where the time went, what it cost, what went wrong.
import { el } from '../dom.js';
import { count, duration, money, percent, plural, UNKNOWN } from '../format.js';
import { figure, figures, outcomeBadge } from '../parts.js';
import { href } from '../place.js';
import { block, oneLine } from '../recorded.js';
import { LEAVES } from './leaves.js';

const TIMES = [
  ['llm_ms', 'model', 'time-model'],
  ['overlap_ms', 'model and tools at once', 'time-overlap'],
  ['tool_ms', 'tools', 'time-tool'],
  ['overhead_ms', 'overhead: neither', 'time-overhead'],
  ['tool_or_overhead_ms', 'tools or overhead', 'time-unknown'],
];

export function summary(head) {
  const { metrics, status, status_reasons: reasons, parent } = head.trace;
  return el(
    'section',
    { class: 'pane summary', 'aria-label': 'The trace as a whole', tabindex: '0' },
    el('div', { class: 'pane-body' }, [
      reasons.map((why) => el('p', { class: `notice ${status === 'aborted' ? 'bad' : 'warn'}` }, `${status}: `, oneLine(why, 300))),
      head.notes.map((note) => el('p', { class: 'notice warn' }, oneLine(note.text, 400), note.steps.length > 0 && ` (${plural(note.steps.length, 'step')})`)),
      where(metrics),
      cost(metrics),
      loops(metrics),
      errors(metrics),
      el('h3', {}, 'What it is'),
      el('table', { class: 'small parameters' }, el('tbody', {}, about(head, parent))),
    ]),
  );
}

function where(metrics) {
  const parts = TIMES.filter(([name]) => metrics[name] > 0);
  if (!metrics.duration_ms || parts.length === 0) return [el('h3', {}, 'Where the time went'), el('p', { class: 'muted' }, 'Not known: the recording has no times.')];
  const share = (name) => metrics[name] / metrics.duration_ms;
  return [
    el('h3', {}, 'Where the time went'),
    el('div', { class: 'stack', role: 'img', 'aria-label': parts.map(([name, title]) => `${title} ${percent(share(name))}`).join(', ') }, parts.map(([name, title, kind]) => el('i', { class: kind, style: { flex: share(name) * 100 }, title }))),
    el('table', { class: 'small' }, el('tbody', {}, parts.map(([name, title, kind]) => el('tr', {}, el('th', { scope: 'row' }, el('i', { class: `dot ${kind}` }), title), el('td', { class: 'number' }, duration(metrics[name])), el('td', { class: 'number' }, percent(share(name))))))),
    metrics.tool_inferred_ms > 0 && metrics.tool_or_overhead_ms > 0 && el('p', { class: 'muted' }, `Of it in tools at most ${duration(metrics.tool_inferred_ms)}: they were not measured.`),
    metrics.retry_wasted_ms > 0 && el('p', { class: 'muted' }, `Lost to retries: ${duration(metrics.retry_wasted_ms)}${metrics.retry_wasted_usd > 0 ? ` and ${money(metrics.retry_wasted_usd)}` : ''}.`),
  ];
}

function cost(metrics) {
  const leaves = metrics.cost_by_leaf;
  const total = metrics.cost_usd;
  const nodes = [el('h3', {}, 'Where the money went')];
  if (!leaves || !(total > 0)) nodes.push(el('p', { class: 'muted' }, total === 0 ? 'Nothing was spent.' : 'The cost is not known.'));
  else {
    const parts = LEAVES.filter(([name]) => leaves[name] > 0);
    nodes.push(
      el('div', { class: 'stack', role: 'img', 'aria-label': parts.map(([name, title]) => `${title} ${percent(leaves[name] / total)}`).join(', ') }, parts.map(([name, title]) => el('i', { class: `leaf-${name}`, style: { flex: (leaves[name] / total) * 100 }, title }))),
      el('table', { class: 'small' }, el('tbody', {}, parts.map(([name, title]) => el('tr', {}, el('th', { scope: 'row' }, el('i', { class: `dot leaf-${name}` }), title), el('td', { class: 'number minor' }, count(metrics.tokens?.[name])), el('td', { class: 'number' }, money(leaves[name])), el('td', { class: 'number' }, percent(leaves[name] / total)))))),
    );
  }
  const unknown = metrics.cost_unknown.length;
  if (unknown > 0) nodes.push(el('p', { class: 'notice warn' }, `The cost of ${plural(unknown, 'step')} is not known; it is not counted as 0.`));
  return nodes;
}

function loops(metrics) {
  if (metrics.by_loop.length < 2) return null;
  return [
    el('h3', {}, 'Loops'),
    el('div', { class: 'scroll-x', tabindex: '0' }, el('table', { class: 'small' }, el('thead', {}, el('tr', {}, ['loop', 'steps', 'tools', 'time', 'cost', 'outcome'].map((text, at) => el('th', { scope: 'col', class: at > 0 && at < 5 ? 'number' : null }, text)))), el('tbody', {}, metrics.by_loop.slice(0, 50).map((one) => el('tr', {}, el('th', { scope: 'row' }, one.loop, one.name && [' ', oneLine(one.name, 40)]), el('td', { class: 'number' }, count(one.steps)), el('td', { class: 'number' }, count(one.tool_calls)), el('td', { class: 'number' }, duration(one.duration_ms)), el('td', { class: 'number' }, money(one.cost_usd, one.cost_at_least)), el('td', {}, outcomeBadge(one.outcome))))))),
    metrics.by_loop.length > 50 && el('p', { class: 'muted' }, `and ${metrics.by_loop.length - 50} more`),
  ];
}

function errors(metrics) {
  const kinds = Object.entries(metrics.errors ?? {}).filter(([, n]) => typeof n === 'number' && n > 0);
  if (kinds.length === 0) return null;
  return [el('h3', {}, 'What went wrong'), el('p', {}, kinds.map(([kind, n]) => el('span', { class: 'badge bad' }, `${kind.replaceAll('_', ' ')}: ${count(n)}`)))];
}

function about(head, parent) {
  const { trace } = head;
  const row = (name, ...what) => el('tr', {}, el('th', { scope: 'row' }, name), el('td', {}, what));
  return [
    row('id', el('code', {}, trace.id)),
    parent && row('made from', el('a', { href: href(`/trace/${encodeURIComponent(parent.trace)}`) }, oneLine(parent.trace, 40)), ' ', oneLine(parent.why, 80), ' · ', el('a', { href: href('/diff', { a: parent.trace, b: head.label }) }, 'compare')),
    trace.agent_version && row('version', oneLine(trace.agent_version, 60)),
    head.command.length > 0 && row('command', block(head.command.join(' '))),
    row('came by', oneLine(head.source, 20), !head.byte_exact && ' (its file does not hold the exact bytes)'),
    trace.tags.length > 0 && row('tags', trace.tags.map((tag) => el('span', { class: 'tag' }, oneLine(tag, 60)))),
  ];
}

// The figures in the head of the page.
export function headFigures(head) {
  const { metrics } = head.trace;
  const retries = metrics.retries > 0 ? { note: percent(metrics.retry_rate), tone: metrics.retry_rate > 0.05 ? 'warn-text' : null } : {};
  return figures(
    figure('duration', metrics.duration_ms === null ? UNKNOWN : duration(metrics.duration_ms)),
    figure('cost', money(metrics.cost_usd, metrics.cost_at_least), { note: head.source === 'replay' && metrics.recorded_usd > 0 ? `recorded ${money(metrics.recorded_usd)}` : null }),
    figure('steps', count(metrics.steps)),
    metrics.tool_calls > 0 && figure('tool calls', count(metrics.tool_calls)),
    metrics.retries > 0 && figure('retries', count(metrics.retries), retries),
    metrics.loops > 1 && figure('loops', count(metrics.loops)),
    metrics.cache_hit_ratio > 0 && figure('from the cache', percent(metrics.cache_hit_ratio)),
    metrics.context_used_peak >= 0.005 && figure('context', percent(metrics.context_used_peak), { note: 'at its peak', tone: metrics.context_used_peak > 0.75 ? 'warn-text' : null }),
    metrics.trims > 0 && figure('trims', count(metrics.trims)),
  );
}
