// The console: the list of running transcriptions, and what begins one.

import { addressOf } from './address.js';
import { Problem, get, memory, post, readiness, showAddress } from './api.js';
import { byId, count, dollars, onSubmit, say } from './dom.js';
import { Gate } from './gate.js';
import { remember } from './ingest.js';
import { Items } from './items.js';
import { listen } from './keys.js';
import { captions, refresh, show, shownSlug, speakNow, voice } from './session.js';
import { learnTitles, titleOf } from './titles.js';
import { healthFor, isSilent, sourceOf, stateFor } from './words.js';

const OFFLINE = ['pocketsphinx', 'sherpa-onnx'];
const TITLES_MS = 300; // what a session is called may come later than that it runs
const items = new Items(pick, (slug) => addressOf(slug));
let steers = false;

const gate = new Gate({
  everyMs: 2000,
  refusals: [401],
  look,
  show: choose,
  admits: () => memory.token.split('.').length === 3, // a JWT may be good for watching only; the stream will say
  enter(isRefused) {
    steers = !isRefused;
    if (isRefused) readiness().then(showEngine).catch((error) => say(byId('trouble'), error.message));
    byId('running').hidden = byId('new').hidden = byId('begin').hidden = !steers;
    byId('choose').hidden = steers;
    showAddress('session', memory.session, { replace: true });
    choose(memory.session);
  },
});

async function look() {
  const { transcriptions, database } = await get('api/transcription');
  const slugs = transcriptions.map(({ sessionSlug }) => sessionSlug);
  const learnt = learnTitles(slugs).then(() => list(transcriptions));
  await Promise.race([learnt, new Promise((later) => setTimeout(later, TITLES_MS))]);
  list(transcriptions);
  if (database === 'unavailable') {
    await refresh().catch(() => {}); // of people and links the database alone knows
    throw new Problem(503, 'The database does not answer: shown is what runs on this gateway.');
  }
  showEngine(await readiness());
  await refresh();
}

function list(transcriptions) {
  items.show(transcriptions.map((one) => ({
    slug: one.sessionSlug,
    name: titleOf(one.sessionSlug),
    state: one.paused.everybody ? 'paused' : one.state,
    told: stateFor('operator', one.state, one.paused.everybody),
    facts: [sourceOf(one.source), isSilent(one.health) ? 'nobody speaks yet' : count(one.finals, 'line'),
      one.watchers && `${one.watchers.toLocaleString('en')} reading`, one.cost && dollars(one.cost)],
    trouble: healthFor('operator', one.health.reasons),
  })), shownSlug());
}

function showEngine({ engine, reasons }) {
  const offline = OFFLINE.includes(engine);
  const badge = byId('engine');
  say(badge, offline ? `${engine} · offline` : engine);
  badge.classList.toggle('offline', offline);
  badge.title = offline ? 'Offline recogniser: English only, expect wrong words' : 'The recogniser in use';
  if (reasons.length) throw new Problem(503, `Not ready: ${reasons.join('; ')}`);
}

function choose(slug) {
  show(slug, steers);
  items.mark(slug);
}

/** As a person chooses: Back undoes it. */
function pick(slug) {
  showAddress('session', slug);
  choose(slug);
}

// --- what begins one ------------------------------------------------------------------------------------------

/** Create a session, start its transcription, and show it. Returns the source. */
async function begin({ title, requireJoinToken, ...options }) {
  const { slug, joinToken, joinTokenMadeAt } = await post('api/sessions', { title, requireJoinToken });
  memory.keepJoinToken(slug, joinToken, joinTokenMadeAt);
  const started = await post('api/transcription/start', { sessionSlug: slug, ...options });
  remember(started);
  byId('ingest').open = true;
  pick(slug);
  return started.source;
}

async function create() {
  const text = (id) => byId(id).value.trim() || undefined;
  const name = text('speaker');
  const source = await begin({
    title: text('title'),
    source: byId('create').elements.source.value,
    language: text('language'),
    translateTo: text('translate'),
    costCapUsd: byId('cap').value ? Number(byId('cap').value) : undefined,
    participantName: name,
  });
  memory.name = name;
  byId('create').reset();
  byId('new').open = false;
  if (source === 'websocket') await speakNow();
}

/** One press each: how a session begins that nobody has prepared. */
const WAYS = {
  async speak() {
    await begin({ source: 'websocket' });
    await speakNow();
  },
  rtmp: () => begin({ source: 'rtmp' }),
  async invite() {
    await begin({ source: 'websocket', requireJoinToken: true });
    byId('invite-box').open = true;
  },
};

onSubmit(byId('begin'), byId('begin-refused'), ({ value }) => WAYS[value]());
onSubmit(byId('create'), byId('create-refused'), create);
byId('open').addEventListener('submit', (event) => {
  event.preventDefault();
  pick(byId('slug').value.trim());
  byId('slug').value = '';
});
byId('back').addEventListener('click', () => {
  const item = items.get(shownSlug());
  pick('');
  (item ?? byId('slug')).focus();
});
listen({
  j: () => items.step(1),
  k: () => items.step(-1),
  '?': () => byId('help').showModal(),
}, {
  '/': () => byId('search').focus(),
  f: () => captions.follow(),
  m: () => voice.toggleMute(),
});
byId('keys').addEventListener('click', () => byId('help').showModal());
gate.enter();
