"""The metrics of all workers as one exposition: added up under their own names, and one by one beside. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from gateway.metrics import Family, Sample

_Labels = tuple[tuple[str, str], ...]
_OVER: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {"sum": sum, "max": max, "min": min}


class Figures:
    """What each worker has said last. No sum of a counter falls when a worker dies: what that had counted stays in."""

    def __init__(self) -> None:
        self._said: dict[int, Sequence[Family]] = {}
        self._former: defaultdict[str, dict[_Labels, float]] = defaultdict(dict)  # counters of workers that have ended

    def say(self, worker: int, families: Sequence[Family]) -> None:
        """The worker's own reading, which replaces its former one."""
        self._said[worker] = families

    def end(self, worker: int) -> None:
        """It is no more; another process may take its number."""
        for family in self._said.pop(worker, ()):
            if family.is_counter:
                before = self._former[family.name]
                for labels, value in family.samples:
                    before[_key(labels)] = before.get(_key(labels), 0.0) + value

    def families(self) -> list[Family]:
        """All together under their names; then each worker's as `gateway_worker_…` with the label `worker`."""
        heads = {family.name: family for said in self._said.values() for family in said}
        by_name = {
            name: {
                worker: family.samples
                for worker, said in sorted(self._said.items())
                for family in said
                if family.name == name
            }
            for name in heads
        }
        together = [_with(head, self._together(head, by_name[name])) for name, head in heads.items()]
        apart = [_with(head, _apart(by_name[name]), "gateway_worker_") for name, head in heads.items()]
        return together + apart

    def _together(self, head: Family, said: Mapping[int, Sequence[Sample]]) -> list[Sample]:
        values: defaultdict[_Labels, list[float]] = defaultdict(list)
        for key, value in self._former[head.name].items():
            values[key].append(value)
        for samples in said.values():
            for labels, value in samples:
                values[_key(labels)].append(value)
        return [(dict(key), float(_OVER[head.over](found))) for key, found in values.items()]


def _apart(said: Mapping[int, Sequence[Sample]]) -> list[Sample]:
    return [({"worker": str(worker), **labels}, value) for worker, samples in said.items() for labels, value in samples]


def _with(head: Family, samples: Sequence[Sample], prefix: str = "") -> Family:
    name = prefix + head.name.removeprefix("gateway_") if prefix else head.name
    return msgspec.structs.replace(head, name=name, samples=samples)


def _key(labels: Mapping[str, str]) -> _Labels:
    return tuple(labels.items())
