// Two traces, step by step: where they part, and what changed inside the texts.
import { get } from '../api.js';
import { el, fill } from '../dom.js';
import { count, duration, money, percent, plural, short, UNKNOWN } from '../format.js';
import { badge, empty, failure, notice, scrolled } from '../parts.js';
import { ask, go, href } from '../place.js';
import { called, oneLine, recorded } from '../recorded.js';

// Pairs that are drawn at once; more are drawn when they are asked for.
const PAIRS_AT_ONCE = 200;

export const diffView = {
  name: 'diff',
  title: ({ query }) => (query.a ? `Diff ${[query.a, query.b].filter(Boolean).map((name) => name.slice(0, 12)).join(' and ')}` : 'Diff'),
  matches: (path) => (path === '/diff' ? {} : null),
  open(root, place) {
    const view = new DiffPage(root);
    view.show(place.query);
    return {
      update: (next) => view.show(next.query),
      close: () => view.asked?.abort(),
      keys: { j: () => view.move(1), k: () => view.move(-1) },
    };
  },
};

class DiffPage {
  constructor(root) {
    this.form = this.chooser();
    this.body = el('div', { class: 'diff-body', 'aria-live': 'polite' });
    fill(root, el('div', { class: 'heading' }, el('h1', {}, 'Diff'), this.form), this.body);
  }

