// Small helpers shared by every part of the explorer: elements, numbers, curves.

/** Make an element: h('p', {class: 'note'}, 'text', child). Text is never parsed as HTML. */
export function h(tag, attributes = {}, ...children) {
  const svg = ['svg', 'g', 'path', 'line', 'rect', 'circle', 'text', 'title', 'polyline'].includes(tag);
  const node = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
export const known = (value) => typeof value === 'number' && Number.isFinite(value);
export const fixed = (value, digits = 2) => (known(value) ? value.toFixed(digits) : 'not known');
export const percent = (value) => (known(value) ? `${(100 * value).toFixed(value > 0 && value < 0.01 ? 1 : 0)}%` : 'not known');
export const seconds = (value) => `${Math.floor(value / 60)}:${(value % 60).toFixed(1).padStart(4, '0')}`;
export const withInterval = (row) =>
  row && known(row.auc) ? `${fixed(row.auc)} [${fixed(row.auc_low)}, ${fixed(row.auc_high)}]` : 'not measured';

/** Scores near 0 or 1 keep the digits that tell them apart; those that are no probabilities have six. */
export function score(value) {
  if (!known(value)) return 'none';
  if (value < 0 || value > 1) return String(Number(value.toPrecision(6)));
  const distance = Math.min(value, 1 - value);
  return value.toFixed(distance < 1e-5 ? 7 : distance < 0.001 ? 5 : 3);
}

/** Ends of an axis of scores: 0 and 1, unless scores made elsewhere lie outside; then those of the scores. */
export function span(scores) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of scores) {
    if (!known(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low >= 0 && high <= 1 || low > high) return [0, 1];
  return low < high ? [low, high] : [low - 0.5, high + 0.5];
}

/** About five round numbers between `low` and `high`. */
export function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough * (1 - 1e-9));
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Address of a served file, also where the app lives below a prefix. */
export const address = (path) => new URL(window.gradio_config?.root || '/', location.href).pathname.replace(/\/$/, '') + path;

/**
 * ROC over scores with ties kept together; member if score >= threshold.
 * Returns arrays of equal length: threshold, tp, fp (counts, or sums of `weights`), plus members, nonmembers, auc.
 */
export function rocCurve(scores, labels, weights = null) {
  const order = [];
  for (let i = 0; i < scores.length; i += 1) if (known(scores[i]) && (!weights || known(weights[i]))) order.push(i);
  order.sort((a, b) => scores[b] - scores[a]);
  const curve = { threshold: [Infinity], tp: [0], fp: [0], members: 0, nonmembers: 0, auc: 0.5 };
  let tp = 0;
  let fp = 0;
  let area = 0;
  for (let at = 0; at < order.length; ) {
    const value = scores[order[at]];
    const before = { tp, fp };
    for (; at < order.length && scores[order[at]] === value; at += 1) {
      const weight = weights ? weights[order[at]] : 1;
      labels[order[at]] ? (tp += weight) : (fp += weight);
    }
    area += (fp - before.fp) * (tp + before.tp) / 2;
    curve.threshold.push(value);
    curve.tp.push(tp);
    curve.fp.push(fp);
  }
  curve.members = tp;
  curve.nonmembers = fp;
  if (tp && fp) curve.auc = area / (tp * fp);
  return curve;
}

/** Wilson's interval of a share at 97.5%, so that two of them hold together with 95%. */
export function wilson(count, total) {
  const z = 2.2414;
  const share = count / total;
  const middle = share + (z * z) / (2 * total);
  const half = z * Math.sqrt((share * (1 - share)) / total + (z * z) / (4 * total * total));
  return [middle - half, middle + half].map((limit) => clamp(limit / (1 + (z * z) / total), 0, 1));
}

/** Outline of the 95% regions of (false, true) positive rates over the thresholds: points of a closed path, in [0, 1]. */
export function rocBand(curve, steps = 120) {
  const { tp, fp, members, nonmembers } = curve;
  const upper = [[0, 0]];
  const lower = [[0, 0]];
  const count = Math.min(steps, tp.length - 1);
  for (let step = 0; step <= count; step += 1) {
    const at = Math.round((step * (tp.length - 1)) / Math.max(1, count));
    const [trueLow, trueHigh] = wilson(tp[at], members);
    const [falseLow, falseHigh] = wilson(fp[at], nonmembers);
    upper.push([falseLow, trueHigh]);
    lower.push([falseHigh, trueLow]);
  }
  return [...upper, [1, 1], ...lower.reverse()];
}

/** Position on the curve of a threshold: the last point whose threshold is >= it. */
export function curveIndex(curve, threshold) {
  let low = 0;
  let high = curve.threshold.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (curve.threshold[middle] >= threshold) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Lowest threshold that flags at most `rate` of the non-members. */
export function thresholdAtRate(curve, rate) {
  let index = 0;
  while (index + 1 < curve.fp.length && curve.fp[index + 1] <= rate * curve.nonmembers) index += 1;
  return curve.threshold[index];
}

/** Share of `values` below `value`, ties counted half. */
export function rank(values, value) {
  let below = 0;
  for (const other of values) below += other < value ? 1 : other === value ? 0.5 : 0;
  return values.length ? below / values.length : NaN;
}

/** One sentence about one threshold, with its counts. */
export function ruleSentence(curve, index) {
  const { members, nonmembers } = curve;
  if (!members || !nonmembers) return 'No rule: one of the two classes has no score here.';
  const tp = curve.tp[index];
  const fp = curve.fp[index];
  if (index === 0) return 'No clip is called a member: the threshold lies above every score.';
  const floor = fp === 0 ? ` With ${nonmembers} non-members nothing below ${percent(1 / nonmembers)} can be told from none.` : '';
  return `Member-like if score ≥ ${score(curve.threshold[index])}: catches ${percent(tp / members)} of members ` +
    `(${tp} of ${members}), wrongly flags ${percent(fp / nonmembers)} of non-members (${fp} of ${nonmembers}).${floor}`;
}

/** Words of both texts with what only one of them has: [{word, kind: 'same'|'missing'|'added'}]. */
export function wordDifference(reference, written) {
  const split = (text) => (text ?? '').split(/\s+/).filter(Boolean);
  const plain = (word) => word.toLowerCase().normalize('NFC').replace(/[^\p{L}\p{N}]/gu, '');
  const a = split(reference);
  const b = split(written);
  const length = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      length[i][j] = plain(a[i]) === plain(b[j]) ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
    }
  }
  const out = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && plain(a[i]) === plain(b[j])) {
      out.push({ word: b[j], kind: 'same' });
      i += 1;
      j += 1;
    } else if (i < a.length && (j === b.length || length[i + 1][j] >= length[i][j + 1])) {
      out.push({ word: a[i], kind: 'missing' });
      i += 1;
    } else {
      out.push({ word: b[j], kind: 'added' });
      j += 1;
    }
  }
  return out;
}

/** Remember a small choice in this browser; a browser that forbids it only forgets. */
export const memory = {
  get(name) {
    try { return localStorage.getItem(`audit.${name}`); } catch { return null; }
  },
  set(name, value) {
    try { localStorage.setItem(`audit.${name}`, value); } catch { /* private window: nothing to remember */ }
  },
};

export const debounce = (run, wait) => {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...values), wait);
  };
};
