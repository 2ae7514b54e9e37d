// The list beside what is on screen: a link each, which opens as any link does, and here when it is simply pressed.

import { byId, make, say, sayState } from './dom.js';

export class Items {
  #links = new Map(); // slug → its link
  #choose;
  #addressOf;

  /** `choose(slug)` shows one here; `addressOf(slug)` is where another tab shows it. */
  constructor(choose, addressOf) {
    this.#choose = choose;
    this.#addressOf = addressOf;
  }

  get(slug) {
    return this.#links.get(slug);
  }

  /** These and no others, in this order: `{slug, name, state, told, facts, trouble}`, empty facts left out; `told`: the state in words. */
  show(ones, shown) {
    const slugs = new Set(ones.map(({ slug }) => slug));
    for (const slug of this.#links.keys()) if (!slugs.has(slug)) this.drop(slug);
    ones.forEach(({ slug, name, state, told = state.toLowerCase(), facts, trouble = '' }, place) => {
      const link = this.get(slug) ?? this.#add(slug);
      const there = byId('list').children[place];
      if (there !== link.parentNode) byId('list').insertBefore(link.parentNode, there);
      const [title, badge, more, bad] = link.children;
      say(title, name);
      sayState(badge, told, state);
      say(more, facts.filter(Boolean).map((fact) => fact.replaceAll(' ', '\u00a0')).join(' · '));
      say(bad, trouble);
    });
    this.mark(shown);
    byId('none').hidden = ones.length > 0;
  }

  mark(shown) {
    for (const [slug, link] of this.#links) link.ariaCurrent = String(slug === shown);
  }

  drop(slug) {
    this.get(slug)?.parentNode.remove();
    this.#links.delete(slug);
  }

  /** Choose the next (1) or the previous one (-1), round the ends. */
  step(by) {
    const links = [...byId('list').querySelectorAll('a')];
    if (!links.length) return;
    const place = links.findIndex((link) => link.ariaCurrent === 'true');
    const next = links[place < 0 ? 0 : (place + by + links.length) % links.length];
    next.focus();
    next.click();
  }

  #add(slug) {
    const link = make('a', { href: this.#addressOf(slug) }, make('bdi'),
      ...['state', 'facts', 'bad'].map((className) => make('span', { className })));
    link.addEventListener('click', (event) => {
      if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      this.#choose(slug);
    });
    byId('list').append(make('li', {}, link));
    this.#links.set(slug, link);
    return link;
  }
}
