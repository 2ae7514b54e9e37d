// The control API: requests with the token, errors as what the gateway says of them.

import { answerOtherTabs } from './tabs.js';

const TOKEN = 'gateway.token';
const SESSION = 'gateway.session';
const NAME = 'gateway.name';

/** A request that was not answered with what was asked for. `status` 0: the gateway did not answer at all. */
export class Problem extends Error {
  constructor(status, detail, hint) {
    super(hint ? `${detail} (${hint})` : detail);
    this.status = status;
    this.detail = detail;
  }
}

/** What this tab remembers; gone when the tab is closed. */
export const memory = {
  get token() { return sessionStorage.getItem(TOKEN) ?? ''; },
  set token(value) { keep(TOKEN, value); },
  get session() { return sessionStorage.getItem(SESSION) ?? ''; },
  set session(value) { keep(SESSION, value); },
  get name() { return sessionStorage.getItem(NAME) ?? ''; },
  set name(value) { keep(NAME, value); },
};

answerOtherTabs(() => memory.token);

function keep(name, value) {
  if (value) sessionStorage.setItem(name, value);
  else sessionStorage.removeItem(name);
}

/**
 * Take `#token=…&session=…` over and out of the address bar, before anybody sees or shares it. Returns: a token that has not
 * been taken, because this tab has another one: whoever sends a link must not choose in whose name its reader acts.
 */
export function readFragment() {
  if (location.hash.length < 2) return '';
  let offered = '';
  for (const part of location.hash.slice(1).split('&')) {
    const [name, ...rest] = part.split('=');
    const value = unescaped(rest.join('='));
    if (name === 'token') offered = value;
    if (name === 'session') memory.session = value;
  }
  history.replaceState(null, '', location.pathname + location.search);
  if (memory.token && offered !== memory.token) return offered;
  if (offered) memory.token = offered;
  return '';
}

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
  throw new Problem(response.status, problem.detail ?? `HTTP ${response.status}`, problem.hint);
}

const isHeaderText = (text) => /^[\x20-\x7e]*$/.test(text);

export const get = async (path, options) => (await request(path, options)).json();

const JSON_BODY = { 'Content-Type': 'application/json' };

export const post = async (path, body, options) =>
  (await request(path, { ...options, method: 'POST', headers: JSON_BODY, body: JSON.stringify(body) })).json();

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
