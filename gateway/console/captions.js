// The transcript on screen: finals settled above, partials grey below, never more than LIMIT finals in the page.

import { clock, make } from './dom.js';

const LIMIT = 500; // finals; with notes, ROWS
const ROWS = 700;
const EARLY_TRANSLATIONS = 100; // ones that came before their utterance
const NEAR_END_PX = 48;

/** The same hue for the same identity on every page and every day. */
export function hueOf(identity) {
  let hash = 2166136261; // FNV-1a, then the golden angle, so that "anna" and "annb" are far apart
  for (const unit of identity) hash = Math.imul(hash ^ unit.codePointAt(0), 16777619);
  return ((hash >>> 8) * 137.508) % 360;
}

export class Captions {
  #pane; #finals; #partials; #quiet; #earlier; #newest;
  #rows = new Map(); // utteranceId → row on screen
  #early = new Map(); // utteranceId → translations whose utterance is not on screen yet
  #count = 0; #unseen = 0; #caughtUpAt = 0;
  #pinned = true; #scrolling = false; #top = 0; #height = 0;

  constructor({ pane, finals, partials, quiet, earlier, newest }) {
    this.#pane = pane;
    this.#finals = finals;
    this.#partials = partials;
    this.#quiet = quiet;
    this.#earlier = earlier;
    this.#newest = newest;
    pane.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#follow()).observe(pane);
    newest.addEventListener('click', () => {
      this.#pinned = true;
      this.#follow();
      pane.focus();
    });
  }

  clear() {
    this.#rows.clear();
    this.#early.clear();
    this.#finals.replaceChildren();
    this.#partials.replaceChildren();
    this.#count = this.#unseen = 0;
    this.#pinned = true;
    this.#earlier.hidden = true;
    this.#settle();
  }

  /** A connection begins: partials of the last one are void; finals follow up to `seq`, and nobody reads those out. */
  begin(seq, resumed) {
    if (!resumed) this.clear();
    for (const row of [...this.#partials.children]) this.#drop(row);
    this.#caughtUpAt = seq;
    this.#finals.parentNode.ariaBusy = String(!resumed && seq > 0);
    this.#settle();
  }

  partial(said) {
    const row = this.#rows.get(said.utteranceId);
    if (row && row.parentNode === this.#finals) return; // late: the final is there
    if (!said.text) {
      if (row) this.#drop(row);
    } else {
      this.#write(row ?? this.#partials.appendChild(this.#row(said)), said, this.#partials);
    }
    this.#settle();
  }

  final(seq, said) {
    const row = this.#rows.get(said.utteranceId) ?? this.#row(said);
    row.classList.add('final');
    this.#finals.append(row);
    this.#write(row, said, this.#finals);
    this.#count++;
    if (!this.#pinned) this.#unseen++;
    this.#trim();
    if (seq >= this.#caughtUpAt) this.#finals.parentNode.ariaBusy = 'false';
    this.#settle();
  }

  translation(said) {
    const row = this.#rows.get(said.utteranceId);
    if (row) {
      this.#translate(row, said);
    } else {
      this.#early.set(said.utteranceId, [...(this.#early.get(said.utteranceId) ?? []), said].slice(-8));
      if (this.#early.size > EARLY_TRANSLATIONS) this.#early.delete(this.#early.keys().next().value);
    }
    this.#settle();
  }

  /** Something about the transcript that nobody said: a gap, a change of state, an error. */
  note(text, kind = '') {
    this.#finals.append(make('li', { className: `note ${kind}`, textContent: text }));
    this.#trim();
    this.#settle();
  }

  // --- rows -------------------------------------------------------------------------------------------------

  #row({ utteranceId, participantIdentity }) {
    const row = make('li', { className: 'row' },
      make('time'), make('span', { className: 'who' }), make('p', { className: 'text', dir: 'auto' }));
    row.dataset.utterance = utteranceId;
    row.dataset.who = participantIdentity;
    row.style.setProperty('--hue', hueOf(participantIdentity));
    this.#rows.set(utteranceId, row);
    for (const said of this.#early.get(utteranceId) ?? []) this.#translate(row, said);
    this.#early.delete(utteranceId);
    return row;
  }

  #write(row, said, list) {
    const [time, who, text] = row.children;
    time.textContent = clock(said.startMs);
    time.title = new Date(said.startedAt).toLocaleString();
    who.textContent = said.participantName || said.participantIdentity;
    text.textContent = said.text;
    if (said.language) text.lang = said.language;
    const before = row.previousElementSibling ?? (list === this.#partials ? this.#finals.lastElementChild : null);
    row.classList.toggle('same', before?.dataset.who === row.dataset.who);
  }

  #translate(row, { targetLanguage, text }) {
    const line = [...row.querySelectorAll('.translation')].find((old) => old.lang === targetLanguage)
      ?? row.appendChild(make('p', { className: 'translation', lang: targetLanguage, dir: 'auto' }));
    line.textContent = text;
  }

  #drop(row) {
    this.#rows.delete(row.dataset.utterance);
    row.remove();
  }

  #trim() {
    while (this.#count > LIMIT || this.#finals.childElementCount > ROWS) {
      const first = this.#finals.firstElementChild;
      if (first.classList.contains('final')) this.#count--;
      this.#drop(first);
      this.#finals.firstElementChild?.classList.remove('same');
      this.#earlier.hidden = false;
    }
  }

  // --- scrolling: follow the speech until the reader scrolls up ----------------------------------------------

  #settle() {
    this.#quiet.hidden = this.#finals.childElementCount + this.#partials.childElementCount > 0;
    this.#newest.hidden = this.#pinned;
    this.#newest.textContent = this.#unseen ? `${this.#unseen} new ↓` : 'Newest ↓';
    this.#follow();
  }

  #follow() {
    if (!this.#pinned || this.#scrolling) return;
    this.#scrolling = true; // once a frame, however many messages came
    requestAnimationFrame(() => {
      this.#scrolling = false;
      if (this.#pinned) this.#pane.scrollTop = this.#pane.scrollHeight;
      this.#look();
    });
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#pane;
    if (scrollHeight - scrollTop - clientHeight < NEAR_END_PX) {
      this.#pinned = true;
      this.#unseen = 0;
    } else if (scrollTop < this.#top && scrollHeight >= this.#height) {
      this.#pinned = false; // upwards, and not because lines went away: that was the reader
    }
    this.#look();
    this.#newest.hidden = this.#pinned;
  }

  #look() {
    this.#top = this.#pane.scrollTop;
    this.#height = this.#pane.scrollHeight;
  }
}
