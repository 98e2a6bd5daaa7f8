"""Celery on quorum queues, for `features.py`: with one among its queues, it delays tasks in the broker and not in the worker."""

import os
import time

from celery import Celery
from kombu import Exchange, Queue

app = Celery("quorum", broker=os.environ["SHOP_URL"].replace("amqp://", "pyamqp://"), backend="rpc://")

app.conf.update(
    task_queues=[
        Queue(
            "celery-quorum",
            Exchange("celery-quorum", type="topic"),
            routing_key="celery-quorum",
            queue_arguments={"x-queue-type": "quorum"},
        )
    ],
    task_default_queue="celery-quorum",
    task_default_exchange_type="topic",
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    # The delays' own queues are quorum queues with dead letters at least once by default, which a broker of one node has no need of.
    broker_native_delayed_delivery_queue_type="classic",
    worker_detect_quorum_queues=True,
)


@app.task
def now():
    return time.time()
