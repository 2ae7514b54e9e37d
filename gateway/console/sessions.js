// The sessions page: create one, invite people, end it, read what remains of it, delete it.

import { addressOf } from './address.js';
import { Problem, get, memory, post, request, save, saveTranscript, showAddress } from './api.js';
import { confirmed } from './confirm.js';
import { attempt, byId, clock, count, dateOf, onSubmit, say, sayState, when } from './dom.js';
import { searchEverywhere } from './everywhere.js';
import { Gate } from './gate.js';
import { Invite } from './invite.js';
import { Items } from './items.js';
import { listen } from './keys.js';
import { People } from './people.js';
import { Said, showAnalysis } from './remains.js';
import { nameOf, pathOf, titleOf } from './titles.js';
import { stateFor } from './words.js';

const PAGE = 50;
const MOST = 1000; // the API lists no more
const COUNTED = 20; // live sessions whose people are counted in the list
const OPEN = ['CREATED', 'LIVE'];

const items = new Items(pick, (slug) => addressOf(slug));
const people = new People((text) => say(byId('failed'), text));
const invite = new Invite();
const said = new Said(byId('finals'));
let shown = null; // {slug, view, analysis}
let listed = PAGE;

function lasted({ startedAt, endedAt }) {
  return startedAt ? clock((endedAt ? Date.parse(endedAt) : Date.now()) - Date.parse(startedAt)) : '–';
}

const gate = new Gate({
  everyMs: 3000,
  refusals: [401, 403],
  look,
  show,
  admits: () => false,
  enter() {
    showAddress('session', memory.session, { replace: true });
    return show(memory.session);
  },
});

// --- the list -------------------------------------------------------------------------------------------------

async function look() {
  const { sessions } = await get(`api/sessions?limit=${listed}`).catch(showRunning);
  const live = sessions.filter(({ status }) => status === 'LIVE').slice(0, COUNTED);
  const counts = new Map(await Promise.all(live.map(async ({ slug }) => [slug, await present(slug)])));
  items.show(sessions.map((one) => ({
    slug: one.slug,
    name: nameOf(one),
    state: one.status,
    facts: [
      counts.has(one.slug) && counts.get(one.slug) !== null && count(counts.get(one.slug), 'person', 'people'),
      one.title && when(one.startedAt ?? one.createdAt), // else it is the name
      one.startedAt && lasted(one),
    ],
  })), shown?.slug);
  byId('older').hidden = sessions.length < listed || listed >= MOST;
  await refresh();
}

/** Without the database: what runs on this gateway is still known, to services. */
async function showRunning(problem) {
  if (problem.status !== 503) throw problem;
  const { transcriptions } = await get('api/transcription').catch(() => ({ transcriptions: [] }));
  items.show(transcriptions.map(({ sessionSlug, state }) => ({
    slug: sessionSlug, name: titleOf(sessionSlug), state, told: stateFor('operator', state), facts: ['live now'],
  })), shown?.slug);
  throw new Problem(503, transcriptions.length
    ? 'The database does not answer: shown is what runs on this gateway. The others come back with it.'
    : 'The database does not answer: sessions cannot be shown until it does. What is spoken meanwhile is kept.');
}

/** How many people are there; null when the session has gone meanwhile. */
async function present(slug) {
  const { participants } = await get(`${pathOf(slug)}/participants`).catch(() => ({}));
  return participants?.length ?? null;
}

// --- one session ----------------------------------------------------------------------------------------------

/** As a person chooses: Back undoes it. */
function pick(slug) {
  showAddress('session', slug);
  return show(slug);
}

/** Show a session; an empty slug shows none. */
async function show(slug) {
  if (slug && slug === shown?.slug) return;
  memory.session = slug;
  byId('console').dataset.view = slug ? 'session' : 'list';
  byId('nothing').hidden = Boolean(slug);
  byId('session').hidden = true; // until it is known
  items.mark(slug);
  say(byId('failed'), '');
  said.clear();
  people.clear();
  document.title = 'Sessions · Transcription gateway';
  shown = slug ? { slug, view: null, analysis: undefined } : null;
  await refresh().catch((error) => say(byId('trouble'), error.message));
  if (shown?.view && byId('back').offsetParent) byId('back').focus(); // on a narrow screen the list has gone
}

