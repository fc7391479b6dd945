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
  page.uploading = true;
  tell(slots.input, { progress: `reading ${file.name}` });
  tellState();
  try {
    const number = await upload(file);
    page.index = await loadIndex();
    fill();
    setShape(number);
  } catch (problem) {
    if (problem instanceof Stopped) setStopped(true);
    else notice(problem.message);
  } finally {
    page.uploading = false;
    tellState();
    if (slots.input.status !== 'loading') tell(slots.input, { progress: '' });
  }
}

function setStopped(stopped) {
  page.stopped = stopped;
  $('#banner').hidden = !stopped;
}

/** Reads the index again; a run whose last checkpoint is shown goes on to its newest. */
async function renew() {
  const atLast = page.step === (run().steps.at(-1) ?? null);
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
  if (atLast && !page.latent) page.step = run().steps.at(-1) ?? null;
  show();
}

/** Whether the index will tell more: of a run that trains, or of directions that are still looked for. */
const isUnfinished = ({ state, directions }) => state === 'training' || (directions?.share === null && !page.latent);

async function poll() {
  if (page.index.live && !page.stopped && page.index.runs.some(isUnfinished)) await renew();
  setTimeout(poll, POLL_MS);
}
