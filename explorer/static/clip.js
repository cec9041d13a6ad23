// The panel of one clip: hear it under every condition, read what the model wrote, see where it stands.
import { address, fixed, h, known, percent, rank, score, seconds, wordDifference } from './common.js';
import { Player, drawWave } from './player.js';

const SOON = 150; // ms after which what was written is asked for, sound or not
const STAYS = 300; // ms with one clip after which its other conditions are worth fetching
const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
const find = (host, name) => host.querySelector(`[data-part="${name}"]`);

export class ClipPanel {
  /** `actions`: {input(k), step(direction), close(), words(i)}; `server`: the Python functions of the page. */
  constructor(host, catalog, server, actions) {
    Object.assign(this, { host, catalog, server, actions, token: 0 });
    this.player = new Player(() => this.drawPlayer());
    this.build();
  }

  part(name) { return find(this.host, name); }

  /** The dataset that the clip is one of, with its words. */
  get dataset() { return this.catalog.datasets[this.view.d]; }

  build() {
    const on = (name, event, run) => this.part(name).addEventListener(event, run);
    on('play', 'click', () => this.player.toggle());
    on('previous', 'click', () => this.actions.step(-1));
    on('next', 'click', () => this.actions.step(1));
    on('close', 'click', () => this.actions.close());
    on('link', 'click', () => this.copyLink());
    on('volume', 'input', (event) => this.player.setVolume(Number(event.target.value)));
    on('wave', 'pointerdown', (event) => this.seekAt(event));
    on('wave', 'keydown', (event) => this.seekKey(event));
    this.part('indicators').closest('details').addEventListener('toggle', () => this.details && this.drawIndicators());
    this.part('volume').value = this.player.savedVolume();
    this.part('inputs').append(...this.catalog.inputs.map((input, k) => this.inputButton(input, k)));
    new ResizeObserver(() => this.drawPlayer()).observe(this.part('wave'));
  }

  inputButton(input, k) {
    return h('button', { type: 'button', class: 'choice', 'data-input': k, title: input.description, 'aria-pressed': 'false',
      onclick: () => this.actions.input(k) }, h('kbd', { 'aria-hidden': 'true' }, String(k + 1)), h('span', {}));
  }

  async copyLink() {
    const button = this.part('link');
    try {
      await navigator.clipboard.writeText(location.href);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Copy the address bar';
    }
    setTimeout(() => { button.textContent = 'Copy link'; }, 1600);
  }

  seekAt(event) {
    const box = this.part('wave').getBoundingClientRect();
    this.player.seek(((event.clientX - box.left) / box.width) * this.player.duration);
  }

