// The whole run at a glance: when models and tools were at work. A click goes there.
import { colour } from '../chart.js';
import { el } from '../dom.js';
import { duration } from '../format.js';

const HEIGHT = 46;

export class Overview {
  constructor({ onPick }) {
    this.canvas = el('canvas', { class: 'overview', height: HEIGHT, role: 'img', 'aria-label': 'When models and tools were at work' });
    this.box = el('div', { class: 'overview-box' }, this.canvas);
    this.canvas.addEventListener('click', (event) => {
      const at = this.rowAt(event.offsetX / this.canvas.clientWidth);
      if (at !== null) onPick(at);
    });
    this.redraw = () => this.draw();
    this.watcher = new ResizeObserver(this.redraw);
    this.watcher.observe(this.box);
    document.addEventListener('looptape-theme', this.redraw);
  }

  close() {
    this.watcher.disconnect();
    document.removeEventListener('looptape-theme', this.redraw);
  }

  show(rows) {
    this.rows = rows;
    // Imports may state no times at all.
    this.box.hidden = rows.started_ms.every((start) => start === null);
    this.end = 1;
    rows.started_ms.forEach((start, at) => {
      if (start !== null) this.end = Math.max(this.end, start + (rows.duration_ms[at] ?? 0));
    });
    this.canvas.title = `0 to ${duration(this.end)}: click to go there`;
    this.draw();
  }

  rowAt(share) {
    if (!this.rows) return null;
    const ms = share * this.end;
    let best = null;
    this.rows.started_ms.forEach((start, at) => {
      if (start !== null && (best === null || Math.abs(start - ms) < Math.abs(this.rows.started_ms[best] - ms))) best = at;
    });
    return best;
  }

  draw() {
    const width = this.box.clientWidth;
    if (!this.rows || width === 0) return;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = HEIGHT * ratio;
    const pen = this.canvas.getContext('2d');
    pen.scale(ratio, ratio);
    const bands = { llm: [6, 14, colour('model')], tool: [24, 9, colour('tool')], other: [36, 5, colour('muted')] };
    const bad = colour('bad');
    this.rows.started_ms.forEach((start, at) => {
      if (start === null) return;
      const [top, height, paint] = bands[this.rows.kind[at]];
      pen.fillStyle = this.rows.failed[at] ? bad : paint;
      pen.globalAlpha = 0.85;
      const [left, wide] = [(start / this.end) * width, Math.max(1.5, ((this.rows.duration_ms[at] ?? 0) / this.end) * width)];
      pen.fillRect(left, top, wide, height);
      if (!this.rows.retried[at]) return;
      pen.fillStyle = bad;
      pen.fillRect(left, top - 3, wide, 2);
    });
  }
}
