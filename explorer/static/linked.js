// The Dataset page: one state, kept in the address; every chart, the clip and the table follow it.
import {
  address, curveIndex, debounce, fixed, h, known, rocCurve, ruleSentence, score, span, thresholdAtRate, withInterval,
} from './common.js';
import { Histogram, Roc, describeHistogram, describeRoc, medians } from './curves.js';
import { Scatter } from './scatter.js';
import { ClipPanel } from './clip.js';
import { Pairs } from './pairs.js';
import { unpacked } from './packed.js';

const DEFAULT_RATE = 0.05;
const CHOICES = ['dataset', 'target', 'family', 'input', 'text', 'fit'];

export class Linked {
  constructor(element, { files, catalog, server, trigger }) {
    Object.assign(this, { element, files, catalog, server, trigger });
    this.cache = new Map();
    this.state = {};
    this.from = 0;
    this.turn = 0;
  }

  part(name) { return this.element.querySelector(`[data-part="${name}"]`); }

  async start() {
    this.buildControls();
    this.readAddress();
    this.scatter = new Scatter(this.part('scatter'), { onPick: (i) => this.pick(i, { play: true }) });
    this.histogram = new Histogram(this.part('histogram'), (value) => this.moveThreshold(value));
    this.roc = new Roc(this.part('roc'), (value) => this.moveThreshold(value));
    this.panel = new ClipPanel(this.part('clip'), this.catalog, this.server, {
      input: (k) => this.change({ input: k }), step: (way) => this.step(way), close: () => this.pick(null),
    });
    this.pairs = new Pairs(this.part('pairs'), this.server, { open: (i) => this.pick(i), moved: () => this.writeAddress() });
    this.settled = debounce(() => { this.ringWrong(); this.applyFilter(); this.writeAddress(); }, 120);
    this.sendTable = debounce(() => this.trigger(this.tableRequest()), 250);
    window.addEventListener('popstate', () => { this.readAddress(); this.refresh({ play: false }); });
    document.addEventListener('keydown', (event) => this.key(event));
    this.plotted = this.scatter.start(address(this.files));
    this.plotted.catch(() => null);
    await this.refresh({ play: false });
    this.ready = true;
    this.element.dataset.ready = 'true';
  }

  // ---- state and address -------------------------------------------------------------------------

  readAddress() {
    const query = new URLSearchParams(location.search);
    const { datasets, targets, inputs, texts, fits } = this.catalog;
    const among = (names, name) => (names.includes(name) ? name : names[0]);
    const s = this.state;
    s.dataset = Math.max(0, datasets.findIndex((row) => row.name === query.get('dataset')));
    const own = datasets[s.dataset].targets;
    s.target = own.find((t) => targets[t].name === query.get('target')) ?? own[0] ?? 0;
    s.input = Math.max(0, inputs.findIndex((row) => row.key === query.get('condition')));
    s.text = among(texts, query.get('text'));
    s.fit = among(Object.keys(fits), query.get('fit'));
    s.family = query.get('blind') ?? Object.keys(datasets[s.dataset].families)[0];
    s.clipId = query.get('clip');
    s.pair = Math.max(0, Number.parseInt(query.get('pair') ?? '1', 10) - 1 || 0);
    s.threshold = query.get('threshold') === null ? null : Number.parseFloat(query.get('threshold'));
    if (!Number.isFinite(s.threshold)) s.threshold = null;
    Object.assign(s, { q: query.get('q') ?? '', label: query.get('label') ?? 'all', outcome: query.get('outcome') ?? 'all', sort: query.get('sort') ?? 'score' });
    this.showChoices();
  }

