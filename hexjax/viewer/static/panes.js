// What the panes show, made from the state and from what the streams have brought.
'use strict';

function refresh() {
  refreshInput();
  refreshMaps();
  refreshMade();
  refreshScores();
  tellState();
}

function refreshInput() {
  const mesh = latest('input', 'input');
  once('input', [mesh, scenes.input], () => {
    if (mesh?.stage === 'points') scenes.input?.setPoints(mesh);
    else scenes.input?.setSurface(mesh);
    scenes.input?.dress({ coloured: false, edges: page.wireframe });
    caption('input', mesh ? inputWords(mesh) : '');
    const told = (mesh && mesh.told) || [];
    $('#input .told').replaceChildren(...told.map((text) => make('li', { textContent: text })));
    surfaceState(slots.input, mesh);
  });
}

function inputWords(mesh) {
  return [PARTS[partOf(page.shape)], shape().category, sizeWords(mesh)].filter(Boolean).join(', ');
}

const sizeWords = ({ stage, faces, shown, arrays }) => (
  stage === 'points' ? plural(arrays.points.shape[0], 'point') : facesWords({ faces, shown }));
const facesWords = ({ faces, shown }) => plural(faces, 'face') + (shown ? `, here ${grouped(shown)}` : '');

/** Says whether a mesh is there and empty, and how many faces it has. */
function surfaceState(slot, mesh) {
  if (mesh) slot.pane.dataset.faces = mesh.faces;
  else delete slot.pane.dataset.faces;
  slot.pane.dataset.empty = String(Boolean(mesh) && mesh.faces === 0);
}

/** What the middle pane shows, after what the messages hold. */
function mapsShown() {
  const [seen, decoded] = [latest('seen', 'seen'), latest('made', 'decoded')];
  const isMaps = (message) => message && message.stage === 'maps';
  const both = [current('seen', 'seen'), current('made', 'decoded')];
  const able = {
    input: Boolean(seen), decoded: Boolean(decoded),
    difference: !page.latent && both.every(isMaps) && comparable(...both),
  };
  const source = page.latent && page.source === 'difference' ? 'decoded' : page.source;
  const message = source === 'input' ? seen : decoded;
  return { seen, decoded, able, source, message, flat: !message || isMaps(message) };
}

const TITLES = { maps: 'Maps', points: 'Points', cells: 'Cells' };

function refreshMaps() {
  const { seen, decoded, able, source, message, flat } = mapsShown();
  const kinds = message && flat ? message.kinds : KINDS;
  const kind = message && flat ? kindIn(message, page.kind) : page.kind;
  press($('#kind'), kind, (value) => flat && kinds.includes(value));
  press($('#source'), source, (value) => able[value] || value === source);
  $('#white').disabled = !flat;
  $('#tiles').hidden = !flat;
  $('#space').hidden = flat;
  once('maps', [seen, decoded, kind, source, flat, able.difference], () => {
    if (!flat) return showSpace(message);
    const ready = source === 'difference' && !able.difference ? {} : { seen, decoded };
    showMaps({ ...ready, kind, source, limit: page.index.error_limit });
    point(page.place);
  });
  $('#maps-title').textContent = TITLES[flat ? 'maps' : message.stage];
  caption('maps', mapsWords(message, source, flat));
  Object.assign(body, { kind, source });
}

function mapsWords(message, source, flat) {
  if (source !== 'input' && page.latent) return latentWords(run(), page.index.shapes, page.shape, page.latent);
  if (!message) return '';
  if (flat) return `${source}, ${sizeOf(message).join(' \u00d7 ')} pixels`;
  return message.stage === 'points' ? plural(message.arrays.points.shape[0], 'point')
    : `${plural(message.arrays.cells.shape[0], 'cell')} of ${message.side}\u00b3`;
}

function showSpace(message) {
  scenes.maps ??= openView($('#space'), slots.seen);
  scenes.maps?.set('content', message.stage === 'points' ? pointCloud(message) : cellBoxes(message));
}

/** The mesh of the right pane, as `latest` or `current` finds it. */
const shownMesh = (find) => (page.step === null ? find('seen', 'ceiling') : find('made', 'made'));

