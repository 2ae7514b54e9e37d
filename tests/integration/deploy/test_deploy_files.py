"""What is in deploy/, read by the programs that will read it. No container engine runs here: images are only read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from staging.incidents import INCIDENTS
from support.builds import CannotBuild, go_program
from support.prometheus import quicker
from support.tools import missing, needs

from gateway.cli.parser import parser
from gateway.settings import VARIABLES

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "transcription-gateway"
SETTINGS = {variable.name for variable in VARIABLES} | {
    f"{variable.name}_FILE" for variable in VARIABLES if variable.is_secret
}


def run(*command: str | Path, text: str = "", cwd: Path = ROOT, fails: bool = False) -> str:
    """What it prints; both streams where it is to fail. It must succeed, or fail where that is expected."""
    done = subprocess.run(
        [str(part) for part in command], input=text, cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr if fails else done.stdout


def tool(name: str) -> Path:
    """A Go program of tools/."""
    try:
        return go_program(name)
    except CannotBuild as error:
        missing(str(error))


# --- Prometheus and Grafana ---------------------------------------------------------------------------------


def test_rules_are_valid_and_each_alert_fires() -> None:
    needs("promtool")
    run("promtool", "check", "rules", DEPLOY / "prometheus" / "rules.yaml")
    run("promtool", "test", "rules", "tests.yaml", cwd=DEPLOY / "prometheus")
    run("promtool", "check", "config", "--syntax-only", DEPLOY / "compose" / "prometheus.yaml")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_every_alert_has_a_test_and_a_section_in_the_runbook_and_the_other_way_round() -> None:
    named = [alert["alert"] for alert in alerts()]
    sections = re.findall(r"^### (Gateway\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    tested = re.findall(r'alertname="(\w+)"', (DEPLOY / "prometheus" / "tests.yaml").read_text())
    assert len(named) == len(set(named))
    assert sorted(sections) == sorted(named) == sorted(set(tested))
    assert all(alert["labels"]["severity"] in ("page", "ticket") for alert in alerts())


def test_each_section_says_what_is_noticed_the_cause_what_to_do_and_how_it_ends() -> None:
    sections = (ROOT / "docs" / "runbook.md").read_text().split("\n### ")[1:]
    parts = ["Notice", "Cause", "Do", "Over"]
    assert all(re.findall(r"^- \*\*(\w+):\*\*", section, re.MULTILINE) == parts for section in sections)


def test_each_staged_incident_shows_in_an_alert() -> None:
    assert {incident.alert for incident in INCIDENTS.values()} <= {alert["alert"] for alert in alerts()}
    assert all(incident.happens.__doc__ for incident in INCIDENTS.values())


def test_quicker_rules_are_the_same_ones_in_less_time(tmp_path: Path) -> None:
    needs("promtool")
    rules = (DEPLOY / "prometheus" / "rules.yaml").read_text()
    quick = quicker(rules, 60)
    assert "gateway_spool_oldest_seconds > 10\n" in quick and "max(gateway_webhook_oldest_seconds) > 15\n" in quick
    assert "gateway_database_behind_seconds > 3\n" in quick and "[5000ms]" in quick and "[5m]" not in quick
    (tmp_path / "rules.yaml").write_text(quick)
    run("promtool", "check", "rules", tmp_path / "rules.yaml")
    assert quicker(rules, 1).count("alert:") == rules.count("alert:")


def test_dashboards_are_what_their_table_says() -> None:
    run(sys.executable, ROOT / "tools" / "dashboards.py", "--check")


class Young(BaseHTTPRequestHandler):
    """A Prometheus that has been there for two minutes, and knows one series of each query."""

    def do_GET(self) -> None:
        at = float(parse_qs(urlsplit(self.path).query)["time"][0])
        found = (
            [{"metric": {"instance": "a:9090", "limit": "total"}, "value": [at, "1"]}] if at > time.time() - 120 else []
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": {"result": found}}).encode())

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def test_panels_without_a_past_say_how_far_back_there_is_one() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Young) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            asked = (DEPLOY / "prometheus" / "panels.py", "overview", "--prometheus", f"127.0.0.1:{server.server_port}")
            told, with_past = run(sys.executable, *asked), run(sys.executable, *asked, "--ago", "60")
        finally:
            server.shutdown()
            serving.join()
    assert "no data 600 s ago; try --ago 60" in told and "no data" not in with_past
    assert "a:9090 HTTP, limit: total" in told and "a:9090 HTTP, closed to make room" in told


# --- Compose, systemd, proxies ------------------------------------------------------------------------------


@pytest.fixture
def compose(tmp_path: Path) -> Path:
    """A copy whose secrets were made."""
    shutil.copytree(DEPLOY, tmp_path / "deploy", symlinks=True, ignore=shutil.ignore_patterns(".env"))
    folder = tmp_path / "deploy" / "compose"
    run(folder / "up.sh", "--secrets-only")
    return folder


def test_compose_is_valid_and_names_only_settings_that_exist(compose: Path) -> None:
    listed = run(tool("deploy-check"), "compose", compose / "compose.yaml").split()
    assert set(listed) == {"gateway", "postgres", "redis", "livekit", "prometheus", "grafana"}
    services = yaml.safe_load((compose / "compose.yaml").read_text())["services"]
    assert set(services["gateway"]["environment"]) <= SETTINGS
    others = [service["image"] for service in services.values() if not service["image"].startswith("transcription-")]
    assert all(re.search(r":v?\d+\.\d+", image) for image in others)
    grace = int(services["gateway"]["stop_grace_period"].removesuffix("s"))
    assert grace >= int(services["gateway"]["environment"]["GATEWAY_DRAIN_S"]) + 15


def test_secrets_are_made_once_and_only_their_owner_reads_them(compose: Path) -> None:
    made = (compose / ".env").read_text()
    assert (compose / ".env").stat().st_mode & 0o077 == 0
    run(compose / "up.sh", "--secrets-only")
    assert (compose / ".env").read_text() == made
    secrets = re.findall(r"^\w+_(?:PASSWORD|SECRET|TOKENS)=(\w+)$", made, re.MULTILINE)
    assert len(secrets) == len(set(secrets)) == 6
    assert all(len(secret) >= 32 for secret in secrets)
    livekit = yaml.safe_load(re.search(r"^LIVEKIT_CONFIG='(.*)'$", made, re.MULTILINE)[1])  # type: ignore[index]
    assert livekit["webhook"]["api_key"] in livekit["keys"]


def test_the_proxies_accept_their_configurations(tmp_path: Path) -> None:
    needs("nginx")
    needs("caddy")
    needs("openssl")
    subject = ["-nodes", "-days", "1", "-subj", "/CN=captions.example.com"]
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", *subject, "-keyout", "captions.example.com.key", "-out",
        "captions.example.com.pem", cwd=tmp_path)  # fmt: skip
    site = (DEPLOY / "nginx" / "transcription-gateway.conf").read_text().replace("/etc/ssl", str(tmp_path))
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{site}\n}}\n")
    run("nginx", "-t", "-q", "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", "stderr")
    run("caddy", "validate", "--adapter", "caddyfile", "--config", DEPLOY / "caddy" / "Caddyfile")


@pytest.mark.parametrize("name", ["transcription-gateway", "transcription-canary"])
def test_the_unit_is_understood_and_confined(name: str) -> None:
    needs("systemd-analyze")
    unit = DEPLOY / "systemd" / f"{name}.service"
    said = run("systemd-analyze", "verify", unit, fails=True).splitlines()
    complaints = [line for line in said if unit.name in line]  # others are about the machine
    assert [line for line in complaints if "is not executable" not in line] == []  # the program is not installed here
    assert complaints
    text = unit.read_text()
    assert set(re.findall(r"^Environment=((?:GATEWAY|LIVEKIT)\w+)=", text, re.MULTILINE)) <= SETTINGS
    run("systemd-analyze", "security", "--offline=true", "--threshold=25", unit)


# --- Kubernetes ---------------------------------------------------------------------------------------------


def template(values: Sequence[str | Path]) -> list[dict[str, Any]]:
    text = run(tool("helm"), "template", "release", CHART, "--namespace", "media", *values)
    run(tool("deploy-check"), "kubernetes", text=text)
    return [document for document in yaml.safe_load_all(text) if document]


VALUES = sorted((CHART / "ci").glob("*.yaml"))


@pytest.mark.parametrize("values", VALUES, ids=[path.stem for path in VALUES])
def test_the_chart_makes_objects_that_kubernetes_accepts(values: Path) -> None:
    run(tool("helm"), "lint", "--strict", "--quiet", "--values", values, CHART)
    objects = template(["--values", values])
    [replicas] = [each for each in objects if each["kind"] == "StatefulSet"]
    pod = replicas["spec"]["template"]["spec"]
    [container] = pod["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert set(environment) - {"POD_NAME"} <= SETTINGS
    stop = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= stop + int(environment["GATEWAY_DRAIN_S"]) + 15
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["automountServiceAccountToken"] is False


def test_the_canary_is_a_command_that_exists_and_holds_one_token_alone() -> None:
    objects = template(["--values", CHART / "ci" / "canary.yaml"])
    [canary] = [each["spec"] for each in objects if each["kind"] == "Deployment"]
    pod = canary["template"]["spec"]
    [container] = pod["containers"]
    asked = parser().parse_args(container["args"])
    services = {f"http://{each['metadata']['name']}.media.svc:80" for each in objects if each["kind"] == "Service"}
    assert (asked.command, asked.every, asked.words, asked.port) == ("canary", 60, 0.5, 9465)
    assert asked.url in services
    [secret] = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert (secret["secretName"], secret["items"]) == ("gateway", [{"key": "GATEWAY_API_TOKENS", "path": "token"}])
    assert {each["name"] for each in container["env"]} <= SETTINGS
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    [found] = [each for each in objects if each["kind"] == "Service" and "canary" in each["metadata"]["name"]]
    assert found["spec"]["selector"] == canary["selector"]["matchLabels"]
    assert canary["selector"]["matchLabels"].items() <= canary["template"]["metadata"]["labels"].items()


def test_everything_that_can_be_switched_on_is_made() -> None:
    kinds = {each["kind"] for each in template(["--values", CHART / "ci" / "large.yaml"])}
    assert kinds == {
        *(
            "StatefulSet",
            "Deployment",
            "Service",
            "ServiceAccount",
            "PodDisruptionBudget",
            "HorizontalPodAutoscaler",
            "NetworkPolicy",
        ),
        *("Ingress", "HTTPRoute", "ServiceMonitor", "PrometheusRule", "ConfigMap"),
    }


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["--set", "existingSecret=gateway", "--set", "replica=3"], "replica"),
        (["--set", "existingSecret=gateway", "--set", "drainSeconds=soon"], "drainSeconds"),
        (["--set", "existingSecret=gateway", "--set", "settings.gatway_log_level=debug"], "gatway_log_level"),
        ([], "existingSecret"),
        (["--set", "existingSecret=gateway", "--set", "canary.everySeconds=1"], "everySeconds"),
    ],
    ids=["unknown", "wrong type", "no setting", "no secret", "a round each second"],
)
def test_wrong_values_are_refused_by_name(values: list[str], told: str) -> None:
    assert told in run(tool("helm"), "template", "release", CHART, *values, fails=True)


# --- the image ----------------------------------------------------------------------------------------------


def test_the_image_ends_without_compiler_or_root() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    last = stages[-1]
    assert all(re.match(r"python:\d+\.\d+\.\d+-slim-\w+", stage) for stage in stages)
    assert "gcc" not in last
    assert re.search(r"^USER 10001", last, re.MULTILINE)
    assert "127.0.0.1" in last  # a health check that needs no name


def test_the_image_is_given_all_that_it_copies() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert copies
    for name in (name for copied in copies for name in copied.split()):
        assert any(each == name.rstrip("/") or each.startswith(name.rstrip("/") + "/") for each in let_in), name
