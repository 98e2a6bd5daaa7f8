"""The ways by which RabbitMQ 4 loses what it has accepted, and what happens here: one way a case.

"Accepted" means that the publisher's confirm has come. The guide's page "What RabbitMQ can lose" names these cases. Those that begin with
"ours" fail against RabbitMQ, which is what they are about; the others say what any broker does because a client asked for it.
"""

import time

import pika
from pika import exceptions

import cases
from cases import case
from control import kill_and_restart
from management import api
from queues import confirming, count, drain, fresh_exchange, quiet, wait_for_count

STORE = "amq.everack.unroutable"
# Settlements are durable within 10 ms and the syncs that they wait for.
SETTLED = 1
TRANSIENT, PERSISTENT = (pika.BasicProperties(delivery_mode=mode) for mode in (1, 2))


def fresh(channel, name, durable=True, **arguments):
    """A queue of the case's own, without what an earlier run left."""
    channel.queue_delete(name)
    arguments = {"x-" + key.replace("_", "-"): value for key, value in arguments.items()}
    channel.queue_declare(name, durable=durable, arguments=arguments)
    return name


def publish(channel, queue, *bodies, properties=PERSISTENT):
    for body in bodies:
        channel.basic_publish("", queue, body, properties)


def balance(queue):
    """What the queue has accepted, and what became of it, by word; discarded ones by reason."""
    told = api(f"queues/%2f/{queue}")["message_balance"]
    parts = {**told, **told["discarded"]}
    del parts["discarded"]
    assert parts["accepted"] == sum(parts.values()) - parts["accepted"], told
    return {word: number for word, number in parts.items() if number}


def wait_for_balance(channel, queue, **expected):
    deadline = time.monotonic() + cases.PATIENCE
    while balance(queue) != expected:
        assert time.monotonic() < deadline, balance(queue)
        quiet(channel, 0.02)


def take(channel, queue):
    """The next message, unsettled; it may still be on its way back to its queue."""
    deadline = time.monotonic() + cases.PATIENCE
    while True:
        method, properties, body = channel.basic_get(queue)
        if method is not None:
            return method, properties, body
        assert time.monotonic() < deadline, f"{queue} stays empty"
        quiet(channel, 0.02)


# -- routing

@case("ours: a message that no queue wants is in the vhost's store, through a SIGKILL")
def _(broker):
    channel = confirming(broker)
    channel.queue_purge(STORE)
    channel.basic_publish("amq.direct", "lo-nobody", b"kept", PERSISTENT)
    kill_and_restart(broker)
    channel = broker.channel()
    method, _, body = take(channel, STORE)
    assert (method.exchange, method.routing_key, body) == ("amq.direct", "lo-nobody", b"kept"), method
    channel.basic_ack(method.delivery_tag)


# -- what a crash takes

@case("ours: a transient message in a durable queue outlives a SIGKILL")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, "lo-transient-message")
    publish(channel, queue, b"transient", properties=TRANSIENT)
    publish(channel, queue, b"persistent")
    kill_and_restart(broker)
    assert drain(broker.channel(), queue) == [b"transient", b"persistent"]


@case("a queue that is not durable goes with the process, and so do persistent messages in it")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, "lo-transient-queue", durable=False)
    publish(channel, queue, b"gone")
    kill_and_restart(broker)
    try:
        count(broker.channel(), queue)
        raise AssertionError("the queue is still there")
    except exceptions.ChannelClosedByBroker as closed:
        assert closed.reply_code == 404, closed


@case("what was confirmed and what was delivered are there after a SIGKILL, the latter flagged, both in order")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, "lo-crash")
    publish(channel, queue, *[b"%d" % number for number in range(20)])
    consumer = broker.channel()
    held = [take(consumer, queue)[0] for _ in range(5)]
    consumer.basic_ack(held[1].delivery_tag)
    quiet(channel, SETTLED)
    kill_and_restart(broker)
    channel = broker.channel()
    messages = [take(channel, queue) for _ in range(19)]
    assert [body for _, _, body in messages] == [b"%d" % number for number in range(20) if number != 1], messages
    assert all(method.redelivered for method, _, _ in messages[:4])


@case("an acknowledgement from before a SIGKILL settles nothing after it")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, "lo-stale")
    publish(channel, queue, b"first", b"second")
    tag = take(channel, queue)[0].delivery_tag
    kill_and_restart(broker)
    channel = broker.channel()
    try:
        channel.basic_ack(tag)
        channel.basic_get("lo-stale")
        raise AssertionError("a tag that this channel was never given was accepted")
    except exceptions.ChannelClosedByBroker as closed:
        assert (closed.reply_code, closed.reply_text) == (406, f"PRECONDITION_FAILED - unknown delivery tag {tag}"), closed
    channel = broker.channel()
    # A tag of the new channel means the message that it was given with, whatever had the number before.
    method, _, body = take(channel, queue)
    assert (method.delivery_tag, body) == (tag, b"first")
    channel.basic_ack(method.delivery_tag)
    channel.close()
    assert drain(broker.channel(), queue) == [b"second"]


