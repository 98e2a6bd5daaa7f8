"""Exchanges, addresses that messages carry themselves, and what operators set about them: one feature a case."""

import collections
import time

import pika
from pika import exceptions

import cases
from cases import case
from management import api
from queues import confirming, drain, fresh_exchange, taken, wait

REPLY_TO = "amq.rabbitmq.reply-to"
STORE = "amq.everack.unroutable"
# The password behind the documented hash of the users in the configuration.
IMPORTED = "test12"


def queues(channel, exchange, key, count):
    names = [channel.queue_declare("", exclusive=True).method.queue for _ in range(count)]
    for name in names:
        channel.queue_bind(name, exchange, key)
    return names


def login(user, password=IMPORTED, vhost="/"):
    return {"credentials": pika.PlainCredentials(user, password), "virtual_host": vhost}


def refused(code, text, use):
    """The use is answered by a close with this code and text."""
    try:
        use()
    except (exceptions.ChannelClosedByBroker, exceptions.ConnectionClosedByBroker) as error:
        assert (error.reply_code, error.reply_text) == (code, text), error
    except exceptions.ProbableAccessDeniedError as error:
        # What pika makes of a refused virtual host.
        assert f"({code})" in str(error) and text in str(error), error
    else:
        raise AssertionError("it was not refused")


# -- exchanges that choose one

@case("x-consistent-hash spreads by weight, and a key always goes the same way")
def _(broker):
    channel = confirming(broker)
    exchange = fresh_exchange(channel, "ro-hash", "x-consistent-hash")
    light, heavy = (channel.queue_declare("", exclusive=True).method.queue for _ in range(2))
    channel.queue_bind(light, exchange, "1")
    channel.queue_bind(heavy, exchange, "3")
    for number in range(400):
        for _ in range(2):
            channel.basic_publish(exchange, f"key-{number}", b"%d" % number)
    counts = []
    for queue in (light, heavy):
        seen = collections.Counter(drain(channel, queue))
        assert set(seen.values()) == {2}, "both messages of a key are together"
        counts.append(len(seen))
    assert sum(counts) == 400 and 60 < counts[0] < 140, counts


@case("x-consistent-hash by a header and by a property")
def _(broker):
    channel = confirming(broker)
    for name, arguments, properties in [
        ("ro-hash-h", {"hash-header": "h"}, lambda n: {"headers": {"h": n}}),
        ("ro-hash-p", {"hash-property": "message_id"}, lambda n: {"message_id": str(n)}),
    ]:
        exchange = fresh_exchange(channel, name, "x-consistent-hash", arguments=arguments)
        bound = queues(channel, exchange, "10", 3)
        for number in range(60):
            channel.basic_publish(exchange, "same", b"%d" % number, pika.BasicProperties(**properties(number)))
        counts = [len(drain(channel, queue)) for queue in bound]
        assert sum(counts) == 60 and all(counts), counts


def invalid(name, text, act):
    @case(name)
    def _(broker):
        refused(406, f"PRECONDITION_FAILED - {text}", lambda: act(broker.channel()))


def bad_hash_exchange(arguments):
    return lambda channel: channel.exchange_declare("ro-bad", "x-consistent-hash", arguments=arguments)


def bad_hash_binding(key):
    def act(channel):
        exchange = fresh_exchange(channel, "ro-hash-b", "x-consistent-hash")
        queues(channel, exchange, key, 1)

    return act


invalid("hash-header and hash-property at once", "hash-header and hash-property are mutually exclusive",
        bad_hash_exchange({"hash-header": "h", "hash-property": "message_id"}))
invalid("a hash-property that is none", "Unsupported property: app_id", bad_hash_exchange({"hash-property": "app_id"}))
invalid("a weight that is no number", 'The binding key must be an integer: <<"many">>', bad_hash_binding("many"))
invalid("a weight of zero", "The binding key must be greater than 0", bad_hash_binding("0"))


