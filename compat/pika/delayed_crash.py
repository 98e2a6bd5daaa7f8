"""What waits in a delayed exchange when the broker is killed: cases to run before the crash and after it, on the same data."""

import time

import pika

import cases
from cases import case
from queues import confirming, count, drain, quiet, wait_for_count

# Long enough for the crash to come before.
SHORT, LONG = 4000, 9000
MESSAGES = 200


def publish(channel, body, delay):
    properties = pika.BasicProperties(headers={"x-delay": delay}, delivery_mode=2)
    channel.basic_publish("late", "k", body, properties)


@case("before")
def _(broker):
    channel = confirming(broker)
    arguments = {"x-delayed-type": "direct"}
    channel.exchange_declare("late", "x-delayed-message", durable=True, arguments=arguments)
    channel.queue_declare("late", durable=True)
    channel.queue_bind("late", "late", "k")
    for number in range(MESSAGES):
        publish(channel, b"short %d" % number, SHORT)
    for number in range(MESSAGES):
        publish(channel, b"long %d" % number, LONG)
    publish(channel, b"much later", 600_000)


@case("after")
def _(broker):
    channel = confirming(broker)
    expected = [b"%s %d" % (kind, number) for kind in [b"short", b"long"] for number in range(MESSAGES)]
    wait_for_count(channel, "late", len(expected))
    quiet(channel, 1)
    found = drain(channel, "late")
    assert found == expected, f"{len(found)} messages, {[body for body in expected if body not in found]} missing"
    assert count(channel, "late") == 0


if __name__ == "__main__":
    cases.main()
