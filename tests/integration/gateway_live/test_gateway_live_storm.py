"""Ten thousand connections at once, from another process."""

from __future__ import annotations

import asyncio
import json
import resource
import sys

import pytest
from integration.gateway_live_events.small_endpoint import SERVICE, small_endpoint

from gateway.live.endpoint import LiveOptions
from gateway.live.slots import Limits

STREAM = "/api/realtime/transcribe"

_STORM = """
import json, resource, selectors, socket, sys
port, count, request = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode().decode("unicode_escape").encode()
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
found, answers, all_of_them = selectors.DefaultSelector(), {}, []
for number in range(count):
    one = socket.socket()
    all_of_them.append(one)
    one.setblocking(False)
    one.connect_ex(("127.0.0.1", port))
    found.register(one, selectors.EVENT_WRITE)
left = count
while left:
    for key, ready in found.select(60) or sys.exit(f"nothing more is answered: {answers}, {left} wait"):
        if ready & selectors.EVENT_WRITE:
            key.fileobj.send(request)
            found.modify(key.fileobj, selectors.EVENT_READ)
            continue
        try:
            status = key.fileobj.recv(4096)[9:12].decode()
        except ConnectionError:
            status = "reset"
        answers[status] = answers.get(status, 0) + 1
        found.unregister(key.fileobj)
        left -= 1
print(json.dumps(answers))
"""


async def test_ten_thousand_at_once_are_let_in_or_told_and_nobody_else_waits() -> None:
    """From one address, of which a thousand may: the rest get 429. Whoever watches already goes on hearing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, hard - 1_000)
    if count < 2_000:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    request = f"GET {STREAM}?session=one&token={SERVICE} HTTP/1.1\\r\\nHost: gateway\\r\\nUpgrade: websocket\\r\\n"
    request += "Connection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\n"
    request += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n"
    try:
        async with small_endpoint(LiveOptions(limits=Limits(per_address=1_001), ping_s=3_600)) as small:
            small.begin("two")
            query = {"session": "two"}
            async with small.http.ws_connect(small.url + STREAM, params=query) as here:
                assert (await here.receive_json())["type"] == "hello"
                port = small.url.rpartition(":")[2]
                storm = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", _STORM, port, str(count), request), stdout=asyncio.subprocess.PIPE
                )
                ended = asyncio.ensure_future(storm.communicate())
                try:
                    heard = 0
                    while not ended.done():
                        heard += 1
                        small.final(heard, slug="two")
                        assert (await here.receive_json(timeout=30))["seq"] == heard
                        await asyncio.sleep(0.001)
                    answers = json.loads(ended.result()[0])
                finally:
                    if storm.returncode is None:
                        storm.kill()
                    await ended
            # The kernel resets what is more than its queue of 4,096 when the gateway has too little of the processor.
            assert set(answers) <= {"101", "429", "reset"}, answers
            assert (answers["101"], sum(answers.values())) == (1_000, count)
            assert small.endpoint.counts.refused == {"too_many_from_address": answers["429"]}
            assert answers["429"] > count / 2
            assert heard > 20  # while ten thousand knocked
            await small.watching(0, within_s=60)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
