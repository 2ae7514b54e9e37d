// All that is known of what was said: finals by number, in blocks of BLOCK, some of which may not be here yet.

export const BLOCK = 25;

export const blockOf = (seq) => Math.floor((seq - 1) / BLOCK);

export class Transcript {
  epoch = '';
  last = 0; // number of the last final there is
  partials = new Map(); // utteranceId → the newest, in the order in which they began
  #finals = []; // by number; undefined: not here, null: will never come
  #here = []; // by block: how many of its finals are here, or will never come
  #settled = new Set(); // utterances that have their final
  #translations = new Map(); // language → utteranceId → text

  get blocks() {
    return Math.ceil(this.last / BLOCK);
  }

  get languages() {
    return [...this.#translations.keys()].sort();
  }

  /** Another numbering: what was here counts no more. */
  clear(epoch) {
    this.epoch = epoch;
    this.last = 0;
    this.#finals = [];
    this.#here = [];
    this.#settled.clear();
    this.partials.clear();
    this.#translations.clear();
  }

  /** There are finals up to that number. */
  reaches(seq) {
    this.last = Math.max(this.last, seq);
  }

  /** Returns whether it is news. */
  final(seq, said) {
    this.reaches(seq);
    this.partials.delete(said.utteranceId);
    this.#settled.add(said.utteranceId);
    return this.#put(seq, { ...said, seq });
  }

  /** Of these numbers what is not here will never come. */
  gone(from, to) {
    this.reaches(to);
    for (let seq = from; seq <= to; seq++) if (this.#finals[seq] === undefined) this.#put(seq, null);
  }

  #put(seq, what) {
    const block = blockOf(seq);
    const isNew = this.#finals[seq] === undefined;
    if (isNew) this.#here[block] = (this.#here[block] ?? 0) + 1;
    if (isNew || this.#finals[seq] === null) this.#finals[seq] = what;
    return isNew;
  }

  /** Returns whether anything is another now. */
  partial(said) {
    if (this.#settled.has(said.utteranceId)) return false;
    if (!said.text) return this.partials.delete(said.utteranceId);
    this.partials.set(said.utteranceId, said);
    return true;
  }

  /** Returns the utterance's final, if it is here. */
  translation({ utteranceId, targetLanguage, text, ofSeq }) {
    const known = this.#translations.get(targetLanguage) ?? new Map();
    this.#translations.set(targetLanguage, known.set(utteranceId, text));
    return ofSeq ? this.#finals[ofSeq] : this.backwards(({ utteranceId: id }) => id === utteranceId);
  }

  translated(language, utteranceId) {
    return this.#translations.get(language)?.get(utteranceId) ?? '';
  }

  isHere(block) {
    const size = Math.min(this.last, (block + 1) * BLOCK) - block * BLOCK;
    return (this.#here[block] ?? 0) >= size;
  }

  get isWhole() {
    for (let block = 0; block < this.blocks; block++) if (!this.isHere(block)) return false;
    return true;
  }

  /** 0 to 1: how much of it is here. */
  get share() {
    return this.last ? this.#here.reduce((sum, count) => sum + count, 0) / this.last : 1;
  }

  /** Finals of a block that are here, in order. */
  ofBlock(block) {
    return this.#finals.slice(block * BLOCK + 1, (block + 1) * BLOCK + 1).filter(Boolean);
  }

  /** Undefined while it is not here, null when it will never come. */
  ofNumber(seq) {
    return this.#finals[seq];
  }

  /** All finals that are here, in order. */
  *all() {
    for (const final of this.#finals) if (final) yield final;
  }

  /** The last final that is here and fits, if there is one. */
  backwards(fits) {
    for (let seq = this.#finals.length - 1; seq > 0; seq--) {
      const final = this.#finals[seq];
      if (final && fits(final)) return final;
    }
    return undefined;
  }

  /** Of the finals that are here, what was being said at that moment, or last before it; else the first one. */
  at(ms) {
    return this.backwards(({ startMs }) => startMs <= ms) ?? this.all().next().value;
  }
}
