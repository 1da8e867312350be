"""The simulated newsroom as a client of the API: its CMS publishes, its readers ask for lists and report what they did."""

import asyncio
import signal
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import structlog

from drn.scenario import DEMO, Scenario
from drn.simulation import Action, Publish, React, Visit, newsroom
from drn.types import Article, Event, RankRequest
from jobs.database import utc_now
from jobs.errors import Refused

SEED = 20_180_423  # one seed for every run: a second run meets the readers whom the first one has learned to know
RETRY_SECONDS = 0.5  # pause before a request that failed is sent again
KEY_ATTEMPTS = 20  # of a request whose key is unknown: the demo puts its key in force a moment after an operator's first one
BEHIND_SECONDS = 5.0  # after an outage the newsroom goes on from now rather than send all that it missed at once

log = structlog.get_logger()


class Newsroom:
    """Plays a scenario in real time. Its articles are the candidates of every list that its readers ask for, so that it can
    share a database with real ones."""

    def __init__(self, client: httpx.AsyncClient, scenario: Scenario, seed: int) -> None:
        self._client = client
        self._start = utc_now()
        # Ids must not repeat those of an earlier run, and tell a person when the run began.
        self._world = newsroom(scenario.but(label=f"{self._start:%y%m%d-%H%M%S}-"), seed, self._start)
        self._delay = timedelta()  # by which this newsroom's clock is behind the wall's
        self._live: dict[str, Article] = {}

    async def play(self) -> None:
        """Acts until it is cancelled, or until the scenario's days are over.

        Raises:
            Refused: the API answers with an error that no repetition mends.
        """
        shown: tuple[str, ...] | None = None
        while True:
            try:
                action = self._world.send(shown)
            except StopIteration:
                return
            await self._wait_for(action.at)
            shown = await self._act(action)

    async def _wait_for(self, at: datetime) -> None:
        ahead = (at + self._delay - utc_now()).total_seconds()
        if ahead > 0:
            await asyncio.sleep(ahead)
        elif ahead < -BEHIND_SECONDS:
            self._delay -= timedelta(seconds=ahead)

    async def _act(self, action: Action) -> tuple[str, ...] | None:
        match action:
            case Publish():
                await self._publish(action)
            case Visit():
                return await self._rank(action.request)
            case React():
                await self._send("POST", "/feedback", {"events": [self._event(event) for event in action.events]})
        return None

    async def _publish(self, action: Publish) -> None:
        if action.articles:
            moved = [self._moved(article) for article in action.articles]
            self._live |= {article.id: article for article in action.articles}
            await self._send("PUT", "/articles", {"articles": [article_body(article) for article in moved]})
        for article_id in action.withdrawn:
            self._live.pop(article_id, None)
            await self._send("DELETE", f"/articles/{article_id}")

    async def _rank(self, request: RankRequest) -> tuple[str, ...]:
        """The ids shown; none if the API has nothing to show."""
        self._live = {
            name: article for name, article in self._live.items() if not article.expires_at or article.expires_at > request.at
        }
        body = {
            "request_id": request.request_id,
            "user_id": request.user_id,
            "k": request.k,
            "candidates": list(self._live),
            "context": {"device": request.context.device, "surface": request.context.surface},
        }
        answer = await self._send("POST", "/rank", body) if self._live else None
        return tuple(item["article_id"] for item in answer["items"]) if answer else ()

    def _event(self, event: Event) -> dict[str, Any]:
        names = ("event_id", "article_id", "type", "value", "request_id", "user_id")
        return {name: getattr(event, name) for name in names} | {"at": (event.at + self._delay).isoformat()}

    def _moved(self, article: Article) -> Article:
        """With the times of the wall's clock."""
        expires_at = article.expires_at and article.expires_at + self._delay
        return replace(article, published_at=article.published_at + self._delay, expires_at=expires_at)

    async def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The answer, or None where there is nothing to act on (422, 404). Repeats what an outage swallowed: ids make it safe.

        Raises:
            Refused: the API answers with an error that no repetition mends.
        """
        attempts = KEY_ATTEMPTS if "Authorization" in self._client.headers else 0
        while True:
            try:
                answer = await self._client.request(method, path, json=body)
            except httpx.TransportError as error:
                log.info("the API does not answer", reason=str(error) or type(error).__name__)
            else:
                if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.UNPROCESSABLE_ENTITY):
                    log.warning("refused", method=method, path=path, answer=answer.text)
                    return None
                if answer.is_success:
                    return answer.json() if answer.content else {}
                if answer.status_code == httpx.codes.UNAUTHORIZED and attempts:
                    attempts -= 1
                elif answer.is_client_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    raise Refused(f"{method} {path}: {answer.status_code} {answer.text}")
                log.warning("not now", method=method, path=path, answer=answer.text)
            await asyncio.sleep(RETRY_SECONDS)


def article_body(article: Article) -> dict[str, Any]:
    """An article as PUT /articles takes it."""
    times = {name: at.isoformat() for name in ("published_at", "expires_at") if (at := getattr(article, name))}
    names = ("id", "title", "abstract", "provider", "category", "topics", "entities", "url")
    return {name: value for name in names if (value := getattr(article, name))} | times


async def play(url: str, api_key: str | None = None, scenario: Scenario = DEMO, seed: int = SEED) -> None:
    """Lets the newsroom act on the API at `url` until it is cancelled.

    Raises:
        Refused: the API answers with an error that no repetition mends, such as a missing API key.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10.0, trust_env=False) as client:
        await Newsroom(client, scenario, seed).play()


async def play_until_asked_to_end(url: str, api_key: str | None) -> None:
    """The demo's newsroom, until SIGTERM or SIGINT."""
    playing = asyncio.create_task(play(url, api_key))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, playing.cancel)
    with suppress(asyncio.CancelledError):
        await playing
