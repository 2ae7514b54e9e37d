// One session on screen: its stream, its figures, and the buttons that steer it.

import { get, memory, post, saveTranscript } from './api.js';
import { Captions } from './captions.js';
import { attempt, byId, clock, copy, count, dollars, make, say, sayState } from './dom.js';
import { Voice } from './speak.js';
import { TranscriptStream } from './transcript-stream.js';

const DELAYS = 9;

export const captions = new Captions();
export const voice = new Voice(showButtons);
const ingests = new Map(); // slug → {rtmpUrl, streamKey}, as far as this page has been told
let shown = null; // {slug, stream, state, view, hasAudio, delays, from}
let steers = false; // only service tokens start, stop and see the bill
let countdown = 0;

export const shownSlug = () => shown?.slug ?? '';

/** Show a session and follow it; an empty slug shows none. */
export function show(slug, maySteer) {
  shown?.stream.close();
  voice.stop();
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
  for (const id of ['about', 'health', 'state', 'host']) say(byId(id), '');
  byId('search').value = '';
  captions.search('');
  byId('delay').textContent = '–';
  for (const id of ['figures', 'tracks']) byId(id).hidden = true;
  shown = { slug, state: '', view: null, stream: null, hasAudio: false, delays: [], from: 0 };
  shown.stream = follow(slug);
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

function follow(slug) {
  const stream = new TranscriptStream({ url: '.', session: slug, token: memory.token, maxAttempts: Infinity });
  const on = (type, hear) => stream.addEventListener(type, ({ detail }) => shown?.stream === stream && hear(detail));
  on('open', ({ state, seq, restarted }) => {
    tell('live', 'Connected');
    shown.from = seq; // finals after this one are news
    captions.begin(seq, restarted);
    changeState(state);
  });
  on('partial', ({ data }) => captions.partial(data));
  on('final', ({ seq, ts, data }) => {
    captions.final(seq, data);
    if (seq > shown.from) showDelay(Date.parse(ts) - Date.parse(data.endedAt));
  });
  on('translation', ({ data }) => captions.translation(data));
  on('state', ({ data }) => {
    changeState(data.state);
    if (data.state === 'stopped') captions.note(data.reason || data.state);
  });
  on('health', ({ data }) => showHealth(data));
  on('host', ({ data }) => showHost(data));
  on('gap', ({ data: { fromSeq, toSeq } }) => captions.note(fromSeq === toSeq
    ? `Line ${fromSeq} is missing: it is not available any more`
    : `Lines ${fromSeq} to ${toSeq} are missing: they are not available any more`, 'bad'));
  on('error', (error) => error.kind === 'reported' && captions.note(error.message, 'bad'));
  on('close', ({ code, reason, willReconnect, delayMs }) => {
    const why = reason || (code === 1006 ? 'the connection was cut' : `close code ${code}`);
    if (willReconnect) comeBack(delayMs, why);
    else tell('over', `Not live: ${why}`);
  });
  tell('connecting', 'Connecting …');
  return stream;
}

function tell(phase, text) {
  clearInterval(countdown);
  byId('line').dataset.phase = phase;
  say(byId('line'), text);
}

function comeBack(delayMs, why) {
  const due = performance.now() + delayMs;
  const left = () => `Coming back in ${Math.max(1, Math.ceil((due - performance.now()) / 1000))} s: ${why}`;
  tell('waiting', left());
  countdown = setInterval(() => say(byId('line'), left()), 1000);
}

/** How long after the end of an utterance its final was there: the middle of the last few. */
function showDelay(ms) {
  shown.delays = [...shown.delays, Math.max(0, ms)].slice(-DELAYS);
  const sorted = shown.delays.toSorted((a, b) => a - b);
  byId('delay').textContent = `${(sorted[sorted.length >> 1] / 1000).toFixed(1)} s`;
}

function showHost({ participantIdentity, participantName }) {
  const name = participantName || participantIdentity;
  say(byId('host'), name ? `Host: ${name}` : '');
}

function changeState(state) {
  if (!shown) return;
  shown.state = state;
  sayState(byId('state'), state === 'idle' ? 'not started' : state);
  if (state === 'stopped') {
    showHealth({ status: 'ok', reasons: [] });
    say(byId('host'), '');
  }
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
  if (!shown) return;
  const active = ['starting', 'running', 'waiting', 'stopping'].includes(shown.state);
  const source = shown.view?.source ?? '';
  const overRtmp = (source || 'rtmp') === 'rtmp';
  byId('speak').hidden = !voice.isOn && !(active ? !source || source === 'websocket' : steers && shown.state);
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

/** After the form has started a transcription for microphones: this one goes first. */
export async function speakNow() {
  await voice.start(shown.slug, memory.token, 'console', memory.name);
}

/** This browser as a speaker; a transcription that does not run is started for it. */
async function speak() {
  if (voice.isOn) return voice.stop();
  const { slug } = shown;
  const isIdle = !['starting', 'running', 'waiting'].includes(shown.state);
  if (isIdle) await post('api/transcription/start', { sessionSlug: slug, source: 'websocket' });
  if (shown?.slug === slug) await voice.start(slug, memory.token, steers ? 'console' : '', memory.name);
}

async function stop() {
  const { finalsComplete } = await post('api/transcription/stop', { sessionSlug: shown.slug });
  if (!finalsComplete) captions.note('Some final lines may be missing: the provider did not confirm its end', 'bad');
}

/** Run an action of a button; what goes wrong stands in the transcript. */
function onClick(button, action) {
  button.addEventListener('click', () => attempt(button, (text) => text && captions.note(text, 'bad'), action));
}

onClick(byId('start'), start);
onClick(byId('speak'), speak);
onClick(byId('key'), start);
onClick(byId('stop'), stop);
for (const button of document.querySelectorAll('[data-format]')) {
  onClick(button, () => saveTranscript(shown.slug, button.dataset.format));
}
for (const button of document.querySelectorAll('[data-copy]')) {
  onClick(button, () => copy(byId(button.dataset.copy), button));
}
