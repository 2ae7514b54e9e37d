// A pane goes along with the speech until its reader scrolls up, or pauses it.

const NEAR_END_PX = 48;

export class Following {
  #pane; #changed; #isPinned = true; #isPaused = false; #unseen = 0; #top = 0; #height = 0; #room = 0;

  /** `changed()` is called when one of what can be read here is another. */
  constructor(pane, changed) {
    this.#pane = pane;
    this.#changed = changed;
    pane.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.settle()).observe(pane);
  }

  /** Whether what comes is shown as it comes. */
  get isOn() {
    return this.#isPinned;
  }

  /** What has come since the reader went up. */
  get unseen() {
    return this.#unseen;
  }

  /** Go along from now on, or stay here, even at the end. */
  turn(on) {
    this.#isPaused = !on;
    this.#isPinned = on;
    if (on) this.#unseen = 0;
    this.settle();
    this.#changed();
  }

  /** Stay where the reader was led, without a pause: at the end it goes on. */
  rest() {
    this.#isPinned = false;
    this.#look();
    this.#changed();
  }

  cameNew(count = 1) {
    if (this.#isPinned) return;
    this.#unseen += count;
    this.#changed();
  }

  forget() {
    this.#unseen = 0;
    this.turn(true);
  }

  /** After each change of what is in the pane. */
  settle() {
    if (this.#isPinned) this.#pane.scrollTop = this.#pane.scrollHeight;
    this.#look();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#pane;
    const wasOn = this.#isPinned;
    if (scrollHeight - scrollTop - clientHeight < NEAR_END_PX) {
      this.#unseen = 0;
      this.#isPinned = !this.#isPaused;
    } else if (scrollTop < this.#top && scrollHeight >= this.#height && clientHeight === this.#room) {
      this.#isPinned = false; // upwards, and not because lines went away or the pane grew: that was the reader
    }
    this.#look();
    if (wasOn !== this.#isPinned || !this.#unseen) this.#changed();
  }

  #look() {
    this.#top = this.#pane.scrollTop;
    this.#height = this.#pane.scrollHeight;
    this.#room = this.#pane.clientHeight;
  }
}