  seekKey(event) {
    const step = { ArrowLeft: -0.5, ArrowRight: 0.5, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.player.seek(this.player.position + step);
  }

  empty(sentence) {
    this.token += 1;
    this.player.clear();
    this.host.classList.remove('open');
    this.part('body').hidden = true;
    this.part('empty').hidden = false;
    this.part('empty').textContent = sentence;
  }

  /** Show clip `i`; `view` holds the page's columns and choices, `play` whether it may sound. */
  async show(i, view, play) {
    const token = ++this.token;
    const goOn = play || this.player.playing;
    Object.assign(this, { index: i, view, details: null, heard: null, failed: new Map(), wanted: view.k });
    this.player.clear();
    this.host.classList.add('open');
    this.part('empty').hidden = true;
    this.part('body').hidden = false;
    this.drawFacts();
    this.busy(true);
    try {
      // The sound is asked for first and waits for nothing else; what was written follows it, or soon.
      const heard = await this.server.sources([view.d, i]);
      if (token !== this.token) return;
      this.heard = heard;
      const sounding = this.hear(this.wanted, token).then(() => token === this.token && goOn && this.player.play());
      await Promise.race([sounding, pause(SOON)]);
      if (token !== this.token) return;
      const found = await this.server.clip([view.d, view.t, i]);
      await sounding;
      if (token !== this.token) return;
      this.details = found;
      this.drawDetails();
      this.prepareRest(token);
    } catch (error) {
      if (token === this.token) this.say(`This clip could not be opened: ${error.message ?? error}. Try another one or reload the page.`);
    } finally {
      if (token === this.token) this.busy(false);
    }
  }

  busy(state) { this.host.setAttribute('aria-busy', String(state)); }

  say(sentence) {
    this.part('note').textContent = sentence;
    this.part('note').hidden = !sentence;
  }

  /** Load input `k` if it is not there yet; false with a sentence kept where it cannot be heard. */
  async load(k, token) {
    if (this.player.buffers.has(k)) return true;
    try {
      const buffer = await this.fetchInput(k);
      if (token !== this.token) return false;
      this.player.buffers.set(k, buffer);
      return true;
    } catch (error) {
      if (token === this.token) this.failed.set(k, error.message ?? String(error));
      return false;
    }
  }

  async fetchInput(k) {
    const source = this.heard.sources[k];
    if (source.kind === 'missing') throw new Error(source.sentence);
    if (source.kind === 'silence') return this.player.silence(source.seconds);
    const url = source.kind === 'file' ? source.url : (await this.server.listen([this.view.d, this.index, k])).url;
    return this.player.decode(address(url));
  }

  async hear(k, token = this.token) {
    this.wanted = k;
    if (!this.heard || this.player.current === k) return;
    if (this.player.use(k)) {
      this.say('');
      return;
    }
    const ready = await this.load(k, token);
    if (token !== this.token || this.wanted !== k) return;
    if (ready) this.player.use(k);
    else {
      this.player.stop();
      this.player.current = null;
      this.drawPlayer();
    }
    this.say(ready ? '' : this.failed.get(k) ?? '');
  }

  /** Bring the other conditions in, once it is clear that the reader stays with this clip. */
  async prepareRest(token) {
    await pause(STAYS);
    for (let k = 0; k < this.catalog.inputs.length && token === this.token; k += 1) await this.load(k, token);
  }

  /** The page changed condition, text or fit: same clip, same position. */
  async update(view) {
    const moved = view.k !== this.view.k || !this.player.buffers.has(view.k);
    this.view = view;
    this.drawFacts();
    if (this.details) this.drawDetails();
    if (moved) await this.hear(view.k);
  }

  drawPlayer() {
    const { player } = this;
    const buffer = player.buffers?.get(player.current);
    const wave = this.part('wave');
    drawWave(wave, buffer, player.position);
    this.part('play').textContent = player.playing ? 'Pause' : 'Play';
    this.part('play').disabled = !buffer;
    this.part('time').textContent = buffer ? `${seconds(player.position)} / ${seconds(buffer.duration)}` : '';
    wave.setAttribute('aria-valuemax', (buffer?.duration ?? 0).toFixed(1));
    wave.setAttribute('aria-valuenow', player.position.toFixed(1));
    wave.setAttribute('aria-valuetext', buffer ? `${player.position.toFixed(1)} of ${buffer.duration.toFixed(1)} seconds` : 'nothing loaded');
    if (player.playing && !this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.drawPlayer(); });
  }

  drawFacts() {
    const { base, k, columns } = this.view;
    const i = this.index;
    this.part('name').textContent = base.id[i];
    const claim = this.part('claim');
    claim.textContent = base.label[i] ? 'member, says the list' : 'non-member, says the list';
    claim.className = `chip ${base.label[i] ? 'member' : 'nonmember'}`;
    const trained = columns.trained?.[i];
    this.part('truth').textContent = trained === true ? 'Planted truth: this target was trained on it.'
      : trained === false ? 'Planted truth: this target was never trained on it.' : '';
    for (const button of this.part('inputs').children) {
      button.setAttribute('aria-pressed', String(Number(button.dataset.input) === k));
      button.lastChild.textContent = this.dataset.inputs[button.dataset.input];
    }
    this.drawStanding();
  }

