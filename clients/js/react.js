'use client';
// Hooks and captions for React. See README.md.

import { createElement, useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react';

import { captionLines } from './caption-lines.js';
import { LiveTranscript, NOTHING } from './live-transcript.js';
import { Microphone } from './microphone.js';

const SHOWN = 8; // utterances that may still have a word in the box
const READ = 5; // finals that a screen reader may still have to read
const CLEAR_AFTER_MS = 8_000;
const UNSEEN = { position: 'absolute', width: 1, height: 1, margin: -1, padding: 0, border: 0, overflow: 'hidden', clipPath: 'inset(50%)', whiteSpace: 'nowrap' };
const nothing = () => NOTHING;

/** Follow a session: a Transcript (live-transcript.d.ts). Without a session or a token nothing is followed. */
export function useTranscript(session, options) {
  const { url, token, language } = options;
  const isReady = Boolean(session && token);
  const live = useMemo(() => new LiveTranscript(isReady ? session : null, options), [session, String(url), language, isReady]);
  useEffect(() => live.use(options));
  return useSyncExternalStore(live.subscribe, live.snapshot, nothing);
}

/** The newest words, in a box of two lines, with `language` in that one where they are translated. Styles: captions.css. */
export function Captions({ transcript, language, lines, columns, speakers, label = 'Captions', clearAfterMs = CLEAR_AFTER_MS, className = '', style }) {
  const { finals, partials } = transcript;
  const said = [...finals.slice(-SHOWN).map((final) => inLanguage(final, language)), ...partials].sort((one, other) => one.startMs - other.startMs).slice(-SHOWN);
  const newest = said.map(({ utteranceId, text }) => `${utteranceId} ${text}`).join('\n');
  const isQuiet = useQuiet(newest, clearAfterMs);
  const shown = isQuiet ? [] : captionLines(said, { lines, columns, speakers });
  // What is translated in a moment is not read twice; what is not translated, once something later is.
  const settled = finals.findLastIndex((final) => !language || final.language === language || final.translations?.[language]) + 1;
  const read = finals.slice(Math.max(0, settled - READ), settled).map((final) => inLanguage(final, language));
  return createElement('section', { className: `captions ${className}`.trim(), style, 'aria-label': label },
    // Words under way would be read again and again: only finals are.
    createElement('div', { role: 'log', 'aria-live': 'polite', className: 'captions-read', style: UNSEEN },
      read.map(({ utteranceId, participantName, participantIdentity, text, language: spoken }) =>
        createElement('p', { key: utteranceId, lang: spoken ?? undefined, dir: 'auto' }, `${participantName ?? participantIdentity}: ${text}`))),
    createElement('div', { className: 'captions-box', 'aria-hidden': true, hidden: shown.length === 0 },
      shown.map(({ key, speaker, language: spoken, stable, unsure }) =>
        createElement('p', { key, className: 'captions-line', lang: spoken ?? undefined, dir: 'auto' },
          speaker && createElement('b', { className: 'captions-speaker' }, createElement('bdi', null, speaker), ': '),
          stable && createElement('span', { className: 'captions-words' }, stable),
          unsure && createElement('span', { className: 'captions-unsure' }, unsure)))));
}

/** As it was said where there is no translation. */
function inLanguage(final, language) {
  const text = language && final.translations?.[language];
  return text ? { ...final, text, language } : final;
}

/** Whether nothing has changed for so long. What is there at first counts as new. */
function useQuiet(what, afterMs) {
  const [quiet, setQuiet] = useState(null); // what it was when it was quiet
  useEffect(() => {
    const timer = setTimeout(() => setQuiet(what), afterMs);
    return () => clearTimeout(timer);
  }, [what, afterMs]);
  return quiet === what;
}

/** The microphone as a speaker of a session: `start` (from a click), `stop`, `muted`, `setMuted`, `state`, `error`, `level()`. */
export function useMicrophone(session, options) {
  const latest = useRef(options);
  const current = useRef(null);
  const mutedNow = useRef(false);
  const [view, setView] = useState({ state: 'idle', error: null });
  const [muted, mute] = useState(false);
  useEffect(() => {
    latest.current = options;
  });
  const stop = useCallback(async () => {
    const microphone = current.current;
    current.current = null;
    setView(({ error }) => ({ state: 'idle', error }));
    await microphone?.stop();
  }, []);
  const start = useCallback(async () => {
    if (current.current) return;
    const fresh = () => (typeof latest.current.token === 'function' ? latest.current.token() : latest.current.token);
    const microphone = new Microphone({ ...latest.current, session, token: fresh });
    current.current = microphone;
    const show = (values) => microphone === current.current && setView((before) => ({ ...before, state: microphone.state, ...values }));
    microphone.addEventListener('open', () => show({ error: null }));
    microphone.addEventListener('close', () => show({}));
    microphone.addEventListener('error', ({ detail }) => show({ error: detail }));
    microphone.closed.then(() => {
      if (microphone !== current.current) return;
      show({ state: 'idle' });
      current.current = null;
    });
    show({ state: 'asking', error: null });
    try {
      await microphone.start();
      microphone.muted = mutedNow.current;
    } catch (error) { // also as an event; what failed may be tried again
      setView({ state: 'idle', error });
      if (microphone === current.current) current.current = null;
    }
  }, [session, String(options.url)]);
  const setMuted = useCallback((isMuted) => {
    mutedNow.current = isMuted;
    if (current.current) current.current.muted = isMuted;
    mute(isMuted);
  }, []);
  const level = useCallback(() => current.current?.level ?? 0, []);
  useEffect(() => () => void stop(), [session, String(options.url), stop]); // another session, or the page is left
  return { ...view, muted, setMuted, start, stop, level };
}
