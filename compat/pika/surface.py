"""What an application does with a broker: one feature a case. Each case was seen to pass against RabbitMQ."""

import datetime
import decimal

import pika
from pika import exceptions, spec

import cases
from cases import case
from queues import count, drain, fresh_exchange, quiet, wait, wait_for_count

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def fresh_queue(channel, **more):
    """A queue of this case's own, with a name that the broker makes up."""
    more.setdefault("exclusive", True)
    return channel.queue_declare("", **more).method.queue


def collect(channel, queue, count, **consume):
    """The next messages of a consumer, as (method, properties, body)."""
    got = []
    consume.setdefault("auto_ack", False)
    tag = channel.basic_consume(queue, lambda _, *message: got.append(message), **consume)
    wait(channel, lambda: len(got) >= count)
    return tag, got


def publish(channel, queue, *bodies, exchange="", properties=PERSISTENT):
    """Publishes and waits until the messages are in their queues."""
    confirming = channel.connection.channel()
    confirming.confirm_delivery()
    for body in bodies:
        confirming.basic_publish(exchange, queue, body, properties)
    confirming.close()


def bodies(messages):
    return [body for _, _, body in messages]


# -- properties

@case("all properties and every kind of header value come back as they were")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    headers = {
        "text": "grüße", "bytes": b"\x00\xff", "int": 7, "negative": -7, "big": 1 << 40, "yes": True, "no": False,
        "nothing": None, "when": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc), "price": decimal.Decimal("12.50"),
        "list": [1, "two", [3, {"four": 5}]], "table": {"a": {"b": {"c": "d"}}}, "empty": {}, "none": [],
    }
    sent = pika.BasicProperties(
        content_type="text/plain", content_encoding="utf-8", headers=headers, delivery_mode=2, priority=5,
        correlation_id="c", reply_to="r", expiration="60000", message_id="m", timestamp=1_700_000_000, type="t",
        user_id="guest", app_id="a", cluster_id="k",
    )
    publish(channel, queue, b"x", properties=sent)
    _, got, body = channel.basic_get(queue, auto_ack=True)
    assert body == b"x"
    changed = {name: (value, got.headers.get(name)) for name, value in headers.items() if got.headers.get(name) != value}
    assert not changed, changed
    got.headers = sent.headers
    assert vars(got) == vars(sent), f"{vars(got)} instead of {vars(sent)}"


@case("an empty body and one of every size around a frame")
def _(broker):
    channel = broker.channel(frame_max=4096)
    queue = fresh_queue(channel)
    sizes = [0, 1, 4087, 4088, 4089, 8176, 8177, 100_000]
    publish(channel, queue, *(bytes([size % 251]) * size for size in sizes))
    got = drain(channel, queue)
    assert [len(body) for body in got] == sizes, [len(body) for body in got]
    assert all(body == bytes([len(body) % 251]) * len(body) for body in got)


@case("a body of 1 MiB, through a small and a large frame limit")
def _(broker):
    large, small = broker.channel(frame_max=131_072), broker.channel(frame_max=4096)
    queue = large.queue_declare("s-mib", auto_delete=False).method.queue
    body = bytes(range(256)) * 4096
    publish(large, queue, body)
    assert small.basic_get(queue, auto_ack=True)[2] == body
    publish(small, queue, body)
    assert large.basic_get(queue, auto_ack=True)[2] == body
    large.queue_delete(queue)


@case("a body of 20 MiB")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    body = bytes(range(256)) * (20 * 4096)
    publish(channel, queue, body)
    assert channel.basic_get(queue, auto_ack=True)[2] == body


# -- exchanges

