// One clip under every condition, decoded once, swapped in place at the same position (WebAudio).
import { clamp, memory } from './common.js';

const FADE = 0.006; // seconds: long enough to be free of clicks, too short to hear

/** Plays one of several buffers; changing the buffer keeps position and play state. */
export class Player {
  constructor(onChange) {
    this.onChange = onChange;
    this.context = null;
    this.clear();
  }

  clear() {
    this.stop();
    this.buffers = new Map();
    this.current = null;
    this.offset = 0;
  }

  open() {
    if (this.context) return;
    this.context = new AudioContext();
    this.volume = this.context.createGain();
    this.volume.connect(this.context.destination);
    this.setVolume(this.savedVolume());
  }

  savedVolume() {
    const saved = Number.parseFloat(memory.get('volume') ?? '');
    return Number.isFinite(saved) ? clamp(saved, 0, 1) : 0.8;
  }

  setVolume(value) {
    memory.set('volume', String(value));
    if (this.volume) this.volume.gain.value = value;
  }

  /** Fetch and decode a file; rejects with a sentence. */
  async decode(url) {
    this.open();
    const answer = await fetch(url);
    if (!answer.ok) throw new Error('This audio file is not in the bundle.');
    return this.context.decodeAudioData(await answer.arrayBuffer());
  }

  /** Silence of the given length, made here: there is nothing to download. */
  silence(duration) {
    this.open();
    return this.context.createBuffer(1, Math.max(1, Math.round(duration * 16000)), 16000);
  }

  get duration() { return this.buffers.get(this.current)?.duration ?? 0; }
  get playing() { return Boolean(this.voice); }

  get position() {
    const moved = this.voice ? this.context.currentTime - this.startedAt : 0;
    return clamp(this.offset + moved, 0, this.duration);
  }

  /** Make `key` the one that is heard, at the position of the one before. */
  use(key) {
    if (!this.buffers.has(key)) return false;
    const position = this.position;
    const playing = this.playing;
    this.stop();
    this.current = key;
    this.offset = position >= this.duration ? 0 : position;
    if (playing) this.play();
    this.onChange();
    return true;
  }

  async play() {
    const buffer = this.buffers.get(this.current);
    if (!buffer || this.voice) return;
    this.open();
    if (this.context.state === 'suspended') await this.context.resume();
    if (this.voice || this.buffers.get(this.current) !== buffer) return;
    if (this.offset >= buffer.duration - 0.01) this.offset = 0;
    const gain = this.context.createGain();
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(gain).connect(this.volume);
    gain.gain.setValueAtTime(0, this.context.currentTime);
    gain.gain.linearRampToValueAtTime(1, this.context.currentTime + FADE);
    source.start(0, this.offset);
    this.startedAt = this.context.currentTime;
    this.voice = { source, gain };
    source.onended = () => this.ended(source);
    this.onChange();
  }

  ended(source) {
    if (this.voice?.source !== source) return;
    this.voice = null;
    this.offset = 0;
    this.onChange();
  }

  stop() {
    if (!this.voice) return;
    this.offset = this.position;
    const { source, gain } = this.voice;
    this.voice = null;
    gain.gain.setTargetAtTime(0, this.context.currentTime, FADE / 3);
    source.stop(this.context.currentTime + FADE * 2);
  }

  toggle() {
    if (this.playing) {
      this.stop();
      this.onChange();
    } else this.play();
  }

  seek(position) {
    const playing = this.playing;
    this.stop();
    this.offset = clamp(position, 0, this.duration);
    if (playing) this.play();
    this.onChange();
  }
}

/** Draw a buffer's outline; the part already heard is darker. */
export function drawWave(canvas, buffer, position) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext('2d');
  const style = getComputedStyle(canvas);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!buffer) return;
  const heard = (position / buffer.duration) * width;
  const peaks = outlineOf(buffer, Math.floor(width / 3));
  peaks.forEach((peak, i) => {
    const size = Math.max(1, peak * (height - 6));
    pen.fillStyle = style.getPropertyValue(i * 3 < heard ? '--ink' : '--faint');
    pen.fillRect(i * 3, (height - size) / 2, 2, size);
  });
  pen.fillStyle = style.getPropertyValue('--accent');
  pen.fillRect(clamp(heard, 0, width - 2), 0, 2, height);
}

const outlines = new WeakMap();

function outlineOf(buffer, columns) {
  const kept = outlines.get(buffer);
  if (kept?.length === columns) return kept;
  const samples = buffer.getChannelData(0);
  const step = samples.length / columns;
  const peaks = Array.from({ length: columns }, (_, i) => {
    let top = 0;
    for (let j = Math.floor(i * step); j < (i + 1) * step && j < samples.length; j += 1) top = Math.max(top, Math.abs(samples[j]));
    return Math.min(1, top);
  });
  outlines.set(buffer, peaks);
  return peaks;
}
