// A transcript as a value that changes: what a user interface shows of a stream. The React hook is a thin layer over it.

import { TranscriptStream } from './transcript-stream.js';

const KEEP = 5_000;
const EARLY = 256; // translations that wait for their final
const SETTLE_MS = 16; // changes within a frame are told together
const CREDENTIAL = 4501;

export const NOTHING = Object.freeze({
  finals: Object.freeze([]),
  partials: Object.freeze([]),
  state: 'idle',
  connection: 'idle',
  health: Object.freeze({ status: 'ok', reasons: Object.freeze([]) }),
  missing: 0,
  position: '',
  error: null,
});

/**
 * Follows a session as long as somebody listens: the first `subscribe` connects, the end of the last one disconnects, and
 * the next one goes on after the last final. `snapshot()` is the same value until something changes.
 */
export class LiveTranscript {
  #session;
  #options;
  #listeners = new Set();
  #stream = null;
  #timer = null;
  #changed = false;
  #snapshot = NOTHING;
  #finals = [];
  #partials = new Map();
  #early = new Map(); // translations that came before their final, by utterance
  #now = { ...NOTHING };

  constructor(session, options) {
    this.#session = session;
    this.#options = options;
  }

  /** Bound, as user interfaces ask for it. Returns a function that ends it. */
  subscribe = (listener) => {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#open();
    return () => {
      if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.#close();
    };
  };

  snapshot = () => this.#snapshot;

  /** A fresher token and so on. One that follows a refused token is tried at once. */
  use(options) {
    const isFresh = options.token !== this.#options.token;
    this.#options = options;
    if (isFresh && typeof options.token === 'string' && this.#now.error?.code === CREDENTIAL && this.#listeners.size > 0) {
      this.#close();
      this.#open();
    }
  }

  #open() {
    const { token, keep, ...options } = this.#options;
    if (!this.#session || !token) return;
    this.#set({ error: null });
    const fresh = () => (typeof this.#options.token === 'function' ? this.#options.token() : this.#options.token);
    const since = this.#now.position || options.since;
    let stream;
    try {
      stream = this.#stream = new TranscriptStream({ ...options, voids: true, session: this.#session, token: fresh, since });
    } catch (error) { // a wrong option: shown, so that a page does not fall over it
      return this.#set({ error, connection: 'closed' });
    }
    const on = (type, take) => stream.addEventListener(type, ({ detail }) => {
      if (stream !== this.#stream) return;
      take(detail);
      this.#set({ connection: stream.state, position: stream.position });
    });
    on('open', ({ state, restarted, voidFrom }) => {
      if (restarted) this.#forget();
      else if (voidFrom) this.#finals = this.#finals.filter(({ seq }) => seq < voidFrom);
      this.#partials.clear(); // what was under way comes again
      this.#set({ state, error: null });
    });
    on('final', (message) => this.#final(message));
    on('partial', ({ data }) => this.#partial(data));
    on('translation', ({ data }) => this.#translation(data));
    on('gap', ({ data }) => this.#set({ missing: this.#now.missing + data.toSeq - data.fromSeq + 1 }));
    on('state', ({ data }) => {
      if (data.state === 'stopped') this.#partials.clear();
      this.#set({ state: data.state });
    });
    on('health', ({ data }) => this.#set({ health: data }));
    on('error', (error) => error.kind !== 'reported' && this.#set({ error }));
    on('close', () => {});
    this.#set({ connection: stream.state });
  }

  #close() {
    const stream = this.#stream;
    this.#stream = null;
    stream?.close();
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#partials.clear();
    this.#now.connection = 'idle';
    this.#changed = true;
    this.#settle();
  }

  #forget() {
    this.#finals = [];
    this.#early.clear();
    this.#set({ missing: 0 });
  }

  #final({ seq, data }) {
    this.#partials.delete(data.utteranceId);
    const translations = this.#early.get(data.utteranceId);
    this.#early.delete(data.utteranceId);
    this.#finals.push({ ...data, seq, ...(translations && { translations }) });
    const { keep = KEEP } = this.#options;
    if (this.#finals.length > keep) this.#finals = this.#finals.slice(-keep);
  }

  #translation({ utteranceId, targetLanguage, text }) {
    const at = this.#finals.findLastIndex((final) => final.utteranceId === utteranceId);
    if (at >= 0) {
      const final = this.#finals[at];
      this.#finals[at] = { ...final, translations: { ...final.translations, [targetLanguage]: text } };
      return;
    }
    this.#early.set(utteranceId, { ...this.#early.get(utteranceId), [targetLanguage]: text });
    if (this.#early.size > EARLY) this.#early.delete(this.#early.keys().next().value);
  }

  #partial(data) {
    if (data.text) this.#partials.set(data.utteranceId, data);
    else this.#partials.delete(data.utteranceId);
  }

  #set(values) {
    Object.assign(this.#now, values);
    this.#changed = true;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#settle();
    }, SETTLE_MS);
  }

  #settle() {
    if (!this.#changed) return;
    this.#changed = false;
    this.#snapshot = Object.freeze({ ...this.#now, finals: [...this.#finals], partials: [...this.#partials.values()] });
    for (const listener of [...this.#listeners]) listener();
  }
}