async function refresh() {
  const now = shown;
  if (!now) return;
  const path = pathOf(now.slug);
  let view, participants, lines;
  try {
    view = await get(path);
    [{ participants }, lines] = await Promise.all([
      get(`${path}/participants?all=1`),
      get(`${path}/transcript?since=${said.seq}`),
    ]);
  } catch (error) {
    if (error.status !== 404 && error.status !== 403) throw error;
    if (shown === now) gone(now.slug, error.message);
    return;
  }
  if (shown !== now) return;
  now.view = view;
  showView(view);
  people.show(now.slug, participants, { isOver: !OPEN.includes(view.status) });
  said.add(lines);
  byId('session').hidden = false;
  if (view.status === 'ENDED' && now.analysis?.status !== 'DONE') await readAnalysis(now);
}

function gone(slug, why) {
  pick('');
  items.drop(slug);
  say(byId('nothing').firstElementChild, why);
}

async function readAnalysis(now) {
  try {
    now.analysis = await get(`${pathOf(now.slug)}/analysis`);
  } catch (error) {
    if (error.status !== 404) throw error;
    now.analysis = null; // it comes when the last finals are in
  }
  if (shown === now) showAnalysis(now.analysis);
}

function showView(view) {
  const isOpen = OPEN.includes(view.status);
  say(byId('name'), nameOf(view));
  document.title = `${nameOf(view)} · Transcription gateway`;
  sayState(byId('state'), view.status.toLowerCase(), view.status);
  say(byId('slug'), view.slug);
  say(byId('since-title'), view.startedAt ? 'Started' : 'Created');
  say(byId('since'), dateOf(view.startedAt ?? view.createdAt));
  say(byId('duration'), lasted(view));
  say(byId('in-space'), view.spaceId);
  byId('read').href = addressOf(view.slug);
  byId('live').hidden = !isOpen;
  byId('live').href = `./#session=${encodeURIComponent(view.slug)}`;
  byId('end').hidden = view.status !== 'LIVE';
  byId('analysis').hidden = view.status !== 'ENDED';
  byId('document').hidden = !view.rawTranscriptReadyAt;
  invite.show(view);
}

// --- what buttons do ------------------------------------------------------------------------------------------

async function end({ slug, view }) {
  const isSure = await confirmed(`End “${nameOf(view)}”?`,
    'Everybody is told that it is over, and nobody can join again. The last words are awaited.', 'End the session');
  if (isSure) await post(`${pathOf(slug)}/end`);
}

async function remove({ slug, view }) {
  const isSure = await confirmed(`Delete “${nameOf(view)}”?`,
    'Its transcript, analysis and people are gone for good. What it has cost is kept.', 'Delete the session');
  if (!isSure) return;
  await request(pathOf(slug), { method: 'DELETE' });
  if (shown?.slug === slug) gone(slug, 'The session is deleted.');
}

async function retry({ slug }) {
  await post(`${pathOf(slug)}/analysis/retry`);
}

async function saveDocument({ slug }) {
  const response = await request(`${pathOf(slug)}/document`);
  await save(response, `${slug}.document.json`);
}

async function create() {
  const text = (id) => byId(id).value.trim() || undefined;
  const requireJoinToken = byId('closed').checked;
  const asked = { title: text('title'), spaceId: text('space'), requireJoinToken };
  const { slug, joinToken, joinTokenMadeAt } = await post('api/sessions', asked);
  memory.keepJoinToken(slug, joinToken, joinTokenMadeAt);
  byId('create').reset();
  byId('new').open = false;
  await pick(slug);
  await gate.look();
}

/** Run an action of a button, and show what came of it. */
function onClick(button, action) {
  button.addEventListener('click', () => {
    const now = shown;
    const complain = (text) => shown === now && say(byId('failed'), text);
    attempt(button, complain, async () => {
      await action(now);
      await refresh();
    });
  });
}

onClick(byId('end'), end);
onClick(byId('delete'), remove);
onClick(byId('retry'), retry);
onClick(byId('document'), saveDocument);
onClick(byId('older'), () => {
  listed = Math.min(MOST, listed + PAGE);
  return gate.look();
});
for (const button of document.querySelectorAll('[data-format]')) {
  onClick(button, ({ slug }) => saveTranscript(slug, button.dataset.format));
}
onSubmit(byId('create'), byId('create-refused'), create);
byId('back').addEventListener('click', () => {
  const item = items.get(shown?.slug);
  pick('');
  (item ?? byId('new').firstElementChild).focus();
});
listen({ j: () => items.step(1), k: () => items.step(-1), '/': () => byId('everywhere').focus() });
searchEverywhere();
gate.enter();