def routed(name, kind, bindings, messages):
    """Messages that are published (key, headers), and which of the queues each reaches."""

    @case(name)
    def _(broker):
        channel = broker.channel()
        exchange = fresh_exchange(channel, "s-routed", kind)
        queues = {}
        for queue, key, arguments in bindings:
            queues.setdefault(queue, fresh_queue(channel))
            channel.queue_bind(queues[queue], exchange, key, arguments)
        for index, (key, headers, _) in enumerate(messages):
            publish(channel, key, str(index).encode(), exchange=exchange, properties=pika.BasicProperties(headers=headers))
        for queue, real in queues.items():
            expected = [str(index).encode() for index, (_, _, reached) in enumerate(messages) if queue in reached]
            got = drain(channel, real)
            assert got == expected, f"queue {queue} got {got} instead of {expected}"


routed(
    "a direct exchange", "direct",
    [("a", "red", None), ("b", "red", None), ("b", "blue", None), ("b", "", None)],
    [("red", None, "ab"), ("blue", None, "b"), ("green", None, ""), ("", None, "b"), ("Red", None, "")],
)
routed(
    "a fanout exchange", "fanout",
    [("a", "ignored", None), ("b", "", None), ("b", "again", None)],
    [("x", None, "ab"), ("", None, "ab")],
)
routed(
    "a topic exchange", "topic",
    [
        ("a", "*.orange.*", None), ("b", "*.*.rabbit", None), ("b", "lazy.#", None), ("c", "#", None), ("d", "", None),
        ("e", "#.x.#", None), ("f", "*", None), ("g", "a.#.b", None), ("h", "#.#", None), ("i", "*.#", None),
    ],
    [
        ("quick.orange.rabbit", None, "abchi"), ("lazy.orange.elephant", None, "abchi"), ("lazy", None, "bcfhi"),
        ("lazy.a.b.c", None, "bchi"), ("", None, "cdh"), ("x", None, "cefhi"), ("a.x.b", None, "ceghi"),
        ("a.b", None, "cghi"), ("a.b.c", None, "chi"), ("a..b", None, "cghi"), (".", None, "chi"), ("orange", None, "cfhi"),
    ],
)
routed(
    "a headers exchange", "headers",
    [
        ("a", "", {"x-match": "all", "k": "v", "n": 1}), ("b", "", {"x-match": "any", "k": "v", "n": 1}),
        ("c", "", {"k": "v"}), ("d", "", {"x-match": "all-with-x", "x-k": "v"}), ("e", "", {"x-match": "any-with-x", "x-k": "v", "k": "w"}),
        ("f", "", {"x-match": "all", "x-k": "v"}), ("g", "", {"x-match": "all", "k": None}), ("h", "", {}),
        ("i", "", {"x-match": "any"}),
    ],
    [
        ("", {"k": "v", "n": 1}, "abcfgh"), ("", {"k": "v"}, "bcfgh"), ("", {"n": 1}, "bfh"), ("", {"x-k": "v"}, "defh"),
        ("", {"k": "w"}, "efgh"), ("", None, "fh"), ("", {"k": "v", "n": "1"}, "bcfgh"), ("", {"n": True}, "fh"),
    ],
)


@case("the default exchange reaches every queue by its name")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, b"x")
    assert drain(channel, queue) == [b"x"]


@case("the exchanges that every virtual host has")
def _(broker):
    channel = broker.channel()
    for name in ("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"):
        channel.exchange_declare(name, passive=True)
    queue = fresh_queue(channel)
    channel.queue_bind(queue, "amq.match", "", {"k": "v"})
    publish(channel, "", b"x", exchange="amq.match", properties=pika.BasicProperties(headers={"k": "v"}))
    assert drain(channel, queue) == [b"x"]


@case("exchanges bound to exchanges, in a circle, deliver once")
def _(broker):
    channel = broker.channel()
    first = fresh_exchange(channel, "s-e2e-1", "topic")
    second = fresh_exchange(channel, "s-e2e-2", "fanout")
    third = fresh_exchange(channel, "s-e2e-3", "direct", internal=True)
    channel.exchange_bind(second, first, "a.#")
    channel.exchange_bind(third, second, "")
    channel.exchange_bind(first, third, "a.b")
    queue = fresh_queue(channel)
    channel.queue_bind(queue, second, "")
    channel.queue_bind(queue, third, "a.b")
    publish(channel, "a.b", b"x", exchange=first)
    publish(channel, "b", b"y", exchange=first)
    assert drain(channel, queue) == [b"x"]
    channel.exchange_unbind(second, first, "a.#")
    publish(channel, "a.b", b"z", exchange=first)
    assert drain(channel, queue) == []


