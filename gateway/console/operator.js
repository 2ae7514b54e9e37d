// How the whole runs, on one page: replicas, sessions and what is wrong with them, places at the provider, money of today.

import { addressOf } from './address.js';
import { get, readiness, request } from './api.js';
import { byId, count, dollars, make, say, sayState } from './dom.js';
import { Gate } from './gate.js';
import { showReplicas } from './replicas.js';
import { learnTitles, titleOf } from './titles.js';
import { healthFor, isSilent, sourceOf, stateFor } from './words.js';

const rows = new Map(); // slug → its row

const gate = new Gate({
  everyMs: 3000, refusals: [401, 403], look, show: () => {}, admits: () => false, enter: () => {},
});

/** Each part stands by itself: what one question finds is shown, whatever the others do. */
async function look() {
  const parts = [sessions, replicas, money, places, ready];
  const found = await Promise.allSettled(parts.map((part) => part()));
  const failed = found.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
  const refused = failed.find(({ status }) => status === 401 || status === 403);
  if (refused ?? failed[0]) throw refused ?? failed[0];
}

async function sessions() {
  const { transcriptions, database } = await get('api/transcription');
  show(transcriptions);
  learnTitles(transcriptions.map(({ sessionSlug }) => sessionSlug)).then(() => show(transcriptions));
  if (database === 'unavailable') throw new Error('The database does not answer: shown is what runs on this gateway.');
}

function show(transcriptions) {
  const troubleOf = ({ health }) => healthFor('operator', health.reasons);
  const troubled = transcriptions.filter(troubleOf).length;
  transcriptions = transcriptions.toSorted((one, other) => Boolean(troubleOf(other)) - Boolean(troubleOf(one))); // what is wrong first
  say(byId('running'), String(transcriptions.length));
  say(byId('speakers'), [count(transcriptions.reduce((sum, { tracks }) => sum + tracks.length, 0), 'speaker'),
    troubled ? `${troubled} in trouble` : ''].filter(Boolean).join(', '));
  byId('speakers').classList.toggle('bad', troubled > 0);
  say(byId('watchers'), transcriptions.reduce((sum, { watchers }) => sum + watchers, 0).toLocaleString('en'));
  byId('sessions').hidden = !transcriptions.length;
  byId('none').hidden = transcriptions.length > 0;
  const slugs = new Set(transcriptions.map(({ sessionSlug }) => sessionSlug));
  for (const [slug, row] of rows) {
    if (slugs.has(slug)) continue;
    row.remove();
    rows.delete(slug);
  }
  transcriptions.forEach((one, place) => {
    const row = rows.get(one.sessionSlug) ?? add(one.sessionSlug);
    const there = byId('sessions').tBodies[0].children[place] ?? null;
    if (there !== row) byId('sessions').tBodies[0].insertBefore(row, there);
    const [name, state, source, speakers, watchers, cost, health] = row.children;
    say(name.firstChild.firstChild, titleOf(one.sessionSlug));
    sayState(state.firstChild, stateFor('operator', one.state, one.paused.everybody), one.paused.everybody ? 'paused' : one.state);
    source.textContent = sourceOf(one.source);
    speakers.textContent = String(one.tracks.length);
    speakers.dataset.label = one.tracks.length === 1 ? 'speaker' : 'speakers';
    watchers.dataset.label = one.watchers === 1 ? 'reader' : 'readers'; // where the table is too narrow for its head
    watchers.textContent = one.watchers.toLocaleString('en');
    cost.textContent = dollars(one.cost);
    const silent = isSilent(one.health);
    health.textContent = troubleOf(one) || (silent ? 'nobody speaks yet' : 'well');
    health.className = troubleOf(one) ? 'bad' : silent ? 'hint' : 'good';
  });
}

function add(slug) {
  const link = make('a', { href: `./#session=${encodeURIComponent(slug)}`, title: slug }, make('bdi'));
  const reading = make('a', { href: addressOf(slug), textContent: 'read', className: 'hint', ariaLabel: `Read ${slug}` });
  const row = make('tr', {}, make('th', { scope: 'row' }, link, ' ', reading), make('td', {}, make('span', { className: 'state' })),
    ...['nowrap', 'number', 'number', 'number', ''].map((className) => make('td', { className })));
  rows.set(slug, row);
  return row;
}

async function replicas() {
  showReplicas((await get('api/replicas')).replicas);
}

async function money() {
  const now = new Date();
  const day = (later) => new Date(now.getTime() + later * 86_400_000).toISOString().slice(0, 10);
  const { totals } = await get(`api/usage?${new URLSearchParams({ from: day(0), to: day(1), groupBy: 'day' })}`);
  say(byId('money'), dollars(totals.totalCost));
  say(byId('minutes'), `${count(totals.durationMinutes, 'minute')}, ${dollars(totals.costSaved)} saved by silence`);
}

/** Of the metrics, unless they have a port of their own. */
async function places() {
  const text = await request('metrics').then((response) => response.text(), (problem) => {
    if (problem.status === 404) return '';
    throw problem;
  });
  const read = (name) => new RegExp(`^gateway_${name}(?:\\{[^}]*\\})? (\\S+)`, 'm').exec(text)?.[1];
  if (read('provider_sessions') === undefined) return say(byId('queue'), 'the metrics are on another port');
  const mine = Number(read('provider_sessions'));
  const held = Math.max(Number(read('provider_places_held') ?? 0), mine);
  const waiting = Number(read('provider_places_waiting') ?? 0);
  say(byId('places'), `${held} in use`);
  say(byId('queue'), Number(read('provider_circuit_open') ?? 0) ? 'the provider answers nobody' : waiting ? `${count(waiting, 'speaker')} waiting` : 'nobody waits');
}

async function ready() {
  const { engine, reasons, full } = await readiness();
  say(byId('engine'), engine);
  say(byId('verdict'), reasons.length ? `Not ready: ${reasons.join('; ')}` : full ? 'Full: what runs goes on, nothing more begins here.' : 'Ready.');
  byId('verdict').className = reasons.length ? 'bad' : 'hint';
}

gate.enter();
