"""A supervisor and its workers, which are real processes that do nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.waiting import until

from gateway.errors import StartFailed
from gateway.workers.supervisor import Launch, Patience, Supervisor

WORKER = """
import asyncio, os, signal, sys
from pathlib import Path
from gateway.metrics import Metrics, plain
from gateway.workers.worker import joined

async def main(number, folder, line):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: (folder / f"hup-{os.getpid()}").touch())
    async with joined(number, 2, line) as worker:
        metrics = Metrics()
        metrics.counter("things", "Things", plain(lambda: number))
        worker.figures = metrics.families
        worker.ready()
        (folder / f"pid-{number}").write_text(str(os.getpid()))
        ends = [asyncio.create_task(one) for one in (stop.wait(), worker.lost.wait())]
        asked = folder / f"ask-{number}"
        while not any(end.done() for end in ends):
            if asked.exists():
                asked.unlink()
                (folder / "metrics").write_bytes(await worker.metrics())
            await asyncio.sleep(0.02)
        (folder / f"lost-{number}").write_text(str(worker.lost.is_set()))

asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
"""
ROOMY = Patience(silent=20, end=20)


def launch(folder: Path, program: str = WORKER) -> Callable[[int], Launch]:
    return lambda number: Launch((sys.executable, "-c", program, str(number), str(folder), "{line}"), os.environ)


@asynccontextmanager
async def supervised(folder: Path, patience: Patience = ROOMY) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(2, launch(folder), patience)
    running = asyncio.create_task(supervisor.run())
    try:
        await until(lambda: running.done() or all(pid(folder, number) for number in (1, 2)))
        yield supervisor
    finally:
        supervisor.stop()
        await running
    assert not any(alive(pid(folder, number)) for number in (1, 2))


def pid(folder: Path, number: int) -> int:
    file = folder / f"pid-{number}"
    return int(file.read_text() or 0) if file.exists() else 0


def alive(process: int) -> bool:
    """A zombie of somebody else's is not."""
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


async def replaced(folder: Path, number: int, before: int) -> None:
    await until(lambda: pid(folder, number) not in (0, before))


async def test_a_worker_that_dies_is_replaced_and_its_counts_stay(tmp_path: Path) -> None:
    async with supervised(tmp_path) as supervisor:
        assert total((await supervisor.metrics()).decode()) == 3
        before, other = pid(tmp_path, 2), pid(tmp_path, 1)
        os.kill(before, signal.SIGKILL)
        await replaced(tmp_path, 2, before)
        assert pid(tmp_path, 1) == other, "the others go on"
        (tmp_path / "ask-1").touch()
        await until(lambda: (tmp_path / "metrics").exists() and (tmp_path / "metrics").read_bytes())
        text = (tmp_path / "metrics").read_text()
        assert total(text) == 5, "1, and 2 before and after"
        assert "gateway_workers_replaced_total 1.0" in text
        assert 'gateway_worker_things_total{worker="1"} 1.0' in text


async def test_a_frozen_worker_is_killed_and_replaced(tmp_path: Path) -> None:
    async with supervised(tmp_path, Patience(silent=2.5, end=20)) as supervisor:
        before = pid(tmp_path, 1)
        os.kill(before, signal.SIGSTOP)
        await replaced(tmp_path, 1, before)
        assert not alive(before)
        assert supervisor.replaced >= 1


async def test_a_frozen_worker_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with supervised(tmp_path, Patience(silent=60, end=0.5)):
        os.kill(pid(tmp_path, 1), signal.SIGSTOP)


async def test_hanging_up_reaches_every_worker(tmp_path: Path) -> None:
    async with supervised(tmp_path) as supervisor:
        supervisor.pass_on(signal.SIGHUP)
        await until(lambda: all((tmp_path / f"hup-{pid(tmp_path, number)}").exists() for number in (1, 2)))


async def test_a_worker_that_still_starts_is_told_when_it_is_ready(tmp_path: Path) -> None:
    """Before that it has no handler: it would end."""
    begins = """
    (folder / f"pid-{number}").write_text(str(os.getpid()))
    while not (folder / "go").exists():
        await asyncio.sleep(0.02)
    stop = asyncio.Event()
"""
    program = WORKER.replace("    stop = asyncio.Event()\n", begins, 1)
    supervisor = Supervisor(2, launch(tmp_path, program), ROOMY)
    running = asyncio.create_task(supervisor.run())
    try:
        await until(lambda: running.done() or pid(tmp_path, 1))
        supervisor.pass_on(signal.SIGHUP)
        (tmp_path / "go").touch()
        await until(lambda: running.done() or (tmp_path / f"hup-{pid(tmp_path, 1)}").exists())
    finally:
        supervisor.stop()
        await running
    assert supervisor.replaced == 0


async def test_no_worker_outlives_its_supervisor(tmp_path: Path) -> None:
    program = f"""
import asyncio, os, sys
from gateway.workers.supervisor import Launch, Patience, Supervisor
command = (sys.executable, "-c", {WORKER!r}, "NUMBER", {str(tmp_path)!r}, "{{line}}")
launch = lambda number: Launch([str(number) if one == "NUMBER" else one for one in command], os.environ)
asyncio.run(Supervisor(2, launch, Patience(20, 20)).run())
"""
    supervisor = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    await until(lambda: all(pid(tmp_path, number) for number in (1, 2)))
    supervisor.kill()
    await supervisor.wait()
    await until(lambda: not any(alive(pid(tmp_path, number)) for number in (1, 2)))
    assert [(tmp_path / f"lost-{number}").read_text() for number in (1, 2)] == ["True", "True"], "they ended in order"


async def test_what_cannot_be_started_is_said_once(tmp_path: Path) -> None:
    program = f"import sys; open({str(tmp_path / 'tries')!r}, 'a').write('x'); sys.exit(2)"
    with pytest.raises(StartFailed, match="exit code 2"):
        await Supervisor(2, launch(tmp_path, program), ROOMY).run()
    assert (tmp_path / "tries").read_text() == "x"


def total(text: str) -> float:
    [family] = [one for one in text_string_to_metric_families(text) if one.name == "gateway_things"]
    return family.samples[0].value