@case("a binding is gone after unbind, and only that one")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    for key in ("a", "b"):
        channel.queue_bind(queue, "amq.direct", key)
    channel.queue_bind(queue, "amq.direct", "a", {"x": 1})
    channel.queue_unbind(queue, "amq.direct", "a")
    publish(channel, "a", b"1", exchange="amq.direct")
    channel.queue_unbind(queue, "amq.direct", "a", {"x": 1})
    publish(channel, "a", b"2", exchange="amq.direct")
    publish(channel, "b", b"3", exchange="amq.direct")
    assert drain(channel, queue) == [b"1", b"3"]


@case("an auto-delete exchange goes with its last binding")
def _(broker):
    channel = broker.channel()
    fresh_exchange(channel, "s-auto", "direct", auto_delete=True)
    queue = fresh_queue(channel)
    channel.queue_bind(queue, "s-auto", "a")
    channel.queue_bind(queue, "s-auto", "b")
    channel.queue_unbind(queue, "s-auto", "a")
    channel.exchange_declare("s-auto", passive=True)
    channel.queue_delete(queue)
    missing(broker, lambda other: other.exchange_declare("s-auto", passive=True))


def missing(broker, look):
    try:
        look(broker.channel())
    except exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == 404, error
    else:
        raise AssertionError("it is still there")


@case("exchanges: passive, without waiting, if unused, and internal ones behind others")
def _(broker):
    channel = broker.channel()
    fresh_exchange(channel, "s-front", "fanout")
    fresh_exchange(channel, "s-inner", "fanout", internal=True)
    channel.exchange_declare("s-inner", passive=True)
    channel.exchange_bind("s-inner", "s-front")
    queue = fresh_queue(channel)
    channel.queue_bind(queue, "s-inner")
    publish(channel, "", b"x", exchange="s-front")
    assert drain(channel, queue) == [b"x"]
    for method in (
        spec.Exchange.Unbind(destination="s-inner", source="s-front", nowait=True),
        spec.Exchange.Delete(exchange="s-front", if_unused=True, nowait=True),
        spec.Exchange.Declare(exchange="s-quiet", type="direct", nowait=True),
    ):
        channel.connection._impl._send_method(channel.channel_number, method)
    channel.exchange_declare("s-quiet", passive=True)
    channel.exchange_delete("s-quiet", if_unused=True)
    for gone in ("s-front", "s-quiet"):
        missing(broker, lambda other: other.exchange_declare(gone, passive=True))


# -- queues

@case("a server-named queue, and its name as the default of later methods")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    assert queue.startswith("amq.gen-"), queue
    channel.queue_bind("", "amq.direct", "s-named")
    publish(channel, "s-named", b"x", exchange="amq.direct")
    assert channel.basic_get("", auto_ack=True)[2] == b"x"
    assert channel.queue_purge("").method.message_count == 0


@case("declaring says how many messages and consumers there are")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, b"1", b"2", b"3")
    channel.basic_qos(prefetch_count=1)
    collect(channel, queue, 1)
    answer = channel.queue_declare(queue, passive=True).method
    assert (answer.message_count, answer.consumer_count) == (2, 1), answer


@case("purge takes what is ready and leaves what is unsettled")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, b"1", b"2", b"3")
    channel.basic_get(queue)
    assert channel.queue_purge(queue).method.message_count == 2
    channel.basic_recover(requeue=True)
    assert drain(channel, queue) == [b"1"]


@case("delete says how many messages went with the queue")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, b"1", b"2")
    assert channel.queue_delete(queue).method.message_count == 2


