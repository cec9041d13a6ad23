// Columns as the server packs them (explorer/packed.py): 16-bit codes in the order of their values, base64.
const TOP = 65534;
const MISSING = 65535;

function bytes(text) {
  const raw = atob(text);
  const out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) out[i] = raw.charCodeAt(i);
  return out.buffer;
}

/** Values of a packed column, null where a clip has none; null for a column that does not exist. */
export function unpack(packed) {
  if (!packed) return null;
  const { kind, low, high, data } = packed;
  if (kind === 'float') return Array.from(new Float32Array(bytes(data)), (value) => (Number.isFinite(value) ? value : null));
  const step = (high - low) / TOP;
  const place = kind === 'logit' ? (code) => 1 / (1 + Math.exp(-low - code * step)) : (code) => low + code * step;
  return Array.from(new Uint16Array(bytes(data)), (code) => (code === MISSING ? null : place(code)));
}

const TOLD = { 0: false, 1: true };

/** Files of columns to what the page works with, by kind. */
export const unpacked = {
  clips: (file) => ({
    ...file,
    text: null,
    blind: Object.fromEntries(Object.entries(file.blind).map(([name, column]) => [name, unpack(column)])),
    weight: unpack(file.weight),
    pairs: file.pairs.member.map((member, at) => [member, file.pairs.non_member[at], file.pairs.distance[at]]),
  }),
  texts: (file) => file,
  scores: (file) => ({
    ...file,
    values: unpack(file.values),
    adjusted: unpack(file.adjusted),
    trained: file.trained && Array.from(file.trained, (told) => TOLD[told] ?? null),
  }),
};
