// The control API: requests with the token, errors as what the gateway says of them.

import { answerOtherTabs } from './tabs.js';

const TOKEN = 'gateway.token';
const SESSION = 'gateway.session';
const NAME = 'gateway.name';
const PASS = 'gateway.pass.';
const JOIN = 'gateway.join.';

/** A request that was not answered with what was asked for. `status` 0: the gateway did not answer at all. */
export class Problem extends Error {
  constructor(status, detail, hint) {
    super([detail, hint].filter(Boolean).map(sentence).join(' '));
    this.status = status;
    this.detail = detail;
  }
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? '' : '.'}`;

/** What this tab remembers; gone when the tab is closed. */
export const memory = {
  get token() { return kept(TOKEN); },
  set token(value) { keep(TOKEN, value); },
  get session() { return kept(SESSION); },
  set session(value) { keep(SESSION, value); },
  get name() { return kept(NAME); },
  set name(value) { keep(NAME, value); },
  /** A guest's own token for one session. */
  pass: (slug) => kept(PASS + slug),
  keepPass: (slug, token) => keep(PASS + slug, token),
  /** With which guests enter; told once, by the answers of create and renew, or brought by the link. */
  /** `madeAt`: of the one that is good now, as a session's view tells it. One that is known to be another is none. */
  joinToken: (slug, madeAt) => {
    const [token, made] = kept(JOIN + slug).split(' ');
    return made && madeAt && made !== madeAt ? '' : token;
  },
  keepJoinToken: (slug, token, madeAt = '') => keep(JOIN + slug, token && `${token} ${madeAt}`.trim()),
};

answerOtherTabs(() => memory.token);

const kept = (name) => sessionStorage.getItem(name) ?? '';

function keep(name, value) {
  if (value) sessionStorage.setItem(name, value);
  else sessionStorage.removeItem(name);
}

/** Whether a token is good for one session: a guest's of this gateway names its room, one of LiveKit has a grant for it. */
export function isOfRoom(token) {
  try {
    const claims = JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));
    return 'room' in claims || 'video' in claims;
  } catch {
    return false;
  }
}

/**
 * Take `#token=…` over and out of the address bar, before anybody sees or shares it; `session=…` stays, it is the address
 * of what is shown. Returns: a token that has not been taken, because this tab has another one: whoever sends a link must
 * not choose in whose name its reader acts.
 */
export function readFragment() {
  const { token: offered = '', session } = takeFragment('token');
  if (session) memory.session = session;
  if (memory.token && offered !== memory.token) return offered;
  if (offered) memory.token = offered;
  return '';
}

/** What stands behind the `#`, by name; `secrets` leave the address bar. */
export function takeFragment(...secrets) {
  const parts = location.hash.slice(1).split('&').filter(Boolean).map((part) => {
    const [name, ...rest] = part.split('=');
    return { name, value: unescaped(rest.join('=')), part };
  });
  const open = parts.filter(({ name }) => !secrets.includes(name));
  if (open.length < parts.length) putAddress(open.map(({ part }) => part).join('&'), 'replaceState');
  return Object.fromEntries(parts.map(({ name, value }) => [name, value]));
}

/** The address of what is chosen on this page: Back goes to what was chosen before. An empty value: of the page itself. */
export function showAddress(name, value, { replace = false } = {}) {
  const fragment = value ? `${name}=${encodeURIComponent(value)}` : '';
  if (location.hash.slice(1) !== fragment) putAddress(fragment, replace ? 'replaceState' : 'pushState');
}

const putAddress = (fragment, how) => history[how](null, '', location.pathname + location.search + (fragment && `#${fragment}`));

function unescaped(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a token may hold a bare percent sign
  }
}

/** Without a token as a guest. Raises Problem. Returns the Response. */
export async function request(path, { token = memory.token, ...options } = {}) {
  let response;
  try {
    const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...options.headers };
    response = await fetch(path, { ...options, headers, cache: 'no-store' });
  } catch (error) {
    if (error.name === 'TypeError' && !isHeaderText(token)) {
      throw new Problem(401, 'the token holds characters that no token has');
    }
    throw new Problem(0, 'the gateway does not answer; trying again');
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const hint = response.status === 401 ? '' : problem.hint; // of how a program shows its token
  throw new Problem(response.status, problem.detail ?? `HTTP ${response.status}`, hint);
}

const isHeaderText = (text) => /^[\x20-\x7e]*$/.test(text);

export const get = async (path, options) => (await request(path, options)).json();

const JSON_BODY = { 'Content-Type': 'application/json' };

export const post = async (path, body, options) =>
  (await request(path, { ...options, method: 'POST', headers: JSON_BODY, body: JSON.stringify(body) })).json();

export const patch = async (path, body) =>
  (await request(path, { method: 'PATCH', headers: JSON_BODY, body: JSON.stringify(body) })).json();

/** Which recogniser answers and what is not ready; 503 carries the same body as 200. */
export async function readiness() {
  const response = await fetch('readyz', { cache: 'no-store' });
  return response.json();
}

/** Fetch the transcript with the token in a header, where a plain link would have to show it, and save it. */
export async function saveTranscript(slug, format) {
  const response = await request(`api/sessions/${encodeURIComponent(slug)}/transcript?format=${format}`);
  await save(response, `${slug}.${format}`);
}

/** Save what was answered as a file. */
export async function save(response, name) {
  const url = URL.createObjectURL(await response.blob());
  const link = Object.assign(document.createElement('a'), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
