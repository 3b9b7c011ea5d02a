// The timeline as a grid: only the rows that are seen are there, and only their pages are asked for.
import { get, traceAt } from '../api.js';
import { el, fill, svg } from '../dom.js';
import { duration, money, short } from '../format.js';
import { oneLine } from '../recorded.js';

const ROW_PX = 30;
const PAGE_ROWS = 200;
const AROUND = 8;
const COLUMN_PX = 14;
// More columns than this are drawn on top of each other at the edge.
const MOST_COLUMNS = 10;

// What names a row in the address: 3, 3.1, or its place if it has no number.
export function rowName(row) {
  if (row.step === null) return `@${row.at}`;
  return row.sub === null ? `${row.step}` : `${row.step}.${row.sub}`;
}

export class Timeline {
  // `onSelect(row)` is told of rows that are clicked or walked to.
  constructor(trace, { onSelect }) {
    this.trace = trace;
    this.onSelect = onSelect;
    this.total = 0;
    this.columns = 1;
    this.pages = new Map();
    this.selected = null;
    this.scale = 'whole';
    this.span = [0, 1];
    this.body = el('div', { class: 'rows-inner', role: 'rowgroup' });
    this.scaleButton = el('button', { type: 'button', class: 'small', onclick: () => this.turnScale() });
    this.axis = el('span', { class: 'axis' });
    const heads = [
      ['lane', 'lanes'],
      ['no', 'step'],
      ['what', 'what'],
      ['tokens', 'in'],
      ['tokens', 'out'],
      ['cost', 'cost'],
      ['took', 'time'],
    ].map(([kind, text]) => el('span', { class: kind, role: 'columnheader' }, kind === 'lane' ? el('span', { class: 'unseen' }, text) : text));
    this.grid = el(
      'div',
      { class: 'timeline rows', role: 'grid', 'aria-label': 'Timeline', tabindex: '0', 'aria-multiselectable': 'false' },
      el('div', { class: 'rows-head', role: 'rowgroup' }, el('div', { class: 'row head', role: 'row', 'aria-rowindex': '1' }, heads, el('span', { class: 'bar', role: 'columnheader' }, this.axis, this.scaleButton))),
      this.body,
    );
    this.grid.addEventListener('scroll', () => this.draw());
    this.grid.addEventListener('keydown', (event) => this.pressed(event));
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.grid);
    this.mark();
  }

  close() {
    this.watcher.disconnect();
  }

  // A head as the API answers it. What is shown already stays until it is there anew.
  show(head) {
    const grew = head.entries !== this.total;
    this.total = head.entries;
    this.columns = Math.min(head.columns, MOST_COLUMNS);
    // An import whose file states no times has none, and a run that has just begun has none yet.
    this.isTimed = head.trace.metrics.duration_ms !== null;
    this.whole = Math.max(head.trace.metrics.duration_ms ?? 0, 1);
    if (this.scale === 'whole' && this.total > 80 && !this.chosen) this.scale = 'seen';
    this.stale = new Set(this.pages.keys());
    this.body.style.height = `${this.total * ROW_PX}px`;
    this.grid.style.setProperty('--lanes', `${this.columns * COLUMN_PX + 10}px`);
    this.grid.setAttribute('aria-rowcount', this.total + 1);
    this.mark();
    this.draw();
    return grew;
  }

  turnScale() {
    this.chosen = true;
    this.scale = this.scale === 'whole' ? 'seen' : 'whole';
    this.mark();
    this.draw();
  }

  mark() {
    this.scaleButton.textContent = this.scale === 'whole' ? 'whole run' : 'rows in view';
    this.scaleButton.title = this.scale === 'whole' ? 'The bars span the whole run; turn to the rows in view' : 'The bars span the rows in view; turn to the whole run';
  }

  row(at) {
    return this.pages.get(Math.floor(at / PAGE_ROWS))?.[at % PAGE_ROWS];
  }

  // Whoever asks for a page that is asked for already waits for the same answer.
  load(page) {
    this.asked ??= new Map();
    if (!this.asked.has(page)) this.asked.set(page, this.read(page).finally(() => this.asked.delete(page)));
    return this.asked.get(page);
  }

  async read(page) {
    const { rows } = await get(traceAt(this.trace, 'rows'), { from: page * PAGE_ROWS, limit: PAGE_ROWS });
    this.pages.set(page, rows);
    this.stale?.delete(page);
    this.draw();
  }

  // The row of that name, read if it is not there yet; `at` is where it is looked for first.
  async find(name, at = 0) {
    if (name.startsWith('@')) {
      const place = Number(name.slice(1));
      if (!(place < this.total)) return null;
      if (!this.row(place)) await this.load(Math.floor(place / PAGE_ROWS));
      return this.row(place) ?? null;
    }
    for (let page = Math.floor(at / PAGE_ROWS); page * PAGE_ROWS < this.total; page += 1) {
      if (!this.pages.has(page)) await this.load(page);
      const found = this.pages.get(page)?.find((row) => rowName(row) === name);
      if (found) return found;
      const last = this.pages.get(page)?.findLast((row) => row.step !== null && row.kind === 'llm');
      if (last && last.step > Number.parseInt(name, 10) + 1) return null;
    }
    return null;
  }

  select(row, { reveal = true } = {}) {
    this.selected = row?.at ?? null;
    if (row && reveal) this.reveal(row.at);
    this.draw();
  }

  reveal(at) {
    const top = at * ROW_PX;
    const { scrollTop } = this.grid;
    if (top < scrollTop) this.grid.scrollTop = Math.max(0, top - ROW_PX);
    else if (top + ROW_PX > scrollTop + this.seenPx()) this.grid.scrollTop = top - this.seenPx() + 2 * ROW_PX;
  }

  // The head stays and covers as much as a row.
  seenPx() {
    return this.grid.clientHeight - ROW_PX;
  }

  isAtEnd() {
    return this.grid.scrollTop + this.grid.clientHeight > this.grid.scrollHeight - ROW_PX;
  }

  // To the middle of what is seen.
  centre(at) {
    this.grid.scrollTop = Math.max(0, at * ROW_PX - this.seenPx() / 2);
    this.draw();
  }

  async move(by) {
    const at = Math.max(0, Math.min(this.total - 1, this.selected === null ? 0 : this.selected + by));
    if (this.total === 0) return;
    if (!this.row(at)) await this.load(Math.floor(at / PAGE_ROWS));
    const row = this.row(at);
    if (row) this.onSelect(row);
  }

  pressed(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const by = steps[event.key];
    if (Number.isFinite(by)) this.move(by);
    else {
      this.selected = by < 0 ? 0 : this.total - 1;
      this.move(0);
    }
  }

  draw() {
    const { scrollTop } = this.grid;
    const seen = [Math.floor(scrollTop / ROW_PX), Math.ceil((scrollTop + this.seenPx()) / ROW_PX)];
    const first = Math.max(0, seen[0] - AROUND);
    const end = Math.min(this.total, seen[1] + AROUND);
    for (let page = Math.floor(first / PAGE_ROWS); page * PAGE_ROWS < end; page += 1) {
      // What cannot be read is asked for again when it is looked at again.
      if (!this.pages.has(page) || this.stale?.has(page)) this.load(page).catch(() => {});
    }
    this.span = this.scale === 'whole' ? [0, this.whole] : this.spanOf(...seen);
    const from = this.span[0] > 0 ? duration(this.span[0]) : '0';
    this.axis.textContent = this.isTimed ? `${from} – ${duration(this.span[1])}` : 'not known';
    const rows = [];
    for (let at = first; at < end; at += 1) rows.push(this.drawRow(at, this.row(at)));
    fill(this.body, rows);
    if (this.selected !== null) this.grid.setAttribute('aria-activedescendant', `row-${this.selected}`);
    else this.grid.removeAttribute('aria-activedescendant');
  }

  spanOf(first, end) {
    let [from, to] = [Infinity, -Infinity];
    for (let at = first; at < Math.min(end, this.total); at += 1) {
      const row = this.row(at);
      if (row?.started_ms === null || row?.started_ms === undefined) continue;
      from = Math.min(from, row.started_ms);
      to = Math.max(to, row.started_ms + (row.duration_ms ?? 0));
    }
    return to > from ? [from, to] : [0, this.whole];
  }

  drawRow(at, row) {
    const style = { transform: `translateY(${at * ROW_PX}px)` };
    const common = { id: `row-${at}`, role: 'row', 'aria-rowindex': at + 2, style };
    if (!row) return el('div', { ...common, class: 'row loading' }, el('span', { class: 'what', role: 'gridcell' }, '…'));
    const selected = at === this.selected;
    const cell = (kind, ...content) => el('span', { class: kind, role: 'gridcell' }, content);
    const usage = row.usage;
    return el(
      'div',
      { ...common, class: `row ${row.kind}${selected ? ' selected' : ''}${troubled(row) ? ' troubled' : ''}`, 'aria-selected': selected ? 'true' : 'false', onclick: () => this.onSelect(row) },
      cell('lane', lanes(row, this.columns)),
      cell('no', row.step === null ? '' : rowName(row)),
      cell('what', what(row)),
      cell('tokens', usage ? short(usage.input_total) : ''),
      cell('tokens', usage ? short(usage.output_total) : ''),
      cell('cost', row.cost ? money(row.cost.usd, row.cost.at_least, 3) : row.kind === 'llm' ? '–' : ''),
      cell('took', isBound(row) ? '≤ ' : '', row.duration_ms === null ? '' : duration(row.duration_ms)),
      cell('bar', bar(row, this.span)),
    );
  }
}

