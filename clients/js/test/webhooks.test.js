import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Webhook } from 'standardwebhooks';

import { WebhookError, verifyWebhook } from '../webhooks.js';

const SECRET = `whsec_${Buffer.from('a secret of thirty-two bytes ...').toString('base64')}`;
const OTHER = `whsec_${Buffer.from('another secret of 32 bytes .....').toString('base64')}`;
const BODY = '{"type":"transcription.stopped","timestamp":"2026-01-05T10:00:03.120Z","data":{"sessionSlug":"abc12345"}}';
const AT = 1_780_000_000;
const now = () => AT * 1000;

const signed = (body = BODY, secrets = [SECRET], at = AT) => ({
  'webhook-id': 'msg_1',
  'webhook-timestamp': String(at),
  'webhook-signature': secrets.map((secret) => new Webhook(secret).sign('msg_1', new Date(at * 1000), body)).join(' '),
});
const kind = (expected) => (error) => error instanceof WebhookError && error.kind === expected;

test('what the reference implementation signs is verified, as text, bytes, and with any kind of headers', async () => {
  for (const payload of [BODY, Buffer.from(BODY), new TextEncoder().encode(BODY).buffer]) {
    for (const headers of [signed(), new Headers(signed()), { 'Webhook-Id': 'msg_1', ...Object.fromEntries(Object.entries(signed()).slice(1)) }]) {
      const event = await verifyWebhook(payload, headers, SECRET, { now });
      assert.equal(event.data.sessionSlug, 'abc12345');
    }
  }
});

test('while a secret is exchanged, either side may have several', async () => {
  await verifyWebhook(BODY, signed(BODY, [OTHER, SECRET]), SECRET, { now });
  await verifyWebhook(BODY, signed(), [OTHER, SECRET], { now });
  await assert.rejects(verifyWebhook(BODY, signed(), OTHER, { now }), kind('signature'));
});

test('one changed byte of anything that is signed is refused', async () => {
  const good = signed();
  for (let at = 0; at < BODY.length; at++) {
    const body = `${BODY.slice(0, at)}~${BODY.slice(at + 1)}`;
    await assert.rejects(verifyWebhook(body, good, SECRET, { now }), kind('signature'));
  }
  for (const [name, value] of [['webhook-id', 'msg_2'], ['webhook-timestamp', String(AT + 1)], ['webhook-signature', 'v1,AAAA'],
    ['webhook-signature', 'v1a,' + good['webhook-signature'].slice(3)], ['webhook-signature', 'v1,'], ['webhook-signature', 'v1,***']]) {
    await assert.rejects(verifyWebhook(BODY, { ...good, [name]: value }, SECRET, { now }), kind('signature'), `${name} ${value}`);
  }
});

test('old, early and missing headers are refused', async () => {
  await verifyWebhook(BODY, signed(BODY, [SECRET], AT - 300), SECRET, { now });
  for (const at of [AT - 301, AT + 301]) await assert.rejects(verifyWebhook(BODY, signed(BODY, [SECRET], at), SECRET, { now }), kind('timestamp'));
  for (const name of Object.keys(signed())) {
    await assert.rejects(verifyWebhook(BODY, { ...signed(), [name]: undefined }, SECRET, { now }), kind('headers'));
  }
  await assert.rejects(verifyWebhook(BODY, { ...signed(), 'webhook-timestamp': '1e9' }, SECRET, { now }), kind('headers'));
});

test('a signed body that is no event, a parsed body, and secrets that are none say so', async () => {
  for (const body of ['', 'null', '[]', '{"type":7}', '{']) await assert.rejects(verifyWebhook(body, signed(body), SECRET, { now }), kind('payload'));
  await assert.rejects(verifyWebhook({}, signed(), SECRET, { now }), /payload: the body as it came/);
  for (const secrets of [[], '', 'whsec_', undefined, 'whsec_?']) await assert.rejects(verifyWebhook(BODY, signed(), secrets, { now }), TypeError);
});
