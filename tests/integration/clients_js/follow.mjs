// Follows a session as a program would, and prints every event as a line of JSON.
import { TranscriptStream } from '../../../clients/js/transcript-stream.js';

const { STREAM_URL, SESSION, TOKEN, OPTIONS = '{}', UNTIL = '' } = process.env;
const stream = new TranscriptStream({ url: STREAM_URL, session: SESSION, token: () => TOKEN, ...JSON.parse(OPTIONS) });
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

for (const type of ['open', 'final', 'partial', 'state', 'gap', 'error', 'close']) {
  stream.addEventListener(type, ({ detail }) => {
    print({ event: type, detail: detail instanceof Error ? { kind: detail.kind, code: detail.code, text: detail.message } : detail });
  });
}
// A change of state that fell into a cut stands in the next hello; the finals after it come first.
let last = Infinity;
const have = () => Number(stream.position.split(':').at(-1));
stream.addEventListener('state', ({ detail }) => detail.data.state === UNTIL && stream.close());
stream.addEventListener('open', ({ detail }) => {
  last = detail.state === UNTIL ? detail.seq : Infinity;
  if (have() >= last) stream.close();
});
stream.addEventListener('final', () => have() >= last && stream.close());
const looped = [];
try {
  for await (const message of stream) if (message.type === 'transcript.final') looped.push(message.seq);
  print({ event: 'looped', detail: { seqs: looped, position: stream.position } });
} catch (error) {
  print({ event: 'thrown', detail: { kind: error.kind, code: error.code } });
}