  address() {
    const { datasets, targets, inputs } = this.catalog;
    const s = this.state;
    const query = new URLSearchParams({ dataset: datasets[s.dataset].name, target: targets[s.target].name });
    const put = (name, value, usual) => value !== usual && value !== null && value !== '' && query.set(name, value);
    put('condition', inputs[s.input].key, inputs[0].key);
    put('text', s.text, this.catalog.texts[0]);
    put('fit', s.fit, Object.keys(this.catalog.fits)[0]);
    put('blind', s.family, Object.keys(datasets[s.dataset].families)[0]);
    put('threshold', s.threshold === null ? null : score(s.threshold), null);
    put('q', s.q, '');
    put('label', s.label, 'all');
    put('outcome', s.outcome, 'all');
    put('sort', s.sort, 'score');
    put('clip', s.clipId, null);
    put('pair', (this.pairs?.at ?? s.pair) + 1, 1);
    return `${location.pathname}?${query}`;
  }

  writeAddress(push = false) {
    const url = this.address();
    if (url !== location.pathname + location.search) history[push ? 'pushState' : 'replaceState'](null, '', url);
  }

  // ---- controls ----------------------------------------------------------------------------------

  buildControls() {
    const { datasets, fits } = this.catalog;
    this.fill('dataset', datasets.map((row, d) => [d, row.label]));
    this.fill('fit', Object.entries(fits).map(([name, row]) => [name, row.label]));
    for (const name of CHOICES) {
      this.part(name).addEventListener('change', (event) => {
        const value = event.target.value;
        this.change({ [name]: ['dataset', 'target', 'input'].includes(name) ? Number(value) : value });
      });
    }
    for (const name of ['label', 'outcome', 'sort']) this.part(name).addEventListener('change', (event) => this.filterBy({ [name]: event.target.value }));
    this.part('search').addEventListener('input', debounce((event) => this.filterBy({ q: event.target.value }), 150));
    this.part('range').addEventListener('input', (event) => this.moveThreshold(Number(event.target.value)));
    for (const button of this.element.querySelectorAll('[data-rate]')) {
      button.addEventListener('click', () => this.moveThreshold(thresholdAtRate(this.curve, Number(button.dataset.rate))));
    }
    this.part('download').addEventListener('click', () => this.download());
    this.part('rows-back').addEventListener('click', () => this.turnTable(-1));
    this.part('rows-on').addEventListener('click', () => this.turnTable(1));
    this.part('search').addEventListener('focus', () => this.texts().catch(() => null));
  }

  fill(name, rows) { this.part(name).replaceChildren(...rows.map(([value, label]) => h('option', { value }, label))); }

  /** The dataset chosen, whose words (transcript or caption, voice or rendering) the page uses. */
  get dataset() { return this.catalog.datasets[this.state.dataset]; }

  showChoices() {
    const { state: s, dataset } = this;
    this.fill('target', dataset.targets.map((t) => [t, this.catalog.targets[t].name]));
    this.fill('family', Object.entries(dataset.families));
    this.fill('input', dataset.inputs.map((label, k) => [k, label]));
    this.fill('text', Object.entries(dataset.texts));
    this.part('search').placeholder = `name or ${dataset.word}`;
    if (!(s.family in dataset.families)) [s.family] = Object.keys(dataset.families);
    if (!dataset.targets.includes(s.target)) [s.target] = dataset.targets;
    for (const name of CHOICES) this.part(name).value = String(s[name]);
    for (const name of ['label', 'outcome', 'sort']) this.part(name).value = s[name];
    this.part('search').value = s.q;
  }

  /** A choice was made: it goes into the history, so that the back button undoes it. */
  async change(choice) {
    const elsewhere = 'dataset' in choice && choice.dataset !== this.state.dataset;
    if ('input' in choice && !elsewhere) this.panel.hear(choice.input);
    Object.assign(this.state, choice);
    if (elsewhere) {
      Object.assign(this.state, { clipId: null, threshold: null, pair: 0 });
      this.pairs.at = 0;
    }
    if ('target' in choice || 'text' in choice || 'fit' in choice) this.state.threshold = null;
    this.showChoices();
    this.writeAddress(true);
    await this.refresh({ play: false });
  }

  // ---- data --------------------------------------------------------------------------------------

