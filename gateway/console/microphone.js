// The microphone of a page as a speaker of a session.

import { AudioError, AudioSender } from './audio-sender.js';

export { AudioError };

const RATE = 16_000; // what the gateway works with
const CONSTRAINTS = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };

export class Microphone extends EventTarget {
  #options;
  #sender = null;
  #device = null; // {media, context}
  #state = 'idle'; // idle, asking, then as the sender's
  #muted = false;
  #level = 0;
  #settle;

  /** Resolves to `{code, reason}` when it is over for good; never rejects. */
  closed = new Promise((resolve) => (this.#settle = resolve));

  constructor(options) {
    super();
    this.#options = options;
  }

  /** `idle`, `asking` (the person, for the device), `connecting`, `live`, `waiting` (for the next try), `stopping`, `closed`. */
  get state() {
    return this.#sender?.state ?? this.#state;
  }

  /** Loudness of the last 40 ms, 0 to 1. */
  get level() {
    return this.#level;
  }

  /** While muted nothing is sent. The device stays open, so that unmuting needs no permission. */
  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    this.#muted = muted;
    this.#device?.media.getAudioTracks().forEach((track) => (track.enabled = !muted));
    if (muted) this.#level = 0;
  }

  /** Ask for the microphone and begin to send. Rejects with an AudioError of kind `device` when there is none to be had. */
  async start() {
    if (this.#state !== 'idle') throw new AudioError('device', 'a Microphone is started once; make another one');
    this.#state = 'asking';
    let device;
    try {
      device = await this.#open();
    } catch (cause) {
      const error = new AudioError('device', reasonOf(cause), { cause });
      this.#over(1006, error.message);
      throw error;
    }
    if (this.#state !== 'asking') { // stopped while the person was asked
      close(device, this.#options.mediaStream);
      return;
    }
    this.#device = device;
    const { context, media, node } = device;
    context.onstatechange = () => { // a telephone call, for example, stops it
      if (context.state !== 'running' && context.state !== 'closed') context.resume().catch(() => {});
    };
    this.#sender = new AudioSender({ ...this.#options, sampleRate: context.sampleRate, channels: 1 });
    for (const type of ['open', 'close', 'error']) {
      this.#sender.addEventListener(type, ({ detail }) => this.dispatchEvent(new CustomEvent(type, { detail })));
    }
    this.#sender.closed.then(({ code, reason }) => this.#over(code, reason));
    node.port.onmessage = ({ data }) => {
      if (this.#muted) return this.#sender.skip(data.length);
      this.#level = loudness(data);
      this.#sender.send(data);
    };
    media.getAudioTracks()[0].addEventListener('ended', () => {
      this.dispatchEvent(new CustomEvent('error', { detail: new AudioError('device', 'the microphone was taken away') }));
      this.stop();
    });
    this.muted = this.#muted;
  }

  /** Let go of the microphone; what is recorded still goes out. Resolves when the connection is closed. */
  stop() {
    this.#release();
    if (this.#sender) this.#sender.stop();
    else this.#over(1000, 'stopped by this side');
    return this.closed;
  }

  async #open() {
    const { mediaStream, audio, deviceId, workletUrl = new URL('./pcm-worklet.js', import.meta.url) } = this.#options;
    if (!mediaStream && !globalThis.navigator?.mediaDevices) throw new DOMException('', 'SecurityError');
    const asked = audio ?? { ...CONSTRAINTS, ...(deviceId ? { deviceId: { exact: deviceId } } : {}) };
    const media = mediaStream ?? (await navigator.mediaDevices.getUserMedia({ audio: asked }));
    let context;
    try {
      const [made, source] = sourceOf(media);
      context = made;
      await context.audioWorklet.addModule(workletUrl);
      const node = new AudioWorkletNode(context, 'gateway-pcm', { numberOfInputs: 1, numberOfOutputs: 0 });
      source.connect(node);
      await context.resume();
      return { media, context, node };
    } catch (error) {
      close({ media, context }, mediaStream);
      throw error;
    }
  }

  #release() {
    if (this.#device) close(this.#device, this.#options.mediaStream);
    this.#device = null;
    this.#level = 0;
  }

  #over(code, reason) {
    this.#release();
    this.#state = 'closed';
    this.#settle({ code, reason });
  }
}

/** The browser resamples to 16 kHz, a third of the traffic; one that cannot gets its own rate sent. */
function sourceOf(media) {
  for (const sampleRate of [RATE, undefined, 48_000]) {
    const context = new AudioContext({ sampleRate, latencyHint: 'balanced' });
    try {
      if (context.sampleRate > 48_000) throw new DOMException('', 'NotSupportedError');
      return [context, context.createMediaStreamSource(media)];
    } catch (error) {
      context.close();
      if (sampleRate === 48_000) throw error;
    }
  }
}

/** A MediaStream that the caller brought stays the caller's. */
function close({ media, context }, brought) {
  if (!brought) media.getTracks().forEach((track) => track.stop());
  if (context && context.state !== 'closed') context.close();
}

function loudness(pcm) {
  let peak = 0;
  for (const sample of pcm) peak = Math.max(peak, Math.abs(sample));
  return peak / 32768;
}

function reasonOf(cause) {
  switch (cause?.name) {
    case 'NotAllowedError': return 'the microphone was not allowed; allow it for this page and try again';
    case 'NotFoundError': return 'there is no microphone';
    case 'NotReadableError': return 'the microphone is used by another program';
    case 'SecurityError': return 'browsers give microphones to secure pages only: serve the page by https, or from localhost';
    default: return `the microphone cannot be used: ${cause?.message ?? cause}`;
  }
}