  chooser() {
    const input = (name, label) => el('input', { type: 'search', name, list: 'known-traces', class: 'trace-name', 'aria-label': label, placeholder: label, autocomplete: 'off', spellcheck: 'false' });
    this.a = input('a', 'A: id, prefix, last~1');
    this.b = input('b', 'B: empty for what A was made from');
    const whole = el('input', { type: 'checkbox', name: 'whole' });
    whole.addEventListener('change', () => ask({ whole: whole.checked ? 'true' : '' }));
    this.whole = whole;
    const form = el(
      'form',
      { class: 'filters', 'aria-label': 'Which traces' },
      this.a,
      el('button', { type: 'button', class: 'icon', title: 'Turn around', 'aria-label': 'Turn around', onclick: () => this.turn() }, '⇄'),
      this.b,
      el('button', {}, 'Compare'),
      el('label', {}, whole, ' whole texts'),
      el('datalist', { id: 'known-traces' }),
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      go('/diff', { a: this.a.value.trim(), b: this.b.value.trim(), whole: this.whole.checked ? 'true' : '' });
    });
    return form;
  }

  turn() {
    const [a, b] = [this.found?.a.trace ?? this.a.value, this.found?.b.trace ?? this.b.value];
    go('/diff', { a: b, b: a, whole: this.whole.checked ? 'true' : '' });
  }

  async show(query) {
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    this.a.value = query.a ?? '';
    this.b.value = query.b ?? '';
    this.whole.checked = query.whole === 'true';
    this.suggest();
    if (!query.a) {
      fill(this.body, empty('Name two traces', el('p', {}, 'Or one that was made from another: a replay is compared with its recording.')));
      return;
    }
    fill(this.body, notice('Comparing…'));
    try {
      const { a, b, whole } = query;
      const found = await get('/diff', { a, b, whole: whole === 'true' ? 'true' : null }, { signal: asked.signal });
      if (asked === this.asked) this.draw(found);
    } catch (error) {
      if (error.name !== 'AbortError') fill(this.body, failure(error));
    }
  }

  async suggest() {
    const list = this.form.querySelector('datalist');
    if (list.childElementCount > 0) return;
    const { traces } = await get('/traces', { limit: 50, replays: 'true' }).catch(() => ({ traces: [] }));
    fill(list, traces.map((trace) => el('option', { value: trace.label }, called(trace).join(' · '))));
  }

  draw(found) {
    this.found = found;
    this.pairs = [];
    const pairs = found.steps.map((pair) => ({ pair, plain: false })).concat(found.plain_calls.map((pair) => ({ pair, plain: true })));
    const rows = el('div', { class: 'pairs' });
    fill(
      this.body,
      this.verdict(found),
      found.notes.map((note) => notice(note, 'warn')),
      sides(found),
      el('h2', {}, 'Steps'),
      rows,
    );
    this.rows = rows;
    this.further(groups(pairs));
    const first = rows.querySelector('.pair.differs');
    if (first) {
      first.classList.add('first');
      const { bottom, height } = first.getBoundingClientRect();
      if (bottom > innerHeight) first.scrollIntoView({ block: height < innerHeight / 2 ? 'center' : 'start' });
    }
  }

  // Draws so many groups, and offers the rest.
  further(rest) {
    const now = rest.slice(0, PAIRS_AT_ONCE);
    const later = rest.slice(PAIRS_AT_ONCE);
    this.rows.append(...now.map((group) => this.group(group)));
    if (later.length === 0) return;
    const more = el('button', { type: 'button' }, `Show more (${count(later.length)} left)`);
    more.addEventListener('click', () => {
      more.remove();
      this.further(later);
    });
    this.rows.append(more);
  }

  group({ same, pairs }) {
    if (!same) return this.pair(pairs[0]);
    const numbers = pairs.map(({ pair }) => pair.a?.step).filter((step) => step !== null && step !== undefined);
    const range = numbers.length > 1 ? `steps ${numbers[0]} to ${numbers.at(-1)}` : numbers.length === 1 ? `step ${numbers[0]}` : plural(pairs.length, 'call');
    const folded = el('details', { class: 'same-pairs' }, el('summary', {}, `${range}: the same`));
    folded.addEventListener(
      'toggle',
      () => folded.append(...pairs.slice(0, 1000).map(({ pair, plain }) => this.pair({ pair, plain }))),
      { once: true },
    );
    return folded;
  }

  pair({ pair, plain }) {
    const differs = pair.change !== 'same';
    const row = el(
      'section',
      { class: `pair ${pair.change} ${differs ? 'differs' : ''}`, tabindex: differs ? '0' : null, 'aria-label': `${word(pair)} ${stepName(pair.a ?? pair.b, plain)}` },
      el('div', { class: 'heads' }, head(pair.a, this.found.a, plain, 'only in B'), head(pair.b, this.found.b, plain, 'only in A')),
      pair.differences.map(difference),
      times(pair),
    );
    return row;
  }

  verdict(found) {
    const { first, counts, delta, same } = found;
    if (same) {
      const tolerated = counts.tolerated > 0 ? `; ${plural(counts.tolerated, 'step')} differ only in values that change from run to run` : '';
      return el('p', { class: 'verdict good-text' }, `✓ The same run: ${plural(counts.same, 'step')}${tolerated}.`);
    }
    const where = first.a ?? first.b;
    const what = [
      where === null || where === undefined ? 'The first difference is in a plain call' : `The first difference is at step ${where}`,
      first.change === 'only_a' ? ' (only in A)' : first.change === 'only_b' ? ' (only in B)' : first.fields.length > 0 ? `: ${first.fields.map(words).join(', ')}` : '',
    ].join('');
    const totals = [
      counts.changed && `${plural(counts.changed, 'step')} changed`,
      counts.only_a && `${counts.only_a} only in A`,
      counts.only_b && `${counts.only_b} only in B`,
      counts.same && `${counts.same} the same`,
      delta.cost_usd && signed(delta.cost_usd, (usd) => money(usd)),
      delta.duration_ms && signed(delta.duration_ms, duration),
    ].filter(Boolean);
    return el('p', { class: 'verdict' }, el('strong', {}, what), ' · ', totals.join(' · '));
  }

  move(by) {
    const all = [...this.body.querySelectorAll('.pair.differs')];
    const at = all.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by;
    all[Math.max(0, Math.min(all.length - 1, next))]?.focus();
  }
}

// Pairs one by one, and those that are the same in a row as one.
function groups(pairs) {
  const all = [];
  for (const one of pairs) {
    const same = one.pair.change === 'same' && one.pair.differences.length === 0;
    const last = all.at(-1);
    if (same && last?.same) last.pairs.push(one);
    else all.push({ same, pairs: [one] });
  }
  return all;
}

function words(field) {
  return field.replaceAll('_', ' ');
}

function word(pair) {
  return { same: 'tolerated', changed: 'changed', only_a: 'only in A', only_b: 'only in B' }[pair.change];
}

function signed(value, write) {
  return `${value < 0 ? '−' : '+'}${write(Math.abs(value))}`;
}

function stepName(step, plain) {
  return plain || step?.step === null || step?.step === undefined ? 'call' : `step ${step.step}`;
}