  drawStanding() {
    const { base, scores, blind, family } = this.view;
    const i = this.index;
    const others = (label) => scores.filter((value, j) => known(value) && base.label[j] === label && j !== i);
    const value = scores[i];
    const rows = [['membership score', score(value)], [`blind score (${family})`, fixed(blind[i])]];
    if (known(value)) {
      const higher = others(0).filter((other) => other >= value).length;
      rows.push(['higher than', `${percent(rank(others(1), value))} of the other members, ${percent(rank(others(0), value))} of the other non-members`]);
      rows.push(['non-members scoring as high', `${higher} of ${others(0).length}`]);
    }
    this.part('standing').replaceChildren(...rows.flatMap(([name, text]) => [h('dt', {}, name), h('dd', {}, text)]));
  }

  drawDetails() {
    const { k, text } = this.view;
    this.part('words').replaceChildren(...this.writtenNodes(this.heard.text, this.details.rows[`${k}.generated`]));
    this.part('tokens').replaceChildren(...this.tokenNodes(this.details.tokens[`${k}.${text}`]));
    this.part('tokens-title').textContent = `Darker is surer. Scored text: ${this.dataset.texts[text]}.`;
    this.drawIndicators();
    this.part('everywhere').replaceChildren(...this.everywhereRows());
  }

  writtenNodes(reference, row) {
    const written = row?.wrote;
    const error = known(row?.wer) ? `word error ${percent(row.wer)}` : '';
    const { word } = this.dataset;
    const title = word[0].toUpperCase() + word.slice(1);
    const line = (name, ...nodes) => h('p', {}, h('span', { class: 'term' }, name), ' ', ...nodes);
    if (written === undefined || written === null) return [line(title, reference ?? 'not known'), line('The model wrote', 'nothing stored for this condition')];
    if (!reference) return [line(title, 'not known'), line('The model wrote', written || '(nothing)')];
    const marked = wordDifference(reference, written).flatMap(({ word: piece, kind }) => [kind === 'same' ? piece
      : h(kind === 'missing' ? 'del' : 'ins', { title: kind === 'missing' ? `in the ${word}, not written` : `written, not in the ${word}` }, piece), ' ']);
    return [line(title, reference), line('The model wrote', ...(written ? marked : ['(nothing)']), error && h('span', { class: 'muted' }, error))];
  }

  tokenNodes(tokens) {
    if (!tokens?.token?.length) return [h('p', { class: 'muted' }, 'No token was scored here.')];
    return tokens.token.map((piece, at) => {
      const chance = Math.exp(-tokens.nll[at]);
      const title = `${piece.trim() || 'space'}: probability ${percent(chance)}, entropy ${fixed(tokens.entropy[at])} nats, lead over the second choice ${percent(tokens.gap[at])}`;
      const shown = /^<\|.*\|>$/.test(piece) ? 'end' : piece.trim() || '␣';
      return h('span', { class: 'token', style: `--sure:${chance.toFixed(3)}`, title, role: 'listitem', 'aria-label': title }, shown);
    });
  }

  /** Indicators are asked for when their table is open. */
  async drawIndicators() {
    const { d, t, k, text } = this.view;
    const asked = [d, t, this.index, k, this.catalog.texts.indexOf(text)];
    if (!this.part('indicators').closest('details').open || String(asked) === String(this.indicated)) return;
    this.indicated = asked;
    const values = await this.server.indicators(asked).catch(() => ({}));
    if (this.indicated === asked) this.part('indicators').replaceChildren(...this.indicatorRows(values));
  }

  indicatorRows(values) {
    const rows = Object.entries(values);
    if (!rows.length) return [h('tr', {}, h('td', {}, 'Not measured here.'))];
    return rows.map(([name, value]) => h('tr', {},
      h('th', { scope: 'row', title: this.catalog.indicators[name] }, name), h('td', {}, known(value) ? value.toPrecision(4) : 'none')));
  }

  everywhereRows() {
    const { text, fit } = this.view;
    return this.catalog.inputs.map((_, k) => {
      const row = this.details.rows[`${k}.${text}`];
      const wrote = this.details.rows[`${k}.generated`]?.wrote;
      return h('tr', { 'aria-current': k === this.view.k ? 'true' : null }, h('th', { scope: 'row' }, this.dataset.inputs[k]),
        h('td', {}, score(row?.[fit])), h('td', {}, wrote || (wrote === '' ? '(nothing)' : '')));
    });
  }
}
