// Addresses of sessions and moments: /s/SLUG and /s/SLUG#t=12:34. A token is in none of them.

import { memory, readFragment } from './api.js';
import { clock } from './dom.js';

/** The session that the address of a page at /s/ names. */
export function slugHere() {
  const last = location.pathname.split('/').at(-1);
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

/** Where a session is read, from any page: relative to the gateway's root. `ms`: a moment of it. */
export function addressOf(slug, ms) {
  return `s/${encodeURIComponent(slug)}${ms === undefined ? '' : `#t=${clock(ms)}`}`;
}

/** The same as a whole address, to be given to others. */
export const linkTo = (slug, ms) => new URL(addressOf(slug, ms), document.baseURI).href;

/** Milliseconds of `12:34`, `1:02:03` or a number of seconds; undefined for anything else. */
export function momentOf(text) {
  if (!/^(\d{1,3}:)?(\d{1,3}:)?\d{1,6}(\.\d{1,3})?$/.test(text)) return undefined;
  return text.split(':').reduce((seconds, part) => seconds * 60 + Number(part), 0) * 1000;
}

/** The moment that the address names now; undefined without one. */
export function momentHere() {
  return momentOf(new URLSearchParams(location.hash.slice(1)).get('t') ?? '');
}

/** Name a moment in the address; with `push` one that Back leaves again. */
export function nameMoment(slug, ms, push) {
  const where = linkTo(slug, ms);
  if (where === location.href) return;
  if (push) history.pushState(null, '', where);
  else history.replaceState(null, '', where);
}

/**
 * Take the token of a link over, out of the address and leaving its moment there.
 * Returns: one that was not taken, because this tab has another one.
 */
export function arrive() {
  const moment = momentHere();
  const hasToken = /(^#|&)(token|session)=/.test(location.hash);
  const wanted = memory.session;
  const offered = hasToken ? readFragment() : '';
  memory.session = wanted; // here the path alone says which session
  if (hasToken && moment !== undefined) nameMoment(slugHere(), moment, false);
  return offered;
}
