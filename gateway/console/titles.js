// What sessions are called. A title does not change, so each is asked for once.

import { get } from './api.js';

const LISTED = 200;
const KEPT = 2000;
const AT_ONCE = 20; // the others show their slugs
const titles = new Map(); // slug → title, empty where there is none
let isListed = false;

export const pathOf = (slug) => `api/sessions/${encodeURIComponent(slug)}`;

/** What people read: the title, or the slug where there is none or it is not known yet. */
export const titleOf = (slug) => titles.get(slug) || slug;

/** Of an answer that has it. */
export function noteTitle({ slug, title }) {
  titles.delete(slug);
  titles.set(slug, title ?? '');
  if (titles.size > KEPT) titles.delete(titles.keys().next().value);
}

/** Learn those that are not known yet; what cannot be learned now is asked for the next time. */
export async function learnTitles(slugs) {
  const unknown = () => slugs.filter((slug) => !titles.has(slug));
  if (unknown().length > 1 && !isListed) {
    const { sessions } = await get(`api/sessions?limit=${LISTED}`).catch(() => ({ sessions: [] }));
    isListed = sessions.length > 0;
    sessions.forEach(noteTitle);
  }
  await Promise.all(unknown().slice(0, AT_ONCE).map(async (slug) => {
    await get(pathOf(slug)).then(noteTitle, ({ status }) => status === 404 && noteTitle({ slug }));
  }));
}
