"""The webhooks page, in a real browser on a real gateway."""

from __future__ import annotations

import json
from dataclasses import replace

from integration.gateway_webhooks.receiver import receiving
from support.browser import TOKEN, OpenPage
from support.console import api

from gateway.app.root import open_gateway
from gateway.settings import Settings
from gateway.webhooks.addresses import Allowed

ROWS = (
    "[...document.querySelectorAll('#deliveries tr')].map((row) => [...row.children].map((cell) => cell.textContent))"
)


async def test_a_webhook_is_made_tested_replayed_and_deleted(browse: OpenPage, settings: Settings) -> None:
    allowing = replace(settings, webhook_allow=Allowed(http=True, private=True))
    async with receiving() as receiver, open_gateway(allowing) as gateway, browse() as page:
        await page.open(f"{gateway.http_url}/webhooks#token={TOKEN}")
        await page.until("!document.querySelector('#none').hidden")
        await page.run("document.querySelector('#new').open = true")
        await page.run(f"document.querySelector('#url').value = {json.dumps(receiver.url)}")
        await page.run("document.querySelector('#description').value = 'My app'")
        await page.run("document.querySelector('#create').requestSubmit(document.querySelector('#create button'))")
        await page.until("document.querySelector('#secret').value.startsWith('whsec_')")
        await page.shows("document.querySelector('#name').textContent", "My app")
        receiver.behaviours = ["500"]
        await page.run("document.querySelector('#test').click()")
        await page.until(f"{ROWS}.some(([type, , state, , answer]) => "
                         "type === 'webhook.test' && state === 'pending' && answer.includes('500'))")  # fmt: skip
        await api(gateway, "POST", "/api/sessions", {"title": "Weekly"})
        await page.until(f"{ROWS}.some(([type, , state]) => type === 'session.created' && state === 'delivered')")
        replay = "[...document.querySelectorAll('#deliveries button')].find((one) => !one.hidden)"
        await page.run(f"{replay}.click()")
        await page.until(f"{ROWS}.filter(([type]) => type === 'session.created').length === 2")
        await receiver.until(lambda: receiver.types.count("session.created") == 2)
        await page.run("document.querySelector('#switch').click()")
        await page.until("document.querySelector('#state').textContent === 'off'")
        await page.until("document.querySelector('#why').hidden", why="one's own choice is no trouble")
        await page.run("document.querySelector('#delete').click()")
        await page.run("document.querySelector('#confirm-yes').click()")
        await page.until("!document.querySelector('#none').hidden")
        assert (await api(gateway, "GET", "/api/webhooks"))["webhooks"] == []
