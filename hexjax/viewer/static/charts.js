// Two small pictures: the curves of a training with its verdicts as a ribbon, and a latent's code as colours.
'use strict';

const EDGES = { left: 38, right: 8, top: 6, bottom: 30 };
const RIBBON = 5; // pixels high
const CODE_COLUMNS = 960;
const CODE_ROWS = 32;

/** The curves of a run in a holder's size; `step` is marked; `told` gets words for the place under the cursor. */
function showCurves(holder, run, step, told) {
  const { clientWidth: width, clientHeight: height } = holder;
  const curves = run.curves.filter(({ value }) => value.some((one) => one > 0));
  if (!curves.length || !width) {
    holder.replaceChildren(make('p', { className: 'none', textContent: 'No curves are kept here.' }));
    return;
  }
  const last = curves.reduce((end, curve) => Math.max(end, curve.step.at(-1)), run.total);
  const [low, high] = range(curves.flatMap(({ value }) => value.filter((one) => one > 0))).map(Math.log10);
  const x = (at) => EDGES.left + (at / last) * (width - EDGES.left - EDGES.right);
  const floor = height - EDGES.bottom;
  const y = (value) => floor - ((Math.log10(value) - low) / (high - low || 1)) * (floor - EDGES.top);
  const picture = svg('svg', { width, height, role: 'img', 'aria-label': 'loss over steps, logarithmic' },
    ...levels(low, high).map((value) => svg('g', { class: 'level' },
      svg('path', { d: `M${EDGES.left} ${y(value)}H${width - EDGES.right}` }),
      svg('text', { x: EDGES.left - 6, y: y(value) + 3.5, 'text-anchor': 'end' }, String(value)))),
    ...steps(last, width).map((at) =>
      svg('text', { x: x(at), y: height - 4, 'text-anchor': anchor(at, last) }, grouped(at))),
    ...ribbon(run.verdicts, last, x, floor + 6),
    ...curves.map((curve, i) => svg('path', { class: `curve curve-${i}`, d: line(curve, x, y) })),
    ...(step === null ? [] : [svg('path', { class: 'marker', d: `M${x(step)} ${EDGES.top}V${floor + 6 + RIBBON}` })]));
  picture.addEventListener('pointermove', (event) => {
    const at = ((event.offsetX - EDGES.left) / (width - EDGES.left - EDGES.right)) * last;
    told(pointWords(curves, run.verdicts, at));
  });
  picture.addEventListener('pointerleave', () => told(''));
  holder.replaceChildren(picture);
}

const range = (values) =>
  values.reduce(([low, high], one) => [Math.min(low, one), Math.max(high, one)], [Infinity, -Infinity]);

const line = ({ step, value }, x, y) =>
  step.map((at, i) => (value[i] > 0 ? `${x(at).toFixed(1)} ${y(value[i]).toFixed(1)}` : null)).filter(Boolean)
    .map((point, i) => (i ? 'L' : 'M') + point).join('');

const anchor = (at, last) => (at === 0 ? 'start' : at > 0.96 * last ? 'end' : 'middle');

/** At most five round values between two powers of ten. */
function levels(low, high) {
  for (const digits of [[1, 2, 5], [1, 3], [1]]) {
    const found = [];
    for (let power = Math.floor(low); power <= high; power++) {
      found.push(...digits.map((digit) => Number((digit * 10 ** power).toPrecision(1))));
    }
    const inside = found.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
    if (inside.length <= 5) return inside;
  }
  return [];
}

/** Round steps along the axis, the last one of them the end where it is round. */
function steps(last, width) {
  const rough = last / Math.max(2, Math.floor(width / 90));
  const power = 10 ** Math.floor(Math.log10(rough));
  const apart = [1, 2, 2.5, 5, 10].map((digit) => digit * power).find((one) => one >= rough);
  return Array.from({ length: Math.floor(last / apart) + 1 }, (_, i) => Math.round(i * apart));
}

/** Each verdict holds from its step to the next one's; the last one as long as the first. */
const ribbon = (verdicts, last, x, top) => verdicts.map(({ step, name }, i) => {
  const end = i + 1 < verdicts.length ? verdicts[i + 1].step : Math.min(last, step + (verdicts[1]?.step ?? last));
  const bar = svg('rect', { x: x(step), y: top, width: Math.max(1, x(end) - x(step)), height: RIBBON });
  bar.dataset.verdict = name;
  bar.append(svg('title', {}, `${name} at step ${step}`));
  return bar;
});

function pointWords(curves, verdicts, at) {
  const nearest = (all) => all.reduce((best, one, i) => (Math.abs(one - at) < Math.abs(all[best] - at) ? i : best), 0);
  const step = curves[0].step[nearest(curves[0].step)];
  const verdict = verdicts.filter((one) => one.step <= step).pop();
  const values = curves.map((curve) => `${curve.name} ${short(curve.value[nearest(curve.step)])}`);
  return [`step ${grouped(step)}`, ...values, ...(verdict ? [verdict.name] : [])].join(', ');
}

/** A code [t, d] as an image, tokens along and features down (one token: features along), from -limit to limit. */
function showCode(canvas, message) {
  canvas.classList.toggle('away', !message);
  if (!message) return '';
  const { data, shape: [tokens, features] } = message.arrays.code;
  const flat = tokens === 1;
  const [across, down] = flat ? [features, 1] : [tokens, features];
  const [width, height] = [Math.min(across, CODE_COLUMNS), Math.min(down, CODE_ROWS)];
  const limit = largest(data);
  const image = new ImageData(width, height);
  for (let y = 0, j = 0; y < height; y++) {
    for (let x = 0; x < width; x++, j += 4) {
      const [column, row] = [Math.floor((x * across) / width), Math.floor((y * down) / height)];
      copyEntry(image.data, j, divergingTable, 0.5 + (0.5 * data[flat ? column : column * features + row]) / limit);
      image.data[j + 3] = 255;
    }
  }
  Object.assign(canvas, { width, height });
  canvas.getContext('2d').putImageData(image, 0, 0);
  const size = flat ? `${grouped(features)} values` : `${grouped(message.size[0])} \u00d7 ${features}`;
  return `${message.layout}, ${size}, \u00b1${short(limit)}`;
}

/** The size below which 99 in 100 values lie. */
function largest(values) {
  const sizes = Float32Array.from(values, Math.abs).sort();
  return sizes[Math.floor(0.99 * (sizes.length - 1))] || 1;
}
