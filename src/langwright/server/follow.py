"""A run served while it trains: each new checkpoint takes over as it comes."""

from __future__ import annotations

import asyncio
import logging

from langwright.errors import LangwrightError
from langwright.server.service import Service

log = logging.getLogger("langwright.server")

EVERY_S = 0.5


async def follow(service: Service) -> None:
    """Load what is newer than what answers, for ever. Who is being answered is answered to the end
    by the checkpoint that began."""
    told: str | None = None
    while True:
        await asyncio.sleep(EVERY_S)
        for one in service.shelf.loaded():
            if "@" in one.key:
                continue
            latest = await asyncio.to_thread(service.catalogue.latest, one.key)
            if latest in (None, one.name):
                continue
            try:
                newer = await service.shelf.renew(one.key)
            except (LangwrightError, OSError) as error:  # gone again: the next one comes
                if told != latest:
                    log.warning("%s cannot be loaded: %s", latest, error)
                told = latest
                continue
            log.info("%s answers now as %s.", one.key, newer.name)