@case("a queue that is empty and unused is deleted with if-empty and if-unused")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel, exclusive=False)
    assert channel.queue_delete(queue, if_unused=True, if_empty=True).method.message_count == 0
    missing(broker, lambda other: other.queue_declare(queue, passive=True))


@case("an exclusive queue goes with its connection")
def _(broker):
    first = broker.connection()
    first.channel().queue_declare("s-mine", exclusive=True, durable=True)
    first.close()
    missing(broker, lambda channel: channel.queue_declare("s-mine", passive=True))


@case("an auto-delete queue goes with its last consumer, by cancel and by the end of a connection")
def _(broker):
    channel = broker.channel()
    for end in ("cancel", "close"):
        name = f"s-auto-{end}"
        channel.queue_declare(name, auto_delete=True)
        other = broker.channel()
        first = other.basic_consume(name, lambda *_: None)
        second = other.basic_consume(name, lambda *_: None)
        other.basic_cancel(first)
        channel.queue_declare(name, passive=True)
        if end == "cancel":
            other.basic_cancel(second)
        else:
            other.connection.close()
        missing(broker, lambda looking: looking.queue_declare(name, passive=True))


@case("an auto-delete queue that never had a consumer stays")
def _(broker):
    first = broker.channel()
    first.queue_declare("s-never", auto_delete=True)
    first.connection.close()
    channel = broker.channel()
    channel.queue_declare("s-never", passive=True)
    channel.queue_delete("s-never")


@case("names of 255 bytes, and names that are not plain text")
def _(broker):
    channel = broker.channel()
    for name in ("n" * 255, "späße ✓", "with spaces / and % signs"):
        channel.queue_declare(name, exclusive=True)
        publish(channel, name, b"x")
        assert drain(channel, name) == [b"x"]


@case("declaring without waiting")
def _(broker):
    channel = broker.channel()
    channel.connection._impl._send_method(
        channel.channel_number, spec.Queue.Declare(queue="s-nowait", exclusive=True, nowait=True)
    )
    channel.connection._impl._send_method(
        channel.channel_number, spec.Queue.Bind(queue="s-nowait", exchange="amq.fanout", nowait=True)
    )
    assert count(channel, "s-nowait") == 0
    publish(channel, "", b"x", exchange="amq.fanout")
    assert drain(channel, "s-nowait") == [b"x"]


# -- publishing

@case("confirms come for every message, in order, and cover all")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    acked = []
    channel._impl.confirm_delivery(lambda frame: acked.append((frame.method.delivery_tag, frame.method.multiple)), lambda _: None)
    for number in range(1000):
        channel._impl.basic_publish("", queue, str(number).encode(), PERSISTENT)
    wait(channel, lambda: acked and acked[-1][0] == 1000)
    tags = [tag for tag, _ in acked]
    assert tags == sorted(set(tags)), "confirms out of order"
    covered = 0
    for tag, multiple in acked:
        assert multiple or tag == covered + 1, f"{tag} leaves a hole after {covered}"
        covered = tag
    assert count(channel, queue) == 1000


@case("a mandatory message without a queue comes back before its confirm")
def _(broker):
    channel = broker.channel()
    events = []
    channel._impl.add_on_return_callback(lambda _, method, properties, body: events.append(("return", method, properties, body)))
    channel._impl.confirm_delivery(lambda frame: events.append(("ack", frame.method.delivery_tag)), lambda _: None)
    properties = pika.BasicProperties(message_id="m", headers={"k": "v"})
    for body in (b"1", b"2"):
        channel._impl.basic_publish("amq.direct", "s-nowhere", body, properties, mandatory=True)
    wait(channel, lambda: events and events[-1] == ("ack", 2))
    kinds = [event[0] for event in events]
    assert kinds[0] == "return", kinds
    returned = [event for event in events if event[0] == "return"]
    assert [event[3] for event in returned] == [b"1", b"2"]
    for _, method, got, _ in returned:
        assert (method.reply_code, method.reply_text) == (312, "NO_ROUTE"), method
        assert (method.exchange, method.routing_key) == ("amq.direct", "s-nowhere"), method
        assert (got.message_id, got.headers) == ("m", {"k": "v"})


