// The page's controls, its keys, and its start.
'use strict';

const TURN = Math.PI / 12;
const NO_CHECKPOINT = {
  empty: 'No checkpoint here; the input, its maps and the ceiling are shown.',
  training: 'No checkpoint yet; the input, its maps and the ceiling are shown.',
  none: 'No run; the input, its maps and the ceiling are shown.',
};

function refreshControls() {
  const shown = run();
  press($('#runs'), page.run);
  fillShapes();
  $('#facts').textContent = factsOf(shown);
  document.title = `hexjax: ${shown.name || 'viewer'}`;
  const { verdict } = shown;
  $('#verdict').hidden = !verdict;
  if (verdict) {
    Object.assign($('#verdict').dataset, { verdict: verdict.name, reason: verdict.reason });
    $('#verdict').textContent = verdict.name;
  }
  for (const line of $('#reasons').children) line.classList.toggle('shown', line.dataset.run === String(page.run));
  $('#shape').value = page.shape;
  refreshTraining();
  const fixed = shown.directions && { ...shown.directions, share: null };
  const ways = JSON.stringify([page.run, shown.between, fixed, shown.draws]);
  once('sliders', [ways, page.shape, page.step, page.index.shapes.length], () => {
    const place = { run: shown, runNumber: page.run, step: page.step, shape: page.shape, shapes: page.index.shapes };
    makeSliders($('#sliders'), page.step === null ? { ...place, run: { draws: 0 } } : place, setLatent);
  });
  tellShares(shown.directions?.share);
  Object.assign(body, { shape: page.shape, run: page.run, step: page.step ?? '' });
}

const factsOf = ({ name, family, input, floats, resolution, grid }) => [
  name, [family, input].filter(Boolean).join(' on '), floats && `${plural(floats, 'float')} a shape`,
  resolution && `${resolution} px`, grid && `grid ${grid}`,
].filter(Boolean).join(' \u00b7 ');

function refreshTraining() {
  const { steps: saved } = run();
  const at = saved.indexOf(page.step);
  const only = ['no checkpoint', `${grouped(saved[0] ?? 0)}, the only one`][saved.length];
  Object.assign($('#step'), { max: Math.max(0, saved.length - 1), value: Math.max(0, at), disabled: saved.length < 2 });
  $('#step-value').textContent = only ?? `${grouped(page.step)} of ${grouped(run().total)}`;
  $('#step').setAttribute('aria-valuetext', $('#step-value').textContent);
  showCurves($('#chart'), run(), page.step, (words) => (words ? caption('training', words) : nameCurves()));
  nameCurves();
}

function nameCurves() {
  caption('training', '');
  $('#training .caption').append(...run().curves.map(({ name }, i) =>
    make('span', { className: `key key-${i}`, textContent: name })));
}

/** What is said of a run below the header: text and elements. */
function reasonOf({ study, verdict, state, total, steps: saved }) {
  const trains = state === 'training' && saved.length;
  const now = trains ? `Training, step ${grouped(saved.at(-1))} of ${grouped(total)}. ` : '';
  const before = study ? `The study reported: ${study} ` : '';
  if (!verdict) return [saved.length ? now : `${NO_CHECKPOINT[state] || ''} `, before];
  const name = make('b', { textContent: verdict.name });
  name.dataset.verdict = verdict.name;
  return [now, before, study ? 'This run: ' : '', name, ', ', verdict.reason];
}

/** Fills what depends on the index alone. */
function fill() {
  const { runs, shapes, note, version, live, formats } = page.index;
  const labels = runs.map(({ label, name }, i) => ({ value: i, label, title: name }));
  once('labels', [JSON.stringify(labels)], () => segmented($('#runs'), labels, setRun)); // a focus in them is kept
  fillShapes();
  $('#runs').hidden = runs.length < 2;
  const reasons = runs.map(reasonOf);
  once('reasons', [JSON.stringify(reasons.map((parts) => parts.map((part) => part.textContent ?? part)))], () => {
    $('#reasons').replaceChildren(...reasons.map((parts, i) => {
      const line = make('p', {}, ...parts);
      line.dataset.run = i;
      return line;
    }));
  });
  $('#open').hidden = !live;
  $('#file').accept = (formats || []).join(',');
  $('#note').textContent = [`hexjax ${version}`, note].filter(Boolean).join(' \u00b7 ');
}

/** The select of shapes, in groups by what they are to the shown run. */
function fillShapes() {
  const { shapes } = page.index;
  once('shapes', [JSON.stringify([shapes, run().parts])], () => groupShapes(shapes));
}

function groupShapes(shapes) {
  const options = shapes.map(({ name, category, faces, points }, i) => {
    const size = points ? plural(points, 'point') : plural(faces, 'face');
    const words = [name, category, size].filter(Boolean).join(', ');
    return { part: partOf(i), option: new Option(words, i) };
  });
  const of = (part) => options.filter((one) => one.part === part).map(({ option }) => option);
  const groups = Object.entries(PARTS).filter(([part]) => of(part).length);
  $('#shape').replaceChildren(...of(''), ...groups.map(([part, label]) => make('optgroup', { label }, ...of(part))));
  $('#previous').disabled = $('#next').disabled = shapes.length < 2;
}

function setRun(number) {
  if (number >= page.index.runs.length) return;
  Object.assign(page, { run: number, step: page.index.runs[number].steps.at(-1) ?? null });
  leaveLatent();
  show();
}

function setShape(number) {
  const count = page.index.shapes.length;
  if (!count) return;
  page.shape = (number + count) % count;
  $('#notice').hidden = true;
  leaveLatent();
  show();
}

