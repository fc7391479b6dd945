// Small helpers for elements, numbers and words.
'use strict';

const $ = (selector) => document.querySelector(selector);

/** An element with properties and children; text is text, never markup. */
function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** An SVG element with attributes and children. */
function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Buttons of which one is pressed: {value, label, title} each; chosen(value) is called on a click. */
function segmented(holder, options, chosen) {
  holder.replaceChildren(...options.map(({ value, label, title }) => {
    const button = make('button', { type: 'button', textContent: label, title: title || '' });
    button.dataset.value = value;
    button.addEventListener('click', () => chosen(value));
    return button;
  }));
}

/** Marks the pressed button of a segmented control, and disables those that `allowed` refuses. */
function press(holder, value, allowed = () => true) {
  for (const button of holder.children) {
    button.setAttribute('aria-pressed', String(button.dataset.value === String(value)));
    button.disabled = !allowed(button.dataset.value);
  }
}

function toggle(button, on) {
  button.setAttribute('aria-pressed', String(on));
}

const grouped = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, '\u202f');
const plural = (count, word) => `${grouped(count)} ${word}${count === 1 ? '' : 's'}`;
const minus = (text) => text.replace('-', '\u2212');
const fixed = (value, digits) => (Number.isFinite(value) ? minus(value.toFixed(digits)) : '\u2013');

/** Three significant figures, without a power of ten where it can be helped. */
function short(value) {
  if (value === null || !Number.isFinite(value)) return '\u2013';
  const size = Math.abs(value);
  if (size >= 100) return minus(grouped(Math.round(value)));
  if (size >= 0.1) return minus(value.toFixed(size >= 10 ? 1 : size >= 1.5 ? 2 : 3));
  return minus(size >= 1e-4 || size === 0 ? value.toPrecision(3) : value.toExponential(1));
}

/** Calls `action` once, `delay` ms after the last call. */
function debounced(action, delay) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(action, delay, ...values);
  };
}
