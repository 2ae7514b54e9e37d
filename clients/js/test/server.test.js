import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, test } from 'node:test';

import { Gateway, GatewayError } from '../server.js';

const asked = [];
let answer = [200, 'application/json', '{}'];
const server = createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => (body += chunk));
  request.on('end', () => {
    asked.push([request.method, request.url, request.headers.authorization, body]);
    const [status, kind, text, more] = answer;
    response.writeHead(status, { 'Content-Type': kind, ...more }).end(text);
  });
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
after(() => server.close());
const url = `http://127.0.0.1:${server.address().port}/base/`;
const gateway = new Gateway({ url, token: async () => 'secret' });

test('paths, queries and bodies go out as the API wants them', async () => {
  answer = [200, 'application/json; charset=utf-8', '{"state":"running"}'];
  assert.deepEqual(await gateway.call('POST /api/transcription/start', { body: { sessionSlug: 'a' } }), { state: 'running' });
  await gateway.call('GET /api/transcription/{slug}', { path: { slug: '../x?y' }, query: { format: 'csv', since: undefined } });
  assert.deepEqual(asked.splice(0), [
    ['POST', '/base/api/transcription/start', 'Bearer secret', '{"sessionSlug":"a"}'],
    ['GET', '/base/api/transcription/%2E%2E%2Fx%3Fy?format=csv', 'Bearer secret', ''],
  ]);
});

test('text stays text, and nothing is undefined', async () => {
  answer = [200, 'text/vtt', 'WEBVTT\n'];
  assert.equal(await gateway.call('GET /api/sessions/{slug}/transcript', { path: { slug: 'a' } }), 'WEBVTT\n');
  answer = [204, 'text/plain', ''];
  assert.equal(await gateway.call('DELETE /api/sessions/{slug}', { path: { slug: 'a' } }), undefined);
});

test('a refusal is an error that says what to do, also one of a proxy', async () => {
  answer = [409, 'application/problem+json', '{"title":"Conflict","status":409,"detail":"it is ENDED","hint":"make another one"}'];
  await assert.rejects(gateway.call('GET /api/transcription'), (error) =>
    error instanceof GatewayError && error.status === 409 && /it is ENDED; make another one/.test(error.message));
  answer = [502, 'text/html', '<html>'];
  await assert.rejects(gateway.call('GET /api/transcription'), { status: 502 });
});

test('a redirect is not followed with a token', async () => {
  answer = [302, 'text/plain', '', { Location: 'http://127.0.0.1:1/' }];
  await assert.rejects(gateway.call('GET /api/transcription'), { name: 'TypeError' });
});

test('what is wrong here is refused before anything is asked', async () => {
  assert.throws(() => new Gateway({ url: 'gateway' }), /^TypeError: url: /);
  asked.length = 0;
  await assert.rejects(gateway.call('start'), /operation: /);
  await assert.rejects(gateway.call('GET /api/transcription/{slug}', { path: { slug: '' } }), /path: slug/);
  await assert.rejects(gateway.call('GET /api/transcription', { signal: AbortSignal.abort() }), { name: 'AbortError' });
  assert.deepEqual(asked, []);
});
