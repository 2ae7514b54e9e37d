// What sessions are called, on every page. A title does not change, so each is asked for once.

import { get } from './api.js';
import { when } from './dom.js';

const LISTED = 200;
const KEPT = 2000;
const AT_ONCE = 20; // the others show their slugs
const names = new Map(); // slug → what it is called, empty where that cannot be known
let isListed = false;

export const pathOf = (slug) => `api/sessions/${encodeURIComponent(slug)}`;

/** What people read, of a session's view: the title, or when it was held. */
export const nameOf = ({ title, startedAt, createdAt }) => title || `Meeting of ${when(startedAt ?? createdAt)}`;

/** The same of a slug; the slug itself while nothing more is known. */
export const titleOf = (slug) => names.get(slug) || slug;

/** Of a view. */
export function noteTitle(view) {
  names.delete(view.slug);
  names.set(view.slug, view.createdAt ? nameOf(view) : '');
  if (names.size > KEPT) names.delete(names.keys().next().value);
}

/** Learn those that are not known yet; what cannot be learned now is asked for the next time. */
export async function learnTitles(slugs) {
  const unknown = () => [...new Set(slugs)].filter((slug) => !names.has(slug));
  if (unknown().length > 1 && !isListed) {
    const { sessions } = await get(`api/sessions?limit=${LISTED}`).catch(() => ({ sessions: [] }));
    isListed = sessions.length > 0;
    sessions.forEach(noteTitle);
  }
  await Promise.all(unknown().slice(0, AT_ONCE).map(async (slug) => {
    await get(pathOf(slug)).then(noteTitle, ({ status }) => status === 404 && noteTitle({ slug }));
  }));
}
