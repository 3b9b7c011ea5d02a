// Load runs: what was offered, what came through, and where it gave way.
import { get } from '../api.js';
import { chart, colour } from '../chart.js';
import { el, fill } from '../dom.js';
import { ago, clock, count, duration, money, percent, plural, short, UNKNOWN } from '../format.js';
import { badge, empty, failure, figure, figures, notice, panel, scrolled, tableOf } from '../parts.js';
import { href } from '../place.js';
import { oneLine, recorded } from '../recorded.js';
import { at, gatesPanel } from './numbers.js';

const KINDS = { run: 'run', capacity: 'capacity search', vary: 'what if' };

export const loadView = {
  name: 'load',
  title: () => 'Load runs',
  matches: (path) => (path === '/load' ? {} : null),
  open(root) {
    const body = el('div', {}, notice('Reading…'));
    fill(root, el('div', { class: 'heading' }, el('h1', {}, 'Load runs')), body);
    get('/load-runs').then(
      (runs) => fill(body, runList(runs)),
      (error) => fill(body, failure(error)),
    );
  },
};

function runList(runs) {
  if (runs.length === 0) {
    return empty('No load run is kept yet', el('p', {}, el('code', {}, 'looptape load preset:baseline --virtual'), ' runs loops against a simulated provider, in a moment.'));
  }
  const titles = ['run', ['scenario', 'wide'], ['offered', 'number minor'], ['succeeded', 'number'], ['failed', 'number'], ['loops/min', 'number'], ['retries', 'number minor'], ['cost', 'number minor'], 'gates'];
  const row = (run) =>
    el(
      'tr',
      {},
      el('td', { class: 'started', title: clock(run.started_unix_us / 1000) }, el('a', { class: 'id', href: href(`/load/${encodeURIComponent(run.id)}`) }, recorded(run.id)), el('small', {}, ` ${ago(run.started_unix_us / 1000)}`)),
      el('td', { class: 'wide' }, run.scenario ? oneLine(run.scenario, 60) : el('span', { class: 'muted' }, 'unnamed'), ' ', run.kind !== 'run' && badge(KINDS[run.kind] ?? run.kind, 'accent'), run.time === 'virtual' && badge('virtual time'), run.invalid_because.length > 0 && badge('invalid', 'bad', run.invalid_because.join('; '))),
      el('td', { class: 'number minor' }, run.offered === null ? '' : count(run.offered)),
      el('td', { class: 'number' }, run.success === null ? '' : count(run.success)),
      el('td', { class: 'number' }, run.failure ? el('span', { class: 'bad-text' }, count(run.failure)) : ''),
      el('td', { class: 'number' }, perMinute(run.loops_per_min)),
      el('td', { class: 'number minor' }, run.retry_rate === null ? '' : percent(run.retry_rate)),
      el('td', { class: 'number minor' }, run.cost_usd === null ? '' : money(run.cost_usd)),
      el('td', {}, run.passed === null ? '' : run.passed ? el('span', { class: 'good-text' }, '✓ hold') : el('span', { class: 'bad-text' }, '✗ fail')),
    );
  return scrolled(tableOf('Load runs, the latest first', titles, runs.map(row)));
}

function perMinute(value) {
  return value === null || value === undefined ? '' : value.toFixed(value < 10 ? 2 : 1);
}

export const loadRunView = {
  name: 'load',
  title: ({ params }) => `Load run ${params.run}`,
  matches: (path) => {
    const found = path.match(/^\/load\/([^/]+)$/);
    return found && { run: decodeURIComponent(found[1]) };
  },
  open(root, { params }) {
    const drawn = [];
    const body = el('div', {}, notice('Reading…'));
    fill(root, body);
    get(`/load-runs/${encodeURIComponent(params.run)}`).then(
      (run) => fill(body, runHeading(run), { run: runPage, capacity: capacityPage, vary: varyPage }[run.kind]?.(run, drawn) ?? notice('This page does not know such a run.')),
      (error) => fill(body, failure(error)),
    );
    return { close: () => drawn.forEach((one) => one.close()) };
  },
};

function runHeading({ id, kind, scenario, started_unix_us: started, report }) {
  return el(
    'div',
    { class: 'heading' },
    el('h1', {}, scenario ? oneLine(scenario, 80) : 'Load run', ' ', el('small', {}, `${KINDS[kind] ?? kind} `, el('span', { class: 'id' }, recorded(id)))),
    el('p', { class: 'muted' }, [clock(started / 1000), report.time === 'virtual' ? 'in virtual time' : report.time === 'real' && 'in real time', report.seed !== undefined && `seed ${report.seed}`, report.wire, report.retry && `retried as ${report.retry.profile}, ${plural(report.retry.max, 'time')} at most`].filter(Boolean).join(' · ')),
  );
}