  /** A column file, built by the server when first asked for and kept here. */
  async load(kind, ...numbers) {
    const key = [kind, ...numbers].join('-');
    if (!this.cache.has(key)) {
      this.cache.set(key, this.server[kind](numbers).then(async (url) => {
        const answer = await fetch(address(url));
        if (!answer.ok) throw new Error('The scores could not be loaded.');
        return unpacked[kind](await answer.json());
      }));
      this.cache.get(key).catch(() => this.cache.delete(key));
    }
    return this.cache.get(key);
  }

  async refresh({ play }) {
    const turn = ++this.turn;
    const { dataset: d, target: t, input: k } = this.state;
    this.element.setAttribute('aria-busy', 'true');
    try {
      const [base, columns] = await Promise.all([this.load('clips', d), this.load('scores', d, t, k, ...this.scored()), this.state.q && this.texts()]);
      if (turn !== this.turn) return;
      Object.assign(this, { base, columns });
      await this.drawAll(play);
      this.error('');
    } catch (error) {
      if (turn === this.turn) this.error(`This view could not be loaded: ${error.message ?? error}. Reload the page to try again.`);
    } finally {
      if (turn === this.turn) this.element.setAttribute('aria-busy', 'false');
    }
    if (turn === this.turn) this.prefetch(turn);
  }

  /** Bring the other conditions in while the reader looks, so that switching is immediate. */
  async prefetch(turn) {
    for (let k = 0; k < this.catalog.inputs.length && turn === this.turn; k += 1) {
      await this.load('scores', this.state.dataset, this.state.target, k, ...this.scored()).catch(() => null);
    }
  }

  /** Numbers of the scored text and of the fit. */
  scored() { return [this.catalog.texts.indexOf(this.state.text), Object.keys(this.catalog.fits).indexOf(this.state.fit)]; }

  /** The known texts of the dataset, which only a search or a download needs. */
  async texts() {
    const d = this.state.dataset;
    const [base, texts] = await Promise.all([this.load('clips', d), this.load('texts', d)]);
    base.text = texts;
  }

  error(sentence) {
    this.part('error').textContent = sentence;
    this.part('error').hidden = !sentence;
  }

  get scores() {
    return this.columns.values ?? new Array(this.base.id.length).fill(null);
  }

  get blind() { return this.base.blind[this.state.family]; }

  async drawAll(play) {
    const s = this.state;
    this.values = this.scores;
    this.medians = medians(this.values, this.base.label);
    this.curve = rocCurve(this.values, this.base.label);
    if (s.threshold === null) s.threshold = thresholdAtRate(this.curve, DEFAULT_RATE);
    this.drawVerdict();
    this.filter();
    this.histogram.set(this.values, this.base.label);
    const [low, high] = span(this.values);
    Object.assign(this.part('range'), { min: low, max: high, step: (high - low) / 1000 });
    this.others = this.otherCurves();
    this.roc.set(this.curve, `raw ${withInterval(this.columns.auc)}`, this.others);
    this.drawThreshold();
    this.drawHeadings();
    this.drawClip(play);
    this.pairs.set(this.view(), s.pair);
    this.sendTable();
    await this.plotted;
    await this.drawScatter();
  }

  drawScatter() {
    const points = { x: this.blind, y: this.values, labels: this.base.label, ids: this.base.id, shown: this.filtering ? this.shown : null, wrong: this.wrong() };
    return this.scatter.set(points, `blind score: ${this.dataset.families[this.state.family]}`);
  }

  drawVerdict() {
    const { datasets, targets, verdicts } = this.catalog;
    const { dataset: d, target: t } = this.state;
    const row = verdicts[`${d}.${t}`];
    const badge = this.part('badge');
    badge.textContent = row?.verdict ?? 'NO VERDICT';
    badge.className = `badge ${(row?.verdict ?? 'none').toLowerCase().replaceAll(' ', '-')}`;
    this.part('sentence').textContent = row?.sentence ?? 'This bundle holds no verdict for this pair.';
    this.drawWhy(d, t);
    const truth = datasets[d].truth;
    this.part('truth-line').textContent = truth ? `Planted truth: ${truth}` : 'No planted truth: nobody knows the answer here.';
    this.part('about').textContent = `${datasets[d].title}. ${datasets[d].description}`;
    this.part('heading').textContent = `${datasets[d].name} × ${targets[t].name}`;
  }

