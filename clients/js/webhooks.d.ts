/** Webhooks by the Standard Webhooks specification. See README.md. */

export type WebhookType =
  | 'session.started'
  | 'session.ended'
  | 'participant.joined'
  | 'participant.left'
  | 'transcription.started'
  | 'transcription.degraded'
  | 'transcription.recovered'
  | 'transcription.stopped'
  | 'transcript.final'
  | 'transcript.ready'
  | 'usage.closed'
  | 'usage.reconciled'
  | 'analysis.done'
  | 'analysis.failed'
  | 'limit.reached'
  | 'webhook.test'
  | (string & {});

export interface WebhookEvent<Data = Record<string, unknown>> {
  type: WebhookType;
  /** When it happened: ISO 8601, UTC. */
  timestamp: string;
  data: Data & { sessionSlug?: string; sessionId?: string; spaceId?: string };
}

export class WebhookError extends Error {
  readonly name: 'WebhookError';
  /** `timestamp`: too old, or from the future. Answer all of them with 400. */
  readonly kind: 'headers' | 'timestamp' | 'signature' | 'payload';
}

export interface VerifyOptions {
  /** How far the sender's clock may be away, seconds. Default 300. */
  toleranceS?: number;
  /** Milliseconds since 1970. */
  now?: () => number;
}

/**
 * Whether the gateway has sent this. `payload`: the body exactly as it came. `secrets`: one, or several while one is
 * exchanged for another. Throws a WebhookError, or a TypeError when a secret is none.
 */
export function verifyWebhook<Data = Record<string, unknown>>(
  payload: string | Uint8Array | ArrayBuffer,
  headers: { get(name: string): string | null } | Record<string, string | string[] | undefined>,
  secrets: string | readonly string[],
  options?: VerifyOptions,
): Promise<WebhookEvent<Data>>;
