"""Who gets which message when: one feature a case."""

import socket
import time

import pika
from pika import exceptions

import cases
from cases import case
from management import api
from queues import wait

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def declare(channel, name, **arguments):
    """A durable queue of this case's own, without what an earlier run left."""
    channel.queue_delete(name)
    arguments = {"x-" + key.replace("_", "-"): value for key, value in arguments.items()}
    channel.queue_declare(name, durable=True, arguments=arguments)
    return name


def publish(channel, queue, *bodies, **properties):
    """Publishes and waits until the messages are in their queue."""
    confirming = channel.connection.channel()
    confirming.confirm_delivery()
    for body in bodies:
        confirming.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2, **properties))
    confirming.close()


def quiet(*channels):
    """Lets time pass in which something wrong could arrive."""
    for channel in channels:
        channel.connection.sleep(0.15)


def die(connection):
    """Ends a connection without a word; to close it would cancel its consumers first."""
    connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)


class Consumer:
    """Keeps what it gets, on a channel of its own."""

    def __init__(self, connection, queue, prefetch=0, priority=None, **more):
        self.channel = connection.channel()
        if prefetch:
            self.channel.basic_qos(prefetch_count=prefetch)
        self.got = []
        self.cancelled = []
        self.channel.add_on_cancel_callback(self.cancelled.append)
        arguments = dict(more.pop("arguments", {}))
        if priority is not None:
            arguments["x-priority"] = priority
        self.tag = self.channel.basic_consume(
            queue, lambda _, *message: self.got.append(message), arguments=arguments, **more
        )

    def bodies(self):
        return [body for _, _, body in self.got]

    def expect(self, *bodies):
        wait(self.channel, lambda: len(self.got) >= len(bodies))
        assert self.bodies() == list(bodies), self.bodies()

    def ack(self):
        for method, _, _ in self.got:
            self.channel.basic_ack(method.delivery_tag)
        self.got.clear()


def refusal(action, *arguments, **more):
    """Code and text of the channel's end."""
    try:
        action(*arguments, **more)
    except exceptions.ChannelClosedByBroker as closed:
        return closed.reply_code, closed.reply_text
    raise AssertionError("it was not refused")


KINDS = ["classic", "quorum"]


def of_each_kind(name):
    """Registers a function as a case for each type of queue."""

    def register(function):
        for kind in KINDS:
            case(f"{name} ({kind})")(lambda broker, kind=kind: function(broker, kind))
        return function

    return register


@of_each_kind("a single active consumer gets everything, and its death passes it on in order")
def _(broker, kind):
    connection, dying = broker.connection(), broker.connection()
    channel = connection.channel()
    queue = declare(channel, f"d-sac-{kind}", queue_type=kind, single_active_consumer=True)
    active = Consumer(dying, queue, prefetch=2)
    waiting = Consumer(connection, queue)
    publish(channel, queue, b"1", b"2", b"3", b"4")
    active.expect(b"1", b"2")
    quiet(waiting.channel)
    assert waiting.bodies() == []
    die(dying)
    waiting.expect(b"1", b"2", b"3", b"4")
    assert [method.redelivered for method, _, _ in waiting.got] == [True, True, False, False]


@of_each_kind("a single active consumer that is cancelled passes on at once")
def _(broker, kind):
    connection = broker.connection()
    channel = connection.channel()
    queue = declare(channel, f"d-sac-cancel-{kind}", queue_type=kind, single_active_consumer=True)
    active = Consumer(connection, queue, prefetch=1)
    second = Consumer(connection, queue, prefetch=1, priority=1 if kind == "classic" else 0)
    third = Consumer(connection, queue, prefetch=1, priority=5 if kind == "classic" else 0)
    publish(channel, queue, b"1", b"2", b"3")
    active.expect(b"1")
    active.channel.basic_cancel(active.tag)
    # The highest of those who wait, else the longest waiting. RabbitMQ's classic queues do not notice before the next event.
    active.ack()
    following, last = (third, second) if kind == "classic" else (second, third)
    following.expect(b"2")
    quiet(last.channel)
    assert last.bodies() == []
    # Whoever is cancelled keeps what it holds until its channel goes.
    following.channel.basic_cancel(following.tag)
    last.expect(b"3")
    last.ack()
    following.channel.close()
    last.expect(b"2")


