// The tools of the reader's page: size, colours, full screen, the field of the search, single letters as keys.

import { byId } from './dom.js';
import { SIZES, kept, offerThemes, resize, wear } from './theme.js';

/** `page`: `resized()` when letters have another size. */
export function setTools(page) {
  wear();
  const turn = (by) => {
    resize(by);
    showSizes();
    page.resized();
  };
  byId('smaller').addEventListener('click', () => turn(-1));
  byId('larger').addEventListener('click', () => turn(1));
  offerThemes(page.recoloured);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => page.recoloured());
  byId('full').hidden = !document.fullscreenEnabled;
  byId('full').addEventListener('click', () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen();
  });
  byId('find-open').addEventListener('click', openFind);
  showSizes();
  listen({ '/': openFind, f: page.follow, '+': () => turn(1), '-': () => turn(-1) });
}

function showSizes() {
  byId('smaller').disabled = kept.size <= SIZES[0];
  byId('larger').disabled = kept.size >= SIZES.at(-1);
}

/** On a narrow screen the field takes the place of the title. */
function openFind() {
  byId('bar').classList.add('finding');
  byId('find-open').ariaExpanded = 'true';
  byId('search').focus();
}

export function closeFind() {
  byId('bar').classList.remove('finding');
  byId('find-open').ariaExpanded = 'false';
  byId('pane').focus({ preventScroll: true });
}

function listen(keys) {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId('bar').hidden) return;
    if (event.target.closest?.('input, textarea, select') || document.querySelector('dialog[open]')) return;
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
