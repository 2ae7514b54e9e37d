// The live stream of one session: connects, comes back when the close code says so, resumes after the last final.

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
const CROWDED_DELAY_MS = 5_000;
const STEADY_MS = 10_000; // a connection that lasted so long was a good one: delays begin anew
const TOO_MANY = 4029;

/** 4500–4999 mean: do not come back. Everything else, a cut line (1006) included, is worth another try. */
export const comesBack = (code) => code < 4500 || code > 4999;

/** Doubles with every try, half of it by chance so that ten thousand pages do not come back at once. */
export function delayMs(tries, code, chance = Math.random()) {
  const most = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(tries, 10));
  return (code === TOO_MANY ? CROWDED_DELAY_MS : 0) + most * (0.5 + chance / 2);
}

export class Stream {
  #slug; #token; #hear; #tell;
  #socket = null; #timer = 0; #tries = 0; #openedAt = 0; #over = false;
  #epoch = ''; #seq = 0;

  /**
   * `hear(message)`: what the gateway said, every final once and in order, lost ones as a gap.
   * `tell({phase, code, reason, delay})`: phase connecting, live, waiting (for `delay` ms) or over.
   */
  constructor(slug, token, hear, tell) {
    this.#slug = slug;
    this.#token = token;
    this.#hear = hear;
    this.#tell = tell;
    addEventListener('online', this.#retryNow);
    this.#connect();
  }

  close() {
    this.#over = true;
    clearTimeout(this.#timer);
    removeEventListener('online', this.#retryNow);
    this.#socket?.close();
  }

  #connect = () => {
    this.#timer = 0;
    this.#tell({ phase: 'connecting' });
    const url = new URL('api/realtime/transcribe', document.baseURI);
    url.protocol = url.protocol.replace('http', 'ws');
    url.searchParams.set('session', this.#slug);
    if (this.#seq) url.searchParams.set('since', `${this.#epoch}:${this.#seq}`);
    const protocols = ['transcript.v1'];
    // A subprotocol is an HTTP token and holds no "/" or "="; such a credential has to go into the URL.
    if (/^[\w!#$%&'*+.^`|~-]+$/.test(this.#token)) protocols.push(`bearer.${this.#token}`);
    else url.searchParams.set('token', this.#token);
    const socket = new WebSocket(url, protocols);
    this.#socket = socket;
    socket.onmessage = ({ data }) => socket === this.#socket && !this.#over && this.#read(JSON.parse(data));
    socket.onclose = ({ code, reason }) => socket === this.#socket && !this.#over && this.#closed(code, reason);
  };

  #closed(code, reason) {
    if (performance.now() - this.#openedAt > STEADY_MS && this.#openedAt) this.#tries = 0;
    this.#openedAt = 0;
    if (!comesBack(code)) {
      this.#over = true;
      this.#tell({ phase: 'over', code, reason });
      return;
    }
    const delay = delayMs(this.#tries++, code);
    this.#timer = setTimeout(this.#connect, delay);
    this.#tell({ phase: 'waiting', code, reason, delay });
  }

  #retryNow = () => {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#connect();
  };

  #read(message) {
    if (message.type === 'hello') {
      this.#openedAt = performance.now();
      this.#epoch = message.epoch;
      if (!message.data.resumed) this.#seq = 0;
      this.#tell({ phase: 'live' });
    } else if (message.type === 'transcript.final') {
      if (message.epoch !== this.#epoch) { // the numbering has begun since the hello
        this.#epoch = message.epoch;
        this.#seq = 0;
      }
      if (message.seq <= this.#seq) return;
      if (message.seq > this.#seq + 1) this.#hear({ type: 'gap', data: { fromSeq: this.#seq + 1, toSeq: message.seq - 1 } });
      this.#seq = message.seq;
    } else if (message.type === 'gap') {
      this.#seq = Math.max(this.#seq, message.data.toSeq);
    }
    this.#hear(message);
  }
}
