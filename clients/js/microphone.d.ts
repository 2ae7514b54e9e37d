/** The microphone of a page as a speaker of a session. See README.md. */

import type { AudioEvents, ConnectionOptions } from './audio-sender.js';
import type { Closed, TargetOf } from './line.js';

export { AudioError } from './audio-sender.js';

export interface MicrophoneOptions extends ConnectionOptions {
  /** Which microphone, as `enumerateDevices` names it. */
  deviceId?: string;
  /** What is asked of the microphone instead of one channel without echo and noise. */
  audio?: MediaTrackConstraints;
  /** Audio that is there already, of LiveKit for example; it is not stopped with the Microphone. */
  mediaStream?: MediaStream;
  /** Where `pcm-worklet.js` is, if not beside this file. */
  workletUrl?: string | URL;
}

export interface Microphone extends TargetOf<AudioEvents> {}

export class Microphone {
  constructor(options: MicrophoneOptions);
  readonly state: 'idle' | 'asking' | 'connecting' | 'live' | 'waiting' | 'stopping' | 'closed';
  /** Loudness of the last 40 ms, 0 to 1. */
  readonly level: number;
  /** While muted nothing is sent. */
  muted: boolean;
  /** Resolves when it is over for good; never rejects. */
  readonly closed: Promise<Closed>;
  /** Ask for the microphone and begin to send. Rejects with an AudioError of kind `device`. */
  start(): Promise<void>;
  /** Let go of the microphone; what is recorded still goes out. */
  stop(): Promise<Closed>;
}
