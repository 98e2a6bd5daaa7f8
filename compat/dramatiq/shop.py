"""The shop of `everack_compat::shop` with Dramatiq: its own command runs the worker, orders are messages to an actor.

Every 20th order has a delay, every 15th fails twice and is tried again by Dramatiq's middleware; both go through its queue for
delayed messages, as copies with confirms and acknowledgements of their own.
"""

import os
import sys
import time

import dramatiq
import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer
from dramatiq.errors import ConnectionClosed

ORDER_PAUSE = 0.005
PACK_PAUSE = 0.020
DELAY_MS = 1500
RETRY_PAUSE_MS = 200
FAILURES = 2
URL = "SHOP_URL"


def say(*words):
    # One write a line, and past Dramatiq, which redirects its processes' output.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Facts(dramatiq.Middleware):
    """Tells what happens to orders on both sides."""

    def after_worker_boot(self, broker, worker):
        say("ready")

    def before_enqueue(self, broker, message, delay):
        say("sending", message.args[0])

    def after_enqueue(self, broker, message, delay):
        say("confirmed", message.args[0])

    def before_process_message(self, broker, message):
        say("got", message.args[0], "redelivered" if message.redelivered else "fresh")


class Consumer(_RabbitmqConsumer):
    """Tells what is really acknowledged: Dramatiq passes over what came on an earlier connection, and calls its middleware all the same."""

    def ack(self, message):
        known = message._tag in self.known_tags
        super().ack(message)
        if known:
            say("acked", message.args[0])


class Broker(RabbitmqBroker):
    @property
    def consumer_class(self):
        return Consumer


class NotInStock(Exception):
    """The order has to be tried again."""


url = os.environ.get(URL) or sys.argv[2]
broker = Broker(url=url, confirm_delivery=True)
broker.add_middleware(Facts())
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="shop-warehouse", max_retries=FAILURES, min_backoff=RETRY_PAUSE_MS, max_backoff=RETRY_PAUSE_MS)
def pack(order):
    time.sleep(PACK_PAUSE)
    message = dramatiq.middleware.CurrentMessage.get_current_message()
    if order % 15 == 0 and message.options.get("retries", 0) < FAILURES:
        raise NotInStock(order)


broker.add_middleware(dramatiq.middleware.CurrentMessage())


def take_orders(count):
    say("ready")
    for order in range(count):
        while True:
            try:
                pack.send_with_options(args=(order,), delay=DELAY_MS if order % 20 == 0 else None)
                break
            except (ConnectionClosed, pika.exceptions.AMQPError) as error:
                print("again:", repr(error), file=sys.stderr)
                time.sleep(0.2)
        time.sleep(ORDER_PAUSE)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    if sys.argv[1] == "orders":
        take_orders(int(sys.argv[3]))
    else:
        here = os.path.dirname(os.path.abspath(__file__))
        command = ["-m", "dramatiq", "shop:broker", "--path", here, "--processes", "1", "--threads", "2", "--skip-logging"]
        os.execve(sys.executable, [sys.executable, "-B", *command], {**os.environ, URL: url})