@case("x-modulus-hash and x-random go to one of their queues")
def _(broker):
    channel = confirming(broker)
    for kind, key in [("x-modulus-hash", "any"), ("x-random", "any"), ("x-local-random", "")]:
        exchange = fresh_exchange(channel, f"ro-{kind}", kind)
        bound = queues(channel, exchange, key, 3)
        for number in range(90):
            channel.basic_publish(exchange, f"key-{number}", b"x", mandatory=True)
        counts = [len(drain(channel, queue)) for queue in bound]
        assert sum(counts) == 90 and all(counts), (kind, counts)


# -- alternate exchanges

@case("alternates: a circle, one that is missing, and mandatory messages")
def _(broker):
    channel = confirming(broker)
    fresh_exchange(channel, "ro-ring-a", "direct", arguments={"alternate-exchange": "ro-ring-b"})
    fresh_exchange(channel, "ro-ring-b", "direct", arguments={"alternate-exchange": "ro-ring-a"})
    fresh_exchange(channel, "ro-lost", "direct", arguments={"alternate-exchange": "ro-nowhere"})
    for exchange in ("ro-ring-a", "ro-lost"):
        channel.basic_publish(exchange, "k", b"dropped or kept, but confirmed")
        try:
            channel.basic_publish(exchange, "k", b"x", mandatory=True)
            raise AssertionError("it was not returned")
        except exceptions.UnroutableError:
            pass
    [caught] = queues(channel, "ro-ring-b", "k", 1)
    channel.basic_publish("ro-ring-a", "k", b"caught", mandatory=True)
    assert drain(channel, caught) == [b"caught"]


@case("an alternate by policy")
def _(broker):
    channel = confirming(broker)
    aside = fresh_exchange(channel, "ro-aside", "fanout")
    [kept] = queues(channel, aside, "", 1)
    fresh_exchange(channel, "ro-by-policy", "direct")
    fresh_exchange(channel, "ro-by-nobody", "direct")
    channel.basic_publish("ro-by-policy", "nowhere", b"kept", mandatory=True)
    try:
        channel.basic_publish("ro-by-nobody", "nowhere", b"x", mandatory=True)
        raise AssertionError("it was not returned")
    except exceptions.UnroutableError:
        pass
    assert drain(channel, kept) == [b"kept"]


# -- messages that name their receivers

@case("CC and BCC are further routing keys, of which BCC is not told")
def _(broker):
    channel = confirming(broker)
    names = queues(channel, "amq.topic", "ro.never", 4)
    for name, key in zip(names, ("ro.a", "ro.b", "ro.c", "ro.*")):
        channel.queue_bind(name, "amq.topic", key)
    headers = {"CC": ["ro.b", "ro.nowhere"], "BCC": ["ro.c"], "mine": 1}
    channel.basic_publish("amq.topic", "ro.a", b"x", pika.BasicProperties(headers=headers, delivery_mode=2))
    for name in names:
        [(body, properties)] = taken(channel, name)
        assert body == b"x" and properties.delivery_mode == 2
        assert properties.headers == {"CC": ["ro.b", "ro.nowhere"], "mine": 1}, properties.headers


@case("CC works with the default exchange and in a transaction")
def _(broker):
    channel = broker.channel()
    names = queues(channel, "amq.fanout", "", 2)
    channel.tx_select()
    channel.basic_publish("", names[0], b"x", pika.BasicProperties(headers={"CC": [names[1]]}))
    assert drain(channel, names[0]) == []
    channel.tx_commit()
    assert [len(drain(channel, name)) for name in names] == [1, 1]


@case("an impersonator publishes in the name of others")
def _(broker):
    channel = confirming(broker, **login("deputy"))
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, b"x", pika.BasicProperties(user_id="somebody"))
    [(_, properties)] = taken(channel, queue)
    assert properties.user_id == "somebody"


# -- direct reply-to

