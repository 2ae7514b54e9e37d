// The app of docs/nextjs.md, from creating a session to reading its analysis. Says what it saw, a JSON object a line;
// a line on its input lets it go on.
import { register } from 'node:module';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { JSDOM } from 'jsdom';

register('./resolve.mjs', import.meta.url);
const { SLUG: slug, ROOM_TOKEN: token, PAGE_ORIGIN: origin } = process.env;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (event, detail) => console.log(JSON.stringify({ event, detail }));
const until = async (holds) => {
  while (!(await holds())) await pause(50);
};

const { window } = new JSDOM('<div id="root"></div>', { url: `${origin}/rooms/${slug}`, pretendToBeVisual: true });
for (const name of ['window', 'document', 'navigator', 'WebSocket']) {
  Object.defineProperty(globalThis, name, { value: window[name], configurable: true });
}
const { document } = window;

const { createElement, StrictMode } = await import('react');
const { createRoot } = await import('react-dom/client');
const { startServerTranscription, stopServerTranscription } = await import('./built/lib/gateway.js');
const { createSession, endSession, prisma, sessionWithResults } = await import('./built/lib/sessions.js');
const { Captions } = await import('./built/components/Captions.js');

await prisma.space.create({ data: { id: 'team' } });
const session = await createSession(slug, 'team', 'user-1', 'Stand-up');
const options = { source: 'rtmp', language: 'en', participantIdentity: 'anna', participantName: 'Anna' };
const started = await startServerTranscription(session.id, slug, options);
const again = await startServerTranscription(session.id, slug, options);

const seen = () =>
  [...document.querySelectorAll('section p')].map((line) => ({
    who: line.querySelector('b').textContent,
    text: line.lastChild.textContent,
    isFinal: line.style.opacity === '1',
  }));
let underway = 0;
new window.MutationObserver(() => (underway += seen().filter((line) => !line.isFinal).length)).observe(
  document.getElementById('root'),
  { childList: true, subtree: true, characterData: true, attributes: true },
);
const root = createRoot(document.getElementById('root'));
root.render(createElement(StrictMode, null, createElement(Captions, { slug, token })));
say('started', { ingest: started.ingest, created: [started.created, again.created] });

await lines.next(); // everything is said
const stopped = await stopServerTranscription(slug);
const count = await prisma.transcriptSegment.count({ where: { videoSession: { slug }, isFinal: true } });
await until(() => seen().filter((line) => line.isFinal).length === count);
say('spoken', { stopped, captions: seen(), underway });

await endSession(slug);
await endSession(slug); // nothing changes
let results;
await until(async () => (results = await sessionWithResults(slug)).analysis?.status === 'DONE');
say('results', results);
say('refused', await startServerTranscription(session.id, slug).catch((error) => error.message));

root.unmount();
await prisma.$disconnect();
window.close();
process.stdin.destroy();
say('end', null); // nothing is left open, so the process ends by itself
