// Not run: `npm run types` checks that the declarations say what the README promises.
import { StreamError, TranscriptStream, comesBack, delayBefore } from '../transcript-stream.js';
import type { FinalMessage, Message } from '../transcript-stream.js';
import { AudioSender } from '../audio-sender.js';
import { AudioError, Microphone } from '../microphone.js';

const stream = new TranscriptStream({
  url: new URL('https://captions.example.org'),
  session: 'abc12345',
  token: async () => 'token',
  signal: AbortSignal.timeout(1000),
  WebSocket,
});

void (stream satisfies EventTarget);
stream.addEventListener('final', ({ detail }) => {
  const seq: number = detail.seq;
  const name: string | null = detail.data.participantName;
  void [seq, name, detail.data.words.map((word) => word.startMs)];
});
stream.addEventListener('close', ({ detail }) => {
  if (detail.willReconnect) void (detail.delayMs satisfies number);
  // @ts-expect-error: there is no delay before nothing
  else void detail.delayMs;
});
stream.addEventListener('error', ({ detail }) => void (detail instanceof StreamError && detail.kind === 'refused'));
// @ts-expect-error: there is no such event
stream.addEventListener('finale', ({ detail }) => detail);
// @ts-expect-error: a session is needed
new TranscriptStream({ url: '/', token: 'token' });
// @ts-expect-error: partials have no number
const unnumbered = (message: Extract<Message, { type: 'transcript.partial' }>) => message.seq;

async function follow(): Promise<FinalMessage[]> {
  const finals: FinalMessage[] = [];
  for await (const message of stream) {
    if (message.type === 'transcript.final') finals.push(message);
    if (message.type === 'gap') void (message.data.toSeq satisfies number);
  }
  return finals;
}

void [follow, unnumbered, stream.closed.then(({ code }) => comesBack(code)), delayBefore(0, 1006), stream.position];

const microphone = new Microphone({ url: '/', session: 'abc12345', token: 'token', deviceId: 'default' });
microphone.addEventListener('open', ({ detail }) => void (detail.goesOn satisfies boolean));
microphone.addEventListener('error', ({ detail }) => void (detail instanceof AudioError && detail.kind === 'device'));
microphone.muted = microphone.level > 0.5;
void microphone.start().then(() => microphone.stop()).then(({ code }) => code);
// @ts-expect-error: the rate is the microphone's own
new Microphone({ url: '/', session: 'abc12345', token: 'token', sampleRate: 16000 });

const sender = new AudioSender({ url: '/', session: 'abc12345', token: 'token', sampleRate: 16000, WebSocket });
sender.send(new Int16Array(160));
sender.skip(160);
// @ts-expect-error: 16-bit samples only
sender.send(new Float32Array(160));
