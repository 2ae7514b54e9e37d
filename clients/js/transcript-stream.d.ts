/** The live transcript of one session: every final exactly once and in order. See README.md. */

import type { Closed, Disconnected, LineOptions, TargetOf } from './line.js';

export { comesBack, delayBefore } from './line.js';
export type { Closed, Disconnected, WebSocketLike } from './line.js';

export interface Word {
  text: string;
  /** Milliseconds since the session's first sample. */
  startMs: number;
  endMs: number;
}

export interface Utterance {
  /** The same for all partials of an utterance and its final. */
  utteranceId: string;
  text: string;
  language: string | null;
  isFinal: boolean;
  participantIdentity: string;
  participantName: string | null;
  /** ISO 8601, UTC. */
  startedAt: string;
  endedAt: string;
  startMs: number;
  endMs: number;
  /** 0 to 1. */
  confidence: number;
  words: Word[];
}

/** An utterance under way. */
export interface UtteranceUnderWay extends Utterance {
  /** `text.slice(0, stableChars)` has held still over several partials and will probably stay; what follows may still change. */
  stableChars: number;
}

export interface Translation {
  utteranceId: string;
  language: string | null;
  targetLanguage: string;
  text: string;
  /** Counts 1, 2, 3 … in its language; absent while it is not stored, then it comes once more. */
  seq?: number;
  /** Number of its final. */
  ofSeq?: number;
  participantIdentity: string;
  participantName: string | null;
}

export type TranscriptionState = 'idle' | 'starting' | 'running' | 'waiting' | 'stopping' | 'stopped' | (string & {});

interface Envelope<Type extends string, Data> {
  v: 1;
  type: Type;
  sessionSlug: string;
  epoch: string;
  /** When the gateway sent it: ISO 8601, UTC. */
  ts: string;
  data: Data;
}

/** `seq` counts 1, 2, 3 … within an epoch. */
export type FinalMessage = Envelope<'transcript.final', Utterance> & { seq: number };
/** Replaced by a later partial, or by the final, of the same utterance. An empty text takes it back. */
export type PartialMessage = Envelope<'transcript.partial', UtteranceUnderWay>;
export type TranslationMessage = Envelope<'translation', Translation>;
export type StateMessage = Envelope<'session.state', { state: TranscriptionState; reason?: string }>;
export type HealthMessage = Envelope<'health', { status: 'ok' | 'degraded'; reasons: string[] }>;
/** Whose browser feeds the transcription now; null: nobody's. */
export type HostMessage = Envelope<
  'host.changed',
  { participantIdentity: string | null; participantName: string | null; reason: 'first' | 'left' | 'claimed' | 'kept' | (string & {}) }
>;
/** From here on the provider hears this participant with these; empty `languages`: it detects the language. */
export type OptionsMessage = Envelope<
  'session.options',
  { participantIdentity: string; languages: string[]; translateTo: string[] }
>;
/** Who is not heard now: everybody, or these identities. */
export type PauseMessage = Envelope<'session.pause', { everybody: boolean; participants: string[] }>;
/** Finals that will not come. */
export type GapMessage = Envelope<'gap', { fromSeq: number; toSeq: number }>;
/** Something that somebody has to mend, such as an encoder with a codec that is not supported. */
export type TroubleMessage = Envelope<'error', { message: string; participantIdentity?: string }>;

export interface Finding {
  text: string;
  startMs: number;
  endMs: number;
  /** Of `namedEntities`. */
  entityType?: string;
  /** Of `sentiment`. */
  sentiment?: string;
  emotion?: string;
}

export interface Annotation {
  utteranceId: string;
  kind: 'namedEntities' | 'sentiment';
  results: Finding[];
  participantIdentity: string;
  participantName: string | null;
}

export type AnnotationMessage = Envelope<'annotation', Annotation>;

export type Message =
  | FinalMessage
  | PartialMessage
  | TranslationMessage
  | AnnotationMessage
  | StateMessage
  | HealthMessage
  | HostMessage
  | OptionsMessage
  | PauseMessage
  | GapMessage
  | TroubleMessage;

export interface Opened {
  state: TranscriptionState;
  epoch: string;
  /** The number of the last final there is. */
  seq: number;
  /** The first final that follows. Those before it are there, or were not asked for (`newest`). */
  from: number;
  /** Only finals after `position` follow; otherwise all, or the `newest`. */
  resumed: boolean;
  /** The numbering has begun anew: throw away what you have, all finals follow. */
  restarted: boolean;
  /** The session was over when you came: what it has follows, and the end. */
  ended: boolean;
  /** With the option `voids`: finals from this number on were shown and never stored. Throw them away; what counts follows. */
  voidFrom?: number;
}

export type StreamErrorKind = 'reported' | 'malformed' | 'token' | 'refused' | 'unavailable';

export class StreamError extends Error {
  readonly name: 'StreamError';
  /**
   * `reported`: the gateway says that somebody has to mend something (`data` has it). `malformed`: a message could not
   * be read and is asked for again. `token`: the token function failed and is asked again. `refused`: the gateway closed
   * with a code from 4500. `unavailable`: more tries in a row than `maxAttempts`.
   */
  readonly kind: StreamErrorKind;
  readonly code?: number;
  readonly data?: TroubleMessage['data'];
  /** The stream is over: `refused` and `unavailable`. */
  get isFinal(): boolean;
}

export interface StreamEvents {
  final: CustomEvent<FinalMessage>;
  partial: CustomEvent<PartialMessage>;
  translation: CustomEvent<TranslationMessage>;
  annotation: CustomEvent<AnnotationMessage>;
  state: CustomEvent<StateMessage>;
  health: CustomEvent<HealthMessage>;
  host: CustomEvent<HostMessage>;
  options: CustomEvent<OptionsMessage>;
  pause: CustomEvent<PauseMessage>;
  gap: CustomEvent<GapMessage>;
  error: CustomEvent<StreamError>;
  open: CustomEvent<Opened>;
  close: CustomEvent<Disconnected>;
}

export interface StreamOptions extends LineOptions {
  /** `position` of an earlier stream: only what came after it follows. */
  since?: string;
  /** Messages waiting for a loop before the connection is put down until it has caught up. Default 1000. */
  queueLimit?: number;
  /** Only translations into this language, each once, also after a cut; the session's transcription has to be asked for it. */
  language?: string;
  /** Begin with so many of the last finals; what came before can be read with `GET /api/sessions/{slug}/transcript?before=`. */
  newest?: number;
  /** `open` may say `voidFrom` where a lost replica had shown what it had not stored; otherwise all begins anew then. */
  voids?: boolean;
}

export interface TranscriptStream extends TargetOf<StreamEvents> {}

export class TranscriptStream implements AsyncIterable<Message> {
  constructor(options: StreamOptions);
  readonly state: 'connecting' | 'open' | 'waiting' | 'paused' | 'closed';
  /** `EPOCH:SEQ` of the last final delivered; empty before the first. */
  readonly position: string;
  /** Resolves when the stream is over for good; never rejects. */
  readonly closed: Promise<Closed>;
  close(): void;
  /** Messages from now on. Ends when the session does or `close` is called; throws a StreamError when refused. */
  [Symbol.asyncIterator](): AsyncIterator<Message, undefined, undefined>;
}
