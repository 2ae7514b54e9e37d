// The page behind a join link: a guest gives a name, reads along, and speaks where the session listens to browsers.
// It knows no token but the guest's own, and shows nothing that a guest may not see.

import { addressOf } from './address.js';
import { get, memory, post, request, takeFragment } from './api.js';
import { Captions } from './captions.js';
import { attempt, byId, onSubmit, say, sayState } from './dom.js';
import { People } from './people.js';
import { Voice } from './speak.js';
import { answerOtherTabs } from './tabs.js';
import { offerThemes } from './theme.js';
import { nameOf, pathOf } from './titles.js';
import { TranscriptStream } from './transcript-stream.js';
import { cutFor, emptyFor, healthFor, isActive, overFor, refusalFor, sourceOf, stateFor, stoppedFor } from './words.js';

const IDENTITY = 'gateway.guest';
const NAME = 'gateway.guest-name';
const PEOPLE_MS = 5000;
const SESSION_ENDED = 4510;

const { session: slug = '', joinToken } = takeFragment('joinToken');
const path = pathOf(slug);
let title = '';
let pass = null; // {token}: of this guest for this session; null while outside
let stream = null;
let state = '';
let reasons = []; // why words are late
let host = '';
let pause = { everybody: false, participants: [] };
let countdown = 0;
let claims = false; // to be host, by the button

const captions = new Captions();
const voice = new Voice();
const people = new People(into('failed'), () => pass?.token);

/** The same in this tab after a reload, unguessable for others. */
function identity() {
  const kept = sessionStorage.getItem(IDENTITY);
  if (kept) return kept;
  const random = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  sessionStorage.setItem(IDENTITY, `guest-${random}`);
  return `guest-${random}`;
}

/** A token for captions and audio of this gateway, which needs no LiveKit server. */
async function ticket(name) {
  const query = new URLSearchParams({ identity: identity(), ...(name && { name }), for: 'audio' });
  if (memory.joinToken(slug)) query.set('joinToken', memory.joinToken(slug));
  return (await get(`${path}/token?${query}`, { token: '' })).token;
}

// --- before -----------------------------------------------------------------------------------------------------

/** What the session is called, and whether this link lets in, before a name is asked for. */
async function greet() {
  try {
    title = nameOf(await get(path, { token: await ticket('') }));
    say(byId('greeting'), `Join “${title}”`);
    document.title = `${title} · Transcription gateway`;
  } catch (problem) {
    if (problem.status === 409 && await showEnded()) return;
    say(byId('refused'), refusalFor(problem));
  }
}

/** Once it is over, whoever was in may read it where that is allowed. Returns whether it is. */
async function showEnded() {
  const token = memory.pass(slug);
  const view = token && await get(path, { token }).catch(() => null);
  if (!view) return false;
  say(byId('ended-title'), nameOf(view));
  byId('minutes').href = addressOf(slug);
  byId('ended').hidden = false;
  byId('enter').hidden = true;
  return true;
}

/** Say that one is in it, and follow its captions. */
async function join(name) {
  try {
    const token = await ticket(name);
    await post(`${path}/participants/join`, { identity: identity(), name }, { token });
    pass = { token };
    title ||= await get(path, { token }).then(nameOf, () => '');
  } catch (problem) {
    throw new Error(refusalFor(problem));
  }
  memory.keepPass(slug, pass.token);
  sessionStorage.setItem(NAME, name);
  byId('gate').hidden = true;
  byId('call').hidden = byId('leave').hidden = false;
  say(byId('name'), title || 'Live captions');
  document.title = `${title || 'Live captions'} · Transcription gateway`;
  byId('pane').focus();
  captions.clear();
  people.clear();
  stream = follow(pass.token);
}

// --- inside -----------------------------------------------------------------------------------------------------

function follow(token) {
  const opened = new TranscriptStream({ url: '.', session: slug, token, maxAttempts: Infinity });
  const on = (type, hear) => opened.addEventListener(type, ({ detail }) => stream === opened && hear(detail));
  on('open', (opening) => {
    tell('live', 'Connected');
    captions.begin(opening.seq, opening.restarted);
    reasons = []; // told again if it is still so
    changeState(opening.state);
  });
  on('partial', ({ data }) => captions.partial(data));
  on('final', ({ seq, data }) => captions.final(seq, data));
  on('translation', ({ data }) => captions.translation(data));
  on('state', ({ data }) => {
    changeState(data.state);
    if (data.state === 'stopped') captions.note(stoppedFor('guest', data.reason));
  });
  on('health', ({ data }) => {
    reasons = data.reasons;
    showState();
  });
  on('host', ({ data }) => changeHost(data));
  on('pause', ({ data }) => {
    pause = data;
    showState();
    showPeople().catch(() => {});
  });
  on('gap', () => captions.note('Some lines are missing: they are not available any more', 'bad'));
  on('close', ({ code, willReconnect, delayMs }) => {
    if (willReconnect) comeBack(delayMs, code);
    else tell(code === SESSION_ENDED ? 'ended' : 'over', overFor('guest', code, slug));
    if (code === SESSION_ENDED) offerMinutes();
  });
  tell('connecting', 'Connecting …');
  return opened;
}