@case("an unroutable message without mandatory is confirmed")
def _(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    channel.basic_publish("amq.direct", "s-nowhere", b"x")


@case("what was published is there for the next get, purge and delete of its channel")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel, exclusive=False, durable=True)
    for number in range(30):
        channel.basic_publish("", queue, b"%d" % number, PERSISTENT)
        method, _, body = channel.basic_get(queue, auto_ack=True)
        assert method is not None and body == b"%d" % number, f"round {number}: {body}"
        channel.basic_publish("", queue, b"purged", PERSISTENT)
        assert channel.queue_purge(queue).method.message_count == 1, number
    channel.basic_publish("", queue, b"deleted", PERSISTENT)
    assert channel.queue_delete(queue).method.message_count == 1


@case("messages of one channel keep their order")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, *(str(number).encode() for number in range(2000)))
    _, got = collect(channel, queue, 2000, auto_ack=True)
    assert bodies(got) == [str(number).encode() for number in range(2000)]


# -- consuming

@case("prefetch of a consumer bounds what is unsettled, each consumer for itself")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, *(str(number).encode() for number in range(20)))
    channel.basic_qos(prefetch_count=3)
    _, first = collect(channel, queue, 3)
    channel.basic_qos(prefetch_count=2)
    _, second = collect(channel, queue, 2)
    quiet(channel)
    assert (len(first), len(second)) == (3, 2), (len(first), len(second))
    channel.basic_ack(first[0][0].delivery_tag)
    wait(channel, lambda: len(first) == 4)
    quiet(channel)
    assert (len(first), len(second)) == (4, 2), (len(first), len(second))


@case("prefetch of a channel bounds all its consumers together")
def _(broker):
    channel = broker.channel()
    queues = [fresh_queue(channel), fresh_queue(channel)]
    for queue in queues:
        publish(channel, queue, *(b"%d" % number for number in range(10)))
    channel.basic_qos(prefetch_count=4, global_qos=True)
    got = []
    for queue in queues:
        channel.basic_consume(queue, lambda _, method, __, ___: got.append(method))
    wait(channel, lambda: len(got) >= 4)
    quiet(channel)
    assert len(got) == 4, len(got)
    channel.basic_ack(got[1].delivery_tag, multiple=True)
    wait(channel, lambda: len(got) >= 6)
    quiet(channel)
    assert len(got) == 6, len(got)
    channel.basic_qos(prefetch_count=0, global_qos=True)
    wait(channel, lambda: len(got) == 20)


@case("prefetch does not bound a consumer without acks, nor get")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, *(b"%d" % number for number in range(10)))
    channel.basic_qos(prefetch_count=1)
    for number in range(5):
        assert channel.basic_get(queue)[2] == b"%d" % number
    _, got = collect(channel, queue, 5, auto_ack=True)
    assert len(got) == 5


@case("ack of several at once, and of everything")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, *(b"%d" % number for number in range(10)))
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(10)]
    channel.basic_ack(tags[3])
    channel.basic_ack(tags[5], multiple=True)
    channel.basic_ack(tags[8])
    channel.basic_recover(requeue=True)
    assert drain(channel, queue) == [b"6", b"7", b"9"]
    publish(channel, queue, b"a", b"b")
    channel.basic_get(queue), channel.basic_get(queue)
    channel.basic_ack(0, multiple=True)
    channel.basic_recover(requeue=True)
    assert drain(channel, queue) == []


@case("nack and reject put back to the old place, flagged")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, *(b"%d" % number for number in range(6)))
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(4)]
    channel.basic_nack(tags[2])
    channel.basic_reject(tags[0])
    channel.basic_ack(tags[1])
    settled_round_trip(channel)
    got = [channel.basic_get(queue, auto_ack=True) for _ in range(4)]
    seen = [(body, method.redelivered) for method, _, body in got]
    assert seen == [(b"0", True), (b"2", True), (b"4", False), (b"5", False)], seen
    channel.basic_nack(tags[3])
    settled_round_trip(channel)
    assert drain(channel, queue) == [b"3"]


