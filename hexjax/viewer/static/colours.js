// Palettes, as functions from a number to sRGB bytes [r, g, b], and ramps of them for legends.
'use strict';

// matplotlib's viridis at eleven places.
const VIRIDIS = [
  '440154', '482475', '414487', '355f8d', '2a788e', '21918c', '22a884', '44bf70', '7ad151', 'bddf26', 'fde725',
];
const CLAY = [0.6, 0.585, 0.565]; // linear, as all of ERRORS
const ERRORS = [CLAY, [0.8, 0.52, 0.12], [0.78, 0.2, 0.04], [0.46, 0.03, 0.07], [0.13, 0.01, 0.12]];
const INSIDE = [0.42, 0.52, 0.7]; // what is left of the light on faces seen from behind
const DIVERGING = ['1f4e79', '5f97c4', 'b4cfe2', 'f1efeb', 'eebfa5', 'd07a56', '8c2f1b'];
const ONE_SIDED = [70, 110, 168]; // a pixel that only one of the two maps hits
const COVERAGE = [122, 119, 114]; // of the mask, blended by its value

const hexBytes = (hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
const toByte = (linear) => 255 * (linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055);

/** Between evenly spaced stops, at t in [0, 1]. */
function blend(stops, t) {
  const place = Math.min(Math.max(t, 0), 1) * (stops.length - 1) || 0;
  const low = Math.min(Math.floor(place), stops.length - 2);
  return stops[low].map((value, i) => value + (place - low) * (stops[low + 1][i] - value));
}

/** A palette in 256 entries, flat, so that a map of 512 by 512 pixels takes milliseconds. */
function table(colour, Numbers = Uint8ClampedArray) {
  const entries = new Numbers(256 * 3);
  for (let i = 0; i < 256; i++) entries.set(colour(i / 255), 3 * i);
  return entries;
}

const errorLinear = (t) => blend(ERRORS, t);
const depthTable = table((t) => blend(VIRIDIS.map(hexBytes), 1 - t));
const linearErrors = table(errorLinear, Float32Array);
const errorTable = table((t) => errorLinear(t).map(toByte));
const divergingTable = table((t) => blend(DIVERGING.map(hexBytes), t));
const coverageTable = table((t) => COVERAGE.map((value) => 255 + t * (value - 255)));

const entry = (t) => 3 * Math.min(255, Math.max(0, Math.round(255 * t) || 0));
/** Writes a palette's colour at t into three places of rgb from j on. */
function copyEntry(rgb, j, colours, t) {
  const at = entry(t);
  rgb[j] = colours[at];
  rgb[j + 1] = colours[at + 1];
  rgb[j + 2] = colours[at + 2];
}

const normalByte = (part) => 127.5 + 127.5 * part;

const at = (colours, t) => [...colours.subarray(entry(t), entry(t) + 3)];

/** A horizontal bar of a palette. */
function ramp(colours) {
  const stops = Array.from({ length: 33 }, (_, i) => `rgb(${at(colours, i / 32).join(' ')})`);
  const bar = make('div', { className: 'ramp' });
  bar.style.background = `linear-gradient(to right, ${stops.join(', ')})`;
  return bar;
}