@of_each_kind("the management API shows which consumer is the active one")
def _(broker, kind):
    connection = broker.connection()
    channel = connection.channel()
    queue = declare(channel, f"d-sac-shown-{kind}", queue_type=kind, single_active_consumer=True)
    first, second = Consumer(connection, queue), Consumer(connection, queue)

    def seen():
        shown = api(f"queues/%2f/{queue}")
        statuses = {each["consumer_tag"]: each["activity_status"] for each in shown["consumer_details"]}
        return shown["single_active_consumer_tag"], statuses

    assert seen() == (first.tag, {first.tag: "single_active", second.tag: "waiting"}), seen()
    first.channel.basic_cancel(first.tag)
    assert seen() == (second.tag, {second.tag: "single_active"}), seen()
    listed = api("consumers/%2f")
    assert [each["active"] for each in listed if each["consumer_tag"] == second.tag] == [True]


@of_each_kind("consumers of the highest priority get everything while they can take it, equals take turns")
def _(broker, kind):
    connection = broker.connection()
    channel = connection.channel()
    queue = declare(channel, f"d-consumers-{kind}", queue_type=kind)
    low = Consumer(connection, queue)
    high = [Consumer(connection, queue, prefetch=2, priority=10) for _ in range(2)]
    publish(channel, queue, *[b"%d" % number for number in range(6)])
    wait(low.channel, lambda: len(low.got) == 2)
    wait(low.channel, lambda: all(len(one.got) == 2 for one in high))
    assert low.bodies() == [b"4", b"5"], low.bodies()
    assert sorted(high[0].bodies() + high[1].bodies()) == [b"0", b"1", b"2", b"3"]
    high[1].ack()
    publish(channel, queue, b"6")
    high[1].expect(b"6")
    # A negative priority is below those who have none.
    for one in high:
        one.channel.close()
    low.ack()
    lowest = Consumer(connection, queue, priority=-5)
    publish(channel, queue, b"7")
    wait(low.channel, lambda: b"7" in low.bodies())
    quiet(lowest.channel)
    assert lowest.bodies() == []


@case("on a quorum queue a higher priority takes over once the active consumer holds nothing")
def _(broker):
    connection = broker.connection()
    channel = connection.channel()
    queue = declare(channel, "d-sac-higher", queue_type="quorum", single_active_consumer=True)
    low = Consumer(connection, queue)
    publish(channel, queue, b"1")
    low.expect(b"1")
    high = Consumer(connection, queue, priority=10)
    publish(channel, queue, b"2")
    quiet(high.channel)
    assert low.bodies() == [b"1"] and high.bodies() == []
    low.ack()
    high.expect(b"2")


@case("a queue with a single active consumer refuses an exclusive one")
def _(broker):
    channel = broker.channel()
    queue = declare(channel, "d-sac-exclusive", single_active_consumer=True)
    code, text = refusal(channel.basic_consume, queue, lambda *_: None, exclusive=True)
    assert code == 403, code
    assert text == f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use", text


@case("a quorum queue with a single active consumer cannot be polled, a classic one can")
def _(broker):
    connection = broker.connection()
    channel = connection.channel()
    classic = declare(channel, "d-sac-get", single_active_consumer=True)
    publish(channel, classic, b"x")
    assert channel.basic_get(classic, auto_ack=True)[2] == b"x"
    quorum = declare(channel, "d-sac-get-quorum", queue_type="quorum", single_active_consumer=True)
    code, text = refusal(channel.basic_get, quorum)
    assert code == 405, code
    expected = (
        f"RESOURCE_LOCKED - cannot obtain access to locked queue '{quorum}' in vhost '/'. basic.get operations "
        "are not supported by quorum queues with single active consumer"
    )
    assert text == expected, text


def counts(properties):
    """What a delivery says of the earlier ones: acquired, failed."""
    headers = properties.headers or {}
    return headers.get("x-acquired-count"), headers.get("x-delivery-count")


def get(channel, queue):
    """The next message, which may be on its way back from a connection that has just closed."""
    got = []

    def is_there():
        method, properties, body = channel.basic_get(queue)
        if method is not None:
            got.append((method, properties, body))
        return bool(got)

    wait(channel, is_there)
    return got[0]


