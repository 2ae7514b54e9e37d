// How things are, in sentences for whoever reads them: `operator` (steers it), `reader`, `guest` (was invited).
// No word of the API is among them, and no number of a code.

const ACTIVE = ['starting', 'running', 'waiting', 'stopping'];
const STATES = {
  operator: {
    idle: 'not started', starting: 'starting', running: 'running', waiting: 'waiting for a place', stopping: 'stopping', stopped: 'stopped',
  },
  reader: { idle: 'not begun', starting: 'beginning', running: 'live', waiting: 'live, words are late', stopping: 'ending', stopped: 'over' },
};
const NOBODY = 'nobody publishes yet'; // how a reason begins that is no trouble: no audio has come yet
const NEXT = {
  websocket: 'Press “Speak”, or invite somebody who speaks.',
  rtmp: 'Send a stream: “Stream key” says where.',
  livekit: 'Let somebody join the room and switch a microphone on.',
};

export const isActive = (state) => ACTIVE.includes(state);

/** One or two words, for a badge. */
export function stateFor(whom, state, isPaused = false) {
  if (isPaused && isActive(state)) return 'paused';
  return STATES[whom === 'operator' ? whom : 'reader'][state] ?? state;
}

/** The line below the words while the connection is away; `code` as WebSockets have them. */
export function cutFor(whom, code, seconds) {
  const isOperator = whom === 'operator';
  const why = {
    4000: isOperator ? 'the gateway restarts, or hands the session over' : 'the service is being renewed',
    4008: 'this page has fallen behind',
    4029: isOperator ? 'all places for readers are taken' : 'too many people are reading just now',
  }[code] ?? (navigator.onLine === false ? 'this device is offline' : 'the connection was cut');
  return `Coming back in ${seconds} s: ${why}. No words are lost.`;
}

/** The same when it does not come back. */
export function overFor(whom, code, slug) {
  const isOperator = whom === 'operator';
  switch (code) {
    case 1000: return '';
    case 4500: return 'This page and the gateway do not understand each other. Reload the page.';
    case 4501: return isOperator
      ? 'This token may not read this session, or has expired. Sign out and enter another one.'
      : 'You may not read this session any more. Ask whoever invited you for a new link.';
    case 4504: return isOperator ? `There is no session “${slug}”. It may have been deleted.` : 'This session does not exist any more.';
    case 4510: return 'The session has ended.';
    default: return 'The connection has ended. Reload the page to try again.';
  }
}

/** What is wrong; empty while nothing is, or nothing that its reader could know what to do about. */
export function healthFor(whom, reasons, state) {
  const troubles = reasons.filter((reason) => !reason.startsWith(NOBODY));
  if (whom === 'operator') return troubles.join('; ');
  return troubles.length && ['running', 'waiting'].includes(state) ? 'Words may be late, or missing, at the moment.' : '';
}

/** In place of words, while there are none: what to do next. */
export function emptyFor(whom, { state, source, isPaused = false, isToldWhere = false }) {
  if (state === 'stopped') return 'Nothing was said.';
  if (isPaused && isActive(state)) return whom === 'operator' ? 'Paused: nobody is heard. Press “Resume”.' : 'Paused: nobody is heard at the moment.';
  if (whom === 'operator') {
    if (state === 'idle') return 'It has not begun. Press “Speak” to speak, or “Start RTMP” to send a stream.';
    return state ? `Nobody has spoken yet. ${isToldWhere ? 'Send a stream to the address above.' : NEXT[source] ?? ''}` : 'Connecting …';
  }
  if (!state) return 'Connecting …';
  const speaks = whom === 'guest' && ['idle', 'starting', 'running'].includes(state) && source !== 'rtmp';
  return `Nobody has spoken yet. Words appear here as they are said${speaks ? '; press “Speak” to speak' : ''}.`;
}

/** A line in the transcript when it is over. */
export function stoppedFor(whom, reason, isOwn) {
  if (isOwn) return 'You have stopped the transcription.';
  if (whom !== 'operator' || !reason) return 'The transcription is over.';
  return `The transcription is over: ${reason}.`;
}

/** Why a guest does not get in, by the status of the answer; `detail` is the gateway's sentence. */
export function refusalFor({ status, detail }) {
  switch (status) {
    case 0: return 'The service does not answer. Check your connection, and try again.';
    case 401: case 403: return 'This invitation is not good any more. Ask whoever sent it for a new link.';
    case 404: return 'This session does not exist any more. Ask whoever sent the link.';
    case 409: return /is over|has ended|ENDED|EXPIRED/.test(detail) ? 'The session has ended.' : detail;
    case 429: return 'Very many people are joining just now. Try again in a minute.';
    case 503: return 'The service is not ready just now. Try again in a moment.';
    default: return detail;
  }
}

/** Where the words come from. */
export const sourceOf = (source) => ({ websocket: 'browsers', rtmp: 'an encoder', livekit: 'a LiveKit room' }[source] ?? source);

/** That nobody speaks yet is no trouble. */
export const isSilent = ({ reasons }) => reasons.some((reason) => reason.startsWith(NOBODY));
