// One session on screen: its stream, its figures, and the buttons that steer it.

import { get, memory, post, saveTranscript } from './api.js';
import { Captions } from './captions.js';
import { byId, clock, count, dollars, make, say, sayState } from './dom.js';
import { Stream } from './stream.js';

export const captions = new Captions({
  pane: byId('pane'), finals: byId('finals'), partials: byId('partials'),
  quiet: byId('quiet'), earlier: byId('earlier'), newest: byId('newest'),
});
const ingests = new Map(); // slug → {rtmpUrl, streamKey}, as far as this page has been told
let shown = null; // {slug, stream, state, view, hasAudio}
let steers = false; // only service tokens start, stop and see the bill
let countdown = 0;

export const shownSlug = () => shown?.slug ?? '';

/** Show a session and follow it; an empty slug shows none. */
export function show(slug, maySteer) {
  shown?.stream.close();
  clearInterval(countdown);
  steers = maySteer;
  memory.session = slug;
  byId('session').hidden = !slug;
  byId('nothing').hidden = Boolean(slug);
  byId('console').dataset.view = slug ? 'session' : 'list';
  document.title = slug ? `${slug} · Transcription gateway` : 'Transcription gateway';
  shown = null;
  if (!slug) return;
  captions.clear();
  say(byId('name'), slug);
  for (const id of ['about', 'health', 'state']) say(byId(id), '');
  for (const id of ['figures', 'tracks']) byId(id).hidden = true;
  shown = { slug, state: '', view: null, stream: null, hasAudio: false };
  shown.stream = new Stream(slug, memory.token, hear, tell);
  showButtons();
  if (byId('back').offsetParent) byId('back').focus(); // on a narrow screen the list has gone
}

/** New figures from the control API; without a transcription there are none. */
export async function refresh() {
  if (!shown || !steers || !shown.state || shown.state === 'idle') return;
  const { slug } = shown;
  const path = `api/transcription/${encodeURIComponent(slug)}`;
  const [view, usage] = await Promise.all([get(path), get(`${path}/usage`)]);
  if (shown?.slug !== slug) return;
  showFigures(view, usage);
}

/** What the answer of start says about where audio goes; kept for as long as the page lives. */
export function remember({ sessionSlug, ingest }) {
  if (ingest?.rtmpUrl) ingests.set(sessionSlug, ingest);
}

// --- the stream -----------------------------------------------------------------------------------------------

function hear({ type, seq, data }) {
  switch (type) {
    case 'hello':
      captions.begin(seq ?? data.seq, data.resumed);
      changeState(data.state);
      break;
    case 'transcript.partial': return captions.partial(data);
    case 'transcript.final': return captions.final(seq, data);
    case 'translation': return captions.translation(data);
    case 'session.state':
      changeState(data.state);
      return data.state === 'stopped' ? captions.note(data.reason || data.state) : undefined;
    case 'health': return showHealth(data);
    case 'gap':
      return captions.note(data.fromSeq === data.toSeq
        ? `Line ${data.fromSeq} is missing: it is not available any more`
        : `Lines ${data.fromSeq} to ${data.toSeq} are missing: they are not available any more`, 'bad');
    case 'error': return captions.note(data.message, 'bad');
  }
}

function tell({ phase, code, reason, delay }) {
  clearInterval(countdown);
  const line = byId('line');
  line.dataset.phase = phase;
  const why = reason || (code === 1006 ? 'the connection was cut' : `close code ${code}`);
  if (phase === 'connecting') say(line, 'Connecting …');
  if (phase === 'live') say(line, 'Connected');
  if (phase === 'over') say(line, `Not live: ${why}`);
  if (phase !== 'waiting') return;
  const due = performance.now() + delay;
  const tick = () => say(line, `Coming back in ${Math.max(1, Math.ceil((due - performance.now()) / 1000))} s: ${why}`);
  tick();
  countdown = setInterval(tick, 1000);
}