@case("a quorum queue counts rejects and deaths against its limit, and nacks not")
def _(broker):
    connection, dying = broker.connection(), broker.connection()
    channel = connection.channel()
    queue = declare(channel, "d-limit", queue_type="quorum", delivery_limit=2)
    publish(channel, queue, b"m", headers={"mine": 1})
    seen = []

    def take(channel):
        method, properties, _ = get(channel, queue)
        assert properties.headers["mine"] == 1
        seen.append((method.redelivered, *counts(properties)))
        return method.delivery_tag

    channel.basic_nack(take(channel), requeue=True)
    take(dying.channel())
    dying.close()
    channel.basic_reject(take(channel), requeue=True)
    channel.basic_reject(take(channel), requeue=True)
    assert seen == [(False, None, None), (True, 1, None), (True, 2, 1), (True, 3, 2)], seen
    assert channel.basic_get(queue)[0] is None, "it is out of everybody's way"
    code, text = refusal(connection.channel().queue_delete, queue, if_empty=True)
    assert (code, text) == (406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"), text
    shown = api(f"queues/%2f/{queue}")
    assert (shown["messages"], shown["messages_parked"]) == (0, 1), shown


@case("a get tells how often a message came back from a quorum queue, and not from a classic one")
def _(broker):
    connection = broker.connection()
    channel = connection.channel()
    for kind, expected in [("quorum", (2, 1)), ("classic", (None, None))]:
        queue = declare(channel, f"d-counts-{kind}", queue_type=kind)
        publish(channel, queue, b"m")
        method, _, _ = channel.basic_get(queue)
        channel.basic_reject(method.delivery_tag, requeue=True)
        method, _, _ = channel.basic_get(queue)
        channel.basic_nack(method.delivery_tag, requeue=True)
        method, properties, body = channel.basic_get(queue)
        assert body == b"m" and method.redelivered
        assert counts(properties) == expected, (kind, counts(properties))


@case("a death is charged to the message in work, not to the prefetch window")
def _(broker):
    connection = broker.connection()
    channel = connection.channel()
    queue = declare(channel, "d-window", queue_type="quorum", delivery_limit=1)
    publish(channel, queue, b"poison", b"innocent", b"bystander")
    for _ in range(2):
        dying = broker.connection()
        Consumer(dying, queue, prefetch=10).expect(b"poison", b"innocent", b"bystander")
        dying.close()
    last = Consumer(connection, queue)
    last.expect(b"innocent", b"bystander")
    assert [counts(properties) for _, properties, _ in last.got] == [(2, None), (2, None)]


@case("a classic queue delivers the levels that it asked for, high ones first")
def _(broker):
    channel = broker.channel()
    queue = declare(channel, "d-priority", max_priority=5)
    for body, priority in [(b"none", None), (b"2", 2), (b"5", 5), (b"9", 9), (b"2 again", 2), (b"0", 0)]:
        publish(channel, queue, body, priority=priority)
    got = [get(channel, queue) for _ in range(6)]
    assert [body for _, _, body in got] == [b"5", b"9", b"2", b"2 again", b"none", b"0"], got
    # What comes back goes to its place, and the priority that was published is what the consumer sees.
    assert got[1][1].priority == 9
    for method, _, _ in reversed(got[:3]):
        channel.basic_nack(method.delivery_tag, requeue=True)
    assert [get(channel, queue)[2] for _ in range(3)] == [b"5", b"9", b"2"]


@case("a quorum queue has thirty-two levels, and a message without a priority is in the fifth")
def _(broker):
    channel = broker.channel()
    queue = declare(channel, "d-priority-quorum", queue_type="quorum")
    for body, priority in [(b"none", None), (b"3", 3), (b"31", 31), (b"200", 200), (b"4", 4), (b"5", 5)]:
        publish(channel, queue, body, priority=priority)
    got = [get(channel, queue)[2] for _ in range(6)]
    assert got == [b"31", b"200", b"5", b"none", b"4", b"3"], got


@case("a consumer in the middle of its prefetch gets what is urgent next")
def _(broker):
    connection = broker.connection()
    channel = connection.channel()
    queue = declare(channel, "d-priority-consumer", max_priority=3)
    publish(channel, queue, b"a", b"b", b"c")
    consumer = Consumer(connection, queue, prefetch=1)
    consumer.expect(b"a")
    publish(channel, queue, b"urgent", priority=3)
    consumer.ack()
    consumer.expect(b"urgent")
    consumer.ack()
    consumer.expect(b"b")


@of_each_kind("a consumer that holds a message for too long is cancelled, its channel lives")
def _(broker, kind):
    connection = broker.connection()
    channel = connection.channel()
    queue = declare(channel, f"d-timeout-{kind}", queue_type=kind, consumer_timeout=300)
    publish(channel, queue, b"1", b"2")
    slow = Consumer(connection, queue, prefetch=1)
    slow.expect(b"1")
    wait(slow.channel, lambda: slow.cancelled)
    assert slow.cancelled[0].method.consumer_tag == slow.tag
    # What it says of the message now comes too late, and harms nobody.
    slow.channel.basic_ack(slow.got[0][0].delivery_tag)
    quiet(slow.channel)
    assert slow.channel.is_open
    other = Consumer(connection, queue)
    other.expect(b"1", b"2")
    assert [method.redelivered for method, _, _ in other.got] == [True, False]
    assert other.got[0][1].headers is None or "x-delivery-count" not in other.got[0][1].headers
    other.ack()


@case("a consumer may bring a timeout of its own, and one that settles in time lives on")
def _(broker):
    connection = broker.connection()
    channel = connection.channel()
    queue = declare(channel, "d-timeout-own")
    slow = Consumer(connection, queue, prefetch=1, arguments={"x-consumer-timeout": 400})
    for body in [b"1", b"2", b"3", b"4"]:
        publish(channel, queue, body)
        slow.expect(body)
        connection.sleep(0.2)
        slow.ack()
    assert not slow.cancelled
    publish(channel, queue, b"5")
    slow.expect(b"5")
    wait(slow.channel, lambda: slow.cancelled)
    assert get(channel, queue)[2] == b"5"


@of_each_kind("what failed waits longer each time before it is delivered again")
def _(broker, kind):
    connection = broker.connection()
    channel = connection.channel()
    queue = declare(
        channel,
        f"d-retry-{kind}",
        queue_type=kind,
        delayed_retry_type="failed",
        delayed_retry_min=200,
        delayed_retry_max=400,
    )
    publish(channel, queue, b"m", b"other")
    consumer = Consumer(connection, queue)
    consumer.expect(b"m", b"other")
    for at_least in [0.2, 0.4, 0.4]:
        failed = next(method for method, _, body in consumer.got if body == b"m")
        consumer.got.clear()
        began = time.monotonic()
        consumer.channel.basic_reject(failed.delivery_tag, requeue=True)
        wait(consumer.channel, lambda: consumer.got)
        waited = time.monotonic() - began
        assert consumer.bodies() == [b"m"]
        # The broker counts whole milliseconds.
        assert waited >= at_least - 0.002, f"{waited} s instead of {at_least}"
    # A nack is no failure and does not wait.
    method = consumer.got[0][0]
    consumer.got.clear()
    consumer.channel.basic_nack(method.delivery_tag, requeue=True)
    consumer.expect(b"m")
    assert counts(consumer.got[0][1]) == (4, 3), counts(consumer.got[0][1])


@case("a quorum queue refuses what it has not")
def _(broker):
    connection = broker.connection()
    quorum = {"x-queue-type": "quorum"}

    def refused(**more):
        arguments = {**quorum, **more.pop("arguments", {})}
        return refusal(connection.channel().queue_declare, "d-refused", arguments=arguments, **more)

    name = "queue 'd-refused' in vhost '/'"
    for more, text in [
        ({}, f"invalid property 'non-durable' for {name}"),
        ({"durable": True, "exclusive": True}, f"invalid property 'exclusive-owner' for {name}"),
        ({"durable": True, "auto_delete": True}, f"invalid property 'auto-delete' for {name}"),
        (
            {"durable": True, "arguments": {"x-max-priority": 3}},
            f"invalid arg 'x-max-priority' for {name} of queue type rabbit_quorum_queue",
        ),
    ]:
        assert refused(**more) == (406, f"PRECONDITION_FAILED - {text}"), refused(**more)


@case("a quorum queue has no consumers on a channel with a global prefetch")
def _(broker):
    connection = broker.connection()
    channel = connection.channel()
    queue = declare(channel, "d-global", queue_type="quorum")
    channel.basic_qos(prefetch_count=5, global_qos=True)
    try:
        channel.basic_consume(queue, lambda *_: None)
    except exceptions.ConnectionClosedByBroker as closed:
        assert closed.reply_code == 540, closed
        expected = f"NOT_IMPLEMENTED - queue '{queue}' in vhost '/' does not support global qos"
        assert closed.reply_text == expected, closed.reply_text
    else:
        raise AssertionError("it was not refused")


if __name__ == "__main__":
    cases.main()
