// PCM to the gateway, whatever happens to the line: what it has not acknowledged is kept, bounded, and sent again.

import { HTTP_TOKEN, addressOf, comesBack, delayBefore } from './transcript-stream.js';

const KEPT_S = 30;
const ATTEMPTS = 20;
const STEADY_MS = 10_000;
const HANDSHAKE_MS = 10_000;
const QUIET_MS = 10_000; // the gateway acknowledges once a second
const GOODBYE_MS = 5_000;
const IN_FLIGHT_BYTES = 512 * 1024; // more than this in the socket's own buffer would only wait there
const NORMAL = 1000;
const SUBPROTOCOL = 'audio.v1';

/**
 * What went wrong. `kind`: `token` (the token function failed; it is asked again), `refused` (a close code from 4500: final),
 * `unavailable` (too many tries in a row: final), `device` (the microphone cannot be had, or is gone: final).
 */
export class AudioError extends Error {
  constructor(kind, text, { code, cause } = {}) {
    super(text, { cause });
    this.name = 'AudioError';
    this.kind = kind;
    this.code = code;
  }

  get isFinal() {
    return this.kind !== 'token';
  }
}

export class AudioSender extends EventTarget {
  #options;
  #state = 'connecting'; // connecting, live, waiting (for the next try), stopping, closed
  #socket = null;
  #retryTimer;
  #quietTimer;
  #tries = 0;
  #failures = 0;
  #readyAt = null;
  #blocks = []; // not acknowledged: {from, frames, at, pcm}, by frame
  #next = 0; // the frame that comes next from the caller
  #unsent = 0; // the first frame that has not gone out on this connection
  #gapMs = 0; // to be told before the next block
  #origin = 0; // our number of the gateway's frame 0
  #stream = newName();
  #settle;