def settled_round_trip(channel):
    """Acks are not answered; a later method that is answered shows that they were read."""
    channel.queue_declare("", exclusive=True, auto_delete=True)
    quiet(channel, 0.05)


@case("nack of several at once puts all back in order")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, *(b"%d" % number for number in range(6)))
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(5)]
    channel.basic_nack(tags[3], multiple=True)
    settled_round_trip(channel)
    assert drain(channel, queue) == [b"0", b"1", b"2", b"3", b"5"]


@case("nack and reject without requeue discard")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, *(b"%d" % number for number in range(5)))
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(5)]
    channel.basic_reject(tags[0], requeue=False)
    channel.basic_nack(tags[2], multiple=True, requeue=False)
    channel.basic_nack(tags[4], requeue=False)
    channel.basic_recover(requeue=True)
    assert drain(channel, queue) == [b"3"]


@case("recover gives back everything unsettled of the channel, in order and flagged")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, *(b"%d" % number for number in range(4)))
    channel.basic_qos(prefetch_count=3)
    _, got = collect(channel, queue, 3)
    channel.basic_recover(requeue=True)
    wait(channel, lambda: len(got) >= 6)
    seen = [(body, method.redelivered) for method, _, body in got[3:6]]
    assert seen == [(b"0", True), (b"1", True), (b"2", True)], seen


@case("get says how many are left, and that a queue is empty")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, b"1", b"2")
    method, _, _ = channel.basic_get(queue)
    assert (method.message_count, method.redelivered, method.exchange, method.routing_key) == (1, False, "", queue), method
    assert channel.basic_get(queue, auto_ack=True)[0].message_count == 0
    assert channel.basic_get(queue) == (None, None, None)


@case("delivery tags count by channel, over consumers and gets")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, *(b"%d" % number for number in range(5)))
    assert channel.basic_get(queue)[0].delivery_tag == 1
    assert channel.basic_get(queue, auto_ack=True)[0].delivery_tag == 2
    _, got = collect(channel, queue, 3)
    assert [method.delivery_tag for method, _, _ in got] == [3, 4, 5]
    other = channel.connection.channel()
    publish(channel, queue, b"x")
    wait(channel, lambda: len(got) == 4)
    assert other.basic_get(queue) == (None, None, None)


@case("several consumers share a queue, and what one leaves another gets")
def _(broker):
    channel = broker.channel()
    queue = channel.queue_declare("s-shared").method.queue
    channel.queue_purge(queue)
    workers = [broker.channel() for _ in range(2)]
    got = [[], []]
    for worker, seen in zip(workers, got):
        worker.basic_qos(prefetch_count=5)
        worker.basic_consume(queue, lambda _, method, __, body, seen=seen: seen.append((body, method.redelivered)))
    publish(channel, queue, *(b"%d" % number for number in range(10)))
    for worker, seen in zip(workers, got):
        wait(worker, lambda seen=seen: len(seen) == 5)
    assert sorted(body for seen in got for body, _ in seen) == [b"%d" % number for number in range(10)]
    left = [body for body, _ in got[0]]
    workers[0].connection.close()
    workers[1].basic_qos(prefetch_count=0)
    third = []
    workers[1].basic_consume(queue, lambda _, method, __, body: third.append((body, method.redelivered)))
    wait(workers[1], lambda: len(third) == 5)
    assert third == [(body, True) for body in left], third
    channel.queue_delete(queue)


