// One session with the provider's SDK, as its user sees it. Prints what was seen as JSON.
// node talk.mjs '{"url", "key", "region", "pcm": path, "config", "then": ["get", "list", "file", "delete"]}'
import { readFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { GladiaClient } from '@gladiaio/sdk';

const asked = JSON.parse(process.argv[2]);
const pcm = readFileSync(asked.pcm);
const live = new GladiaClient({ apiKey: asked.key, apiUrl: asked.url, region: asked.region }).liveV2();
const session = live.startSession(asked.config);
const seen = { id: null, connected: 0, words: [], types: [], errors: [], code: null };
let acknowledged = 0;

session.on('started', ({ id }) => { seen.id = id; });
session.on('connected', () => { seen.connected += 1; });
session.on('error', (error) => seen.errors.push(String(error?.message ?? error)));
session.on('message', ({ type, data }) => {
  if (type === 'audio_chunk') {
    acknowledged = data.byte_range[1];
    return;
  }
  seen.types.push(type);
  if (type === 'transcript' && data.is_final) {
    seen.words.push(...data.utterance.words.map(({ word }) => word.trim()));
  }
});
const ended = new Promise((resolve) => session.on('ended', ({ code }) => resolve(code)));
let over = false;
ended.then(() => { over = true; });

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
for (let at = 0; at < pcm.length && !over; at += 3200) {
  session.sendAudio(pcm.subarray(at, at + 3200));
  await pause(2);
}
// A stop that is followed by a cut is lost by the SDK, so everything has to have arrived before.
while (acknowledged < pcm.length && !over) await pause(5);
session.stopRecording();
seen.code = await ended;

const then = new Set(asked.then ?? []);
if (then.has('get')) seen.record = await live.get(seen.id);
if (then.has('list')) seen.listed = (await live.list({ status: ['done'], limit: 1 })).items.map(({ id }) => id);
if (then.has('file')) {
  const wav = Buffer.from(await live.getFile(seen.id));
  seen.file = createHash('sha256').update(wav.subarray(44)).digest('hex');
}
if (then.has('delete')) seen.deleted = await live.delete(seen.id);
process.stdout.write(JSON.stringify(seen), () => process.exit(0));