const ENDED = {
  interrupted: ({ at_s: s }) => `It was ended after ${duration(s * 1000)}.`,
  over_budget: ({ at_s: s, of, max_usd: usd }) => `It ended after ${duration(s * 1000)}: the next call could have exceeded the budget of ${money(usd)} for ${of === 'day' ? 'that day (UTC)' : 'the run'}.`,
  target_down: ({ at_s: s, calls, error }) => `It ended after ${duration(s * 1000)}: ${plural(calls, 'call')} in a row had no answer (${error}).`,
};

function runPage({ id, report }, drawn) {
  const { total, phases, series, client, ended } = report;
  const why = ended.why === 'completed' ? null : (ENDED[ended.why]?.(ended) ?? `It ended early: ${ended.why.replaceAll('_', ' ')}.`);
  return [
    why && notice(why, 'warn'),
    client?.invalid_because.length > 0 && notice(`INVALID: the client was what was measured, not the target: ${client.invalid_because.join('; ')}`, 'bad'),
    figures(
      figure('offered', count(total.loops.offered)),
      figure('succeeded', count(total.loops.success)),
      figure('failed', count(total.loops.failure), { tone: total.loops.failure > 0 ? 'bad' : null }),
      total.loops.dropped > 0 && figure('dropped', count(total.loops.dropped), { tone: 'bad' }),
      figure('loops/min', perMinute(total.loops_per_min) || UNKNOWN, { note: `${perMinute(total.successful_loops_per_min) || UNKNOWN} succeed` }),
      figure('loop', loopTime(total, 'p50'), { note: ['p95 ', loopTime(total, 'p95')] }),
      figure('retry rate', percent(total.retry_rate, 1)),
      figure('cost', money(total.cost_usd, total.cost_at_least), { note: total.month_usd === null ? null : `${money(total.month_usd)} a month` }),
      figure('wasted', total.wasted.usd === null ? UNKNOWN : money(total.wasted.usd, total.wasted.at_least), { note: `${short(total.wasted.tokens)} tokens` }),
    ),
    gatesPanel(report),
    seriesPanel(report, drawn),
    panel('Phases', phaseTable([...phases, { ...total, name: 'all' }])),
    segmentPanel(report.segments),
    Object.keys(total.limited).length > 0 && panel('Refused by', el('ul', {}, Object.entries(total.limited).map(([limit, n]) => el('li', {}, `${count(n)} × ${limit.replaceAll('_', ' ')}`)))),
    report.time === 'real' && el('p', { class: 'links' }, el('a', { href: href('/', { tag: `load=${id}` }) }, 'The traces of its loops →'), ' ', el('a', { href: href('/numbers', { tag: `load=${id}`, within: 'all', group_by: 'phase' }) }, 'Their figures →')),
    series ? null : notice('This run kept no series over time.'),
  ];
}

function loopTime({ loop_duration_ms: all }, percentile) {
  return at(all, percentile, duration);
}

function seriesPanel({ series, phases }, drawn) {
  if (!series || series.offered.length < 2) return null;
  const seconds = series.bucket_s;
  const xs = series.offered.map((_, place) => place * seconds);
  const perMin = (counts) => counts.map((n) => (n * 60) / seconds);
  const time = (_, places) => places.map((s) => (s === null ? '' : minutes(s)));
  const axisOf = (write) => (write === duration ? briefly : write);
  const draw = (label, lines, write = (value) => short(Math.round(value * 10) / 10)) => {
    const known = lines.filter(([, values]) => values?.some((value) => value !== null));
    if (known.length === 0) return null;
    const one = chart({
      label,
      data: [xs, ...known.map(([, values]) => values)],
      x: { label: 'time', value: (_, s) => (s === null ? UNKNOWN : minutes(s)) },
      series: known.map(([name, , colour, more]) => ({ label: name, colour, value: (_, value) => (value === null || value === undefined ? UNKNOWN : write(value)), ...more })),
      axes: [{ values: time }, { values: (_, all) => all.map((value) => axisOf(write)(value)), size: 56 }],
      scales: { x: { time: false }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } },
    });
    drawn.push(one);
    return el('figure', { class: 'drawn' }, el('figcaption', {}, label), one.box);
  };
  const latency = series.loop_duration_ms;
  const ttft = series.ttft_ms;
  const rate = series.attempts?.map((attempts, place) => (series.steps?.[place] > 0 ? series.retries[place] / series.steps[place] : attempts > 0 ? 0 : null));
  return panel(
    'Over time',
    el('p', { class: 'muted' }, `Stretches of ${duration(seconds * 1000)}; ${phases.map(({ name, executor }) => `${name} (${executor})`).join(', ')}.`),
    el(
      'div',
      { class: 'two' },
      draw('Loops a minute: offered against completed', [['offered', perMin(series.offered), 'muted', { dash: [5, 4] }], ['completed', perMin(series.completed), 'model'], ['succeeded', perMin(series.succeeded), 'good', { fill: true }]]),
      draw('Loops at once', [['at once', series.running, 'tool', { fill: true }]]),
      draw('Retries a minute', [['retries', perMin(series.retries), 'bad', { fill: true }]]),
      rate && draw('Retries per step', [['retry rate', rate, 'bad']], (value) => percent(value)),
      latency && draw('Loop duration', [['p50', latency.p50, 'model'], ['p95', latency.p95, 'tool']], duration),
      ttft && draw('First token', [['p50', ttft.p50, 'model'], ['p95', ttft.p95, 'tool']], duration),
    ),
    el('details', {}, el('summary', {}, 'The same as a table'), seriesTable(series)),
  );
}

