// What the page is at: its state, and the three streams that fill its panes.
'use strict';

const SLIDER_MS = 90;
const PARTS = {
  train: 'trained on', validation: 'validates', test: 'held out', new: 'new to the run', opened: 'opened here',
};

const page = {
  index: null, run: 0, step: null, shape: 0, kind: 'depth', source: 'input', sourceBefore: null, white: false,
  error: true, wireframe: false, ghost: false, latent: null, place: null, waiting: false,
  uploads: 0, stopped: false,
};
const panes = { input: $('#input'), seen: $('#maps'), made: $('#made') };
const slots = Object.fromEntries(Object.entries(panes).map(([name, pane]) =>
  [name, { pane, key: null, status: 'done', items: {}, keys: {}, abort: null }]));
const scenes = {};
const body = document.body.dataset;

/** What a shape is to the shown run: a key of PARTS, or nothing. */
const partOf = (number) => run().parts[number] ?? 'opened';

const run = () => page.index.runs[page.run];
const shape = () => page.index.shapes[page.shape];

/** An item of a slot if it belongs to what is asked for now; `latest` also gives what still stands from before. */
const current = (slot, name) => (slots[slot].keys[name] === slots[slot].key ? slots[slot].items[name] : undefined);
const latest = (slot, name) => slots[slot].items[name];

const done = new Map();
/** Does an action unless it was done last for the same values. */
function once(name, values, action) {
  const before = done.get(name);
  if (before && values.every((value, i) => value === before[i])) return;
  done.set(name, values);
  action();
}

const itemName = ({ stage, role }) => (['scores', 'code'].includes(stage) ? stage : role);

/** Brings the stream of a key into a slot; what stood there stays until its successor arrives. */
async function follow(slot, key) {
  if (slot.key === key && slot.status !== 'stopped') return;
  slot.abort?.abort();
  const { signal } = (slot.abort = new AbortController());
  Object.assign(slot, { key, status: 'loading' });
  tell(slot, { progress: '', error: '' });
  try {
    if (key !== null) await receive(slot, key, signal);
    if (signal.aborted) return;
    for (const name of Object.keys(slot.items)) if (slot.keys[name] !== key) delete slot.items[name];
    slot.status = 'done';
    tell(slot, { progress: '' });
  } catch (problem) {
    if (signal.aborted) return;
    fail(slot, problem);
  }
  refresh();
}

async function receive(slot, key, signal) {
  for await (const message of load(key, signal)) {
    if (signal.aborted) return;
    if (message.stage === 'progress') {
      tell(slot, { progress: message.text });
      continue;
    }
    slot.items[itemName(message)] = message;
    slot.keys[itemName(message)] = key;
    refresh();
  }
}

function fail(slot, problem) {
  if (problem instanceof Stopped) {
    slot.status = 'stopped';
    tell(slot, { progress: '' });
    setStopped(true);
    return;
  }
  slot.status = 'error';
  slot.items = {};
  tell(slot, { progress: '', error: problem instanceof Told ? problem.message : `Not shown: ${problem.message}` });
}

function tell({ pane }, words) {
  for (const [name, text] of Object.entries(words)) pane.querySelector(`.${name}`).textContent = text;
}

const madeKey = () =>
  (page.step === null ? null : latentKey(run(), page.run, page.step, page.shape, page.latent));

/** Asks for all that the state names; nothing that is there or under way is asked for again. */
function show() {
  follow(slots.input, `input/${page.shape}`);
  follow(slots.seen, `seen/${page.run}/${page.shape}`);
  page.waiting = true;
  followMade();
  refreshControls();
  refresh();
}

/** A slider that moves on asks for its last place only. */
const followMade = debounced(() => {
  page.waiting = false;
  follow(slots.made, madeKey());
  refresh();
}, SLIDER_MS);