@case("a reply goes straight to the one who asked")
def _(broker):
    asker, server = broker.channel(), confirming(broker)
    requests = server.queue_declare("", auto_delete=True).method.queue
    replies = []
    asker.basic_consume(REPLY_TO, lambda _, *message: replies.append(message), auto_ack=True)
    for number in range(20):
        ask = pika.BasicProperties(reply_to=REPLY_TO, correlation_id=str(number))
        asker.basic_publish("", requests, b"what?", ask)
    done = 0
    while done < 20:
        method, request, _ = server.basic_get(requests, auto_ack=True)
        if method is None:
            server.connection.sleep(0.01)
            continue
        assert request.reply_to.startswith(REPLY_TO + "."), request.reply_to
        there = server.queue_declare(request.reply_to, passive=True).method
        assert (there.message_count, there.consumer_count) == (0, 1), there
        answer = pika.BasicProperties(correlation_id=request.correlation_id)
        server.basic_publish("", request.reply_to, b"that", answer, mandatory=True)
        done += 1
    wait(asker, lambda: len(replies) == 20)
    assert [properties.correlation_id for _, properties, _ in replies] == [str(number) for number in range(20)]
    method = replies[0][0]
    assert (method.exchange, method.redelivered) == ("", False), method
    name = method.routing_key
    asker.close()
    try:
        server.basic_publish("", name, b"late", mandatory=True)
        raise AssertionError("it was not returned")
    except exceptions.UnroutableError:
        pass
    refused(404, f"NOT_FOUND - no queue '{name}' in vhost '/'", lambda: server.queue_declare(name, passive=True))


@case("the pseudo-queue itself answers a declaration")
def _(broker):
    answer = broker.channel().queue_declare(REPLY_TO, passive=True).method
    assert (answer.queue, answer.message_count, answer.consumer_count) == (REPLY_TO, 0, 1), answer


def no_replies(name, text, act):
    invalid(name, text, act)


def ask_alone(channel):
    channel.confirm_delivery()
    channel.basic_publish("", "ro-anything", b"what?", pika.BasicProperties(reply_to=REPLY_TO))


def consume_twice(channel):
    channel.basic_consume(REPLY_TO, print, auto_ack=True)
    channel.basic_consume(REPLY_TO, print, auto_ack=True)


no_replies("a reply consumer that acknowledges", "reply consumer cannot acknowledge",
           lambda channel: channel.basic_consume(REPLY_TO, print))
no_replies("two reply consumers on a channel", "reply consumer already set", consume_twice)
no_replies("asking without a reply consumer", "fast reply consumer does not exist", ask_alone)


# -- what operators set

@case("topic permissions, for publishing and binding")
def _(broker):
    channel = confirming(broker, **login("topical"))
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "amq.topic", "news.a")
    channel.queue_bind(queue, "amq.direct", "anything")
    channel.basic_publish("amq.topic", "topical.x", b"allowed")
    channel.basic_publish("amq.direct", "anything", b"allowed")
    text = "ACCESS_REFUSED - {} access to topic '{}' in exchange 'amq.topic' in vhost '/' refused for user 'topical'"
    refused(403, text.format("write", "other.x"), lambda: channel.basic_publish("amq.topic", "other.x", b"x"))
    second = channel.connection.channel()
    refused(403, text.format("read", "other.#"), lambda: second.queue_bind(queue, "amq.topic", "other.#"))


@case("a vhost has as many queues and connections as it may")
def _(broker):
    channel = broker.channel(**login("narrow", vhost="narrow"))
    for _ in range(2):
        channel.queue_declare("", exclusive=True)
    text = "PRECONDITION_FAILED - cannot declare queue 'third': queue limit in vhost 'narrow' (2) is reached"
    refused(406, text, lambda: channel.queue_declare("third", exclusive=True))
    text = "NOT_ALLOWED - access to vhost 'narrow' refused for user 'few': connection limit (1) is reached"
    refused(530, text, lambda: broker.connection(**login("few", vhost="narrow")))
    channel.connection.close()
    settle = time.monotonic() + cases.PATIENCE
    while True:
        try:
            broker.connection(**login("few", vhost="narrow")).close()
            break
        except exceptions.ProbableAccessDeniedError:
            assert time.monotonic() < settle, "the one that is gone is still counted"


