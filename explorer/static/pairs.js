// Matched pairs: a member beside the non-member most like it, both to be heard.
import { address, fixed, score } from './common.js';
import { Player, drawWave } from './player.js';

/** One clip of a pair: its sound, its words, its scores. */
class Side {
  constructor(host, { open, started }) {
    Object.assign(this, { host, open });
    this.player = new Player(() => this.draw());
    this.part('play').addEventListener('click', () => {
      started(this);
      this.toggle();
    });
    this.part('name').addEventListener('click', () => open(this.index));
    new ResizeObserver(() => this.draw()).observe(this.part('wave'));
  }

  part(name) { return this.host.querySelector(`[data-side-part="${name}"]`); }

  set(index, { base, scores, blind, family }) {
    this.part('scores').textContent = `membership ${score(scores[index])}, blind (${family}) ${fixed(blind[index])}`;
    if (this.index === index && this.base === base) return;
    Object.assign(this, { index, base, wanted: null });
    this.player.clear();
    this.part('name').textContent = base.id[index];
    this.part('text').textContent = '';
    this.part('note').hidden = true;
    this.draw();
  }

  /** Fetch the original audio once; false with a sentence where there is none. */
  load(server, d) {
    const index = this.index;
    this.wanted ??= server.sources([d, index]).then(async ({ sources: [source], text }) => {
      if (index !== this.index) return false;
      this.part('text').textContent = text ?? 'Its text is not known.';
      if (source.kind !== 'file') throw new Error(source.sentence ?? 'This bundle holds no audio of this clip.');
      const buffer = await this.player.decode(address(source.url));
      if (index !== this.index) return false;
      this.player.buffers.set(0, buffer);
      return this.player.use(0);
    }).catch((error) => {
      if (index !== this.index) return false;
      this.part('note').textContent = error.message ?? String(error);
      this.part('note').hidden = false;
      return false;
    });
    return this.wanted;
  }

  async toggle() {
    if (await this.ready()) this.player.toggle();
  }

  stop() {
    this.player.stop();
    this.draw();
  }

  draw() {
    const { player } = this;
    const buffer = player.buffers?.get(0);
    drawWave(this.part('wave'), buffer, player.position);
    this.part('play').textContent = player.playing ? 'Pause' : 'Play';
    if (player.playing && !this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }
}

export class Pairs {
  /** `actions`: {open(i), moved()}; `server`: the Python functions of the page. */
  constructor(host, server, actions) {
    Object.assign(this, { host, server, actions, at: 0, seen: false });
    const started = (side) => this.sides.filter((other) => other !== side).forEach((other) => other.stop());
    this.sides = ['member', 'nonmember'].map((name) => new Side(host.querySelector(`[data-side="${name}"]`), { open: actions.open, started }));
    for (const side of this.sides) side.ready = () => side.load(this.server, this.view.d);
    this.part('previous').addEventListener('click', () => this.step(-1));
    this.part('next').addEventListener('click', () => this.step(1));
    host.addEventListener('keydown', (event) => this.key(event));
    new IntersectionObserver(([entry]) => {
      this.seen ||= entry.isIntersecting;
      if (entry.isIntersecting) this.fetch();
    }).observe(host);
  }

  part(name) { return this.host.querySelector(`[data-part="pair-${name}"]`); }

  /** `view` holds the page's columns and choices; `at` the pair that the address asks for. */
  set(view, at) {
    if (this.view?.base !== view.base) this.at = at;
    this.view = view;
    const { pairs = [] } = view.base;
    this.host.hidden = !pairs.length;
    if (!pairs.length) return;
    this.at = Math.min(this.at, pairs.length - 1);
    const [member, other, distance] = pairs[this.at];
    this.sides[0].set(member, view);
    this.sides[1].set(other, view);
    this.part('count').textContent = `Pair ${this.at + 1} of ${pairs.length}, ${fixed(distance)} standard deviations apart per measure`;
    if (this.seen) this.fetch();
  }

  fetch() {
    if (!this.host.hidden) for (const side of this.sides) side.ready();
  }

  step(way) {
    const count = this.view.base.pairs.length;
    this.at = (this.at + way + count) % count;
    this.set(this.view, this.at);
    this.actions.moved();
  }

  /** n and p, or the arrows, while the panel has the focus. */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { n: 1, ArrowRight: 1, p: -1, ArrowLeft: -1 }[event.key];
    if (!way) return;
    this.step(way);
    event.preventDefault();
    event.stopPropagation();
  }
}
