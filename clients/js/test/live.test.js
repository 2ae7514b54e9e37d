import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LiveTranscript, NOTHING } from '../live-transcript.js';
import { fakeSockets, final, hello, message, partial } from './fake-socket.js';

const settled = () => new Promise((resolve) => setTimeout(resolve, 40));

function follow(options = {}) {
  const sockets = fakeSockets();
  const live = new LiveTranscript('abc12345', {
    url: 'https://captions.example.org', token: 'secret', WebSocket: sockets.FakeWebSocket, firstMs: 1, longestMs: 1, ...options,
  });
  return { live, ...sockets };
}
const texts = (utterances) => utterances.map(({ text }) => text);

test('finals, partials and states become one value, which stays the same until something changes', async () => {
  const { live, next } = follow();
  let told = 0;
  const end = live.subscribe(() => (told += 1));
  const socket = await next();
  socket.say(hello());
  for (let seq = 1; seq <= 50; seq++) socket.say(final(seq));
  socket.say(partial(51, 'under'));
  socket.say(partial(51, 'under way'));
  socket.say(message('health', { status: 'degraded', reasons: ['late'] }));
  await settled();
  const seen = live.snapshot();
  assert.equal(seen, live.snapshot());
  assert.equal(told, 1, 'what comes together is told once');
  assert.deepEqual([seen.finals.length, seen.finals[49].seq, texts(seen.partials)], [50, 50, ['under way']]);
  assert.deepEqual([seen.state, seen.connection, seen.position, seen.health.reasons], ['running', 'open', 'k3f9:50', ['late']]);
  socket.say(final(51));
  socket.say(message('session.state', { state: 'stopped' }));
  await settled();
  assert.deepEqual([live.snapshot().partials, live.snapshot().state, seen.finals.length], [[], 'stopped', 50]);
  end();
});

test('what a lost replica had shown and not stored goes, and the rest stays', async () => {
  const { live, next } = follow();
  const end = live.subscribe(() => {});
  let socket = await next();
  socket.say(hello());
  for (let seq = 1; seq <= 4; seq++) socket.say(final(seq));
  socket.end(4000);
  socket = await next();
  assert.equal(socket.url.searchParams.get('voids'), '1');
  const greeting = hello(3, true, 'new1');
  socket.say({ ...greeting, data: { ...greeting.data, voidFrom: 3 } });
  socket.say({ ...final(3, 'new1'), data: { ...final(3).data, utteranceId: 'heir', text: 'said anew' } });
  await settled();
  assert.deepEqual(texts(live.snapshot().finals), ['text 1', 'text 2', 'said anew']);
  end();
});

test('translations stand beside their finals, whichever comes first', async () => {
  const { live, next } = follow({ language: 'de' });
  live.subscribe(() => {});
  let socket = await next();
  const german = (ofSeq, numbers) => message('translation', { utteranceId: `u${ofSeq}`, targetLanguage: 'de', text: `Text ${ofSeq}`, ...numbers });
  socket.say(hello());
  socket.say(final(1));
  socket.say(german(1, { seq: 1, ofSeq: 1 }));
  socket.say(german(2));
  socket.say(final(2));
  socket.say(final(3));
  await settled();
  const before = live.snapshot().finals;
  assert.deepEqual(before.map(({ translations }) => translations?.de), ['Text 1', 'Text 2', undefined]);
  socket.end(4000);
  socket = await next();
  assert.deepEqual(['lang', 'since'].map((name) => socket.url.searchParams.get(name)), ['de', 'k3f9:3:1']);
  socket.say(hello(3, true));
  socket.say(german(2, { seq: 2, ofSeq: 2 }));
  socket.say(german(3, { seq: 3, ofSeq: 3 }));
  await settled();
  assert.deepEqual(live.snapshot().finals.map(({ translations }) => translations.de), ['Text 1', 'Text 2', 'Text 3']);
  assert.equal(before[2].translations, undefined, 'a value that was handed out stays as it was');
  socket.end(4510);
});

test('who stops listening and comes back goes on after the last final', async () => {
  const { live, next, opened } = follow();
  live.subscribe(() => {})();
  const end = live.subscribe(() => {});
  const socket = await next();
  assert.equal(opened.length, 1, 'what was ended at once has opened nothing: React mounts twice in StrictMode');
  socket.say(hello());
  socket.say(final(1));
  socket.say(partial(2, 'half'));
  end();
  assert.deepEqual([socket.closedWith, live.snapshot().connection, live.snapshot().partials], [1000, 'idle', []]);
  live.subscribe(() => {});
  const again = await next();
  assert.equal(again.url.searchParams.get('since'), 'k3f9:1');
  again.say(hello(2, true));
  again.say(final(2));
  await settled();
  assert.deepEqual(texts(live.snapshot().finals), ['text 1', 'text 2']);
  again.end(4510);
});

test('a numbering that begins anew throws away what came before', async () => {
  const { live, next } = follow();
  live.subscribe(() => {});
  let socket = await next();
  socket.say(hello());
  socket.say(final(1));
  socket.end(4000);
  socket = await next();
  socket.say(hello(1, false, 'other'));
  socket.say(final(2, 'other'));
  await settled();
  const { finals, missing } = live.snapshot();
  assert.deepEqual([texts(finals), missing], [['text 2'], 1]);
  socket.end(4510);
});

test('a refusal is shown, and a fresher token tried', async () => {
  const { live, next } = follow();
  const end = live.subscribe(() => {});
  (await next()).end(4501, 'expired');
  await settled();
  assert.deepEqual([live.snapshot().error.kind, live.snapshot().connection], ['refused', 'closed']);
  const other = fakeSockets();
  live.use({ url: 'https://captions.example.org', token: 'fresh', WebSocket: other.FakeWebSocket });
  assert.deepEqual((await other.next()).protocols, ['transcript.v1', 'bearer.fresh']);
  await settled();
  assert.deepEqual([live.snapshot().error, live.snapshot().connection], [null, 'connecting']);
  end();
});

test('the newest finals are kept, a wrong option is an error and no exception', async () => {
  const { live, next } = follow({ keep: 3 });
  live.subscribe(() => {});
  const socket = await next();
  socket.say(hello());
  for (let seq = 1; seq <= 9; seq++) socket.say(final(seq));
  await settled();
  assert.deepEqual(texts(live.snapshot().finals), ['text 7', 'text 8', 'text 9']);
  socket.end(4510);
  const wrong = follow({ url: 'ftp://x' }).live;
  wrong.subscribe(() => {});
  await settled();
  assert.match(wrong.snapshot().error.message, /^url: /);
  const idle = follow({ token: null });
  idle.live.subscribe(() => {})();
  assert.deepEqual([idle.opened.length, NOTHING.connection], [0, 'idle']);
});
