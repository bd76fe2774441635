"""The bare route: reads a body, decodes the picture, answers a small JSON: the ceiling."""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI, Request

from benchmarks.servers.model import Document, parser, pixels

app = FastAPI()


@app.post("/classify")
async def classify(request: Request) -> Document:
    picture = pixels(await request.body())
    return {"prediction": {"index": int(picture[0, 0, 0])}, "timesteps_used": 0}


if __name__ == "__main__":
    options = parser(__doc__).parse_args()
    uvicorn.run(app, port=options.port, log_level="warning", access_log=False)
