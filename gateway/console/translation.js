// The language one reads in: as spoken, or a translation beside or instead of it. Kept in this tab; `?lang=de` chooses one.

import { make } from './dom.js';

const KEY = 'gateway.reading';

export class TranslationChoice {
  language = ''; instead = false;
  #select; #label; #known = new Set();

  /** `select` in its `label`, hidden while there is nothing to choose. `chosen()` is called when the reader has chosen. */
  constructor(select, label, chosen) {
    this.#select = select;
    this.#label = label;
    const asked = new URLSearchParams(location.search).get('lang');
    if (asked) { // out of the address: links on the page are without it, and would load it anew
      sessionStorage.setItem(KEY, `${asked} beside`);
      history.replaceState(null, '', location.pathname + location.hash);
    }
    this.#take(sessionStorage.getItem(KEY) ?? '');
    select.addEventListener('change', () => {
      this.#take(select.value);
      sessionStorage.setItem(KEY, select.value);
      chosen();
    });
  }

  #take(choice) {
    const [language, how] = choice.split(' ');
    this.language = language;
    this.instead = how === 'instead';
    if (language) this.offer([language]);
  }

  /** There are translations into these. */
  offer(languages) {
    const fresh = languages.filter((one) => !this.#known.has(one));
    for (const one of fresh) {
      this.#known.add(one);
      const name = new Intl.DisplayNames(undefined, { type: 'language', fallback: 'code' }).of(one);
      this.#select.append(
        make('option', { value: `${one} beside`, textContent: `${name} beside` }),
        make('option', { value: `${one} instead`, textContent: `${name} alone` }));
    }
    this.#label.hidden = !this.#known.size;
    if (fresh.length) this.#select.value = this.language && `${this.language} ${this.instead ? 'instead' : 'beside'}`;
  }

  /** Nobody translates into it. */
  drop() {
    sessionStorage.removeItem(KEY);
    for (const option of [...this.#select.options]) if (option.value.startsWith(`${this.language} `)) option.remove();
    this.#known.delete(this.language);
    this.#take('');
    this.#select.value = '';
    this.#label.hidden = !this.#known.size;
  }
}