function changeState(state) {
  if (!shown) return;
  shown.state = state;
  sayState(byId('state'), state === 'idle' ? 'not started' : state);
  if (state === 'stopped') showHealth({ status: 'ok', reasons: [] });
  showButtons();
  refresh().catch(() => {}); // the next round says what is wrong
}

function showHealth({ status, reasons }) {
  say(byId('health'), status === 'ok' ? '' : reasons.join('; '));
}

// --- figures and buttons --------------------------------------------------------------------------------------

function showFigures(view, usage) {
  shown.view = view;
  byId('figures').hidden = byId('tracks').hidden = false;
  say(byId('about'), `${view.source} · ${view.engine}`);
  say(byId('audio'), clock(usage.totals.durationSeconds * 1000));
  say(byId('cost'), dollars(usage.totals.totalCost));
  say(byId('count'), String(view.lastSeq));
  say(byId('watchers'), String(view.watchers));
  if (view.state !== 'stopped') showHealth(view.health);
  if (view.tracks.length && !shown.hasAudio) byId('ingest').open = false; // it has served its purpose
  shown.hasAudio = view.tracks.length > 0;
  const tracks = new Map(view.tracks.map((track) => [track.participantIdentity, track]));
  byId('rows').replaceChildren(...usage.rows.map((row) => {
    const track = tracks.get(row.participantIdentity);
    const cells = [
      track?.participantName || row.participantIdentity,
      track?.provider ?? '–',
      track ? clock(track.secondsHeard * 1000) : '–',
      clock(row.durationSeconds * 1000),
      count(row.durationMinutes, 'min', 'min'),
      dollars(row.totalCost),
    ];
    return make('tr', {}, ...cells.map((textContent) => make('td', { textContent })));
  }));
  showButtons();
}

function showButtons() {
  const active = ['starting', 'running', 'waiting', 'stopping'].includes(shown.state);
  const overRtmp = (shown.view?.source ?? 'rtmp') === 'rtmp';
  byId('stop').hidden = !steers || !active;
  byId('start').hidden = !steers || !shown.state || active;
  byId('key').hidden = !steers || !active || !overRtmp || ingests.has(shown.slug);
  if (shown.state === 'stopped') ingests.delete(shown.slug);
  showIngest();
}

function showIngest() {
  const ingest = ingests.get(shown.slug);
  byId('ingest').hidden = !ingest;
  if (!ingest) return;
  byId('rtmp-url').value = ingest.rtmpUrl;
  byId('stream-key').value = ingest.streamKey;
  byId('ffmpeg').value = `ffmpeg -re -i talk.mp4 -vn -c:a aac -ar 44100 -ac 1 -f flv '${ingest.rtmpUrl}'`;
}

/** Start over RTMP; when it runs already, this only says the stream key again. */
async function start() {
  remember(await post('api/transcription/start', { sessionSlug: shown.slug, source: 'rtmp' }));
  byId('ingest').open = true;
  showButtons();
}

async function stop() {
  const { finalsComplete } = await post('api/transcription/stop', { sessionSlug: shown.slug });
  if (!finalsComplete) captions.note('Some final lines may be missing: the provider did not confirm its end', 'bad');
}

async function copy(field, button) {
  try {
    await navigator.clipboard.writeText(field.value);
  } catch { // only secure pages have a clipboard
    field.select();
    document.execCommand('copy');
  }
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

/** Run an action of a button; while it runs the button is off, and what went wrong stands in the transcript. */
function onClick(button, action) {
  button.addEventListener('click', async () => {
    button.disabled = true;
    try {
      await action();
    } catch (error) {
      captions.note(error.message, 'bad');
    } finally {
      button.disabled = false;
    }
  });
}

onClick(byId('start'), start);
onClick(byId('key'), start);
onClick(byId('stop'), stop);
for (const button of document.querySelectorAll('[data-format]')) {
  onClick(button, () => saveTranscript(shown.slug, button.dataset.format));
}
for (const button of document.querySelectorAll('[data-copy]')) {
  onClick(button, () => copy(byId(button.dataset.copy), button));
}
