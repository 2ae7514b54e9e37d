/** Hooks and captions for React 18 and later. See README.md. */

import type { CSSProperties, ReactElement } from 'react';

import type { AudioError } from './audio-sender.js';
import type { LineRules } from './caption-lines.js';
import type { Transcript, TranscriptOptions } from './live-transcript.js';
import type { MicrophoneOptions } from './microphone.js';

export type { LineRules } from './caption-lines.js';
export type { NumberedUtterance, Transcript, TranscriptOptions } from './live-transcript.js';

/**
 * Follow a session. Nothing is followed while `session` or `token` is missing, nor on a server. A component that comes
 * back goes on after the last final.
 */
export function useTranscript(session: string | null | undefined, options: TranscriptOptions): Transcript;

export interface CaptionsProps extends LineRules {
  transcript: Pick<Transcript, 'finals' | 'partials'>;
  /**
   * Finals in this language: give it to `useTranscript` as well. What has no translation, and words under way, stand as
   * they were said.
   */
  language?: string;
  /** Name of the region. Default "Captions". */
  label?: string;
  /** The box is empty after so much silence, milliseconds. Default 8000. */
  clearAfterMs?: number;
  className?: string;
  style?: CSSProperties;
}

/** The newest words, in a box of two lines; finals are read out by screen readers. */
export function Captions(props: CaptionsProps): ReactElement;

export interface MicrophoneControls {
  state: 'idle' | 'asking' | 'connecting' | 'live' | 'waiting' | 'stopping' | 'closed';
  error: AudioError | null;
  muted: boolean;
  setMuted(muted: boolean): void;
  /** From a click: the browser asks the person. Never rejects: see `error`. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Loudness of the last 40 ms, 0 to 1; not rendered, so ask as often as you draw. */
  level(): number;
}

/** The microphone as a speaker of a session. It is let go when the component is. */
export function useMicrophone(session: string, options: Omit<MicrophoneOptions, 'session' | 'signal'>): MicrophoneControls;
