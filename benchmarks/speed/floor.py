"""The floor: the same server set-up with endpoints that only parse the same requests and return answers of the same shape."""

import asyncio
import sys

import orjson
import uvicorn
import uvloop
from fastapi import FastAPI, Response

from service.schemas import FeedbackBody, RankBody

DEFAULT_LIST = [f"a{i}" for i in range(10)]  # shown where the request names no candidates
app = FastAPI()


@app.post("/rank")
async def rank(body: RankBody) -> Response:
    shown = (body.candidates or DEFAULT_LIST)[: body.k]
    items = [
        {"article_id": article_id, "position": position, "score": 0.123456789, "reason": "ranked"}
        for position, article_id in enumerate(shown)
    ]
    answer = {"request_id": "0" * 32, "model_version": 1, "items": items, "unknown": [], "fallback": None}
    return Response(orjson.dumps(answer), media_type="application/json")


@app.post("/feedback")
async def feedback(body: FeedbackBody) -> Response:
    answer = {"accepted": len(body.events), "duplicates": 0}
    return Response(orjson.dumps(answer), 202, media_type="application/json")


@app.get("/readyz")
async def ready() -> Response:
    return Response(b"{}", media_type="application/json")


def main(port: int) -> None:
    """Serves as `service.server` does."""
    config = uvicorn.Config(app, port=port, http="httptools", log_config=None, access_log=False, server_header=False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main(int(sys.argv[1]))
