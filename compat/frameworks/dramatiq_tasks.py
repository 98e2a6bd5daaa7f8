"""The Dramatiq application of `features.py`, for its worker and its client. `SHOP_URL` says where the broker is."""

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

MAX_PRIORITY = 9

broker = RabbitmqBroker(url=os.environ["SHOP_URL"], confirm_delivery=True, max_priority=MAX_PRIORITY)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="dramatiq-notes")
def note(path, what):
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{what}\n")


@dramatiq.actor(queue_name="dramatiq-doomed", max_retries=1, min_backoff=50, max_backoff=50)
def doomed(what):
    raise ValueError(what)
