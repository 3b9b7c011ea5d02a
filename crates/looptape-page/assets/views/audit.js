// Why a run cost what it cost: against another run factor by factor, and within it message by message.
import { get, traceAt } from '../api.js';
import { el, fill } from '../dom.js';
import { count, duration, money, percent, plural, short, UNKNOWN } from '../format.js';
import { empty, failure, figure, figures, notice, panel, scrolled, tableOf } from '../parts.js';
import { ask, href } from '../place.js';
import { oneLine, recorded } from '../recorded.js';
import { span } from './diff.js';

const MESSAGES_AT_ONCE = 20;

export const auditView = {
  name: 'audit',
  title: ({ params }) => `Audit ${params.trace.slice(0, 12)}`,
  matches: (path) => {
    const found = path.match(/^\/audit\/([^/]+)$/);
    return found && { trace: decodeURIComponent(found[1]) };
  },
  open(root, place) {
    const view = new AuditPage(root, place.params.trace);
    view.show(place.query);
    return { update: (next) => view.show(next.query), close: () => view.asked?.abort() };
  },
};

class AuditPage {
  constructor(root, trace) {
    this.trace = trace;
    this.baseline = el('input', { type: 'search', name: 'baseline', class: 'trace-name', placeholder: 'median of the agent’s other runs', 'aria-label': 'Compared with: a trace', autocomplete: 'off', spellcheck: 'false' });
    const form = el(
      'form',
      { class: 'filters', 'aria-label': 'What to compare with' },
      el('label', {}, 'compared with ', this.baseline),
      el('button', {}, 'Compare'),
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      ask({ baseline: this.baseline.value.trim() }, {});
    });
    this.body = el('div', { 'aria-live': 'polite' });
    const title = el('h1', {}, 'Audit of ', el('a', { class: 'id', href: this.step(null) }, recorded(trace.slice(0, 14))));
    fill(root, el('div', { class: 'heading' }, title, form), this.body);
  }

  step(step) {
    return href(`/trace/${encodeURIComponent(this.trace)}`, { step });
  }

  async show(query) {
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    this.baseline.value = query.baseline ?? '';
    fill(this.body, notice('Reading every prompt…'));
    try {
      const found = await get(traceAt(this.trace, 'audit'), { baseline: query.baseline }, { signal: asked.signal });
      if (asked === this.asked) this.draw(found);
    } catch (error) {
      if (error.name !== 'AbortError') fill(this.body, failure(error));
    }
  }

  draw(audit) {
    fill(
      this.body,
      figures(
        audit.agent && figure('agent', oneLine(audit.agent, 60)),
        figure('cost', money(audit.cost_usd, audit.cost_at_least)),
        figure('input', money(audit.input_usd)),
        figure('output', money(audit.output_usd)),
        audit.fees_usd + audit.other_calls_usd > 0 && figure('beside tokens', money(audit.fees_usd + audit.other_calls_usd)),
        figure('steps', count(audit.steps)),
        figure('models', oneLine(audit.models.join(', '), 80)),
      ),
      audit.notes.map((note) => notice(note)),
      this.findings(audit),
      this.waterfall(audit),
      this.steps(audit),
      this.carried(audit),
      this.cache(audit),
      this.vain(audit),
      this.whatIf(audit),
    );
  }

  findings({ findings }) {
    if (findings.length === 0) return null;
    const item = ({ text, step, usd }) =>
      el(
        'li',
        {},
        el('span', { class: 'usd' }, usd === null ? UNKNOWN : money(usd)),
        el('span', {}, recorded(text), step !== null && [' ', el('a', { href: this.step(step), class: 'nowrap' }, `step ${step} →`)]),
      );
    return panel('Findings', el('ol', { class: 'findings' }, findings.map(item)));
  }

  waterfall({ waterfall, baseline, baseline_at_least: baseAtLeast, cost_at_least: atLeast }) {
    if (!waterfall) return null;
    const { delta_usd: delta, baseline_usd: base, usd } = waterfall;
    const than = baselineWords(baseline);
    const title = delta === 0 ? ['It cost as much as ', than] : [`Why it cost ${money(Math.abs(delta))} ${delta > 0 ? 'more' : 'less'} than `, than];
    // Each bar begins where the one before ended.
    let at = base;
    const steps = waterfall.bars.map((bar) => ({ ...bar, from_usd: at, to_usd: (at += bar.usd) }));
    const ends = steps.flatMap((step) => [step.from_usd, step.to_usd]).concat(0, base, usd);
    const [least, most] = [Math.min(...ends), Math.max(...ends)];
    const share = (value) => (most > least ? ((value - least) / (most - least)) * 100 : 0);
    const bar = (from, to, tone) => {
      const [left, right] = [share(Math.min(from, to)), share(Math.max(from, to))];
      return el('td', { class: 'track', 'aria-hidden': 'true' }, el('span', { class: `bar ${tone}`, style: { left: `${left}%`, width: `${Math.max(right - left, from === to ? 0 : 0.4)}%` } }));
    };
    const row = (kind, name, change, figure, drawn) => el('tr', { class: kind }, el('th', { scope: 'row' }, name), el('td', { class: 'change' }, change), el('td', { class: 'number' }, figure), drawn);
    return panel(
      title,
      el(
        'table',
        { class: 'waterfall' },
        el('caption', { class: 'unseen' }, 'The difference in cost, factor by factor; the parts sum to it exactly'),
        el('thead', { class: 'unseen' }, el('tr', {}, ['factor', 'change', 'dollars', 'bar'].map((name) => el('th', { scope: 'col' }, name)))),
        el(
          'tbody',
          {},
          row('end', baselineLink(baseline), '', money(base), bar(0, base, 'whole')),
          steps.map((step) =>
            row(
              step.usd === 0 ? 'nothing' : '',
              step.words,
              step.change,
              step.usd === 0 ? '$0' : `${step.usd > 0 ? '+' : '−'}${money(Math.abs(step.usd))}`,
              bar(step.from_usd, step.to_usd, step.usd > 0 ? 'more' : 'less'),
            ),
          ),
          row('end', 'this run', '', money(usd), bar(0, usd, 'whole')),
        ),
      ),
      (baseAtLeast || atLeast) && notice('Not all costs are known: the difference is that of the known ones.', 'warn'),
    );
  }

  steps({ by_step: steps }) {
    const most = Math.max(...steps.map(({ cost_usd: usd }) => usd ?? 0));
    if (steps.length < 2 || most === 0) return null;
    const column = ({ step, cost_usd: usd }) =>
      el(
        'a',
        { href: this.step(step), title: `step ${step}: ${money(usd)}`, 'aria-label': `step ${step}: ${money(usd)}` },
        el('span', { style: { height: `${Math.max(((usd ?? 0) / most) * 100, 1)}%` } }),
      );
    return panel('Cost by step', el('div', { class: 'columns' }, steps.slice(0, 400).map(column)), steps.length > 400 && el('p', { class: 'muted' }, 'The first 400 steps.'));
  }

  carried({ carried, tokenizers }) {
    if (carried.input_usd === 0) return null;
    const share = (usd) => sharePercent(usd / carried.input_usd);
    const parts = (all) => el('ul', { class: 'parts' }, all.map(([name, usd, note]) => el('li', {}, el('span', {}, oneLine(name, 60), note && el('small', {}, ` ${note}`)), el('span', { class: 'number' }, money(usd), ' ', el('small', {}, share(usd))))));
    const titles = [['cost', 'number'], ['share', 'number'], ['sent', 'number'], ['tokens', 'number minor'], 'message'];
    const messages = tableOf('Messages, the dearest first', titles, carried.messages.slice(0, MESSAGES_AT_ONCE).map((one) => this.message(one)));
    const rows = messages.tBodies[0];
    const rest = carried.messages.slice(MESSAGES_AT_ONCE);
    const more = rest.length > 0 && el('button', { type: 'button', class: 'small' }, `Show ${rest.length} more`);
    if (more) more.addEventListener('click', () => (rows.append(...rest.map((one) => this.message(one))), more.remove()));
    return panel(
      `Where the input went: ${money(carried.input_usd)}`,
      el('p', { class: 'muted' }, `A message is paid for by each request that sends it again. Single messages are estimates (tokenizer ${tokenizers.join(', ')}), scaled to the provider’s counts.`),
      el('div', { class: 'two' }, parts(carried.by_section.map(({ section, usd }) => [section.replaceAll('_', ' '), usd])), carried.by_tool.length > 0 && parts(carried.by_tool.slice(0, 8).map(({ tool, usd, results }) => [tool, usd, plural(results, 'result')]))),
      scrolled(messages),
      more,
      carried.more_messages > 0 && el('p', { class: 'muted' }, `${plural(carried.more_messages, 'more message')}: ${money(carried.more_messages_usd)}`),
    );
  }

  message(one) {
    const step = one.step ?? one.first_sent_step;
    return el(
      'tr',
      {},
      el('td', { class: 'number' }, money(one.usd)),
      el('td', { class: 'number' }, sharePercent(one.share)),
      el('td', { class: 'number' }, `${count(one.times_sent)} ×`),
      el('td', { class: 'number minor' }, short(one.tokens)),
      el('td', { class: 'said' }, step !== null ? el('a', { href: this.step(step) }, recorded(one.words.replace(/^the /, ''))) : recorded(one.words.replace(/^the /, '')), el('small', {}, oneLine(one.beginning, 120))),
    );
  }

  cache({ cache }) {
    if (cache.reusable_tokens === 0) return null;
    const read = Math.max(0, cache.reusable_tokens - cache.missed_tokens);
    const misses = [...cache.misses].sort((one, other) => (other.usd ?? 0) - (one.usd ?? 0)).slice(0, 12);
    return panel(
      `Cache: ${percent(read / cache.reusable_tokens)} of ${short(cache.reusable_tokens)} tokens that had been sent before were read from it`,
      cache.missed_tokens > 0 && el('p', {}, `The ${short(cache.missed_tokens)} missed cost ${money(cache.missed_usd)} more than cache reads.`),
      el('ul', { class: 'misses' }, misses.map((miss) => this.miss(miss))),
      cache.misses.length > misses.length && el('p', { class: 'muted' }, `${plural(cache.misses.length - misses.length, 'more step')}`),
    );
  }

  miss({ step, after, missed_tokens: missed, usd, cause }) {
    const why = {
      prefix_changed: () => (cause.now ? [recorded(cause.was.words), ' changed'] : ['the history was cut before ', recorded(cause.was.words)]),
      expired: () => `${duration(cause.idle_ms)} after step ${after}: expired`,
      not_found: () => `begins as step ${after} did, and was not read`,
    }[cause.why]?.();
    return el(
      'li',
      {},
      el('a', { href: this.step(step) }, `step ${step}`),
      `: ${short(missed)} tokens, ${usd === null ? 'price unknown' : money(usd)}: `,
      why,
      cause.why === 'prefix_changed' && cause.now && el('pre', { class: 'recorded inline-diff', tabindex: '0' }, cause.text.map(span)),
    );
  }

  vain({ retries, repeats }) {
    if (retries.retries === 0 && repeats.length === 0) return null;
    const same = { true: ', same result', false: ', another result' };
    const repeated = ({ step, of, what, usd }) =>
      el(
        'li',
        {},
        el('a', { href: this.step(step) }, `step ${step}`),
        what.kind === 'request' ? ` sent the request of step ${of} again` : [' called ', el('strong', {}, oneLine(what.tool, 60)), ' ', el('code', {}, oneLine(what.arguments, 80)), ` as step ${of}${same[what.same_result] ?? ''}`],
        usd !== null && `: ${money(usd)}`,
      );
    return panel(
      'Paid in vain',
      retries.retries > 0 && el('p', {}, `${plural(retries.retries, 'retry', 'retries')} for ${retries.wasted_usd === null ? 'an unknown amount' : money(retries.wasted_usd)}${retries.wasted_ms === null ? '' : ` and ${duration(retries.wasted_ms)}`}`),
      el(
        'ul',
        {},
        retries.steps.slice(0, 20).map(({ step, attempts }) => el('li', {}, el('a', { href: this.step(step) }, `step ${step}`), `: ${attempts.join(', ')}`)),
        repeats.slice(0, 20).map(repeated),
      ),
      repeats.length > 20 && el('p', { class: 'muted' }, `${repeats.length - 20} more`),
    );
  }

  whatIf({ what_if: all }) {
    if (all.length === 0) return null;
    const what = (one) => ({ other_model: () => ['at the prices of ', recorded(one.model)], perfect_cache: () => 'with a perfect cache', without_result: () => ['without ', recorded(one.message.words)] })[one.what_if]?.();
    return panel(
      'What if',
      el(
        'table',
        { class: 'what-if' },
        el('caption', { class: 'unseen' }, 'What the run would have cost otherwise'),
        el('tbody', {}, all.map((one) => el('tr', {}, el('td', { class: 'number' }, one.usd === null ? 'price unknown' : money(one.usd)), el('td', { class: `number ${one.delta_usd < 0 ? 'good-text' : one.delta_usd > 0 ? 'bad-text' : 'muted'}` }, one.delta_usd === null ? '' : one.delta_usd === 0 ? '±0' : `${one.delta_usd < 0 ? '−' : '+'}${money(Math.abs(one.delta_usd))}`), el('td', { class: 'wide' }, what(one))))),
      ),
    );
  }
}

