// The sessions page: create one, invite people, end it, read what remains of it, delete it.

import { Problem, get, memory, post, readFragment, request, save, saveTranscript } from './api.js';
import { byId, clock, copy, make, say, sayState } from './dom.js';
import { Said, showAnalysis, showPeople } from './remains.js';

const POLL_MS = 3000;
const PAGE = 50;
const MOST = 1000; // the API lists no more
const COUNTED = 20; // live sessions whose people are counted in the list
const OPEN = ['CREATED', 'LIVE'];
const WORDS = { CREATED: 'created', LIVE: 'live', ENDED: 'ended', EXPIRED: 'expired' };

const items = new Map(); // slug → its button in the list
const invitations = new Map(); // slug → its join token, which only the answer of create tells
const said = new Said(byId('finals'));
let shown = null; // {slug, view, analysis}
let listed = PAGE;
let polling = 0;
let rounds = 0; // a newer round of polling ends the older one

const pathOf = (slug) => `api/sessions/${encodeURIComponent(slug)}`;
const date = (moment) => new Date(moment).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
/** Shorter, for the list: the year only where it is another one. */
function when(moment) {
  const isThisYear = new Date(moment).getFullYear() === new Date().getFullYear();
  return isThisYear
    ? new Date(moment).toLocaleString([], { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit' })
    : date(moment);
}

const nameOf = ({ title, slug }) => title || slug;

function lasted({ startedAt, endedAt }) {
  return startedAt ? clock((endedAt ? Date.parse(endedAt) : Date.now()) - Date.parse(startedAt)) : '–';
}

// --- the token ------------------------------------------------------------------------------------------------

async function enter() {
  readFragment();
  if (!memory.token) return ask('');
  try {
    await poll();
  } catch (error) {
    return ask(error.message);
  }
  byId('gate').hidden = true;
  byId('console').hidden = byId('leave').hidden = false;
  if (memory.session) await show(memory.session);
}

function ask(why) {
  clearTimeout(polling);
  rounds++;
  memory.token = '';
  const wanted = memory.session;
  show('');
  memory.session = wanted;
  byId('gate').hidden = false;
  byId('console').hidden = byId('leave').hidden = true;
  say(byId('trouble'), '');
  say(byId('refused'), why);
  byId('token').value = '';
  byId('token').focus();
}

// --- the list -------------------------------------------------------------------------------------------------

/** Raises Problem when the token is refused. */
async function poll() {
  clearTimeout(polling);
  const round = ++rounds;
  try {
    if (!document.hidden) await look();
    say(byId('trouble'), '');
  } catch (error) {
    if (round !== rounds) return;
    if (error instanceof Problem && [401, 403].includes(error.status)) throw error;
    say(byId('trouble'), error.message);
  }
  if (round === rounds) polling = setTimeout(pollOn, POLL_MS);
}

const pollOn = () => poll().catch((error) => ask(error.message));

async function look() {
  const { sessions } = await get(`api/sessions?limit=${listed}`);
  const live = sessions.filter(({ status }) => status === 'LIVE').slice(0, COUNTED);
  const counts = new Map(await Promise.all(live.map(async ({ slug }) => [slug, await present(slug)])));
  showList(sessions, counts);
  await refresh();
}

/** How many people are there; null when the session has gone meanwhile. */
async function present(slug) {
  const { participants } = await get(`${pathOf(slug)}/participants`).catch(() => ({}));
  return participants?.length ?? null;
}

function showList(sessions, counts) {
  const slugs = new Set(sessions.map(({ slug }) => slug));
  for (const slug of items.keys()) if (!slugs.has(slug)) drop(slug);
  sessions.forEach((one, place) => {
    const button = items.get(one.slug) ?? newItem(one.slug);
    if (byId('list').children[place] !== button.parentNode) byId('list').insertBefore(button.parentNode, byId('list').children[place] ?? null);
    const [name, state, facts] = button.children;
    say(name, nameOf(one));
    showState(state, one.status);
    const people = counts.get(one.slug);
    say(facts, [
      people != null && (people === 1 ? '1 person' : `${people} people`),
      when(one.startedAt ?? one.createdAt),
      one.startedAt && lasted(one),
    ].filter(Boolean).map((fact) => fact.replaceAll(' ', '\u00a0')).join(' · '));
    button.ariaCurrent = String(one.slug === shown?.slug);
  });
  byId('none').hidden = sessions.length > 0;
  byId('older').hidden = sessions.length < listed || listed >= MOST;
}

function newItem(slug) {
  const button = make('button', { type: 'button' },
    make('b'), make('span', { className: 'state' }), make('span', { className: 'facts' }));
  button.addEventListener('click', () => show(slug));
  byId('list').append(make('li', {}, button));
  items.set(slug, button);
  return button;
}

function drop(slug) {
  items.get(slug)?.parentNode.remove();
  items.delete(slug);
}

function showState(element, status) {
  sayState(element, WORDS[status] ?? status);
  element.dataset.state = status;
}

// --- one session ----------------------------------------------------------------------------------------------

/** Show a session; an empty slug shows none. */
async function show(slug) {
  memory.session = slug;
  byId('console').dataset.view = slug ? 'session' : 'list';
  byId('nothing').hidden = Boolean(slug);
  byId('session').hidden = true; // until it is known
  for (const [other, button] of items) button.ariaCurrent = String(other === slug);
  say(byId('failed'), '');
  said.clear();
  document.title = 'Sessions · Transcription gateway';
  shown = slug ? { slug, view: null, analysis: undefined } : null;
  await refresh().catch((error) => say(byId('trouble'), error.message));
  if (shown?.view && byId('back').offsetParent) byId('back').focus(); // on a narrow screen the list has gone
}

async function refresh() {
  const now = shown;
  if (!now) return;
  const path = pathOf(now.slug);
  let view, people, lines;
  try {
    view = await get(path);
    [{ participants: people }, lines] = await Promise.all([
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
  showPeople(people, !OPEN.includes(view.status));
  said.add(lines);
  byId('session').hidden = false;
  if (view.status === 'ENDED' && now.analysis?.status !== 'DONE') await readAnalysis(now);
}

function gone(slug, why) {
  show('');
  drop(slug);
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
  showState(byId('state'), view.status);
  say(byId('slug'), view.slug);
  say(byId('since-title'), view.startedAt ? 'Started' : 'Created');
  say(byId('since'), date(view.startedAt ?? view.createdAt));
  say(byId('duration'), lasted(view));
  say(byId('in-space'), view.spaceId);
  byId('live').hidden = !isOpen;
  byId('live').href = `./#session=${encodeURIComponent(view.slug)}`;
  byId('end').hidden = view.status !== 'LIVE';
  byId('invite').hidden = !isOpen;
  byId('analysis').hidden = view.status !== 'ENDED';
  byId('document').hidden = !view.rawTranscriptReadyAt;
  const key = invitations.get(view.slug);
  const link = new URL('join', location.href);
  link.hash = `session=${encodeURIComponent(view.slug)}${key ? `&joinToken=${encodeURIComponent(key)}` : ''}`;
  if (byId('link').value !== link.href) byId('link').value = link.href;
  say(byId('link-hint'), key
    ? 'It holds the join token, which is told this once: copy it before you leave this page.'
    : 'Whoever has it gives a name and is in. A session that wants its join token needs the link from when it was created.');
}

// --- what buttons do ------------------------------------------------------------------------------------------

/** Ask in a dialog. Returns whether the answer was yes; Esc is no. */
function confirmed(title, text, yes) {
  const dialog = byId('confirm');
  say(byId('confirm-title'), title);
  say(byId('confirm-text'), text);
  say(byId('confirm-yes'), yes);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener('close', () => answer(dialog.returnValue === 'yes'), { once: true });
  });
}

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
  const { slug, joinToken } = await post('api/sessions', { title: text('title'), spaceId: text('space'), requireJoinToken });
  if (joinToken) invitations.set(slug, joinToken);
  byId('create').reset();
  byId('new').open = false;
  await show(slug);
  await poll();
}

/** Run an action of a button; while it runs the button is off, and what went wrong is said. */
function onClick(button, action) {
  button.addEventListener('click', async () => {
    button.disabled = true;
    say(byId('failed'), '');
    const now = shown;
    try {
      await action(now);
      await refresh();
    } catch (error) {
      if (shown === now) say(byId('failed'), error.message);
    } finally {
      button.disabled = false;
    }
  });
}

onClick(byId('end'), end);
onClick(byId('delete'), remove);
onClick(byId('retry'), retry);
onClick(byId('document'), saveDocument);
onClick(byId('copy'), () => copy(byId('link'), byId('copy')));
onClick(byId('older'), () => {
  listed = Math.min(MOST, listed + PAGE);
  return poll();
});
for (const button of document.querySelectorAll('[data-format]')) {
  onClick(button, ({ slug }) => saveTranscript(slug, button.dataset.format));
}
byId('enter').addEventListener('submit', (event) => {
  event.preventDefault();
  memory.token = byId('token').value.trim();
  enter();
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
  const item = items.get(shown?.slug);
  show('');
  (item ?? byId('new').firstElementChild).focus();
});
addEventListener('keydown', (event) => {
  const isTyping = event.target.closest?.('input, textarea, select');
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping || byId('confirm').open || byId('console').hidden) return;
  const by = { j: 1, k: -1 }[event.key];
  const buttons = [...byId('list').querySelectorAll('button')];
  if (!by || !buttons.length) return;
  event.preventDefault();
  const place = buttons.findIndex((button) => button.ariaCurrent === 'true');
  const next = buttons[place < 0 ? 0 : (place + by + buttons.length) % buttons.length];
  next.focus();
  next.click();
});
addEventListener('hashchange', enter);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && memory.token) pollOn();
});
enter();
