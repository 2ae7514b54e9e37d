import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { JSDOM } from 'jsdom';

import { fakeSockets, final, hello, message, partial } from './fake-socket.js';

const { window } = new JSDOM('<div id="root"></div>', { url: 'https://app.example.org', pretendToBeVisual: true });
const { createElement, StrictMode } = await import('react');
const { renderToString } = await import('react-dom/server');
const { Captions, useMicrophone, useTranscript } = await import('../react.js');

const sockets = fakeSockets();
const options = { url: 'https://captions.example.org', token: 'secret', WebSocket: sockets.FakeWebSocket, firstMs: 1, longestMs: 1 };

function Page({ session = 'abc12345', clearAfterMs, ...more }) {
  const transcript = useTranscript(session, { ...options, ...more });
  return createElement('main', null,
    createElement('output', null, `${transcript.connection} ${transcript.finals.length}`),
    createElement(Captions, { transcript, clearAfterMs, language: more.language, className: 'mine' }));
}

const html = renderToString(createElement(Page)); // before there is a document
for (const name of ['window', 'document', 'navigator']) {
  Object.defineProperty(globalThis, name, { value: name === 'window' ? window : window[name], configurable: true });
}
const { createRoot } = await import('react-dom/client');
const root = createRoot(window.document.getElementById('root'));
const show = (...children) => root.render(createElement(StrictMode, null, ...children));
const text = (selector) => window.document.querySelector(selector)?.textContent;
async function until(holds) {
  for (let tries = 0; tries < 400; tries++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`never: ${holds}\n${window.document.body.innerHTML}`);
}
afterEach(() => root.render(null));
after(() => {
  root.unmount();
  window.close();
});

test('a server renders it, connected to nothing', () => {
  assert.match(html, /<output>idle 0<\/output><section class="captions mine" aria-label="Captions">/);
  assert.equal(sockets.opened.length, 0);
});

test('in StrictMode one connection follows, and is closed with the component', async () => {
  show(createElement(Page));
  const socket = await sockets.next();
  socket.say(hello());
  socket.say(final(1));
  socket.say(partial(2, 'and so'));
  await until(() => text('output') === 'open 1' && text('.captions-unsure') === 'and so');
  assert.equal(text('.captions-words'), 'text 1');
  assert.equal(text('[role=log][aria-live=polite]').includes('text 1'), true);
  assert.equal(text('[role=log]').includes('and so'), false, 'a screen reader reads no words under way');
  assert.equal(window.document.querySelector('.captions-box').getAttribute('aria-hidden'), 'true');
  assert.equal(sockets.opened.length, 1);
  show(createElement(Page, { token: () => 'another function at each render' }));
  await until(() => text('output') === 'open 1');
  assert.equal(sockets.opened.length, 1);
  show();
  await until(() => socket.closedWith === 1000);
});

test('another session is another connection, and shows nothing of the former one', async () => {
  show(createElement(Page));
  (await sockets.next()).say(hello());
  show(createElement(Page, { session: 'other123' }));
  const socket = await sockets.next();
  assert.equal(socket.url.searchParams.get('session'), 'other123');
  assert.equal(socket.url.searchParams.get('since'), null);
  await until(() => text('output') === 'connecting 0');
  show(createElement(Page, { session: 'other123', token: null }));
  await until(() => text('output') === 'idle 0' && socket.closedWith === 1000);
});

test('in a language of their own viewers see and hear translations', async () => {
  show(createElement(Page, { language: 'de' }));
  const socket = await sockets.next();
  assert.equal(socket.url.searchParams.get('lang'), 'de');
  socket.say(hello());
  socket.say(final(1));
  await until(() => text('.captions-words') === 'text 1');
  assert.equal(text('[role=log]'), '', 'what is translated in a moment is not read twice');
  socket.say(message('translation', { utteranceId: 'u1', targetLanguage: 'de', text: 'Guten Morgen', seq: 1, ofSeq: 1 }));
  await until(() => text('.captions-words') === 'Guten Morgen' && text('[role=log]').includes('Guten Morgen'));
  assert.equal(window.document.querySelector('.captions-line').lang, 'de');
  show(createElement(Page, { language: 'fr' }));
  const other = await sockets.next();
  assert.equal(other.url.searchParams.get('lang'), 'fr');
  await until(() => socket.closedWith === 1000);
});

test('the box is empty after a silence', async () => {
  show(createElement(Page, { clearAfterMs: 60 }));
  const socket = await sockets.next();
  socket.say(hello());
  socket.say(final(1));
  await until(() => text('.captions-words') === 'text 1');
  await until(() => window.document.querySelector('.captions-box').hidden);
});

test('a microphone that cannot be had is an error that is shown, and may be tried again', async () => {
  let controls;
  function Speaker() {
    controls = useMicrophone('abc12345', options);
    return createElement('output', null, `${controls.state} ${controls.error?.kind ?? ''}`);
  }
  show(createElement(Speaker));
  await until(() => text('output') === 'idle ');
  for (let tries = 0; tries < 2; tries++) await controls.start(); // there is no device here
  await until(() => text('output') === 'idle device');
  assert.equal(controls.level(), 0);
  controls.setMuted(true);
  await until(() => controls.muted);
  await controls.stop();
});
