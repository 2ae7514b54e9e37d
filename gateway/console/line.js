// A WebSocket to the gateway that is held open: a token at each connect, delays between tries, the contract of close codes.

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
const CROWDED_DELAY_MS = 5_000;
const STEADY_MS = 10_000; // a connection that lasted so long was a good one: delays begin anew
const ATTEMPTS = Infinity; // a laptop may be closed for a night
const HANDSHAKE_MS = 10_000;
const FAREWELL_MS = 50; // between an error and its close

export const NORMAL = 1000;
export const CUT = 1006; // what a browser says of a line that is gone without a word
const TOO_MANY = 4029;
/** What a subprotocol may consist of; other credentials go into the query. */
const HTTP_TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

/** 4500–4999 mean: do not come back. Everything else, a cut line (1006) included, is worth another try. */
export function comesBack(code) {
  return code < 4500 || code > 4999;
}

/** Milliseconds before try number `tries` (from 0): doubling, half of it by chance, so that a crowd spreads out. */
export function delayBefore(tries, code, { firstMs = FIRST_DELAY_MS, longestMs = LONGEST_DELAY_MS } = {}, chance = Math.random()) {
  const most = Math.min(longestMs, firstMs * 2 ** Math.min(tries, 20));
  return (code === TOO_MANY ? CROWDED_DELAY_MS : 0) + most * (0.5 + chance / 2);
}

/** Milliseconds that a gateway which goes asks for, so that its watchers do not all come back at once. */
export function askedDelay(reason) {
  return Math.min(Number(/\bretry=(\d{1,6})\b/.exec(reason ?? '')?.[1] ?? 0), 120_000);
}

export function tell(target, type, detail) {
  target.dispatchEvent(new CustomEvent(type, { detail }));
}

export class Line {
  #owner;
  #use;
  #options;
  #state = 'connecting';
  #socket = null;
  #retryTimer;
  #quietTimer;
  #tries = 0; // since the last steady connection: sets the delay
  #failures = 0; // since the last greeting: bounded
  #greetedAt = null;
  #settle;

