import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AudioError, AudioSender } from '../audio-sender.js';
import { fakeSockets } from './fake-socket.js';

function open(options = {}) {
  const { FakeWebSocket, opened, next } = fakeSockets();
  const sender = new AudioSender({
    url: 'https://captions.example.org/', session: 'abc12345', token: 'secret', sampleRate: 8000, WebSocket: FakeWebSocket,
    firstMs: 1, longestMs: 1, ...options,
  });
  const heard = [];
  for (const type of ['open', 'close', 'error']) sender.addEventListener(type, ({ detail }) => heard.push([type, detail]));
  const of = (type) => heard.filter(([name]) => name === type).map(([, detail]) => detail);
  /** The next connection, greeted and ready; `has`: what the gateway has of the stream. */
  const connected = async (has = 0) => {
    const socket = await next();
    socket.open();
    socket.say({ type: 'ready', samples: has });
    return socket;
  };
  return { sender, of, opened, next, connected };
}

/** Samples that say where they stand. */
const count = (from, to) => Int16Array.from({ length: to - from }, (_, at) => from + at);
const audio = (socket) => socket.sent.filter(Array.isArray).flat();
const list = (from, to) => [...count(from, to)];

test('the credential goes into a subprotocol, the speaker into the query, the format into the start', async () => {
  const { sender, connected } = open({ url: 'https://host/gateway/', identity: 'anna', name: 'Anna', channels: 2 });
  const socket = await connected();
  assert.equal(socket.url.href, 'wss://host/gateway/api/realtime/audio?session=abc12345&refusal=close&identity=anna&name=Anna');
  assert.deepEqual(socket.protocols, ['audio.v1', 'bearer.secret']);
  const [{ stream, ...start }] = socket.sent;
  assert.deepEqual(start, { type: 'start', sampleRate: 8000, channels: 2, gaps: true });
  assert.match(stream, /^\w{8,64}$/);
  sender.stop();
});

for (const wrong of [{ session: '' }, { token: '' }, { sampleRate: 7999 }, { sampleRate: 96_000 }, { channels: 3 }, { url: 'ftp://host' }]) {
  test(`${JSON.stringify(wrong)} is refused at once`, () => assert.throws(() => open(wrong), TypeError));
}

test('what is said before the connection is there goes out when it is, with its age', async () => {
  const { sender, next } = open();
  sender.send(count(0, 8000));
  sender.send(count(8000, 8100));
  const socket = await next();
  socket.open();
  assert.ok(socket.sent[0].ageMs >= 1000 && socket.sent[0].ageMs < 5000, socket.sent[0].ageMs);
  assert.deepEqual(audio(socket), [], 'nothing before ready');
  socket.say({ type: 'ready', samples: 0 });
  assert.deepEqual(audio(socket), list(0, 8100));
  sender.stop();
});

for (const taken of [0, 100, 150, 250, 300]) {
  test(`a cut after ${taken} of 300 frames: exactly the rest is sent again`, async () => {
    const { sender, of, connected } = open();
    const first = await connected();
    for (let at = 0; at < 300; at += 100) sender.send(count(at, at + 100));
    first.say({ type: 'ack', samples: Math.min(taken, 100) });
    first.end(1006);
    sender.send(count(300, 400));
    const second = await connected(taken);
    assert.equal(second.sent[0].stream, first.sent[0].stream);
    assert.deepEqual(audio(second), list(taken, 400));
    assert.deepEqual(of('open').at(-1), { goesOn: taken > 0 });
    sender.stop();
  });
}

test('a gateway that does not know the stream gets what was never acknowledged, and counts anew', async () => {
  const { sender, connected } = open();
  const first = await connected();
  sender.send(count(0, 200));
  first.say({ type: 'ack', samples: 150 });
  first.end(4000, 'the gateway is restarting; come back');
  const second = await connected(0);
  assert.deepEqual(audio(second), list(150, 200));
  second.say({ type: 'ack', samples: 20 });
  sender.send(count(200, 300));
  second.end(1006);
  const third = await connected(30);
  assert.deepEqual(audio(third), list(180, 300));
  sender.stop();
});

test('what nobody takes is kept for so long, then the oldest goes and it is another stream', async () => {
  const { sender, connected } = open({ keptS: 0.1 });
  const first = await connected();
  first.end(1006);
  for (let at = 0; at < 2000; at += 100) sender.send(count(at, at + 100));
  assert.equal(sender.pendingS, 0.1);
  const second = await connected(0);
  assert.notEqual(second.sent[0].stream, first.sent[0].stream);
  assert.deepEqual(audio(second), list(1200, 2000));
  sender.stop();
});

