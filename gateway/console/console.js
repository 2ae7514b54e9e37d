// The console: the token, the list of running transcriptions, the form that starts one.

import { Problem, get, memory, post, readFragment, readiness } from './api.js';
import { byId, count, dollars, make, say, sayState } from './dom.js';
import './keys.js';
import { refresh, remember, show, shownSlug, speakNow } from './session.js';

const POLL_MS = 2000;
const OFFLINE = ['pocketsphinx', 'sherpa-onnx'];
const items = new Map(); // slug → its button in the list
let steers = false;
let polling = 0;
let rounds = 0; // a newer round of polling ends the older one

// --- the token ------------------------------------------------------------------------------------------------

/** Try the token this tab has; ask for one when there is none or it is refused. */
async function enter() {
  readFragment();
  if (!memory.token) return ask('');
  try {
    await poll();
    steers = true;
  } catch {
    // A JWT (two dots) may be good for watching only; the stream will say.
    if (memory.token.split('.').length !== 3) return ask('The gateway refused this token.');
    steers = false;
    readiness().then(showEngine).catch((error) => say(byId('trouble'), error.message));
  }
  byId('gate').hidden = true;
  byId('console').hidden = byId('leave').hidden = false;
  byId('running').hidden = byId('new').hidden = !steers;
  choose(memory.session);
}

function ask(why) {
  clearTimeout(polling);
  rounds++;
  memory.token = '';
  const wanted = memory.session; // showing none forgets it, but after the right token it is wanted
  show('', false);
  memory.session = wanted;
  byId('gate').hidden = false;
  byId('console').hidden = byId('leave').hidden = true;
  say(byId('trouble'), '');
  say(byId('refused'), why);
  byId('token').value = '';
  byId('token').focus();
}

// --- the list -------------------------------------------------------------------------------------------------

/** Every two seconds, unless nobody looks. Raises Problem when the token is refused. */
async function poll() {
  clearTimeout(polling);
  const round = ++rounds;
  try {
    if (!document.hidden) await look();
    say(byId('trouble'), '');
  } catch (error) {
    if (round !== rounds) return;
    if (error instanceof Problem && error.status === 401) throw error;
    say(byId('trouble'), error.message);
  }
  if (round === rounds) polling = setTimeout(pollOn, POLL_MS);
}

const pollOn = () => poll().catch(() => ask('The gateway refuses this token now.'));

async function look() {
  const { transcriptions } = await get('api/transcription');
  showList(transcriptions);
  showEngine(await readiness());
  await refresh();
}

function showEngine({ engine, reasons }) {
  const offline = OFFLINE.includes(engine);
  const badge = byId('engine');
  say(badge, offline ? `${engine} · offline` : engine);
  badge.classList.toggle('offline', offline);
  badge.title = offline ? 'Offline recogniser: English only, expect wrong words' : 'The recogniser in use';
  if (reasons.length) throw new Problem(503, `Not ready: ${reasons.join('; ')}`);
}

function showList(transcriptions) {
  const slugs = new Set(transcriptions.map((one) => one.sessionSlug));
  for (const [slug, button] of items) {
    if (!slugs.has(slug)) {
      button.parentNode.remove();
      items.delete(slug);
    }
  }
  for (const one of transcriptions) {
    const button = items.get(one.sessionSlug) ?? newItem(one.sessionSlug);
    const [, state, facts, health] = button.children;
    sayState(state, one.state);
    const told = [one.source, one.engine, count(one.finals, 'final'), `${one.watchers} watching`, dollars(one.cost)];
    say(facts, told.map((fact) => fact.replaceAll(' ', '\u00a0')).join(' · '));
    say(health, one.health.reasons.join('; '));
    button.ariaCurrent = String(one.sessionSlug === shownSlug());
  }
  byId('none').hidden = transcriptions.length > 0;
}

function newItem(slug) {
  const button = make('button', { type: 'button' },
    make('b', { textContent: slug }),
    make('span', { className: 'state' }),
    make('span', { className: 'facts' }),
    make('span', { className: 'bad' }));
  button.addEventListener('click', () => choose(slug));
  byId('list').append(make('li', {}, button));
  items.set(slug, button);
  return button;
}

function choose(slug) {
  show(slug, steers);
  for (const [other, button] of items) button.ariaCurrent = String(other === slug);
}

// --- forms ----------------------------------------------------------------------------------------------------

async function create() {
  const text = (id) => byId(id).value.trim() || undefined;
  const { slug } = await post('api/sessions', { title: text('title') });
  const started = await post('api/transcription/start', {
    sessionSlug: slug,
    source: byId('create').elements.source.value,
    language: text('language'),
    translateTo: text('translate'),
    costCapUsd: byId('cap').value ? Number(byId('cap').value) : undefined,
    participantName: text('speaker'),
  });
  memory.name = text('speaker');
  remember(started);
  byId('create').reset();
  byId('new').open = false;
  byId('ingest').open = true;
  choose(slug);
  if (started.source === 'websocket') await speakNow();
}

byId('enter').addEventListener('submit', (event) => {
  event.preventDefault();
  memory.token = byId('token').value.trim();
  enter();
});
byId('open').addEventListener('submit', (event) => {
  event.preventDefault();
  choose(byId('slug').value.trim());
  byId('slug').value = '';
});
byId('create').addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = event.submitter;
  button.disabled = true;
  say(byId('create-refused'), '');
  try {
    await create();
  } catch (error) {
    say(byId('create-refused'), error.message);
  } finally {
    button.disabled = false;
  }
});
byId('leave').addEventListener('click', () => {
  memory.session = '';
  ask('');
});
byId('back').addEventListener('click', () => {
  const item = items.get(shownSlug());
  choose('');
  (item ?? byId('slug')).focus();
});
addEventListener('hashchange', enter);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && steers && memory.token) pollOn();
});
enter();
