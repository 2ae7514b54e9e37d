// The live transcript of one session. Every final comes exactly once and in order, whatever happens to the line.

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
const CROWDED_DELAY_MS = 5_000;
const STEADY_MS = 10_000; // a connection that lasted so long was a good one: delays begin anew
const ATTEMPTS = 20; // about four minutes
const QUEUE_LIMIT = 1_000;
const HANDSHAKE_MS = 10_000;
const FAREWELL_MS = 50; // between an error and its close
const QUIET_MS = 40_000; // the gateway says something every 15 s; after two silences the line is dead

const SUBPROTOCOL = 'transcript.v1';
const NORMAL = 1000;
const TOO_MANY = 4029;
const SESSION_ENDED = 4510;
/** What a subprotocol may consist of; other credentials go into the query. */
export const HTTP_TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

const EVENTS = {
  'transcript.final': 'final',
  'transcript.partial': 'partial',
  translation: 'translation',
  annotation: 'annotation',
  'session.state': 'state',
  health: 'health',
  'host.changed': 'host',
  gap: 'gap',
  error: 'error',
};

/** 4500–4999 mean: do not come back. Everything else, a cut line (1006) included, is worth another try. */
export function comesBack(code) {
  return code < 4500 || code > 4999;
}

/** Milliseconds before try number `tries` (from 0): doubling, half of it by chance, so that a crowd spreads out. */
export function delayBefore(tries, code, { firstMs = FIRST_DELAY_MS, longestMs = LONGEST_DELAY_MS } = {}, chance = Math.random()) {
  const most = Math.min(longestMs, firstMs * 2 ** Math.min(tries, 20));
  return (code === TOO_MANY ? CROWDED_DELAY_MS : 0) + most * (0.5 + chance / 2);
}

/**
 * What went wrong. `kind`: `reported` (the gateway says that somebody has to mend something), `malformed` (a message
 * could not be read), `token` (the token function failed), `refused` (a close code from 4500: final), `unavailable`
 * (too many tries in a row: final).
 */
export class StreamError extends Error {
  constructor(kind, text, { code, data, cause } = {}) {
    super(text, { cause });
    this.name = 'StreamError';
    this.kind = kind;
    this.code = code;
    this.data = data;
  }

  get isFinal() {
    return this.kind === 'refused' || this.kind === 'unavailable';
  }
}

export class TranscriptStream extends EventTarget {
  #options;
  #WebSocket;
  #state = 'connecting'; // connecting, open, waiting, paused, closed
  #socket = null;
  #retryTimer;
  #quietTimer;
  #tries = 0; // since the last steady connection: sets the delay
  #failures = 0; // since the last hello: bounded
  #greetedAt = null;
  #epoch = '';
  #seq = 0;
  #readers = new Set();
  #error = null;
  #settle;

