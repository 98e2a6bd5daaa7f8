"""How long messages and queues live, and where they go when they die: one rule a case.

Each case was seen to pass against RabbitMQ 3.10.8, but for the headers `x-last-death-*`, which newer series have, and for the cases whose
names begin with "ours": they say where Everack keeps what RabbitMQ drops.
"""

import datetime
import time

import pika
from pika import exceptions

import cases
from cases import case
from queues import confirming, count, drain, quiet, wait_for_count

number = iter(range(10**9))


def fresh(channel, arguments=None, name=None, **more):
    """A durable queue of the case's own."""
    name = name or f"life-{time.time_ns()}-{next(number)}"
    arguments = dict(arguments or {})
    channel.queue_declare(name, durable=True, arguments=arguments, **more)
    return name


def publish(channel, queue, *bodies, exchange="", **properties):
    properties.setdefault("delivery_mode", 2)
    for body in bodies:
        channel.basic_publish(exchange, queue, body, pika.BasicProperties(**properties))


def dead(channel, queue):
    """The next message of a dead-letter queue, with its properties."""
    deadline = time.monotonic() + cases.PATIENCE
    while count(channel, queue) == 0:
        assert time.monotonic() < deadline, "no dead letter came"
        quiet(channel, 0.01)
    method, properties, body = channel.basic_get(queue, auto_ack=True)
    assert method is not None
    return properties, body


def equal(given, expected):
    assert given == expected, f"{given!r} instead of {expected!r}"


def check_death(death, **expected):
    """A row of x-death, but for its time, which has to be now in whole seconds."""
    death = dict(death)
    age = datetime.datetime.now(datetime.timezone.utc) - death.pop("time")
    assert abs(age.total_seconds()) < 60, age
    equal(death, expected)


@case("messages of a queue with a time to live expire")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, {"x-message-ttl": 2000})
    publish(channel, queue, b"a", b"b")
    equal(count(channel, queue), 2)
    wait_for_count(channel, queue, 0)
    equal(drain(channel, queue), [])


@case("a message expires by itself")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel)
    publish(channel, queue, b"a", expiration="50")
    publish(channel, queue, b"b")
    wait_for_count(channel, queue, 1)
    equal(drain(channel, queue), [b"b"])


@case("the smaller time to live counts")
def _(broker):
    channel = confirming(broker)
    long, short = fresh(channel, {"x-message-ttl": 600000}), fresh(channel, {"x-message-ttl": 50})
    publish(channel, long, b"a", expiration="50")
    publish(channel, short, b"b", expiration="600000")
    wait_for_count(channel, long, 0)
    wait_for_count(channel, short, 0)


@case("a message expires only at the head")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel)
    publish(channel, queue, b"a")
    publish(channel, queue, b"b", expiration="20")
    quiet(channel, 0.2)
    equal(count(channel, queue), 2)
    equal(drain(channel, queue), [b"a"])


@case("nothing to live means now or never")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, {"x-message-ttl": 0})
    publish(channel, queue, b"a")
    wait_for_count(channel, queue, 0)
    got = []
    channel.basic_consume(queue, lambda _, *message: got.append(message))
    publish(channel, queue, b"b")
    publish(channel, queue, b"c", expiration="0")
    deadline = time.monotonic() + cases.PATIENCE
    while len(got) < 2:
        assert time.monotonic() < deadline, "it was not delivered"
        quiet(channel, 0.02)
    equal([message[2] for message in got], [b"b", b"c"])


@case("what is held does not expire until it comes back")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, {"x-message-ttl": 2000})
    publish(channel, queue, b"a", b"b")
    method, _, _ = channel.basic_get(queue)
    wait_for_count(channel, queue, 0)
    channel.basic_nack(method.delivery_tag, requeue=True)
    wait_for_count(channel, queue, 0)
    equal(drain(channel, queue), [])


@case("a queue that nobody uses goes")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, {"x-expires": 1200})
    for _ in range(4):
        quiet(channel, 0.4)
        channel.basic_get(queue)
    channel.basic_consume(queue, lambda *_: None, consumer_tag="user")
    quiet(channel, 1.5)
    equal(count(channel, queue), 0)
    channel.basic_cancel("user")
    quiet(channel, 2.5)
    try:
        count(channel, queue)
        raise AssertionError("the queue is still there")
    except exceptions.ChannelClosedByBroker as closed:
        equal(closed.reply_code, 404)


@case("a full queue drops its head")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, {"x-max-length": 3})
    publish(channel, queue, b"a", b"b", b"c", b"d", b"e")
    equal(count(channel, queue), 3)
    equal(drain(channel, queue), [b"c", b"d", b"e"])


