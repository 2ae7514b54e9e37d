// Runs on the audio thread: the mean of the channels as 16-bit samples, about 40 ms at a time.

class PcmWorklet extends AudioWorkletProcessor {
  #block = new Int16Array(Math.round(sampleRate / 25));
  #filled = 0;

  process([channels]) {
    const [first] = channels;
    if (!first) return true; // the microphone is not connected yet
    for (let at = 0; at < first.length; at++) {
      let sum = 0;
      for (const channel of channels) sum += channel[at];
      this.#block[this.#filled++] = Math.max(-32768, Math.min(32767, Math.round((sum / channels.length) * 32768)));
      if (this.#filled === this.#block.length) {
        this.port.postMessage(this.#block, [this.#block.buffer]);
        this.#block = new Int16Array(Math.round(sampleRate / 25));
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor('gateway-pcm', PcmWorklet);
