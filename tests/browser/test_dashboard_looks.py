"""How the dashboard looks and is operated, in a real browser: charts, colours, sizes, the keyboard."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from copy import deepcopy
from typing import Any

import pytest
from playwright.async_api import Page, expect

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Awaitable[Page]]
Document = dict[str, Any]
PHONE = {"width": 375, "height": 812}


async def colours_of(page: Page, chart: str) -> set[str]:
    """The distinct opaque colours of a chart's canvas, as hex."""
    script = """(chart) => {
        const canvas = document.querySelector(`#${chart} canvas`);
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const found = new Set();
        for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] === 255) found.add("#" + [0, 1, 2].map((j) => data[i + j].toString(16).padStart(2, "0")).join(""));
        return [...found];
    }"""
    return set(await page.evaluate(script, chart))


async def test_charts_are_drawn_in_the_two_hues(address: str, open_page: OpenPage, document: Document) -> None:
    page = await open_page(address, document)
    await expect(page.locator("#wins-bars canvas")).to_be_visible()
    colours = await colours_of(page, "wins-bars")
    hues = await page.evaluate(
        "() => ['--explore', '--current'].map((name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim())"
    )
    assert set(hues) <= colours
    assert hues[0] in await colours_of(page, "wins-mean")


async def test_a_chart_answers_to_the_pointer(address: str, open_page: OpenPage, document: Document) -> None:
    page = await open_page(address, document)
    await expect(page.locator("#wins-readout")).to_contain_text("in all: 360 explore, 240 current, 1,800 ties")
    box = await page.locator("#wins-bars .u-over").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 1, box["y"] + 20)
    await expect(page.locator("#wins-readout")).to_contain_text("5 explore, 4 current")
    await expect(page.locator("#wins-readout")).not_to_contain_text("in all")


async def test_the_line_draws_promotions_resets_and_rollbacks(address: str, open_page: OpenPage, document: Document) -> None:
    page = await open_page(address, document)
    await expect(page.locator("#line [data-version]")).to_have_count(36)
    assert await page.locator("#line .branch:not(.left):not(.open)").count() == 3  # promoted, reset, live
    assert await page.locator("#line .branch.left").count() == 2  # ended by a major update and by a rollback
    await expect(page.locator("#line .end")).to_have_count(1)
    await expect(page.locator("#line .back")).to_have_count(1)
    await expect(page.get_by_role("option", name="Version 5, a minor update, explore promoted")).to_have_count(1)
    await expect(page.get_by_role("option", name="Version 36, a minor update, served now")).to_be_in_viewport()


@pytest.mark.parametrize("filled", [True, False])
async def test_a_phone_scrolls_down_and_never_sideways(
    address: str, open_page: OpenPage, document: Document, filled: bool
) -> None:
    long = deepcopy(document)
    long["articles"][0]["title"] = "Unbreakable" * 30
    long["jobs"][1]["reason"] = "no_spaces_" * 40
    long["rules"][1] |= {"title": "Unbreakable" * 30, "article_id": "a" * 200, "surface": "s" * 200}
    page = await open_page(address, long if filled else None, viewport=PHONE, has_touch=True, is_mobile=True)
    await expect(page.locator("#connection-state")).to_have_text("Live")
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    for part in await page.locator("main > .card, #totals, #span").all():
        box = await part.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]


