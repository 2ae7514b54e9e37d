// What remains of a session on screen: who was there, what was said, what came of it.

import { byId, clock, make, say, sayState } from './dom.js';
import { due } from './minutes.js';
import { directionOf } from './paragraphs.js';
import { colour } from './speakers.js';

const LINES = 2000; // in the page; files have all
const METHODS = {
  model: 'Written by a language model; the quotes are from the transcript.',
  extractive: 'No language model is configured: these are sentences of the transcript, chosen by word statistics.',
};
const STAGES = {
  PENDING: 'waits for its turn', RUNNING: 'being written', DONE: 'done', FAILED: 'failed', NONE: 'none yet',
};

/** The finals so far, in order; a few thousand lines at most. */
export class Said {
  #list;
  seq = 0;
  epoch = null;

  constructor(list) {
    this.#list = list;
    this.clear();
  }

  clear() {
    this.#list.replaceChildren();
    this.seq = 0;
    this.epoch = null;
    this.#settle();
  }

  /** An answer of `transcript?since=`. */
  add({ epoch, finals }) {
    if (this.epoch && epoch !== this.epoch) return this.clear(); // numbered anew: the next round reads it all
    this.epoch = epoch;
    for (const final of finals) {
      if (final.seq <= this.seq) continue;
      this.seq = final.seq;
      if (this.#list.childElementCount < LINES) this.#list.append(this.#row(final));
      else byId('rest').hidden = false;
    }
    this.#settle();
  }

  #row({ participantIdentity, participantName, text, language, startMs, startedAt }) {
    const isSame = this.#list.lastElementChild?.dataset.who === participantIdentity;
    const row = make('li', { className: isSame ? 'row final same' : 'row final', dir: directionOf(text) },
      make('time', { textContent: clock(startMs), title: new Date(startedAt).toLocaleString() }),
      make('bdi', { className: 'who', textContent: participantName || participantIdentity }),
      make('p', { className: 'text', textContent: text, lang: language ?? '' }));
    row.dataset.who = participantIdentity;
    return colour(row, participantIdentity);
  }

  #settle() {
    byId('quiet').hidden = this.#list.childElementCount > 0;
    if (!this.seq) byId('rest').hidden = true;
  }
}

/** `found`: as the API answers it; null while the session has none. */
export function showAnalysis(found) {
  const status = found?.status ?? 'NONE';
  sayState(byId('analysis-state'), STAGES[status], status);
  say(byId('method'), status === 'DONE' ? METHODS[found.method] ?? '' : '');
  const isTrouble = found?.reason && status !== 'DONE';
  say(byId('reason'), isTrouble ? (status === 'FAILED' ? found.reason : `The last attempt failed: ${found.reason}`) : '');
  byId('retry').hidden = status !== 'FAILED';
  byId('summary').replaceChildren(...(found?.summary ?? '').split('\n').filter((line) => line && !line.startsWith('[extractive'))
    .map((line) => make('p', { textContent: line.replace(/^[–-] /, ''), dir: 'auto' })));
  list('tasks', found?.tasks ?? [], ({ assignee, dueDate }) => [assignee, dueDate && due(dueDate)]);
  list('risks', found?.risks ?? [], ({ severity, mitigation }) => [severity && `${severity} severity`, mitigation]);
}

function list(where, things, facts) {
  byId(where).hidden = things.length === 0;
  byId(where).querySelector('ul').replaceChildren(...things.map((one) => {
    const told = facts(one).filter(Boolean).join(' · ');
    const when = one.atMs === undefined ? '' : `${clock(one.atMs)} `;
    return make('li', { className: one.severity ? `finding ${one.severity}` : 'finding' },
      make('b', { textContent: one.title, dir: 'auto' }),
      told ? make('span', { className: 'hint', textContent: told }) : null,
      one.quote && one.quote !== one.title ? make('q', { textContent: one.quote, dir: 'auto', title: when && `said at ${when}` }) : null);
  }));
}
