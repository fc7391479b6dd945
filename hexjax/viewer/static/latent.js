// Shapes that no input gave: between two latents, along principal directions, and draws; their keys, words and sliders.
'use strict';

const STEPS_BETWEEN = 40; // of a slider whose values are continuous
const DEVIATIONS = 3;

const tenths = (values) => values.map((value) => value.toFixed(1)).join(',');

/** A pair as the run holds it: [first, second, turned], or null. */
function pairOf(run, shape, other) {
  const { pairs } = run.between;
  const held = (a, b) => pairs === null || pairs.some(([first, second]) => first === a && second === b);
  if (held(shape, other)) return [shape, other, false];
  return held(other, shape) ? [other, shape, true] : null;
}

function latentKey(run, runNumber, step, shape, latent) {
  const place = `${runNumber}/${step}`;
  if (!latent) return `made/${place}/${shape}`;
  if (latent.kind === 'draw') return `draw/${place}/${latent.number}`;
  if (latent.kind === 'direction') return `direction/${place}/${tenths(latent.values)}`;
  if (latent.t === 0 || latent.t === 1) return `made/${place}/${latent.t ? latent.other : shape}`;
  const [first, second, turned] = pairOf(run, shape, latent.other);
  return `between/${place}/${first}/${second}/${(turned ? 1 - latent.t : latent.t).toFixed(3)}`;
}

function latentWords(run, shapes, shape, latent) {
  if (latent.kind === 'draw') return `draw ${latent.number + 1} of ${run.draws} from the prior`;
  if (latent.kind === 'between') {
    return `between ${shapes[shape].name} and ${shapes[latent.other].name}, ${latent.t.toFixed(2)}`;
  }
  const moved = latent.values.map((value, i) => (value ? `${signed(value)} \u03c3 along direction ${i + 1}` : ''));
  const along = moved.filter(Boolean).join(', ');
  const mean = run.directions.of === 'training' ? 'training mean' : 'mean of the shown shapes';
  return along ? `${mean} ${along}` : mean;
}

const signed = (value) => (value > 0 ? '+' : '') + minus(value.toFixed(1));
const evenly = (low, high, count) => Array.from({ length: count + 1 }, (_, i) => low + ((high - low) * i) / count);

/** The values that sliders stop at; those between two shapes read the same from either end. */
const betweenValues = (run) => run.between.values || evenly(0, 1, STEPS_BETWEEN);
const directionValues = (run) => run.directions.values || evenly(-DEVIATIONS, DEVIATIONS, 20 * DEVIATIONS);

/** A row of the panel: a label, a slider over values, and what it stands at. */
function sliderRow(label, values, start, words, moved, atRest = words(start)) {
  const input = make('input', { type: 'range', min: 0, max: values.length - 1, value: values.indexOf(start) });
  const output = make('output');
  const tell = () => {
    output.textContent = words(values[input.value]);
    input.setAttribute('aria-valuetext', output.textContent);
  };
  input.addEventListener('input', () => {
    tell();
    moved(values[input.value]);
  });
  const rest = () => {
    input.value = values.indexOf(start);
    output.textContent = atRest;
  };
  rest();
  return { row: make('div', { className: 'slider' }, label, input, output), input, rest };
}

/** Fills the panel for a run, a step and a shape; `changed` is called with a latent, or null for the shape's own. */
function makeSliders(holder, { run, runNumber, step, shape, shapes }, changed) {
  const rows = [];
  const can = (latent) => offered(latentKey(run, runNumber, step, shape, latent));
  const rest = (but) => rows.filter((row) => row !== but).forEach((row) => row.rest());
  if (run.between) rows.push(...betweenRow());
  if (run.directions) rows.push(...directionRows());
  const buttons = make('div', { className: 'buttons' });
  if (run.draws && can({ kind: 'draw', number: 0 })) buttons.append(drawButton());
  const back = make('button', { id: 'reset', type: 'button', textContent: 'back to the shape', disabled: true });
  back.addEventListener('click', () => release(null));
  if (rows.length || buttons.children.length) buttons.append(back);
  holder.replaceChildren(...rows.map(({ row }) => row), buttons);
  if (!buttons.children.length) buttons.append(make('p', { className: 'none', textContent: noSliders(run, step) }));

  function release(latent, row) {
    rest(row);
    back.disabled = !latent;
    changed(latent);
  }

  function betweenRow() {
    const others = shapes.map((_, i) => i).filter((i) => i !== shape && pairOf(run, shape, i));
    const able = others.filter((other) => can({ kind: 'between', other, t: betweenValues(run)[1] }));
    if (!able.length) return [];
    const select = make('select', { id: 'other' }, ...able.map((i) => new Option(shapes[i].name, i)));
    select.setAttribute('aria-label', 'the other shape');
    const label = make('span', { className: 'to' }, 'to', select);
    const send = (t) => release({ kind: 'between', other: Number(select.value), t }, one);
    const one = sliderRow(label, betweenValues(run), 0, (t) => t.toFixed(2), send);
    one.input.id = 'between';
    one.input.setAttribute('aria-label', 'between the shown shape and the other');
    select.addEventListener('change', () => {
      if (Number(one.input.value)) send(betweenValues(run)[one.input.value]);
    });
    return [one];
  }

  function directionRows() {
    const { count, together } = run.directions;
    const values = directionValues(run);
    const state = Array(count).fill(0);
    if (!can({ kind: 'direction', values: state.with(0, values[0]) })) return [];
    const made = state.map((_, i) => {
      const share = make('small');
      share.dataset.share = i;
      const label = make('span', {}, `direction ${i + 1}`, share);
      const one = sliderRow(label, values, 0, (value) => `${signed(value)} \u03c3`, (value) => {
        if (!together) state.fill(0);
        state[i] = value;
        const kept = together ? made : [one];
        rows.filter((row) => !kept.includes(row)).forEach((row) => row.rest());
        back.disabled = false;
        changed({ kind: 'direction', values: [...state] });
      }, '\u2013');
      const { rest: still } = one;
      one.rest = () => {
        state[i] = 0;
        still();
      };
      one.input.dataset.direction = i + 1;
      one.input.setAttribute('aria-label', `principal direction ${i + 1}`);
      return one;
    });
    return made;
  }

  function drawButton() {
    let number = -1;
    const button = make('button', { id: 'draw', type: 'button', textContent: 'draw', title: 'a shape from the prior' });
    button.addEventListener('click', () => {
      number = (number + 1) % run.draws;
      release({ kind: 'draw', number });
    });
    return button;
  }
}

/** Writes the shares of the variance of the directions, which a server knows after it was asked for one. */
function tellShares(share) {
  for (const label of document.querySelectorAll('[data-share]')) {
    label.textContent = share ? `${(100 * share[label.dataset.share]).toFixed(0)} %` : '';
    label.title = share ? 'share of the variance' : '';
  }
}

function noSliders(run, step) {
  if (step === null) return 'No latent: there is no checkpoint.';
  return run.between || run.directions || run.draws ? 'This page holds no other latents of this checkpoint.'
    : 'This run offers no way through its latents.';
}
