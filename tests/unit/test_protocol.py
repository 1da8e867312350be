"""What the server's connections send, and when."""

import asyncio
from typing import Any, cast

from service.protocol import Gathered


class Sent:
    """A transport that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> None:
        self.told.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.told


def test_a_head_and_its_body_leave_together():
    async def run() -> list[bytes | str]:
        sent = Sent()
        gathered = Gathered(cast("Any", sent), asyncio.get_running_loop())
        for answer in (b"1", b"2"):
            gathered.write(b"head " + answer)
            gathered.write(b", body " + answer)
            await asyncio.sleep(0)
        return sent.told

    assert asyncio.run(run()) == [b"head 1, body 1", b"head 2, body 2"]


def test_what_was_written_leaves_before_the_end():
    async def run() -> list[bytes | str]:
        sent = Sent()
        gathered = Gathered(cast("Any", sent), asyncio.get_running_loop())
        gathered.write(b"last words")
        assert not gathered.is_closing()
        gathered.close()
        assert gathered.is_closing()
        await asyncio.sleep(0)
        return sent.told

    assert asyncio.run(run()) == [b"last words", "closed"]
