// What is behind "Details": the address, how fast words come, and, for those who may see it, the provider and what it costs.

import { get } from './api.js';
import { byId, clock, count, dateOf, dollars, make } from './dom.js';
import { healthFor } from './words.js';

const SOURCES = { rtmp: 'an encoder, over RTMP', websocket: 'browsers', livekit: 'a LiveKit room' };

/** What the page knows: its session's `view` is null until it has come. `live`: a Live. */
export async function showFacts({ slug, view, transcript, live: { delayMs } }) {
  const facts = [
    ['Short name', slug],
    ['Began', view?.startedAt && dateOf(view.startedAt)],
    ['Ended', view?.endedAt && dateOf(view.endedAt)],
    ['Lines', transcript.last.toLocaleString('en')],
    ['Delay', delayMs !== null && `${(delayMs / 1000).toFixed(1)} s from the end of the words to their line`],
  ];
  show(facts);
  byId('details').showModal();
  const path = `api/transcription/${encodeURIComponent(slug)}`;
  const found = await Promise.all([get(path), get(`${path}/usage`)]).catch(() => null); // not for every reader
  if (!found) return;
  const [run, usage] = found;
  facts.push(
    ['Audio from', SOURCES[run.source] ?? run.source],
    ['Speech provider', run.engine],
    ['Audio', clock(usage.totals.durationSeconds * 1000)],
    ['Cost', dollars(usage.totals.totalCost)],
    ['Reading now', count(run.watchers, 'person', 'people')],
    ['Being heard', run.tracks.map((track) => track.participantName || track.participantIdentity).join(', ')],
  );
  facts.push(['Health', healthFor('operator', run.health.reasons)]);
  show(facts);
}

function show(facts) {
  byId('facts').replaceChildren(...facts.filter(([, told]) => told).map(([name, told]) =>
    make('div', {}, make('dt', { textContent: name }), make('dd', { dir: 'auto', textContent: told }))));
}
