// A link that is opened in a new tab finds that tab without a token: it asks the tabs of this gateway that are open.

const CHANNEL = `gateway.token ${new URL('.', document.baseURI).pathname}`; // another gateway may be below another path
const WAIT_MS = 200;

/** From now on tell other tabs the token; `read(path)` returns the one for a page, or an empty text. Browsers let nobody of another origin hear it. */
export function answerOtherTabs(read) {
  if (!globalThis.BroadcastChannel) return;
  const channel = new BroadcastChannel(CHANNEL);
  channel.addEventListener('message', ({ data }) => {
    const token = data?.wanted && read(data.wanted);
    if (token) channel.postMessage({ token });
  });
}

/** The token of whoever answers first; an empty text when nobody does. */
export function askOtherTabs() {
  if (!globalThis.BroadcastChannel) return Promise.resolve('');
  const channel = new BroadcastChannel(CHANNEL);
  return new Promise((answer) => {
    const timer = setTimeout(() => answer(''), WAIT_MS);
    channel.addEventListener('message', ({ data }) => {
      if (typeof data?.token !== 'string') return;
      clearTimeout(timer);
      answer(data.token);
    });
    channel.postMessage({ wanted: location.pathname });
  }).finally(() => channel.close());
}
