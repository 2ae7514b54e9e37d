// Webhooks by the Standard Webhooks specification (standardwebhooks.com), with Web Crypto: Node, browsers' workers, edges.

const TOLERANCE_S = 300;
const PREFIX = 'whsec_';
const encoder = new TextEncoder();

/** `kind`: `headers`, `timestamp` (too old, or from the future), `signature`, `payload` (no JSON object). Answer it with 400. */
export class WebhookError extends Error {
  constructor(kind, text, options) {
    super(text, options);
    this.name = 'WebhookError';
    this.kind = kind;
  }
}

/**
 * Whether the gateway has sent this. `payload`: the body exactly as it came, text or bytes; `headers`: of the request;
 * `secrets`: `whsec_…`, or several while one is exchanged for another. Returns the event; throws a WebhookError, or a
 * TypeError when no secret is one.
 */
export async function verifyWebhook(payload, headers, secrets, { toleranceS = TOLERANCE_S, now = Date.now } = {}) {
  const keys = [secrets].flat().map(keyOf);
  if (keys.length === 0) throw new TypeError('secrets: at least one whsec_… is needed');
  if (typeof payload !== 'string' && !(payload instanceof Uint8Array) && !(payload instanceof ArrayBuffer)) {
    throw new TypeError('payload: the body as it came is needed (await request.text()), not what was parsed from it');
  }
  const body = typeof payload === 'string' ? encoder.encode(payload) : new Uint8Array(payload);
  const id = headerOf(headers, 'webhook-id');
  const timestamp = headerOf(headers, 'webhook-timestamp');
  const signatures = headerOf(headers, 'webhook-signature');
  if (!/^\d{1,12}$/.test(timestamp)) throw new WebhookError('headers', 'webhook-timestamp is no number of seconds');
  if (!(Math.abs(now() / 1000 - Number(timestamp)) <= toleranceS)) {
    throw new WebhookError('timestamp', `webhook-timestamp is more than ${toleranceS} s away from this machine's clock`);
  }
  const signed = joined(encoder.encode(`${id}.${timestamp}.`), body);
  if (!(await isSigned(signed, signatures, keys))) throw new WebhookError('signature', 'no signature fits any of the secrets');
  let event;
  try {
    event = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (cause) {
    throw new WebhookError('payload', `the body is no JSON: ${cause.message}`, { cause });
  }
  if (typeof event?.type !== 'string') throw new WebhookError('payload', 'the body has no type');
  return event;
}

/** Every signature is compared with every secret, by Web Crypto, in constant time. */
async function isSigned(signed, signatures, keys) {
  const given = signatures.split(' ').filter((one) => one.startsWith('v1,')).slice(0, 16);
  let isGood = false;
  for (const secret of keys) {
    const key = await crypto.subtle.importKey('raw', secret, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
    for (const one of given) {
      const signature = bytesOf(one.slice(3));
      if (signature && (await crypto.subtle.verify('HMAC', key, signature, signed))) isGood = true;
    }
  }
  return isGood;
}

function keyOf(secret) {
  const text = typeof secret === 'string' ? secret.trim() : '';
  const key = bytesOf(text.startsWith(PREFIX) ? text.slice(PREFIX.length) : text);
  if (!key?.length) throw new TypeError('secrets: each is whsec_ and base64, as the gateway gave it');
  return key;
}

/** Of base64; null for what is none. */
function bytesOf(base64) {
  if (!base64 || !/^[\w+/-]+={0,2}$/.test(base64)) return null;
  try {
    return Uint8Array.from(atob(base64.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));
  } catch {
    return null;
  }
}

function headerOf(headers, name) {
  let value = typeof headers?.get === 'function' ? headers.get(name) : undefined;
  if (typeof headers?.get !== 'function') {
    for (const [key, found] of Object.entries(headers ?? {})) if (key.toLowerCase() === name) value = found;
  }
  if (Array.isArray(value)) [value] = value;
  if (typeof value !== 'string' || !value) throw new WebhookError('headers', `${name} is missing`);
  return value;
}

function joined(one, other) {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}
