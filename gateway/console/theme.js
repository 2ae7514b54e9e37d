// How a page looks to this reader: its colours and the size of its letters. Kept in this browser.

const THEME = 'gateway.theme';
const SIZE = 'gateway.size';
export const THEMES = ['system', 'light', 'dark', 'contrast'];
export const SIZES = [0.8, 0.9, 1, 1.15, 1.3, 1.5, 1.75, 2, 2.5, 3];

export const kept = {
  get theme() { return localStorage.getItem(THEME) ?? 'system'; },
  set theme(value) {
    localStorage.setItem(THEME, value);
    wear();
  },
  get size() { return Number(localStorage.getItem(SIZE)) || 1; },
  set size(value) {
    localStorage.setItem(SIZE, value);
    wear();
  },
};

const wantsContrast = matchMedia('(prefers-contrast: more)');

/** Put on what is kept. `theme-first.js` has done so before anything was drawn. */
export function wear() {
  const { dataset, style } = document.documentElement;
  dataset.theme = kept.theme === 'system' && wantsContrast.matches ? 'contrast' : kept.theme;
  style.setProperty('--scale', kept.size);
}

/** Let the reader choose, in a page that has `_themes.html` in it. `changed()` is called when they have. */
export function offerThemes(changed = () => {}) {
  const select = document.getElementById('theme');
  select.value = kept.theme;
  select.addEventListener('change', () => {
    kept.theme = select.value;
    changed();
  });
}

/** The next size, up (1) or down (-1). Returns it. */
export function resize(by) {
  const place = SIZES.findLastIndex((size) => size <= kept.size);
  kept.size = SIZES[Math.min(SIZES.length - 1, Math.max(0, place + by))];
  return kept.size;
}

wantsContrast.addEventListener('change', wear);
addEventListener('storage', wear); // another tab has chosen
