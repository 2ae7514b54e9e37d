// The transcript on screen: finals settled above, partials grey below, never more than LIMIT finals in the page.

import { byId, clock, count, make } from './dom.js';
import { directionOf } from './paragraphs.js';
import { colour } from './speakers.js';

const LIMIT = 500; // finals; with notes, ROWS
const ROWS = 700;
const EARLY_TRANSLATIONS = 100; // ones that came before their utterance
const NEAR_END_PX = 48;

/** The captions of a page that has `_captions.html` in it. */
export class Captions {
  #pane = byId('pane'); #finals = byId('finals'); #partials = byId('partials'); #quiet = byId('quiet');
  #earlier = byId('earlier'); #newest = byId('newest'); #follower = byId('follow'); #found = byId('found');
  #rows = new Map(); // utteranceId → row on screen
  #early = new Map(); // utteranceId → translations whose utterance is not on screen yet
  #count = 0; #unseen = 0; #caughtUpAt = 0;
  #last = 0; // the number of the last final
  #pinned = true; #paused = false; #scrolling = false; #isShorter = false; #top = 0; #height = 0; #room = 0;
  #wanted = ''; #highlight = globalThis.Highlight ? new Highlight() : null; #ranges = new Map(); // row → its highlights

  constructor() {
    if (this.#highlight) CSS.highlights.set('found', this.#highlight);
    this.#pane.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#follow()).observe(this.#pane);
    this.#newest.addEventListener('click', () => {
      this.follow(true);
      this.#pane.focus();
    });
    this.#follower.addEventListener('click', () => this.follow());
    const search = byId('search');
    search.addEventListener('input', () => this.search(search.value));
    search.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      search.value = '';
      this.search('');
      this.#pane.focus();
    });
  }

  /** Go along with the speech, or stay where the reader is, also at the end. */
  follow(on = this.#paused || !this.#pinned) {
    this.#paused = !on;
    this.#pinned = on;
    if (on) this.#unseen = 0;
    this.#settle();
  }

  /** Show only the lines that hold this text, in what was said, in a translation or in the speaker's name. */
  search(text) {
    this.#wanted = text.trim().toLowerCase();
    this.#pane.classList.toggle('searching', this.#wanted !== '');
    for (const row of this.#rows.values()) this.#sift(row);
    this.#tellFound();
    if (!this.#wanted) this.#follow();
  }

  /** What stands in place of the words while there are none. */
  whenEmpty(text) {
    if (this.#quiet.textContent !== text) this.#quiet.textContent = text;
  }

  clear() {
    this.#rows.clear();
    this.#early.clear();
    this.#finals.replaceChildren();
    this.#partials.replaceChildren();
    this.#ranges.clear();
    this.#highlight?.clear();
    this.#count = this.#unseen = this.#last = 0;
    this.#pinned = true;
    this.#paused = false;
    this.#earlier.hidden = true;
    this.#settle();
  }

  /** A connection begins: partials of the last one are void; finals up to `seq` follow and are not announced. */
  begin(seq, restarted) {
    if (restarted) this.clear();
    for (const row of [...this.#partials.children]) this.#drop(row);
    this.#caughtUpAt = seq;
    this.#finals.parentNode.ariaBusy = String(seq > this.#last);
    this.#settle();
  }

  partial(said) {
    const row = this.#rows.get(said.utteranceId);
    if (row && row.parentNode === this.#finals) return; // late: the final is there
    if (!said.text) {
      if (row) this.#drop(row);
    } else {
      this.#write(row ?? this.#partials.appendChild(this.#row(said)), said);
    }
    this.#settle();
  }

  final(seq, said) {
    const row = this.#rows.get(said.utteranceId) ?? this.#row(said);
    row.classList.add('final');
    this.#finals.append(row);
    this.#write(row, said);
    nameBelow(row.previousElementSibling, row);
    this.#count++;
    this.#last = seq;
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

  /** Something about the transcript, not of it: a gap, a change of state, an error. */
  note(text, kind = '') {
    this.#finals.append(make('li', { className: `note ${kind}`, textContent: text }));
    this.#trim();
    this.#settle();
  }

  // --- rows -------------------------------------------------------------------------------------------------

  #row({ utteranceId, participantIdentity }) {
    const row = make('li', { className: 'row' },
      make('time'), make('bdi', { className: 'who' }), make('p', { className: 'text' }));
    row.dataset.utterance = utteranceId;
    row.dataset.who = participantIdentity;
    colour(row, participantIdentity);
    this.#rows.set(utteranceId, row);
    for (const said of this.#early.get(utteranceId) ?? []) this.#translate(row, said);
    this.#early.delete(utteranceId);
    return row;
  }

  #write(row, said) {
    const [time, who, text] = row.children;
    time.textContent = clock(said.startMs);
    time.title = new Date(said.startedAt).toLocaleString();
    who.textContent = said.participantName || said.participantIdentity;
    // A text node first, perhaps an empty one: the search marks places in it.
    const stable = said.isFinal ? said.text.length : said.stableChars ?? said.text.length;
    text.replaceChildren(document.createTextNode(said.text.slice(0, stable)));
    if (stable < said.text.length) text.append(make('span', { className: 'unsure', textContent: said.text.slice(stable) }));
    this.#sift(row);
    if (said.language) text.lang = said.language;
    row.dir = directionOf(said.text); // time, name and words stand on one side
  }

  #translate(row, { targetLanguage, text }) {
    const line = [...row.querySelectorAll('.translation')].find((old) => old.lang === targetLanguage)
      ?? row.appendChild(make('p', { className: 'translation', lang: targetLanguage, dir: 'auto' }));
    line.textContent = text;
    this.#sift(row);
  }

  // --- search -----------------------------------------------------------------------------------------------

  #sift(row) {
    for (const range of this.#ranges.get(row) ?? []) this.#highlight.delete(range);
    this.#ranges.delete(row);
    row.hidden = this.#wanted !== '' && !row.textContent.toLowerCase().includes(this.#wanted);
    if (!this.#wanted || row.hidden || !this.#highlight) return;
    const ranges = [...row.querySelectorAll('.who, .text, .translation')].flatMap(({ firstChild }) => this.#places(firstChild));
    for (const range of ranges) this.#highlight.add(range);
    this.#ranges.set(row, ranges);
  }

  #places(node) {
    const ranges = [];
    const text = node?.data.toLowerCase() ?? '';
    for (let at = text.indexOf(this.#wanted); at >= 0; at = text.indexOf(this.#wanted, at + this.#wanted.length)) {
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, Math.min(node.length, at + this.#wanted.length));
      ranges.push(range);
    }
    return ranges;
  }

  #tellFound() {
    const found = [...this.#rows.values()].filter((row) => !row.hidden).length;
    this.#found.textContent = this.#wanted ? count(found, 'line') : '';
  }

  #drop(row) {
    for (const range of this.#ranges.get(row) ?? []) this.#highlight.delete(range);
    this.#ranges.delete(row);
    this.#rows.delete(row.dataset.utterance);
    row.remove();
    this.#isShorter = true;
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
    for (const row of this.#partials.children) nameBelow(row.previousElementSibling ?? this.#finals.lastElementChild, row);
    this.#quiet.hidden = this.#finals.childElementCount + this.#partials.childElementCount > 0;
    this.#newest.textContent = this.#unseen ? `${this.#unseen} new ↓` : 'Newest ↓';
    this.#tellFollowing();
    if (this.#wanted) this.#tellFound();
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
    if (this.#paused) {
      if (scrollHeight - scrollTop - clientHeight < NEAR_END_PX) this.#unseen = 0;
    } else if (scrollHeight - scrollTop - clientHeight < NEAR_END_PX) {
      this.#pinned = true;
      this.#unseen = 0;
    } else if (scrollTop < this.#top && scrollHeight >= this.#height && clientHeight === this.#room && !this.#isShorter) {
      this.#pinned = false; // upwards, and not because lines went away (others may have come since) or the pane grew: that was the reader
    }
    this.#look();
    this.#tellFollowing();
  }

  #tellFollowing() {
    this.#newest.hidden = this.#pinned;
    this.#follower.ariaPressed = String(this.#pinned);
    this.#follower.textContent = this.#pinned ? 'Following' : 'Follow';
    this.#pane.classList.toggle('following', this.#pinned);
  }

  #look() {
    this.#top = this.#pane.scrollTop;
    this.#height = this.#pane.scrollHeight;
    this.#room = this.#pane.clientHeight;
    this.#isShorter = false;
  }
}

/** A row shows its speaker's name unless the one before it is the same speaker's. */
function nameBelow(before, row) {
  row.classList.toggle('same', before?.dataset.who === row.dataset.who);
}
