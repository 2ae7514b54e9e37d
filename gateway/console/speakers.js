// Who speaks, as a colour and initials that come of the identity and the name alone: the same on every page, whoever came first.

const HUES = 12;

/** Of an identity: `hue`, degrees of the colour wheel, and `isPale`, of two tones. FNV-1a, and the end of MurmurHash3 to spread it. */
export function colourOf(identity) {
  let hash = 2166136261;
  for (const letter of identity) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 16), 2246822507);
  hash = Math.imul(hash ^ (hash >>> 13), 3266489909);
  hash = (hash ^ (hash >>> 16)) >>> 0;
  const isPale = hash % 2 === 1;
  return { hue: ((Math.floor(hash / 2) % HUES) + (isPale ? 0.5 : 0)) * (360 / HUES), isPale };
}

/** Let an element have somebody's colour, as `--voice` of theme.css. Returns the element. */
export function colour(element, identity) {
  const { hue, isPale } = colourOf(identity);
  element.classList.add('voiced');
  element.classList.toggle('pale', isPale);
  element.style.setProperty('--hue', hue);
  return element;
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