@case("bytes of bodies count against the limit")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, {"x-max-length-bytes": 1000})
    publish(channel, queue, *[bytes([65 + at]) * 250 for at in range(6)], message_id="x" * 200)
    equal([body[:1] for body in drain(channel, queue)], [b"C", b"D", b"E", b"F"])


@case("a full queue refuses what is published")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, {"x-max-length": 2, "x-overflow": "reject-publish"})
    publish(channel, queue, b"a", b"b")
    for body in [b"c", b"d"]:
        try:
            publish(channel, queue, body)
            raise AssertionError("it was confirmed")
        except exceptions.NackError as nacked:
            equal([message.body for message in nacked.messages], [])
    equal(drain(channel, queue), [b"a", b"b"])
    publish(channel, queue, b"e")
    equal(drain(channel, queue), [b"e"])


@case("a refused message counts in one queue only")
def _(broker):
    channel = confirming(broker)
    full, open_ = fresh(channel, {"x-max-length": 0, "x-overflow": "reject-publish"}), fresh(channel)
    channel.exchange_declare("life-both", "fanout")
    for queue in (full, open_):
        channel.queue_bind(queue, "life-both")
    try:
        publish(channel, "", b"a", exchange="life-both")
        raise AssertionError("it was confirmed")
    except exceptions.NackError:
        pass
    equal((drain(channel, full), drain(channel, open_)), ([], [b"a"]))


@case("a refused message may go through the dead-letter exchange")
def _(broker):
    channel = confirming(broker)
    letters = fresh(channel)
    queue = fresh(channel, {
        "x-max-length": 1, "x-overflow": "reject-publish-dlx",
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": letters,
    })
    publish(channel, queue, b"a")
    try:
        publish(channel, queue, b"b")
        raise AssertionError("it was confirmed")
    except exceptions.NackError:
        pass
    properties, body = dead(channel, letters)
    equal(body, b"b")
    equal(properties.headers["x-first-death-reason"], "maxlen")
    equal(drain(channel, queue), [b"a"])


@case("a rejected message is dead-lettered with its story")
def _(broker):
    channel = confirming(broker)
    letters = fresh(channel)
    channel.exchange_declare("life-dlx", "fanout")
    channel.queue_bind(letters, "life-dlx")
    channel.exchange_declare("life-in", "direct")
    queue = fresh(channel, {"x-dead-letter-exchange": "life-dlx"})
    channel.queue_bind(queue, "life-in", "orders")
    publish(
        channel, "orders", b"body", exchange="life-in", headers={"own": 7, "CC": ["copy"]}, expiration="600000",
        message_id="id", priority=3, content_type="text/plain",
    )
    wait_for_count(channel, queue, 1)
    method, _, _ = channel.basic_get(queue)
    channel.basic_reject(method.delivery_tag, requeue=False)
    wait_for_count(channel, letters, 1)
    method, properties, body = channel.basic_get(letters, auto_ack=True)
    equal((method.exchange, method.routing_key, method.redelivered), ("life-dlx", "orders", False))
    equal((body, properties.message_id, properties.priority), (b"body", "id", 3))
    equal((properties.content_type, properties.delivery_mode), ("text/plain", 2))
    equal(properties.expiration, None)
    headers = dict(properties.headers)
    (death,) = headers.pop("x-death")
    check_death(death, **{
        "count": 1, "reason": "rejected", "queue": queue, "exchange": "life-in",
        "routing-keys": ["orders", "copy"], "original-expiration": "600000",
    })
    equal(headers, {
        "own": 7, "CC": ["copy"],
        "x-first-death-exchange": "life-in", "x-first-death-queue": queue, "x-first-death-reason": "rejected",
        "x-last-death-exchange": "life-in", "x-last-death-queue": queue, "x-last-death-reason": "rejected",
    })


@case("an expired message is dead-lettered under another key")
def _(broker):
    channel = confirming(broker)
    letters = fresh(channel)
    queue = fresh(channel, {
        "x-message-ttl": 50, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": letters,
    })
    publish(channel, queue, b"a", headers={"CC": ["copy"]})
    wait_for_count(channel, letters, 1)
    method, properties, _ = channel.basic_get(letters, auto_ack=True)
    equal((method.exchange, method.routing_key), ("", letters))
    (death,) = properties.headers["x-death"]
    check_death(death, **{
        "count": 1, "reason": "expired", "queue": queue, "exchange": "", "routing-keys": [queue, "copy"],
    })
    assert "CC" not in properties.headers