  /** Resolves to `{code, reason}` when the stream is over for good; never rejects. */
  closed = new Promise((resolve) => (this.#settle = resolve));

  constructor(options) {
    super();
    const { url, session, token, since = '', signal, WebSocket = globalThis.WebSocket } = options;
    if (!session) throw new TypeError('session: the slug of the session to follow is needed');
    if (!token) throw new TypeError('token: a string, or a function that returns one (or a promise of one), is needed');
    if (!WebSocket) {
      throw new TypeError('this runtime has no WebSocket: pass one as the option WebSocket (on Node 20: the ws package)');
    }
    this.#WebSocket = WebSocket;
    this.#options = {
      ...options,
      address: addressOf(url, 'api/realtime/transcribe'),
      maxAttempts: options.maxAttempts ?? ATTEMPTS,
      queueLimit: options.queueLimit ?? QUEUE_LIMIT,
      quietMs: options.quietMs ?? QUIET_MS,
      handshakeMs: options.handshakeMs ?? HANDSHAKE_MS,
    };
    if (since) [this.#epoch, this.#seq] = pointOf(since);
    if (signal?.aborted) {
      this.close();
      return;
    }
    signal?.addEventListener('abort', this.#abort, { once: true });
    globalThis.addEventListener?.('online', this.#online);
    globalThis.addEventListener?.('offline', this.#offline);
    queueMicrotask(() => this.#connect()); // listeners are added first
  }

  /** `connecting`, `open`, `waiting` (for the next try), `paused` (a loop is behind) or `closed`. */
  get state() {
    return this.#state;
  }

  /** `EPOCH:SEQ` of the last final delivered, to be kept and passed as `since` later; empty before the first. */
  get position() {
    return this.#seq ? `${this.#epoch}:${this.#seq}` : '';
  }

  /** End it. Loops over the stream end quietly. */
  close() {
    this.#finish(NORMAL, 'closed by this side', null);
  }

  [Symbol.asyncIterator]() {
    return new Reader(this.#readers, this.#options.queueLimit, () => this.#relieved(), this.#state === 'closed' ? this.#error : undefined);
  }

  // --- connection -----------------------------------------------------------------------------------------

  async #connect() {
    if (this.#state === 'closed') return;
    this.#state = 'connecting';
    clearTimeout(this.#retryTimer);
    const attempt = (this.#socket = {}); // whatever comes of an earlier attempt is ignored
    const { token, address, session } = this.#options;
    let shown;
    try {
      shown = typeof token === 'function' ? await token() : token;
      if (typeof shown !== 'string' || !shown) throw new TypeError('the token function returned no token');
    } catch (cause) {
      if (attempt === this.#socket) {
        this.#tell('error', new StreamError('token', `no token: ${cause?.message ?? cause}`, { cause }));
        this.#lost(1006, 'no token');
      }
      return;
    }
    if (attempt !== this.#socket) return;
    const url = new URL(address);
    url.searchParams.set('session', session);
    url.searchParams.set('beat', '1');
    if (this.position) url.searchParams.set('since', this.position);
    const protocols = [SUBPROTOCOL];
    if (HTTP_TOKEN.test(shown)) protocols.push(`bearer.${shown}`);
    else url.searchParams.set('token', shown);
    let socket;
    try {
      socket = new this.#WebSocket(url.href, protocols);
    } catch (cause) { // a page served by https may not open ws://
      this.#finish(1006, cause.message, new StreamError('unavailable', cause.message, { cause }));
      return;
    }
    this.#socket = socket;
    let trouble = '';
    socket.onopen = () => this.#expect(this.#options.quietMs);
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason || trouble);
    socket.onerror = (event) => {
      trouble = event.message ?? '';
      this.#expect(FAREWELL_MS, trouble); // Node 20 tells no close of a handshake that failed
    };
    this.#expect(this.#options.handshakeMs, 'no answer to the handshake');
  }

  /** The line is gone, or never was. */
  #lost(code, reason) {
    this.#drop();
    if (this.#state === 'closed') return;
    if (code === SESSION_ENDED) return this.#finish(code, reason, null);
    if (!comesBack(code)) {
      return this.#finish(code, reason, new StreamError('refused', `the gateway refused the stream (${code}): ${reason}`, { code }));
    }
    if (this.#greetedAt !== null && performance.now() - this.#greetedAt >= STEADY_MS) this.#tries = 0;
    this.#greetedAt = null;
    this.#failures += 1;
    if (this.#failures >= this.#options.maxAttempts) {
      const text = `the gateway could not be reached in ${this.#failures} tries, or refuses the connection by its HTTP status`;
      return this.#finish(code, reason, new StreamError('unavailable', reason ? `${text}: ${reason}` : text, { code }));
    }
    this.#state = 'waiting';
    const delayMs = delayBefore(this.#tries++, code, this.#options);
    this.#retryTimer = setTimeout(() => this.#connect(), delayMs);
    this.#tell('close', { code, reason, willReconnect: true, delayMs });
  }

  /** Forget the socket; nothing it still says is heard. */
  #drop() {
    clearTimeout(this.#quietTimer);
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
    this.#error = error;
    clearTimeout(this.#retryTimer);
    this.#drop();
    this.#options.signal?.removeEventListener('abort', this.#abort);
    globalThis.removeEventListener?.('online', this.#online);
    globalThis.removeEventListener?.('offline', this.#offline);
    for (const reader of [...this.#readers]) reader.finish(error);
    if (error) this.#tell('error', error);
    this.#tell('close', { code, reason, willReconnect: false });
    this.#settle({ code, reason });
  }

  /** A line can die without a word, and a page cannot see pings: hence the `beat` that it asked for. */
  #expect(withinMs, otherwise = 'nothing came for too long') {
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => this.#lost(1006, otherwise), withinMs);
  }

  #abort = () => this.close();
  #online = () => {
    if (this.#state === 'waiting') this.#connect();
  };
  #offline = () => {
    if (this.#state === 'open') this.#lost(1006, 'this machine is offline');
  };

  // --- messages -------------------------------------------------------------------------------------------

  #receive(text) {
    this.#expect(this.#options.quietMs);
    let message;
    try {
      message = JSON.parse(text);
      if (typeof message?.type !== 'string') throw new SyntaxError('a message without a type');
      this.#read(message);
    } catch (cause) {
      this.#tell('error', new StreamError('malformed', `a message could not be read: ${cause.message}`, { cause }));
      this.#lost(1006, 'malformed message'); // and ask for it again
    }
  }

  #read(message) {
    switch (message.type) {
      case 'hello':
        return this.#greeted(message);
      case 'transcript.final':
        return this.#final(message);
      case 'gap':
        return this.#gap(message, message.data.fromSeq, message.data.toSeq);
      case 'error':
        this.#tell('error', new StreamError('reported', message.data.message, { data: message.data }));
        return this.#queue(message);
      default: // unknown types are not for us
        if (Object.hasOwn(EVENTS, message.type)) this.#hand(message);
    }
  }

  #greeted(message) {
    const { epoch, data } = message;
    const had = this.#seq;
    if (!data.resumed && (epoch !== this.#epoch || data.seq < this.#seq)) this.#restart(epoch);
    this.#state = 'open';
    this.#failures = 0;
    this.#greetedAt = performance.now();
    this.#tell('open', { state: data.state, epoch, seq: data.seq, resumed: data.resumed, restarted: had > 0 && this.#seq === 0 });
  }

  /** Another numbering: what came before says nothing about it. */
  #restart(epoch) {
    this.#epoch = epoch;
    this.#seq = 0;
  }

  #final(message) {
    if (message.epoch !== this.#epoch) this.#restart(message.epoch); // it has begun since the hello
    if (message.seq <= this.#seq) return;
    if (message.seq > this.#seq + 1) this.#gap({ ...message, type: 'gap' }, this.#seq + 1, message.seq - 1);
    this.#seq = message.seq;
    this.#hand(message);
  }

  #gap({ seq, ...message }, fromSeq, toSeq) {
    if (message.epoch !== this.#epoch) this.#restart(message.epoch);
    if (toSeq <= this.#seq) return;
    const data = { fromSeq: Math.max(fromSeq, this.#seq + 1), toSeq };
    this.#seq = toSeq;
    this.#hand({ ...message, data });
  }

  #hand(message) {
    this.#tell(EVENTS[message.type], message);
    this.#queue(message);
  }

  #queue(message) {
    for (const reader of this.#readers) reader.put(message);
    if (this.#state !== 'closed' && [...this.#readers].some((reader) => reader.isFull)) {
      this.#drop(); // what comes meanwhile is asked for later: the position says from where
      this.#state = 'paused';
    }
  }

  #relieved() {
    if (this.#state === 'paused' && [...this.#readers].every((reader) => reader.hasRoom)) this.#connect();
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** One loop over a stream: a bounded queue, in which partials of one utterance replace each other. */
class Reader {
  #queue = new Map();
  #count = 0;
  #waiting = [];
  #over = false;
  #error = null;

  constructor(readers, limit, relieved, ended) {
    this.readers = readers;
    this.limit = limit;
    this.relieved = relieved;
    if (ended === undefined) readers.add(this);
    else this.finish(ended);
  }

  get isFull() {
    return this.#queue.size >= this.limit;
  }

  get hasRoom() {
    return this.#queue.size <= this.limit / 2;
  }

  put(message) {
    const utterance = message.data?.utteranceId;
    const waiting = this.#waiting.shift();
    if (waiting) {
      waiting.resolve({ done: false, value: message });
    } else if (message.type === 'transcript.partial') {
      this.#queue.set(utterance, message);
    } else {
      if (message.type === 'transcript.final') this.#queue.delete(utterance);
      this.#queue.set(this.#count++, message);
    }
  }

  finish(error) {
    this.#over = true;
    this.#error = error;
    this.readers.delete(this);
    for (const waiting of this.#waiting.splice(0)) {
      if (this.#error) waiting.reject(this.#takeError());
      else waiting.resolve({ done: true, value: undefined });
    }
  }

  async next() {
    for (const [key, value] of this.#queue) {
      this.#queue.delete(key);
      this.relieved();
      return { done: false, value };
    }
    if (this.#error) throw this.#takeError();
    if (this.#over) return { done: true, value: undefined };
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  async return() {
    this.#queue.clear();
    this.finish(null);
    this.relieved();
    return { done: true, value: undefined };
  }

  #takeError() {
    const error = this.#error;
    this.#error = null;
    return error;
  }
}

/** The WebSocket address of a path of the gateway at `url`. */
export function addressOf(url, path) {
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

function pointOf(since) {
  const [, epoch, seq] = /^(.*):(\d{1,15})$/.exec(since) ?? [];
  if (epoch === undefined) throw new TypeError(`since: it has to be EPOCH:SEQ as position gives it, not ${since}`);
  return [epoch, Number(seq)];
}
