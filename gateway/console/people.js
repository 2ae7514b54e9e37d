// Who is or was in a session: when each came and went, who is host, who is not heard; and the buttons to change that.
// Of pages that have `_people.html` in them.

import { post } from './api.js';
import { attempt, byId, make, say, sayState } from './dom.js';
import { pathOf } from './titles.js';

const at = (moment) => new Date(moment).toLocaleTimeString([], { timeStyle: 'short' });

export class People {
  #rows = new Map(); // identity → its row
  #complain;
  #token;

  /** `complain(text)`: what goes wrong. `token()`: in whose name one acts, if not in that of this tab. */
  constructor(complain, token) {
    this.#complain = complain;
    this.#token = token;
  }

  clear() {
    for (const row of this.#rows.values()) row.remove();
    this.#rows.clear();
    byId('nobody').hidden = false;
    say(byId('people-title'), 'People');
  }

  /**
   * `people` as the API lists them; `speakers` who speak without having joined, as an encoder does: `{identity, name}`.
   * `host`: whose browser feeds it, if that is known. `paused`: who is not heard. `mayPause(identity)`, `mayAppoint(identity)`.
   */
  show(slug, people, { isOver = false, speakers = [], host = '', paused = [], mayPause = () => false, mayAppoint = () => false } = {}) {
    const isHere = (one) => !one.leftAt && !isOver;
    const known = new Set(people.map(({ identity }) => identity));
    const silent = speakers.filter(({ identity }) => !known.has(identity));
    const present = people.filter(isHere);
    byId('nobody').hidden = people.length + silent.length > 0;
    say(byId('people-title'), people.length && !isOver ? `People · ${present.length} present` : 'People');
    const ordered = [...present, ...silent, ...people.filter((one) => !isHere(one))];
    const shown = new Set(ordered.map(({ identity }) => identity));
    for (const [identity, row] of this.#rows) {
      if (shown.has(identity)) continue;
      row.remove();
      this.#rows.delete(identity);
    }
    ordered.forEach((one, place) => {
      const row = this.#rows.get(one.identity) ?? this.#add(slug, one.identity);
      if (byId('people').children[place] !== row) byId('people').insertBefore(row, byId('people').children[place] ?? null);
      const [name, state, badge, when, pause, appoint] = row.children;
      const isHeard = !paused.includes(one.identity);
      say(name.firstChild, one.name || one.identity);
      name.title = one.identity;
      const here = one.joinedAt ? (isHere(one) ? 'present' : 'was there') : 'speaks';
      sayState(state, isHeard ? here : 'not heard', !isHeard ? 'paused' : here === 'was there' ? '' : 'LIVE');
      say(badge, (host ? one.identity === host : one.role === 'HOST') ? 'host' : '');
      say(when, whenOf(one, isHere(one)));
      say(pause, isHeard ? 'Pause' : 'Resume');
      pause.dataset.does = isHeard ? 'pause' : 'resume';
      pause.title = isHeard ? 'Nothing of what they say is written down until resumed' : 'Write down again what they say';
      pause.hidden = !mayPause(one.identity) || (here === 'was there' && isHeard);
      appoint.hidden = here !== 'present' || one.identity === host || !mayAppoint(one.identity);
    });
  }

  #add(slug, identity) {
    const pause = make('button', { type: 'button', className: 'plain' });
    const appoint = make('button', { type: 'button', className: 'plain', textContent: 'Make host', title: 'Their browser speaks for all' });
    const token = () => (this.#token ? { token: this.#token() } : {});
    pause.addEventListener('click', () => attempt(pause, this.#complain, async () => {
      const { does } = pause.dataset;
      const { paused } = await post(`api/transcription/${encodeURIComponent(slug)}/${does}`, { participantIdentity: identity }, token());
      if (does === 'resume' && paused.includes(identity)) throw new Error('Still not heard: whoever asked for it has to lift it.');
    }));
    appoint.addEventListener('click', () => attempt(appoint, this.#complain, () =>
      post(`${pathOf(slug)}/transcription/host`, { identity }, token())));
    const row = make('li', {}, make('b', {}, make('bdi')), make('span', { className: 'state' }), make('span', { className: 'badge' }),
      make('span', { className: 'hint' }), pause, appoint);
    this.#rows.set(identity, row);
    return row;
  }
}

function whenOf({ joinedAt, leftAt }, isHere) {
  if (!joinedAt) return '';
  if (isHere) return `since ${at(joinedAt)}`;
  return leftAt ? `${at(joinedAt)} to ${at(leftAt)}` : `from ${at(joinedAt)}`;
}