test('a line that takes nothing is not filled without a bound', async () => {
  const { sender, connected } = open();
  const socket = await connected();
  socket.bufferedAmount = 1e6;
  sender.send(count(0, 100));
  assert.deepEqual(audio(socket), []);
  socket.bufferedAmount = 0;
  socket.say({ type: 'ack', samples: 0 });
  assert.deepEqual(audio(socket), list(0, 100));
  sender.stop();
});

test('a gap is told before what follows it', async () => {
  const { sender, connected } = open();
  const socket = await connected();
  sender.send(count(0, 10));
  sender.skip(2000);
  sender.skip(2000);
  sender.send(count(10, 20));
  sender.send(count(20, 30));
  assert.deepEqual(socket.sent.slice(1), [list(0, 10), { type: 'gap', ms: 500 }, list(10, 20), list(20, 30)]);
  sender.stop();
});

test('a silence is told once while it lasts, and again before what follows it', async () => {
  const { sender, connected } = open();
  const socket = await connected();
  sender.send(count(0, 10));
  for (let ms = 0; ms < 1000; ms += 100) sender.skip(800);
  assert.deepEqual(socket.sent.slice(1), [list(0, 10), { type: 'gap', ms: 700 }]);
  sender.send(count(10, 20));
  assert.deepEqual(socket.sent.slice(3), [{ type: 'gap', ms: 1000 }, list(10, 20)]);
  for (let ms = 0; ms < 600; ms += 100) sender.skip(800);
  assert.equal(socket.sent.length, 5, 'a short one ends nothing');
  sender.stop();
});

test('stop says everything, then stop, and waits for the goodbye', async () => {
  const { sender, of, connected } = open();
  const socket = await connected();
  sender.send(count(0, 10));
  const stopped = sender.stop();
  sender.send(count(10, 20));
  assert.deepEqual(socket.sent.slice(1), [list(0, 10), { type: 'stop' }]);
  socket.end(1000);
  assert.equal((await stopped).code, 1000);
  assert.deepEqual(of('close').map(({ willReconnect }) => willReconnect), [false]);
  assert.deepEqual(of('error'), []);
});

for (const code of [4501, 4504, 4509, 4510, 4522]) {
  test(`${code} ends it`, async () => {
    const { sender, of, opened, connected } = open();
    (await connected()).end(code, 'why');
    assert.deepEqual(await sender.closed, { code, reason: 'why' });
    assert.ok(of('error')[0] instanceof AudioError);
    assert.deepEqual([of('error')[0].kind, of('error')[0].code, of('error')[0].isFinal], ['refused', code, true]);
    assert.equal(opened.length, 1);
  });
}

test('it gives up after so many tries', async () => {
  const { sender, of, next } = open({ maxAttempts: 3 });
  for (let tries = 0; tries < 3; tries++) (await next()).end(1006);
  await sender.closed;
  assert.equal(of('error')[0].kind, 'unavailable');
});

test('a gateway that says nothing is taken for dead', async () => {
  const { sender, of, connected, next } = open({ quietMs: 5 });
  const socket = await connected();
  const again = await next();
  assert.notEqual(socket, again);
  assert.equal(of('close')[0].willReconnect, true);
  sender.stop();
});

test('an error without a close is a lost line', async () => {
  const { sender, of, next, connected } = open();
  (await next()).onerror({ message: 'Received network error or non-101 status code.' });
  await connected();
  assert.deepEqual(of('close').map(({ code, reason }) => [code, reason]), [[1006, 'Received network error or non-101 status code.']]);
  sender.stop();
});

test('a token function is asked at each connect; when it fails it is asked again', async () => {
  const tokens = ['one', new Error('offline'), 'two'];
  const { sender, of, connected } = open({ token: () => {
    const token = tokens.shift();
    if (token instanceof Error) throw token;
    return token;
  } });
  const first = await connected();
  first.end(1006);
  const second = await connected();
  assert.deepEqual([first, second].map(({ protocols }) => protocols[1]), ['bearer.one', 'bearer.two']);
  assert.deepEqual(of('error').map(({ kind, isFinal }) => [kind, isFinal]), [['token', false]]);
  sender.stop();
});

test('a signal stops it', async () => {
  const aborting = new AbortController();
  const { sender, connected } = open({ signal: aborting.signal });
  const socket = await connected();
  aborting.abort();
  assert.deepEqual(socket.sent.at(-1), { type: 'stop' });
  socket.end(1000);
  await sender.closed;
  assert.equal(sender.state, 'closed');
  const before = new AbortController();
  before.abort();
  assert.equal(open({ signal: before.signal }).sender.state, 'closed');
});
