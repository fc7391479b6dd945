// Meshes that are opened here, and a server that trains on or stops.
'use strict';

const POLL_MS = 5000;

function notice(words) {
  $('#notice').textContent = words;
  $('#notice').hidden = !words;
}

function refusalOf(file) {
  const { formats, upload_bytes: most } = page.index;
  if (!formats.some((suffix) => file.name.toLowerCase().endsWith(suffix))) {
    return `${file.name} is not opened; accepted: ${formats.join(' ')}`;
  }
  const size = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  return file.size > most ? `${file.name} has ${size(file.size)}; accepted: up to ${size(most)}` : '';
}

async function openFile(file) {
  const refused = refusalOf(file);
  notice(refused);
  if (refused) return;
  page.uploads += 1;
  page.opened = file; // the last one that was chosen is shown
  tell(slots.input, { progress: `reading ${file.name}` });
  tellState();
  try {
    const number = await upload(file);
    page.index = await loadIndex();
    fill();
    if (page.opened === file) setShape(number);
  } catch (problem) {
    if (problem instanceof Stopped) setStopped(true);
    else notice(problem.message);
  } finally {
    page.uploads -= 1;
    tellState();
    if (!page.uploads && slots.input.status !== 'loading') tell(slots.input, { progress: '' });
  }
}

function setStopped(stopped) {
  page.stopped = stopped;
  $('#banner').hidden = !stopped;
}

/** Reads the index again; a run whose last checkpoint is shown goes on to its newest. */
async function renew() {
  const before = run().steps.at(-1) ?? null;
  const asked = page.run;
  try {
    page.index = await loadIndex();
    setStopped(false);
  } catch (problem) {
    if (problem instanceof Stopped) setStopped(true);
    else notice(problem.message);
    tellState();
    return;
  }
  fill();
  if (page.run === asked && !page.latent) page.step = stepAfter(page.step, before, run().steps);
  show();
}

/** The step that is shown when a run has these: its newest where that was shown, else what was, or is nearest to it. */
function stepAfter(step, newest, steps) {
  if (step === newest || !steps.length) return steps.at(-1) ?? null;
  return steps.reduce((best, one) => (Math.abs(one - step) < Math.abs(best - step) ? one : best));
}

/** Whether the index will tell more: a run trains, or the server still makes what will be asked. */
const isUnfinished = ({ making, runs }) => making || runs.some(({ state }) => state === 'training');

async function poll() {
  if (page.index.live && !page.stopped && isUnfinished(page.index)) await renew();
  setTimeout(poll, POLL_MS);
}
