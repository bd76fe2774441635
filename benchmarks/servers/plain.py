"""A plain FastAPI server: an ordinary ``def`` endpoint that runs one picture at a time."""

from __future__ import annotations

from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Request

from benchmarks.servers.model import Document, Model, parser


async def body(request: Request) -> bytes:
    return await request.body()


def create_app(model: Model, early_exit: bool) -> FastAPI:
    app = FastAPI()

    @app.post("/classify")
    def classify(
        data: Annotated[bytes, Depends(body)], entropy_threshold: float | None = None
    ) -> Document:
        return model.one(data, entropy_threshold if early_exit else 0.0)

    return app


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--all-timesteps", action="store_true")
    options = made.parse_args()
    uvicorn.run(
        create_app(Model(options.engine, options.threads), not options.all_timesteps),
        port=options.port,
        log_level="warning",
        access_log=False,
    )