@case("a cancelled consumer gets nothing more, and may still settle what it has")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, b"1", b"2")
    channel.basic_qos(prefetch_count=1)
    tag, got = collect(channel, queue, 1)
    assert channel.basic_cancel(tag) == []
    publish(channel, queue, b"3")
    channel.basic_ack(got[0][0].delivery_tag)
    quiet(channel)
    assert bodies(got) == [b"1"]
    channel.basic_recover(requeue=True)
    assert drain(channel, queue) == [b"2", b"3"]


@case("a closed channel gives back what it held")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, b"1", b"2", b"3")
    other = channel.connection.channel()
    other.basic_get(queue), other.basic_get(queue)
    other.close()
    wait_for_count(channel, queue, 3)
    assert drain(channel, queue) == [b"1", b"2", b"3"]


@case("a consumer is told when its queue is deleted")
def _(broker):
    channel, other = broker.channel(), broker.channel()
    queue = other.queue_declare("s-cancelled").method.queue
    cancelled = []
    channel.add_on_cancel_callback(lambda method: cancelled.append(method.method.consumer_tag))
    tag = channel.basic_consume(queue, lambda *_: None)
    other.queue_delete(queue)
    wait(channel, lambda: cancelled)
    assert cancelled == [tag]


@case("an exclusive consumer is alone, and makes room when it goes")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    tag = channel.basic_consume(queue, lambda *_: None, exclusive=True)
    channel.basic_cancel(tag)
    channel.basic_consume(queue, lambda *_: None)


@case("consumer tags: the client's own, and one that the broker makes up")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    assert channel.basic_consume(queue, lambda *_: None, consumer_tag="mine") == "mine"
    made = []
    method = spec.Basic.Consume(queue=queue, consumer_tag="")
    channel._impl._rpc(method, lambda frame: made.append(frame.method.consumer_tag), [spec.Basic.ConsumeOk])
    wait(channel, lambda: made)
    assert made[0].startswith("amq.ctag-"), made


@case("a consumer tag is taken on its channel only")
def _(broker):
    connection = broker.connection()
    first, second = connection.channel(), connection.channel()
    queue = fresh_queue(first)
    got = []
    for channel in (first, second):
        channel.basic_consume(queue, lambda channel, method, *_: got.append((channel, method)), consumer_tag="same")
    publish(first, queue, b"1", b"2")
    wait(first, lambda: len(got) == 2)
    # Each has a message of its own, with the first tag of its channel.
    assert {channel.channel_number for channel, _ in got} == {first.channel_number, second.channel_number}
    assert [(method.consumer_tag, method.delivery_tag) for _, method in got] == [("same", 1)] * 2, got
    first.basic_cancel("same")
    publish(first, queue, b"3")
    wait(first, lambda: len(got) == 3)
    assert got[2][0].channel_number == second.channel_number


@case("no-local is accepted and changes nothing")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    got = []
    channel._impl.add_callback(lambda *_: None, [spec.Basic.ConsumeOk])
    channel._impl._consumers["own"] = lambda _, *message: got.append(message)
    consume = spec.Basic.Consume(queue=queue, consumer_tag="own", no_local=True, no_ack=True)
    channel.connection._impl._send_method(channel.channel_number, consume)
    publish(channel, queue, b"my own")
    wait(channel, lambda: got)
    assert bodies(got) == [b"my own"]


# -- transactions

@case("tx: nothing is seen before commit, everything after")
def _(broker):
    channel, other = broker.channel(), broker.channel()
    queue = other.queue_declare("s-tx").method.queue
    other.queue_purge(queue)
    channel.tx_select()
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", queue, body, PERSISTENT)
    quiet(channel)
    assert count(other, queue) == 0
    channel.tx_commit()
    assert count(other, queue) == 3
    other.queue_delete(queue)


@case("tx: rollback forgets publishes and acks")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    publish(channel, queue, b"1", b"2")
    channel.tx_select()
    tag = channel.basic_get(queue)[0].delivery_tag
    channel.basic_ack(tag)
    channel.basic_publish("", queue, b"3", PERSISTENT)
    channel.tx_rollback()
    channel.basic_ack(tag)
    channel.tx_commit()
    channel.basic_recover(requeue=True)
    channel.tx_commit()
    assert drain(channel, queue) == [b"2"]


