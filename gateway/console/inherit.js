// A tab that a link of another tab has opened knows what that one knows. A tab that was opened otherwise has to ask.

const OWN = 'gateway.'; // what is kept for these pages
const FRESH_MS = 60_000; // between a press on a link and the tab that it opens
const WAIT_MS = 250;

const tabs = globalThis.BroadcastChannel ? new BroadcastChannel('gateway.tabs') : null;
let pressed = null; // {page, at}: the link that may be opening in another tab

const pageOf = (address) => address.split('#')[0];

for (const type of ['click', 'auxclick', 'contextmenu']) {
  addEventListener(type, ({ target }) => {
    const link = target.closest?.('a[href]');
    if (link && link.origin === location.origin) pressed = { page: pageOf(link.href), at: performance.now() };
  }, { capture: true });
}

tabs?.addEventListener('message', ({ data: { asks, page } }) => {
  if (!asks || pressed?.page !== page || performance.now() - pressed.at > FRESH_MS) return;
  tabs.postMessage({ answers: asks, known: Object.entries(sessionStorage).filter(([name]) => name.startsWith(OWN)) });
});

/** Take over what the tab knows whose link has opened this one; nothing comes when there is none. */
export async function inherit() {
  if (!tabs) return;
  const asks = crypto.getRandomValues(new Uint32Array(2)).join('.');
  const known = await new Promise((answer) => {
    tabs.addEventListener('message', ({ data }) => data.answers === asks && answer(data.known));
    tabs.postMessage({ asks, page: pageOf(location.href) });
    setTimeout(() => answer([]), WAIT_MS);
  });
  for (const [name, value] of known) if (sessionStorage.getItem(name) === null) sessionStorage.setItem(name, value);
}
