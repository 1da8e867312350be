"""The dashboard in a real browser: what it shows, how it is operated, and what it does when things go wrong."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from playwright.async_api import Page, Route, expect
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.types import DuelState, VersionKind
from service.keys import new_key
from service.store import keys, runs, versions
from service.store.locks import Lock
from service.store.notifications import Listener

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Awaitable[Page]]
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


async def test_the_page_asks_for_a_key_and_keeps_it_for_this_tab(
    address: str, app: FastAPI, open_page: OpenPage, connection: AsyncConnection
) -> None:
    admin = new_key()
    await keys.create(connection, "admin", admin.digest, ["admin"], app.state.node.clock())
    await connection.commit()
    async with asyncio.timeout(3):
        while not app.state.node.live.keys.scopes:  # noqa: ASYNC110  # followed by looking
            await asyncio.sleep(0.05)
    page = await open_page(address)
    dialog = page.get_by_role("dialog", name="An API key, please")
    await expect(dialog).to_be_visible()
    await expect(page.locator("#connection-state")).to_have_text("Locked")
    await page.get_by_role("textbox", name="API key").fill("drn_wrong")
    await page.keyboard.press("Enter")
    await expect(page.locator("#key-trouble")).to_contain_text("does not exist")
    await page.get_by_role("textbox", name="API key").fill(admin.text)
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


async def test_a_linked_decision_waits_for_the_key(
    address: str, app: FastAPI, open_page: OpenPage, connection: AsyncConnection
) -> None:
    await serve_lists(address)
    admin = new_key()
    await keys.create(connection, "admin", admin.digest, ["admin"], app.state.node.clock())
    await connection.commit()
    async with asyncio.timeout(3):
        while not app.state.node.live.keys.scopes:  # noqa: ASYNC110  # followed by looking
            await asyncio.sleep(0.05)
    page = await open_page(address)
    await page.goto(f"{address}/admin?decision=r1")
    await page.get_by_role("textbox", name="API key").fill(admin.text)
    await page.keyboard.press("Enter")
    await expect(page.locator("#decision tbody tr")).to_have_count(2)


async def test_an_article_is_taken_down_from_the_page_after_a_question(address: str, open_page: OpenPage) -> None:
    await serve_lists(address)
    page = await open_page(address)
    row = page.locator("#articles li", has_text="Calm")
    await row.get_by_role("button", name="Take down Calm").press("Enter")
    dialog = page.get_by_role("dialog", name="Take down “Calm”?")
    await expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()
    await expect(row.get_by_role("button")).to_be_focused()
    await page.wait_for_timeout(2_500)  # the next figures do not take the focus away
    await expect(row.get_by_role("button")).to_be_focused()
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
