import assert from 'node:assert/strict';
import { test } from 'node:test';

import { captionLines, columnsOf, wrapped } from '../caption-lines.js';

const said = (utteranceId, text, more = {}) => ({
  utteranceId, text, isFinal: true, participantIdentity: 'anna', participantName: 'Anna', language: 'en', startMs: 0, ...more,
});

/** Texts of letters that are hard to break, by a generator that a seed repeats. */
function* texts(count) {
  const letters = ['a', 'b', 'c', ' ', ' ', '.', ',', 'é', 'e\u0301', '字', '語', '。', 'か', '👩‍💻', '🇩🇪', 'ไ', 'ท', 'ย', '\u00a0', '-', '\n', 'א'];
  let seed = 7;
  const next = (most) => (seed = (seed * 48_271) % 2_147_483_647) % most;
  for (let i = 0; i < count; i++) yield Array.from({ length: next(80) }, () => letters[next(letters.length)]).join('');
}

test('no line is too long, no word is lost, no grapheme is divided', () => {
  const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
  for (const text of texts(300)) {
    for (const columns of [2, 5, 17, 42]) {
      const lines = wrapped(text, columns);
      const all = new Set(Array.from(graphemes.segment(text), ({ index }) => index));
      assert.equal(lines.map(({ text: line }) => line).join('').replace(/\s/g, ''), text.replace(/\s/g, ''), JSON.stringify(text));
      for (const { text: line, at } of lines) {
        assert.ok(columnsOf(line) <= columns, `${JSON.stringify(text)} at ${columns}: ${JSON.stringify(line)}`);
        assert.equal(text.slice(at, at + line.length), line);
        assert.ok(all.has(at), JSON.stringify([text, line]));
      }
    }
  }
});

test('words stay whole, and what has no spaces is broken between words, not before a full stop', () => {
  const lines = (text, columns) => wrapped(text, columns).map((line) => line.text);
  assert.deepEqual(lines('the quick brown fox', 10), ['the quick', 'brown fox']);
  assert.deepEqual(lines('  the   quick  ', 5), ['the', 'quick']);
  assert.deepEqual(lines('100\u00a0000 euros', 7), ['100\u00a0000', 'euros']);
  assert.deepEqual(lines('abcdefgh', 3), ['abc', 'def', 'gh']);
  assert.ok(lines('私は学生です。', 8).every((line) => !line.startsWith('。')));
  assert.deepEqual(lines('', 5), []);
});

test('the box holds the newest two lines, and names who speaks when that changes', () => {
  const box = captionLines([
    said('u1', 'One line that is long enough to be broken into two lines.'),
    said('u2', 'And more.'),
    said('u3', 'No.', { participantIdentity: 'ben', participantName: null }),
  ]);
  assert.deepEqual(box.map(({ speaker, stable }) => [speaker, stable]), [['', 'And more.'], ['ben', 'No.']]);
  assert.deepEqual(captionLines([said('u1', 'Hi.')], { speakers: false })[0].speaker, '');
  assert.deepEqual(captionLines([]), []);
});

test('what may still change is told apart from what stays', () => {
  const partial = (stableChars) => captionLines([said('u1', 'good morning all', { isFinal: false, stableChars })])[0];
  assert.deepEqual([partial(undefined).stable, partial(undefined).unsure], ['', 'good morning all']);
  assert.deepEqual([partial(4).stable, partial(4).unsure], ['good', ' morning all']);
  assert.deepEqual([partial(99).stable, partial(99).unsure], ['good morning all', '']);
  const long = captionLines([said('u1', 'good morning all of you', { isFinal: false, stableChars: 8 })], { columns: 12, speakers: false });
  assert.deepEqual(long.map(({ stable, unsure }) => [stable, unsure]), [['good mor', 'ning'], ['', 'all of you']]);
});

test('a name that is as long as a line leaves room for words', () => {
  const [first] = captionLines([said('u1', 'Yes.', { participantName: 'x'.repeat(60) })], { lines: 9 });
  assert.ok(columnsOf(first.speaker) <= 21, first.speaker);
});
