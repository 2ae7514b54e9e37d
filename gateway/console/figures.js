// What a session costs and how it runs, behind its "Details".

import { byId, clock, count, dollars, make, say } from './dom.js';
import { sourceOf } from './words.js';

const DELAYS = 9;
let delays = []; // of the newest finals, ms

export function clearFigures() {
  delays = [];
  byId('delay').textContent = '–';
  for (const id of ['figures', 'tracks']) byId(id).hidden = true;
}

/** How long after the end of an utterance its final was there: the middle of the last few. */
export function showDelay(ms) {
  delays = [...delays, Math.max(0, ms)].slice(-DELAYS);
  const sorted = delays.toSorted((a, b) => a - b);
  byId('delay').textContent = `${(sorted[sorted.length >> 1] / 1000).toFixed(1)} s`;
}

/** Of `GET /api/transcription/{slug}` and its usage. */
export function showFigures(view, usage) {
  byId('figures').hidden = false;
  byId('tracks').hidden = usage.rows.length === 0;
  say(byId('about'), `${sourceOf(view.source)} · ${view.engine}`);
  say(byId('audio'), clock(usage.totals.durationSeconds * 1000));
  say(byId('cost'), dollars(usage.totals.totalCost));
  say(byId('count'), String(view.lastSeq));
  say(byId('watchers'), String(view.watchers));
  const tracks = new Map(view.tracks.map((track) => [track.participantIdentity, track]));
  byId('rows').replaceChildren(...usage.rows.map((row) => {
    const track = tracks.get(row.participantIdentity);
    const cells = [
      track?.participantName || row.participantName || row.participantIdentity,
      track?.provider ?? '–',
      track ? clock(track.secondsHeard * 1000) : '–',
      clock(row.durationSeconds * 1000),
      count(row.durationMinutes, 'min', 'min'),
      dollars(row.totalCost),
    ];
    return make('tr', {}, ...cells.map((textContent) => make('td', { textContent })));
  }));
}
