"""What routes ask for: the node that serves them, and a caller who may do this.

They are coroutines although they never wait: FastAPI sends plain functions to a thread, which costs more than a ranking.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.params import Depends as Dependency

from service.keys import Scope
from service.node import Node


async def current_node(request: Request) -> Node:
    """The parts of this process that answer requests."""
    node: Node = request.app.state.node
    return node


CurrentNode = Annotated[Node, Depends(current_node)]


def require(scope: Scope) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets only keys with this scope pass (everyone, while no key exists).

    Raises:
        Unauthenticated, Forbidden: as `KeyRing.check`.
    """

    async def check(request: Request) -> None:
        node: Node = request.app.state.node
        node.live.keys.check(request.headers.get("authorization"), scope)

    return check


def needs(scope: Scope) -> list[Dependency]:
    """The same, for a route's `dependencies`."""
    return [Depends(require(scope))]
