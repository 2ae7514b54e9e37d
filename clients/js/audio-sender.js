// PCM to the gateway, whatever happens to the line: what it has not acknowledged is kept, bounded, and sent again.

import { CUT, Line, NORMAL, tell } from './line.js';

const KEPT_S = 30;
const QUIET_MS = 5_000; // the gateway acknowledges once a second, so one that is frozen has lost its lease soon
const GOODBYE_MS = 5_000;
const SILENT_MS = 700; // what was said before so long a silence has come to its end
const IN_FLIGHT_BYTES = 512 * 1024; // more than this in the socket's own buffer would only wait there

/**
 * What went wrong. `kind`: `token` (the token function failed; it is asked again), `refused` (a close code from 4500: final),
 * `unavailable` (more tries in a row than allowed, or no WebSocket to that address: final), `device` (the microphone cannot be had, or is gone: final).
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
  #line;
  #isStopping = false;
  #blocks = []; // not acknowledged: {from, frames, at, pcm}, by frame
  #next = 0; // the frame that comes next from the caller
  #unsent = 0; // the first frame that has not gone out on this connection
  #gapMs = 0; // to be told before the next block
  #origin = 0; // our number of the gateway's frame 0
  #stream = newName();

  constructor(options) {
    super();
    const { sampleRate, channels = 1, identity, name } = options;
    if (!(sampleRate >= 8000 && sampleRate <= 48_000)) throw new TypeError('sampleRate: 8000 to 48000 Hz');
    if (channels !== 1 && channels !== 2) throw new TypeError('channels: 1 or 2');
    this.#options = { sampleRate, channels, keptS: options.keptS ?? KEPT_S };
    this.#line = new Line(this, options, {
      path: 'api/realtime/audio',
      subprotocol: 'audio.v1',
      quietMs: QUIET_MS,
      what: 'audio',
      Trouble: AudioError,
      query: () => ({ identity, name }),
      opened: () => this.#greet(),
      heard: (text) => this.#hear(text),
      ends: (code) => this.#isStopping || code === NORMAL,
      farewell: 'stopped by this side',
      over: () => (this.#blocks = []),
      stop: () => this.stop(),
    });
    this.#line.begin();
  }

  /** `connecting`, `live`, `waiting` (for the next try), `stopping` or `closed`. */
  get state() {
    const { state } = this.#line;
    return state !== 'open' ? state : this.#isStopping ? 'stopping' : 'live';
  }

  /** Resolves to `{code, reason}` when it is over for good; never rejects. */
  get closed() {
    return this.#line.closed;
  }

  /** Seconds of audio that the gateway has not acknowledged. */
  get pendingS() {
    return (this.#next - (this.#blocks[0]?.from ?? this.#next)) / this.#options.sampleRate;
  }

  /** Take samples, channels interleaved. Kept until the gateway has them, at most 30 s (`keptS`); then the oldest go. */
  send(pcm) {
    if (this.state === 'closed' || this.#isStopping || !pcm.length) return;
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

  /** `frames` are left out, because the microphone was muted for example; what follows was spoken later by as many. */
  skip(frames) {
    const before = this.#gapMs;
    this.#gapMs += (frames / this.#options.sampleRate) * 1000;
    // Said at once, so that what was spoken before gets its final. It is said again with what follows, as it may be lost.
    if (before < SILENT_MS && this.#gapMs >= SILENT_MS && this.#unsent === this.#next && this.#line.state === 'open') {
      this.#line.send(gap(this.#gapMs));
    }
  }

  /** That was all: what is kept goes out, then the connection is closed. Resolves when it is. */
  stop() {
    if (this.state === 'live') {
      this.#isStopping = true;
      this.#flush();
      this.#stopWhenSent();
    } else if (!this.#isStopping) {
      this.#line.end();
    }
    return this.closed;
  }

  #greet() {
    const { sampleRate, channels } = this.#options;
    const start = { type: 'start', sampleRate, channels, stream: this.#stream, gaps: true };
    // A gateway that does not know the stream needs the age of the first sample that it gets.
    if (this.#blocks.length) start.ageMs = Math.min(60_000, Math.round(performance.now() - this.#blocks[0].at));
    this.#line.send(JSON.stringify(start));
  }

  #hear(text) {
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
    if (this.state !== 'connecting') return;
    const first = this.#blocks[0]?.from ?? this.#next;
    if (has) this.#forget(this.#origin + has);
    else this.#origin = first;
    const goesOn = has > 0;
    this.#unsent = goesOn ? this.#origin + has : first;
    this.#line.greeted();
    tell(this, 'open', { goesOn });
    this.#flush();
  }

  #acknowledged(samples) {
    if (this.#line.state !== 'open') return;
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
    if (this.state === 'live') this.#line.lost(CUT, 'the line is too slow');
  }

  #flush() {
    if (this.#line.state !== 'open') return;
    for (const { from, frames, pcm, gapMs } of this.#blocks) {
      if (from < this.#unsent) continue;
      if (this.#line.bufferedAmount > IN_FLIGHT_BYTES) return; // the next call goes on
      if (gapMs) this.#line.send(gap(gapMs));
      this.#line.send(littleEndian(pcm));
      this.#unsent = from + frames;
    }
  }

  #stopWhenSent() {
    if (this.state !== 'stopping') return;
    if (this.#unsent < this.#next) {
      setTimeout(() => {
        this.#flush();
        this.#stopWhenSent();
      }, 50);
      return;
    }
    this.#line.send('{"type":"stop"}');
    this.#line.expect(GOODBYE_MS, 'no goodbye came');
  }
}

function gap(ms) {
  return JSON.stringify({ type: 'gap', ms: Math.round(ms) });
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