function minutes(seconds) {
  const two = (n) => String(n).padStart(2, '0');
  const whole = Math.round(seconds);
  return whole < 3600 ? `${Math.floor(whole / 60)}:${two(whole % 60)}` : `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

// Durations beside an axis.
function briefly(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : ms < 60_000 ? `${Number((ms / 1000).toFixed(1))} s` : minutes(ms / 1000);
}

function seriesTable(series) {
  const rows = series.offered.map((offered, place) =>
    el('tr', {}, el('th', { scope: 'row' }, minutes(place * series.bucket_s)), [offered, series.completed[place], series.succeeded[place], series.running[place], series.retries[place]].map((n) => el('td', { class: 'number' }, count(n)))),
  );
  return scrolled(tableOf('The run over time', ['from', ['offered', 'number'], ['completed', 'number'], ['succeeded', 'number'], ['at once', 'number'], ['retries', 'number']], rows));
}

function phaseTable(phases) {
  const columns = [
    ['offered', (phase) => count(phase.loops.offered)],
    ['succeeded', (phase) => count(phase.loops.success)],
    ['failed', (phase) => (phase.loops.failure ? el('span', { class: 'bad-text' }, count(phase.loops.failure)) : '0')],
    ['dropped', (phase) => count(phase.loops.dropped), 'minor'],
    ['loops/min', (phase) => perMinute(phase.loops_per_min) || UNKNOWN],
    ['loop p50', (phase) => loopTime(phase, 'p50')],
    ['p95', (phase) => loopTime(phase, 'p95')],
    ['step p95', (phase) => at(phase.step_latency_ms, 'p95', duration), 'minor'],
    ['first token', (phase) => at(phase.ttft_ms, 'p50', duration), 'minor'],
    ['retry rate', (phase) => el('span', { class: phase.retry_rate > 0.1 ? 'bad-text' : phase.retry_rate > 0.05 ? 'warn-text' : null }, percent(phase.retry_rate))],
    ['calls/loop', (phase) => (phase.amplification === null ? UNKNOWN : phase.amplification.toFixed(1)), 'minor'],
    ['at once', (phase) => (phase.concurrency ? phase.concurrency.loops_mean.toFixed(1) : UNKNOWN), 'minor'],
    ['cost', (phase) => money(phase.cost_usd, phase.cost_at_least)],
  ];
  const row = (phase) => el('tr', { class: phase.name === 'all' ? 'all' : null }, el('th', { scope: 'row' }, oneLine(phase.name, 40)), columns.map(([, read, kind = '']) => el('td', { class: `number ${kind}` }, read(phase))));
  return scrolled(tableOf('Figures by phase', ['phase', ...columns.map(([name, , kind = '']) => [name, `number ${kind}`])], phases.map(row)));
}

function segmentPanel(segments) {
  const kinds = [['by_model', 'model'], ['by_input_tokens', 'input tokens'], ['by_output_tokens', 'output tokens']].filter(([name]) => segments?.[name]?.length > 0);
  if (kinds.length === 0) return null;
  const row = (segment) =>
    el('tr', {}, el('th', { scope: 'row' }, oneLine(segment.key, 40)), [count(segment.steps), at(segment.step_latency_ms, 'p50', duration), at(segment.step_latency_ms, 'p95', duration), at(segment.ttft_ms, 'p50', duration), percent(segment.retry_rate), money(segment.cost_usd, segment.cost_at_least)].map((shown) => el('td', { class: 'number' }, shown)));
  const titles = ['steps of', ['steps', 'number'], ['latency p50', 'number'], ['p95', 'number'], ['first token', 'number'], ['retry rate', 'number'], ['cost', 'number']];
  const rows = kinds.map(([name, title]) => [el('tr', { class: 'kind' }, el('th', { scope: 'rowgroup', colspan: titles.length }, `by ${title}`)), segments[name].map(row)]);
  return panel('Segments', scrolled(tableOf('Steps by what they are', titles, rows)));
}

function capacityPage({ report }, drawn) {
  const { probes, knee_per_min: knee, loops_per_min: takes, fails_at_per_min: fails, slo } = report;
  const says = takes === null ? 'It held at no rate that was tried.' : `It takes ${perMinute(takes)} loops/min${fails === null ? ', and nothing gave at any rate that was tried' : `; at ${perMinute(fails)} something gives`}.`;
  const xs = probes.map((probe) => probe.offered_per_min);
  const mark = {
    draw: [
      (plot) => {
        if (knee === null || knee === undefined) return;
        const { ctx, bbox } = plot;
        const x = plot.valToPos(knee, 'x', true);
        ctx.save();
        ctx.strokeStyle = ctx.fillStyle = colour('bad');
        ctx.font = `${11 * devicePixelRatio}px system-ui`;
        ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        const wide = ctx.measureText('knee').width + 6 * devicePixelRatio;
        ctx.fillText('knee', x - wide, bbox.top + 14 * devicePixelRatio);
        ctx.restore();
      },
    ],
  };
  const plot = chart({
    label: `Goodput against offered load${knee ? `; the knee is at ${perMinute(knee)} loops a minute` : ''}`,
    height: 260,
    data: [xs, xs, probes.map((probe) => probe.goodput_per_min)],
    x: { label: 'offered/min' },
    series: [
      { label: 'offered', colour: 'muted', dash: [5, 4] },
      { label: 'goodput', colour: 'good', points: { show: true } },
    ],
    scales: { x: { time: false }, y: { range: (_, __, most) => [0, most * 1.1 || 1] } },
    hooks: mark,
  });
  drawn.push(plot);
  const row = (probe) =>
    el(
      'tr',
      {},
      el('td', {}, probe.holds ? el('span', { class: 'good-text' }, '✓') : el('span', { class: 'bad-text' }, `✗ ${probe.follows ? 'a gate' : 'goodput'}`)),
      el('td', { class: 'number' }, perMinute(probe.offered_per_min)),
      el('td', { class: 'number' }, perMinute(probe.goodput_per_min)),
      el('td', { class: 'wide' }, probe.gates.gates.filter((gate) => gate.verdict !== 'passed').map((gate) => oneLine(gate.gate, 80))),
    );
  return [
    el('p', { class: 'verdict' }, el('strong', {}, says), knee ? ` The knee: at ${perMinute(knee)} loops/min goodput does not follow any more.` : ''),
    el('p', { class: 'muted' }, `What had to hold: goodput follows what is offered${slo.length > 0 ? `, ${slo.join(', ')}` : ''}; ${duration(report.step_s * 1000)} at each rate.`),
    panel('Goodput against offered load', plot.box),
    panel('Rates that were tried', scrolled(tableOf('Rates that were tried', ['', ['offered/min', 'number'], ['goodput/min', 'number'], 'what did not hold'], probes.map(row)))),
  ];
}

function varyPage({ report }) {
  const most = Math.max(...report.runs.map(({ total }) => total.successful_loops_per_min ?? 0), 0);
  const row = ({ settings, total, gates }) =>
    el(
      'tr',
      {},
      el('th', { scope: 'row', class: 'wide' }, Object.entries(settings).map(([key, value]) => [el('code', {}, recorded(`${key}=${value}`)), ' '])),
      el('td', { class: 'number' }, percent(total.loops.success / Math.max(1, total.loops.offered ?? total.loops.started))),
      el('td', { class: 'margin' }, el('span', { class: 'margin-track', 'aria-hidden': 'true' }, el('span', { class: 'bar good', style: { width: `${most > 0 ? (total.successful_loops_per_min / most) * 100 : 0}%` } })), el('span', { class: 'number' }, perMinute(total.successful_loops_per_min))),
      el('td', { class: 'number' }, loopTime(total, 'p50')),
      el('td', { class: 'number' }, loopTime(total, 'p95')),
      el('td', { class: 'number' }, percent(total.retry_rate)),
      el('td', { class: 'number' }, money(total.loops.started > 0 && total.cost_usd !== null ? total.cost_usd / total.loops.started : null)),
      el('td', {}, gates.gates.length === 0 ? '' : gates.passed ? '✓' : el('span', { class: 'bad-text' }, '✗')),
    );
  return panel('What if', scrolled(tableOf('A run for each combination of values', [['', 'wide'], ['succeed', 'number'], 'successful loops/min', ['loop p50', 'number'], ['p95', 'number'], ['retry rate', 'number'], ['a loop', 'number'], 'gates'], report.runs.map(row))));
}
