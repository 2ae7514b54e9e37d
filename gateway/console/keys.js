// Shortcuts: single letters, only where nobody is typing.

import { byId } from './dom.js';
import { captions, voice } from './session.js';

const help = byId('help');

/** The next or previous session of the list. */
function step(by) {
  const buttons = [...document.querySelectorAll('#list button')];
  if (!buttons.length) return;
  const at = buttons.findIndex((button) => button.ariaCurrent === 'true');
  const next = buttons[at < 0 ? 0 : (at + by + buttons.length) % buttons.length];
  next.click();
  next.focus();
}

const ACTIONS = {
  '/': () => byId('search').focus(),
  f: () => captions.follow(),
  m: () => voice.toggleMute(),
  j: () => step(1),
  k: () => step(-1),
  '?': () => help.showModal(),
};

addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && event.target === byId('search')) {
    byId('search').value = '';
    captions.search('');
    byId('pane').focus();
    return;
  }
  const isTyping = event.target.closest?.('input, textarea, select, [contenteditable]');
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping || help.open || byId('console').hidden) return;
  const action = ACTIONS[event.key];
  if (!action || (['/', 'f', 'm'].includes(event.key) && byId('session').hidden)) return;
  event.preventDefault();
  action();
});
byId('keys').addEventListener('click', () => help.showModal());
