// Asking before something that cannot be undone, on pages that have `_confirm.html` in them.

import { byId, say } from './dom.js';

let asked = 0;

/** Ask in a dialog. Returns whether the answer was yes; Esc is no. */
export function confirmed(title, text, yes) {
  const dialog = byId('confirm');
  say(byId('confirm-title'), title);
  say(byId('confirm-text'), text);
  say(byId('confirm-yes'), yes);
  dialog.returnValue = '';
  dialog.showModal();
  asked += 1;
  const mine = asked;
  return new Promise((answer) => {
    const closed = () => { // the event comes later: the dialog may ask the next question by then
      if (mine === asked && dialog.open) return;
      dialog.removeEventListener('close', closed);
      answer(mine === asked && dialog.returnValue === 'yes');
    };
    dialog.addEventListener('close', closed);
  });
}
