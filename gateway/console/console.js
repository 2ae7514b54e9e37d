// The console: the list of running transcriptions, the form that starts one.

import { Problem, get, memory, post, readiness } from './api.js';
import { byId, count, dollars, onSubmit, say } from './dom.js';
import { Gate } from './gate.js';
import { Items } from './items.js';
import { listen } from './keys.js';
import { showReplicas } from './replicas.js';
import { captions, refresh, remember, show, shownSlug, speakNow, voice } from './session.js';

const OFFLINE = ['pocketsphinx', 'sherpa-onnx'];
const items = new Items(choose);
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
    byId('running').hidden = byId('new').hidden = !steers;
    if (!steers) byId('replicas').hidden = true;
    choose(memory.session);
  },
});

async function look() {
  const none = () => ({ replicas: [] }); // a replica of an older version, while one is deployed
  const [{ transcriptions, database }, { replicas }] = await Promise.all(
    [get('api/transcription'), get('api/replicas').catch(none)]);
  showReplicas(replicas);
  items.show(transcriptions.map((one) => ({
    slug: one.sessionSlug,
    name: one.sessionSlug,
    state: one.state,
    facts: [one.source, one.engine, count(one.finals, 'final'), `${one.watchers} watching`, dollars(one.cost)],
    trouble: one.health.reasons.join('; '),
  })), shownSlug());
  if (database === 'unavailable') {
    await refresh();
    throw new Problem(503, 'The database does not answer: shown is what runs on this gateway.');
  }
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

function choose(slug) {
  show(slug, steers);
  items.mark(slug);
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

byId('open').addEventListener('submit', (event) => {
  event.preventDefault();
  choose(byId('slug').value.trim());
  byId('slug').value = '';
});
onSubmit(byId('create'), byId('create-refused'), create);
byId('back').addEventListener('click', () => {
  const item = items.get(shownSlug());
  choose('');
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
