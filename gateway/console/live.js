// The live stream into a transcript: what is said now, and the newest of what was said before.

import { memory } from './api.js';
import { nameOf } from './speakers.js';
import { TranscriptStream } from './transcript-stream.js';
import { blockOf } from './transcript.js';

const NEWEST = 60; // finals that it begins with, more than fit a window; the history reads the others
const CROWDED = 4029, MALFORMED = 4500, ENDED = 4510;

export class Live {
  delayMs = null; // from the end of the newest words to their final
  #slug; #transcript; #page;
  #stream = null;
  #caughtUpAt = 0;

  /**
   * `page` is told: `changed(blocks, isNews)`, `stands(news)` as states.js has it, `began(restarted)`, `said(final)` that is news,
   * `translatedTo(language)`, `wasOver()` when one came, `ended()`, `noSuchLanguage()`, `refused(code)`.
   */
  constructor(slug, transcript, page) {
    this.#slug = slug;
    this.#transcript = transcript;
    this.#page = page;
  }

  /** The block of the next final: what is being said stands there. */
  get tail() {
    return blockOf(this.#transcript.last + 1);
  }

  /** Go on from where it is; `language`: also all translations into it. */
  follow(language) {
    const former = this.#stream;
    this.#stream = null; // its close is no news
    former?.close();
    const since = former?.position.split(':').slice(0, 2).join(':') || undefined;
    const opened = new TranscriptStream({
      url: '.', session: this.#slug, token: memory.token, newest: NEWEST, since, language: language || undefined,
      WebSocket: FirstSocket,
    });
    this.#stream = opened;
    const on = (type, hear) => opened.addEventListener(type, ({ detail }) => {
      if (this.#stream === opened) hear(detail);
    });
    on('open', (opening) => this.#opened(opening));
    on('partial', ({ data }) => this.#transcript.partial(data) && this.#page.changed([this.tail], true));
    on('final', (message) => this.#final(message));
    on('translation', ({ data }) => this.#translated(data));
    on('gap', ({ data: { fromSeq, toSeq } }) => {
      this.#transcript.gone(fromSeq, toSeq);
      this.#page.changed([blockOf(fromSeq), blockOf(toSeq)]);
    });
    on('state', ({ data }) => this.#page.stands({ state: data.state, isLate: false }));
    on('health', ({ data }) => this.#page.stands({ isLate: data.status !== 'ok' }));
    on('pause', ({ data }) => this.#paused(data));
    on('close', (closing) => this.#closed(closing, language));
  }

  #opened({ state, epoch, seq, resumed, ended }) {
    const restarted = !resumed && this.#transcript.last > 0 && epoch !== this.#transcript.epoch;
    if (restarted) this.#transcript.clear(epoch); // numbered anew: what is here counts no more
    this.#transcript.epoch = epoch;
    this.#transcript.partials.clear();
    this.#transcript.reaches(seq);
    this.#caughtUpAt = seq;
    this.#page.stands({ line: 'open', state, paused: null, isLate: false });
    if (ended) this.#page.wasOver();
    this.#page.began(restarted);
    this.#page.changed([this.tail]);
  }

  #final({ seq, epoch, ts, data }) {
    this.#transcript.epoch = epoch;
    const before = this.tail;
    const isNews = this.#transcript.final(seq, data) && seq > this.#caughtUpAt;
    this.#page.changed([blockOf(seq), before, this.tail], isNews);
    if (!isNews) return;
    this.delayMs = Math.max(0, Date.parse(ts) - Date.parse(data.endedAt));
    this.#page.said(data);
  }

  #translated(data) {
    this.#page.translatedTo(data.targetLanguage);
    const final = this.#transcript.translation(data);
    this.#page.changed([final ? blockOf(final.seq) : this.tail]);
  }

  #paused({ everybody, participants }) {
    const names = participants.map((participantIdentity) => nameOf(
      this.#transcript.backwards((one) => one.participantIdentity === participantIdentity) ?? { participantIdentity }));
    this.#page.stands({ paused: everybody ? 'everybody' : names.join(', ') || null });
  }

  #closed({ code, willReconnect }, language) {
    this.#transcript.partials.clear();
    this.#page.changed([this.tail]);
    if (willReconnect) return this.#page.stands({ line: code === CROWDED ? 'crowded' : 'waiting' });
    this.#page.stands({ line: 'over' });
    if (code === ENDED) this.#page.ended();
    else if (code === MALFORMED && language) this.#page.noSuchLanguage();
    else this.#page.refused(code);
  }
}

/** As a WebSocket is made: the one that stream-first.js has opened, where it asks for the same; else a new one. */
function FirstSocket(url, protocols) {
  return globalThis.first?.take(url, protocols) ?? new WebSocket(url, protocols);
}
