// Searching a transcript as a whole: how many lines hold the words, from one to the next, marked where they are in the page.

import { count } from './dom.js';
import { nameOf } from './speakers.js';

const SETTLE_MS = 150;

export class Find {
  #field; #told; #transcript; #page;
  #wanted = '';
  #hits = []; // numbers of finals
  #now = 0; // the number of the one that is shown
  #timer = 0;
  #marks = globalThis.Highlight ? { found: new Highlight(), 'found-now': new Highlight() } : {};

  /** `page`: `show(final)`, `sections()` that are drawn, `translated(final)`, `found(seqs)`, `done()` when it is given up. */
  constructor(field, told, transcript, page) {
    this.#field = field;
    this.#told = told;
    this.#transcript = transcript;
    this.#page = page;
    for (const [name, marks] of Object.entries(this.#marks)) CSS.highlights.set(name, marks);
    field.addEventListener('input', () => this.#search());
    field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this.step(event.shiftKey ? -1 : 1);
      else if (event.key === 'Escape') this.end();
      else return;
      event.preventDefault();
    });
  }

  end() {
    this.#field.value = '';
    this.#search();
    this.#page.done();
  }

  /** To the next hit (1) or the one before (-1), round the ends. */
  step(by) {
    if (!this.#hits.length) return;
    const place = this.#hits.indexOf(this.#now);
    const first = by > 0 ? 0 : this.#hits.length - 1;
    this.#now = this.#hits[place < 0 ? first : (place + by + this.#hits.length) % this.#hits.length];
    this.#page.show(this.#transcript.ofNumber(this.#now));
    this.#tell();
    this.paint();
  }

  /** Lines have come: look again, not with each of them. */
  again() {
    if (!this.#wanted || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#look();
    }, SETTLE_MS);
  }

  #search() {
    this.#wanted = this.#field.value.trim().toLocaleLowerCase();
    this.#now = 0;
    this.#look();
  }

  #look() {
    const holds = (text) => text.toLocaleLowerCase().includes(this.#wanted);
    this.#hits = [];
    if (this.#wanted) {
      for (const one of this.#transcript.all()) {
        if (holds(one.text) || holds(nameOf(one)) || holds(this.#page.translated(one))) this.#hits.push(one.seq);
      }
    }
    this.#page.found(this.#hits);
    this.#tell();
    this.paint();
  }

  #tell() {
    const place = this.#hits.indexOf(this.#now) + 1;
    const found = place ? `${place} of ${this.#hits.length}` : count(this.#hits.length, 'line');
    const share = this.#transcript.isWhole ? '' : ` so far (${Math.floor(100 * this.#transcript.share)} % read)`;
    this.#told.textContent = this.#wanted ? found + share : '';
  }

  /** Mark the words in what is drawn; to be called after each drawing. */
  paint() {
    for (const marks of Object.values(this.#marks)) marks.clear();
    if (!this.#wanted || !this.#marks.found) return;
    for (const section of this.#page.sections()) {
      for (const element of section.querySelectorAll('.who, .line, .translation')) {
        const isNow = Number(element.dataset.seq) === this.#now;
        for (const range of this.#places(element)) this.#marks[isNow ? 'found-now' : 'found'].add(range);
      }
    }
  }

  /** Words may lie over several text nodes of a line. */
  #places(element) {
    const text = element.textContent.toLocaleLowerCase();
    const found = [];
    for (let at = text.indexOf(this.#wanted); at >= 0; at = text.indexOf(this.#wanted, at + this.#wanted.length)) {
      const range = new Range();
      const [begin, end] = [nodeAt(element, at), nodeAt(element, at + this.#wanted.length)];
      if (!begin || !end) break;
      range.setStart(...begin);
      range.setEnd(...end);
      found.push(range);
    }
    return found;
  }
}

/** The text node of an element in which its letter number `at` begins, and where in it. */
function nodeAt(element, at) {
  const walk = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let left = at;
  while (walk.nextNode()) {
    const { length } = walk.currentNode;
    if (left <= length) return [walk.currentNode, left];
    left -= length;
  }
  return null;
}
