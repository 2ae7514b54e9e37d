// Guests of a session: the link with which they enter, copied and renewed, and whether they may read it afterwards.
// Of pages that have `_invite.html` in them.

import { memory, patch, post } from './api.js';
import { confirmed } from './confirm.js';
import { attempt, byId, copy, say } from './dom.js';
import { nameOf, pathOf } from './titles.js';

export class Invite {
  #view = null; // of the session, as the API tells it

  constructor() {
    byId('copy').addEventListener('click', () => copy(byId('link'), byId('copy')));
    const complain = (text) => text && say(byId('link-hint'), text);
    byId('renew').addEventListener('click', () => attempt(byId('renew'), complain, () => this.#renew()));
    byId('minutes').addEventListener('change', ({ target }) => attempt(target, complain, async () => {
      this.show(await patch(pathOf(this.#view.slug), { guestMinutes: target.checked }));
    }));
  }

  show(view) {
    this.#view = view;
    const isOpen = ['CREATED', 'LIVE'].includes(view.status);
    if (!byId('minutes').disabled) byId('minutes').checked = view.guestMinutes !== false;
    byId('renew').hidden = !isOpen;
    const key = memory.joinToken(view.slug, view.joinTokenMadeAt);
    const link = new URL('join', location.href);
    link.hash = `session=${encodeURIComponent(view.slug)}${key ? `&joinToken=${encodeURIComponent(key)}` : ''}`;
    if (byId('link').value !== link.href) byId('link').value = link.href;
    const isWhole = key || !view.requireJoinToken;
    byId('link-row').hidden = !isOpen || !isWhole; // never a link that lets nobody in
    say(byId('link-hint'), !isOpen ? '' : !isWhole
      ? 'The link was told once, where the session was created. Make a new one: the old one lets nobody in any more.'
      : key
        ? 'It opens the session to whoever has it. It is told this once: copy it before you close this tab.'
        : 'Whoever has it gives a name and is in.');
  }

  async #renew() {
    const { slug } = this.#view;
    const isSure = await confirmed(`A new link for “${nameOf(this.#view)}”?`,
      'Whoever has the one before cannot join with it any more. Who is in stays in.', 'Make a new link');
    if (!isSure) return;
    const { joinToken, joinTokenMadeAt } = await post(`${pathOf(slug)}/join-token`);
    memory.keepJoinToken(slug, joinToken, joinTokenMadeAt);
    if (this.#view.slug === slug) this.show({ ...this.#view, requireJoinToken: true, joinTokenMadeAt });
  }
}
