// Who spoke when, as a strip to move along: a lane for each speaker, the part on screen, the places that were found.

import { clock } from './dom.js';
import { colourOf, nameOf } from './speakers.js';

const TONES = { true: { true: '88% .06', false: '78% .13' }, false: { true: '62% .06', false: '50% .14' } };
const LANES = 6; // further speakers share the last one
const STEP_MS = 15_000;
const PAGE_MS = 300_000;
const LANES_MS = 250; // as often are they drawn anew while lines come

export class Timeline {
  #strip; #canvas; #tip; #transcript; #go;
  #end = 0; #shown = [0, 0]; #hits = [];
  #lanes = document.createElement('canvas'); // not in the page
  #isDue = false; #isStale = true; #drawnAt = -Infinity; #later = 0;

  /** `strip`: an element of the role slider with a canvas and a tip in it. `go(ms)`: the reader wants to be there. */
  constructor(strip, transcript, go) {
    this.#strip = strip;
    [this.#canvas, this.#tip] = strip.children;
    this.#transcript = transcript;
    this.#go = go;
    new ResizeObserver(() => this.draw()).observe(strip);
    strip.addEventListener('pointerdown', (event) => {
      strip.setPointerCapture(event.pointerId);
      this.#go(this.#momentAt(event));
    });
    strip.addEventListener('pointermove', (event) => {
      this.#point(this.#momentAt(event), event.offsetX);
      if (event.buttons & 1) this.#go(this.#momentAt(event));
    });
    strip.addEventListener('pointerleave', () => (this.#tip.hidden = true));
    strip.addEventListener('keydown', (event) => this.#pressed(event));
  }

  /** Of the session's clock, what the pane shows: from, to. */
  showing(from, to) {
    if (from === this.#shown[0] && to === this.#shown[1]) return;
    this.#shown = [from, to];
    this.#strip.ariaValueNow = String(Math.round(from / 1000));
    this.#strip.ariaValueText = clock(from);
    this.#paint();
  }

  /** Numbers of finals that a search has found. */
  mark(hits) {
    this.#hits = hits;
    this.#paint();
  }

  /** More was said, or colours are others. */
  draw() {
    this.#isStale = true;
    this.#paint();
  }

  /** With the next frame: the lanes are drawn once, what moves is drawn over them. */
  #paint() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (this.#isStale) this.#renewLanes();
      const { width, height } = this.#lanes;
      if (!width) return;
      const pen = this.#canvas.getContext('2d');
      const style = getComputedStyle(this.#canvas); // what is drawn takes its colours from there
      Object.assign(this.#canvas, { width, height });
      const [from, to] = this.#shown.map((ms) => this.#place(ms, width));
      pen.fillStyle = style.columnRuleColor;
      pen.fillRect(from, 0, Math.max(3, to - from), height);
      pen.drawImage(this.#lanes, 0, 0);
      pen.fillStyle = style.color;
      pen.fillRect(from, 0, 2 * devicePixelRatio, height);
      pen.fillStyle = style.caretColor;
      for (const seq of this.#hits) {
        const hit = this.#transcript.ofNumber(seq);
        if (hit) pen.fillRect(this.#place(hit.startMs, width) - 1, 0, 2 * devicePixelRatio, height);
      }
    });
  }

  /** Of thousands of lines: that takes milliseconds, so not with each of them. */
  #renewLanes() {
    const rest = this.#drawnAt + LANES_MS - performance.now();
    clearTimeout(this.#later);
    if (rest > 0) {
      this.#later = setTimeout(() => this.#paint(), rest);
      return;
    }
    this.#isStale = false;
    this.#drawnAt = performance.now();
    this.#paintLanes();
  }

  #paintLanes() {
    const speakers = new Map(); // identity → its lines
    this.#end = 0;
    for (const one of this.#transcript.all()) {
      const lines = speakers.get(one.participantIdentity);
      if (lines) lines.push(one);
      else speakers.set(one.participantIdentity, [one]);
      this.#end = Math.max(this.#end, one.endMs);
    }
    this.#strip.hidden = !this.#end;
    this.#strip.ariaValueMax = String(Math.ceil(this.#end / 1000));
    const width = this.#canvas.clientWidth * devicePixelRatio;
    const height = this.#canvas.clientHeight * devicePixelRatio;
    Object.assign(this.#lanes, { width, height });
    if (!width) return;
    const pen = this.#lanes.getContext('2d');
    const each = height / Math.max(1, Math.min(speakers.size, LANES));
    [...speakers].forEach(([identity, lines], lane) => {
      const { hue, isPale } = colourOf(identity);
      pen.fillStyle = `oklch(${TONES[isDark(this.#strip)][isPale]} ${hue})`;
      const top = Math.min(lane, LANES - 1) * each + devicePixelRatio;
      for (const { startMs, endMs } of lines) {
        const from = this.#place(startMs, width);
        pen.fillRect(from, top, Math.max(1, this.#place(endMs, width) - from), Math.max(2, each - 2 * devicePixelRatio));
      }
    });
  }

  #place(ms, width) {
    return this.#end ? (ms / this.#end) * width : 0;
  }

  #momentAt({ clientX }) {
    const { left, width } = this.#canvas.getBoundingClientRect();
    return Math.min(1, Math.max(0, (clientX - left) / width)) * this.#end;
  }

  #point(ms, x) {
    const said = this.#transcript.at(ms);
    this.#tip.hidden = !said;
    if (!said) return;
    this.#tip.textContent = `${clock(ms)} · ${nameOf(said)}`;
    this.#tip.style.left = `${Math.min(Math.max(x, 60), this.#strip.clientWidth - 60)}px`;
  }

  #pressed(event) {
    const [from] = this.#shown;
    const to = {
      ArrowRight: from + STEP_MS, ArrowUp: from + STEP_MS, ArrowLeft: from - STEP_MS, ArrowDown: from - STEP_MS,
      PageUp: from + PAGE_MS, PageDown: from - PAGE_MS, Home: 0, End: this.#end,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#go(Math.min(this.#end, Math.max(0, to)));
  }
}

function isDark(element) {
  const { colorScheme } = getComputedStyle(element);
  return colorScheme === 'dark' || (colorScheme !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
}
