'use strict';
// Draws the plots of a report: the data is in the page, the library before this script. A plot is drawn when it comes
// into view, again when its width or the colours change. Places along one time axis are pointed at together.
(() => {
  const plots = JSON.parse(document.getElementById('plots').textContent);
  const HEIGHT = 220;
  const DASHES = { reference: [6, 4], second: [10, 3], third: [2, 3] };
  const MS = { s: 1000, m: 60000, h: 3600000 };

  const two = (n) => String(Math.floor(n)).padStart(2, '0');
  const short = (n) => String(Number(n.toPrecision(3)));
  const clock = (s) => {
    const whole = Math.round(s);
    const [h, m] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    return h ? `${h}:${two(m)}:${two(whole % 60)}` : `${m}:${two(whole % 60)}`;
  };
  const duration = (ms) => {
    if (ms === 0) return '0';
    if (ms < 1000) return `${short(ms)} ms`;
    if (ms < MS.m) return `${short(ms / MS.s)} s`;
    const whole = Math.round(ms / MS.s);
    return ms < MS.h
      ? `${Math.floor(whole / 60)}m${two(whole % 60)}s`
      : `${Math.floor(whole / 3600)}h${two((whole / 60) % 60)}m`;
  };
  const large = (n) => {
    if (Math.abs(n) >= 1e6) return `${short(n / 1e6)}M`;
    return Math.abs(n) >= 1e4 ? `${short(n / 1e3)}k` : short(n);
  };
  const WRITTEN = {
    time: clock,
    duration,
    count: large,
    rate: large,
    usd: (usd) => `$${short(usd)}`,
    share: (part) => `${short(part * 100)} %`,
  };
  // Steps that people count time in.
  const TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  const STEPS = {
    time: TIMES,
    duration: [1, 2, 5, 10, 20, 50, 100, 200, 500, ...TIMES.map((s) => s * 1000)],
  };
  // Of an axis whose steps are factors: round times, as far from each other as there is room for names.
  const ROUND = [0.1, 0.3, 1, 3, 10, 30, 100, 300, ...[1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10800, 36000, 86400].map((s) => s * 1000)];
  const factors = (_, __, least, most) => ROUND.filter((at) => at >= least && at <= most);

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  const axis = (of, side) => ({
    stroke: color('quiet'),
    grid: { stroke: color('line'), width: 1 },
    ticks: { stroke: color('line'), width: 1 },
    font: '12px system-ui, sans-serif',
    size: side === 'y' ? 64 : 34,
    values: (_, places) => places.map((at) => (at === null ? '' : WRITTEN[of.unit](at))),
    ...(of.is_log ? { splits: factors, filter: (_, places) => places } : STEPS[of.unit] ? { incrs: STEPS[of.unit] } : {}),
  });

  const series = (line) => ({
    label: line.name,
    stroke: color(line.ink),
    width: 2,
    dash: DASHES[line.ink],
    spanGaps: false,
    points: { show: line.shape === 'points' ? true : undefined, size: 7, fill: color(line.ink) },
    ...(line.shape === 'steps'
      ? { paths: uPlot.paths.stepped({ align: 1 }), fill: `color-mix(in srgb, ${color(line.ink)} 25%, transparent)` }
      : {}),
  });

  // Named places: a line from top to bottom, the name beside it.
  const marks = (places) => (u) => {
    const { ctx, bbox } = u;
    const scale = devicePixelRatio;
    ctx.save();
    ctx.font = `${11 * scale}px system-ui, sans-serif`;
    ctx.textBaseline = 'top';
    ctx.textAlign = 'left';
    ctx.strokeStyle = ctx.fillStyle = color('quiet');
    ctx.lineWidth = scale;
    // Names that would run into each other stand below each other.
    const ends = [];
    for (const { at, label } of places) {
      const x = u.valToPos(at, 'x', true);
      if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) continue;
      ctx.setLineDash([3 * scale, 3 * scale]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const width = ctx.measureText(label).width;
      const room = bbox.left + bbox.width;
      const left = x + 4 * scale + width > room ? x - 4 * scale - width : x + 4 * scale;
      const free = ends.findIndex((end) => end <= left);
      const row = free < 0 ? ends.length : free;
      ctx.fillText(label, left, bbox.top + (2 + 13 * row) * scale);
      ends[row] = left + width + 6 * scale;
    }
    ctx.restore();
  };

  const options = (plot, width) => ({
    width,
    height: HEIGHT,
    scales: {
      x: { time: false, distr: plot.x.is_log ? 3 : 1 },
      y: { distr: plot.y.is_log ? 3 : 1, range: plot.y.is_log ? undefined : (_, __, most) => [0, most > 0 ? most * 1.1 : 1] },
    },
    axes: [axis(plot.x, 'x'), axis(plot.y, 'y')],
    series: [{ label: plot.x.label, value: (_, at) => (at === null ? '–' : WRITTEN[plot.x.unit](at)) }].concat(
      plot.lines.map((line) => ({
        ...series(line),
        value: (_, at) => (at === null || at === undefined ? '–' : WRITTEN[plot.y.unit](at)),
      })),
    ),
    cursor: { drag: { x: true, y: false }, ...(plot.x.unit === 'time' ? { sync: { key: 'time' } } : {}) },
    hooks: { draw: [marks(plot.marks)] },
  });

  const drawn = new Map();
  const draw = (place) => {
    const plot = plots[Number(place.dataset.plot)];
    const width = Math.floor(place.clientWidth);
    if (!plot || width === 0) return;
    drawn.get(place)?.destroy();
    drawn.set(place, new uPlot(options(plot, width), [plot.xs, ...plot.lines.map((line) => line.values)], place));
  };

  const places = [...document.querySelectorAll('[data-plot]')];
  const seen = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting && !drawn.has(target)) draw(target);
      }
    },
    { rootMargin: '400px' },
  );
  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const plot = drawn.get(target);
      const width = Math.floor(target.clientWidth);
      if (plot && width > 0 && width !== plot.width) plot.setSize({ width, height: HEIGHT });
    }
  });
  for (const place of places) {
    seen.observe(place);
    sized.observe(place);
  }
  const redraw = () => [...drawn.keys()].forEach(draw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  // Whoever prints sees all of it.
  addEventListener('beforeprint', () => places.filter((place) => !drawn.has(place)).forEach(draw));
})();
