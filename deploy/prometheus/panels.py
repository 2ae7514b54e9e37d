#!/usr/bin/env python3
"""A Grafana dashboard without Grafana: each panel's queries, asked of Prometheus, as lines of text. Needs Python alone.

panels.py                                          which dashboards there are, and the alerts that fire
panels.py overview --prometheus http://localhost:9090
panels.py session --instance gateway-1:9090 --ago 60
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

DASHBOARDS = Path(__file__).parents[1] / "grafana"


def ask(prometheus: str, query: str, at: float) -> list[dict[str, Any]]:
    """The series of an instant. Raises: SystemExit where there is no answer."""
    url = urlsplit(prometheus if "//" in prometheus else f"http://{prometheus}")
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.netloc, timeout=20)
    try:
        connection.request("GET", f"{url.path.rstrip('/')}/api/v1/query?{urlencode({'query': query, 'time': at})}")
        found: list[dict[str, Any]] = json.load(connection.getresponse())["data"]["result"]
        return found
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise SystemExit(f"{prometheus} does not answer as a Prometheus: {error!r}; see --prometheus") from error
    finally:
        connection.close()


def shown(value: str | None, unit: str) -> str:
    """A figure as short as it may be, with its unit."""
    if value is None:
        return "-"
    number = float(value)
    if number != number:
        return "-"
    if unit == "percentunit":
        return f"{number:.1%}"
    if unit == "bytes":
        return f"{number / 2**20:.1f} MiB"
    return f"{number:.4g}{ {'s': ' s', 'ops': ' /s'}.get(unit, '') }"


def legend(text: str, labels: dict[str, str]) -> str:
    """As Grafana fills it in."""
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), text)


def panels(uid: str) -> Iterator[tuple[str, str, list[dict[str, str]]]]:
    """Title, unit and queries of each; rows have no queries."""
    for panel in json.loads((DASHBOARDS / f"{uid}.json").read_text())["panels"]:
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "none")
        yield panel.get("title", ""), unit, panel.get("targets", [])


def dashboard(asked: argparse.Namespace) -> None:
    """Panel, legend, value now, and what it was before."""
    now, has_past = time.time(), False
    for title, unit, queries in panels(asked.dashboard):
        if title and not queries:
            print(f"\n{title[:76]:76} {'now':>11} {f'{asked.ago:g} s ago':>13}")
        for query in queries:
            text = query["expr"].replace("$__rate_interval", asked.rate).replace("$instance", asked.instance)
            before = {str(one["metric"]): one["value"][1] for one in ask(asked.prometheus, text, now - asked.ago)}
            has_past = has_past or bool(before)
            for one in ask(asked.prometheus, text, now) or [{"metric": {}, "value": (now, None)}]:
                name = legend(query["legendFormat"], one["metric"])
                figures = (shown(value, unit) for value in (one["value"][1], before.get(str(one["metric"]))))
                print("  {:36} {:37} {:>11} {:>13}".format(title[:36], name[:37], *figures))
    if not has_past:
        print(f"\nno data {asked.ago:g} s ago" + ("; try --ago 60" if asked.ago > 60 else ""))


def alerts(prometheus: str) -> None:
    """Those that fire or are about to, the longest first."""
    found = sorted(ask(prometheus, "ALERTS", time.time()), key=lambda one: one["metric"]["alertstate"])
    for one in found:
        labels = one["metric"]
        more = {k: v for k, v in labels.items() if k not in ("__name__", "alertname", "alertstate", "severity", "job")}
        print(f"  {labels['alertstate']:8} {labels.get('severity', ''):7} {labels['alertname']:36} {more or ''}")
    print("docs/runbook.md has a section for each" if found else "no alert fires")


def main() -> None:
    names = sorted(path.stem for path in DASHBOARDS.glob("*.json"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dashboard", nargs="?", choices=names, help="without it: the alerts")
    parser.add_argument("--prometheus", default="http://localhost:9090", help="default: http://localhost:9090")
    parser.add_argument("--instance", default=".*", help="of these replicas only, as a regular expression")
    parser.add_argument("--rate", default="1m", help="the window of rates (default: 1m)")
    parser.add_argument("--ago", type=float, default=600.0, help="seconds to look back for the second figure (600)")
    asked = parser.parse_args()
    if asked.dashboard:
        dashboard(asked)
    else:
        alerts(asked.prometheus)
        print(f"dashboards: {', '.join(names)}")


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(0)