@case("a dropped head is dead-lettered")
def _(broker):
    channel = confirming(broker)
    letters = fresh(channel)
    queue = fresh(channel, {
        "x-max-length": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": letters,
    })
    publish(channel, queue, b"a", b"b", b"c")
    wait_for_count(channel, letters, 2)
    equal(drain(channel, queue), [b"c"])
    properties, body = dead(channel, letters)
    equal((body, properties.headers["x-death"][0]["reason"]), (b"a", "maxlen"))


@case("deaths are counted by queue and reason")
def _(broker):
    channel = confirming(broker)
    # Work is rejected to a waiting queue, from which it expires back: the usual way to retry.
    name = f"life-retry-{time.time_ns()}"
    work = fresh(channel, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name + "-wait"}, name)
    fresh(channel, {
        "x-message-ttl": 30, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": name,
    }, name + "-wait")
    publish(channel, work, b"a")
    for _ in range(3):
        wait_for_count(channel, work, 1)
        method, _, _ = channel.basic_get(work)
        channel.basic_nack(method.delivery_tag, requeue=False)
    wait_for_count(channel, work, 1)
    _, properties, _ = channel.basic_get(work, auto_ack=True)
    told = [(death["queue"], death["reason"], death["count"]) for death in properties.headers["x-death"]]
    equal(told, [(name + "-wait", "expired", 3), (name, "rejected", 3)])
    headers = properties.headers
    equal((headers["x-first-death-queue"], headers["x-first-death-reason"]), (name, "rejected"))
    equal((headers["x-last-death-queue"], headers["x-last-death-reason"]), (name + "-wait", "expired"))


@case("a circle without a rejection ends")
def _(broker):
    channel = confirming(broker)
    name = f"life-circle-{time.time_ns()}"
    queue = fresh(channel, {
        "x-message-ttl": 30, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": name,
    }, name)
    publish(channel, queue, b"a")
    quiet(channel, 0.3)
    equal(count(channel, queue), 0)
    first, second = name + "-1", name + "-2"
    arguments = {"x-message-ttl": 30, "x-dead-letter-exchange": ""}
    fresh(channel, {**arguments, "x-dead-letter-routing-key": second}, first)
    fresh(channel, {**arguments, "x-dead-letter-routing-key": first}, second)
    publish(channel, first, b"b")
    quiet(channel, 0.5)
    equal((count(channel, first), count(channel, second)), (0, 0))


@case("each target gets a dead letter")
def _(broker):
    channel = confirming(broker)
    channel.exchange_declare("life-fan", "fanout")
    letters = [fresh(channel) for _ in range(3)]
    for queue in letters:
        channel.queue_bind(queue, "life-fan")
    queue = fresh(channel, {"x-dead-letter-exchange": "life-fan", "x-message-ttl": 20})
    publish(channel, queue, b"a", b"b")
    for letter in letters:
        wait_for_count(channel, letter, 2)
        equal(drain(channel, letter), [b"a", b"b"])
    wait_for_count(channel, queue, 0)


@case("a transaction may reject into a dead-letter exchange")
def _(broker):
    channel = confirming(broker)
    letters = fresh(channel)
    queue = fresh(channel, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": letters})
    publish(channel, queue, b"a")
    wait_for_count(channel, queue, 1)
    work = broker.channel()
    work.tx_select()
    method, _, _ = work.basic_get(queue)
    work.basic_reject(method.delivery_tag, requeue=False)
    quiet(channel)
    equal(count(channel, letters), 0)
    work.tx_commit()
    wait_for_count(channel, letters, 1)


@case("ours: without a target a dead letter waits in its queue")
def _(broker):
    channel = confirming(broker)
    exchange = f"life-late-{time.time_ns()}"
    queue = fresh(channel, {"x-dead-letter-exchange": exchange, "x-message-ttl": 20})
    publish(channel, queue, b"a", b"b")
    quiet(channel, 0.3)
    equal(count(channel, queue), 0)
    channel.exchange_declare(exchange, "fanout")
    letters = fresh(channel)
    quiet(channel, 1.2)
    channel.queue_bind(letters, exchange)
    wait_for_count(channel, letters, 2)
    equal(sorted(drain(channel, letters)), [b"a", b"b"])


@case("ours: a full target gets a dead letter when it has room")
def _(broker):
    channel = confirming(broker)
    letters = fresh(channel, {"x-max-length": 2, "x-overflow": "reject-publish"})
    queue = fresh(channel, {
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": letters, "x-message-ttl": 20,
    })
    publish(channel, queue, b"a", b"b", b"c")
    wait_for_count(channel, letters, 2)
    quiet(channel, 0.2)
    taken = drain(channel, letters)
    equal(len(taken), 2)
    wait_for_count(channel, letters, 1)
    equal(sorted(taken + drain(channel, letters)), [b"a", b"b", b"c"])


if __name__ == "__main__":
    cases.main()
