"""The shop of `everack_compat::shop` with Celery: its own worker with a pool of processes, and a client.

Orders are tasks. Most are acknowledged late, when they are packed; every third one early, when the pool has accepted it. Every
20th has an ETA, every 15th fails twice and is retried. A question is either a task whose result comes back over the broker,
or a ping of the worker by remote control.
"""

import os
import sys
import time

from celery import Celery
from celery.exceptions import Retry, TimeoutError
from celery.signals import worker_ready
from celery.worker.request import Request
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

ASK_EVERY = 25
PREFETCH_PER_PROCESS = 10
ORDER_PAUSE = 0.005
PACK_PAUSE = 0.020
ANSWER_MAX = 2
ETA = 1.5
RETRY_PAUSE = 0.3
FAILURES = 2

role, url, orders = sys.argv[1:]

WAREHOUSE = Queue("shop-warehouse", Exchange("shop", type="topic"), routing_key="order.placed")
PRICES = Queue("shop-prices", Exchange("shop-prices", type="direct"), routing_key="shop-prices")

app = Celery("shop", broker=url.replace("amqp://", "pyamqp://"), backend="rpc://")
app.conf.update(
    task_queues=[WAREHOUSE, PRICES],
    task_default_queue=WAREHOUSE.name,
    task_routes={"price": {"queue": PRICES.name}},
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=PREFETCH_PER_PROCESS,
    worker_redirect_stdouts=False,
)


# Facts have the standard output for themselves: what Celery prints goes to the error output.
FACTS = os.dup(1)
os.dup2(2, 1)


def say(*words):
    # One write a line: the processes of the pool share the pipe.
    os.write(FACTS, (" ".join(map(str, words)) + "\n").encode())


class Order(Request):
    """Tells when an order has come, and when it has been acknowledged."""

    def __init__(self, message, **options):
        super().__init__(message, **options)
        say("got", self.task_id, "redelivered" if message.delivery_info["redelivered"] else "fresh")
        # The worker acknowledges some time after it has said that it did, and only logs that it could not.
        message.ack = self.telling(message.ack)

    def telling(self, ack):
        def ack_and_tell(multiple=False):
            ack(multiple=multiple)
            say("acked", self.task_id)

        return ack_and_tell


class Packing(app.Task):
    Request = Order
    max_retries = FAILURES
    default_retry_delay = RETRY_PAUSE


def pack(task):
    time.sleep(PACK_PAUSE)
    if int(task.request.id) % 15 == 0 and task.request.retries < FAILURES:
        say("sending", task.request.id)
        try:
            task.retry()
        except Retry:
            say("confirmed", task.request.id)
            raise


@app.task(base=Packing, bind=True, acks_late=True)
def pack_and_ack(task):
    pack(task)


@app.task(base=Packing, bind=True)
def ack_and_pack(task):
    pack(task)


@app.task(name="price")
def price(order):
    return {"order": order, "price": "9.99"}


@worker_ready.connect
def opened(**_):
    say("ready")


def take_orders(count):
    say("ready")
    for order in range(count):
        if order % ASK_EVERY == 0:
            ask(order, ask_price if order % (2 * ASK_EVERY) == 0 else ask_ping)
        task = ack_and_pack if order % 3 == 0 else pack_and_ack
        place(task, order, ETA if order % 20 == 0 else None)
        time.sleep(ORDER_PAUSE)
    while True:
        time.sleep(60)


def place(task, order, countdown):
    while True:
        say("sending", order)
        try:
            task.apply_async(task_id=str(order), countdown=countdown, ignore_result=True)
            return say("confirmed", order)
        except OperationalError as error:
            print("again:", repr(error), file=sys.stderr)
            time.sleep(0.2)


def ask(order, attempt):
    while True:
        say("asked", order)
        try:
            if attempt(order):
                return say("answered", order)
        except (OperationalError, ConnectionError, TimeoutError) as error:
            print("again:", repr(error), file=sys.stderr)
            time.sleep(0.2)


def ask_price(order):
    return price.delay(order).get(timeout=ANSWER_MAX) == {"order": order, "price": "9.99"}


def ask_ping(_):
    answers = app.control.inspect(timeout=ANSWER_MAX, limit=1).ping()
    return bool(answers) and all(answer == {"ok": "pong"} for answer in answers.values())


if role == "warehouse":
    app.worker_main(["worker", "--loglevel=WARNING", "--concurrency=2", "--hostname=warehouse@%h"])
elif role == "orders":
    take_orders(int(orders))
else:
    sys.exit(f"no such role: {role}")
