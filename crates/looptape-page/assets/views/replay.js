// A replay of a trace: the command to copy, and one that is started from here and watched.
import { get, post, writeToken } from '../api.js';
import { el, fill } from '../dom.js';
import { count, money, plural } from '../format.js';
import { copyButton, notice, panel } from '../parts.js';
import { href } from '../place.js';
import { recorded } from '../recorded.js';

const LOOK_EVERY_MS = 400;

export const replayView = {
  name: 'replay',
  title: ({ params }) => `Replay ${params.trace.slice(0, 12)}`,
  matches: (path) => {
    const found = path.match(/^\/replay\/([^/]+)$/);
    return found && { trace: decodeURIComponent(found[1]) };
  },
  open(root, { params, query }) {
    const view = new ReplayPage(root, params.trace);
    view.offer();
    if (query.id) view.watch(query.id);
    return { close: () => clearTimeout(view.timer) };
  },
};

class ReplayPage {
  constructor(root, trace) {
    this.trace = trace;
    this.commands = el('div', {});
    this.place = el('div', {});
    this.state = el('div', { 'aria-live': 'polite' });
    const link = el('a', { class: 'id', href: href(`/trace/${encodeURIComponent(trace)}`) }, recorded(trace.slice(0, 14)));
    fill(root, el('div', { class: 'heading' }, el('h1', {}, 'Replay ', link)), this.commands, this.place, this.state);
  }

  async offer() {
    const line = (command, what) => el('div', { class: 'command' }, el('code', {}, recorded(command)), copyButton(command), el('small', {}, what));
    fill(
      this.commands,
      panel(
        'In a terminal',
        line(`looptape replay ${quoted(this.trace)} -- CMD`, 'runs your agent against the recording: no network, no key, no cost'),
        line(`looptape replay ${quoted(this.trace)}`, 'sends the recorded requests again, and compares every answer'),
        line(`looptape replay ${quoted(this.trace)} --from 3 --source live --max-usd 1 -- CMD`, 'goes on from step 3 with the real model'),
      ),
    );
    const about = await get('/about').catch(() => ({ can_write: false }));
    if (!about.can_write) fill(this.place, panel('From here', notice('This page only reads. One that looptape ui serves can start replays.')));
    else if (!writeToken()) fill(this.place, panel('From here', notice('To start a replay from here, open the second address that looptape ui printed in its terminal: it carries the token.')));
    else fill(this.place, panel('From here', this.form()));
  }

