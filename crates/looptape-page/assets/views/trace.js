// One trace: its timeline with a step beside it, its context, its money.
import { get, traceAt } from '../api.js';
import { add, el, fill } from '../dom.js';
import { ago, clock } from '../format.js';
import { onChange } from '../live.js';
import { copyButton, failure, outcomeBadge, statusMark, tabs } from '../parts.js';
import { ask, go, here, href, isFile } from '../place.js';
import { called, oneLine, recorded } from '../recorded.js';
import { contextView } from '../trace/context.js';
import { moneyView } from '../trace/money.js';
import { Overview } from '../trace/overview.js';
import { rowName, Timeline } from '../trace/rows.js';
import { StepPane } from '../trace/step.js';
import { headFigures, summary } from '../trace/summary.js';

const TABS = { timeline: 'Timeline', context: 'Context', money: 'Money' };

export const traceView = {
  name: 'trace',
  // What is marked at the top.
  of: 'traces',
  title: ({ params }) => `Trace ${params.trace.slice(0, 12)}`,
  matches(path) {
    const found = path.match(/^\/trace\/([^/]+)$/);
    return found && { trace: decodeURIComponent(found[1]) };
  },
  open(root, place) {
    const view = new TraceView(root, place.params.trace);
    view.start(place.query);
    const stop = onChange(() => view.refresh());
    return {
      update: (next) => view.go(next.query),
      close() {
        stop();
        view.close();
      },
      keys: {
        j: () => view.move(1),
        k: () => view.move(-1),
        Enter: (event) => view.enter(event),
        Escape: () => view.escape(),
      },
    };
  },
};

class TraceView {
  constructor(root, trace) {
    this.root = root;
    this.trace = trace;
    this.top = el('header', { class: 'trace-head' });
    this.tabs = el('div', {});
    this.body = el('div', { class: 'trace-body' });
    this.timeline = new Timeline(trace, { onSelect: (row) => this.choose(row) });
    this.overview = new Overview({ onPick: (at) => this.timeline.centre(at) });
    this.pane = new StepPane(trace);
    this.ending = () => {};
    fill(root, this.top, this.tabs, this.body);
  }

  async start(query) {
    try {
      this.head = await get(traceAt(this.trace));
    } catch (error) {
      fill(this.root, failure(error));
      return;
    }
    this.drawHead();
    await this.go(query);
    this.loadSeries();
  }

  close() {
    this.timeline.close();
    this.overview.close();
    this.ending();
    this.closed = true;
  }

  drawHead() {
    const { trace, started_unix_us: started, label } = this.head;
    const who = called(trace);
    document.title = `${who[0] ?? label.slice(0, 12)} · looptape`;
    fill(
      this.top,
      el(
        'div',
        { class: 'trace-title' },
        statusMark(trace.status),
        el('h1', {}, who.length > 0 ? who.map((text, at) => [at > 0 && ' · ', oneLine(text, 80)]) : recorded(label)),
        outcomeBadge(trace.metrics.outcome),
        el('span', { class: 'muted', title: clock(started / 1000) }, ago(started / 1000)),
        el('code', { class: 'muted id' }, recorded(label)),
        copyButton(label, { label: 'Copy id' }),
        el('span', { class: 'spring' }),
        !isFile && el('a', { href: href('/diff', { a: label }) }, 'Compare'),
        el('a', { href: href(`/audit/${encodeURIComponent(label)}`) }, 'Audit'),
        !isFile && el('a', { href: href(`/replay/${encodeURIComponent(label)}`) }, 'Replay'),
      ),
      headFigures(this.head),
    );
  }

  async go(query) {
    if (!this.head) return;
    this.query = query;
    const tab = query.tab in TABS ? query.tab : 'timeline';
    const { path } = here();
    const all = Object.entries(TABS).map(([name, title]) => ({ name, title, href: href(path, { tab: name === 'timeline' ? '' : name, step: query.step }) }));
    fill(this.tabs, tabs('Views of the trace', all, tab));
    if (tab !== this.tab) {
      this.tab = tab;
      this.ending();
      this.ending = () => {};
      await this.turn(tab);
    }
    if (tab === 'timeline') await this.showStep();
  }

