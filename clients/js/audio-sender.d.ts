/** PCM to the gateway, across lost connections. See README.md. */

import type { Closed, Disconnected, LineOptions, TargetOf, WebSocketLike } from './line.js';

export type AudioErrorKind = 'token' | 'refused' | 'unavailable' | 'device';

export class AudioError extends Error {
  readonly name: 'AudioError';
  /**
   * `token`: the token function failed and is asked again. `refused`: the gateway closed with a code from 4500. `unavailable`:
   * more tries in a row than `maxAttempts`. `device`: the microphone cannot be had, or was taken away.
   */
  readonly kind: AudioErrorKind;
  readonly code?: number;
  /** It is over: all but `token`. */
  get isFinal(): boolean;
}

/** What a sender uses of a WebSocket, beyond what a stream does. */
export interface SendingWebSocket extends WebSocketLike {
  readonly bufferedAmount?: number;
  send(data: any): void;
}

export interface ConnectionOptions extends LineOptions<SendingWebSocket> {
  /** Who speaks; by default whom the token names. */
  identity?: string;
  /** The speaker's name, where the token has none. */
  name?: string;
  /** Seconds of audio kept while there is no connection. Default 30. */
  keptS?: number;
}

export interface AudioSenderOptions extends ConnectionOptions {
  /** 8000 to 48000 Hz. */
  sampleRate: number;
  /** Default 1. */
  channels?: 1 | 2;
}

export interface AudioEvents {
  /** The gateway takes audio. `goesOn`: exactly where the last connection was cut. */
  open: CustomEvent<{ goesOn: boolean }>;
  close: CustomEvent<Disconnected>;
  error: CustomEvent<AudioError>;
}

export interface AudioSender extends TargetOf<AudioEvents> {}

export class AudioSender {
  constructor(options: AudioSenderOptions);
  readonly state: 'connecting' | 'live' | 'waiting' | 'stopping' | 'closed';
  /** Seconds of audio that the gateway has not acknowledged. */
  readonly pendingS: number;
  /** Resolves when it is over for good; never rejects. */
  readonly closed: Promise<Closed>;
  /** Take 16-bit samples, channels interleaved. They are kept, so do not change them. */
  send(pcm: Int16Array): void;
  /** So many frames are left out; what follows was spoken later by so much. */
  skip(frames: number): void;
  /** That was all. Resolves when the connection is closed. */
  stop(): Promise<Closed>;
}

