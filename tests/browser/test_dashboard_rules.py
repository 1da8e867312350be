"""Editors' rules on the dashboard: seen, set and ended by a person."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import keep

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Awaitable[Page]]
Document = dict[str, Any]


async def ids(address: str, **body: Any) -> list[str]:
    async with httpx.AsyncClient(base_url=address) as client:
        return [item["article_id"] for item in (await client.post("/rank", json=body)).json()["items"]]


async def fill(page: Page, kind: str, article: str, number: str, **more: str) -> None:
    form = page.get_by_role("form", name="Set a rule")
    await form.get_by_label("Rule").select_option(label=kind)
    await form.get_by_label("Article", exact=True).fill(article)
    await form.locator("#rule-number").fill(number)
    for label, value in more.items():
        await form.get_by_label(label).fill(value)
    await form.get_by_role("button", name="Set rule").click()


async def test_a_pin_is_set_and_ended_after_a_question(address: str, open_page: OpenPage) -> None:
    page = await open_page(address)
    await expect(page.locator("#rules-empty")).to_be_visible()
    await fill(page, "Pin", " a1 ", "2")
    row = page.locator("#rules tbody tr")
    await expect(row).to_have_count(1)
    await expect(page.locator("#rule-said")).to_contain_text("It holds for every surface within a second.")
    await expect(row).to_contain_text("Pinned at 2")
    await expect(row).to_contain_text("<script>window.harmed = 1</script>")
    await expect(row).to_contain_text("every surface")
    await expect(row).to_contain_text("no end")
    await expect(page.locator("#rule-article")).to_have_value("")
    assert await ids(address, k=2) == ["a2", "a1"]
    await page.reload()
    await row.get_by_role("button", name=re.compile("^End “Pinned at 2: ")).press("Enter")
    dialog = page.get_by_role("dialog", name=re.compile("^End “Pinned at 2: "))
    await keep(page, dialog, row.get_by_role("button"))
    await page.keyboard.press("Enter")
    await dialog.get_by_role("button", name="End rule").click()
    await expect(dialog).to_be_hidden()
    await expect(row).to_have_count(0)
    await expect(page.locator("#rules-card")).to_be_focused()
    async with httpx.AsyncClient(base_url=address) as client:
        assert (await client.get("/rules")).json() == {"rules": []}
        assert len((await client.get("/rules?ended=true")).json()["rules"]) == 1
    await page.reload()
    await expect(page.locator("#rules-empty")).to_be_visible()
    assert await page.evaluate("window.harmed") is None


async def test_caps_and_boosts_for_a_surface_and_a_time(address: str, open_page: OpenPage) -> None:
    page = await open_page(address, timezone_id="Pacific/Auckland")
    soon = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    await fill(page, "Cap", "a2", "1", Surface="home", Until=soon)
    rows = page.locator("#rules tbody tr")
    await expect(rows.nth(0)).to_contain_text("At most 1 time per reader")
    await expect(page.locator("#rule-kind")).to_have_value("cap")
    await expect(page.locator("#rule-number-label")).to_have_text("Times per reader")
    await fill(page, "Boost", "a2", "-0.00025")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(1)).to_contain_text("Boost −0.00025")
    async with httpx.AsyncClient(base_url=address) as client:
        cap, boost = (await client.get("/rules")).json()["rules"]
    assert (cap["most"], cap["surface"], boost["boost"]) == (1, "home", -0.00025)
    hours = (datetime.fromisoformat(soon).replace(tzinfo=UTC) - datetime.fromisoformat(cap["ends_at"])).total_seconds() / 3600
    assert hours in (12, 13)  # the editor's own time
    await expect(rows.nth(0)).to_contain_text("until")
    assert sorted(await ids(address, user_id="u1", context={"surface": "home"})) == ["a1", "a2"]
    assert await ids(address, user_id="u1", context={"surface": "home"}) == ["a1"]
    await page.goto(f"{address}/admin")
    await expect(rows).to_have_count(2)


async def test_a_rule_that_cannot_be_set_is_explained(address: str, open_page: OpenPage) -> None:
    page = await open_page(address)
    trouble = page.locator("#rule-trouble")
    await fill(page, "Pin", "<b>ghost</b>", "1")
    await expect(trouble).to_have_text("there is no article '<b>ghost</b>'")
    await fill(page, "Pin", "a2", "1")
    await expect(page.locator("#rules tbody tr")).to_have_count(1)
    await expect(trouble).to_be_hidden()
    await fill(page, "Pin", "a1", "1")
    await expect(trouble).to_have_text("article 'a2' (Calm) is pinned there on every surface already: rule 1")
    await fill(page, "Pin", "a2", "3")
    await expect(trouble).to_have_text("article 'a2' (Calm) has a pin on every surface already: rule 1")
    await page.route("**/rules", lambda route: route.abort())
    await fill(page, "Pin", "a1", "3")
    await expect(trouble).to_contain_text("The service did not answer.")
    await expect(page.locator("#rules tbody tr")).to_have_count(1)


async def test_an_article_is_found_by_a_piece_of_its_title(address: str, open_page: OpenPage) -> None:
    """Markup in a title stays text."""
    async with httpx.AsyncClient(base_url=address) as client:
        old = [{"id": f"old{i}", "title": f"Ferry <b>late</b> {i}", "published_at": f"2020-01-0{i}T00:00:00Z"} for i in (1, 2)]
        await client.put("/articles", json={"articles": old})
    page = await open_page(address)
    field, offered = page.locator("#rule-article"), page.locator("#rule-articles option")
    await expect(offered).to_have_count(4)  # the newest ones
    await field.fill("ferry <b>L")
    await expect(offered).to_have_count(2)
    assert await offered.evaluate_all("all => all.map(({ value, label }) => [value, label])") == [
        ["old2", "Ferry <b>late</b> 2"],
        ["old1", "Ferry <b>late</b> 1"],
    ]
    await field.fill("no such title")
    await expect(offered).to_have_count(4)
    await field.fill("ferry")
    await expect(offered).to_have_count(2)
    await fill(page, "Pin", "old1", "2")
    await expect(page.locator("#rules tbody tr")).to_contain_text("Ferry <b>late</b> 1")
    await expect(offered).to_have_count(4)


async def test_a_rule_set_here_and_ended_elsewhere_makes_room(address: str, open_page: OpenPage) -> None:
    page = await open_page(address)
    rows = page.locator("#rules tbody tr")
    await fill(page, "Pin", "a2", "1")
    await expect(rows).to_have_count(1)
    async with httpx.AsyncClient(base_url=address) as client:
        assert (await client.delete("/rules/1")).status_code == 204
    await fill(page, "Pin", "a1", "1")
    await expect(page.locator("#rule-said")).to_contain_text("Pinned at 1: ")
    await expect(rows).to_have_count(1)
    await expect(rows.get_by_role("button")).to_have_attribute("data-rule", "2")


async def test_a_rule_that_somebody_else_has_ended(address: str, open_page: OpenPage, document: Document) -> None:
    page = await open_page(address, document)
    rows = page.locator("#rules tbody tr")
    await expect(rows).to_have_count(3)
    await expect(rows.nth(1)).to_contain_text("At most 3 times per reader")
    await expect(rows.nth(1)).to_contain_text("home")
    await expect(rows.nth(2)).to_contain_text("a3 · not live now")
    await page.get_by_role("button", name="End “Boost −0.25: Election night”").click()
    await page.get_by_role("button", name="End rule").click()
    await expect(page.locator("#rule-end-trouble")).to_have_text("no rule 3 is running")
    await page.keyboard.press("Escape")
    await expect(rows).to_have_count(3)
    options = page.locator("#rule-articles option")
    assert await options.evaluate_all("all => all.map((one) => [one.value, one.label])") == [
        ["a1", "Harbour bridge closes"],
        ["a2", "Late goal decides derby"],
    ]


async def test_rules_of_a_locked_service_ask_for_the_key(
    address: str, lock_up: Callable[[], Awaitable[str]], open_page: OpenPage
) -> None:
    page = await open_page(address)
    await expect(page.locator("#connection-state")).to_have_text("Live")
    key = await lock_up()
    await page.get_by_role("textbox", name="API key").fill(key)
    await page.keyboard.press("Enter")
    await expect(page.locator("#connection-state")).to_have_text("Live")
    await fill(page, "Pin", "a2", "1")
    await expect(page.locator("#rules tbody tr")).to_have_count(1)
