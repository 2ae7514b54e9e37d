// What one person says without a longer pause is one paragraph. Nothing here touches the page.

const PAUSE_MS = 8_000;
const LENGTH = 700; // letters

/**
 * Lines in order, as finals or partials have them → `[{key, identity, startMs, lines}]`. `key`: the first line's utterance,
 * so a paragraph that grows keeps it.
 */
export function paragraphsOf(lines) {
  const found = [];
  let last = null;
  let length = 0;
  for (const line of lines) {
    const before = last?.lines.at(-1);
    const goesOn = before?.participantIdentity === line.participantIdentity
      && line.startMs - before.endMs < PAUSE_MS && length < LENGTH;
    if (!goesOn) {
      last = { key: line.utteranceId, identity: line.participantIdentity, startMs: line.startMs, lines: [] };
      found.push(last);
      length = 0;
    }
    last.lines.push(line);
    length += line.text.length;
  }
  return found;
}

/** Between two lines of a paragraph; scripts that write no spaces get none. */
export function gapBehind(text) {
  return /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}。！？、]$/u.test(text) ? '' : ' ';
}

/** `rtl` where the first letter belongs to a script that is written from right to left. */
export function directionOf(text) {
  const first = /\p{L}/u.exec(text)?.[0] ?? '';
  return /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u.test(first) ? 'rtl' : 'ltr';
}

/**
 * The text of a line in pieces: `[{text, fresh, unsure}]`. `fresh`: was not there in what stood before, `unsure`: the
 * recogniser may still change it.
 */
export function piecesOf(text, stable, before) {
  let same = 0;
  while (same < text.length && text[same] === before[same]) same++;
  if (same < text.length) same = text.lastIndexOf(' ', same) + 1; // whole words come, not halves
  const cuts = [...new Set([0, Math.min(stable, text.length), same, text.length])].sort((one, other) => one - other);
  return cuts.slice(1).map((end, place) => {
    const begin = cuts[place];
    return { text: text.slice(begin, end), fresh: begin >= same, unsure: begin >= stable };
  });
}
