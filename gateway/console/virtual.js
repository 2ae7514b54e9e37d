// A long list of which only what is near the window is in the page. Its blocks are sections: those far away are empty and as high
// as they were, or as high as others on average. Whatever changes, what the reader looks at stays where it is.

const FIRST_GUESS_PX = 1_200;

export class VirtualList {
  #pane; #list; #draw; #clear; #follow;
  #near = new Set(); // numbers of sections that are drawn
  #heights = []; // by number, as last seen
  #average = 0; // of those, the first that were seen
  #observer;

  /**
   * `pane` scrolls `list`. `draw(number, section)` fills a section, or returns false while its content is not here;
   * `clear(number, section)` empties it. `follow`: a Following of the pane.
   */
  constructor(pane, list, follow, { draw, clear }) {
    this.#pane = pane;
    this.#list = list;
    this.#follow = follow;
    this.#draw = draw;
    this.#clear = clear;
    this.#observer = new IntersectionObserver((entries) => this.#moved(entries), { root: pane, rootMargin: '120% 0px' });
  }

  get near() {
    return [...this.#near].sort((one, other) => one - other);
  }

  /** So many sections; those that go take their content along. */
  setCount(count) {
    while (this.#list.childElementCount > count) {
      const section = this.#list.lastElementChild;
      this.#near.delete(this.#list.childElementCount - 1);
      this.#observer.unobserve(section);
      section.remove();
    }
    this.#heights.length = Math.min(this.#heights.length, count);
    const isLonger = this.#list.childElementCount < count;
    while (this.#list.childElementCount < count) {
      const section = document.createElement('section');
      section.dataset.block = this.#list.childElementCount;
      this.#list.append(section);
      this.#observer.observe(section);
    }
    if (isLonger) this.keep(() => this.#adjust());
  }

  /** The content of these is another; what is far away is drawn when it comes near. */
  changed(numbers) {
    const shown = numbers.filter((number) => this.#near.has(number));
    if (shown.length) this.keep(() => shown.forEach((number) => this.#fill(number)));
  }

  /** Draw it now, wherever it is. Returns its section. */
  show(number) {
    const section = this.#list.children[number];
    if (section && !this.#near.has(number)) this.keep(() => this.#fill(number));
    return section;
  }

  /** All heights are others: letters have another size, or the window has. */
  resized() {
    this.#heights = [];
    this.#average = 0;
    this.keep(() => this.#adjust());
  }

  /** Do something to the page; then what stood at the top of the pane stands there again, or its end at the bottom. Who is at the
   * very beginning stays there. */
  keep(change) {
    const anchor = this.#follow.isOn || this.#pane.scrollTop <= 0 ? null : this.atTop();
    const top = anchor?.getBoundingClientRect().top;
    change();
    if (anchor?.isConnected) this.#pane.scrollTop += anchor.getBoundingClientRect().top - top;
    this.#follow.settle();
  }

  /** The first element of a drawn section that the pane shows a part of. */
  atTop() {
    const line = this.#pane.getBoundingClientRect().top + 1;
    for (const number of this.near) {
      const section = this.#list.children[number];
      if (section.getBoundingClientRect().bottom <= line) continue;
      for (const child of section.children) if (child.getBoundingClientRect().bottom > line) return child;
    }
    return null;
  }

  #moved(entries) {
    this.keep(() => {
      for (const { target, isIntersecting } of entries) {
        const number = Number(target.dataset.block);
        if (target !== this.#list.children[number]) continue; // it has gone
        if (isIntersecting) this.#fill(number);
        else if (this.#near.delete(number)) this.#empty(number, target);
      }
      this.#adjust();
    });
  }

  #fill(number) {
    const section = this.#list.children[number];
    if (!section) return;
    this.#near.add(number);
    const isHere = this.#draw(number, section);
    section.classList.toggle('awaited', !isHere);
    section.style.minHeight = isHere ? '' : `${this.#guess(number)}px`;
  }

  #empty(number, section) {
    if (!section.classList.contains('awaited')) this.#heights[number] = section.offsetHeight;
    section.style.minHeight = `${this.#guess(number)}px`;
    this.#clear(number, section);
  }

  #adjust() {
    for (const number of this.#near) {
      const section = this.#list.children[number];
      if (section && !section.classList.contains('awaited')) this.#heights[number] = section.offsetHeight;
    }
    if (!this.#average) { // once: else the list would grow and shrink while one scrolls
      const whole = this.#heights.slice(0, -1).filter((height) => height !== undefined);
      if (whole.length) this.#average = Math.round(whole.reduce((sum, height) => sum + height, 0) / whole.length);
    }
    for (let number = 0; number < this.#list.childElementCount; number++) {
      if (!this.#near.has(number)) this.#list.children[number].style.minHeight = `${this.#guess(number)}px`;
    }
  }

  /** Sections are of like length, but the last one, of which there may be nothing yet. */
  #guess(number) {
    return this.#heights[number] ?? (number === this.#list.childElementCount - 1 ? 0 : this.#average || FIRST_GUESS_PX);
  }
}