function refreshMade() {
  const ceiling = latest('seen', 'ceiling');
  const trained = page.step !== null;
  const mesh = shownMesh(latest);
  const coloured = page.error && Boolean(mesh?.faces && mesh.arrays.error);
  const ghost = page.ghost && trained ? ceiling : null;
  once('made', [mesh, scenes.made], () => {
    scenes.made?.setSurface(mesh, page.index.error_limit);
    surfaceState(slots.made, mesh);
    done.delete('dress');
  });
  once('ghost', [ghost, scenes.made], () => scenes.made?.setGhost(ghost));
  once('dress', [mesh, coloured, page.wireframe], () => {
    scenes.made?.dress({ coloured, edges: page.wireframe });
    scenes.input?.dress({ coloured: false, edges: page.wireframe });
  });
  $('#error-legend').hidden = !coloured;
  toggle($('#error'), page.error);
  toggle($('#wireframe'), page.wireframe);
  toggle($('#ghost'), page.ghost);
  $('#error').disabled = !mesh?.arrays.error;
  $('#ghost').disabled = !trained || !ceiling;
  const settled = !page.waiting && shownMesh(current) && (page.latent || current('input', 'input'));
  $('#save').disabled = !settled || !scenes.made;
  $('#save').title = mesh?.shown ? `${plural(mesh.shown, 'face')}, as this file holds them` : '';
  $('#made-title').textContent = !trained ? 'Ceiling' : page.latent ? 'Latent' : 'Reconstruction';
  caption('made', madeWords(mesh, trained));
  const code = trained ? latest('made', 'code') : null;
  $('#code').hidden = !trained;
  once('code', [code], () => caption('latent', showCode($('#code'), code)));
}

function madeWords(mesh, trained) {
  if (page.latent) return latentWords(run(), page.index.shapes, page.shape, page.latent);
  if (!mesh) return '';
  return `${trained ? `step ${grouped(page.step)}` : 'no network'}, ${facesWords(mesh)}`;
}

const ARROWS = { high: '\u2191', low: '\u2193' }; // the better way

function refreshScores() {
  const ceiling = latest('seen', 'scores');
  const made = latest('made', 'scores');
  once('scores', [ceiling, made, page.latent, page.step === null], () => {
    const rows = (made || ceiling || { rows: [] }).rows;
    const value = (scores, name) => short(scores?.rows.find((row) => row.name === name)?.value ?? null);
    const cells = (tag, words) => words.map((text) => make(tag, { textContent: text }));
    $('#scores table').replaceChildren(...(rows.length ? [
      make('tr', {}, ...cells('th', ['', 'this', 'ceiling'])),
      ...rows.map(({ name, best }) => make('tr', {},
        make('th', { scope: 'row' }, name, make('small', { textContent: ARROWS[best] })),
        ...cells('td', [value(made, name), value(ceiling, name)]))),
    ] : []));
    $('#scores table').classList.toggle('away', Boolean(page.latent));
    const alone = page.step === null ? 'of the ceiling alone' : '';
    caption('scores', page.latent ? 'no input to compare this shape with' : alone);
  });
}

function caption(section, words) {
  const element = $(`#${section} .caption`);
  element.textContent = words;
  element.title = words;
}

function tellState() {
  const all = Object.values(slots);
  for (const { pane, key, status, keys, items } of all) {
    const fresh = status === 'done' && Object.keys(items).every((name) => keys[name] === key);
    pane.dataset.stale = String(status === 'loading');
    if (fresh && key) pane.dataset.key = key;
    else delete pane.dataset.key;
  }
  if (page.step === null && panes.seen.dataset.key) panes.made.dataset.key = panes.seen.dataset.key;
  $('#scores').dataset.stale = String([slots.seen, slots.made].some(({ status }) => status === 'loading'));
  const busy = page.waiting || page.uploads > 0 || all.some(({ status }) => status === 'loading');
  if (!busy) body.ready = 'true';
  body.busy = String(busy);
  body.state = page.stopped ? 'stopped' : all.some(({ status }) => status === 'error') ? 'error' : 'ok';
}
