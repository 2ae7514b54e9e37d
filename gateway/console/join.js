// The page behind a join link: a guest gives a name, reads along, and speaks where the session listens to browsers.
// It knows no token but the guest's own, and shows nothing that a guest may not see.

import { get, post, request } from './api.js';
import { Captions } from './captions.js';
import { attempt, byId, onSubmit, say, sayState } from './dom.js';
import { Voice } from './speak.js';
import { TranscriptStream } from './transcript-stream.js';

const IDENTITY = 'gateway.guest';
const NAME = 'gateway.guest-name';
const ELSEWHERE = { livekit: 'its LiveKit room', rtmp: 'an encoder, over RTMP' };

const invitation = new URLSearchParams(location.hash.slice(1)); // session, joinToken
const slug = invitation.get('session') ?? '';
const path = `api/sessions/${encodeURIComponent(slug)}`;
let pass = null; // {token}: of this guest for this session; null while outside
let stream = null;
let state = '';
let reasons = []; // why words are late

const captions = new Captions();
const voice = new Voice();

/** The same in this tab after a reload, unguessable for others. */
function identity() {
  const kept = sessionStorage.getItem(IDENTITY);
  if (kept) return kept;
  const random = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  sessionStorage.setItem(IDENTITY, `guest-${random}`);
  return `guest-${random}`;
}

/** Get a token for captions and audio of this gateway, which needs no LiveKit server, say that one is in it, and follow its captions. */
async function join(name) {
  const query = new URLSearchParams({ identity: identity(), name, for: 'audio' });
  if (invitation.get('joinToken')) query.set('joinToken', invitation.get('joinToken'));
  const { token } = await get(`${path}/token?${query}`, { token: '' });
  await post(`${path}/participants/join`, { identity: identity(), name }, { token });
  pass = { token };
  sessionStorage.setItem(NAME, name);
  byId('gate').hidden = true;
  byId('call').hidden = byId('leave').hidden = false;
  byId('pane').focus();
  captions.clear();
  stream = follow(token);
}

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
    if (data.state === 'stopped') captions.note(data.reason || 'The transcription has stopped');
  });
  on('health', ({ data }) => {
    reasons = data.reasons;
    showHealth();
  });
  on('gap', () => captions.note('Some lines are missing: they are not available any more', 'bad'));
  on('close', ({ code, reason, willReconnect }) => {
    const why = reason || (code === 1006 ? 'the connection was cut' : `close code ${code}`);
    tell(willReconnect ? 'waiting' : 'over', willReconnect ? `Coming back: ${why}` : `Not live: ${why}`);
  });
  tell('connecting', 'Connecting …');
  return opened;
}

function tell(phase, text) {
  byId('line').dataset.phase = phase;
  say(byId('line'), text);
}

function changeState(now) {
  state = now;
  sayState(byId('state'), state === 'idle' ? 'nothing is transcribed yet' : state);
  showHealth();
}

/** That no audio comes yet is nothing a guest could mend: the state says it. */
function showHealth() {
  const isSpeaking = ['running', 'waiting'].includes(state);
  say(byId('health'), isSpeaking && reasons.length ? `Words may be late: ${reasons.join('; ')}` : '');
}

/** A transcription that does not run is started for browsers; one that listens to something else is left alone. */
async function speak() {
  if (voice.isOn) return voice.stop();
  const { source } = await post(`${path}/transcription/start`, { source: 'websocket' }, pass);
  if (source !== 'websocket') {
    throw new Error(`This session listens to ${ELSEWHERE[source] ?? source}: a browser page cannot speak into it, only read along.`);
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
  byId('gate').hidden = false;
  byId('call').hidden = byId('leave').hidden = true;
  say(byId('refused'), why);
}

/** What goes wrong stands in the element of that name. */
const into = (name) => (text) => say(byId(name), text);

onSubmit(byId('enter'), byId('refused'), () => join(byId('who').value.trim()));
byId('speak').addEventListener('click', () => attempt(byId('speak'), into('failed'), speak));
byId('leave').addEventListener('click', () => attempt(byId('leave'), into('refused'), leave));
addEventListener('pagehide', () => {
  if (pass) request(`${path}/participants/leave`, { method: 'POST', keepalive: true, token: pass.token }).catch(() => {});
});
addEventListener('hashchange', () => location.reload()); // another invitation
byId('who').value = sessionStorage.getItem(NAME) ?? '';
if (!slug) {
  say(byId('refused'), 'This link names no session. Ask for a complete one.');
  byId('enter').querySelector('button').disabled = true;
}
byId('who').focus();