  /** The questions behind the verdict, ready HTML from the server, where every name is escaped. */
  async drawWhy(d, t) {
    const query = new URLSearchParams({ dataset: this.catalog.datasets[d].name, target: this.catalog.targets[t].name });
    this.part('evidence').href = address(`/evidence?${query}`);
    if (this.asked === `${d}.${t}`) return;
    this.asked = `${d}.${t}`;
    const html = await this.server.why([d, t]).catch(() => '');
    if (this.asked === `${d}.${t}`) this.part('why').innerHTML = html;
  }

  /** Curves beside the raw one: the shift-adjusted attack, where it is the same clips' and text's, and blind features. */
  otherCurves() {
    const { family, dataset, target } = this.state;
    const { base, columns } = this;
    const others = [];
    if (columns.adjusted && base.weight) {
      const label = `adjusted ${withInterval(this.catalog.verdicts[`${dataset}.${target}`]?.adjusted)}`;
      others.push({ kind: 'adjusted', label, curve: rocCurve(columns.adjusted, base.label, base.weight) });
    }
    if (this.blind) others.push({ kind: 'blind', label: `blind ${withInterval(base.blind_auc[family])}`, curve: rocCurve(this.blind, base.label) });
    return others;
  }

  drawHeadings() {
    const { auc } = this.columns;
    const blind = this.base.blind_auc[this.state.family];
    const noScore = this.values.every((value) => !known(value));
    this.part('scatter-title').textContent = noScore ? 'No score exists for this choice' : scatterFinding(auc, blind);
    this.part('scatter-note').textContent = `membership AUC ${withInterval(auc)}, blind AUC ${withInterval(blind)}; ` +
      `${this.curve.members} members, ${this.curve.nonmembers} non-members with a score`;
    const missing = this.base.id.length - this.curve.members - this.curve.nonmembers;
    this.part('missing').textContent = missing ? `Without a score here: ${missing} (no token written, or this text not scored).` : '';
    this.part('scatter').setAttribute('aria-label', `Scatter of ${this.curve.members} members and ${this.curve.nonmembers} non-members: blind score across, membership score up. ` +
      `Membership AUC ${withInterval(auc)}, blind AUC ${withInterval(blind)}. The table below lists every point.`);
    this.part('roc-title').textContent = this.rocFinding(auc);
  }

  /** The ROC's title is what it shows. */
  rocFinding(auc) {
    const row = this.catalog.verdicts[`${this.state.dataset}.${this.state.target}`];
    if (!known(auc?.auc_low) || this.others[0]?.kind !== 'adjusted') return `ROC, area ${fixed(this.curve.auc)}`;
    if (row?.adjusted.auc_low > 0.5 || ['LEAK', 'REVERSED'].includes(row?.verdict)) return 'The classes stay apart once what reaches the model is balanced';
    if (auc.auc_low > 0.5) return 'Nothing clear is left once what reaches the model is balanced';
    return 'Neither raw nor adjusted, the score is clearly above chance';
  }

  // ---- threshold ---------------------------------------------------------------------------------

  moveThreshold(value) {
    this.state.threshold = value;
    this.drawThreshold();
    this.settled();
  }

  drawThreshold() {
    const { threshold } = this.state;
    const at = curveIndex(this.curve, threshold);
    this.histogram.move(threshold);
    this.roc.move(threshold);
    this.scatter.level(threshold);
    this.part('rule').textContent = ruleSentence(this.curve, at);
    const range = this.part('range');
    range.value = String(Math.min(range.max, threshold));
    range.setAttribute('aria-valuetext', this.part('rule').textContent);
    this.part('histogram').setAttribute('aria-label', describeHistogram(this.medians, threshold));
    this.part('roc').setAttribute('aria-label', describeRoc(this.curve, at, this.others));
  }

