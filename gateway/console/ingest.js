// Where an encoder sends its audio, as far as this page has been told: the key is told to few.

import { byId } from './dom.js';

const ingests = new Map(); // slug → {rtmpUrl, streamKey}

/** What the answer of start says; kept for as long as the page lives. */
export function remember({ sessionSlug, ingest }) {
  if (ingest?.rtmpUrl) ingests.set(sessionSlug, ingest);
}

export const isKnown = (slug) => ingests.has(slug);

export const forget = (slug) => ingests.delete(slug);

export function showIngest(slug) {
  const ingest = ingests.get(slug);
  byId('ingest').hidden = !ingest;
  if (!ingest) return;
  byId('rtmp-url').value = ingest.rtmpUrl;
  byId('stream-key').value = ingest.streamKey;
  byId('ffmpeg').value = `ffmpeg -re -i talk.mp4 -vn -c:a aac -ar 44100 -ac 1 -f flv '${ingest.rtmpUrl}'`;
}
