"""A process that receives deliveries beside others: `python -m … REDIS_URL race|hang NAME COUNT`.

`race` handles the deliveries 0 … COUNT-1 as often as it is let, writing each to the ledger, and returns
when all are done. `hang` claims delivery 0, says so, and waits to be killed.
"""

from __future__ import annotations

import asyncio
import random
import sys
from types import SimpleNamespace

from shared.errors import SidetoneError
from shared.store.connection import connect
from shared.store.deliveries import Deliveries

SOURCE = "/subscriptions/s/resourcegroups/g/providers/microsoft.communication/communicationservices/r"
LEDGER = "test:ledger"


async def main(url: str, what: str, name: str, count: int) -> None:
    redis = connect(SimpleNamespace(redis_url=url))
    deliveries = Deliveries(redis)
    if what == "hang":
        async with Deliveries(redis, claim_s=1.0).handling(SOURCE, "0") as first:
            print("claimed" if first else "refused", flush=True)
            await asyncio.sleep(60)
    waiting = [str(n) for n in range(count)]
    chance = random.Random(name)
    while waiting:
        chance.shuffle(waiting)
        left: list[str] = []
        for delivery_id in waiting:
            try:
                async with deliveries.handling(SOURCE, delivery_id) as first:
                    if first:
                        await asyncio.sleep(chance.random() / 500)
                        await redis.hincrby(LEDGER, delivery_id, 1)  # type: ignore[misc]  # redis's own typing
            except SidetoneError as error:
                if error.code != "delivery_under_way":
                    raise
                left.append(delivery_id)
        waiting = left
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
