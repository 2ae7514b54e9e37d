// A WebSocket that a test is the other end of.

export function fakeSockets() {
  const opened = [];
  class FakeWebSocket {
    closedWith = null;

    constructor(url, protocols) {
      this.url = new URL(url);
      this.protocols = protocols;
      opened.push(this);
      waiting.shift()?.(this);
    }

    /** Texts as JSON, audio as arrays of samples. */
    sent = [];
    bufferedAmount = 0;

    send(data) {
      this.sent.push(typeof data === 'string' ? JSON.parse(data) : [...data]);
    }

    close(code) {
      this.closedWith = code;
    }

    open() {
      this.onopen?.({});
    }

    say(message) {
      this.onmessage?.({ data: typeof message === 'string' ? message : JSON.stringify(message) });
    }

    end(code, reason = '') {
      this.onclose?.({ code, reason });
    }
  }
  const waiting = [];
  let taken = 0;
  /** The next connection, when it is made. */
  const next = () => {
    const number = taken++;
    return opened[number] ? Promise.resolve(opened[number]) : new Promise((resolve) => waiting.push(resolve));
  };
  return { FakeWebSocket, opened, next };
}

const envelope = (type, data, more = {}) => ({
  v: 1, type, sessionSlug: 'abc12345', epoch: 'k3f9', ts: '2026-01-05T10:00:03.120Z', data, ...more,
});

export const hello = (seq = 0, resumed = false, epoch = 'k3f9', state = 'running') =>
  envelope('hello', { state, epoch, seq, resumed }, { epoch, seq });

export const final = (seq, epoch = 'k3f9') =>
  envelope('transcript.final', { utteranceId: `u${seq}`, text: `text ${seq}`, isFinal: true }, { epoch, seq });

export const partial = (utterance, text) =>
  envelope('transcript.partial', { utteranceId: `u${utterance}`, text, isFinal: false });

export const message = envelope;