  form() {
    const radio = (value, title, what, checked) => el('label', { class: 'choice' }, el('input', { type: 'radio', name: 'source', value, checked }), el('span', {}, el('strong', {}, title), el('small', {}, what)));
    const number = (name, label, more) => el('label', { class: 'field' }, label, el('input', { name, type: 'number', ...more }));
    const budget = number('max_usd', 'at most, in US dollars', { min: '0.01', step: '0.01', placeholder: '0.50', inputmode: 'decimal' });
    const model = el('label', { class: 'field' }, 'model', el('input', { name: 'model', type: 'text', placeholder: 'the recorded one', autocomplete: 'off', spellcheck: 'false' }));
    const from = number('from', 'from step', { min: '1', step: '1', placeholder: '1' });
    const speed = el('label', { class: 'field' }, 'pace', el('select', { name: 'speed' }, el('option', { value: '0' }, 'at once'), el('option', { value: '1' }, 'as recorded'), el('option', { value: '10' }, 'ten times as fast')));
    const start = el('button', { class: 'primary' }, 'Start');
    const said = el('p', { class: 'bad-text', role: 'alert' });
    const form = el(
      'form',
      { class: 'replay-form' },
      el(
        'fieldset',
        {},
        el('legend', {}, 'Who answers the recorded requests'),
        radio('cached', 'The recording', 'a self-check: every answer has to come back, bit for bit', true),
        radio('mock', 'A mocked model', 'the simulated provider, which takes after the recording'),
        radio('live', 'The live model', 'costs money: it needs a budget, and the key in looptape’s own environment'),
      ),
      el('div', { class: 'fields' }, speed, from, model, budget),
      el('div', { class: 'fields' }, start, said),
    );
    const adapt = () => {
      const source = new FormData(form).get('source');
      from.hidden = source === 'cached';
      model.hidden = budget.hidden = source !== 'live';
      budget.querySelector('input').required = source === 'live';
      start.textContent = source === 'live' ? 'Start, and pay' : 'Start';
    };
    form.addEventListener('change', adapt);
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      const given = new FormData(form);
      const source = given.get('source');
      const figure = (name) => (given.get(name) ? Number(given.get(name)) : undefined);
      said.textContent = '';
      start.disabled = true;
      try {
        const state = await post('/replays', {
          trace: this.trace,
          source,
          speed: figure('speed') ?? 0,
          from: source === 'cached' ? undefined : figure('from'),
          model: source === 'live' ? given.get('model').trim() || undefined : undefined,
          max_usd: source === 'live' ? figure('max_usd') : undefined,
        });
        this.watch(state.id);
      } catch (error) {
        said.textContent = error.message;
      } finally {
        start.disabled = false;
      }
    });
    adapt();
    return form;
  }

  async watch(id) {
    clearTimeout(this.timer);
    try {
      const state = await get(`/replays/${encodeURIComponent(id)}`);
      this.show(state);
      if (state.state === 'running' || state.state === 'stopping') this.timer = setTimeout(() => this.watch(id), LOOK_EVERY_MS);
    } catch (error) {
      fill(this.state, notice(error.message, 'bad'));
    }
  }

  show(state) {
    const child = state.records && el('a', { href: href(`/trace/${encodeURIComponent(state.records)}`) }, 'Look at its trace →');
    const compare = state.records && el('a', { href: href('/diff', { a: this.trace, b: state.records }) }, 'Compare with the recording →');
    const links = el('p', { class: 'links' }, child, state.state === 'done' && compare);
    if (state.state === 'failed') {
      fill(this.state, panel('It did not run', notice(state.error, 'bad'), links));
      return;
    }
    if (state.state === 'done') {
      fill(this.state, panel('Replayed', outcome(state), links));
      return;
    }
    const stop = el('button', { type: 'button', class: 'small', disabled: state.state === 'stopping', onclick: () => post(`/replays/${state.id}/stop`, {}).catch(() => {}) }, state.state === 'stopping' ? 'Stopping…' : 'Stop');
    const bar = el('progress', { max: Math.max(1, state.total), value: state.answered, 'aria-label': 'Answered requests' });
    fill(this.state, panel('Running', el('div', { class: 'running' }, bar, ` ${count(state.answered)} of ${state.total ? plural(state.total, 'request') : '…'} answered `, stop), links));
  }
}

// A word as a shell takes it.
function quoted(word) {
  return /^[\w.#~-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

// A recording has to give what was recorded; a model may say what it wants.
function verdict(wasStopped, isAsRecorded, exactness, classes) {
  if (wasStopped) return ['It was stopped', 'warn-text'];
  if (isAsRecorded) return ['✓ As recorded', 'good-text'];
  if (exactness === 'bytes') return ['✗ Different', 'bad-text'];
  return classes.every((name) => ['error', 'other_error'].includes(name)) ? ['✗ No call was answered', 'bad-text'] : ['It answers otherwise', ''];
}

function outcome({ report, trace }) {
  const { calls, identical, same, exactness, coverage, differences, classes, spent_usd: spent, saved_usd: saved } = report;
  const came = exactness === 'bytes' ? identical : same;
  const is = verdict(coverage === 'interrupted', came === calls, exactness, Object.keys(classes));
  const what = exactness === 'bytes' ? 'recorded answers came back bit for bit' : 'answers say what was recorded';
  const told = Object.entries(classes).map(([name, n]) => `${n} ${name.replaceAll('_', ' ')}`);
  const line = ({ step, seq, what: changed }) => el('li', {}, step === null ? `call #${seq}` : el('a', { href: href(`/trace/${encodeURIComponent(trace)}`, { step }) }, `step ${step}`), ': ', recorded(changed));
  return [
    el('p', { class: 'verdict' }, el('strong', { class: is[1] }, is[0]), `: ${count(came)} of ${count(calls)} ${what}. Spent ${money(spent)}${saved ? `; the recorded answers had cost ${money(saved)}` : ''}.`),
    told.length > 1 && el('p', { class: 'muted' }, told.join(', ')),
    differences.length > 0 && el('ul', {}, differences.slice(0, 50).map(line)),
    differences.length > 50 && el('p', { class: 'muted' }, `${differences.length - 50} more`),
  ];
}
