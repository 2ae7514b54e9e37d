// This browser as a speaker of the session on screen.

import { byId, make, say } from './dom.js';
import { Microphone } from './microphone.js';

const TOLD = {
  asking: 'Asking for the microphone …',
  connecting: 'Connecting …',
  live: 'Speaking',
  waiting: 'The line is cut; what you say is kept and sent when it is back',
  stopping: 'Sending the rest …',
};

const DEVICE = 'gateway.microphone'; // which one was chosen

/** Of a page that has `_voice.html` in it, and a button `speak`. */
export class Voice {
  #section = byId('voice'); #device = byId('device'); #meter = byId('level'); #told = byId('voice-state'); #mute = byId('mute'); #button = byId('speak');
  #whenChanged;
  #microphone = null;
  #as = null; // how it was started, to do the same with another device

  /** `whenChanged()` is called when it goes on or off. */
  constructor(whenChanged = () => {}) {
    this.#whenChanged = whenChanged;
    this.#mute.addEventListener('click', () => this.toggleMute());
    this.#device.addEventListener('change', () => this.#change());
    navigator.mediaDevices?.addEventListener?.('devicechange', () => this.#listDevices());
  }

  get isOn() {
    return this.#microphone !== null;
  }

  /** What goes wrong is told where the microphone is shown. */
  async start(session, token, identity, name = '', muted = false) {
    if (this.isOn) return;
    const deviceId = sessionStorage.getItem(DEVICE) ?? undefined;
    const microphone = new Microphone({ url: '.', session, token, identity, name, deviceId, maxAttempts: Infinity });
    microphone.muted = muted;
    this.#microphone = microphone;
    this.#as = [session, token, identity, name];
    let trouble = '';
    microphone.addEventListener('error', ({ detail }) => (trouble = detail.message));
    microphone.closed.then(() => {
      if (this.#microphone === microphone) this.#microphone = null;
      this.#show();
      if (trouble && !this.isOn) this.#tell(trouble);
      this.#changed();
    });
    this.#show();
    this.#changed();
    this.#draw(microphone);
    try {
      await microphone.start();
      await this.#listDevices(); // browsers name them once one was allowed
    } catch (error) {
      sessionStorage.removeItem(DEVICE); // perhaps it is that one which is gone
      this.#tell(error.message);
    }
  }

  async #listDevices() {
    if (!this.isOn) return;
    const all = await navigator.mediaDevices.enumerateDevices();
    const microphones = all.filter(({ kind, deviceId }) => kind === 'audioinput' && deviceId);
    this.#device.replaceChildren(...microphones.map(({ deviceId, label }, place) =>
      make('option', { value: deviceId, textContent: label || `Microphone ${place + 1}` })));
    const chosen = sessionStorage.getItem(DEVICE);
    if (chosen) this.#device.value = chosen;
    this.#device.hidden = microphones.length < 2;
  }

  async #change() {
    sessionStorage.setItem(DEVICE, this.#device.value);
    const muted = this.#microphone?.muted ?? false;
    this.stop();
    await this.start(...this.#as, muted);
  }

  stop() {
    this.#microphone?.stop();
    this.#microphone = null; // the rest goes out by itself
    this.#show();
    this.#changed();
  }

  #changed() {
    this.#button.ariaPressed = String(this.isOn);
    this.#button.textContent = this.isOn ? 'Stop speaking' : 'Speak';
    this.#whenChanged();
  }

  toggleMute() {
    if (!this.#microphone) return;
    this.#microphone.muted = !this.#microphone.muted;
    this.#show();
  }

  #draw(microphone) {
    if (microphone !== this.#microphone) return;
    // The ear is not linear, and the eye wants it to fall slowly.
    this.#meter.value = Math.max(Math.sqrt(microphone.level), this.#meter.value * 0.94);
    this.#show();
    requestAnimationFrame(() => this.#draw(microphone));
  }

  #show() {
    const microphone = this.#microphone;
    this.#section.hidden = !microphone;
    if (!microphone) return;
    const { muted, state } = microphone;
    this.#section.dataset.state = muted ? 'muted' : state;
    this.#tell(muted ? 'Muted: nothing is sent' : TOLD[state] ?? '');
    this.#mute.ariaPressed = String(muted);
    const label = muted ? 'Unmute' : 'Mute';
    if (this.#mute.textContent !== label) this.#mute.textContent = label;
  }

  #tell(text) {
    this.#section.hidden = text === '' && !this.#microphone;
    say(this.#told, text);
    this.#mute.hidden = !this.#microphone;
    if (!this.#microphone) this.#device.hidden = true;
    this.#meter.hidden = !this.#microphone;
  }
}
