// A block of the transcript as elements. Drawn again, it changes only what is another: a partial becomes its final in place.

import { addressOf } from './address.js';
import { clock, make } from './dom.js';
import { directionOf, gapBehind, paragraphsOf, piecesOf } from './paragraphs.js';
import { colour, initialsOf, nameOf } from './speakers.js';

/** How a page shows lines: `{slug, language, instead, translated(line), isNews}`; it may be changed at any time. */
export class BlockView {
  #section; #page;
  #paragraphs = new Map(); // key → its element
  #lines = new Map(); // utteranceId → its element
  #texts = new WeakMap(); // element of a line → what it shows

  constructor(section, page) {
    this.#section = section;
    this.#page = page;
  }

  /** `lines`: finals, then partials. */
  draw(lines) {
    const wanted = paragraphsOf(lines);
    forget(this.#paragraphs, new Set(wanted.map(({ key }) => key)));
    forget(this.#lines, new Set(lines.map(({ utteranceId }) => utteranceId)));
    place(this.#section, wanted.map((paragraph) => this.#paragraph(paragraph)));
  }

  clear() {
    this.#paragraphs.clear();
    this.#lines.clear();
    this.#section.replaceChildren();
  }

  lineOf(utteranceId) {
    return this.#lines.get(utteranceId);
  }

  #paragraph({ key, identity, startMs, lines }) {
    const element = known(this.#paragraphs, key, () => this.#newParagraph(identity));
    const [face, head, text, below] = element.children;
    const [who, when] = head.children;
    const name = nameOf(lines.findLast((line) => line.participantName) ?? lines[0]);
    if (who.textContent !== name) {
      who.textContent = name;
      face.textContent = initialsOf(name);
    }
    const at = clock(startMs);
    if (when.textContent !== at) {
      when.textContent = at;
      when.href = addressOf(this.#page.slug, startMs);
      when.title = new Date(lines[0].startedAt).toLocaleString();
    }
    element.dataset.ms = startMs;
    place(text, lines.map((line) => this.#line(line)));
    element.dir = directionOf(text.textContent); // name, initials and words stand on one side
    this.#translate(below, lines);
    return element;
  }

  #newParagraph(identity) {
    const element = make('div', { className: 'said' },
      make('span', { className: 'face', ariaHidden: 'true' }),
      make('p', { className: 'head' }, make('bdi', { className: 'who' }), make('a', { className: 'when' })),
      make('p', { className: 'text' }),
      make('p', { className: 'translation', dir: 'auto', hidden: true }));
    return colour(element, identity);
  }

  #line(line) {
    const element = known(this.#lines, line.utteranceId, () => make('bdi', { className: 'line' }));
    const isFinal = line.seq !== undefined;
    const instead = this.#page.instead && this.#page.translated(line);
    const shown = instead || line.text;
    const stable = isFinal || instead ? shown.length : line.stableChars ?? shown.length;
    element.classList.toggle('underway', !isFinal);
    element.lang = instead ? this.#page.language : line.language ?? '';
    if (isFinal && !element.dataset.seq) {
      element.dataset.seq = line.seq;
      element.dataset.ms = line.startMs;
      element.title = clock(line.startMs);
    }
    this.#write(element, shown, stable);
    return element;
  }

  /** Words that were not there before come as elements of their own, so that they can fade in. */
  #write(element, text, stable) {
    const before = this.#texts.get(element);
    if (before?.text === text && before.stable === stable) return;
    this.#texts.set(element, { text, stable });
    const stood = this.#page.isNews || before ? before?.text ?? '' : text;
    const pieces = piecesOf(text, stable, stood).map((piece) => {
      const className = [piece.fresh && 'fresh', piece.unsure && 'unsure'].filter(Boolean).join(' ');
      return className ? make('span', { className, textContent: piece.text }) : document.createTextNode(piece.text);
    });
    element.replaceChildren(...pieces, gapBehind(text));
  }

  #translate(below, lines) {
    const { language, instead } = this.#page;
    const texts = language && !instead ? lines.map((line) => this.#page.translated(line)).filter(Boolean) : [];
    const text = texts.map((one) => one + gapBehind(one)).join('').trimEnd();
    below.hidden = !text;
    if (below.textContent === text) return;
    below.textContent = text;
    below.lang = language;
  }
}

/** What the map holds under a key, made where it holds nothing. */
function known(map, key, create) {
  let element = map.get(key);
  if (!element) map.set(key, (element = create()));
  return element;
}

function forget(map, wanted) {
  for (const key of map.keys()) if (!wanted.has(key)) map.delete(key);
}

/** These children, in this order; those that are in their place are not touched, so nothing in them begins anew. */
function place(parent, wanted) {
  const stay = new Set(wanted);
  for (const child of [...parent.childNodes]) if (!stay.has(child)) child.remove();
  wanted.forEach((child, number) => {
    const there = parent.childNodes[number] ?? null;
    if (there !== child) parent.insertBefore(child, there);
  });
}
