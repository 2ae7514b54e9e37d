/** Lines of captions, without a page. See README.md. */

import type { Utterance, UtteranceUnderWay } from './transcript-stream.js';

export interface LineRules {
  /** How many lines. Default 2. */
  lines?: number;
  /** Of a line; an East Asian letter or an emoji takes two. Default 42. */
  columns?: number;
  /** Whether lines say who speaks. Default true. */
  speakers?: boolean;
}

export interface CaptionLine {
  key: string;
  /** On the first line of somebody else's words; empty otherwise. */
  speaker: string;
  language: string | null;
  stable: string;
  /** The end of the line that may still change. */
  unsure: string;
}

/** The last lines of what is said; `utterances` in the order of their beginning. */
export function captionLines(utterances: readonly (Utterance | UtteranceUnderWay)[], rules?: LineRules): CaptionLine[];
/** Lines of at most so many columns, and where each begins in the text. */
export function wrapped(text: string, columns?: number): { text: string; at: number }[];
/** Columns that a text takes. */
export function columnsOf(text: string): number;
