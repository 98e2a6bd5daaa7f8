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


if __name__ == "__main__":
    cases.main()
