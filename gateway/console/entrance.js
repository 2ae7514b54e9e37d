// The way into a page for readers: the token of the link, of this tab, of another tab; else it is asked for.

import { arrive, slugHere } from './address.js';
import { isOfRoom, memory } from './api.js';
import { byId, say } from './dom.js';
import { askOtherTabs } from './tabs.js';

export class Entrance {
  #parts; #enter;
  #offered = ''; // a token that a link brings to a tab that has one

  /** `parts`: elements that are there only for who is in. `enter()`: this tab has a token, try it. */
  constructor(parts, enter) {
    this.#parts = parts;
    this.#enter = enter;
    byId('enter').addEventListener('submit', (event) => {
      event.preventDefault();
      memory.token = byId('token').value.trim();
      byId('token').value = '';
      this.#open();
    });
    byId('offer').addEventListener('submit', (event) => {
      event.preventDefault();
      if (event.submitter?.value === 'take') memory.token = this.#offered;
      this.#offered = '';
      this.#open();
    });
  }

  async come() {
    memory.token ||= memory.pass(slugHere()) || await (globalThis.first?.asked ?? askOtherTabs()); // a guest's own, or that of whoever uses this browser
    this.#offered = arrive() || this.#offered;
    if (this.#offered) return this.#shut('');
    if (memory.token) this.#open();
    else this.#shut('');
  }

  /** The token is no good, or there is nothing here: why, in words. `asks`: another token may help. */
  refuse(why, asks = true) {
    if (asks) memory.token = '';
    this.#shut(why);
    byId('why').hidden = true;
    byId('welcome').textContent = asks ? 'Read along' : 'Nothing to read';
    for (const part of byId('enter').querySelectorAll('label, input, button')) part.hidden = !asks;
  }

  #open() {
    byId('gate').hidden = true;
    this.#parts.forEach((part) => (part.hidden = false));
    if (isOfRoom(memory.token)) noHome();
    this.#enter();
  }

  #shut(why) {
    this.#parts.forEach((part) => (part.hidden = true));
    byId('gate').hidden = false;
    byId('offer').hidden = !this.#offered;
    byId('enter').hidden = Boolean(this.#offered);
    byId('why').hidden = false;
    say(byId('refused'), why);
    byId('token').focus();
  }
}

/** A guest's token is good for this session alone: the list of all would only ask for another one. */
function noHome() {
  byId('home').removeAttribute('href');
  byId('home').title = byId('home').firstElementChild.alt = '';
}
