// The live transcript of one session. Every final comes exactly once and in order, whatever happens to the line.

import { CUT, Line, tell } from './line.js';

export { comesBack, delayBefore } from './line.js';

const QUEUE_LIMIT = 1_000;
const QUIET_MS = 40_000; // the gateway says something every 15 s; after two silences the line is dead
const SESSION_ENDED = 4510;

const EVENTS = {
  'transcript.final': 'final',
  'transcript.partial': 'partial',
  translation: 'translation',
  annotation: 'annotation',
  'session.state': 'state',
  health: 'health',
  'host.changed': 'host',
  'session.options': 'options',
  'session.pause': 'pause',
  gap: 'gap',
  error: 'error',
};

/**
 * What went wrong. `kind`: `reported` (the gateway says that an operator or the participant has to mend something),
 * `malformed` (a message could not be read), `token` (the token function failed), `refused` (a close code from 4500:
 * final), `unavailable` (more tries in a row than allowed, or no WebSocket to that address: final).
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
  #line;
  #epoch = '';
  #seq = 0;
  #language;
  #newest;
  #translation = 0; // of that language, the last one
  #readers = new Set();
  #queueLimit;
  #error = null;

  constructor(options) {
    super();
    this.#line = new Line(this, options, {
      path: 'api/realtime/transcribe',
      subprotocol: 'transcript.v1',
      quietMs: QUIET_MS,
      what: 'stream',
      Trouble: StreamError,
      // A page cannot see pings: hence the beat that it asks for. epochs: a hello may say that the numbers go on under another one.
      query: () => ({ beat: '1', epochs: '1', voids: options.voids ? '1' : '', ...this.#wanted }),
      opened: () => {},
      heard: (text) => this.#receive(text),
      ends: (code) => code === SESSION_ENDED,
      farewell: 'closed by this side',
      over: (error) => this.#over(error),
      stop: () => this.close(),
    });
    this.#queueLimit = options.queueLimit ?? QUEUE_LIMIT;
    this.#language = options.language;
    this.#newest = options.newest;
    if (options.since) [this.#epoch, this.#seq, this.#translation] = pointOf(options.since);
    globalThis.addEventListener?.('offline', this.#offline);
    this.#line.begin();
  }

  /** `connecting`, `open`, `waiting` (for the next try), `paused` (a loop is behind) or `closed`. */
  get state() {
    return this.#line.state;
  }

  /** Resolves to `{code, reason}` when the stream is over for good; never rejects. */
  get closed() {
    return this.#line.closed;
  }

  /** What to keep and pass as `since` later: `EPOCH:SEQ` of the last final delivered, with `language` also the number of the last translation; empty before the first final. */
  get position() {
    const translation = this.#language ? `:${this.#translation}` : '';
    return this.#seq ? `${this.#epoch}:${this.#seq}${translation}` : '';
  }

  get #wanted() {
    const newest = this.#newest === undefined ? '' : String(this.#newest);
    return { since: this.position, lang: this.#language, newest };
  }

  /** End it. Loops over the stream end quietly. */
  close() {
    this.#line.end();
  }

  [Symbol.asyncIterator]() {
    return new Reader(this.#readers, this.#queueLimit, () => this.#relieved(), this.state === 'closed' ? this.#error : undefined);
  }

  #over(error) {
    this.#error = error;
    globalThis.removeEventListener?.('offline', this.#offline);
    for (const reader of [...this.#readers]) reader.finish(error);
  }

  #offline = () => {
    if (this.state === 'open') this.#line.lost(CUT, 'this machine is offline');
  };

  // --- messages -------------------------------------------------------------------------------------------

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
      if (typeof message?.type !== 'string') throw new SyntaxError('a message without a type');
      this.#read(message);
    } catch (cause) {
      tell(this, 'error', new StreamError('malformed', `a message could not be read: ${cause.message}`, { cause }));
      this.#line.lost(CUT, 'malformed message'); // and ask for it again
    }
  }

  #read(message) {
    switch (message.type) {
      case 'hello':
        return this.#greeted(message);
      case 'transcript.final':
        return this.#final(message);
      case 'translation':
        return this.#translated(message);
      case 'gap':
        return this.#gap(message, message.data.fromSeq, message.data.toSeq);
      case 'error':
        tell(this, 'error', new StreamError('reported', message.data.message, { data: message.data }));
        return this.#queue(message);
      default: // unknown types are not for us
        if (Object.hasOwn(EVENTS, message.type)) this.#hand(message);
    }
  }

  #greeted(message) {
    const { epoch, data } = message;
    const had = this.#seq;
    const voidFrom = data.resumed && data.voidFrom <= had ? data.voidFrom : undefined;
    if (voidFrom) this.#seq = voidFrom - 1; // what was shown and never stored
    if (data.resumed) this.#epoch = epoch; // a new one may go on with the numbers of the old
    else if (epoch !== this.#epoch || data.seq < this.#seq) this.#restart(epoch);
    const restarted = had > 0 && this.#seq === 0;
    if (this.#seq === 0 && data.from > 1) this.#seq = data.from - 1; // those before were not asked for
    this.#line.greeted();
    tell(this, 'open', { state: data.state, epoch, seq: data.seq, from: this.#seq + 1, resumed: data.resumed, restarted, ended: data.ended === true, ...(voidFrom && { voidFrom }) });
  }

  /** Another numbering: what came before says nothing about it. */
  #restart(epoch) {
    this.#epoch = epoch;
    this.#seq = this.#translation = 0;
  }

  #final(message) {
    if (message.epoch !== this.#epoch) this.#restart(message.epoch); // it has begun since the hello
    if (message.seq <= this.#seq) return;
    if (message.seq > this.#seq + 1) this.#gap({ ...message, type: 'gap' }, this.#seq + 1, message.seq - 1);
    this.#seq = message.seq;
    this.#hand(message);
  }

  /** In one language, each number once; one without a number is not stored yet, and comes again with it. */
  #translated(message) {
    const { seq } = message.data;
    if (this.#language && seq !== undefined) {
      if (seq <= this.#translation) return;
      this.#translation = seq;
    }
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
    tell(this, EVENTS[message.type], message);
    this.#queue(message);
  }

  #queue(message) {
    for (const reader of this.#readers) reader.put(message);
    // What comes meanwhile is asked for later: the position says from where.
    if (this.state !== 'closed' && [...this.#readers].some((reader) => reader.isFull)) this.#line.pause();
  }

  #relieved() {
    if ([...this.#readers].every((reader) => reader.hasRoom)) this.#line.resume();
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

function pointOf(since) {
  const [, epoch, seq, translation = 0] = /^([^:]*):(\d{1,15})(?::(\d{1,15}))?$/.exec(since) ?? [];
  if (epoch === undefined) throw new TypeError(`since: it has to be EPOCH:SEQ as position gives it, not ${since}`);
  return [epoch, Number(seq), Number(translation)];
}
