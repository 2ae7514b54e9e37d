"""The API document says what the gateway does, and the gateway does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from integration.gateway_api.in_process import FRIEND, TOKEN, Answer, InProcess, running
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from support.ports import free_port

from gateway.cli.canary_figures import CanaryFigures
from gateway.cli.canary_round import Outcome
from gateway.console.pages import ASSETS, PAGES
from gateway.version import VERSION
from stt.local.server import LocalServer

DOCS = Path(__file__).parents[3] / "docs"
OF_PAGES = {*PAGES, *(f"/{name}" for name in ASSETS), "/assets/{version}/{name}"}


async def document(gateway: InProcess) -> dict[str, Any]:
    found = await gateway.call("GET", "/openapi.json", token=None)
    assert (found.status, found.kind) == (200, "application/json")
    told: dict[str, Any] = found.json
    return told


async def test_the_document_is_valid_openapi(gateway: InProcess) -> None:
    told = await document(gateway)
    assert told["openapi"].startswith("3.1.")
    assert told["info"]["version"] == VERSION
    validate(told)


async def test_every_route_is_in_the_document_and_the_other_way_round(gateway: InProcess) -> None:
    """Pages and their files aside, what only replicas ask each other, and what operators ask at night."""
    told = await document(gateway)
    served = {
        (route.method, route.resource.canonical)
        for route in gateway.app.router.routes()
        if route.resource is not None and route.method != "HEAD" and route.resource.canonical not in OF_PAGES
        if not route.resource.canonical.startswith(("/internal/", "/debug/"))
    }
    written = {(method.upper(), path) for path, methods in told["paths"].items() for method in methods}
    assert served == written


async def test_every_operation_asks_for_what_it_says(gateway: InProcess) -> None:
    """What has no security answers without a credential; what has some answers 401."""
    told = await document(gateway)
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            address = re.sub(r"\{\w+\}", "abc", path)
            upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"} if "101" in operation["responses"] else {}
            answer = await gateway.call(method.upper(), address, token=None, headers=upgrade)
            needed = bool(operation["security"]) and {} not in operation["security"]
            assert (answer.status == 401) is needed, (method, path, answer)
            assert str(answer.status) in operation["responses"]


async def test_operations_have_names_of_their_own(gateway: InProcess) -> None:
    told = await document(gateway)
    names = [operation["operationId"] for methods in told["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


async def test_answers_have_the_documented_status_and_shape(gateway: InProcess) -> None:
    """One life, every answer checked against its schema."""
    told = await document(gateway)

    async def check(
        method: str, path: str, body: object = None, *, pattern: str = "", token: str | None = TOKEN
    ) -> Answer:
        answer = await gateway.call(method, path, body, token=token)
        responses = told["paths"][pattern or path.partition("?")[0]][method.lower()]["responses"]
        content = responses[str(answer.status)].get("content", {})
        assert answer.kind in content, (answer, content)
        schema = content[answer.kind]["schema"]
        if answer.kind.endswith("json"):
            OAS31Validator({**schema, "components": told["components"]}).validate(answer.json)
        return answer

    slug = (await check("POST", "/api/sessions", {})).json["slug"]
    one, used, text = "/api/transcription/{slug}", "/api/transcription/{slug}/usage", "/api/sessions/{slug}/transcript"
    start = {"sessionSlug": slug, "source": "rtmp"}
    for _ in range(2):
        await check("POST", "/api/transcription/start", start)
        await check("GET", "/api/transcription")
        await check("GET", f"/api/transcription/{slug}", pattern=one)
        await check("GET", f"/api/transcription/{slug}/usage", pattern=used)
        await check("GET", f"/api/transcription/{slug}/timeline", pattern=f"{one}/timeline")
    await check("POST", "/api/transcription/stop", {"sessionSlug": slug})
    await check("GET", f"/api/transcription/{slug}", pattern=one)
    async with gateway.records() as shelf:
        await shelf.told(slug, ["Good morning."])
    for kind in ("json", "vtt", "srt", "txt", "pdf"):
        await check("GET", f"/api/sessions/{slug}/transcript?format={kind}", pattern=text)
    for path in ("/healthz", "/readyz", "/openapi.json"):
        await check("GET", path, token=None)
    await check("GET", "/metrics")
    await check("POST", "/api/transcription/start", b"{")
    await check("POST", "/api/transcription/start", {"sessionSlug": "nowhere1"})
    await check("POST", "/api/transcription/start", {**start, "costCapUsd": 0.001})
    await check("POST", "/api/transcription/start", {**start, "source": "websocket"})
    await check("POST", "/api/transcription/start", b'"' + b"x" * 70_000 + b'"')
    await check("GET", "/api/transcription/nowhere1", pattern=one)
    await check("GET", "/api/transcription", token="wrong")


# --- pages of other origins ---------------------------------------------------------------------------------


async def test_pages_of_allowed_origins_may_use_the_api(gateway: InProcess) -> None:
    """Preflight, answers, errors, and answers that are streamed."""
    slug = await gateway.session()
    asked = {
        "Origin": FRIEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    preflight = await gateway.call("OPTIONS", "/api/transcription/start", token=None, headers=asked)
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == FRIEND
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
    for path, status in (
        ("/api/transcription", 200),
        (f"/api/sessions/{slug}/transcript", 200),
        (f"/api/sessions/{slug}/transcript?format=vtt", 200),
        ("/api/transcription/nowhere1", 404),
        ("/nowhere", 404),
    ):
        answer = await gateway.call("GET", path, headers={"Origin": FRIEND})
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == FRIEND, path
        assert answer.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_pages_of_other_origins_may_not(gateway: InProcess) -> None:
    for origin in ("https://evil.example", "null", FRIEND + ".evil.example", FRIEND.upper()):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        preflight = await gateway.call("OPTIONS", "/api/transcription/start", token=None, headers=asked)
        assert preflight.status == 405
        answer = await gateway.call("GET", "/api/transcription", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in {**preflight.headers, **answer.headers}


# --- operation ----------------------------------------------------------------------------------------------


async def test_health_readiness_and_pages_need_no_token(gateway: InProcess) -> None:
    assert (await gateway.call("GET", "/healthz", token=None)).json == {"status": "ok"}
    ready = await gateway.call("GET", "/readyz", token=None)
    assert (ready.status, ready.json) == (200, {"status": "ready", "engine": "gladia", "reasons": []})
    for path in ("/", "/docs"):
        page = await gateway.call("GET", path, token=None)
        assert (page.status, page.kind) == (200, "text/html")
        assert TOKEN not in page.body.decode()
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "aiohttp" not in page.headers["Server"].lower()


async def families(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


async def test_what_alerts_count_is_there_before_its_first_event(gateway: InProcess) -> None:
    """A counter that appears with its first event has not increased, says Prometheus, and the alert stays silent."""
    rules = (DOCS.parent / "deploy" / "prometheus" / "rules.yaml").read_text()
    counted = {
        (name, *sorted(re.findall(r'(\w+)="([^"]+)"', labels)))
        for name, labels in re.findall(r"(?:increase|rate|delta)\((gateway_(?!canary)\w+)(\{[^}]*\})?\[", rules)
    }
    exposed = await families((await gateway.call("GET", "/metrics")).body.decode())
    before_its_first_round = CanaryFigures().registry.collect()
    samples = [sample for family in (*exposed.values(), *before_its_first_round) for sample in family.samples]
    for name, *labels in counted:
        assert any(sample.name == name and {*labels} <= {*sample.labels.items()} for sample in samples), (name, labels)
    assert len(counted) > 15


async def test_every_metric_is_documented_and_the_other_way_round(gateway: InProcess) -> None:
    """docs/metrics.md has a row for each name, with its type; it names nothing that is gone."""
    answer = await gateway.call("GET", "/metrics")
    assert answer.kind == "text/plain"
    found = await families(answer.body.decode())
    exposed = {
        name + ("_total" if family.type == "counter" else ""): family.type
        for name, family in found.items()
        if name.startswith("gateway_")
    }
    rows = re.findall(r"^\| `(gateway_\w+)` \| (\w+) \|", (DOCS / "metrics.md").read_text(), re.MULTILINE)
    assert dict(rows) == exposed
    assert len(rows) == len(exposed)
    assert all(family.documentation for family in found.values())


def names(family: Metric) -> set[str]:
    return {family.name} | {sample.name for sample in family.samples}


def of_the_canary() -> list[Metric]:
    figures = CanaryFigures()
    figures.note(Outcome(words_share=1.0))
    return list(figures.registry.collect())


def test_the_canary_s_metrics_are_documented() -> None:
    exposed = {family.name + ("_total" if family.type == "counter" else ""): family.type for family in of_the_canary()}
    rows = re.findall(r"^\| `(gateway_\w+)` \| (\w+) \|", (DOCS / "canary.md").read_text(), re.MULTILINE)
    assert dict(rows) == exposed


async def test_rules_and_dashboards_ask_for_metrics_that_exist(gateway: InProcess) -> None:
    """Names and labels' values may come later; a name that is not exposed never will."""
    await gateway.call("GET", "/healthz", token=None)  # a request, for the histogram of requests
    found = await families((await gateway.call("GET", "/metrics")).body.decode())
    exposed = {"process_start_time_seconds"} | set(found)
    for name, family in found.items():
        exposed |= {f"{name}_total"} if family.type == "counter" else set()
        exposed |= {f"{name}_{part}" for part in ("bucket", "count", "sum")} if family.type == "histogram" else set()
    exposed |= {sample for family in of_the_canary() for sample in names(family)}
    deploy = DOCS.parent / "deploy"
    texts = [path.read_text() for path in (deploy / "prometheus" / "rules.yaml", *(deploy / "grafana").glob("*.json"))]
    asked = {name for text in texts for name in re.findall(r"\b(?:gateway|process)_[a-z0-9_]+\b", text)}
    assert len(asked) > 40
    assert asked <= exposed, asked - exposed