@case("tx: acks count at commit, over publishes to several queues")
def _(broker):
    channel = broker.channel()
    queues = [fresh_queue(channel) for _ in range(3)]
    publish(channel, queues[0], b"1", b"2")
    channel.tx_select()
    channel.basic_ack(channel.basic_get(queues[0])[0].delivery_tag)
    for queue in queues[1:]:
        channel.basic_publish("", queue, b"moved", PERSISTENT)
    channel.tx_commit()
    channel.basic_recover(requeue=True)
    assert [count(channel, queue) for queue in queues] == [1, 1, 1]


@case("tx: a channel that closes takes its open transaction with it")
def _(broker):
    channel = broker.channel()
    queue = fresh_queue(channel)
    other = channel.connection.channel()
    other.tx_select()
    other.basic_publish("", queue, b"x", PERSISTENT)
    other.close()
    quiet(channel)
    assert count(channel, queue) == 0


# -- connections

@case("server properties and capabilities that frameworks test on")
def _(broker):
    connection = broker.connection()
    server = connection._impl.server_properties
    for key in ("product", "version", "platform", "copyright", "information", "capabilities"):
        assert key in server, f"{key} is missing: {server}"
    assert server["product"] == "RabbitMQ", server
    assert [int(part) for part in server["version"].split(".")[:2]] >= [3, 8], server
    for capability in (
        "publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify", "connection.blocked",
        "consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to",
    ):
        assert server["capabilities"].get(capability) is True, f"{capability}: {server}"


@case("frame and channel limits are negotiated down")
def _(broker):
    connection = broker.connection(frame_max=8192, channel_max=3)
    parameters = connection._impl.params
    assert (parameters.frame_max, parameters.channel_max) == (8192, 3), parameters
    for _ in range(3):
        connection.channel()


@case("a connection that sends heartbeats only stays open")
def _(broker):
    connection = broker.connection(heartbeat=1)
    channel = connection.channel()
    queue = fresh_queue(channel)
    connection.sleep(3.5)
    publish(channel, queue, b"x")
    assert drain(channel, queue) == [b"x"]


@case("a connection takes a new secret and goes on")
def _(broker):
    connection = broker.connection()
    channel = connection.channel()
    answered = []
    connection._impl.callbacks.add(0, spec.Connection.UpdateSecretOk, lambda _: answered.append(True))
    method = spec.Connection.UpdateSecret(new_secret="guest", reason="it was time")
    connection._impl._send_method(0, method)
    wait(channel, lambda: answered)
    queue = fresh_queue(channel)
    publish(channel, queue, b"x")
    assert drain(channel, queue) == [b"x"]


@case("an error on one channel leaves the others alone")
def _(broker):
    connection = broker.connection()
    first, second = connection.channel(), connection.channel()
    queue = fresh_queue(second)
    try:
        first.queue_declare("nope", passive=True)
    except exceptions.ChannelClosedByBroker:
        pass
    publish(second, queue, b"x")
    assert drain(second, queue) == [b"x"]
    third = connection.channel()
    assert third.channel_number == first.channel_number
    third.basic_get(queue)


@case("2000 channels on one connection")
def _(broker):
    connection = broker.connection(channel_max=2047)
    channels = [connection.channel() for _ in range(2000)]
    queue = fresh_queue(channels[-1])
    assert count(channels[0], queue) == 0


@case("100 connections at once, each with a queue of its own")
def _(broker):
    channels = [broker.channel() for _ in range(100)]
    queues = [fresh_queue(channel) for channel in channels]
    for index, channel in enumerate(channels):
        channel.basic_publish("", queues[index], b"%d" % index)
    for index, channel in enumerate(channels):
        wait_for_count(channel, queues[index], 1)
        assert drain(channel, queues[index]) == [b"%d" % index]


if __name__ == "__main__":
    cases.main()
