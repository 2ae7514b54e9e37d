// Shortcuts: single letters, only while no text field has the focus.

import { byId } from './dom.js';

/** What keys do: `anywhere` on the page, and where a session is on screen. */
export function listen(anywhere, inSession = {}) {
  addEventListener('keydown', (event) => {
    const isTyping = event.target.closest?.('input, textarea, select, [contenteditable]');
    const isElsewhere = isTyping || document.querySelector('dialog[open]') || byId('console').hidden;
    if (event.ctrlKey || event.metaKey || event.altKey || isElsewhere) return;
    const action = anywhere[event.key] ?? (byId('session').hidden ? undefined : inSession[event.key]);
    if (!action) return;
    event.preventDefault();
    action();
  });
}