async def test_the_metrics_follow_what_happens(gateway: InProcess) -> None:
    slug = await gateway.session()
    await gateway.start(slug)
    async with gateway.watch(slug) as stream:
        await stream.next()
        text = (await gateway.call("GET", "/metrics")).body.decode()
        [own] = (await gateway.ok("GET", "/api/replicas"))["replicas"]
        assert 'gateway_transcriptions{state="starting"} 1.0' in text
        assert 'gateway_info{engine="gladia"} 1.0' in text
        assert f'gateway_build_info{{commit="",replica="{own["id"]}",version="{VERSION}"}} 1.0' in text
        assert "gateway_watchers 1.0" in text
    answer = await gateway.call(
        "GET", "/api/realtime/transcribe?session=x", token=None, headers={"Upgrade": "websocket"}
    )
    assert answer.status == 401
    text = (await gateway.call("GET", "/metrics")).body.decode()
    assert 'gateway_watchers_refused_total{reason="credential"} 1.0' in text


async def test_metrics_may_have_a_port_of_their_own(database_url: str, provider: LocalServer, tmp_path: Path) -> None:
    """Without a token there, and not on the API's."""
    port = free_port()
    async with running(database_url, provider, tmp_path, metrics_port=port) as gateway:
        assert (await gateway.call("GET", "/metrics")).status == 404
        assert "/metrics" not in (await document(gateway))["paths"]
        async with gateway.http.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.status == 200
            assert "gateway_info" in await families(await answer.text())
