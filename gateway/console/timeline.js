// Who spoke when, as a strip to move along: a lane for each speaker, the part on screen, the places that were found.

import { clock } from './dom.js';
import { hueOf, nameOf } from './speakers.js';

const LANES = 6; // further speakers share the last one
const STEP_MS = 15_000;
const PAGE_MS = 300_000;
const GAP_PX = 1;

export class Timeline {
  #strip; #canvas; #tip; #transcript; #go;
  #end = 0; #shown = [0, 0]; #hits = [];
  #isDue = false;

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
    this.draw();
  }

  /** Numbers of finals that a search has found. */
  mark(hits) {
    this.#hits = hits;
    this.draw();
  }

  /** With the next frame. */
  draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#paint();
    });
  }

  #paint() {
    const lanes = new Map();
    this.#end = 0;
    for (const one of this.#transcript.all()) {
      if (!lanes.has(one.participantIdentity)) lanes.set(one.participantIdentity, Math.min(lanes.size, LANES - 1));
      this.#end = Math.max(this.#end, one.endMs ?? one.startMs);
    }
    this.#strip.hidden = !this.#end;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (!width) return;
    this.#strip.ariaValueMax = String(Math.ceil(this.#end / 1000));
    const scale = devicePixelRatio || 1;
    this.#canvas.width = width * scale;
    this.#canvas.height = height * scale;
    const pen = this.#canvas.getContext('2d');
    pen.scale(scale, scale);
    const style = getComputedStyle(this.#canvas); // what is drawn takes its colours from there
    this.#paintWindow(pen, style, width, height);
    const isDark = style.colorScheme.startsWith('dark') || (style.colorScheme !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
    const each = height / Math.max(1, Math.min(lanes.size, LANES));
    for (const one of this.#transcript.all()) {
      const hue = hueOf(one.participantIdentity);
      pen.fillStyle = isDark ? `oklch(80% .11 ${hue})` : `oklch(52% .12 ${hue})`;
      const from = this.#place(one.startMs, width);
      const long = Math.max(1, this.#place(one.endMs ?? one.startMs, width) - from);
      pen.fillRect(from, lanes.get(one.participantIdentity) * each + GAP_PX, long, Math.max(2, each - 2 * GAP_PX));
    }
    pen.fillStyle = style.caretColor;
    for (const seq of this.#hits) {
      const hit = this.#transcript.ofNumber(seq);
      if (hit) pen.fillRect(this.#place(hit.startMs, width) - 1, 0, 2, height);
    }
  }

  #paintWindow(pen, style, width, height) {
    const [from, to] = this.#shown.map((ms) => this.#place(ms, width));
    pen.fillStyle = style.columnRuleColor;
    pen.fillRect(from, 0, Math.max(3, to - from), height);
    pen.fillStyle = style.color;
    pen.fillRect(from, 0, 2, height);
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