function isBound(row) {
  return row.tool?.source === 'inferred' && row.duration_ms !== null;
}

export function troubled(row) {
  const last = row.attempts.at(-1);
  return ['error', 'timeout', 'aborted'].includes(row.tool?.outcome) || (last && (last.state !== 'complete' || (last.status ?? 0) >= 400));
}

// What a row did, in words.
function what(row) {
  if (row.kind === 'tool') {
    const { name, arguments: given, outcome } = row.tool;
    const said = given === null ? '' : typeof given === 'string' ? given : JSON.stringify(given);
    return [el('b', {}, oneLine(name, 60)), outcome && outcome !== 'ok' && el('span', { class: `badge ${outcome === 'null' ? 'muted' : 'bad'}` }, outcome), ' ', el('span', { class: 'muted' }, oneLine(said, 160))];
  }
  const failed = row.attempts.length > 1 && el('span', { class: 'badge warn', title: `${row.attempts.length} attempts` }, `↻ ${row.attempts.length}`);
  if (row.kind === 'other') return [el('span', {}, oneLine(row.endpoint ?? row.provider, 120)), failed, ' ', row.text && el('span', { class: 'muted' }, oneLine(row.text, 120))];
  const last = row.attempts.at(-1);
  const trouble = troubled(row) && el('span', { class: 'badge bad' }, last.state === 'complete' ? `${last.status}` : last.state.replaceAll('_', ' '));
  const asks = row.tool_calls.map((call) => call.name);
  const said = asks.length > 0 ? `→ ${asks.join(', ')}` : row.text ? `“${row.text}”` : '';
  const source = row.source && row.source !== 'live' && el('span', { class: 'badge accent' }, row.source);
  return [el('span', { class: 'model' }, oneLine(row.response_model ?? row.model ?? row.provider, 40)), trouble, failed, source, ' ', el('span', { class: 'muted' }, oneLine(said, 200))];
}

