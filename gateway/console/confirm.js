// Asking before something that cannot be undone, on pages that have `_confirm.html` in them.

import { byId, say } from './dom.js';

/** Ask in a dialog. Returns whether the answer was yes; Esc is no. */
export function confirmed(title, text, yes) {
  const dialog = byId('confirm');
  say(byId('confirm-title'), title);
  say(byId('confirm-text'), text);
  say(byId('confirm-yes'), yes);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener('close', () => answer(dialog.returnValue === 'yes'), { once: true });
  });
}
