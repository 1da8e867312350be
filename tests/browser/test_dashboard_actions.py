"""What a person does on the dashboard besides looking: a decision looked up, an article taken down, an update run now."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from playwright.async_api import Page, expect
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store import runs
from service.store.locks import Lock
from service.store.notifications import Listener
from tests.browser.conftest import keep

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Awaitable[Page]]
LockUp = Callable[[], Awaitable[str]]
Document = dict[str, Any]


async def serve_lists(address: str, **body: Any) -> dict[str, Any]:
    """One list of the two articles, the first of which is clicked."""
    async with httpx.AsyncClient(base_url=address) as client:
        answer: dict[str, Any] = (await client.post("/rank", json={"request_id": "r1", "user_id": "u1", "k": 2} | body)).json()
        click = {"event_id": "e1", "request_id": answer["request_id"], "article_id": answer["items"][0]["article_id"]}
        assert (await client.post("/feedback", json={"events": [click | {"type": "click"}]})).status_code == 202
    return answer


async def test_a_decision_is_looked_up_and_derived_again(address: str, open_page: OpenPage) -> None:
    pinned = [{"article_id": "a2", "position": 1}]
    answer = await serve_lists(address, request_id="site/1 ä?", user_id="<b>u</b>", pinned=pinned, candidates=["a1", "a2", "a9"])
    assert [item["article_id"] for item in answer["items"]] == ["a1", "a2"]
    page = await open_page(address)
    await page.get_by_role("textbox", name="Request id").fill(" site/1 ä? ")
    await page.keyboard.press("Enter")
    card = page.locator("#decision")
    await expect(card).to_contain_text("to reader <b>u</b> by version 1: 2 of 2 candidates. Could not be ranked: a9.")
    await expect(card).to_contain_text("Derived again from its row, the list is the same.")
    rows = card.locator("tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_contain_text("<script>window.harmed = 1</script>")
    await expect(rows.nth(0)).to_contain_text("rankedclicked")
    await expect(rows.nth(1)).to_contain_text("Calma2")
    await expect(rows.nth(1).locator(".number")).to_have_text([re.compile(r"^−?\d\.\d+$")] * 2 + ["1.000", "0.50"])
    await expect(rows.nth(1)).to_contain_text("pinned")
    await expect(rows.nth(1)).not_to_contain_text("clicked")
    assert await page.evaluate("window.harmed") is None
    await page.reload()  # the address names the decision
    await expect(rows).to_have_count(2)
    await expect(page.get_by_role("textbox", name="Request id")).to_have_value("site/1 ä?")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            "UPDATE weights SET data = NULL, pruned_at = now()",
            "It cannot be derived again: the weights of version 1 are",
        ),
        ("UPDATE impressions SET shown = ARRAY[shown[2], shown[1]]", "it is not the same: the derived list is "),
        ("UPDATE impressions SET observation = 'damaged'", "It cannot be derived again: the features that were logged"),
    ],
)
async def test_a_decision_that_is_not_derived_again_says_why(
    address: str, open_page: OpenPage, connection: AsyncConnection, damage: str, words: str
) -> None:
    await serve_lists(address)
    await connection.execute(text(damage))
    await connection.commit()
    page = await open_page(address)
    await page.goto(f"{address}/admin?decision=r1")
    await expect(page.locator("#decision")).to_contain_text(words)
    await expect(page.locator("#decision tbody tr")).to_have_count(2)


async def test_a_decision_that_is_not_there_is_said_to_be_missing(address: str, open_page: OpenPage) -> None:
    await serve_lists(address)
    page = await open_page(address)
    await page.goto(f"{address}/admin?decision=r1")
    await expect(page.locator("#decision tbody tr")).to_have_count(2)
    await page.get_by_role("textbox", name="Request id").fill("<i>nowhere</i>")
    await page.get_by_role("button", name="Look up").click()
    await expect(page.locator("#decision-trouble")).to_contain_text("No decision <i>nowhere</i> is stored.")
    await expect(page.locator("#decision")).to_be_empty()
    await page.route("**/decisions/*", lambda route: route.abort())
    await page.get_by_role("button", name="Look up").click()
    await expect(page.locator("#decision-trouble")).to_contain_text("The service did not answer.")


async def test_a_linked_decision_waits_for_the_key(address: str, lock_up: LockUp, open_page: OpenPage) -> None:
    await serve_lists(address)
    key = await lock_up()
    page = await open_page(address)
    await page.goto(f"{address}/admin?decision=r1")
    await page.get_by_role("textbox", name="API key").fill(key)
    await page.keyboard.press("Enter")
    await expect(page.locator("#decision tbody tr")).to_have_count(2)


async def test_an_article_is_taken_down_from_the_page_after_a_question(address: str, open_page: OpenPage) -> None:
    await serve_lists(address)
    page = await open_page(address)
    row = page.locator("#articles li", has_text="Calm")
    await row.get_by_role("button", name="Take down Calm").press("Enter")
    dialog = page.get_by_role("dialog", name="Take down “Calm”?")
    await keep(page, dialog, row.get_by_role("button"))
    async with httpx.AsyncClient(base_url=address) as client:
        assert (await client.get("/articles/a2")).status_code == 200
        await page.keyboard.press("Enter")
        await dialog.get_by_role("button", name="Take down", exact=True).click()
        await expect(dialog).to_be_hidden()
        await expect(row).to_contain_text("taken down")
        assert (await client.get("/articles/a2")).status_code == 404
        assert [item["article_id"] for item in (await client.post("/rank", json={"k": 2})).json()["items"]] == ["a1"]
    await page.reload()
    await expect(row).to_contain_text("taken down")
    await expect(row.get_by_role("button")).to_have_count(0)
    harmful = page.get_by_role("button", name="Take down </span><script>")
    await harmful.click()
    await expect(page.get_by_role("dialog")).to_contain_text("<script>window.harmed = 1</script>")
    assert await page.evaluate("window.harmed") is None


async def test_an_article_is_taken_down_from_a_decision(address: str, open_page: OpenPage) -> None:
    await serve_lists(address)
    page = await open_page(address)
    await page.goto(f"{address}/admin?decision=r1")
    row = page.locator("#decision tbody tr", has_text="Calm")
    await row.get_by_role("button", name="Take down Calm").click()
    await page.get_by_role("button", name="Take down", exact=True).click()
    await expect(row).to_contain_text("taken down")
    await expect(page.locator("#articles li", has_text="Calm")).to_contain_text("taken down")


async def test_a_refused_take_down_says_why(address: str, open_page: OpenPage, document: Document) -> None:
    document["articles"][0]["id"] = "ghost/1"  # the store behind it has no such article
    page = await open_page(address, document)
    await page.get_by_role("button", name="Take down Harbour bridge closes").click()
    await page.get_by_role("button", name="Take down", exact=True).click()
    await expect(page.locator("#takedown-trouble")).to_have_text("there is no article 'ghost/1'")
    await page.keyboard.press("Escape")
    await expect(page.locator("#articles")).not_to_contain_text("taken down")


async def test_without_a_learner_one_is_told_so(address: str, open_page: OpenPage) -> None:
    page = await open_page(address)
    await page.get_by_role("button", name="Minor update now").press("Enter")
    said = page.locator("#run-said")
    await expect(said).to_have_text("no learner is listening: start one with python -m jobs schedule.")
    await expect(said).to_have_class("trouble")


async def test_an_update_that_is_asked_for_is_followed_to_its_end(
    address: str, app: FastAPI, open_page: OpenPage, connection: AsyncConnection, database_url: str
) -> None:
    clock = app.state.node.clock
    page = await open_page(address)
    said = page.locator("#run-said")
    async with Listener(database_url, (runs.CHANNEL,), presence=Lock.LISTENING) as listener:
        await listener.notices(0.05)
        await page.get_by_role("button", name="Major update now").press("Enter")
        await expect(said).to_have_text("Major update asked for.")
        await expect(page.get_by_role("button", name="Major update now")).to_be_focused()
        [notice] = await listener.notices(1)
        assert runs.heard(notice.payload) == runs.Wish("major_retrain", 0)
        run_id = await runs.open(connection, "major_retrain", clock())
        await connection.commit()
        await expect(said).to_have_text("Major update is running.", timeout=6_000)
        await expect(page.locator("#jobs")).to_contain_text("Major update")
        await runs.close(connection, run_id, "skipped", clock(), detail={"reason": "3 closed impressions; <b>10</b> needed"})
        await connection.commit()
        await expect(said).to_have_text("Major update skipped: 3 closed impressions; <b>10</b> needed.", timeout=6_000)


async def test_a_learner_that_does_not_begin_is_not_waited_for_in_silence(
    address: str, open_page: OpenPage, document: Document
) -> None:
    page = await open_page(address, document)
    await page.clock.install()
    answer = {"job": "minor_update", "behind": 10_000}
    await page.route("**/admin/jobs/minor", lambda route: route.fulfill(status=202, json=answer))
    await page.get_by_role("button", name="Minor update now").click()
    await expect(page.locator("#run-said")).to_have_text("Minor update asked for.")
    for _ in range(7):
        await page.clock.run_for(2_000)
        await asyncio.sleep(0.1)
    await expect(page.locator("#run-said")).to_contain_text("no learner has begun it")
