"""How often do shown words change later, and what does it cost to show only those that hold still?

    python bench/stable_words.py                     # the offline recogniser, on sentences spoken by flite
    python bench/stable_words.py --scripted          # a recogniser that never takes a word back
    python bench/stable_words.py --file partials.json  # recorded: [[utterance, seconds, text, is_final], …] in order

Time is the audio's: nothing waits. `all words`: partials shown as they come. `stable`: what `stableChars` leaves, with
the repeats that the gateway sends. A shown word counts as changed when a later text of the utterance, aligned word by
word, has it no more; `until the final` leaves out what the final itself changes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

from gateway.transcription.domain.stable import StablePrefixes

SENTENCES = (
    "The quick brown fox jumps over the lazy dog and runs into the forest.",
    "We have to finish the report before the end of the week because the customer is waiting for it.",
    "I would like to talk about the new design of the transcription service and what it means for our users.",
    "Please open the second page and read the first paragraph out loud so that everybody can hear it.",
    "The meeting starts at nine o'clock in the morning and it will take about two hours.",
    "Nobody knows how the weather will be tomorrow but we are going to the mountains anyway.",
    "She said that the train was late again and that she had to wait in the cold for half an hour.",
    "Could you send me the numbers from last month and compare them with the year before.",
    "Our company has opened a new office in the north of the country and we are looking for people.",
    "It is important that every word is heard and that nothing is lost when the network is slow.",
)
VOICES = ("slt", "rms")
Partial = tuple[str, float, str, bool]
CHUNK = 3_200
TICK_S = 0.01


def offline() -> Iterator[Partial]:
    """What the offline recogniser says of spoken sentences, at the audio's time."""
    from pocketsphinx import Vad

    from stt.local.sphinx_listener import Listener
    from stt.local.sphinx_wire import Open, Text
    from stt.local.sphinx_worker import LoadedDecoders

    decoders = LoadedDecoders()
    for voice in VOICES:
        for number, sentence in enumerate(SENTENCES):
            pcm = bytes(16_000) + _spoken(voice, sentence) + bytes(32_000)
            listener = Listener(Open(0, 0.3, 10.0), decoders, Vad(2, 16_000, 0.02))
            for end in range(CHUNK, len(pcm), CHUNK):
                for event in listener.push(pcm[end - CHUNK : end], partials=True):
                    if isinstance(event, Text):
                        text = " ".join(word[0] for word in event.words)
                        yield f"{voice}{number}:{event.utterance}", end / 32_000, text, event.is_final
            listener.close()


def scripted() -> Iterator[Partial]:
    """The tests' recogniser, on words of tones: it says each word once, and keeps it."""
    from stt.local.recogniser import Heard, Listening
    from stt.local.scripted import VOCABULARY, ScriptedRecogniser, speak

    for number in range(20):
        said: list[Heard] = []
        recogniser = ScriptedRecogniser(
            Listening(0.3, 10.0), lambda event, said=said: said.append(event) if isinstance(event, Heard) else None
        )
        pcm = speak(VOCABULARY[number : number + 12], tail_s=1)[0]
        for end in range(CHUNK, len(pcm), CHUNK):
            recogniser.feed(pcm[end - CHUNK : end])
            for event in said:
                text = " ".join(word.text for word in event.words)
                yield f"{number}:{event.utterance}", end / 32_000, text, event.is_final
            said.clear()


def _spoken(voice: str, sentence: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder, "spoken.wav")
        subprocess.run(["flite", "-voice", voice, "-t", sentence, str(wave)], check=True)
        decode = ["ffmpeg", "-v", "error", "-i", str(wave), "-ar", "16000", "-ac", "1", "-f", "s16le", "-"]
        return subprocess.run(decode, check=True, capture_output=True).stdout


class Screen:
    """Counts words that come and words that go."""

    def __init__(self) -> None:
        self.shown = self.changed = 0
        self._words: list[str] = []

    def show(self, words: list[str]) -> None:
        same = sum(
            block.size for block in SequenceMatcher(None, self._words, words, autojunk=False).get_matching_blocks()
        )
        self.shown += len(words) - same
        self.changed += len(self._words) - same
        self._words = words

    def clear(self) -> None:
        self._words = []

    def __str__(self) -> str:
        kept = 1 - self.changed / max(self.shown, 1)
        return f"{self.shown:5} words shown, {self.changed:4} changed later: {kept:6.1%} stayed"


def measure(partials: list[Partial]) -> None:
    """Print both ways of showing them."""
    for with_final in (True, False):
        everything, stable = Screen(), Screen()
        delays: list[float] = []
        for utterance in dict.fromkeys(one[0] for one in partials):
            texts = [(at, text, is_final) for name, at, text, is_final in partials if name == utterance]
            _replay(texts, everything, stable, delays, with_final=with_final)
        print("with the final" if with_final else "until the final")
        print(f"  all words  {everything}")
        print(
            f"  stable     {stable}; {sum(delays) / len(delays) * 1000:.0f} ms later, at most {max(delays) * 1000:.0f}"
        )


def _replay(
    texts: list[tuple[float, str, bool]], everything: Screen, stable: Screen, delays: list[float], *, with_final: bool
) -> None:
    prefixes = StablePrefixes()
    since: list[float] = []  # when each word has come, with all before it
    before: list[str] = []
    on_screen = 0
    for (at, text, is_final), until in zip(texts, [one[0] for one in texts[1:]] + [texts[-1][0]], strict=True):
        if is_final and not with_final:
            break
        words = text.split()
        differs = [index for index, (a, b) in enumerate(zip(before, words, strict=False)) if a != b]
        same = differs[0] if differs else min(len(before), len(words))
        since, before, on_screen = since[:same] + [at] * (len(words) - same), words, min(on_screen, same)
        everything.show(words)
        index = len(text) if is_final else prefixes.hear("u", text, at)
        while True:
            shown = text[:index].split()
            delays += [at - begun for begun in since[on_screen : len(shown)]]
            on_screen = max(on_screen, len(shown))
            stable.show(shown)
            at += TICK_S
            if at >= until or is_final:
                break
            index = prefixes.stable("u", at + 1e-9)
    everything.clear()
    stable.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scripted", action="store_true")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--record", type=Path, help="keep the partials")
    chosen = parser.parse_args()
    if chosen.file is not None:
        partials = [tuple(one) for one in json.loads(chosen.file.read_text())]
    else:
        partials = list(scripted() if chosen.scripted else offline())
    if chosen.record is not None:
        chosen.record.write_text(json.dumps(partials))
    measure(partials)


if __name__ == "__main__":
    main()
