"""Who gets which message when: one feature a case."""

import time

import pika
from pika import exceptions

import cases
from cases import case

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


def wait(channel, condition):
    deadline = time.monotonic() + cases.PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        channel.connection.process_data_events(0.02)


def quiet(*channels):
    """Lets time pass in which something wrong could arrive."""
    for channel in channels:
        channel.connection.sleep(0.15)


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
    dying.close()
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
    # The highest of those who wait, else the longest waiting.
    following, last = (third, second) if kind == "classic" else (second, third)
    following.expect(b"2")
    active.ack()
    quiet(last.channel)
    assert last.bodies() == []
    following.channel.close()
    last.expect(b"2")


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
        'are not supported by <<"quorum">> queues with single active consumer'
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


if __name__ == "__main__":
    cases.main()
