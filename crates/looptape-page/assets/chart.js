// Charts, drawn by uPlot in the page's own colours. Each has its figures as text beside it, for whoever cannot see it.
/* global uPlot */
import { el, svg } from './dom.js';
import { clock } from './format.js';

// A colour of the page, as what is painted can take it: its name holds one for light and one for dark.
export function colour(name) {
  const probe = el('span', { hidden: true, style: { color: `var(--${name})` } });
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

// A chart of `data` (x, then one array a series) in a box that gives it its width. `series`: {label, colour, ...uPlot's}.
// Gives the box, with `update(data)` and `close()`.
export function chart({ data, series, height = 180, axes, scales, x = {}, onClick, label, hooks = {}, legend = true }) {
  const box = el('div', { class: 'chart', role: 'img', 'aria-label': label });
  const isTime = scales?.x?.time;
  const axis = { stroke: () => colour('muted'), grid: { stroke: () => colour('line'), width: 1 }, ticks: { stroke: () => colour('line'), width: 1 }, font: '11px system-ui' };
  const own = series.map(({ colour: name, ...rest }) => ({
    stroke: () => colour(name),
    width: 1.5,
    points: { show: false },
    ...rest,
    fill: rest.fill === true ? () => `color-mix(in srgb, ${colour(name)} 18%, transparent)` : rest.fill,
  }));
  const options = {
    width: 400,
    height,
    legend: { show: legend },
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    series: [x, ...own],
    axes: (axes ?? [{}, {}]).map((one, place) => ({ ...axis, ...(place === 0 && { size: 30, ...(isTime && { size: 44, values: axisTimes }) }), ...one })),
    scales: scales ?? { x: { time: false } },
    hooks,
  };
  const plot = new uPlot(options, data, box);
  if (onClick) plot.over.addEventListener('click', () => plot.cursor.idx !== null && onClick(plot.cursor.idx));
  const fit = () => box.clientWidth > 0 && plot.setSize({ width: box.clientWidth, height });
  const watcher = new ResizeObserver(fit);
  watcher.observe(box);
  const redraw = () => plot.redraw(false);
  document.addEventListener('looptape-theme', redraw);
  return {
    box,
    plot,
    update: (next) => plot.setData(next),
    close() {
      watcher.disconnect();
      document.removeEventListener('looptape-theme', redraw);
      plot.destroy();
    },
  };
}

// Times beside an axis, as everywhere here: the day below where it begins.
function axisTimes(_, places, __, ___, apart) {
  let before = null;
  return places.map((seconds) => {
    if (seconds === null) return null;
    const [day, time] = clock(seconds * 1000).split(' ');
    const says = apart >= 86_400 ? day.slice(5) : `${time.slice(0, apart < 60 ? 8 : 5)}${day === before ? '' : `\n${day}`}`;
    before = day;
    return says;
  });
}

// A small line without axes. `mark`: the place of a point to stand out.
export function sparkline(values, { width = 72, height = 18, mark = null } = {}) {
  const most = Math.max(...values, 0) || 1;
  const at = (value, place) => [
    values.length < 2 ? width / 2 : 2 + (place * (width - 4)) / (values.length - 1),
    height - 2 - (value / most) * (height - 4),
  ];
  const dot = mark !== null && mark >= 0 && at(values[mark], mark);
  return svg(
    'svg',
    { class: 'sparkline', width, height, 'aria-hidden': 'true' },
    svg('polyline', { points: values.map((value, place) => at(value, place).join(',')).join(' ') }),
    dot && svg('circle', { cx: dot[0], cy: dot[1], r: 2.5 }),
  );
}