  /** Resolves to `{code, reason}` when it is over for good; never rejects. */
  closed = new Promise((resolve) => (this.#settle = resolve));

  constructor(options) {
    super();
    const { url, session, token, sampleRate, channels = 1, WebSocket = globalThis.WebSocket, signal } = options;
    if (!session) throw new TypeError('session: the slug of the session is needed');
    if (!token) throw new TypeError('token: a string, or a function that returns one (or a promise of one), is needed');
    if (!(sampleRate >= 8000 && sampleRate <= 48_000)) throw new TypeError('sampleRate: 8000 to 48000 Hz');
    if (channels !== 1 && channels !== 2) throw new TypeError('channels: 1 or 2');
    if (!WebSocket) throw new TypeError('this runtime has no WebSocket: pass one as the option WebSocket');
    this.#options = {
      maxAttempts: ATTEMPTS, quietMs: QUIET_MS, handshakeMs: HANDSHAKE_MS, keptS: KEPT_S, identity: '', name: '',
      ...options, channels, WebSocket, address: addressOf(url, 'api/realtime/audio'),
    };
    if (signal?.aborted) {
      this.#finish(NORMAL, 'stopped by this side', null);
      return;
    }
    signal?.addEventListener('abort', this.#abort, { once: true });
    globalThis.addEventListener?.('online', this.#online);
    queueMicrotask(() => this.#connect()); // listeners are added first
  }

  get state() {
    return this.#state;
  }

  /** Seconds of audio that the gateway has not acknowledged. */
  get pendingS() {
    return (this.#next - (this.#blocks[0]?.from ?? this.#next)) / this.#options.sampleRate;
  }

  /** Take samples, channels interleaved. Kept until the gateway has them, at most 30 s (`keptS`); then the oldest go. */
  send(pcm) {
    if (this.#state === 'closed' || this.#state === 'stopping' || !pcm.length) return;
    const { sampleRate, channels, keptS } = this.#options;
    const frames = pcm.length / channels;
    if (!Number.isInteger(frames)) throw new TypeError('pcm: whole frames are needed');
    const at = performance.now() - (frames / sampleRate) * 1000;
    this.#blocks.push({ from: this.#next, frames, at, pcm, gapMs: this.#gapMs });
    this.#next += frames;
    this.#gapMs = 0;
    if (this.#next - this.#blocks[0].from > keptS * sampleRate) this.#overflow();
    this.#flush();
  }

  /** So many frames are left out, because the microphone was muted for example; what follows was spoken later by so much. */
  skip(frames) {
    this.#gapMs += (frames / this.#options.sampleRate) * 1000;
  }

  /** That was all: what is kept goes out, then the connection is closed. Resolves when it is. */
  stop() {
    if (this.#state === 'live') {
      this.#state = 'stopping';
      this.#flush();
      this.#stopWhenSent();
    } else if (this.#state !== 'stopping') {
      this.#finish(NORMAL, 'stopped by this side', null);
    }
    return this.closed;
  }

  // --- connection -----------------------------------------------------------------------------------------

  async #connect() {
    if (this.#state === 'closed') return;
    this.#state = 'connecting';
    clearTimeout(this.#retryTimer);
    const attempt = (this.#socket = {}); // whatever comes of an earlier attempt is ignored
    const { token, address, session, identity, name, WebSocket } = this.#options;
    let shown;
    try {
      shown = typeof token === 'function' ? await token() : token;
      if (typeof shown !== 'string' || !shown) throw new TypeError('the token function returned no token');
    } catch (cause) {
      if (attempt === this.#socket) {
        this.#tell('error', new AudioError('token', `no token: ${cause?.message ?? cause}`, { cause }));
        this.#lost(1006, 'no token');
      }
      return;
    }
    if (attempt !== this.#socket) return;
    const url = new URL(address);
    url.searchParams.set('session', session);
    if (identity) url.searchParams.set('identity', identity);
    if (name) url.searchParams.set('name', name);
    const protocols = [SUBPROTOCOL];
    if (HTTP_TOKEN.test(shown)) protocols.push(`bearer.${shown}`);
    else url.searchParams.set('token', shown);
    let socket;
    try {
      socket = new WebSocket(url.href, protocols);
    } catch (cause) { // a page served by https may not open ws://
      this.#finish(1006, cause.message, new AudioError('unavailable', cause.message, { cause }));
      return;
    }
    this.#socket = socket;
    let trouble = '';
    socket.onopen = () => this.#greet(socket);
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason || trouble);
    socket.onerror = (event) => (trouble = event.message ?? '');
    this.#expect(this.#options.handshakeMs, 'no answer to the handshake');
  }

  #greet(socket) {
    const { sampleRate, channels } = this.#options;
    const start = { type: 'start', sampleRate, channels, stream: this.#stream };
    // A gateway that does not know the stream has to be told how old the first sample is that it gets.
    if (this.#blocks.length) start.ageMs = Math.min(60_000, Math.round(performance.now() - this.#blocks[0].at));
    socket.send(JSON.stringify(start));
  }

  #hear(text) {
    this.#expect(this.#options.quietMs, 'nothing came for too long');
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // not for us
    }
    if (message.type === 'ready') this.#ready(message.samples ?? 0);
    if (message.type === 'ack') this.#acknowledged(message.samples);
  }

  /** `has`: how much of the stream the gateway has already; 0 also when it does not know it any more. */
  #ready(has) {
    if (this.#state !== 'connecting') return;
    const first = this.#blocks[0]?.from ?? this.#next;
    if (has) this.#forget(this.#origin + has);
    else this.#origin = first;
    const goesOn = has > 0;
    this.#unsent = goesOn ? this.#origin + has : first;
    this.#state = 'live';
    this.#failures = 0;
    this.#readyAt = performance.now();
    this.#tell('open', { goesOn });
    this.#flush();
  }

  #acknowledged(samples) {
    if (this.#state !== 'live' && this.#state !== 'stopping') return;
    this.#forget(this.#origin + samples);
    this.#flush();
  }

  /** The gateway has everything before that frame. */
  #forget(frame) {
    while (this.#blocks.length && this.#blocks[0].from + this.#blocks[0].frames <= frame) this.#blocks.shift();
    const first = this.#blocks[0];
    if (first && first.from < frame) { // a block that was cut in two
      const { sampleRate, channels } = this.#options;
      const had = frame - first.from;
      this.#blocks[0] = {
        from: frame, frames: first.frames - had, at: first.at + (had / sampleRate) * 1000,
        pcm: first.pcm.subarray(had * channels), gapMs: 0,
      };
    }
  }

  /** Too much is kept: the oldest goes. What follows does not join on to what the gateway has, so it is another stream. */
  #overflow() {
    this.#blocks.shift();
    this.#stream = newName();
    if (this.#state === 'live') this.#lost(1006, 'the line is too slow');
  }

  #flush() {
    if (this.#state !== 'live' && this.#state !== 'stopping') return;
    for (const { from, frames, pcm, gapMs } of this.#blocks) {
      if (from < this.#unsent) continue;
      if ((this.#socket.bufferedAmount ?? 0) > IN_FLIGHT_BYTES) return; // the next call goes on
      if (gapMs) this.#socket.send(JSON.stringify({ type: 'gap', ms: Math.round(gapMs) }));
      this.#socket.send(littleEndian(pcm));
      this.#unsent = from + frames;
    }
  }

  #stopWhenSent() {
    if (this.#state !== 'stopping') return;
    if (this.#unsent < this.#next) {
      this.#retryTimer = setTimeout(() => {
        this.#flush();
        this.#stopWhenSent();
      }, 50);
      return;
    }
    this.#socket.send('{"type":"stop"}');
    this.#expect(GOODBYE_MS, 'no goodbye came');
  }

  /** The line is gone, or never was. */
  #lost(code, reason) {
    const wasStopping = this.#state === 'stopping';
    this.#drop();
    if (this.#state === 'closed') return;
    if (wasStopping || code === NORMAL) return this.#finish(code, reason || 'stopped by this side', null);
    if (!comesBack(code)) {
      return this.#finish(code, reason, new AudioError('refused', `the gateway refused the audio (${code}): ${reason}`, { code }));
    }
    if (this.#readyAt !== null && performance.now() - this.#readyAt >= STEADY_MS) this.#tries = 0;
    this.#readyAt = null;
    this.#failures += 1;
    if (this.#failures >= this.#options.maxAttempts) {
      const text = `the gateway could not be reached in ${this.#failures} tries, or refuses the connection by its HTTP status`;
      return this.#finish(code, reason, new AudioError('unavailable', reason ? `${text}: ${reason}` : text, { code }));
    }
    this.#state = 'waiting';
    const delayMs = delayBefore(this.#tries++, code, this.#options);
    this.#retryTimer = setTimeout(() => this.#connect(), delayMs);
    this.#tell('close', { code, reason, willReconnect: true, delayMs });
  }

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
    this.#blocks = [];
    this.#drop();
    this.#options.signal?.removeEventListener('abort', this.#abort);
    globalThis.removeEventListener?.('online', this.#online);
    if (error) this.#tell('error', error);
    this.#tell('close', { code, reason, willReconnect: false });
    this.#settle({ code, reason });
  }

  #expect(withinMs, otherwise) {
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => this.#lost(1006, otherwise), withinMs);
  }

  #abort = () => this.stop();
  #online = () => {
    if (this.#state === 'waiting') this.#connect();
  };

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Not a secret: it only tells one sender's streams apart. */
function newName() {
  return Math.random().toString(36).slice(2) + Date.now().toString(36);
}

const IS_LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

function littleEndian(pcm) {
  if (IS_LITTLE) return pcm;
  const view = new DataView(new ArrayBuffer(2 * pcm.length));
  pcm.forEach((sample, at) => view.setInt16(2 * at, sample, true));
  return view;
}
