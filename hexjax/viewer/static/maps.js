// The six maps as an unfolded cube: tiles, their legend, and what the pixel under the cursor holds.
'use strict';

const STEP = 1 / 64; // of a tile's side, by which an arrow moves the place that is read
const ARROWS_MOVE = { ArrowLeft: [0, -STEP], ArrowRight: [0, STEP], ArrowUp: [-STEP, 0], ArrowDown: [STEP, 0] };
const DEGREES_LIMIT = 60;
const KINDS = ['depth', 'normals', 'mask'];
const SOURCES = ['input', 'decoded', 'difference'];

const tiles = {
  names: [], axes: [], canvases: [],
  legend: make('div', { className: 'legend' }), readout: make('div', { id: 'readout' }),
};

/** Makes the tiles once; `told` is called with {view, row, column} in [0, 1) of the tile under the cursor, or null. */
function makeTiles(holder, { views: names, cameras, axes }, told) {
  Object.assign(tiles, { names, axes });
  tiles.canvases = names.map((name, view) => {
    const canvas = make('canvas', { width: 1, height: 1 });
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', `${name} map, camera at ${cameras[view]}`);
    const label = make('figcaption', { textContent: name }, make('span', { textContent: ` ${cameras[view]}` }));
    const figure = make('figure', { tabIndex: 0 }, canvas, label);
    figure.dataset.view = name;
    readByKeys(figure, view, told);
    const read = (event) => {
      const box = canvas.getBoundingClientRect();
      const [column, row] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      told(Math.min(row, column) >= 0 && Math.max(row, column) < 1 ? { view, row, column } : null);
    };
    figure.addEventListener('pointermove', read);
    figure.addEventListener('pointerdown', read);
    figure.addEventListener('pointerleave', ({ pointerType }) => {
      if (pointerType !== 'touch') told(null);
    });
    holder.append(figure);
    return canvas;
  });
  holder.append(tiles.legend, tiles.readout);
}

