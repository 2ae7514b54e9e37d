/** The gateway's HTTP API from a server. See README.md. */

import type { Operations } from './api.js';

export type { Operations, Schemas } from './api.js';

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  hint?: string | null;
}

/** The gateway has refused; the message says what to do. */
export class GatewayError extends Error {
  readonly name: 'GatewayError';
  readonly status: number;
  readonly problem: Problem;
  constructor(status: number, problem: Problem);
}

export interface GatewayOptions {
  /** http(s), with a path if the gateway is served under one. */
  url: string | URL;
  /** A service token, or what else the operation takes; or a function, asked at each call. */
  token?: string | (() => string | Promise<string>);
  /** Default 60 s: a stop waits for the last words. */
  timeoutMs?: number;
  fetch?: typeof fetch;
}

type Parts<Name extends keyof Operations> = Omit<Operations[Name], 'answer'> & { signal?: AbortSignal };
/** Nothing to give: then the second argument may be left out. */
type Given<Of> = {} extends Of ? [parts?: Of] : [parts: Of];

export class Gateway {
  constructor(options: GatewayOptions);
  /** One operation by its method and path. Rejects with a GatewayError, or with what fetch does. Nothing is repeated. */
  call<Name extends keyof Operations>(operation: Name, ...parts: Given<Parts<Name>>): Promise<Operations[Name]['answer']>;
}