function setStep(step) {
  page.step = step;
  leaveLatent();
  show();
}

/** Shows another latent's shape in the right pane and its decoded maps, or (null) the shape's own again. */
function setLatent(latent) {
  if (!latent) leaveLatent();
  else {
    if (!page.latent) [page.sourceBefore, page.source] = [page.source, 'decoded'];
    page.latent = latent;
  }
  show();
}

function leaveLatent() {
  if (!page.latent) return;
  Object.assign(page, { latent: null, source: page.sourceBefore });
  done.delete('sliders');
}

function set(changes) {
  Object.assign(page, changes);
  refresh();
}

const flip = (name) => () => set({ [name]: !page[name] });

function flipWhite() {
  page.white = !page.white;
  $('#tiles').classList.toggle('white', page.white);
  toggle($('#white'), page.white);
}

function flipTheme() {
  const dark = getComputedStyle(document.documentElement).colorScheme === 'dark'
    || (!document.documentElement.dataset.theme && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'light' : 'dark';
}

function point(place) {
  page.place = place;
  const { seen, decoded, source, message } = mapsShown();
  showPixel(place, seen, decoded);
  probe(worldPoint(source === 'difference' ? seen : message, place));
}

const KEYS = {
  ArrowLeft: () => setShape(page.shape - 1), ArrowRight: () => setShape(page.shape + 1),
  d: () => set({ kind: 'depth' }), n: () => set({ kind: 'normals' }), m: () => set({ kind: 'mask' }),
  i: () => $('#source [data-value=input]').click(), o: () => $('#source [data-value=decoded]').click(),
  x: () => $('#source [data-value=difference]').click(),
  e: () => $('#error').click(), w: () => $('#wireframe').click(), g: () => $('#ghost').click(),
  '+': () => moveCamera(0, 0, 1.1), '-': () => moveCamera(0, 0, 1 / 1.1), 0: resetCamera,
  '?': () => $('#about').showModal(),
};
const SHIFTED = {
  ArrowLeft: () => moveCamera(TURN, 0), ArrowRight: () => moveCamera(-TURN, 0),
  ArrowUp: () => moveCamera(0, TURN), ArrowDown: () => moveCamera(0, -TURN),
};

function onKey(event) {
  const { key, shiftKey, target: at } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || $('#about').open || at.closest('input, select')) return;
  const action = (shiftKey && SHIFTED[key]) || KEYS[key] || (/^[1-9]$/.test(key) && (() => setRun(Number(key) - 1)));
  if (!action) return;
  event.preventDefault();
  action();
}

// Start

function openView(canvas, slot) {
  try {
    return new View(canvas);
  } catch {
    tell(slot, { error: 'This browser draws no 3-D here: WebGL is off.' });
    return null;
  }
}

function listen() {
  const click = (selector, action) => $(selector).addEventListener('click', action);
  click('#previous', KEYS.ArrowLeft);
  click('#next', KEYS.ArrowRight);
  click('#white', flipWhite);
  for (const name of ['error', 'wireframe', 'ghost']) click(`#${name}`, flip(name));
  click('#theme', flipTheme);
  click('#help', KEYS['?']);
  click('#open', () => $('#file').click());
  click('#save', save);
  $('#shape').addEventListener('change', () => setShape(Number($('#shape').value)));
  $('#step').addEventListener('input', () => setStep(run().steps[$('#step').value]));
  $('#file').addEventListener('change', () => {
    if ($('#file').files.length) openFile($('#file').files[0]);
    $('#file').value = '';
  });
  document.addEventListener('keydown', onKey);
  listenForDrops();
  new ResizeObserver(() => refreshTraining()).observe($('#chart'));
}

function listenForDrops() {
  const dragging = (on) => (event) => {
    event.preventDefault();
    document.body.classList.toggle('dropping', on);
  };
  document.addEventListener('dragover', dragging(true));
  document.addEventListener('dragleave', dragging(false));
  document.addEventListener('drop', (event) => {
    dragging(false)(event);
    if (!page.index.live) notice('This file opens no meshes; the page of --mode=view does.');
    else if (event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
  });
}

/** Saves what is asked for now; a shape of its own latent has the units of the input, others have those of the frame. */
function save() {
  const mesh = shownMesh(current);
  const of = page.latent ? latentWords(run(), page.index.shapes, page.shape, page.latent) : shape().name;
  const name = [of, page.step === null ? 'ceiling' : run().name].join('_').replace(/[^\w.+-]+/g, '_');
  const toSource = page.latent ? undefined : current('input', 'input')?.to_source;
  saveAs($('#format').value, name, mesh, toSource, scenes.made.canvas);
}

async function start() {
  try {
    page.index = await loadIndex();
  } catch (problem) {
    setStopped(problem instanceof Stopped);
    tell(slots.input, { error: problem.message });
    body.state = page.stopped ? 'stopped' : 'error';
    return;
  }
  const { error_limit: limit } = page.index;
  scenes.input = openView($('#input canvas'), slots.input);
  scenes.made = openView($('#made canvas'), slots.made);
  onCamera.push((words) => { body.camera = words; });
  resetCamera();
  makeTiles($('#tiles'), page.index, point);
  segmented($('#kind'), KINDS.map((kind) => ({ value: kind, label: kind })), (kind) => set({ kind }));
  segmented($('#source'), SOURCES.map((source) => ({ value: source, label: source })), (source) => set({ source }));
  const words = 'distance to the input, world units';
  $('#error-legend').replaceChildren(...rampLegend(words, errorTable, errorTicks(limit)));
  fill();
  listen();
  setRun(0);
  poll();
}

$('#retry').addEventListener('click', () => (page.index ? renew() : start()));
start();
