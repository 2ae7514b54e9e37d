// One session on screen: its stream, who is in it, and the buttons that steer it.

import { addressOf } from './address.js';
import { get, memory, post, saveTranscript } from './api.js';
import { Captions } from './captions.js';
import { confirmed } from './confirm.js';
import { attempt, byId, copy, say, sayState } from './dom.js';
import { clearFigures, showDelay, showFigures } from './figures.js';
import { forget, isKnown, remember, showIngest } from './ingest.js';
import { Invite } from './invite.js';
import { People } from './people.js';
import { Voice } from './speak.js';
import { learnTitles, noteTitle, pathOf, titleOf } from './titles.js';
import { TranscriptStream } from './transcript-stream.js';
import { cutFor, emptyFor, healthFor, isActive, overFor, stateFor, stoppedFor } from './words.js';

export const captions = new Captions();
export const voice = new Voice(showButtons);
const people = new People(complain);
const invite = new Invite();
let shown = null; // see `show`
let steers = false; // only service tokens start, stop and see the bill
let countdown = 0;

export const shownSlug = () => shown?.slug ?? '';
const whom = () => (steers ? 'operator' : 'reader');

/** Show a session and follow it; an empty slug shows none. */
export function show(slug, maySteer) {
  if (slug && slug === shown?.slug && steers === maySteer) return;
  shown?.stream.close();
  voice.stop();
  clearInterval(countdown);
  steers = maySteer;
  memory.session = slug;
  byId('session').hidden = !slug;
  byId('nothing').hidden = Boolean(slug);
  byId('console').dataset.view = slug ? 'session' : 'list';
  document.title = 'Transcription gateway';
  shown = null;
  if (!slug) return;
  captions.clear();
  people.clear();
  clearFigures();
  for (const id of ['about', 'health', 'state', 'host']) say(byId(id), '');
  byId('search').value = '';
  captions.search('');
  for (const id of ['people-box', 'invite-box']) byId(id).hidden = true;
  // `view`: as the control API told it last; `from`: finals after this one are news; `pause`: who is not heard.
  shown = { slug, state: '', view: null, stream: null, hasAudio: false, from: 0, host: '', reasons: [], pause: { everybody: false, participants: [] }, isStopper: false, isOver: false };
  shown.stream = follow(slug);
  byId('slug-told').textContent = slug;
  byId('read').href = addressOf(slug);
  byId('read').textContent = 'Read';
  showName();
  learnTitles([slug]).then(showName);
  showButtons();
  if (byId('back').offsetParent) byId('back').focus(); // on a narrow screen the list has gone
}

function showName() {
  if (!shown) return;
  say(byId('name'), titleOf(shown.slug));
  document.title = `${titleOf(shown.slug)} · Transcription gateway`;
}

/** New figures from the control API; without a transcription there are none. */
export async function refresh() {
  if (!shown || !steers || !shown.state) return;
  const { slug } = shown;
  const path = `api/transcription/${encodeURIComponent(slug)}`;
  const isIdle = shown.state === 'idle';
  const [view, usage] = isIdle ? [] : await Promise.all([get(path), get(`${path}/usage`)]);
  if (shown?.slug !== slug) return;
  if (view) showView(view, usage);
  await refreshPeople(view);
}

/** Who is there, and how to get in; this the database alone knows. */
async function refreshPeople(view) {
  const { slug } = shown;
  const [session, { participants }] = await Promise.all([get(pathOf(slug)), get(`${pathOf(slug)}/participants?all=1`)]);
  if (shown?.slug !== slug) return;
  noteTitle(session);
  showName();
  const isOver = ['ENDED', 'EXPIRED'].includes(session.status);
  if (isOver) showOver();
  byId('people-box').hidden = false;
  byId('invite-box').hidden = false;
  invite.show(session);
  const isRunning = isActive(shown.state);
  people.show(slug, participants, {
    isOver,
    speakers: (view?.tracks ?? []).map(({ participantIdentity, participantName }) => ({ identity: participantIdentity, name: participantName })),
    host: shown.host,
    paused: shown.pause.participants,
    mayPause: () => isRunning,
    mayAppoint: () => isRunning && view?.source === 'websocket',
  });
}

function showView(view, usage) {
  shown.view = view;
  shown.pause = view.paused;
  showFigures(view, usage);
  if (view.state !== 'stopped') showHealth(view.health.reasons);
  if (view.tracks.length && !shown.hasAudio) byId('ingest').open = false; // it has served its purpose
  shown.hasAudio = view.tracks.length > 0;
  showState();
  showButtons();
}

// --- the stream -----------------------------------------------------------------------------------------------

