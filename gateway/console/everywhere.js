// Searching what was said in all sessions, in place of their list: each hit is a link to its moment.

import { addressOf } from './address.js';
import { get } from './api.js';
import { attempt, byId, clock, make, say } from './dom.js';
import { learnTitles, titleOf } from './titles.js';

const SETTLE_MS = 250;
let wanted = '';
let cursor = null;
let timer = 0;

/** Of a page that has the field `everywhere`, and `running`, the list that it replaces. */
export function searchEverywhere() {
  byId('everywhere').addEventListener('input', ({ target }) => {
    wanted = target.value.trim();
    byId('running').hidden = Boolean(wanted);
    byId('found').hidden = !wanted;
    clearTimeout(timer);
    if (wanted) timer = setTimeout(() => look().catch(complain), SETTLE_MS);
  });
  byId('more-hits').addEventListener('click', ({ target }) => attempt(target, (text) => text && say(byId('found-told'), text), () => look(cursor)));
}

const complain = ({ message }) => say(byId('found-told'), message);

async function look(from) {
  const asked = wanted;
  const { hits, nextCursor, complete } = await get(`api/search?${new URLSearchParams({ q: asked, ...(from && { cursor: from }) })}`);
  await learnTitles(hits.filter(({ title }) => !title).map(({ sessionSlug }) => sessionSlug));
  if (asked !== wanted) return; // it was typed on meanwhile
  if (!from) byId('hits').replaceChildren();
  byId('hits').append(...hits.map(row));
  cursor = nextCursor;
  byId('more-hits').hidden = cursor === null;
  const some = byId('hits').childElementCount > 0;
  say(byId('found-told'), complete ? (some ? '' : 'Nobody has said that.') : 'Older sessions are still being made ready for the search.');
}

function row({ sessionSlug, title, startMs, startedAt, participantIdentity, participantName, text, marks }) {
  const day = startedAt && new Date(startedAt).toLocaleDateString([], { dateStyle: 'medium' });
  const facts = [participantName || participantIdentity, day, clock(startMs)].filter(Boolean);
  const words = marks.flatMap(({ start, end }, place) => [
    text.slice(place ? marks[place - 1].end : 0, start), make('mark', { textContent: text.slice(start, end) }),
  ]);
  return make('li', {}, make('a', { href: addressOf(sessionSlug, startMs) },
    make('bdi', { textContent: title || titleOf(sessionSlug) }),
    make('span', { className: 'said', dir: 'auto' }, ...words, text.slice(marks.at(-1)?.end ?? 0)),
    make('span', { className: 'facts' }, ...facts.flatMap((one, place) => [place ? ' · ' : '', make('bdi', { textContent: one })]))));
}
