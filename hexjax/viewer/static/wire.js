// Streams of messages: where they come from, how arrays are unpacked, and a bounded memory of those already loaded.
'use strict';

const TYPES = {
  float32: Float32Array, uint32: Uint32Array,
  uint16: Uint16Array, int16: Int16Array, uint8: Uint8Array, int8: Int8Array,
};
const KEPT_BYTES = 256 * 2 ** 20; // of unpacked arrays; what was used longest ago is forgotten first

const indexInPage = document.getElementById('index');
const LIVE = !indexInPage;

/** A failure that is told in words as it stands. */
class Told extends Error {}
/** The server cannot be reached. */
class Stopped extends Error {}

async function loadIndex() {
  return LIVE ? (await request('data/index', {})).json() : JSON.parse(indexInPage.textContent);
}

async function request(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (problem) {
    if (problem.name === 'AbortError') throw problem;
    throw new Stopped('the server has stopped');
  }
  if (!response.ok) throw new Told(await refusal(response));
  return response;
}

/** What the server says of a request that it refuses: its own line, where it gives one. */
async function refusal(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return `The server answered ${response.status} ${response.statusText}.`;
  }
}

const embedded = (key) => document.querySelector(`script[type="application/x-hexjax"][data-key="${CSS.escape(key)}"]`);

/** Whether a key can be asked for at all: an export holds some only. */
const offered = (key) => LIVE || embedded(key) !== null;

async function openStream(key, signal) {
  if (LIVE) return (await request(`data/${key}`, { signal })).body;
  const element = embedded(key);
  if (!element) throw new Told('This page does not hold that one.');
  const packed = Uint8Array.from(atob(element.textContent.trim()), (letter) => letter.charCodeAt(0));
  return new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
}

const remembered = new Map(); // key -> {messages, bytes}, the latest used last

/** The messages of a key, as they arrive. */
async function* load(key, signal) {
  const known = remembered.get(key);
  if (known) {
    remembered.delete(key);
    remembered.set(key, known);
    yield* known.messages;
    return;
  }
  const messages = [];
  let [bytes, ended, refused] = [0, false, ''];
  for await (const [header, body] of cut(await openStream(key, signal), signal)) {
    if (header.stage === 'error') refused = header.text;
    if (header.stage === 'done') ended = true;
    if (ended || refused) continue; // to the end of the answer, which the browser would else count as broken off
    const message = { ...header, arrays: unpackAll(header.arrays || {}, body) };
    for (const array of Object.values(message.arrays)) bytes += array.data.byteLength;
    if (header.stage !== 'progress') messages.push(message);
    yield message;
  }
  if (refused) throw new Told(refused);
  if (!ended) throw new Told('The answer ended early.');
  remember(key, messages, bytes);
}

function remember(key, messages, bytes) {
  remembered.set(key, { messages, bytes });
  let total = 0;
  for (const entry of remembered.values()) total += entry.bytes;
  for (const [oldest, entry] of remembered) {
    if (total <= KEPT_BYTES || oldest === key) break;
    remembered.delete(oldest);
    total -= entry.bytes;
  }
}

/** Cuts a stream of bytes into [header, body]; pieces are joined only when a message is whole. */
async function* cut(stream, signal) {
  const reader = stream.getReader();
  let [pieces, length, needed] = [[], 0, 8];
  try {
    for (;;) {
      const { done, value } = await read(reader, signal);
      if (done) return;
      pieces.push(value);
      length += value.length;
      if (length < needed) continue;
      let held = joined(pieces, length);
      for (;;) {
        const { start, end } = bounds(held);
        needed = end;
        if (held.length < end) break;
        const header = JSON.parse(new TextDecoder().decode(held.subarray(8, start)));
        yield [header, held.slice(start, end).buffer];
        held = held.subarray(end);
      }
      [pieces, length] = [[held], held.length];
    }
  } finally {
    reader.cancel().catch(() => {}); // a stream that broke cannot be cancelled, and need not be
  }
}

