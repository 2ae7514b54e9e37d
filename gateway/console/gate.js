// What the pages that need a token share: they ask for it, look every few seconds, and ask again when it is refused.

import { Problem, memory, readFragment } from './api.js';
import { byId, say } from './dom.js';
import { askOtherTabs } from './tabs.js';
import { offerThemes } from './theme.js';

const PATIENCE_MS = 400; // an answer that comes sooner needs no announcement

export class Gate {
  #page;
  #timer = 0;
  #rounds = 0; // a newer round of looking ends the older one
  #looks = false;
  #offered = ''; // a token that a link brings to a tab that has one

  /**
   * What a page says of itself: `look()` shows how things are, every `everyMs` while the page is visible; `refusals` are the
   * statuses that mean the token, not the moment; `admits()`: whether a token that was refused comes in all the same, to a
   * page that then does not look; `enter(isRefused)`: the page is on screen, and the address may have changed;
   * `show(slug)`: one session, or none.
   */
  constructor(page) {
    this.#page = page;
    offerThemes();
    byId('enter').addEventListener('submit', (event) => {
      event.preventDefault();
      memory.token = byId('token').value.trim();
      this.enter();
    });
    byId('offer').addEventListener('submit', (event) => {
      event.preventDefault();
      if (event.submitter?.value === 'take') memory.token = this.#offered;
      this.#offered = '';
      this.enter();
    });
    byId('leave').addEventListener('click', () => {
      memory.session = '';
      this.#ask('');
    });
    addEventListener('hashchange', () => { // Back, Forward, or another link
      memory.session = '';
      this.enter();
    });
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.#looks) this.#again();
    });
  }

  /** Try the token this tab has; ask for one when there is none or it is refused. */
  async enter() {
    memory.token ||= await askOtherTabs(); // before the link's: beside another that one is only offered
    this.#offered = readFragment() || this.#offered;
    byId('offer').hidden = !this.#offered;
    byId('enter').hidden = Boolean(this.#offered);
    if (this.#offered) return this.#wait();
    if (!memory.token) return this.#ask('');
    byId('gate').hidden = true; // the page stands before the first answer
    byId('console').hidden = byId('leave').hidden = false;
    const patience = setTimeout(() => say(byId('waiting'), 'Waiting for the gateway’s first answer …'), PATIENCE_MS);
    try {
      await this.look();
      this.#looks = true;
    } catch (problem) {
      if (!this.#page.admits()) return this.#refuse(problem);
      this.#looks = false;
    } finally {
      clearTimeout(patience);
      say(byId('waiting'), '');
    }
    await this.#page.enter(!this.#looks);
  }

  /** Look now, and go on. Raises Problem when the token is refused. */
  async look() {
    clearTimeout(this.#timer);
    const round = ++this.#rounds;
    try {
      if (!document.hidden) await this.#page.look();
      say(byId('trouble'), '');
    } catch (error) {
      if (round !== this.#rounds) return;
      if (error instanceof Problem && this.#page.refusals.includes(error.status)) throw error;
      say(byId('trouble'), error.message);
    }
    if (round === this.#rounds) this.#timer = setTimeout(() => this.#again(), this.#page.everyMs);
  }

  #again() {
    this.look().catch((problem) => this.#refuse(problem));
  }

  #refuse({ detail }) {
    this.#ask(`This token is refused: ${detail}.`);
  }

  /** Nothing is looked at before an answer is given at the gate. */
  #wait() {
    clearTimeout(this.#timer);
    this.#rounds++;
    this.#looks = false;
    byId('gate').hidden = false;
    byId('console').hidden = byId('leave').hidden = true;
    say(byId('trouble'), '');
  }

  #ask(why) {
    memory.token = '';
    const wanted = memory.session; // showing none forgets it, but after the right token it is wanted
    this.#page.show('');
    memory.session = wanted;
    this.#wait();
    say(byId('refused'), why);
    byId('token').value = '';
    byId('token').focus();
  }
}