function baselineWords(source) {
  const of = (agent) => (agent ? [' of ', oneLine(agent, 60)] : '');
  return {
    trace: () => ['trace ', recorded(source.trace)],
    cohort_median: () => [`the median of ${plural(source.runs, 'other run')}`, of(source.agent)],
    file: () => 'the trace of a file',
    file_mean: () => `the mean of ${plural(source.runs, 'run')}`,
  }[source.kind]();
}

function baselineLink(source) {
  if (!source.trace) return 'baseline';
  return el('a', { class: 'id', href: href(`/trace/${encodeURIComponent(source.trace)}`) }, recorded(source.trace.slice(0, 10)));
}

// Which runs to look at.
export const rankingView = {
  name: 'audit',
  title: () => 'Audit',
  matches: (path) => (path === '/audit' ? {} : null),
  open(root, place) {
    const select = (name, label, options) => {
      const box = el('select', { name, 'aria-label': label }, Object.entries(options).map(([value, text]) => el('option', { value }, text)));
      box.addEventListener('change', () => ask({ [name]: box.value }));
      return box;
    };
    const by = select('by', 'Ranked by', { '': 'dearest first', anomaly: 'most unusual first', waste: 'most wasted first' });
    const agent = el('input', { type: 'search', name: 'agent', placeholder: 'agent', 'aria-label': 'Agent', autocomplete: 'off', 'data-search': true });
    agent.addEventListener('change', () => ask({ agent: agent.value.trim() }));
    const body = el('div', { 'aria-live': 'polite' });
    const form = el('form', { class: 'filters', onsubmit: (event) => event.preventDefault() }, by, agent);
    fill(root, el('div', { class: 'heading' }, el('h1', {}, 'Which runs to look at'), form), body);
    const show = async ({ query }) => {
      by.value = query.by ?? '';
      agent.value = query.agent ?? '';
      fill(body, notice('Reading and pricing…'));
      try {
        const { by: order, agent: who } = query;
        fill(body, ranking(await get('/audit', { by: order, agent: who, most: 50 })));
      } catch (error) {
        fill(body, failure(error));
      }
    };
    show(place);
    return { update: show };
  },
};