function tell(phase, text) {
  clearInterval(countdown);
  byId('line').dataset.phase = phase;
  say(byId('line'), text);
}

function comeBack(delayMs, code) {
  const due = performance.now() + delayMs;
  const left = () => cutFor('guest', code, Math.max(1, Math.ceil((due - performance.now()) / 1000)));
  tell('waiting', left());
  countdown = setInterval(() => say(byId('line'), left()), 1000);
}

function changeState(now) {
  state = now;
  if (state === 'stopped') changeHost({});
  showState();
}

/** That no audio comes yet is nothing a guest could mend: the state says it. */
function showState() {
  sayState(byId('state'), stateFor('guest', state, pause.everybody), pause.everybody && isActive(state) ? 'paused' : state);
  captions.whenEmpty(emptyFor('guest', { state, isPaused: pause.everybody }));
  say(byId('health'), healthFor('guest', reasons, state));
}

function changeHost({ participantIdentity, participantName }) {
  const isMine = participantIdentity === identity();
  if (isMine && host && host !== participantIdentity && !claims) captions.note('You are the host now: your browser speaks for all.');
  claims = false;
  host = participantIdentity ?? '';
  say(byId('host'), host && `Host: ${isMine ? 'you' : participantName || host}`);
  say(byId('hand'), host && (isMine ? 'Hand over' : 'Be host'));
  byId('hand').title = isMine ? 'Make the next person the host, whose browser speaks for all' : 'Your browser speaks for all';
  showPeople().catch(() => {});
}

async function showPeople() {
  if (!pass || !byId('people-box').open) return;
  const { participants } = await get(`${path}/participants?all=1`, pass);
  const isMe = (one) => one === identity();
  people.show(slug, participants, { host, paused: pause.participants, mayPause: (one) => isMe(one) && isActive(state) });
}

/** The link to what was said, below its last line. */
async function offerMinutes() {
  voice.stop();
  byId('speak').hidden = byId('leave').hidden = true;
  const isReadable = await get(path, pass).then(() => true, () => false);
  if (!isReadable) return;
  const link = Object.assign(document.createElement('a'), { href: addressOf(slug), textContent: 'Read what was said' });
  byId('line').append(' ', link);
}

// --- what buttons do ----------------------------------------------------------------------------------------------

/** A transcription that does not run is started for browsers; one that listens to something else is left alone. */
async function speak() {
  if (voice.isOn) return voice.stop();
  const { source } = await post(`${path}/transcription/start`, { source: 'websocket' }, pass);
  if (source !== 'websocket') {
    throw new Error(`This session listens to ${sourceOf(source)}: a browser page cannot speak into it, only read along.`);
  }
  await voice.start(slug, pass.token, '', sessionStorage.getItem(NAME) ?? '');
}

async function leave() {
  const { token } = pass;
  goOut('You have left. Join again whenever you like.');
  await post(`${path}/participants/leave`, {}, { token });
}

function goOut(why) {
  pass = null;
  voice.stop();
  stream?.close();
  stream = null;
  clearInterval(countdown);
  byId('gate').hidden = false;
  byId('call').hidden = byId('leave').hidden = true;
  say(byId('refused'), why);
}

/** What goes wrong stands in the element of that name. */
function into(name) {
  return (text) => say(byId(name), text);
}

if (joinToken) memory.keepJoinToken(slug, joinToken);
answerOtherTabs((page) => (page.endsWith(`/${addressOf(slug)}`) ? memory.pass(slug) : ''));
onSubmit(byId('enter'), byId('refused'), () => join(byId('who').value.trim()));
byId('speak').addEventListener('click', () => attempt(byId('speak'), into('failed'), speak));
byId('hand').addEventListener('click', () => attempt(byId('hand'), into('failed'), () => {
  claims = host !== identity();
  return post(`${path}/transcription/host`, claims ? { identity: identity() } : {}, pass);
}));
byId('leave').addEventListener('click', () => attempt(byId('leave'), into('refused'), leave));
byId('people-box').addEventListener('toggle', () => showPeople().catch(() => {}));
setInterval(() => document.hidden || showPeople().catch(() => {}), PEOPLE_MS);
addEventListener('pagehide', () => {
  if (pass) request(`${path}/participants/leave`, { method: 'POST', keepalive: true, token: pass.token }).catch(() => {});
});
addEventListener('hashchange', () => location.reload()); // another invitation
byId('who').value = sessionStorage.getItem(NAME) ?? '';
offerThemes();
if (slug) {
  greet();
} else {
  say(byId('refused'), 'This link names no session. Ask for a complete one.');
  byId('enter').querySelector('button').disabled = true;
}
byId('who').focus();
