// The list of sessions beside the one on screen: a button each.

import { byId, make, say, sayState } from './dom.js';

export class Items {
  #buttons = new Map(); // slug → its button
  #choose;

  constructor(choose) {
    this.#choose = choose;
  }

  get(slug) {
    return this.#buttons.get(slug);
  }

  /** These and no others, in this order: `{slug, name, state, facts, trouble}`, empty facts left out. */
  show(ones, shown) {
    const slugs = new Set(ones.map(({ slug }) => slug));
    for (const slug of this.#buttons.keys()) if (!slugs.has(slug)) this.drop(slug);
    ones.forEach(({ slug, name, state, facts, trouble = '' }, place) => {
      const button = this.get(slug) ?? this.#add(slug);
      const there = byId('list').children[place];
      if (there !== button.parentNode) byId('list').insertBefore(button.parentNode, there);
      const [title, badge, told, bad] = button.children;
      say(title, name);
      sayState(badge, state.toLowerCase(), state);
      say(told, facts.filter(Boolean).map((fact) => fact.replaceAll(' ', '\u00a0')).join(' · '));
      say(bad, trouble);
    });
    this.mark(shown);
    byId('none').hidden = ones.length > 0;
  }

  mark(shown) {
    for (const [slug, button] of this.#buttons) button.ariaCurrent = String(slug === shown);
  }

  drop(slug) {
    this.get(slug)?.parentNode.remove();
    this.#buttons.delete(slug);
  }

  /** Choose the next (1) or the previous one (-1), round the ends. */
  step(by) {
    const buttons = [...byId('list').querySelectorAll('button')];
    if (!buttons.length) return;
    const place = buttons.findIndex((button) => button.ariaCurrent === 'true');
    const next = buttons[place < 0 ? 0 : (place + by + buttons.length) % buttons.length];
    next.focus();
    next.click();
  }

  #add(slug) {
    const button = make('button', { type: 'button' }, make('b'),
      ...['state', 'facts', 'bad'].map((className) => make('span', { className })));
    button.addEventListener('click', () => this.#choose(slug));
    byId('list').append(make('li', {}, button));
    this.#buttons.set(slug, button);
    return button;
  }
}