function ranking(runs) {
  if (runs.length === 0) return empty('No run to rank', el('p', {}, 'Record an agent, or clear the filter.'));
  const titles = ['run', ['agent', 'wide'], ['steps', 'number minor'], ['cost', 'number'], ['unusual', 'number'], ['wasted', 'number'], ['', 'minor']];
  const row = (run) =>
    el(
      'tr',
      {},
      el('td', {}, el('a', { class: 'id', href: href(`/audit/${encodeURIComponent(run.id)}`) }, recorded(run.id.slice(0, 12)))),
      el('td', { class: 'wide' }, run.agent ? oneLine(run.agent, 60) : el('span', { class: 'muted' }, 'unnamed')),
      el('td', { class: 'number minor' }, count(run.steps)),
      el('td', { class: 'number' }, money(run.cost_usd)),
      el('td', { class: 'number' }, run.z === null ? '' : el('span', { class: run.unusual ? 'badge warn' : 'muted', title: `the median of ${run.cohort} runs is ${money(run.median_usd)}` }, `z ${run.z.toFixed(1)}`)),
      el('td', { class: 'number' }, wasted(run.waste)),
      el('td', { class: 'minor' }, el('a', { href: href(`/trace/${encodeURIComponent(run.id)}`) }, 'open')),
    );
  return [scrolled(tableOf('Runs, the most remarkable first', titles, runs.map(row))), el('p', { class: 'muted below' }, 'Among the latest 500 runs; looptape audit --top ranks all.')];
}

function wasted({ retried_usd: retried, repeated_usd: repeated, uncached_usd: missed, usd: all }) {
  return all > 0 ? el('span', { title: `retries ${money(retried)}, repeated requests ${money(repeated)}, cache misses ${money(missed)}` }, money(all)) : '';
}

function sharePercent(share) {
  return share > 0 && share < 0.005 ? '<1 %' : percent(share);
}
