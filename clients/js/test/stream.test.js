import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';

import { askedDelay } from '../line.js';
import { StreamError, TranscriptStream, comesBack, delayBefore } from '../transcript-stream.js';
import { fakeSockets, final, hello, message, partial } from './fake-socket.js';

function open(options = {}) {
  const { FakeWebSocket, opened, next } = fakeSockets();
  const stream = new TranscriptStream({
    url: 'https://captions.example.org/', session: 'abc12345', token: 'secret', WebSocket: FakeWebSocket,
    firstMs: 1, longestMs: 1, ...options,
  });
  const heard = [];
  for (const type of ['open', 'final', 'partial', 'translation', 'state', 'health', 'gap', 'error', 'close']) {
    stream.addEventListener(type, ({ detail }) => heard.push([type, detail]));
  }
  const of = (type) => heard.filter(([name]) => name === type).map(([, detail]) => detail);
  const seqs = () => of('final').map(({ seq }) => seq);
  return { stream, heard, of, seqs, opened, next };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('the credential goes into a subprotocol and the session into the query', async () => {
  const { stream, next } = open({ url: 'https://captions.example.org/gateway/' });
  const socket = await next();
  assert.equal(socket.url.href, 'wss://captions.example.org/gateway/api/realtime/transcribe?session=abc12345&refusal=close&beat=1&epochs=1');
  assert.deepEqual(socket.protocols, ['transcript.v1', 'bearer.secret']);
  stream.close();
});

test('who asks for the newest is not told that what came before is missing', async () => {
  const { of, seqs, stream, next } = open({ newest: 2 });
  let socket = await next();
  assert.equal(socket.url.searchParams.get('newest'), '2');
  const greeting = hello(9);
  socket.say({ ...greeting, data: { ...greeting.data, from: 8 } });
  assert.equal(stream.position, 'k3f9:7');
  socket.say(final(8));
  socket.say(final(9));
  assert.deepEqual(seqs(), [8, 9]);
  assert.deepEqual(of('gap'), []);
  assert.equal(of('open')[0].from, 8);
  socket.end(1006);
  socket = await next();
  const anew = hello(40, false, 'a new one');
  socket.say({ ...anew, data: { ...anew.data, from: 39 } });
  assert.equal(of('open')[1].restarted, true);
  assert.equal(of('open')[1].from, 39);
  stream.close();
});

test('a credential that is no HTTP token goes into the query', async () => {
  const { stream, next } = open({ token: 'a/b=' });
  const socket = await next();
  assert.equal(socket.url.searchParams.get('token'), 'a/b=');
  assert.deepEqual(socket.protocols, ['transcript.v1']);
  stream.close();
});

for (const [url, expected] of [
  ['http://host:8080', 'ws://host:8080/api/realtime/transcribe'],
  ['ws://host', 'ws://host/api/realtime/transcribe'],
  ['wss://host/a?x=y#z', 'wss://host/a/api/realtime/transcribe'],
]) {
  test(`the gateway at ${url} is found`, async () => {
    const { stream, next } = open({ url });
    const socket = await next();
    assert.equal(socket.url.origin + socket.url.pathname, expected);
    stream.close();
  });
}

test('every kind of message is an event of its own, with the message as its detail', async () => {
  const { stream, heard, next } = open();
  const socket = await next();
  const said = [
    partial(1, 'te'), final(1), message('translation', { utteranceId: 'u1', targetLanguage: 'de', text: 'Text 1' }),
    message('session.state', { state: 'stopped', reason: 'stopped by request' }),
    message('health', { status: 'degraded', reasons: ['the database is behind; finals are held'] }),
  ];
  socket.say(hello());
  said.forEach((one) => socket.say(one));
  assert.deepEqual(heard.map(([type]) => type), ['open', 'partial', 'final', 'translation', 'state', 'health']);
  assert.deepEqual(heard.slice(1).map(([, detail]) => detail), said);
  stream.close();
});

test('of one language each translation comes once, and after a cut those behind the last one', async () => {
  const { stream, heard, next } = open({ language: 'de' });
  const translation = (text, seq) => message('translation', { utteranceId: 'u1', targetLanguage: 'de', text, ...(seq && { seq, ofSeq: 1 }) });
  const first = await next();
  assert.equal(first.url.searchParams.get('lang'), 'de');
  [hello(), final(1), translation('Eins'), translation('Eins', 1), translation('Eins', 1), translation('Zwei', 2)].forEach((one) => first.say(one));
  assert.equal(stream.position, 'k3f9:1:2');
  first.end(1006);
  const second = await next();
  assert.equal(second.url.searchParams.get('since'), 'k3f9:1:2');
  [hello(1, true), translation('Zwei', 2), translation('Drei', 3)].forEach((one) => second.say(one));
  const told = heard.filter(([type]) => type === 'translation').map(([, { data }]) => [data.text, data.seq]);
  assert.deepEqual(told, [['Eins', undefined], ['Eins', 1], ['Zwei', 2], ['Drei', 3]]);
  stream.close();
  const later = open({ language: 'de', since: 'k3f9:1:3' });
  const third = await later.next();
  [hello(1, true), translation('Drei', 3), translation('Vier', 4)].forEach((one) => third.say(one));
  assert.equal(later.stream.position, 'k3f9:1:4');
  later.stream.close();
});

test('unknown types and beats are nobody\'s business', async () => {
  const { stream, heard, next } = open();
  const socket = await next();
  socket.say(hello());
  for (const type of ['beat', 'toString', 'constructor', 'later.invention']) socket.say({ v: 1, type });
  assert.deepEqual(heard.map(([type]) => type), ['open']);
  stream.close();
});

test('after a cut it resumes after the last final, and drops what comes twice', async () => {
  const { stream, seqs, next } = open();
  let socket = await next();
  assert.equal(socket.url.searchParams.has('since'), false);
  socket.say(hello());
  [1, 2, 3].forEach((seq) => socket.say(final(seq)));
  socket.end(1006);
  socket = await next();
  assert.equal(socket.url.searchParams.get('since'), 'k3f9:3');
  socket.say(hello(4, true));
  [2, 3, 4].forEach((seq) => socket.say(final(seq)));
  assert.deepEqual(seqs(), [1, 2, 3, 4]);
  assert.equal(stream.position, 'k3f9:4');
  stream.close();
});

test('a gateway that sends all again after a resume is not heard twice', async () => {
  const { stream, seqs, of, next } = open({ since: 'k3f9:2' });
  const socket = await next();
  assert.equal(socket.url.searchParams.get('since'), 'k3f9:2');
  socket.say(hello(3, false));
  [1, 2, 3].forEach((seq) => socket.say(final(seq)));
  assert.deepEqual(seqs(), [3]);
  assert.equal(of('open')[0].restarted, false);
  stream.close();
});

test('another epoch begins anew and says so', async () => {
  const { stream, seqs, of, next } = open({ since: 'k3f9:2' });
  const socket = await next();
  socket.say(hello(1, false, 'new1'));
  socket.say(final(1, 'new1'));
  assert.deepEqual(seqs(), [1]);
  assert.equal(of('open')[0].restarted, true);
  assert.equal(stream.position, 'new1:1');
  stream.close();
});

test('a numbering that has fallen back begins anew', async () => {
  const { stream, seqs, of, next } = open({ since: 'k3f9:9' });
  const socket = await next();
  socket.say(hello(1, false));
  socket.say(final(1));
  assert.deepEqual(seqs(), [1]);
  assert.equal(of('open')[0].restarted, true);
  stream.close();
});

test('a resume under a new epoch goes on with the numbers: nothing is missing', async () => {
  const { stream, seqs, of, next } = open({ since: 'k3f9:7' });
  const socket = await next();
  socket.say(hello(8, true, 'new1'));
  socket.say(final(8, 'new1'));
  assert.deepEqual(seqs(), [8]);
  assert.deepEqual(of('gap'), []);
  assert.equal(of('open')[0].restarted, false);
  assert.equal(stream.position, 'new1:8');
  stream.close();
});

test('an epoch that begins under an open stream goes on with the numbers', async () => {
  const { stream, seqs, of, next } = open();
  const socket = await next();
  assert.equal(socket.url.searchParams.get('epochs'), '1');
  socket.say(hello(2, false));
  socket.say(final(1));
  socket.say(final(2));
  socket.say(hello(2, true, 'new1'));
  socket.say(final(3, 'new1'));
  assert.deepEqual(seqs(), [1, 2, 3]);
  assert.deepEqual(of('gap'), []);
  assert.equal(of('open')[1].restarted, false);
  assert.equal(stream.position, 'new1:3');
  stream.close();
});

test('who asks for it is told which finals are void, and keeps the others', async () => {
  const { stream, seqs, of, next } = open({ since: 'k3f9:7', voids: true });
  const socket = await next();
  assert.equal(socket.url.searchParams.get('voids'), '1');
  socket.say({ ...hello(6, true, 'new1'), data: { ...hello(6, true, 'new1').data, voidFrom: 6 } });
  socket.say(final(6, 'new1'));
  assert.deepEqual(seqs(), [6]);
  assert.deepEqual(of('gap'), []);
  const [{ restarted, voidFrom }] = of('open');
  assert.deepEqual({ restarted, voidFrom }, { restarted: false, voidFrom: 6 });
  assert.equal(stream.position, 'new1:6');
  stream.close();
});

test('an absence of hours is not the end', async () => {
  const { stream, opened, next } = open();
  for (let i = 0; i < 500; i++) (await next()).end(1006);
  assert.equal((await next()).closedWith, null);
  assert.equal(opened.length, 501);
  stream.close();
});

test('it comes back at once when the machine is online again', async (context) => {
  const before = { add: globalThis.addEventListener, remove: globalThis.removeEventListener };
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
  context.after(() => Object.assign(globalThis, { addEventListener: before.add, removeEventListener: before.remove }));
  const { stream, next } = open({ firstMs: 3_600_000, longestMs: 3_600_000 });
  (await next()).end(1006);
  page.dispatchEvent(new Event('online'));
  assert.equal((await next()).closedWith, null);
  stream.close();
});

test('an epoch that begins after the hello is taken over', async () => {
  const { stream, seqs, next } = open();
  const socket = await next();
  socket.say(hello(0, false, '-', 'idle'));
  socket.say(final(1));
  socket.say(final(2));
  assert.deepEqual(seqs(), [1, 2]);
  assert.equal(stream.position, 'k3f9:2');
  stream.close();
});

test('a hole is said, whether the gateway says it or not', async () => {
  const { stream, heard, next } = open();
  const socket = await next();
  socket.say(hello(9));
  socket.say(final(1));
  socket.say(message('gap', { fromSeq: 2, toSeq: 4 }));
  socket.say(final(5));
  socket.say(final(8));
  assert.deepEqual(
    heard.filter(([type]) => type !== 'open').map(([type, { seq, data }]) => [type, seq ?? [data.fromSeq, data.toSeq]]),
    [['final', 1], ['gap', [2, 4]], ['final', 5], ['gap', [6, 7]], ['final', 8]],
  );
  assert.equal(stream.position, 'k3f9:8');
  stream.close();
});

test('a gap that overlaps what is known is cut to the new part', async () => {
  const { stream, of, next } = open({ since: 'k3f9:5' });
  const socket = await next();
  socket.say(hello(9, true));
  socket.say(message('gap', { fromSeq: 3, toSeq: 5 }));
  socket.say(message('gap', { fromSeq: 4, toSeq: 7 }));
  assert.deepEqual(of('gap').map(({ data }) => data), [{ fromSeq: 6, toSeq: 7 }]);
  stream.close();
});

test('an error that the gateway reports does not end the stream', async () => {
  const { stream, of, next } = open();
  const socket = await next();
  socket.say(hello());
  socket.say(message('error', { message: 'the encoder sends Speex', participantIdentity: 'rtmp' }));
  const [error] = of('error');
  assert.ok(error instanceof StreamError);
  assert.deepEqual([error.kind, error.message, error.data.participantIdentity, error.isFinal],
    ['reported', 'the encoder sends Speex', 'rtmp', false]);
  assert.equal(stream.state, 'open');
  stream.close();
});

for (const text of ['{', '[]', '{"type":7}', 'null', '{"type":"gap"}']) {
  test(`${text} is told as malformed, and asked for again`, async () => {
    const { stream, of, next, seqs } = open();
    let socket = await next();
    socket.say(hello());
    socket.say(final(1));
    socket.say(text);
    assert.deepEqual(of('error').map(({ kind }) => kind), ['malformed']);
    assert.equal(socket.closedWith, 1000);
    socket.say(final(2)); // no longer heard
    socket = await next();
    assert.equal(socket.url.searchParams.get('since'), 'k3f9:1');
    socket.say(hello(2, true));
    socket.say(final(2));
    assert.deepEqual(seqs(), [1, 2]);
    stream.close();
  });
}

for (const code of [1000, 1001, 1006, 1011, 1012, 3000, 4000, 4008, 4029, 4499]) {
  test(`${code} comes back`, () => assert.equal(comesBack(code), true));
}

for (const code of [4500, 4501, 4504, 4999]) {
  test(`${code} does not come back and is an error`, async () => {
    const { stream, of, opened, next } = open();
    (await next()).end(code, 'the credential has expired');
    assert.deepEqual(await stream.closed, { code, reason: 'the credential has expired' });
    assert.deepEqual(of('error').map((error) => [error.kind, error.code, error.isFinal]), [['refused', code, true]]);
    assert.deepEqual(of('close'), [{ code, reason: 'the credential has expired', willReconnect: false }]);
    await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(opened.length, 1);
  });
}

test('4510 is an end, not an error', async () => {
  const { stream, of, next } = open();
  const socket = await next();
  socket.say(hello());
  socket.end(4510, 'the session has ended and everything was sent');
  assert.equal((await stream.closed).code, 4510);
  assert.deepEqual(of('error'), []);
});

test('refusals that only show as 1006 are tried a bounded number of times', async () => {
  const { stream, of, opened, next } = open({ maxAttempts: 3 });
  for (let i = 0; i < 3; i++) (await next()).end(1006);
  await stream.closed;
  assert.deepEqual(of('close').map(({ willReconnect }) => willReconnect), [true, true, false]);
  assert.deepEqual(of('error').map(({ kind }) => kind), ['unavailable']);
  assert.equal(opened.length, 3);
});

test('a hello makes the count of tries begin anew', async () => {
  const { stream, next } = open({ maxAttempts: 2 });
  for (let i = 0; i < 6; i++) {
    const socket = await next();
    socket.say(hello());
    socket.end(1006);
  }
  assert.equal((await next()).closedWith, null);
  stream.close();
});

test('what the socket complains of is told with the close', async () => {
  const { stream, of, next } = open();
  const socket = await next();
  socket.onerror({ message: 'Unexpected server response: 401' });
  socket.end(1006);
  assert.equal(of('close')[0].reason, 'Unexpected server response: 401');
  stream.close();
});

test('delays double up to a limit, and half of each is chance', () => {
  const least = [0, 1, 2, 5, 6, 99].map((tries) => delayBefore(tries, 1006, {}, 0));
  const most = [0, 1, 2, 5, 6, 99].map((tries) => delayBefore(tries, 1006, {}, 1));
  assert.deepEqual(most, [500, 1000, 2000, 15000, 15000, 15000]);
  assert.deepEqual(least, most.map((ms) => ms / 2));
  assert.equal(delayBefore(0, 4029, {}, 1), 5500);
});

test('a gateway that goes asks its watchers to come back one after the other', async () => {
  const { stream, of, next } = open({ firstMs: 1, longestMs: 1 });
  const socket = await next();
  socket.say(hello());
  socket.end(4000, 'the gateway is restarting; come back; retry=25');
  const [{ delayMs }] = of('close');
  assert.ok(delayMs >= 25.5 && delayMs <= 26, `${delayMs}`);
  await next();
  stream.close();
  assert.deepEqual(['retry=', 'retry=x', 'no retry', undefined, 'retry=1234567'].map(askedDelay), [0, 0, 0, 0, 0]);
  assert.equal(askedDelay('retry=999999'), 120_000);
});

test('the delay grows while connections do not last', async () => {
  const { stream, of, next } = open({ firstMs: 1, longestMs: 64 });
  for (let i = 0; i < 6; i++) {
    const socket = await next();
    socket.say(hello());
    socket.end(1006);
  }
  const delays = of('close').map(({ delayMs }) => delayMs);
  delays.forEach((delay, i) => assert.ok(delay >= 2 ** i / 2 && delay <= 2 ** i, `${delays}`));
  stream.close();
});

test('a token function is asked at each connect, and may be async', async () => {
  let asked = 0;
  const { stream, next } = open({ token: async () => `token-${++asked}` });
  let socket = await next();
  assert.deepEqual(socket.protocols[1], 'bearer.token-1');
  socket.end(1006);
  socket = await next();
  assert.deepEqual(socket.protocols[1], 'bearer.token-2');
  stream.close();
});

test('a token function that fails is asked again', async () => {
  let asked = 0;
  const token = () => {
    asked += 1;
    if (asked === 1) throw new Error('the app is away');
    if (asked === 2) return '';
    return 'secret';
  };
  const { stream, of, next } = open({ token });
  await next();
  assert.deepEqual(of('error').map(({ kind, message: text }) => [kind, text]), [
    ['token', 'no token: the app is away'],
    ['token', 'no token: the token function returned no token'],
  ]);
  stream.close();
});

test('a token that comes after the close opens nothing', async () => {
  let give;
  const { stream, opened } = open({ token: () => new Promise((resolve) => (give = resolve)) });
  await turn();
  stream.close();
  give('secret');
  await turn();
  assert.equal(opened.length, 0);
});

test('a socket that cannot even be made ends the stream', async () => {
  class Insecure {
    constructor() {
      throw new DOMException('An insecure WebSocket connection may not be initiated', 'SecurityError');
    }
  }
  const { stream, of } = open({ WebSocket: Insecure });
  await stream.closed;
  assert.deepEqual(of('error').map(({ kind }) => kind), ['unavailable']);
});

test('an error without a close is a lost line', async () => {
  const { stream, of, next } = open();
  const socket = await next();
  socket.onerror({ message: 'Received network error or non-101 status code.' });
  await next();
  assert.deepEqual([of('close')[0].code, of('close')[0].reason], [1006, 'Received network error or non-101 status code.']);
  stream.close();
});

test('an error before a close with a code changes nothing about the code', async () => {
  const { stream, next } = open();
  const socket = await next();
  socket.onerror({});
  socket.end(4504, 'no such session');
  assert.equal((await stream.closed).code, 4504);
});

test('a handshake that nobody answers is given up', async () => {
  const { stream, of, next } = open({ handshakeMs: 20 });
  const socket = await next();
  (await next()).open();
  assert.equal(socket.closedWith, 1000);
  assert.equal(of('close')[0].reason, 'no answer to the handshake');
  await new Promise((resolve) => setTimeout(resolve, 40));
  assert.equal(of('close').length, 1);
  stream.close();
});

test('silence counts as a lost line', async () => {
  const { stream, of, next } = open({ quietMs: 20 });
  const socket = await next();
  socket.say(hello());
  await next();
  assert.equal(socket.closedWith, 1000);
  assert.deepEqual([of('close')[0].code, of('close')[0].reason], [1006, 'nothing came for too long']);
  stream.close();
});

test('close ends it at once, and once', async () => {
  const { stream, of, opened, next } = open();
  const socket = await next();
  socket.say(hello());
  stream.close();
  stream.close();
  socket.say(final(1));
  socket.end(1000);
  assert.equal(socket.closedWith, 1000);
  assert.equal(stream.state, 'closed');
  assert.deepEqual(of('close').length, 1);
  assert.deepEqual(of('final'), []);
  assert.equal((await stream.closed).code, 1000);
  await turn();
  assert.equal(opened.length, 1);
});

test('a signal closes it, also one that has been given before', async () => {
  const abort = new AbortController();
  const { stream, next } = open({ signal: abort.signal });
  const socket = await next();
  abort.abort();
  assert.equal(socket.closedWith, 1000);
  assert.equal(stream.state, 'closed');
  const late = open({ signal: abort.signal });
  assert.equal(late.stream.state, 'closed');
  await turn();
  assert.equal(late.opened.length, 0);
});

for (const [what, options] of [
  ['session', { session: '' }],
  ['token', { token: undefined }],
  ['url', { url: 'captions' }],
  ['url', { url: 'ftp://captions.example.org' }],
  ['since', { since: '42' }],
]) {
  test(`a wrong ${what} (${options[what]}) is refused by name`, () => {
    assert.throws(() => open(options), { name: 'TypeError', message: new RegExp(`^${what}: `) });
  });
}

test('without any WebSocket it says what to do', () => {
  assert.throws(() => open({ WebSocket: null }), /pass one as the option WebSocket/);
});

// --- loops ------------------------------------------------------------------------------------------------

test('a loop gets every message in order and ends with the session', async () => {
  const { stream, next } = open();
  const socket = await next();
  const texts = (async () => {
    const found = [];
    for await (const { type, data } of stream) found.push([type, data.text ?? data.state ?? data.message]);
    return found;
  })();
  await turn();
  socket.say(hello());
  socket.say(partial(1, 'te'));
  socket.say(final(1));
  await turn();
  socket.say(message('error', { message: 'the encoder sends Speex' }));
  socket.say(message('session.state', { state: 'stopped' }));
  socket.end(4510);
  assert.deepEqual(await texts, [
    ['transcript.partial', 'te'], ['transcript.final', 'text 1'], ['error', 'the encoder sends Speex'], ['session.state', 'stopped'],
  ]);
});

test('a loop over a refused stream throws, also when it begins afterwards', async () => {
  const { stream, next } = open();
  const loop = (async () => { for await (const _ of stream); })();
  (await next()).end(4504, 'no such session');
  await assert.rejects(loop, { name: 'StreamError', kind: 'refused', code: 4504 });
  await assert.rejects((async () => { for await (const _ of stream); })(), { code: 4504 });
});

test('a loop gets what waits for it before it ends or throws', async () => {
  const { stream, next } = open();
  const reader = stream[Symbol.asyncIterator]();
  const socket = await next();
  socket.say(hello());
  socket.say(final(1));
  socket.end(4501, 'the credential has expired');
  assert.equal((await reader.next()).value.seq, 1);
  await assert.rejects(reader.next(), { code: 4501 });
  assert.deepEqual(await reader.next(), { done: true, value: undefined });
});

test('leaving a loop leaves the stream open', async () => {
  const { stream, next } = open();
  const socket = await next();
  socket.say(hello());
  setImmediate(() => socket.say(final(1)));
  for await (const found of stream) {
    assert.equal(found.seq, 1);
    break;
  }
  assert.equal(stream.state, 'open');
  stream.close();
});

test('close ends a loop quietly', async () => {
  const { stream, next } = open();
  const loop = (async () => { for await (const _ of stream); return 'over'; })();
  (await next()).say(hello());
  stream.close();
  assert.equal(await loop, 'over');
});

test('while a loop is busy, partials of one utterance replace each other and its final replaces them', async () => {
  const { stream, next } = open();
  const reader = stream[Symbol.asyncIterator]();
  const socket = await next();
  socket.say(hello());
  for (const text of ['a', 'a b', 'a b c']) socket.say(partial(1, text));
  socket.say(partial(2, 'x'));
  socket.say(final(1));
  socket.say(partial(3, 'y'));
  stream.close();
  const found = [];
  for (let one = await reader.next(); !one.done; one = await reader.next()) found.push(one.value.data.text);
  assert.deepEqual(found, ['x', 'text 1', 'y']);
});

test('a loop that is too far behind puts the connection down, and loses nothing', async () => {
  const { stream, opened, next } = open({ queueLimit: 4 });
  const reader = stream[Symbol.asyncIterator]();
  let socket = await next();
  socket.say(hello(9));
  for (let seq = 1; seq <= 9; seq++) socket.say(final(seq)); // 5 to 9 are not heard
  assert.equal(stream.state, 'paused');
  assert.equal(socket.closedWith, 1000);
  const found = [];
  const take = async () => found.push((await reader.next()).value.seq);
  await take();
  await turn();
  assert.equal(opened.length, 1);
  await take();
  socket = await next();
  assert.equal(socket.url.searchParams.get('since'), 'k3f9:4');
  socket.say(hello(9, true));
  for (let seq = 5; seq <= 6; seq++) socket.say(final(seq));
  assert.equal(stream.state, 'paused');
  for (let i = 0; i < 4; i++) await take();
  socket = await next();
  socket.say(hello(9, true));
  for (let seq = 7; seq <= 9; seq++) socket.say(final(seq));
  for (let i = 0; i < 3; i++) await take();
  assert.deepEqual(found, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  stream.close();
});

test('a loop that is left while the connection is down brings it back', async () => {
  const { stream, next, opened } = open({ queueLimit: 2 });
  const reader = stream[Symbol.asyncIterator]();
  const socket = await next();
  socket.say(hello(9));
  for (let seq = 1; seq <= 4; seq++) socket.say(final(seq));
  assert.equal(stream.state, 'paused');
  await reader.return();
  assert.equal((await next()).url.searchParams.get('since'), 'k3f9:2');
  assert.equal(opened.length, 2);
  stream.close();
});

test('a stream that nobody stops listening to is told by events alone', async () => {
  const { stream, next } = open();
  const greeted = once(stream, 'open');
  (await next()).say(hello(3));
  const [{ detail }] = await greeted;
  assert.deepEqual(detail, { state: 'running', epoch: 'k3f9', seq: 3, from: 1, resumed: false, restarted: false, ended: false });
  stream.close();
});
