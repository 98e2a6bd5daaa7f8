"""The Celery application of `features.py`, for its workers and its client. `SHOP_URL` says where the broker is."""

import os
import time

from celery import Celery
from celery.exceptions import Reject
from kombu import Exchange, Queue

app = Celery("features", broker=os.environ["SHOP_URL"].replace("amqp://", "pyamqp://"), backend="rpc://")

DEAD = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "celery-dead"}


def queue(name, arguments=None):
    return Queue(name, Exchange(name, type="topic"), routing_key=name, queue_arguments=arguments)


# Declared by whoever uses them: a worker consumes from those that its command line names.
QUEUES = [queue("celery-plain"), queue("celery-priority", {"x-max-priority": 9}), queue("celery-mortal", DEAD)]

app.conf.update(
    task_queues=QUEUES,
    task_default_queue="celery-plain",
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    task_acks_late=True,
    worker_send_task_events=True,
    task_send_sent_event=True,
)


@app.task
def add(a, b):
    return a + b


@app.task(bind=True, max_retries=3, default_retry_delay=0.1)
def flaky(task, failures):
    if task.request.retries < failures:
        raise task.retry()
    return task.request.retries


@app.task
def now():
    return time.time()


@app.task
def note(path, what):
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{what}\n")


@app.task(bind=True)
def refuse(task):
    raise Reject("not wanted", requeue=False)