/** Arrows read a tile that has the focus, from its middle. */
function readByKeys(figure, view, told) {
  let [row, column] = [0.5, 0.5];
  figure.addEventListener('focus', () => {
    if (figure.matches(':focus-visible')) told({ view, row, column });
  });
  figure.addEventListener('keydown', (event) => {
    const move = !event.shiftKey && ARROWS_MOVE[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation(); // arrows cycle the shapes elsewhere
    [row, column] = [row + move[0], column + move[1]].map((one) => Math.min(0.999, Math.max(0, one)));
    told({ view, row, column });
  });
}

const sizeOf = (maps) => maps.arrays.mask.shape.slice(1);
const comparable = (a, b) => Boolean(a && b) && String(sizeOf(a)) === String(sizeOf(b));

/** The kind that is shown where another is asked for than the maps hold. */
const kindIn = (maps, kind) => (maps.kinds.includes(kind) ? kind : maps.kinds[0]);

/** Lowest and highest depth of what is hit. */
function depthRange(maps) {
  const { depth, mask } = maps.arrays;
  let [low, high] = [Infinity, -Infinity];
  if (depth) {
    depth.data.forEach((value, i) => {
      if (mask.data[i] >= 0.5) [low, high] = [Math.min(low, value), Math.max(high, value)];
    });
  }
  return low < high ? [low, high] : [0, 2];
}

/** Degrees between the i-th of two lists of unit vectors. */
function angleBetween(a, b, i) {
  const cosine = a[3 * i] * b[3 * i] + a[3 * i + 1] * b[3 * i + 1] + a[3 * i + 2] * b[3 * i + 2];
  return (Math.acos(Math.min(1, Math.max(-1, cosine))) * 180) / Math.PI;
}

/** A function that writes pixel i's colour into rgba at j: of one set of maps. */
function plainPainter(kind, { depth, normal, mask }, [low, high]) {
  const cover = (rgba, i, j) => { rgba[j + 3] = 255 * mask.data[i]; };
  if (kind === 'mask') {
    return (rgba, i, j) => {
      rgba.set(COVERAGE, j);
      cover(rgba, i, j);
    };
  }
  if (kind === 'normals') {
    return (rgba, i, j) => {
      for (let k = 0; k < 3; k++) rgba[j + k] = normalByte(normal.data[3 * i + k]);
      cover(rgba, i, j);
    };
  }
  return (rgba, i, j) => {
    copyEntry(rgba, j, depthTable, (depth.data[i] - low) / (high - low));
    cover(rgba, i, j);
  };
}

/** The same of the difference of two; a pixel that only one of them hits has no depth or normal to compare. */
function differencePainter(kind, first, second, limit) {
  const [a, b] = [first.mask.data, second.mask.data];
  if (kind === 'mask') {
    return (rgba, i, j) => {
      copyEntry(rgba, j, errorTable, Math.abs(a[i] - b[i]));
      rgba[j + 3] = Math.max(a[i], b[i]) >= 0.01 ? 255 : 0;
    };
  }
  const difference = kind === 'depth'
    ? (i) => Math.abs(first.depth.data[i] - second.depth.data[i]) / limit
    : (i) => angleBetween(first.normal.data, second.normal.data, i) / DEGREES_LIMIT;
  return (rgba, i, j) => {
    const hits = (a[i] >= 0.5) + (b[i] >= 0.5);
    if (hits === 2) copyEntry(rgba, j, errorTable, difference(i));
    else rgba.set(ONE_SIDED, j);
    rgba[j + 3] = hits ? 255 : 0;
  };
}

function paintTiles(painter, [height, width]) {
  tiles.canvases.forEach((canvas, view) => {
    const image = new ImageData(width, height);
    const first = view * height * width;
    for (let pixel = 0; pixel < height * width; pixel++) painter(image.data, first + pixel, 4 * pixel);
    Object.assign(canvas, { width, height });
    canvas.classList.toggle('coarse', width <= 64);
    canvas.getContext('2d').putImageData(image, 0, 0);
  });
}

function clearTiles() {
  for (const canvas of tiles.canvases) canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
}

/** Paints the shown source (input, decoded or difference) of the kind, and its legend. */
function showMaps({ seen, decoded, kind, source, limit }) {
  const shown = source === 'input' ? seen : decoded;
  if (!shown) {
    clearTiles();
    tiles.legend.replaceChildren();
    return;
  }
  const range = depthRange(seen && seen.kinds.includes('depth') ? seen : shown);
  const painter = source === 'difference'
    ? differencePainter(kind, seen.arrays, decoded.arrays, limit)
    : plainPainter(kind, shown.arrays, range);
  paintTiles(painter, sizeOf(shown));
  tiles.legend.replaceChildren(...(source === 'difference' ? differenceLegend(kind, limit) : plainLegend(kind, range)));
}

const rampLegend = (words, colours, ticks) => [
  make('p', { textContent: words }), ramp(colours),
  make('p', { className: 'ticks' }, ...ticks.map((tick) => make('span', { textContent: tick }))),
];

function plainLegend(kind, [low, high]) {
  if (kind === 'mask') return rampLegend('mask, probability of a hit', coverageTable, ['0', '0.5', '1']);
  if (kind === 'depth') {
    const ticks = [low, (low + high) / 2, high].map((value) => value.toFixed(2));
    return rampLegend('depth from the view\u2019s face of the cube, world units', depthTable, ticks);
  }
  const swatches = ['+x', '+y', '+z', '\u2212x', '\u2212y', '\u2212z'].map((axis, i) => {
    const sign = i < 3 ? 1 : -1;
    return swatch(axis, [0, 1, 2].map((k) => normalByte(k === i % 3 ? sign : 0)));
  });
  return [make('p', { textContent: 'unit normal in world axes' }), make('p', { className: 'swatches' }, ...swatches)];
}

function differenceLegend(kind, limit) {
  const once = make('p', { className: 'swatches' }, swatch('hit in one of the two only', ONE_SIDED));
  if (kind === 'mask') return rampLegend('difference of the mask\u2019s probability', errorTable, ['0', '0.5', '1']);
  if (kind === 'depth') return [...rampLegend('difference of depth, world units', errorTable, errorTicks(limit)), once];
  const ticks = ['0\u00b0', `${DEGREES_LIMIT / 2}\u00b0`, `\u2265 ${DEGREES_LIMIT}\u00b0`];
  return [...rampLegend('angle between normals', errorTable, ticks), once];
}

const errorTicks = (limit) => ['0', String(limit / 2), `\u2265 ${limit}`];

function swatch(words, rgb) {
  const colour = make('i');
  colour.style.background = `rgb(${rgb.map(Math.round).join(' ')})`;
  return make('span', {}, colour, words);
}

/** The pixel's number in maps, and its row and column. */
function pixelIn(maps, { view, row, column }) {
  const [height, width] = sizeOf(maps);
  const [y, x] = [Math.floor(row * height), Math.floor(column * width)];
  return { row: y, column: x, index: (view * height + y) * width + x };
}

/** What a pixel holds, in words by kind; depth and normal mean nothing where the mask is below one half. */
function pixelWords(maps, place) {
  if (!maps) return {};
  const { index } = pixelIn(maps, place);
  const { depth, normal, mask } = maps.arrays;
  const hit = mask.data[index] >= 0.5;
  return {
    depth: depth && (hit ? fixed(depth.data[index], 4) : '\u2013'),
    normals: normal && (hit ? [0, 1, 2].map((k) => fixed(normal.data[3 * index + k], 2)).join(' ') : '\u2013'),
    mask: fixed(mask.data[index], 2),
  };
}

function differenceWords(seen, decoded, place) {
  const { index } = pixelIn(seen, place);
  const [a, b] = [seen.arrays, decoded.arrays];
  const both = a.mask.data[index] >= 0.5 && b.mask.data[index] >= 0.5;
  return {
    depth: both && a.depth && b.depth ? fixed(Math.abs(a.depth.data[index] - b.depth.data[index]), 4) : '',
    normals: both && a.normal && b.normal ? `${fixed(angleBetween(a.normal.data, b.normal.data, index), 1)}\u00b0` : '',
    mask: fixed(Math.abs(a.mask.data[index] - b.mask.data[index]), 2),
  };
}

/** The readout's table for a place, or a hint without one. */
function showPixel(place, seen, decoded) {
  const any = seen || decoded;
  if (!place || !any) {
    tiles.readout.replaceChildren(make('p', { textContent: any ? 'Point at a pixel to read it.' : '' }));
    return;
  }
  const { row, column } = pixelIn(any, place);
  const columns = [['input', pixelWords(seen, place)], ['decoded', pixelWords(decoded, place)]];
  if (comparable(seen, decoded)) columns.push(['difference', differenceWords(seen, decoded, place)]);
  const cells = (name, words) => make('tr', {}, make('th', { textContent: name, scope: 'row' }),
    ...words.map((text) => make('td', { textContent: text || '' })));
  tiles.readout.replaceChildren(
    make('p', { textContent: `${tiles.names[place.view]}, row ${row}, column ${column}` }),
    make('table', {}, cells('', columns.map(([name]) => name)),
      ...KINDS.map((kind) => cells(kind, columns.map(([, words]) => words[kind])))));
}

/** Where in the world a pixel of depth maps looks at something, or null. */
function worldPoint(maps, place) {
  if (!maps || !place || !maps.arrays.depth) return null;
  const { row, column, index } = pixelIn(maps, place);
  if (maps.arrays.mask.data[index] < 0.5) return null;
  const [height, width] = sizeOf(maps);
  const along = [(2 * (column + 0.5)) / width - 1, 1 - (2 * (row + 0.5)) / height, maps.arrays.depth.data[index] - 1];
  const axes = tiles.axes[place.view]; // right, up, and the way that the camera looks
  return [0, 1, 2].map((k) => axes.reduce((sum, axis, i) => sum + along[i] * axis[k], 0));
}