@case("a vhost's default queue type, where nothing else is said")
def _(broker):
    channel = broker.channel(**login("typed", vhost="typed"))
    channel.queue_declare("ro-typed", durable=True)
    channel.queue_declare("ro-typed", durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_declare("ro-typed-own", exclusive=True)
    channel.queue_declare("ro-typed-short", durable=True, auto_delete=True)
    types = {queue["name"]: queue["type"] for queue in api("queues/typed")}
    assert types == {"ro-typed": "quorum", "ro-typed-own": "classic", "ro-typed-short": "classic"}, types
    assert api("vhosts/typed")["default_queue_type"] == "quorum"
    text = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'ro-typed' in vhost 'typed': " \
        "received 'classic' but current is 'quorum'"
    other = {"x-queue-type": "classic"}
    refused(406, text, lambda: channel.queue_declare("ro-typed", durable=True, arguments=other))
    text = "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue"
    second = channel.connection.channel()
    refused(406, text, lambda: second.queue_declare("", durable=True))


@case("a user has as many connections and channels as it may")
def _(broker):
    connection = broker.connection(**login("few"))
    text = "NOT_ALLOWED - Connection refused for user 'few': user connection limit (1) is reached"
    refused(530, text, lambda: broker.connection(**login("few")))
    first = connection.channel()
    connection.channel()
    first.close()
    connection.channel()
    text = "NOT_ALLOWED - number of channels opened for user 'few' has reached the maximum allowed user limit of (2)"

    def one_too_many():
        connection.channel()
        connection.sleep(cases.PATIENCE)

    refused(530, text, one_too_many)


@case("passwords that RabbitMQ hashed")
def _(broker):
    broker.connection(**login("imported"))
    try:
        broker.connection(**login("imported", "test13"))
        raise AssertionError("a wrong password was accepted")
    except exceptions.ProbableAuthenticationError:
        pass


@case("the management API shows policies, limits and topic permissions")
def _(broker):
    channel = broker.channel()
    channel.queue_declare("ro-short", exclusive=True)
    fresh_exchange(channel, "ro-by-policy-too", "direct")
    queue = api("queues/%2F/ro-short")
    shown = (queue["policy"], queue["operator_policy"], queue["effective_policy_definition"])
    assert shown == ("short", "bound", {"max-length": 3}), shown
    assert api("exchanges/%2F/ro-by-policy-too")["policy"] == "aside"
    assert {policy["name"] for policy in api("policies/%2F")} == {"aside", "short"}
    assert api("operator-policies/%2F/bound") == {
        "vhost": "/", "name": "bound", "pattern": "^ro-short", "apply-to": "queues",
        "definition": {"max-length": 3}, "priority": 0,
    }
    assert api("vhost-limits") == [{"vhost": "narrow", "value": {"max-connections": 1, "max-queues": 2}}]
    assert api("user-limits/few") == [{"user": "few", "value": {"max-connections": 1, "max-channels": 2}}]
    [topic] = api("topic-permissions")
    assert (topic["user"], topic["exchange"], topic["write"]) == ("topical", "amq.topic", "^{username}\\."), topic


# -- messages that nobody wants

@case("a confirmed message that nobody wants is in the vhost's store")
def _(broker):
    channel = confirming(broker)
    channel.queue_purge(STORE)
    channel.basic_publish("amq.direct", "ro-nobody", b"kept", pika.BasicProperties(message_id="m", delivery_mode=2))
    method, properties, body = channel.basic_get(STORE)
    assert (method.exchange, method.routing_key, properties.message_id, body) == ("amq.direct", "ro-nobody", "m", b"kept")
    channel.basic_nack(method.delivery_tag)
    assert STORE not in {queue["name"] for queue in api("queues")}
    vhost = api("vhosts/%2F")["unroutable"]
    assert vhost["fate"] == "keep" and vhost["messages"] >= 1, vhost
    refused(403, f"ACCESS_REFUSED - deletion of system queue '{STORE}' in vhost '/' not allowed",
            lambda: channel.queue_delete(STORE))


@case("a vhost that refuses what it cannot route")
def _(broker):
    channel = confirming(broker, **login("strict", vhost="strict"))
    try:
        channel.basic_publish("", "ro-nobody", b"x")
        raise AssertionError("it was confirmed")
    except exceptions.NackError:
        pass


cases.main()