// The bar of a row: overhead before it, failed attempts, waiting, and what came of it.
function bar(row, [from, to]) {
  if (row.started_ms === null) return null;
  const at = (ms) => `${(((ms - from) / (to - from)) * 100).toFixed(3)}%`;
  const wide = (ms) => `${Math.max(0, (ms / (to - from)) * 100).toFixed(3)}%`;
  const part = (kind, start, length, title) => el('i', { class: kind, title, style: { left: at(start), width: wide(length) } });
  const parts = [];
  if (row.overhead_before_ms > 0) parts.push(part('overhead', row.started_ms - row.overhead_before_ms, row.overhead_before_ms, `${duration(row.overhead_before_ms)} in which nothing ran: overhead`));
  if (row.kind !== 'llm') {
    const kind = row.kind === 'tool' ? `tool${isBound(row) ? ' bound' : ''}` : 'other';
    parts.push(part(kind, row.started_ms, row.duration_ms ?? 0, `${isBound(row) ? 'at most ' : ''}${duration(row.duration_ms)}`));
    return parts;
  }
  const last = row.attempts.at(-1);
  for (const attempt of row.attempts) {
    if (attempt.started_ms === null) continue;
    if (attempt.backoff_ms > 0) parts.push(part('backoff', attempt.started_ms - attempt.backoff_ms, attempt.backoff_ms, `waited ${duration(attempt.backoff_ms)} before trying again`));
    const bad = (attempt.status ?? 0) >= 400 || attempt.state !== 'complete';
    const label = `attempt ${attempt.attempt}: ${attempt.status ?? 'no answer'}, ${duration(attempt.duration_ms)}`;
    parts.push(part(bad ? 'failed' : 'model', attempt.started_ms, attempt.duration_ms ?? 0, label));
  }
  if (row.ttft_ms !== null && last?.started_ms !== null) {
    parts.push(part('waiting', last.started_ms, row.ttft_ms, `first token after ${duration(row.ttft_ms)}`));
    parts.push(el('i', { class: 'ttft', style: { left: at(last.started_ms + row.ttft_ms) }, title: `first token after ${duration(row.ttft_ms)}` }));
  }
  return parts;
}

// Lines for what runs beside what, as the command line draws them.
function lanes(row, columns) {
  const { column, from, joined, lines } = row.track;
  const x = (of) => Math.min(of, columns - 1) * COLUMN_PX + COLUMN_PX / 2 + 2;
  const middle = ROW_PX / 2;
  const parts = [];
  for (const line of lines) {
    const top = line.begins ? middle : 0;
    const bottom = line.ends ? middle : ROW_PX;
    if (bottom > top) parts.push(svg('path', { d: `M${x(line.column)} ${top}V${bottom}` }));
  }
  const turn = (other, down) => svg('path', { d: `M${x(other)} ${down ? middle : 0}${down ? `H${x(column)}` : `V${middle}H${x(column)}`}` });
  if (from !== null) parts.push(turn(from, true));
  for (const other of joined) if (other !== column) parts.push(turn(other, true));
  const dot =
    row.kind === 'tool'
      ? svg('rect', { x: x(column) - 4, y: middle - 4, width: 8, height: 8, rx: 1.5, class: 'tool' })
      : svg('circle', { cx: x(column), cy: middle, r: row.kind === 'llm' ? 4.5 : 3.5, class: row.kind });
  return svg('svg', { width: columns * COLUMN_PX + 8, height: ROW_PX, 'aria-hidden': 'true' }, parts, dot);
}