  async turn(tab) {
    this.body.className = `trace-body ${tab}`;
    if (tab === 'timeline') {
      this.find = el('input', { type: 'search', class: 'find-step', placeholder: 'Go to step', 'aria-label': 'Go to step', 'data-search': true, autocomplete: 'off' });
      this.find.addEventListener('keydown', (event) => event.key === 'Enter' && this.goTo(this.find.value.trim()));
      this.side = el('div', { class: 'side' });
      fill(this.body, el('div', { class: 'main-side' }, el('div', { class: 'tools' }, this.overview.box, this.find), this.timeline.grid), this.side);
      this.timeline.show(this.head);
      return;
    }
    fill(this.body, el('p', { class: 'muted', role: 'status' }, 'Reading…'));
    try {
      const box = el('div', { class: 'sheet' });
      if (tab === 'context') {
        const series = await this.loadSeries();
        if (this.tab !== tab) return;
        const { nodes, close } = contextView(this.head.label, series, this.head, (step) => go(here().path, { step }));
        this.ending = close;
        add(box, nodes);
      } else {
        const heat = await get(traceAt(this.trace, 'heat'), { step: this.query.step?.split('.')[0].replace(/^@.*/, '') });
        if (this.tab !== tab) return;
        add(box, moneyView(this.head.label, heat));
      }
      fill(this.body, box);
    } catch (error) {
      fill(this.body, failure(error));
    }
  }

  async loadSeries() {
    if (this.head.entries === 0) return { step: [], rows: {} };
    this.series ??= get(traceAt(this.trace, 'series'));
    const series = await this.series;
    if (!this.closed) this.overview.show(series.rows);
    return series;
  }

  // What the address names, beside the timeline.
  async showStep() {
    const { step } = this.query;
    this.body.classList.toggle('has-step', Boolean(step));
    if (!step) {
      this.pane.forget();
      this.timeline.select(null);
      fill(this.side, summary(this.head));
      return;
    }
    const series = this.head.entries > 400 ? await this.loadSeries() : null;
    const number = Number.parseInt(step, 10);
    const row = await this.timeline.find(step, Math.max(0, (series?.at[number - 1] ?? 0) - 1));
    if (this.query.step !== step) return;
    if (!row) {
      fill(this.side, failure(new Error(`This trace has no step ${step}.`)));
      return;
    }
    if (this.side.firstChild !== this.pane.box) fill(this.side, this.pane.box);
    this.timeline.select(row);
    await this.pane.show(row, this.query);
  }

  choose(row) {
    ask({ step: rowName(row), attempt: '', part: row.kind === 'llm' ? this.query.part : '' }, { replace: Boolean(this.query.step) });
  }

  goTo(name) {
    if (name !== '') ask({ step: name, attempt: '' });
    this.timeline.grid.focus();
  }

  move(by) {
    if (this.tab !== 'timeline') return false;
    this.timeline.move(by);
    return true;
  }

  enter(event) {
    if (event.target.closest('a, button, summary, input')) return false;
    if (this.tab === 'timeline' && this.query.step) this.pane.box.focus();
    return true;
  }

  escape() {
    if (this.query?.step) {
      ask({ step: '', attempt: '', part: '' });
      this.timeline.grid.focus();
    } else if (this.tab && this.tab !== 'timeline') ask({ tab: '' });
    else go('/');
  }

  // While it is recorded.
  async refresh() {
    if (!this.head || this.closed || (this.head.trace.status !== 'recording' && this.settled)) return;
    this.settled = this.head.trace.status !== 'recording';
    try {
      this.head = await get(traceAt(this.head.label));
    } catch {
      return;
    }
    if (this.closed) return;
    this.series = undefined;
    this.drawHead();
    this.loadSeries();
    if (this.tab !== 'timeline') return;
    const wasAtEnd = this.timeline.isAtEnd();
    const grew = this.timeline.show(this.head);
    if (grew && wasAtEnd && !this.query.step) this.timeline.grid.scrollTop = this.timeline.grid.scrollHeight;
    if (!this.query.step) fill(this.side, summary(this.head));
  }
}
