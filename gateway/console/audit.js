// The audit log: who did what, newest first.

import { get } from './api.js';
import { attempt, byId, make, onSubmit, say } from './dom.js';
import { Gate } from './gate.js';
import { learnTitles, titleOf } from './titles.js';

const WHO = { service: 'service', user: 'user', guest: 'guest', room: 'participant' };
const DID = {
  start: 'started the transcription', stop: 'stopped the transcription', end: 'ended the session', delete: 'deleted the session',
  export: 'read the transcript', 'key read': 'was told the stream key', 'join token': 'renewed the invitation', options: 'changed how it is heard',
  pause: 'paused', resume: 'resumed', host: 'changed the host', limits: 'changed limits', session: 'changed who may read it', vocabulary: 'changed the vocabulary',
  search: 'searched',
  'webhook create': 'made a webhook', 'webhook change': 'changed a webhook', 'webhook delete': 'deleted a webhook', 'webhook secret': 'renewed a webhook’s secret',
  'webhook test': 'tested a webhook', 'webhook replay': 'sent a webhook’s events again',
};
let cursor = null;

/** Days are UTC's; the day of `to` is part of it, for the API the end is exclusive. */
function asked() {
  const query = new URLSearchParams();
  if (byId('from').value) query.set('from', byId('from').value);
  if (byId('to').value) query.set('to', new Date(Date.parse(byId('to').value) + 86_400_000).toISOString().slice(0, 10));
  if (byId('slug').value.trim()) query.set('session', byId('slug').value.trim());
  return query;
}

async function look() {
  const page = await get(`api/audit?${asked()}`);
  byId('rows').tBodies[0].replaceChildren();
  add(page);
}

function add({ entries, nextCursor }) {
  cursor = nextCursor;
  byId('rows').tBodies[0].append(...entries.map(row));
  const isEmpty = byId('rows').tBodies[0].childElementCount === 0;
  byId('rows').hidden = isEmpty;
  byId('none').hidden = !isEmpty;
  byId('more').hidden = cursor === null;
  learnTitles([...new Set(entries.map(({ sessionSlug }) => sessionSlug).filter(Boolean))]).then(() => {
    for (const link of byId('rows').querySelectorAll('a')) say(link.firstChild, titleOf(link.title));
  });
}

function row({ at, kind, who, what, sessionSlug, subject, address }) {
  const moment = new Date(at);
  const to = sessionSlug
    ? make('a', { href: `sessions#session=${encodeURIComponent(sessionSlug)}`, title: sessionSlug }, make('bdi', { textContent: titleOf(sessionSlug) })) : '';
  return make('tr', {},
    make('td', {}, make('time', { dateTime: at, title: at, textContent: moment.toLocaleString([], { dateStyle: 'medium', timeStyle: 'medium' }) })),
    make('td', { className: 'nowrap' }, `${WHO[kind] ?? kind} `, make('bdi', { className: 'mono', textContent: who })),
    make('td', { className: 'did', title: what, textContent: DID[what] ?? what }),
    make('td', {}, to, subject ? make('span', { className: 'mono', textContent: ` ${subject}` }) : ''),
    make('td', { className: 'mono', textContent: address }));
}

onSubmit(byId('ask'), byId('wrong'), look);
byId('more').addEventListener('click', ({ target }) => attempt(target, (text) => say(byId('wrong'), text), async () => {
  const query = asked();
  query.set('cursor', cursor);
  add(await get(`api/audit?${query}`));
}));

// The log is read, not watched; who wants it anew asks anew.
const gate = new Gate({ everyMs: 2 ** 31 - 1, refusals: [401, 403], look, show: () => {}, admits: () => false, enter: () => {} });
gate.enter();
