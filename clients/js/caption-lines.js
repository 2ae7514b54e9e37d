// What stands in a caption box: the newest words, broken into lines as subtitles are. Pure.

const COLUMNS = 42;
const LINES = 2;
const segmenter = (granularity) => typeof Intl.Segmenter === 'function' ? new Intl.Segmenter(undefined, { granularity }) : null;
const GRAPHEMES = segmenter('grapheme');
const WORDS = segmenter('word');
/** East Asian letters and emoji take two columns, marks on letters none. */
const WIDE = /^(?:[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation})/u;
const NONE = /^[\p{Mn}\p{Me}\p{Cf}]+$/u;
/** Scripts without spaces between words. */
const UNSPACED = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\u3000-\u303f]/u;
/** What begins no line. */
const CLINGS = /^[\p{Pe}\p{Pf}\p{Po}\p{Mn}\p{Me}]/u;
/** White space at which a line may end. */
const SPACE = /^[^\S\u00a0\u2007\u202f]+$/u;

function graphemesOf(text) {
  if (GRAPHEMES) return Array.from(GRAPHEMES.segment(text), ({ segment, index }) => ({ text: segment, at: index }));
  let at = 0;
  return Array.from(text, (letter) => ({ text: letter, at: (at += letter.length) - letter.length }));
}

const widthOf = (grapheme) => (NONE.test(grapheme) ? 0 : WIDE.test(grapheme) ? 2 : 1);

/** Columns that a text takes. */
export function columnsOf(text) {
  return graphemesOf(text).reduce((sum, grapheme) => sum + widthOf(grapheme.text), 0);
}

/**
 * Lines of at most so many columns: `{text, at}`, `at` being where the line begins in `text`. They end at spaces, in
 * scripts that have none between words, and in a word only when it is longer than a line; never within a grapheme.
 */
export function wrapped(text, columns = COLUMNS) {
  const graphemes = graphemesOf(text);
  const words = new Set(WORDS ? Array.from(WORDS.segment(text), ({ index }) => index) : graphemes.map(({ at }) => at));
  const lines = [];
  let from = 0; // where the line begins, in graphemes
  let ending = -1; // where it may end
  let width = 0;
  const end = (until) => {
    const begin = graphemes[from]?.at ?? text.length;
    const raw = text.slice(begin, graphemes[until]?.at ?? text.length);
    const line = raw.trim();
    if (line) lines.push({ text: line, at: begin + raw.indexOf(line) });
    from = until;
  };
  for (let at = 0; at < graphemes.length; at++) {
    const { text: one, at: index } = graphemes[at];
    if (SPACE.test(one)) {
      if (at === from) from = at + 1; // no line begins with one
      else width += 1;
      ending = at + 1;
      continue;
    }
    const before = graphemes[at - 1]?.text ?? '';
    if (at > from && words.has(index) && !CLINGS.test(one) && (UNSPACED.test(one) || UNSPACED.test(before))) ending = at;
    while (width + widthOf(one) > columns && at > from) {
      end(ending > from ? ending : at);
      width = graphemes.slice(from, at).reduce((sum, grapheme) => sum + widthOf(grapheme.text), 0);
    }
    width += widthOf(one);
  }
  end(graphemes.length);
  return lines;
}

/** Shortened to so many columns. */
function clipped(text, columns) {
  if (columnsOf(text) <= columns) return text;
  return `${wrapped(text, columns - 1)[0]?.text ?? ''}…`;
}

/**
 * The last lines of what is said: `{key, speaker, language, stable, unsure}` each. `utterances`: in the order of their
 * beginning. `speaker` stands on the first line of somebody else's words. `unsure`: what may still change, the end of a line.
 */
export function captionLines(utterances, { lines = LINES, columns = COLUMNS, speakers = true } = {}) {
  const found = [];
  let last = null;
  for (const utterance of utterances) {
    const name = clipped(utterance.participantName ?? utterance.participantIdentity ?? '', Math.floor(columns / 2));
    const lead = speakers && utterance.participantIdentity !== last && name ? `${name}: ` : '';
    // No-break spaces: the name stays on the line of the first word.
    const whole = lead.replaceAll(' ', '\u00a0') + utterance.text;
    const sure = lead.length + (utterance.isFinal ? utterance.text.length : (utterance.stableChars ?? 0));
    for (const [number, line] of wrapped(whole, columns).entries()) {
      const begins = number === 0 ? lead.length : 0;
      const cut = Math.min(Math.max(sure - line.at, begins), line.text.length);
      found.push({
        key: `${utterance.utteranceId}/${number}`,
        speaker: number === 0 && lead ? name : '',
        language: utterance.language,
        stable: line.text.slice(begins, cut),
        unsure: line.text.slice(cut),
      });
    }
    last = utterance.participantIdentity;
  }
  return found.slice(-lines);
}
