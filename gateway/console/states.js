// How a session stands, in words for who reads it: no word of an interface, no number of a protocol.

const LIVE = ['starting', 'running', 'waiting', 'stopping'];

const STATES = {
  starting: { chip: 'Starting', kind: 'wait', sentence: 'It is just beginning.', empty: 'It is just beginning. The words stand here as soon as somebody speaks.' },
  running: { chip: 'Live', kind: 'live', sentence: 'Listening.', empty: 'Listening. The first words stand here as soon as somebody speaks.' },
  waiting: { chip: 'Live', kind: 'wait', sentence: 'The words are late: they wait for their turn, and none is lost.' },
  stopping: { chip: 'Live', kind: 'wait', sentence: 'The last words are on their way.' },
  stopped: { chip: 'Not live', kind: 'off', sentence: 'Nothing is being written down at the moment.' },
  idle: { chip: 'Not begun', kind: 'off', sentence: '', empty: 'It has not begun. The words stand here as soon as it does; you can leave this page open.' },
};
const OVER = { chip: 'Ended', kind: 'off', sentence: 'This is the end.', empty: 'It has ended, and nothing was said.' };
const CONNECTING = { chip: 'Connecting', kind: 'wait', sentence: '', empty: 'Asking for the words so far …' };
const CUT = { chip: 'Cut off', kind: 'wait', sentence: 'The connection is cut. It comes back by itself, and nothing is lost.' };
const CROWDED = { ...CUT, chip: 'Waiting', sentence: 'Very many are reading. There will be room in a moment.' };

/** Why somebody is not let in, by the close code. */
const REFUSED = {
  4501: 'Your link has expired, or is for something else. Ask for a new one where you got it.',
  4504: 'There is nothing at this address. Perhaps the link is not complete, or what it led to was deleted.',
};

export const refusalOf = (code) => REFUSED[code] ?? 'This page cannot be shown. Load it again, or ask where you got its link.';

/**
 * `{chip, kind, sentence}` of what a page knows: `line` (connecting, open, waiting, crowded, over), `state` of the transcription,
 * whether the session `isOver`, whether it `hasWords`, who is `paused` (null, 'everybody' or names), whether words may be late.
 */
export function standing({ line, state, isOver, hasWords, paused, isLate }) {
  if (line === 'waiting') return CUT;
  if (line === 'crowded') return CROWDED;
  if (isOver) return told(OVER, hasWords);
  if (line === 'connecting') return told(CONNECTING, hasWords);
  const now = STATES[state] ?? STATES.running;
  if (LIVE.includes(state) && paused === 'everybody') {
    return { chip: 'Paused', kind: 'wait', sentence: 'Paused: nothing of what is said now is written down.' };
  }
  if (LIVE.includes(state) && paused) return { ...told(now, hasWords), sentence: `Listening, but not to ${paused}.` };
  if (state === 'running' && isLate && hasWords) return { chip: 'Live', kind: 'wait', sentence: 'The words may be late at the moment.' };
  return told(now, hasWords);
}

const told = ({ empty, ...now }, hasWords) => ({ ...now, sentence: hasWords ? now.sentence : empty ?? now.sentence });
