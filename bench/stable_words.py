"""How often do shown words change later, and what does it cost to show only those that hold still?

    python bench/stable_words.py                     # the offline recogniser, on sentences spoken by flite
    python bench/stable_words.py --scripted          # a recogniser that never takes a word back
    python bench/stable_words.py --file partials.json  # recorded: [[utterance, seconds, text, is_final], …] in order
    python bench/stable_words.py --curve             # also for other lengths of the hold
    python bench/stable_words.py --every 300         # partials at random times, 300 ms apart, a quarter more or less

Time is the audio's: nothing waits. `all words`: partials shown as they come. `stable`: what `stableChars` leaves, with
the repeats that the gateway sends. Of the words that a partial has shown, one has changed when a later text of the
utterance, aligned word by word, has it no more. A word's delay runs from the partial that said it first, with all
before it, until it is shown, as stable or by the final.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

from gateway.transcription.domain import stable as rule
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
WAY_S = 0.02  # from the recogniser to the gateway, at most: no two partials are a multiple of 100 ms apart
CURVE_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def offline() -> Iterator[Partial]:
    """What the offline recogniser says of spoken sentences, at the audio's time and a little later."""
    from pocketsphinx import Vad

    from stt.local.sphinx_listener import Listener
    from stt.local.sphinx_wire import Open, Text
    from stt.local.sphinx_worker import LoadedDecoders

    decoders, rng = LoadedDecoders(), random.Random(1)
    for voice in VOICES:
        for number, sentence in enumerate(SENTENCES):
            pcm = bytes(16_000) + _spoken(voice, sentence) + bytes(32_000)
            listener = Listener(Open(0, 0.3, 10.0), decoders, Vad(2, 16_000, 0.02))
            for end in range(CHUNK, len(pcm), CHUNK):
                for event in listener.push(pcm[end - CHUNK : end], partials=True):
                    if isinstance(event, Text):
                        text = " ".join(word[0] for word in event.words)
                        at = end / 32_000 + rng.uniform(0, WAY_S)
                        yield f"{voice}{number}:{event.utterance}", at, text, event.is_final
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
    """Counts the words that partials show, and what becomes of them."""

    def __init__(self) -> None:
        self.shown = self.changed = self.changed_by_final = 0
        self.delays: list[float] = []
        """Of words that partials have shown, in seconds."""
        self.all_delays: list[float] = []
        self._words: list[str] = []

    def show(self, words: list[str], *, is_final: bool = False) -> None:
        same = sum(
            block.size for block in SequenceMatcher(None, self._words, words, autojunk=False).get_matching_blocks()
        )
        gone = len(self._words) - same
        if is_final:
            self.changed_by_final += gone
        else:
            self.shown += len(words) - same
            self.changed += gone
        self._words = [] if is_final else words

    def delayed(self, delays: list[float], *, is_final: bool) -> None:
        self.all_delays += delays
        if not is_final:
            self.delays += delays

    def __str__(self) -> str:
        until, with_final = (
            1 - gone / max(self.shown, 1) for gone in (self.changed, self.changed + self.changed_by_final)
        )
        return (
            f"{self.shown:5} words shown, {until:6.1%} stayed until the final, {with_final:6.1%} in it, too; "
            f"delay {_ms(self.delays)}; with those that the final shows {_ms(self.all_delays)}"
        )


def _ms(delays: list[float]) -> str:
    if not delays:
        return "none"
    mean, median, most = statistics.mean(delays), statistics.median(delays), max(delays)
    return f"mean {mean * 1000:.0f}, median {median * 1000:.0f}, at most {most * 1000:.0f} ms"


def measure(partials: list[Partial]) -> tuple[Screen, Screen]:
    """Returns: all words, stable ones."""
    everything, stable = Screen(), Screen()
    for utterance in dict.fromkeys(one[0] for one in partials):
        texts = [(at, text, is_final) for name, at, text, is_final in partials if name == utterance]
        _replay(texts, everything, stable)
    return everything, stable


def _replay(texts: list[tuple[float, str, bool]], everything: Screen, stable: Screen) -> None:
    prefixes = StablePrefixes()
    since: list[float] = []  # when each word has come, with all before it
    before: list[str] = []
    on_screen = 0
    for (at, text, is_final), until in zip(texts, [one[0] for one in texts[1:]] + [texts[-1][0]], strict=True):
        words = text.split()
        differs = [index for index, (a, b) in enumerate(zip(before, words, strict=False)) if a != b]
        same = differs[0] if differs else min(len(before), len(words))
        since, before, on_screen = since[:same] + [at] * (len(words) - same), words, min(on_screen, same)
        everything.show(words, is_final=is_final)
        index = len(text) if is_final else prefixes.hear("u", text, at)
        while True:
            shown = text[:index].split()
            stable.delayed([at - begun for begun in since[on_screen : len(shown)]], is_final=is_final)
            on_screen = max(on_screen, len(shown))
            stable.show(shown, is_final=is_final)
            at += TICK_S
            if at >= until or is_final:
                break
            index = prefixes.stable("u", at + 1e-9)
    for screen in (everything, stable):
        screen.show([])  # of one whose final never came nothing stays


def spread(partials: list[Partial], every_s: float) -> Iterator[Partial]:
    """As a recogniser would tell them that speaks at random times: each time the newest text, also an unchanged one."""
    rng = random.Random(1)
    for utterance in dict.fromkeys(one[0] for one in partials):
        texts = [one for one in partials if one[0] == utterance]
        at = texts[0][1] + rng.uniform(0, every_s)
        while at < texts[-1][1]:
            yield utterance, at, [text for _, when, text, _ in texts if when <= at][-1], False
            at += every_s * rng.uniform(0.75, 1.25)
        if texts[-1][3]:
            yield texts[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scripted", action="store_true")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--record", type=Path, help="keep the partials")
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--every", type=int, metavar="MS")
    chosen = parser.parse_args()
    if chosen.file is not None:
        partials = [tuple(one) for one in json.loads(chosen.file.read_text())]
    else:
        partials = list(scripted() if chosen.scripted else offline())
    if chosen.record is not None:
        chosen.record.write_text(json.dumps(partials))
    if chosen.every is not None:
        partials = list(spread(partials, chosen.every / 1000))
    everything, stable = measure(partials)
    print(f"all words  {everything}\nstable     {stable}")
    for hold in CURVE_S if chosen.curve else ():
        rule.HOLD_S = (hold,)  # type: ignore[misc]
        print(f"{hold * 1000:4.0f} ms    {measure(partials)[1]}")


if __name__ == "__main__":
    main()
