"""Exchanges that hold messages back (`x-delayed-message`), as RabbitMQ's plugin of that name does it: one rule a case.

The rules are those of the plugin's source for RabbitMQ 4.2; the cases whose names begin with "ours" say where Everack keeps what the plugin loses.
"""

import time

import pika
from pika import exceptions

import cases
from cases import case
from queues import confirming, count, drain, quiet, wait_for_count

number = iter(range(10**9))


def delayed(channel, kind="direct", **arguments):
    """A delayed exchange of the case's own."""
    name = f"delayed-{time.time_ns()}-{next(number)}"
    arguments = {"x-delayed-type": kind, **arguments}
    channel.exchange_declare(name, "x-delayed-message", durable=True, arguments=arguments)
    return name


def bound(channel, exchange, key="k", **arguments):
    """A queue of the case's own, bound to the exchange."""
    name = f"late-{time.time_ns()}-{next(number)}"
    channel.queue_declare(name, durable=True)
    channel.queue_bind(name, exchange, key, arguments=arguments or None)
    return name


def publish(channel, exchange, body, delay=None, key="k", headers=None, mandatory=False, **properties):
    headers = dict(headers or {})
    if delay is not None:
        headers["x-delay"] = delay
    properties.setdefault("delivery_mode", 2)
    properties = pika.BasicProperties(headers=headers, **properties)
    channel.basic_publish(exchange, key, body, properties, mandatory=mandatory)


def equal(given, expected):
    assert given == expected, f"{given!r} instead of {expected!r}"


def refused(broker, code, text, **declare):
    channel = broker.channel()
    try:
        channel.exchange_declare("delayed-refused", "x-delayed-message", **declare)
    except (exceptions.ChannelClosedByBroker, exceptions.ConnectionClosedByBroker) as closed:
        equal((closed.reply_code, closed.reply_text), (code, text))
    else:
        raise AssertionError("it was declared")


@case("the type to route by has to be given")
def _(broker):
    text = "PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type"
    refused(broker, 406, text)
    refused(broker, 406, text, arguments={"x-delayed-type": 5})


@case("the type to route by cannot be itself")
def _(broker):
    text = "PRECONDITION_FAILED - Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'"
    refused(broker, 406, text, arguments={"x-delayed-type": "x-delayed-message"})


@case("the type to route by has to exist")
def _(broker):
    text = "COMMAND_INVALID - unknown exchange type 'x-not-valid-type'"
    refused(broker, 503, text, arguments={"x-delayed-type": "x-not-valid-type"})


@case("a delayed message comes in its time and not before")
def _(broker):
    channel = confirming(broker)
    exchange = delayed(channel)
    queue = bound(channel, exchange)
    began = time.monotonic()
    publish(channel, exchange, b"a", 800)
    equal(count(channel, queue), 0)
    quiet(channel, 0.3)
    if time.monotonic() - began < 0.7:
        equal(count(channel, queue), 0)
    wait_for_count(channel, queue, 1)
    assert time.monotonic() - began >= 0.8


@case("the shorter delay comes first, and of equals the first published")
def _(broker):
    channel = confirming(broker)
    exchange = delayed(channel)
    queue = bound(channel, exchange)
    for body, delay in [(b"d", 900), (b"a", 300), (b"b", 600), (b"c", 600)]:
        publish(channel, exchange, body, delay)
    wait_for_count(channel, queue, 4)
    # The two with one delay were not published in the same millisecond.
    equal(drain(channel, queue), [b"a", b"b", b"c", b"d"])


@case("the header is negative in the delivery")
def _(broker):
    channel = confirming(broker)
    exchange = delayed(channel)
    queue = bound(channel, exchange)
    publish(channel, exchange, b"a", 100, headers={"other": "kept"}, message_id="m", content_type="text/plain")
    wait_for_count(channel, queue, 1)
    method, properties, body = channel.basic_get(queue, auto_ack=True)
    equal(properties.headers, {"other": "kept", "x-delay": -100})
    equal((properties.message_id, properties.content_type, properties.delivery_mode), ("m", "text/plain", 2))
    equal((method.exchange, method.routing_key, method.redelivered), (exchange, "k", False))


@case("without a delay a message is routed at once, and its header is as it came")
def _(broker):
    channel = confirming(broker)
    exchange = delayed(channel)
    queue = bound(channel, exchange)
    for delay in [None, 0, -5, 2**32, True]:
        publish(channel, exchange, b"a", delay)
    equal(count(channel, queue), 5)
    headers = [channel.basic_get(queue, auto_ack=True)[1].headers for _ in range(5)]
    equal([(found or {}).get("x-delay") for found in headers], [None, 0, -5, 2**32, True])


