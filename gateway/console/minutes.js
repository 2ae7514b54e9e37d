// After the end the page is the minutes: what came of it, who spoke how much, the files.

import { addressOf } from './address.js';
import { get, request, save } from './api.js';
import { attempt, clock, count, make } from './dom.js';
import { colour, nameOf } from './speakers.js';

const AGAIN_MS = 3_000;
const LONGEST_MS = 60_000;
const FILES = [['txt', 'Text'], ['vtt', 'Subtitles (WebVTT)'], ['srt', 'Subtitles (SubRip)'], ['json', 'JSON']];
const METHODS = {
  model: 'Written by a language model from the transcript.',
  extractive: 'Sentences of the transcript, chosen by word statistics.',
};

/** A day, or a time as it was said. */
export function due(date) {
  return /^\d{4}-\d\d-\d\d$/.test(date) ? `by ${new Date(`${date}T12:00`).toLocaleDateString([], { dateStyle: 'medium' })}` : date;
}

export class Minutes {
  #root; #page;
  #analysis = null;
  #isWhole = false; // or the head alone, until it is known what came of it
  #drawn = null; // what was known then

  /** `page`: `{slug, view, transcript, language(), changed(change)}`; `changed` runs what changes the height. */
  constructor(root, page) {
    this.#root = root;
    this.#page = page;
    this.#read(AGAIN_MS);
  }

  /** Everything anew; also when more of the transcript is here. */
  draw() {
    this.#drawn = this.#known;
    this.#page.changed(() => {
      const rest = this.#isWhole ? [...this.#summary(), ...this.#shares(), this.#files()].filter(Boolean) : [];
      this.#root.replaceChildren(this.#head(), ...rest);
      this.#root.hidden = false;
      if (this.#isWhole) this.#root.classList.remove('awaited');
    });
  }

  async #read(delayMs) {
    try {
      this.#analysis = await get(`api/sessions/${encodeURIComponent(this.#page.slug)}/analysis`);
    } catch (error) {
      if (![0, 404, 503].includes(error.status)) delayMs = Infinity; // not for this reader
    }
    this.#isWhole = true;
    this.draw();
    const isSettled = ['DONE', 'FAILED'].includes(this.#analysis?.status);
    if (!isSettled && delayMs <= LONGEST_MS) setTimeout(() => this.#read(delayMs * 1.5), delayMs);
  }

  #head() {
    const { startedAt, endedAt } = this.#page.view ?? {};
    const held = startedAt && new Date(startedAt).toLocaleString([], { dateStyle: 'full', timeStyle: 'short' });
    const lasted = startedAt && endedAt ? `${Math.max(1, Math.round((Date.parse(endedAt) - Date.parse(startedAt)) / 60_000))} min` : '';
    return make('header', {}, make('h2', { id: 'minutes-title', textContent: 'Minutes' }),
      make('p', { className: 'hint', textContent: [held, ...[lasted, this.#page.transcript.last && count(this.#page.transcript.last, 'line')].map((one) => one && one.replace(' ', '\u00a0'))].filter(Boolean).join(' · ') }),
      make('a', { href: addressOf(this.#page.slug, 0), textContent: 'Read it from the beginning' }));
  }

  #summary() {
    const { status, summary, tasks = [], risks = [], method } = this.#analysis ?? {};
    if (status !== 'DONE') return [this.#analysis && make('p', { className: 'hint', textContent: status === 'FAILED'
      ? 'There is no summary: writing it has failed.' : 'The summary is being written …' })];
    // How it was made stands below, in this page's own words.
    const lines = summary.split('\n').filter((line) => line && !/^\[.*\]$/.test(line));
    return [
      make('div', {}, ...lines.map((line) => make('p', { textContent: line.replace(/^[–-] /, ''), dir: 'auto' }))),
      this.#findings('Tasks', tasks, ({ assignee, dueDate }) => [assignee, dueDate && due(dueDate)]),
      this.#findings('Risks', risks, ({ severity, mitigation }) => [severity && `${severity} severity`, mitigation]),
      make('p', { className: 'hint', textContent: METHODS[method] ?? '' }),
    ];
  }

  #findings(title, found, facts) {
    if (!found.length) return null;
    return make('div', {}, make('h3', { textContent: title }), make('ul', { className: 'findings' }, ...found.map((one) => {
      const at = one.atMs === undefined ? null
        : make('a', { className: 'when', href: addressOf(this.#page.slug, one.atMs), textContent: clock(one.atMs) });
      const told = facts(one).filter(Boolean).join(' · ');
      return make('li', { className: one.severity ?? '' }, make('bdi', { textContent: one.title }), at && ' ', at,
        told ? make('p', { className: 'hint', dir: 'auto', textContent: told }) : null);
    })));
  }

  /** Of the time in which somebody spoke; how much only once all of it is here. */
  #shares() {
    const { transcript } = this.#page;
    if (!transcript.last) return [];
    const spoken = new Map();
    for (const one of transcript.all()) {
      const known = spoken.get(one.participantIdentity) ?? { ms: 0 };
      spoken.set(one.participantIdentity, { ms: known.ms + Math.max(0, one.endMs - one.startMs), name: nameOf(one) });
    }
    const all = [...spoken.values()].reduce((sum, { ms }) => sum + ms, 0) || 1;
    const rows = [...spoken].sort(([, one], [, other]) => other.ms - one.ms).map(([identity, { ms, name }]) => {
      const share = transcript.isWhole ? Math.round((100 * ms) / all) : 0;
      const bar = colour(make('span', { className: 'share', ariaHidden: 'true' }), identity);
      bar.style.setProperty('--share', `${share}%`);
      return make('li', {}, make('bdi', { textContent: name }), bar, make('span', { className: 'hint', textContent: transcript.isWhole ? `${share} % · ${clock(ms)}` : '…' }));
    });
    return [make('div', {}, make('h3', { textContent: 'Who spoke' }), make('ul', { className: 'shares' }, ...rows))];
  }

  #files() {
    const files = FILES.map(([format, name]) => [name, `transcript?format=${format}&lang=${this.#page.language()}`, format]);
    if (this.#page.view?.rawTranscriptReadyAt) files.push(['Everything, as one document', 'document', 'document.json']);
    const wrong = make('p', { className: 'refused', role: 'alert', hidden: true });
    const buttons = files.map(([name, path, ending]) => {
      const button = make('button', { type: 'button', textContent: name });
      const complain = (text) => Object.assign(wrong, { textContent: text, hidden: !text });
      button.addEventListener('click', () => attempt(button, complain, () => this.#save(path.replace(/&lang=$/, ''), ending)));
      return button;
    });
    return make('div', {}, make('h3', { textContent: 'Files' }), make('div', { className: 'files' }, ...buttons), wrong);
  }

  async #save(path, ending) {
    const { slug } = this.#page;
    await save(await request(`api/sessions/${encodeURIComponent(slug)}/${path}`), `${slug}.${ending}`);
  }

  /** More of the transcript has come, or of what is known about the session. */
  grown() {
    if (this.#drawn && this.#known.some((one, place) => one !== this.#drawn[place])) this.draw();
  }

  get #known() {
    const { transcript, view } = this.#page;
    return [transcript.isWhole, transcript.last, view];
  }
}