  outcome(i) {
    const value = this.values[i];
    if (!known(value)) return 'none';
    const called = value >= this.state.threshold;
    if (this.base.label[i]) return called ? 'caught' : 'missed';
    return called ? 'flagged' : 'passed';
  }

  /** Clips that the rule gets wrong, of those the filter shows. */
  wrong() {
    const wrong = [];
    for (let i = 0; i < this.base.id.length; i += 1) if (['missed', 'flagged'].includes(this.outcome(i)) && known(this.blind[i])) wrong.push(i);
    return this.filtering ? wrong.filter((i) => this.shown.has(i)) : wrong;
  }

  ringWrong() { this.scatter.wrong(this.wrong()); }

  // ---- filter, order, table ----------------------------------------------------------------------

  get filtering() { return Boolean(this.state.q) || this.state.label !== 'all' || this.state.outcome !== 'all'; }

  filter() {
    const { q, label, outcome } = this.state;
    const wanted = q.trim().toLocaleLowerCase();
    const { id, text, label: labels } = this.base;
    const keep = (i) => (label === 'all' || labels[i] === (label === 'member' ? 1 : 0))
      && (outcome === 'all' || this.outcome(i) === outcome)
      && (!wanted || id[i].toLocaleLowerCase().includes(wanted) || (text?.[i] ?? '').toLocaleLowerCase().includes(wanted));
    this.rows = [...id.keys()].filter(keep).sort(this.order());
    this.shown = new Set(this.rows);
    this.from = 0;
    this.part('count').textContent = this.filtering ? `${this.rows.length} of ${id.length} clips` : `${id.length} clips`;
    this.part('none').hidden = this.rows.length > 0;
  }

  order() {
    const last = (value) => (known(value) ? value : -Infinity);
    const { values, blind, base } = this;
    return {
      score: (a, b) => last(values[b]) - last(values[a]) || a - b,
      low: (a, b) => last(values[a]) - last(values[b]) || a - b,
      blind: (a, b) => last(blind[b]) - last(blind[a]) || a - b,
      length: (a, b) => base.duration[b] - base.duration[a] || a - b,
      id: (a, b) => base.id[a].localeCompare(base.id[b]),
    }[this.state.sort] ?? ((a, b) => a - b);
  }

  async filterBy(choice) {
    Object.assign(this.state, choice);
    if (this.state.q && !this.base?.text) await this.texts().catch((error) => this.error(error.message));
    this.applyFilter();
    this.writeAddress();
  }

  applyFilter() {
    const before = this.rows?.join();
    this.filter();
    if (this.rows.join() === before) return;
    if (this.scatter.made) this.drawScatter();
    this.sendTable();
  }

  tableRequest() {
    const { dataset, target, input, text, fit, family } = this.state;
    const rows = this.rows.slice(this.from, this.from + this.catalog.tableRows);
    this.part('rows').textContent = rows.length ? `Rows ${this.from + 1} to ${this.from + rows.length}` : '';
    this.part('rows-back').disabled = !this.from;
    this.part('rows-on').disabled = this.from + rows.length >= this.rows.length;
    return { dataset, target, input, text, fit, family, rows };
  }

  /** Bring the next or the previous rows into the table. */
  turnTable(way) {
    this.from = Math.max(0, this.from + way * this.catalog.tableRows);
    this.trigger(this.tableRequest());
  }

