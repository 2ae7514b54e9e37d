// Reads what was said before one came: first where the reader looks, then the rest, so that it is searched as a whole.

import { get } from './api.js';
import { BLOCK, blockOf } from './transcript.js';

const UNIT = 200; // finals of one request
const PER_UNIT = UNIT / BLOCK;
const AGAIN_MS = 3_000;

export class History {
  #path; #transcript; #came;
  #wanted = []; // blocks that are looked at, the last one first
  #isReading = false;

  /** `came(blocks)`: finals of these have come. */
  constructor(slug, transcript, came) {
    this.#path = `api/sessions/${encodeURIComponent(slug)}/transcript`;
    this.#transcript = transcript;
    this.#came = came;
  }

  /** The reader looks at this block. */
  want(block) {
    this.#wanted = [...this.#wanted.filter((one) => one !== block), block].slice(-8);
    this.read();
  }

  /** Until all is here; may be called at any time. */
  async read() {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      while (this.#next() !== undefined) {
        if (!this.#wanted.length) await atLeisure();
        await this.#readUnit(this.#next()); // meanwhile the reader may look elsewhere
      }
    } catch {
      setTimeout(() => this.read(), AGAIN_MS); // the line says what is wrong
    } finally {
      this.#isReading = false;
    }
  }

  /** What was being said at that moment, read where it is not here. Undefined when nothing was said at all. Raises Problem. */
  async at(ms) {
    if (!this.#transcript.isWhole) this.#came(this.#put(await get(`${this.#path}?at=${Math.round(ms)}&limit=${BLOCK}`)));
    return this.#transcript.at(ms);
  }

  /** The number of the next unit: of 200 finals that the reader waits for, else the newest that lacks some. */
  #next() {
    const lacks = (block) => block >= 0 && block < this.#transcript.blocks && !this.#transcript.isHere(block);
    const wanted = this.#wanted.findLast(lacks);
    if (wanted !== undefined) return Math.floor(wanted / PER_UNIT);
    this.#wanted = [];
    for (let block = this.#transcript.blocks - 1; block >= 0; block--) if (lacks(block)) return Math.floor(block / PER_UNIT);
    return undefined;
  }

  async #readUnit(unit) {
    if (unit === undefined) return; // the stream has brought it
    const after = unit * UNIT;
    const { epoch } = this.#transcript;
    const answer = await get(`${this.#path}?since=${after}&limit=${UNIT}`);
    if (this.#transcript.epoch !== epoch) return;
    if (answer.epoch !== epoch) throw new Error('numbered anew: the stream will say so');
    this.#put(answer);
    this.#transcript.gone(after + 1, Math.min(after + UNIT, this.#transcript.last));
    this.#came(Array.from({ length: PER_UNIT }, (_, place) => unit * PER_UNIT + place));
  }

  /** Returns the blocks that it belongs to. */
  #put({ epoch, finals }) {
    if (epoch !== this.#transcript.epoch) return [];
    for (const { seq, ...said } of finals) this.#transcript.final(seq, said);
    return [...new Set(finals.map(({ seq }) => blockOf(seq)))];
  }
}

/** When the page has nothing better to do. */
const atLeisure = () => new Promise((done) => (globalThis.requestIdleCallback ?? setTimeout)(done));