function follow(slug) {
  const stream = new TranscriptStream({ url: '.', session: slug, token: memory.token, maxAttempts: Infinity });
  const on = (type, hear) => stream.addEventListener(type, ({ detail }) => shown?.stream === stream && hear(detail));
  on('open', ({ state, seq, restarted }) => {
    tell('live', 'Connected');
    shown.from = seq;
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
    if (data.state === 'stopped') captions.note(stoppedFor(whom(), data.reason, shown.isStopper));
  });
  on('health', ({ data }) => showHealth(data.reasons));
  on('host', ({ data }) => showHost(data));
  on('pause', ({ data }) => {
    shown.pause = data;
    showState();
    showButtons();
    refresh().catch(() => {});
  });
  on('gap', ({ data: { fromSeq, toSeq } }) => captions.note(fromSeq === toSeq
    ? `Line ${fromSeq} is missing: it is not available any more`
    : `Lines ${fromSeq} to ${toSeq} are missing: they are not available any more`, 'bad'));
  on('error', (error) => error.kind === 'reported' && captions.note(error.message, 'bad'));
  on('close', ({ code, willReconnect, delayMs }) => {
    if (willReconnect) return comeBack(delayMs, code);
    tell(code === 4510 ? 'ended' : 'over', overFor(whom(), code, slug));
    if (code === 4510) showOver();
  });
  tell('connecting', 'Connecting …');
  return stream;
}

function tell(phase, text) {
  clearInterval(countdown);
  byId('line').dataset.phase = phase;
  say(byId('line'), text);
}

function comeBack(delayMs, code) {
  const due = performance.now() + delayMs;
  const left = () => cutFor(whom(), code, Math.max(1, Math.ceil((due - performance.now()) / 1000)));
  tell('waiting', left());
  countdown = setInterval(() => say(byId('line'), left()), 1000);
}

function showHost({ participantIdentity, participantName }) {
  shown.host = participantIdentity ?? '';
  const name = participantName || participantIdentity;
  say(byId('host'), name ? `Host: ${name}` : '');
}

function changeState(state) {
  if (!shown) return;
  if (state !== 'stopped' && isActive(state) !== isActive(shown.state)) shown.isStopper = false;
  shown.state = state;
  if (state === 'stopped') {
    showHealth([]);
    say(byId('host'), '');
  }
  showState();
  showButtons();
  refresh().catch(() => {}); // the next round says what is wrong
}

function showState() {
  const { state, view, pause, isOver } = shown;
  sayState(byId('state'), isOver ? 'ended' : stateFor(whom(), state, pause.everybody), pause.everybody && isActive(state) ? 'paused' : state);
  captions.whenEmpty(emptyFor(whom(), { state, source: view?.source, isPaused: pause.everybody, isToldWhere: isKnown(shown.slug) }));
}

/** The session has ended: nothing begins in it any more, and what was said is to be read. */
function showOver() {
  shown.isOver = true;
  byId('read').textContent = 'Read the minutes';
  showState();
  showButtons();
}

function showHealth(reasons) {
  shown.reasons = reasons;
  say(byId('health'), healthFor(whom(), reasons, shown.state));
}

// --- buttons --------------------------------------------------------------------------------------------------

function showButtons() {
  if (!shown) return;
  const active = isActive(shown.state);
  const source = shown.view?.source ?? '';
  const overRtmp = (source || 'rtmp') === 'rtmp';
  byId('speak').hidden = !voice.isOn && !(active ? !source || source === 'websocket' : steers && shown.state && !shown.isOver);
  say(byId('pause'), shown.pause.everybody ? 'Resume' : 'Pause');
  byId('stop').hidden = byId('pause').hidden = !steers || !active;
  byId('start').hidden = !steers || !shown.state || active || shown.isOver;
  byId('key').hidden = !steers || !active || !overRtmp || isKnown(shown.slug);
  if (shown.state === 'stopped') forget(shown.slug);
  showIngest(shown.slug);
}

/** Start over RTMP; when it runs already, this only says the stream key again. */
async function start() {
  remember(await post('api/transcription/start', { sessionSlug: shown.slug, source: 'rtmp' }));
  byId('ingest').open = true;
  showState();
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
  const now = shown;
  const isSure = await confirmed(`Stop writing down “${titleOf(now.slug)}”?`,
    'Nobody’s words are written down any more, for everybody who reads along. What was said stays.', 'Stop for everybody');
  if (!isSure) return;
  now.isStopper = true;
  const { finalsComplete } = await post('api/transcription/stop', { sessionSlug: now.slug });
  if (!finalsComplete) captions.note('Some of the last words may be missing: the speech provider did not confirm its end', 'bad');
}

/** Everybody, or let them be heard again. */
async function pause() {
  const now = shown;
  const { state, paused } = await post(`api/transcription/${encodeURIComponent(now.slug)}/${now.pause.everybody ? 'resume' : 'pause'}`, {});
  now.pause = { everybody: state === 'paused', participants: paused };
  if (now !== shown) return;
  showState();
  showButtons();
}

/** What goes wrong stands in the transcript. */
function complain(text) {
  if (text) captions.note(text, 'bad');
}

const onClick = (button, action) => button.addEventListener('click', () => attempt(button, complain, action));

onClick(byId('start'), start);
onClick(byId('speak'), speak);
onClick(byId('key'), start);
onClick(byId('stop'), stop);
onClick(byId('pause'), pause);
for (const button of document.querySelectorAll('[data-format]')) {
  onClick(button, () => saveTranscript(shown.slug, button.dataset.format));
}
for (const button of document.querySelectorAll('[data-copy]')) {
  onClick(button, () => copy(byId(button.dataset.copy), button));
}
