/** PCM to the gateway, across lost connections. See README.md. */

import type { Closed, Disconnected, WebSocketLike } from './transcript-stream.js';

export type AudioErrorKind = 'token' | 'refused' | 'unavailable' | 'device';

export class AudioError extends Error {
  readonly name: 'AudioError';
  /**
   * `token`: the token function failed and is asked again. `refused`: the gateway closed with a code from 4500. `unavailable`:
   * too many tries in a row. `device`: the microphone cannot be had, or was taken away.
   */
  readonly kind: AudioErrorKind;
  readonly code?: number;
  /** It is over: all but `token`. */
  get isFinal(): boolean;
}

/** What this module uses of a WebSocket, beyond what a stream does. */
export interface SendingWebSocket extends WebSocketLike {
  readonly bufferedAmount?: number;
  send(data: any): void;
}

export interface ConnectionOptions {
  /** Where the gateway is: http(s) or ws(s), with a path if it is served under one. A page may give a relative one. */
  url: string | URL;
  /** The session's slug. */
  session: string;
  /** A LiveKit token of the room, a user token or a service token; or a function, asked at each connect. */
  token: string | (() => string | Promise<string>);
  /** Who speaks; by default whom the token names. */
  identity?: string;
  /** The speaker's name, where the token has none. */
  name?: string;
  /** Stops it. */
  signal?: AbortSignal;
  /** Where there is no global one. */
  WebSocket?: new (url: string, protocols: string[]) => SendingWebSocket;
  /** Tries in a row without a connection before it gives up. Default 20, about four minutes. */
  maxAttempts?: number;
  /** First and longest delay between tries, milliseconds; doubling, half by chance. Default 500 and 15000. */
  firstMs?: number;
  longestMs?: number;
  /** Seconds of audio kept while there is no connection. Default 30. */
  keptS?: number;
  /** Silence after which a connection counts as dead, milliseconds. Default 10000. */
  quietMs?: number;
  /** How long the gateway may take to answer the handshake, milliseconds. Default 10000. */
  handshakeMs?: number;
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

export interface AudioTarget extends EventTarget {
  addEventListener<Type extends keyof AudioEvents>(
    type: Type,
    listener: ((event: AudioEvents[Type]) => void) | { handleEvent(event: AudioEvents[Type]): void } | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Type extends keyof AudioEvents>(
    type: Type,
    listener: ((event: AudioEvents[Type]) => void) | { handleEvent(event: AudioEvents[Type]): void } | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

export declare const AudioTarget: { new (): AudioTarget };

export class AudioSender extends AudioTarget {
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

