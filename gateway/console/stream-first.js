// Before the scripts of a reader's page are here, its stream is opened, its session asked for, and other tabs for a token:
// each takes a round trip, or a wait, that goes on meanwhile. The page takes them over, or does without.

import { askOtherTabs } from './tabs.js';

const UNWANTED_MS = 30_000; // then nobody comes for it
const TOKEN = /[#&]token=([\w.~-]+)(?:&|$)/; // another one is left to the page

const slug = location.pathname.split('/').at(-1);
const token = sessionStorage.getItem('gateway.token') || sessionStorage.getItem(`gateway.pass.${slug}`)
  || TOKEN.exec(location.hash)?.[1];
const heard = []; // events of the socket
const deaf = new AbortController();
let socket = null;
let view = null;
let asked = askOtherTabs();

if (token && /^[\w.~-]+$/.test(slug + token)) {
  const address = new URL('api/realtime/transcribe', document.baseURI);
  address.protocol = address.protocol.replace('http', 'ws');
  // As live.js asks for it: what differs in a letter is not taken over.
  const lang = new URLSearchParams(location.search).get('lang') || sessionStorage.getItem('gateway.reading')?.split(' ')[0];
  const query = { session: slug, refusal: 'close', beat: '1', epochs: '1', ...(lang && { lang }), newest: '60' };
  address.search = new URLSearchParams(query);
  const protocols = ['transcript.v1', `bearer.${token}`];
  socket = Object.assign(new WebSocket(address.href, protocols), { wanted: [address.href, ...protocols].join(' ') });
  for (const type of ['open', 'message', 'error', 'close']) {
    socket.addEventListener(type, (event) => heard.push(event), { signal: deaf.signal });
  }
  setTimeout(() => take(), UNWANTED_MS);
  view = fetch(`api/sessions/${slug}`, { headers: { Authorization: `Bearer ${token}` }, cache: 'no-store' })
    .then((answer) => (answer.ok ? answer.json() : null), () => null);
}

/** The socket, once, for whoever asks for the very same; what it has heard comes after. Else it is closed, and null. */
function take(...wanted) {
  const taken = socket;
  socket = null;
  deaf.abort();
  if (taken?.wanted === wanted.flat().join(' ')) {
    queueMicrotask(() => heard.forEach((event) => taken[`on${event.type}`]?.(event)));
    return taken;
  }
  taken?.close();
  return null;
}

globalThis.first = {
  take,
  /** What this token sees of the session, once; null for another token, and where it has failed: then it is asked for anew. */
  view(wanted) {
    const asked = wanted === token ? view : null;
    view = null;
    return asked;
  },
  /** The answer of other tabs to the question of the beginning, once; later on they are asked again. */
  get asked() {
    const answer = asked;
    asked = null;
    return answer;
  },
};