async def test_a_decision_fits_a_phone(address: str, open_page: OpenPage, document: Document) -> None:
    page = await open_page(address, document, viewport=PHONE, has_touch=True, is_mobile=True)
    item = {
        "article_id": "unbreakable" * 18,
        "title": "Unbreakable" * 30,
        "withdrawn": False,
        "position": 0,
        "reason": "ranked",
        "current_score": -1234.5,
        "explore_score": None,
        "credit": 0.5,
        "propensity": 1.0,
        "boost": -0.0005000000237487257,  # as 32 bits have it
        "clicked": True,
    }
    found = {
        "request_id": "r" * 200,
        "at": "2026-11-22T10:00:00Z",
        "user_id": "u" * 200,
        "model_version": 36,
        "explore": False,
        "context": {"device": "mobile", "surface": ""},
        "candidates": ["a1"],
        "unknown": ["ghost" * 40],
        "fallback": "their caps were ignored",
        "items": [item, item | {"position": 1, "title": None}],
        "reproduced": False,
        "reason": "the derived list is " + "other" * 40,
    }
    await page.route("**/decisions/*", lambda route: route.fulfill(json=found))
    await page.get_by_role("textbox", name="Request id").fill("r" * 200)
    await page.keyboard.press("Enter")
    await expect(page.locator("#decision tbody tr")).to_have_count(2)
    await expect(page.locator("#decision .article .of").first).to_have_text(re.compile(" · boost −0.0005$"))
    await expect(page.locator("#decision")).to_contain_text("Not as it was asked for: their caps were ignored.")
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


async def test_colours_follow_the_colour_scheme_at_once(address: str, open_page: OpenPage, document: Document) -> None:
    page = await open_page(address, document, color_scheme="light")
    await expect(page.locator("#ctr canvas")).to_be_visible()
    light = await page.evaluate("getComputedStyle(document.body).backgroundColor"), await colours_of(page, "ctr")
    await page.emulate_media(color_scheme="dark")
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") != light[0]
    assert "#1d1f23" in light[1]
    assert "#eceae6" not in light[1]
    async with asyncio.timeout(3):  # the chart is drawn again in one of the next frames
        while "#1d1f23" in (dark := await colours_of(page, "ctr")) or "#eceae6" not in dark:
            await page.wait_for_timeout(50)


async def test_words_can_be_read_in_both_colour_schemes(address: str, open_page: OpenPage, document: Document) -> None:
    """WCAG AA: a contrast of 4.5 between every text colour and the card it stands on."""
    script = """() => {
        const style = getComputedStyle(document.documentElement);
        const light = (name) => {
            const hex = style.getPropertyValue(name).trim();
            const part = (i) => {
                const c = parseInt(hex.slice(i, i + 2), 16) / 255;
                return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
            };
            return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5);
        };
        const worst = {};
        for (const name of ["ink", "soft", "faint", "current", "explore", "bad", "warn"])
            for (const ground of ["card", "ground"]) {
                const [a, b] = [light(`--${name}`), light(`--${ground}`)].sort((x, y) => y - x);
                worst[`${name} on ${ground}`] = (a + 0.05) / (b + 0.05);
            }
        return worst;
    }"""
    for scheme in ("light", "dark"):
        page = await open_page(address, document, color_scheme=scheme)
        contrasts = await page.evaluate(script)
        assert {pair: round(contrast, 2) for pair, contrast in contrasts.items() if contrast < 4.5} == {}, scheme


async def test_everything_that_can_be_operated_is_reached_by_tab_and_named(
    address: str, open_page: OpenPage, document: Document
) -> None:
    page = await open_page(address, document)
    await expect(page.locator("#connection-state")).to_have_text("Live")
    await page.locator('[data-version="30"]').click()
    await page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = []
    focused = """() => {
        const here = document.activeElement;
        return here.getAttribute("aria-label") ?? (here.labels?.[0] ?? here.closest("a, button"))?.textContent;
    }"""
    for _ in range(36):  # a field for a date and a time has many stops
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate(focused))
    of_parts = ("Skip to the figures", "24 h", "Version 30, a rollback", "Roll back to this version")
    of_rules = ("End “Pinned at 1: Harbour bridge closes”", "Rule", "Article", "Place", "Surface", "Until (optional)")
    of_lists = ("Set rule", "Take down Harbour bridge closes", "Request id", "Look up")
    for name in (*of_parts, *of_rules, *of_lists, "Minor update now", "Major update now"):
        assert name in reached
    for chart in ("wins-mean", "wins-bars", "ctr"):
        assert len(await page.locator(f"#{chart}").get_attribute("aria-label") or "") > 30
