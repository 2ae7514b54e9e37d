// Who speaks, as a colour and initials that come of the identity and the name alone: the same on every page, whoever came first.

/** Degrees of the colour wheel, 0 to 359, of an identity: FNV-1a, spread. */
export function hueOf(identity) {
  let hash = 2166136261;
  for (const letter of identity) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 2246822507);
  return ((hash ^ (hash >>> 13)) >>> 0) % 360;
}

const graphemes = globalThis.Intl?.Segmenter && new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** The first letter as a reader sees it: of several code points where it has marks, or is an emoji. */
function firstOf(word) {
  if (!graphemes) return [...word][0] ?? '';
  for (const { segment } of graphemes.segment(word)) return segment;
  return '';
}

/** One or two letters: of the first and the last word of a name. */
export function initialsOf(name) {
  const words = name.split(/[\s._@-]+/u).filter((word) => /[\p{L}\p{N}\p{Emoji}]/u.test(word));
  if (!words.length) return '?';
  const [first, last] = [words[0], words.at(-1)].map(firstOf);
  return (words.length > 1 ? first + last : first).toLocaleUpperCase();
}

/** What somebody is called. */
export const nameOf = ({ participantName, participantIdentity }) => participantName || participantIdentity;