@case("a delay may be a string of digits")
def _(broker):
    channel = confirming(broker)
    exchange = delayed(channel)
    queue = bound(channel, exchange)
    publish(channel, exchange, b"a", "400")
    equal(count(channel, queue), 0)
    wait_for_count(channel, queue, 1)
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    equal(properties.headers, {"x-delay": -400})


@case("it routes like the type that it was given")
def _(broker):
    channel = confirming(broker)
    topic, fanout = delayed(channel, "topic"), delayed(channel, "fanout")
    headers = delayed(channel, "headers")
    queues = [bound(channel, topic, "a.*"), bound(channel, fanout, ""), bound(channel, headers, "", kind="x")]
    for delay in [0, 200]:
        publish(channel, topic, b"yes", delay, key="a.b")
        publish(channel, topic, b"no", delay, key="b.b")
        publish(channel, fanout, b"yes", delay, key="any")
        publish(channel, headers, b"yes", delay, headers={"kind": "x"})
        publish(channel, headers, b"no", delay, headers={"kind": "y"})
    for queue in queues:
        wait_for_count(channel, queue, 2)
        equal(drain(channel, queue), [b"yes", b"yes"])


@case("what comes through another exchange is held back too")
def _(broker):
    channel = confirming(broker)
    exchange = delayed(channel)
    queue = bound(channel, exchange)
    first = delayed(channel, "fanout")
    channel.exchange_bind(exchange, first)
    publish(channel, first, b"a", 300)
    equal(count(channel, queue), 0)
    # Once held back it is not held back again.
    wait_for_count(channel, queue, 1)


@case("bindings count that are there when the time has come")
def _(broker):
    channel = confirming(broker)
    exchange = delayed(channel)
    publish(channel, exchange, b"a", 500, key="later")
    queue = bound(channel, exchange, "later")
    wait_for_count(channel, queue, 1)


@case("a dead letter waits at a delayed exchange")
def _(broker):
    channel = confirming(broker)
    exchange = delayed(channel)
    queue = bound(channel, exchange)
    work = f"work-{time.time_ns()}"
    arguments = {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": "k"}
    channel.queue_declare(work, durable=True, arguments=arguments)
    publish(channel, "", b"a", 500, key=work)
    method, _, _ = channel.basic_get(work)
    channel.basic_reject(method.delivery_tag, requeue=False)
    equal(count(channel, queue), 0)
    wait_for_count(channel, queue, 1)
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    equal((properties.headers["x-delay"], properties.headers["x-death"][0]["queue"]), (-500, work))


@case("ours: a mandatory message that nobody wants comes back at once")
def _(broker):
    channel = confirming(broker)
    exchange = delayed(channel)
    bound(channel, exchange)
    publish(channel, exchange, b"a", 600_000, mandatory=True)
    try:
        publish(channel, exchange, b"b", 600_000, key="nobody", mandatory=True)
    except exceptions.UnroutableError as error:
        (message,) = error.messages
        equal((message.method.reply_code, message.body), (312, b"b"))
    else:
        raise AssertionError("it was taken")


@case("ours: what nobody wants when its time has come goes to the alternate exchange")
def _(broker):
    channel = confirming(broker)
    aside = delayed(channel, "fanout")
    queue = bound(channel, aside)
    exchange = delayed(channel, **{"alternate-exchange": aside})
    publish(channel, exchange, b"a", 200, key="nobody")
    wait_for_count(channel, queue, 1)


@case("ours: what waits when its exchange is deleted is kept")
def _(broker):
    channel = confirming(broker)
    exchange = delayed(channel)
    drain(channel, "amq.everack.unroutable")
    publish(channel, exchange, b"a", 300)
    channel.exchange_delete(exchange)
    wait_for_count(channel, "amq.everack.unroutable", 1)
    method, _, body = channel.basic_get("amq.everack.unroutable", auto_ack=True)
    equal((method.exchange, body), (exchange, b"a"))


@case("ours: nobody reaches the queue in which messages wait")
def _(broker):
    exchange = delayed(broker.channel())
    room = f"amq.everack.delayed.{exchange}"
    for ask in [
        lambda channel: channel.queue_declare(room, passive=True),
        lambda channel: channel.basic_get(room),
        lambda channel: channel.queue_purge(room),
        lambda channel: channel.queue_bind(room, "amq.fanout", ""),
    ]:
        try:
            ask(broker.channel())
        except exceptions.ChannelClosedByBroker as closed:
            equal((closed.reply_code, closed.reply_text), (404, f"NOT_FOUND - no queue '{room}' in vhost '/'"))
        else:
            raise AssertionError("it was reached")


if __name__ == "__main__":
    cases.main()
