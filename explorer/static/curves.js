// Histogram and ROC as SVG: small, sharp, coloured by the style sheet, moved without redrawing.
import { clamp, curveIndex, fixed, h, known, percent, rocBand, score, span, ticks } from './common.js';

const MARGIN = { left: 44, right: 12, top: 12, bottom: 36 };
const BINS = 40;

function frame(host, height) {
  const width = Math.max(240, host.clientWidth);
  const svg = h('svg', { width: '100%', height, viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' });
  const inner = { x0: MARGIN.left, x1: width - MARGIN.right, y0: height - MARGIN.bottom, y1: MARGIN.top };
  return { svg, inner, x: (v) => inner.x0 + v * (inner.x1 - inner.x0), y: (v) => inner.y0 + v * (inner.y1 - inner.y0) };
}

function axes(plot, xTitle, yTitle, yTicks, [low, high] = [0, 1]) {
  const { svg, inner, x, y } = plot;
  for (const tick of ticks(low, high)) {
    const at = x((tick - low) / (high - low));
    svg.append(h('line', { class: 'grid', x1: at, x2: at, y1: inner.y0, y2: inner.y1 }));
    svg.append(h('text', { class: 'tick', x: at, y: inner.y0 + 16, 'text-anchor': 'middle' }, tick.toString()));
  }
  for (const [value, label] of yTicks) {
    svg.append(h('line', { class: 'grid', x1: inner.x0, x2: inner.x1, y1: y(value), y2: y(value) }));
    svg.append(h('text', { class: 'tick', x: inner.x0 - 6, y: y(value) + 4, 'text-anchor': 'end' }, label));
  }
  svg.append(h('text', { class: 'axis', x: (inner.x0 + inner.x1) / 2, y: inner.y0 + 32, 'text-anchor': 'middle' }, xTitle));
  svg.append(h('text', { class: 'axis', x: inner.x0, y: inner.y1 - 2, 'text-anchor': 'start' }, yTitle));
}

/** Call `move` with the position in the plot (0 to 1, from the left) while a pointer drags over `host`. */
function draggable(host, plot, move) {
  const { inner } = plot();
  let held = false;
  const at = (event) => {
    const box = host.getBoundingClientRect();
    const now = plot().inner ?? inner;
    return clamp((event.clientX - box.left - now.x0) / (now.x1 - now.x0), 0, 1);
  };
  host.addEventListener('pointerdown', (event) => {
    held = true;
    host.setPointerCapture(event.pointerId);
    move(at(event));
    event.preventDefault();
  });
  host.addEventListener('pointermove', (event) => held && move(at(event)));
  for (const name of ['pointerup', 'pointercancel']) host.addEventListener(name, () => { held = false; });
}

const redrawn = (host, draw) => new ResizeObserver(draw).observe(host);

/** Share of each class in each bin of `place`, which puts a score between 0 and 1. */
function binned(scores, labels, place) {
  const counts = [new Array(BINS).fill(0), new Array(BINS).fill(0)];
  const totals = [0, 0];
  scores.forEach((value, i) => {
    if (!known(value)) return;
    counts[labels[i]][Math.min(BINS - 1, Math.floor(place(value) * BINS))] += 1;
    totals[labels[i]] += 1;
  });
  return counts.map((row, label) => row.map((count) => count / Math.max(1, totals[label])));
}

function outline(shares, top, plot) {
  const { x, y } = plot;
  let path = `M${x(0)},${y(0)}`;
  shares.forEach((share, i) => { path += `V${y(share / top)}H${x((i + 1) / BINS)}`; });
  return `${path}V${y(0)}`;
}

/** Histogram of scores by class with a movable line; `pins` are further scores to mark. */
export class Histogram {
  constructor(host, onThreshold) {
    this.host = host;
    this.data = null;
    redrawn(host, () => this.draw());
    if (!onThreshold) return;
    this.plot = frame(host, host.clientHeight || 220);
    draggable(host, () => this.plot, (place) => this.data && onThreshold(this.at(place)));
  }

  set(scores, labels, pins = []) {
    this.data = { ends: span([...scores, ...pins.map(({ value }) => value)]), pins };
    this.data.shares = binned(scores, labels, (value) => this.place(value));
    this.draw();
  }

  /** Where a score lies between the ends of the axis, 0 to 1. */
  place(value) {
    const [low, high] = this.data.ends;
    return clamp((value - low) / (high - low), 0, 1);
  }

  /** The score at a place between the ends of the axis. */
  at(place) {
    const [low, high] = this.data.ends;
    return low + place * (high - low);
  }

  draw() {
    if (!this.data) return;
    const plot = this.plot = frame(this.host, this.host.clientHeight || 220);
    const top = Math.max(...this.data.shares.flat(), 1e-9);
    axes(plot, 'membership score', 'share of its class', [[0, '0'], [1, percent(top)]], this.data.ends);
    plot.svg.append(h('path', { class: 'bar member', d: outline(this.data.shares[1], top, plot) }));
    plot.svg.append(h('path', { class: 'bar nonmember', d: outline(this.data.shares[0], top, plot) }));
    this.line = h('g', { class: 'threshold' }, h('line', { x1: 0, x2: 0, y1: plot.inner.y0, y2: plot.inner.y1 }));
    plot.svg.append(this.line);
    for (const pin of this.data.pins) plot.svg.append(this.pin(plot, pin));
    this.host.replaceChildren(plot.svg);
    this.move(this.threshold);
  }

  pin(plot, { value, label }) {
    const at = this.place(value);
    const x = plot.x(at);
    const anchor = at > 0.75 ? 'end' : at < 0.25 ? 'start' : 'middle';
    return h('g', { class: 'pin' },
      h('line', { x1: x, x2: x, y1: plot.inner.y0, y2: plot.inner.y1 + 26 }),
      h('circle', { cx: x, cy: plot.inner.y1 + 26, r: 5 }),
      h('text', { x, y: plot.inner.y1 + 16, 'text-anchor': anchor }, label));
  }

  move(threshold) {
    this.threshold = threshold;
    if (!this.line) return;
    this.line.style.display = known(threshold) ? '' : 'none';
    if (known(threshold)) this.line.style.transform = `translateX(${this.plot.x(this.place(threshold))}px)`;
  }
}

/** ROC curve with a dot that is the threshold; other curves stand behind it, each named with its AUC. */
export class Roc {
  constructor(host, onThreshold) {
    this.host = host;
    this.plot = frame(host, host.clientHeight || 220);
    redrawn(host, () => this.draw());
    draggable(host, () => this.plot, (rate) => this.curve && onThreshold(this.nearest(rate)));
  }

  /** Threshold of the highest point of the curve at this false-positive rate. */
  nearest(rate) {
    const { fp, threshold, nonmembers } = this.curve;
    let index = 0;
    while (index + 1 < fp.length && fp[index + 1] <= rate * nonmembers + 1e-9) index += 1;
    return threshold[index];
  }

  /** `label` names the curve; `others`: {kind, label, curve} of further ones, which nothing moves along. */
  set(curve, label = '', others = []) {
    Object.assign(this, { curve, label, others });
    this.draw();
  }

  line(kind, { tp, fp, members, nonmembers }) {
    const points = [];
    let [lastX, lastY] = [-1, -1];
    tp.forEach((count, i) => {
      const x = this.plot.x(fp[i] / Math.max(1e-9, nonmembers));
      const y = this.plot.y(count / Math.max(1e-9, members));
      // Thousands of steps finer than half a pixel would be drawn on top of each other.
      if (Math.abs(x - lastX) + Math.abs(y - lastY) < 0.5 && i < tp.length - 1) return;
      points.push(`${x.toFixed(1)},${y.toFixed(1)}`);
      [lastX, lastY] = [x, y];
    });
    return h('polyline', { class: `curve ${kind}`, points: points.join(' ') });
  }

  /** Names beside a piece of their lines, below the diagonal, where curves seldom are. */
  names(rows) {
    const { inner } = this.plot;
    return rows.map(({ kind, label }, i) => {
      const y = inner.y0 - 12 - 18 * (rows.length - 1 - i);
      return h('g', { class: 'name' }, h('text', { x: inner.x1 - 34, y: y + 4, 'text-anchor': 'end' }, label),
        h('line', { class: `curve ${kind}`, x1: inner.x1 - 28, x2: inner.x1 - 4, y1: y, y2: y }));
    });
  }

  draw() {
    if (!this.curve) return;
    const plot = this.plot = frame(this.host, this.host.clientHeight || 220);
    axes(plot, 'non-members wrongly flagged', 'members caught', [[0, '0'], [0.5, '0.5'], [1, '1']]);
    plot.svg.append(h('line', { class: 'chance', x1: plot.x(0), y1: plot.y(0), x2: plot.x(1), y2: plot.y(1) }));
    if (this.curve.members && this.curve.nonmembers) {
      const band = rocBand(this.curve).map(([fp, tp]) => `${plot.x(fp).toFixed(1)},${plot.y(tp).toFixed(1)}`);
      plot.svg.append(h('path', { class: 'band', d: `M${band.join('L')}Z` }));
    }
    plot.svg.append(...this.others.map(({ kind, curve }) => this.line(kind, curve)), this.line('raw', this.curve));
    if (this.label) plot.svg.append(...this.names([{ kind: 'raw', label: this.label }, ...this.others]));
    this.dot = h('circle', { class: 'dot', r: 7, cx: 0, cy: 0 });
    plot.svg.append(this.dot);
    this.host.replaceChildren(plot.svg);
    this.move(this.threshold ?? Infinity);
  }

  move(threshold) {
    this.threshold = threshold;
    if (!this.curve || !this.dot) return;
    const at = curveIndex(this.curve, threshold);
    const x = this.plot.x(this.curve.fp[at] / Math.max(1, this.curve.nonmembers));
    const y = this.plot.y(this.curve.tp[at] / Math.max(1, this.curve.members));
    this.dot.style.transform = `translate(${x}px, ${y}px)`;
  }
}

/** Text alternatives that carry the numbers of the two charts. */
export function describeHistogram([others, members], threshold) {
  return `Histogram of membership scores. Median of members ${fixed(members)}, of non-members ${fixed(others)}; ` +
    `threshold ${score(threshold)}.`;
}

/** Medians of both classes, non-members first. */
export function medians(scores, labels) {
  return [0, 1].map((label) => {
    const values = scores.filter((v, i) => known(v) && labels[i] === label).sort((a, b) => a - b);
    return values.length ? values[values.length >> 1] : NaN;
  });
}

export function describeRoc(curve, index, others = []) {
  const further = others.length ? ` Beside it: ${others.map(({ label }) => label).join('; ')}.` : '';
  return `ROC curve, area ${fixed(curve.auc)}. At the threshold ${percent(curve.tp[index] / Math.max(1, curve.members))} of members ` +
    `are caught and ${percent(curve.fp[index] / Math.max(1, curve.nonmembers))} of non-members wrongly flagged.${further}`;
}
