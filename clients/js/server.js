// The gateway's HTTP API from a server, typed by its OpenAPI document (api.d.ts). Needs fetch: Node, Deno, Bun, edges.

const TIMEOUT_MS = 60_000; // a stop waits for the last words: GATEWAY_DRAIN_S and a little

/** The gateway has refused: `status`, and `problem` as RFC 9457 has it. The message says what to do. */
export class GatewayError extends Error {
  constructor(status, problem) {
    super(`${problem.title} (HTTP ${status}): ${problem.detail}${problem.hint ? `; ${problem.hint}` : ''}`);
    this.name = 'GatewayError';
    this.status = status;
    this.problem = problem;
  }
}

export class Gateway {
  #url;
  #options;

  /** `url`: where the gateway is; `token`: a service token, or what `Authorization: Bearer` takes; or a function. */
  constructor({ url, token, ...options }) {
    this.#url = String(url ?? '').replace(/\/+$/, '');
    if (!/^https?:\/\/[^/]/.test(this.#url)) throw new TypeError(`url: the gateway's address is needed, http(s)://HOST, not ${url}`);
    this.#options = { token, timeoutMs: TIMEOUT_MS, ...options };
  }

  /**
   * One operation, named by its method and path: `call('GET /api/transcription/{slug}', { path: { slug } })`. Resolves to
   * what it answers: JSON as a value, other formats as text, nothing as undefined. Rejects with a GatewayError, or with
   * what fetch does. Nothing is repeated.
   */
  async call(operation, { path = {}, query = {}, header = {}, body, signal } = {}) {
    const [, method, template] = /^([A-Z]+) (\/\S*)$/.exec(operation) ?? [];
    if (!method) throw new TypeError(`operation: METHOD /path is needed, not ${operation}`);
    const { token, timeoutMs, fetch = globalThis.fetch } = this.#options;
    const filled = template.replace(/\{(\w+)\}/g, (_, name) => {
      if (path[name] === undefined || path[name] === '') throw new TypeError(`path: ${name} is needed`);
      return encodeURIComponent(path[name]).replaceAll('.', '%2E'); // . and .. are folders
    });
    const asked = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== null) asked.set(name, String(value));
    const shown = typeof token === 'function' ? await token() : token;
    const limit = AbortSignal.timeout(timeoutMs);
    const answer = await fetch(`${this.#url}${filled}${asked.size ? `?${asked}` : ''}`, {
      method,
      headers: {
        ...(shown ? { Authorization: `Bearer ${shown}` } : {}),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...header,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store',
      redirect: 'error', // a token is for the address it was given for
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    const text = await answer.text();
    if (!answer.ok) throw new GatewayError(answer.status, problemOf(text, answer.status));
    if (!text) return undefined;
    return /^application\/([\w.-]+\+)?json\b/.test(answer.headers.get('Content-Type') ?? '') ? JSON.parse(text) : text;
  }
}

function problemOf(text, status) {
  try {
    const problem = JSON.parse(text);
    if (typeof problem?.title === 'string') return problem;
  } catch {
    // a proxy's page
  }
  return { type: 'about:blank', title: 'no answer of a gateway', status, detail: text.slice(0, 300) };
}