  /** Resolves to `{code, reason}` when it is over for good; never rejects. */
  closed = new Promise((resolve) => (this.#settle = resolve));

  /**
   * `owner`: who is told `close` and `error`, as events. `options`: LineOptions of line.d.ts, as the owner got them.
   * `use`: what the owner does with it:
   * `path`, `subprotocol` of the gateway's endpoint; `what` it is and the class of its errors, `Trouble`;
   * `quietMs`: silence after which a connection is dead, unless the options say;
   * `query()`: what the address asks for, at each connect; `opened()`: the handshake is through; `heard(text)`;
   * `ends(code)`: whether a close with it is an end without an error, reported as `farewell` when no reason is given;
   * `over(error)`: for good; `stop()`: the signal is given.
   */
  constructor(owner, options, use) {
    const { url, session, token, WebSocket = globalThis.WebSocket } = options;
    if (!session) throw new TypeError('session: the slug of the session is needed');
    if (!token) throw new TypeError('token: a string, or a function that returns one (or a promise of one), is needed');
    if (!WebSocket) {
      throw new TypeError('this runtime has no WebSocket: pass one as the option WebSocket (on Node 20: the ws package)');
    }
    this.#owner = owner;
    this.#use = use;
    this.#options = {
      ...options,
      WebSocket,
      address: addressOf(url, use.path),
      maxAttempts: options.maxAttempts ?? ATTEMPTS,
      quietMs: options.quietMs ?? use.quietMs,
      handshakeMs: options.handshakeMs ?? HANDSHAKE_MS,
    };
  }

  /** `connecting`, `open` (the gateway has greeted), `waiting` (for the next try), `paused` or `closed`. */
  get state() {
    return this.#state;
  }

  /** Bytes that wait in the socket. */
  get bufferedAmount() {
    return this.#socket.bufferedAmount ?? 0;
  }

  begin() {
    const { signal } = this.#options;
    if (signal?.aborted) return this.#use.stop();
    signal?.addEventListener('abort', this.#use.stop, { once: true });
    globalThis.addEventListener?.('online', this.#online);
    queueMicrotask(() => this.#connect()); // the caller's listeners are added first
  }

  /** The gateway is there and has taken the connection. */
  greeted() {
    this.#state = 'open';
    this.#failures = 0;
    this.#greetedAt = performance.now();
  }

  send(data) {
    this.#socket.send(data);
  }

  /** Something has to come within that time. A line can die without a word. */
  expect(withinMs = this.#options.quietMs, otherwise = 'nothing came for too long') {
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => this.lost(CUT, otherwise), withinMs);
  }

  /** Put the connection down until `resume`. */
  pause() {
    this.#drop();
    this.#state = 'paused';
  }

  resume() {
    if (this.#state === 'paused') this.#connect();
  }

  /** The connection is gone, or never was. */
  lost(code, reason) {
    this.#drop();
    if (this.#state === 'closed') return;
    const { what, Trouble, ends } = this.#use;
    if (ends(code)) return this.end(code, reason);
    if (!comesBack(code)) {
      return this.#finish(code, reason, new Trouble('refused', `the gateway refused the ${what} (${code}): ${reason}`, { code }));
    }
    if (this.#greetedAt !== null && performance.now() - this.#greetedAt >= STEADY_MS) this.#tries = 0;
    this.#greetedAt = null;
    this.#failures += 1;
    if (this.#failures >= this.#options.maxAttempts) {
      const text = `the gateway could not be reached in ${this.#failures} tries`;
      return this.#finish(code, reason, new Trouble('unavailable', reason ? `${text}: ${reason}` : text, { code }));
    }
    this.#state = 'waiting';
    const delayMs = askedDelay(reason) + delayBefore(this.#tries++, code, this.#options);
    this.#retryTimer = setTimeout(() => this.#connect(), delayMs);
    tell(this.#owner, 'close', { code, reason, willReconnect: true, delayMs });
  }

  /** It is over, and nothing is wrong. */
  end(code = NORMAL, reason = '') {
    this.#finish(code, reason || this.#use.farewell, null);
  }

  async #connect() {
    if (this.#state === 'closed') return;
    this.#state = 'connecting';
    clearTimeout(this.#retryTimer);
    const attempt = (this.#socket = {}); // whatever comes of an earlier attempt is ignored
    const { token, address, session, handshakeMs, WebSocket } = this.#options;
    const { subprotocol, query, opened, heard, Trouble } = this.#use;
    let shown;
    try {
      shown = typeof token === 'function' ? await token() : token;
      if (typeof shown !== 'string' || !shown) throw new TypeError('the token function returned no token');
    } catch (cause) {
      if (attempt === this.#socket) {
        tell(this.#owner, 'error', new Trouble('token', `no token: ${cause?.message ?? cause}`, { cause }));
        this.lost(CUT, 'no token');
      }
      return;
    }
    if (attempt !== this.#socket) return;
    const url = new URL(address);
    // refusal=close: why is told by a close code and its reason, since no WebSocket shows an HTTP status.
    for (const [name, value] of Object.entries({ session, refusal: 'close', ...query() })) if (value) url.searchParams.set(name, value);
    const protocols = [subprotocol];
    if (HTTP_TOKEN.test(shown)) protocols.push(`bearer.${shown}`);
    else url.searchParams.set('token', shown);
    let socket;
    try {
      socket = new WebSocket(url.href, protocols);
    } catch (cause) { // a page served by https may not open ws://
      this.#finish(CUT, cause.message, new Trouble('unavailable', cause.message, { cause }));
      return;
    }
    this.#socket = socket;
    let trouble = '';
    socket.onopen = () => {
      this.expect();
      opened();
    };
    socket.onmessage = ({ data }) => {
      this.expect();
      heard(data);
    };
    socket.onclose = ({ code, reason }) => this.lost(code, reason || trouble);
    socket.onerror = (event) => {
      trouble = event.message ?? '';
      this.expect(FAREWELL_MS, trouble); // Node 20 tells no close of a handshake that failed
    };
    this.expect(handshakeMs, 'no answer to the handshake');
  }

  /** Forget the socket; nothing it still says is heard. */
  #drop() {
    clearTimeout(this.#quietTimer);
    clearTimeout(this.#retryTimer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket?.close) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {}; // ws throws errors that nobody hears
      socket.close(NORMAL);
    }
  }

  #finish(code, reason, error) {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#drop();
    this.#options.signal?.removeEventListener('abort', this.#use.stop);
    globalThis.removeEventListener?.('online', this.#online);
    this.#use.over(error);
    if (error) tell(this.#owner, 'error', error);
    tell(this.#owner, 'close', { code, reason, willReconnect: false });
    this.#settle({ code, reason });
  }

  #online = () => {
    if (this.#state === 'waiting') this.#connect();
  };
}

/** The WebSocket address of a path of the gateway at `url`. */
function addressOf(url, path) {
  let address;
  try {
    address = new URL(url, globalThis.document?.baseURI);
  } catch {
    throw new TypeError(`url: ${url} is no address of a gateway, such as https://captions.example.org`);
  }
  if (!/^(https?|wss?):$/.test(address.protocol)) {
    throw new TypeError(`url: it has to begin with http://, https://, ws:// or wss://, not ${address.protocol}`);
  }
  address.protocol = address.protocol.replace('http', 'ws');
  address.pathname = `${address.pathname.replace(/\/$/, '')}/${path}`;
  address.search = address.hash = '';
  return address.href;
}