  async download() {
    const s = this.state;
    await this.texts();
    const quote = (value) => `"${String(value ?? '').replaceAll('"', '""').replace(/^([=+\-@])/, "'$1")}"`;
    const head = ['clip_id', 'label', 'trained', 'duration_s', 'text', `blind_${s.family}`, 'membership_score', 'outcome_at_threshold'];
    const lines = this.rows.map((i) => [quote(this.base.id[i]), this.base.label[i], this.columns.trained?.[i] ?? '', this.base.duration[i],
      quote(this.base.text[i]), this.blind[i], this.values[i] ?? '', this.outcome(i)].join(','));
    const url = URL.createObjectURL(new Blob([[head.join(','), ...lines].join('\n') + '\n'], { type: 'text/csv' }));
    const name = `${this.catalog.datasets[s.dataset].name}-${this.catalog.targets[s.target].name}-${this.catalog.inputs[s.input].key}.csv`;
    h('a', { href: url, download: name.replace(/[^\w.-]+/g, '_') }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  // ---- the clip ----------------------------------------------------------------------------------

  view() {
    const { dataset: d, target: t, input: k, text, fit, family } = this.state;
    return { d, t, k, text, fit, family, base: this.base, columns: this.columns, scores: this.values, blind: this.blind };
  }

  drawClip(play) {
    const { clipId, dataset, target } = this.state;
    const i = clipId === null ? -1 : this.base.id.indexOf(clipId);
    const same = this.panel.index === i && this.panel.details && this.panel.view.d === dataset && this.panel.view.t === target;
    this.scatter.select(i < 0 ? null : i);
    if (i < 0) {
      this.panel.index = null;
      this.panel.empty(clipId === null ? 'Choose a point, or a row of the table, to hear that clip.' : `No clip is called ${clipId} in this dataset.`);
    } else if (same) this.panel.update(this.view());
    else this.panel.show(i, this.view(), play);
  }

  pick(i, { play = false } = {}) {
    this.state.clipId = i === null ? null : this.base.id[i];
    this.writeAddress(true);
    this.drawClip(play);
  }

  /** The table (or anything else on the server) names a clip. */
  receive(message) {
    const i = message?.clip === undefined ? -1 : this.base.id.indexOf(message.clip);
    if (i >= 0 && i !== this.panel.index) this.pick(i);
  }

  step(way) {
    if (!this.rows?.length) return;
    const at = this.rows.indexOf(this.panel.index);
    const next = at < 0 ? 0 : (at + way + this.rows.length) % this.rows.length;
    this.pick(this.rows[next]);
  }

  /** Keys work anywhere on the page but in a field that needs them itself. */
  key(event) {
    const target = event.target;
    const typing = target.closest?.('input, textarea, select, [contenteditable="true"]');
    if (document.querySelector('dialog[open]') || event.ctrlKey || event.metaKey || event.altKey || (typing && target.type !== 'range')) return;
    const inGrid = target.closest?.('[role="grid"], table, .table-wrap');
    const number = Number.parseInt(event.key, 10);
    if (event.key === ' ' && !target.closest?.('button, a, summary') && this.panel.index !== null) this.panel.player.toggle();
    else if (number >= 1 && number <= this.catalog.inputs.length) this.change({ input: number - 1 });
    else if (event.key === 'ArrowRight' && target.type !== 'range' && !inGrid) this.step(1);
    else if (event.key === 'ArrowLeft' && target.type !== 'range' && !inGrid) this.step(-1);
    else if (event.key === '/') this.part('search').focus();
    else if (event.key === 'Escape' && this.panel.index !== null) this.pick(null);
    else return;
    event.preventDefault();
  }
}

/** The chart's title is what it shows, as far as the intervals allow. */
function scatterFinding(auc, blind) {
  if (!auc || !known(auc.auc_low)) return 'Each point is a clip';
  if (auc.auc_high < 0.5) return 'Members score lower than non-members: the other way round';
  if (auc.auc_low <= 0.5) return 'The membership score is not seen to separate the classes';
  if (blind && blind.auc_high >= auc.auc_low) return 'Features that never saw the model may separate the classes as well: the intervals overlap';
  if (blind && blind.auc_low > 0.5) return 'Both scores separate the classes, the membership score more';
  return 'Only the membership score is seen to separate the classes';
}

/** Start the page's view; errors end in a sentence on the page. */
export async function mount(element, options) {
  const root = element.querySelector('.linked') ?? element;
  const linked = new Linked(root, options);
  window.explorer = linked;
  try {
    await linked.start();
  } catch (error) {
    linked.error(`The explorer could not start: ${error.message ?? error}. Reload the page to try again.`);
    console.error(error);
  }
  return linked;
}