// One side of a pair: which step it is, and what it did.
function head(step, side, plain, missing) {
  if (!step) return el('div', { class: 'head missing' }, missing);
  const name = stepName(step, plain);
  const link = plain || step.step === null ? el('span', { class: 'id' }, name) : el('a', { class: 'id', href: href(`/trace/${encodeURIComponent(side.trace)}`, { step: step.step }) }, name);
  return el('div', { class: 'head' }, link, ' ', oneLine(step.gist, 160));
}

function difference(one) {
  const tolerated = one.weight === 'tolerated';
  const name = el(
    'div',
    { class: 'field' },
    words(one.field),
    one.at && el('code', {}, recorded(one.at)),
    tolerated && badge(one.masks.length > 0 ? `tolerated: ${one.masks.join(', ')}` : 'tolerated'),
  );
  return el('div', { class: `difference ${tolerated ? 'tolerated' : ''}` }, name, changed(one));
}

// Short values stand beside each other, texts are one with the change marked in it.
const SHORT = 40;

function changed({ a, b, diff }) {
  const isShort = (value) => value !== null && value.length <= SHORT && !value.includes('\n');
  if (diff.length > 0 && !(isShort(a) && isShort(b))) return el('pre', { class: 'recorded inline-diff', tabindex: '0' }, diff.map(span));
  const shown = (value, tag) => (value === null || value === undefined ? el('span', { class: 'muted' }, UNKNOWN) : el(tag, {}, recorded(value)));
  return el('pre', { class: 'recorded inline-diff' }, shown(a, 'del'), ' → ', shown(b, 'ins'));
}

export function span({ change, text }) {
  if (change === 'removed') return el('del', {}, recorded(text));
  if (change === 'added') return el('ins', {}, recorded(text));
  return recorded(text);
}

function times({ duration_ms: took, ttft_ms: ttft }) {
  if (took.a === null || took.b === null) return null;
  const of = (name, { a, b }) => (a === null || b === null ? null : `${name} ${duration(a)} → ${duration(b)}`);
  return el('p', { class: 'times muted' }, [of('took', took), of('first token', ttft)].filter(Boolean).join(' · '));
}

// The figures of both, side by side.
function sides({ a, b, delta }) {
  const row = (name, of, change) => el('tr', {}, el('th', { scope: 'row' }, name), el('td', { class: 'number' }, of(a)), el('td', { class: 'number' }, of(b)), el('td', { class: 'number' }, change));
  const plain = (value) => (value === null || value === undefined ? UNKNOWN : value === 0 ? '=' : signed(value, short));
  const ratio = delta.cost_ratio !== null && delta.cost_usd ? ` (${signed(delta.cost_ratio, percent)})` : '';
  const title = (side, letter) =>
    el(
      'th',
      { scope: 'col' },
      `${letter} `,
      el('a', { class: 'id', href: href(`/trace/${encodeURIComponent(side.trace)}`) }, recorded(side.trace.slice(0, 14))),
      el('small', {}, ' ', oneLine(called(side).join(' · '), 40)),
    );
  return scrolled(
    el(
      'table',
      { class: 'sides' },
      el('caption', { class: 'unseen' }, 'The figures of both traces'),
      el('thead', {}, el('tr', {}, el('td', {}), title(a, 'A'), title(b, 'B'), el('th', { scope: 'col', class: 'number' }, 'B less A'))),
      el(
        'tbody',
        {},
        row('steps', (side) => count(side.steps), plain(delta.steps)),
        row('tool calls', (side) => count(side.tool_calls), plain(delta.tool_calls)),
        row('attempts', (side) => count(side.attempts), plain(delta.attempts)),
        row('input tokens', (side) => short(side.input_tokens), plain(delta.input_tokens)),
        row('output tokens', (side) => short(side.output_tokens), plain(delta.output_tokens)),
        row('cost', (side) => money(side.cost_usd, side.cost_at_least), delta.cost_usd === null ? UNKNOWN : delta.cost_usd === 0 ? '=' : `${signed(delta.cost_usd, money)}${ratio}`),
        row('duration', (side) => duration(side.duration_ms), delta.duration_ms === null ? UNKNOWN : delta.duration_ms === 0 ? '=' : signed(delta.duration_ms, duration)),
      ),
    ),
  );
}