/** Where the body of the message at the head of the bytes starts and ends, as far as they tell. */
function bounds(held) {
  if (held.length < 8) return { start: 8, end: 8 };
  const sizes = new DataView(held.buffer, held.byteOffset, 8);
  const start = 8 + sizes.getUint32(0, true);
  return { start, end: start + sizes.getUint32(4, true) };
}

async function read(reader, signal) {
  try {
    return await reader.read();
  } catch (problem) {
    if (signal.aborted || !LIVE) throw problem;
    throw new Stopped('the server has stopped');
  }
}

function joined(pieces, length) {
  const whole = new Uint8Array(length);
  let place = 0;
  for (const piece of pieces) {
    whole.set(piece, place);
    place += piece.length;
  }
  return whole;
}

const unpackAll = (described, body) =>
  Object.fromEntries(Object.entries(described).map(([name, how]) => [name, unpack(how, body)]));

/** An array as {data, shape}: differences summed, scaled to real numbers, the first axis made the last, octahedral
 * pairs made unit vectors. */
function unpack(how, body) {
  const count = how.shape.reduce((product, length) => product * length, 1);
  const raw = how.split ? whole(TYPES[how.dtype], body, how.offset, count) : new TYPES[how.dtype](body, how.offset, count);
  if (how.delta) accumulate(raw, how.shape[how.shape.length - 1]);
  let data = how.scale === undefined ? raw : scaled(raw, how.scale, how.shift);
  let shape = how.shape;
  if (how.planar) [data, shape] = [interleaved(data, shape[0]), [...shape.slice(1), shape[0]]];
  if (how.coding === 'octahedral') [data, shape] = [octahedral(data), [...shape.slice(0, -1), 3]];
  return { data, shape };
}

/** An array of a type whose lowest bytes stand first, then the next ones. */
function whole(Type, body, offset, count) {
  const [size, stored] = [Type.BYTES_PER_ELEMENT, new Uint8Array(body, offset, count * Type.BYTES_PER_ELEMENT)];
  return new Type(interleaved(stored, size).buffer);
}

/** Planes one after another, as a coordinate's values, made tuples one after another. */
function interleaved(values, planes) {
  const [found, length] = [new values.constructor(values.length), values.length / planes];
  for (let i = 0; i < length; i++) for (let k = 0; k < planes; k++) found[i * planes + k] = values[k * length + i];
  return found;
}

function scaled(raw, scale, shift) {
  const real = new Float32Array(raw.length);
  for (let i = 0; i < raw.length; i++) real[i] = raw[i] * scale + shift;
  return real;
}

/** Running sums in place, restarted at each row; a typed array wraps at its own width. */
function accumulate(values, row) {
  for (let start = 0; start < values.length; start += row) {
    for (let i = start + 1; i < start + row; i++) values[i] += values[i - 1];
  }
}

function octahedral(pairs) {
  const vectors = new Float32Array((pairs.length / 2) * 3);
  for (let i = 0, j = 0; i < pairs.length; i += 2, j += 3) {
    let [x, y] = [pairs[i], pairs[i + 1]];
    const z = 1 - Math.abs(x) - Math.abs(y);
    if (z < 0) [x, y] = [(1 - Math.abs(y)) * (x < 0 ? -1 : 1), (1 - Math.abs(x)) * (y < 0 ? -1 : 1)];
    const length = Math.hypot(x, y, z) || 1;
    vectors[j] = x / length;
    vectors[j + 1] = y / length;
    vectors[j + 2] = z / length;
  }
  return vectors;
}

/** Sends a file to the server; the number of the shape that it became. */
async function upload(file) {
  const options = { method: 'POST', body: file, headers: { 'X-Hexjax': '1' } };
  const { error, shape } = await (await request(`data/upload?name=${encodeURIComponent(file.name)}`, options)).json();
  if (error) throw new Told(error);
  return shape;
}
