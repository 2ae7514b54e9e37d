/** A transcript as a value that changes. See README.md. */

import type { HealthMessage, StreamError, StreamOptions, TranscriptionState, Utterance, UtteranceUnderWay } from './transcript-stream.js';

export interface NumberedUtterance extends Utterance {
  seq: number;
  /** By language, as they come: with the option `language` in that one, each also after a cut. */
  translations?: Readonly<Record<string, string>>;
}

export interface Transcript {
  /** In order, the newest `keep`. */
  readonly finals: readonly NumberedUtterance[];
  /** Under way: the newest words of each utterance. */
  readonly partials: readonly UtteranceUnderWay[];
  /** Of the transcription. */
  readonly state: TranscriptionState;
  /** Of the connection; `idle` while nothing is followed. */
  readonly connection: 'idle' | 'connecting' | 'open' | 'waiting' | 'paused' | 'closed';
  readonly health: Readonly<HealthMessage['data']>;
  /** How many finals cannot be had any more. */
  readonly missing: number;
  /** `EPOCH:SEQ` of the last final: pass it as `since` to go on another time. */
  readonly position: string;
  /** Why it does not go on (`error.isFinal`), or what it waits for. */
  readonly error: StreamError | TypeError | null;
}

export interface TranscriptOptions extends Omit<StreamOptions, 'session' | 'token' | 'signal' | 'queueLimit'> {
  /** As of a stream; nothing is followed while there is none. */
  token: StreamOptions['token'] | null | undefined;
  /** How many finals are kept. Default 5000. */
  keep?: number;
}

/** Follows a session as long as somebody listens. */
export class LiveTranscript {
  constructor(session: string | null | undefined, options: TranscriptOptions);
  /** Returns a function that ends it. */
  readonly subscribe: (listener: () => void) => () => void;
  /** The same value until something changes. */
  readonly snapshot: () => Transcript;
  /** A fresher token and so on. */
  use(options: TranscriptOptions): void;
}

/** What there is before anything was heard. */
export const NOTHING: Transcript;
