/** What the stream and the sender share. The class that holds their connection is not for others, so it is not declared. */

export interface Closed {
  code: number;
  reason: string;
}

/** One connection is over; `willReconnect` false: for good. */
export type Disconnected =
  | (Closed & { willReconnect: true; delayMs: number })
  | (Closed & { willReconnect: false });

/** What a stream uses of a WebSocket; the browser's, Node's and that of the `ws` package have it. */
export interface WebSocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  close(code?: number, reason?: string): void;
}

export interface LineOptions<Socket extends WebSocketLike = WebSocketLike> {
  /** Where the gateway is: http(s) or ws(s), with a path if it is served under one. A page may give a relative one. */
  url: string | URL;
  /** The session's slug. */
  session: string;
  /** A LiveKit token of the room, a user token or a service token; or a function, asked at each connect. */
  token: string | (() => string | Promise<string>);
  /** Ends it. */
  signal?: AbortSignal;
  /** Where there is no global one. */
  WebSocket?: new (url: string, protocols: string[]) => Socket;
  /** Tries in a row without a connection before it gives up. By default it never does. */
  maxAttempts?: number;
  /** First and longest delay between tries, milliseconds; doubling, half by chance. Default 500 and 15000. */
  firstMs?: number;
  longestMs?: number;
  /** Silence after which a connection counts as dead, milliseconds. Default 40000 for a stream, 5000 for a sender. */
  quietMs?: number;
  /** How long the gateway may take to answer the handshake, milliseconds. Default 10000. */
  handshakeMs?: number;
}

/** An EventTarget whose events are known. */
export interface TargetOf<Events extends Record<keyof Events, Event>> extends EventTarget {
  addEventListener<Type extends keyof Events & string>(
    type: Type,
    listener: ((event: Events[Type]) => void) | { handleEvent(event: Events[Type]): void } | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Type extends keyof Events & string>(
    type: Type,
    listener: ((event: Events[Type]) => void) | { handleEvent(event: Events[Type]): void } | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** Whether a close code asks to come back: all but 4500–4999. */
export function comesBack(code: number): boolean;

/** Milliseconds that the reason of a close asks for (`retry=MS`). */
export function askedDelay(reason: string | undefined): number;

/** Milliseconds before try number `tries`, counted from 0; `chance` from 0 to 1. */
export function delayBefore(
  tries: number,
  code: number,
  options?: { firstMs?: number; longestMs?: number },
  chance?: number,
): number;