# -- what clients and limits throw away

@case("ours: a message over its delivery limit is parked, through a SIGKILL")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, "lo-poison", queue_type="quorum", delivery_limit=1)
    publish(channel, queue, b"poison", b"good")
    for _ in range(2):
        method, _, body = take(channel, queue)
        assert body == b"poison"
        channel.basic_reject(method.delivery_tag, requeue=True)
    wait_for_count(channel, queue, 1)
    assert api(f"queues/%2f/{queue}")["messages_parked"] == 1
    quiet(channel, SETTLED)
    kill_and_restart(broker)
    assert api(f"queues/%2f/{queue}")["messages_parked"] == 1
    assert drain(broker.channel(), queue) == [b"good"]


@case("ours: what is rejected without a dead-letter exchange is gone, as its consumer ordered, and counted")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, "lo-rejected")
    publish(channel, queue, b"rejected", b"nacked", b"kept")
    channel.basic_reject(take(channel, queue)[0].delivery_tag, requeue=False)
    channel.basic_nack(take(channel, queue)[0].delivery_tag, requeue=False)
    wait_for_balance(channel, queue, accepted=3, live=1, rejected=2)
    assert drain(channel, queue) == [b"kept"]


@case("ours: what expires without a dead-letter exchange is counted")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, "lo-expired", message_ttl=50)
    publish(channel, queue, b"a", b"b")
    wait_for_balance(channel, queue, accepted=2, expired=2)


@case("ours: the head that a full queue drops is counted")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, "lo-dropped", max_length=2)
    publish(channel, queue, b"a", b"b", b"c")
    wait_for_balance(channel, queue, accepted=3, live=2, maxlen=1)


@case("ours: what is purged is counted, and a purge leaves what consumers hold")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, "lo-purged")
    publish(channel, queue, b"held", b"a", b"b")
    take(channel, queue)
    assert channel.queue_purge(queue).method.message_count == 2
    wait_for_balance(channel, queue, accepted=3, live=1, purged=2)


@case("a deletion tells how much went with the queue, and with if-empty nothing goes")
def _(broker):
    channel = confirming(broker)
    queue = fresh(channel, "lo-deleted")
    publish(channel, queue, b"a", b"b")
    try:
        broker.channel().queue_delete(queue, if_empty=True)
        raise AssertionError("a queue with messages was deleted")
    except exceptions.ChannelClosedByBroker as closed:
        assert closed.reply_code == 406, closed
    assert channel.queue_delete(queue).method.message_count == 2


@case("an exclusive queue goes with its connection, as its owner asked")
def _(broker):
    owner = confirming(broker)
    owner.queue_declare("lo-exclusive", exclusive=True)
    publish(owner, "lo-exclusive", b"mine")
    owner.connection.close()
    channel = broker.channel()
    try:
        count(channel, "lo-exclusive")
        raise AssertionError("the queue is still there")
    except exceptions.ChannelClosedByBroker as closed:
        assert closed.reply_code in (404, 405), closed


# -- dead letters

@case("ours: a dead letter whose exchange is missing waits in its queue, through a SIGKILL")
def _(broker):
    channel = confirming(broker)
    exchange = f"lo-late-{time.time_ns()}"
    queue = fresh(channel, "lo-dead", message_ttl=50, dead_letter_exchange=exchange)
    letters = fresh(channel, "lo-dead-letters")
    publish(channel, queue, b"a", b"b")
    wait_for_count(channel, queue, 0)
    kill_and_restart(broker)
    channel = confirming(broker)
    channel.exchange_declare(exchange, "fanout")
    channel.queue_bind(letters, exchange)
    wait_for_count(channel, letters, 2)
    assert sorted(drain(channel, letters)) == [b"a", b"b"]
    channel.exchange_delete(exchange)


@case("ours: a dead letter whose target is full waits in its queue, through a SIGKILL")
def _(broker):
    channel = confirming(broker)
    letters = fresh(channel, "lo-narrow", max_length=1, overflow="reject-publish")
    queue = fresh(
        channel, "lo-waiting", dead_letter_exchange="", dead_letter_routing_key=letters, message_ttl=50
    )
    publish(channel, queue, b"a", b"b", b"c")
    wait_for_count(channel, letters, 1)
    kill_and_restart(broker)
    channel = broker.channel()
    taken = []
    for _ in range(3):
        wait_for_count(channel, letters, 1)
        taken += drain(channel, letters)
    assert sorted(taken) == [b"a", b"b", b"c"], taken
    quiet(channel, 0.3)
    assert (count(channel, queue), count(channel, letters)) == (0, 0)


@case("ours: a message that goes round in a circle is counted when it ends")
def _(broker):
    channel = confirming(broker)
    queue = fresh(
        channel, "lo-circle", message_ttl=30, dead_letter_exchange="", dead_letter_routing_key="lo-circle"
    )
    publish(channel, queue, b"round")
    wait_for_balance(channel, queue, accepted=1, cycle=1)


if __name__ == "__main__":
    cases.main()
