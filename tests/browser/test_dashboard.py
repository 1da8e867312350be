"""The dashboard in a real browser: what it shows, how it is operated, and what it does when things go wrong."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from playwright.async_api import Page, Route, expect
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.types import DuelState, VersionKind
from service.store import versions

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Awaitable[Page]]
LockUp = Callable[[], Awaitable[str]]
Document = dict[str, Any]
PROBLEM = "application/problem+json"


async def test_it_shows_what_is_served_the_duel_and_the_figures(address: str, open_page: OpenPage, document: Document) -> None:
    page = await open_page(address, document)
    await expect(page.locator("#connection-state")).to_have_text("Live")
    await expect(page.locator("#headline")).to_contain_text("Version 36 is served")
    await expect(page.locator("#headline")).to_contain_text("explore has won 17 lists and current 12")
    await expect(page.locator("#totals")).to_contain_text("1,234")
    await expect(page.locator("#totals")).to_contain_text("5.0 %")
    duel = page.locator("#duel")
    for words in ("12current wins", "33ties", "17explore wins", "62 of 100 lists settled", "21 more wait to settle", "z +0.93"):
        await expect(duel).to_contain_text(words)
    await expect(duel).to_contain_text("38 settled lists more, then readers decide. As it stands, explore would become current.")
    await expect(duel).to_contain_text("Its lists gave both networks equal chances.")
    await expect(page.locator("#wins-foot")).to_contain_text("The band includes zero")
    await expect(page.locator("#wins-foot")).to_contain_text("over 600 sessions")
    await expect(page.locator("#articles")).to_contain_text("Harbour bridge closes")
    await expect(page.locator("#articles")).to_contain_text("pinned")
    await expect(page.locator("#returns li")).to_have_count(3)


async def test_the_hold_back_shows_both_halves_and_their_difference(
    address: str, open_page: OpenPage, document: Document
) -> None:
    page = await open_page(address, document)
    held = page.locator("#holdback")
    await expect(page.locator("#holdback-readout")).to_have_text("current against version 30, for 2 h")
    for words in ("41.3 %of 412 lists by current alone got a click", "39.5 %of 398 lists by version 30 got a click"):
        await expect(held).to_contain_text(words)
    await expect(held).to_contain_text("Difference +1.8 points, from −7.1 to +10.7 with 95 %, valid while you watch.")
    await expect(held).to_contain_text("No difference is established.")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"difference": -0.1, "low": -0.2, "high": -0.01, "harm": 0.6}, "60 % of the evidence is there"),
        ({"difference": -0.2, "low": -0.3, "high": -0.1, "harm": 1.0}, "version 30 is brought back at the next minor update"),
        ({"difference": 0.2, "low": 0.1, "high": 0.3}, "Current is better than what it is held against"),
        ({"difference": None, "low": -1.0, "high": 1.0}, "No list that was held back has been settled yet"),
        ({"reference": None}, "a frozen version answers half of these"),
    ],
)
async def test_the_hold_back_says_what_follows(
    address: str, open_page: OpenPage, document: Document, change: Document, words: str
) -> None:
    document["holdback"] |= change
    page = await open_page(address, document)
    await expect(page.locator("#holdback")).to_contain_text(words)


async def test_a_site_that_holds_nobody_back_is_shown_no_hold_back(address: str, open_page: OpenPage, document: Document) -> None:
    page = await open_page(address, document | {"holdback": None})
    await expect(page.locator("#headline")).to_contain_text("Version 36 is served")
    await expect(page.locator("#holdback-card")).to_be_hidden()


async def test_harm_a_fault_and_an_automatic_rollback_are_where_one_looks(
    address: str, open_page: OpenPage, document: Document
) -> None:
    document["duel"]["harm"] = 1.0
    document["fault"] = "the interleaved lists did not give both networks equal chances: no duel is to be believed"
    document["versions"][29]["automatic"] = True
    reason = (
        "version 29 has lost to the hold-back's reference, version 24: 80 of 400 lists with a click, the reference 200 of 400"
    )
    guard = document["jobs"][1] | {"job": "guard", "version": 30, "reason": reason}
    quiet = guard | {"outcome": "done", "version": None, "reason": None}
    document["jobs"] = [quiet, guard, quiet]
    page = await open_page(address, document)
    await expect(page.locator("#duel")).to_contain_text("Readers have proven that explore harms")
    await expect(page.locator("#duel")).not_to_contain_text("equal chances")
    await expect(page.locator("#notice")).to_contain_text("A fault of the machine: the interleaved lists")
    rows = page.locator("#jobs tbody tr")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text(reason)
    await page.locator('[data-version="30"]').click()
    await expect(page.locator("#version")).to_contain_text("brought back version 24 by itself, for current had lost to it")


async def test_job_runs_tell_why_and_fold_what_repeats(address: str, open_page: OpenPage, document: Document) -> None:
    page = await open_page(address, document)
    rows = page.locator("#jobs tbody tr")
    await expect(rows).to_have_count(4)
    await expect(rows.nth(0)).to_contain_text("running")
    await expect(rows.nth(1)).to_contain_text("made version 39")
    await expect(rows.nth(2)).to_contain_text("skipped × 3")
    await expect(rows.nth(2)).to_contain_text("3 closed impressions; 10 needed")
    await expect(rows.nth(3)).to_contain_text("out of memory")


async def test_versions_are_chosen_by_click_and_by_keyboard(address: str, open_page: OpenPage, document: Document) -> None:
    page = await open_page(address, document)
    panel = page.locator("#version")
    await expect(panel).to_contain_text("Version 36 is a minor update")
    await expect(panel.get_by_role("button")).to_be_disabled()
    await page.locator('[data-version="30"]').click()
    await expect(panel).to_contain_text("Version 30 is a rollback that brought back version 24")
    await page.keyboard.press("ArrowLeft")
    await expect(panel).to_contain_text("Version 29 is a minor update")
    await page.keyboard.press("Home")
    await expect(panel).to_contain_text("Version 1 is the first version")
    await expect(page.locator('[data-version="1"]')).to_be_in_viewport()
    await page.keyboard.press("ArrowRight")
    await expect(panel.get_by_role("button")).to_have_text("Weights no longer kept")
    await expect(panel.get_by_role("button")).to_be_disabled()
    await page.wait_for_timeout(2_500)  # the next document does not take the choice, the focus or the place away
    await expect(panel).to_contain_text("Version 2 is")
    await expect(page.locator('[data-version="2"]')).to_be_focused()


async def test_a_rollback_is_asked_about_made_and_shown(
    address: str, app: FastAPI, open_page: OpenPage, connection: AsyncConnection
) -> None:
    head = await versions.load(connection, 1)
    child = replace(head, id=2, parent_id=1, kind=VersionKind.MINOR, duel=DuelState(1, impressions=3))
    await versions.append(connection, child)
    await connection.commit()
    page = await open_page(address)
    await expect(page.locator("#headline")).to_contain_text("Version 2 is served")
    await page.locator('[data-version="1"]').click()
    await page.get_by_role("button", name="Roll back to this version").click()
    dialog = page.get_by_role("dialog", name="Roll back to version 1?")
    await expect(dialog.get_by_role("button", name="Keep what is served")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()
    await connection.rollback()
    assert await versions.head_id(connection) == 2
    await page.get_by_role("button", name="Roll back to this version").click()
    await dialog.get_by_role("button", name="Roll back", exact=True).click()
    await expect(dialog).to_be_hidden()
    await expect(page.locator("#headline")).to_contain_text("Version 3 is served: a rollback", timeout=6_000)
    await expect(page.locator("#version")).to_contain_text("that brought back version 1")
    await expect(page.locator("#jobs")).to_contain_text("Rollback")
    assert app.state.node.live.version_id == 3


async def test_a_refused_rollback_says_why(address: str, open_page: OpenPage, document: Document) -> None:
    page = await open_page(address, document)  # the store behind it holds version 1 alone
    await page.locator('[data-version="34"]').click()
    await page.get_by_role("button", name="Roll back to this version").click()
    await page.get_by_role("button", name="Roll back", exact=True).click()
    await expect(page.locator("#rollback-trouble")).to_have_text("there is no version 34")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()


async def test_titles_are_text_and_never_markup(address: str, open_page: OpenPage) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        assert (await client.post("/rank", json={"user_id": "<b>u</b>", "k": 2})).status_code == 200
    page = await open_page(address)
    await expect(page.locator("#articles li")).to_have_count(2)
    await expect(page.locator("#articles")).to_contain_text("<script>window.harmed = 1</script><img src=x")
    await expect(page.locator("#articles")).to_contain_text('"><svg onload=')
    assert await page.evaluate("window.harmed") is None
    assert await page.locator("#articles script, #articles img").count() == 0


async def test_untrusted_words_of_every_part_are_text(address: str, open_page: OpenPage, document: Document) -> None:
    harm = "<img src=x onerror='window.harmed = 1'>"
    document["refused"] = harm
    document["jobs"][1] |= {"job": harm, "reason": harm}
    document["jobs"][1]["outcome"] = f'published" onclick="window.harmed = 2" {harm}'
    document["articles"][0] |= {"id": harm, "title": harm, "category": harm}
    document["versions"][-1] |= {"metrics": {harm: 1.0}, "digest": harm}
    page = await open_page(address, document)
    await expect(page.locator("#jobs")).to_contain_text(harm)
    await expect(page.locator("#notice")).to_contain_text(harm)
    await expect(page.locator("#version")).to_contain_text(harm)
    assert await page.locator("img:not([src='admin/static/icon.svg'])").count() == 0
    assert await page.evaluate("window.harmed") is None


async def test_a_service_without_figures_says_what_it_waits_for(address: str, open_page: OpenPage) -> None:
    page = await open_page(address)
    await expect(page.locator("#headline")).to_contain_text("Version 1 is served")
    await expect(page.locator("#wins-empty")).to_contain_text("No list has been settled")
    await expect(page.locator("#ctr-empty")).to_contain_text("No list has been served")
    await expect(page.locator("#articles-empty")).to_contain_text("No list has been served yet")
    await expect(page.locator("#jobs-empty")).to_contain_text("No job has run yet")
    await expect(page.locator("#duel")).to_contain_text("No list has been settled in this duel yet")


async def test_it_shows_what_happens_while_it_is_open(address: str, open_page: OpenPage) -> None:
    page = await open_page(address)
    await expect(page.locator("#connection-state")).to_have_text("Live")
    async with httpx.AsyncClient(base_url=address) as client:
        await client.post("/rank", json={"request_id": "r1", "user_id": "u1", "k": 2})
        await client.post(
            "/feedback", json={"events": [{"event_id": "e1", "request_id": "r1", "article_id": "a2", "type": "click"}]}
        )
    await expect(page.locator("#ctr canvas")).to_be_visible(timeout=6_000)
    await expect(page.locator("#totals")).to_contain_text("50.0 %", timeout=6_000)


async def test_a_service_that_goes_away_is_not_called_live(address: str, open_page: OpenPage, document: Document) -> None:
    answers: list[Callable[[Route], Awaitable[None]]] = [lambda route: route.fulfill(json=document)]

    async def answer(route: Route) -> None:
        await answers[-1](route)

    page = await open_page(address, answer)
    await expect(page.locator("#connection-state")).to_have_text("Live")
    answers.append(lambda route: route.abort())
    await expect(page.locator("#connection-state")).to_have_text("Not updating", timeout=6_000)
    await expect(page.locator("#notice")).to_contain_text("does not answer")
    await expect(page.locator("#connection-age")).to_contain_text("old")
    await expect(page.locator("#headline")).to_contain_text("Version 36")  # what was known stays
    answers.append(
        lambda route: route.fulfill(status=503, content_type=PROBLEM, json={"status": 503, "detail": "the store is away"})
    )
    await expect(page.locator("#notice")).to_have_text("the store is away", timeout=6_000)
    answers.append(lambda route: route.fulfill(json=document))
    await expect(page.locator("#connection-state")).to_have_text("Live", timeout=6_000)
    await expect(page.locator("#notice")).to_be_hidden()


async def test_an_answer_that_makes_no_sense_is_an_error_and_not_a_blank_page(address: str, open_page: OpenPage) -> None:
    page = await open_page(address, lambda route: route.fulfill(body="<html>a proxy's login page</html>"))
    await expect(page.locator("#connection-state")).to_have_text("Offline")
    await expect(page.locator("#notice")).to_contain_text("could not read the figures")


async def test_the_page_asks_for_a_key_and_keeps_it_for_this_tab(address: str, lock_up: LockUp, open_page: OpenPage) -> None:
    key = await lock_up()
    page = await open_page(address)
    dialog = page.get_by_role("dialog", name="An API key, please")
    await expect(dialog).to_be_visible()
    await expect(page.locator("#connection-state")).to_have_text("Locked")
    await page.get_by_role("textbox", name="API key").fill("drn_wrong")
    await page.keyboard.press("Enter")
    await expect(page.locator("#key-trouble")).to_contain_text("does not exist")
    await page.get_by_role("textbox", name="API key").fill(key)
    await page.keyboard.press("Enter")
    await expect(page.locator("#connection-state")).to_have_text("Live")
    await expect(dialog).to_be_hidden()
    await page.reload()
    await expect(page.locator("#headline")).to_contain_text("Version 1 is served")
    other = await open_page(address)  # another tab does not have it
    await expect(other.get_by_role("dialog")).to_be_visible()
    await other.keyboard.press("Escape")
    await expect(other.locator("#notice")).to_contain_text("needs an API key")
    assert await page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


async def test_another_span_asks_for_other_figures(address: str, open_page: OpenPage, document: Document) -> None:
    asked: list[str] = []

    async def answer(route: Route) -> None:
        asked.append(route.request.url.partition("?")[2])
        await route.fulfill(json=document)

    page = await open_page(address, answer)
    await expect(page.locator("#connection-state")).to_have_text("Live")
    await page.get_by_label("7 d").check()
    await page.wait_for_timeout(300)
    assert asked[0] == "hours=24"
    assert asked[-1] == "hours=168"


async def test_it_asks_every_two_seconds_and_rests_while_hidden(address: str, open_page: OpenPage, document: Document) -> None:
    asked: list[str] = []

    async def answer(route: Route) -> None:
        asked.append(route.request.url)
        await route.fulfill(json=document)

    page = await open_page(address, answer)
    await page.wait_for_timeout(3_000)
    assert len(asked) == 2
    hide = """
        Object.defineProperty(document, "hidden", { configurable: true, get: () => %s });
        document.dispatchEvent(new Event("visibilitychange"));
    """
    await page.evaluate(hide % "true")
    before = len(asked)
    await page.wait_for_timeout(2_500)
    assert len(asked) == before
    await page.evaluate(hide % "false")
    await page.wait_for_timeout(300)
    assert len(asked) == before + 1
