// One line that the reader has chosen: its moment as a link, its words to be copied.

import { linkTo, addressOf } from './address.js';
import { byId, clock, copyText } from './dom.js';
import { nameOf } from './speakers.js';

export class Chosen {
  #slug; #bar = byId('chosen'); #at = byId('chosen-at');
  #final = null;

  constructor(slug) {
    this.#slug = slug;
    const copy = (id, text) => byId(id).addEventListener('click', (event) => copyText(text(), event.currentTarget));
    copy('copy-line', () => `${nameOf(this.#final)} (${clock(this.#final.startMs)}): ${this.#final.text}`);
    copy('copy-link', () => linkTo(this.#slug, this.#final.startMs));
  }

  get seq() {
    return this.#final?.seq ?? 0;
  }

  /** `element`: of its line, undefined while it is not drawn. */
  choose(final, element) {
    this.drop();
    this.#final = final;
    this.#at.textContent = clock(final.startMs);
    this.#at.href = addressOf(this.#slug, final.startMs);
    if (element) this.show(element);
  }

  /** Its line is in the page, again perhaps. */
  show(element) {
    element.classList.add('is-chosen');
    const paragraph = element.closest('.said');
    if (this.#bar.parentNode !== paragraph) paragraph.append(this.#bar);
    this.#bar.hidden = false;
  }

  drop() {
    document.querySelector('.is-chosen')?.classList.remove('is-chosen');
    this.#final = null;
    this.#bar.remove();
  }

  /** What is in there leaves the page: the bar does not. */
  awayFrom(section) {
    if (section.contains(this.#bar)) this.#bar.remove();
  }
}
