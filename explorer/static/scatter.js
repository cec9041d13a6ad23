// Blind against membership score, one WebGL point per clip; marks on top are plain elements that move without a redraw.
import { fixed, h, known, score, span, ticks } from './common.js';

let plotly;

/** Load plotly.js once; keep our own reference, whatever else a page puts on `window`. */
export function loadPlotly(files) {
  plotly ??= new Promise((resolve, reject) => {
    if (window.Plotly) return resolve(window.Plotly);
    // The page's head may have asked for it already, see `early` in site.py.
    const script = document.getElementById('plotly') ?? document.head.appendChild(h('script', { src: `${files}/plotly.min.js` }));
    script.addEventListener('load', () => resolve(window.Plotly));
    script.addEventListener('error', () => reject(new Error('The chart library could not be loaded; reload the page.')));
  });
  return plotly;
}

const ink = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
const MARGIN = 0.03; // of an axis, beyond its ends, so that points there are whole
const MANY = 1000; // points of a class from which they are drawn smaller

export class Scatter {
  constructor(host, { onPick }) {
    this.host = host;
    this.onPick = onPick;
    this.chart = h('div', { class: 'plot' });
    this.ring = h('div', { class: 'ring', hidden: true });
    this.line = h('div', { class: 'level', hidden: true });
    host.append(this.chart, this.line, this.ring);
  }

  async start(files) {
    this.plotly = await loadPlotly(files);
  }

  /** The first drawing makes the chart; only then has it events. */
  async make(traces) {
    await this.plotly.newPlot(this.chart, traces, this.layout(), { responsive: true, displaylogo: false, displayModeBar: false });
    this.made = true;
    this.chart.on('plotly_click', (event) => {
      const hit = event.points.find((point) => point.customdata !== undefined);
      if (hit) this.onPick(hit.customdata);
    });
    for (const name of ['plotly_relayout', 'plotly_afterplot']) this.chart.on(name, () => this.place());
    new MutationObserver(() => this.recolour()).observe(document.body, { attributes: true, attributeFilter: ['class'] });
  }

  layout() {
    // A zoom is kept for as long as the axis has the same ends.
    const axis = (title, [low, high]) => ({
      title: { text: title, font: { size: 13, color: ink('--muted') }, standoff: 8 }, uirevision: `${low} ${high}`,
      range: [low - MARGIN * (high - low), high + MARGIN * (high - low)], tickvals: ticks(low, high),
      gridcolor: ink('--line'), zeroline: false, tickfont: { size: 12, color: ink('--muted') },
    });
    return {
      margin: { l: 52, r: 12, t: 8, b: 48 }, hovermode: 'closest', showlegend: false, uirevision: 'same', dragmode: 'zoom',
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: { family: 'system-ui, sans-serif' },
      xaxis: axis(this.xTitle ?? 'blind score', [0, 1]), yaxis: axis('membership score', span(this.points.y)),
      hoverlabel: { bgcolor: ink('--ground'), bordercolor: ink('--line'), font: { color: ink('--ink'), size: 13 } },
    };
  }

  /** `points`: {x, y, labels, ids, shown (Set of indices or null), wrong (indices to ring)}; one canonical index per clip throughout. */
  async set(points, xTitle) {
    this.points = points;
    this.xTitle = xTitle;
    const traces = [this.trace(0), this.trace(1), this.wrongTrace()];
    if (this.made) await this.plotly.react(this.chart, traces, this.layout());
    else await this.make(traces);
    this.place();
  }

  trace(label) {
    const { x, y, labels, ids, shown } = this.points;
    const index = [...ids.keys()].filter((i) => labels[i] === label && y[i] !== null && x[i] !== null);
    const colour = label ? '#D55E00' : ink('--nonmember');
    // Thousands of points are drawn smaller, so that they stay points; one opacity for all is many times faster than one each.
    const size = index.length > MANY ? 5 : 8;
    return {
      type: 'scattergl', mode: 'markers', x: index.map((i) => x[i]), y: index.map((i) => y[i]), customdata: index,
      text: index.map((i) => `${ids[i]}<br>blind ${fixed(x[i])}, membership ${score(y[i])}`),
      hovertemplate: `%{text}<extra>${label ? 'member' : 'non-member'}</extra>`,
      marker: {
        size, color: label ? colour : 'rgba(0,0,0,0)', line: { width: label ? 0 : size > 6 ? 1.5 : 1, color: colour },
        opacity: shown ? index.map((i) => (shown.has(i) ? 0.72 : 0.06)) : 0.72,
      },
    };
  }

  wrongTrace() {
    const { x, y, wrong: index } = this.points;
    return {
      type: 'scattergl', mode: 'markers', x: index.map((i) => x[i]), y: index.map((i) => y[i]), hoverinfo: 'skip',
      marker: { ...(index.length > MANY ? { size: 8, opacity: 0.3 } : { size: 14, opacity: 0.5 }), color: 'rgba(0,0,0,0)', line: { width: 1, color: ink('--ink') } },
    };
  }

  /** Ring the clips that the rule gets wrong. */
  wrong(index) {
    if (!this.made) return;
    this.points.wrong = index;
    const { x, y, marker } = this.wrongTrace();
    this.plotly.restyle(this.chart, { x: [x], y: [y], marker: [marker] }, [2]);
  }

  recolour() {
    if (this.made) this.set(this.points, this.xTitle);
  }

  select(index) {
    this.selected = index;
    this.place();
  }

  level(threshold) {
    this.threshold = threshold;
    this.place();
  }

  /** Put ring and threshold line where the axes now are. */
  place() {
    const layout = this.chart._fullLayout;
    if (!layout?.xaxis || !this.points) return;
    const { xaxis, yaxis } = layout;
    const y = (value) => yaxis._offset + yaxis.d2p(value);
    const inside = (value, axis) => value >= Math.min(...axis.range) && value <= Math.max(...axis.range);
    const at = this.selected;
    const show = at !== null && at !== undefined && this.points.y[at] !== null && inside(this.points.x[at], xaxis) && inside(this.points.y[at], yaxis);
    this.ring.hidden = !show;
    if (show) this.ring.style.transform = `translate(${xaxis._offset + xaxis.d2p(this.points.x[at])}px, ${y(this.points.y[at])}px)`;
    this.line.hidden = !known(this.threshold) || !inside(this.threshold, yaxis);
    if (!this.line.hidden) {
      this.line.style.transform = `translateY(${y(this.threshold)}px)`;
      this.line.style.left = `${xaxis._offset}px`;
      this.line.style.width = `${xaxis._length}px`;
    }
  }
}
