"""What the broker answers to a client's mistakes: the code and the exact text, because clients match on both.

Every row is an observation of Debian's RabbitMQ; run this script with its URL to see that it still is.
"""

import pika
from pika import exceptions, spec

import cases

TTL = {"x-message-ttl": 1000}
LOCKED = (
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{}' in vhost '/'. It could be originally declared "
    "on another connection or the exclusive property value does not match that of the original declaration."
)


def closes(what, name, code, text):
    """A case whose function has to end with this close of its channel or connection."""

    def register(function):
        def check(broker):
            kind = {"channel": exceptions.ChannelClosedByBroker, "connection": exceptions.ConnectionClosedByBroker}[what]
            channel = broker.channel()
            try:
                function(broker, channel)
                # Some mistakes are answered only when the broker gets to them.
                settle(channel)
            except kind as error:
                answer = (error.reply_code, error.reply_text)
                assert answer == (code, text), f"{answer} instead of {(code, text)}"
            else:
                raise AssertionError(f"nothing was closed; expected {code} {text}")

        cases.case(name)(check)
        return function

    return register


def settle(channel):
    """Lets a round trip pass, so that whatever the broker has to say has arrived."""
    channel.connection.process_data_events(0)
    if channel.is_closed:
        raise channel._closing_reason
    channel.queue_declare("", exclusive=True)


def passes(name):
    return cases.case(name)


def send(channel, method, content=None, number=None):
    """Sends a method as it is, past everything that pika would check or wait for."""
    number = channel.channel_number if number is None else number
    channel.connection._impl._send_method(number, method, content)


def wait_for_close(channel):
    """Waits for the broker to close the channel or the connection, and raises what it said."""
    for _ in range(cases.PATIENCE * 100):
        channel.connection.process_data_events(0.01)
        if channel.is_closed:
            raise channel._closing_reason


def queue(channel, name, **more):
    channel.queue_delete(name)
    channel.queue_declare(name, **more)
    return name


# -- missing things

@closes("channel", "passive declaration of a missing queue", 404, "NOT_FOUND - no queue 'nope' in vhost '/'")
def _(broker, channel):
    channel.queue_declare("nope", passive=True)


@closes("channel", "passive declaration of a missing exchange", 404, "NOT_FOUND - no exchange 'nope' in vhost '/'")
def _(broker, channel):
    channel.exchange_declare("nope", passive=True)


@closes("channel", "purge of a missing queue", 404, "NOT_FOUND - no queue 'nope' in vhost '/'")
def _(broker, channel):
    channel.queue_purge("nope")


@closes("channel", "consume from a missing queue", 404, "NOT_FOUND - no queue 'nope' in vhost '/'")
def _(broker, channel):
    channel.basic_consume("nope", lambda *_: None)


@closes("channel", "get from a missing queue", 404, "NOT_FOUND - no queue 'nope' in vhost '/'")
def _(broker, channel):
    channel.basic_get("nope")


@closes("channel", "get without a name and without a declared queue", 404, "NOT_FOUND - no previously declared queue")
def _(broker, channel):
    send(channel, spec.Basic.Get(queue=""))
    wait_for_close(channel)


@closes("channel", "bind a missing queue", 404, "NOT_FOUND - no queue 'nope' in vhost '/'")
def _(broker, channel):
    channel.queue_bind("nope", "amq.direct", "k")


@closes("channel", "bind to a missing exchange", 404, "NOT_FOUND - no exchange 'nope' in vhost '/'")
def _(broker, channel):
    channel.queue_bind(queue(channel, "r-bind"), "nope", "k")


@closes("channel", "bind a missing exchange to an exchange", 404, "NOT_FOUND - no exchange 'nope' in vhost '/'")
def _(broker, channel):
    channel.exchange_bind("amq.fanout", "nope", "k")


@closes("channel", "publish to a missing exchange", 404, "NOT_FOUND - no exchange 'nope' in vhost '/'")
def _(broker, channel):
    channel.basic_publish("nope", "k", b"x")


@passes("deleting and unbinding what is missing succeeds quietly")
def _(broker):
    channel = broker.channel()
    assert channel.queue_delete("nope").method.message_count == 0
    channel.exchange_delete("nope")
    channel.queue_unbind(queue(channel, "r-unbind"), "amq.direct", "never bound")
    channel.exchange_unbind("amq.fanout", "amq.direct", "never bound")


# -- declarations that do not fit what is there

def redeclared(name, existing, again, code, text):
    @closes("channel", name, code, text)
    def _(broker, channel):
        queue(channel, "r-same", **existing)
        channel.queue_declare("r-same", **again)


def inequivalent(argument, received, current):
    return (
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'r-same' in vhost '/': "
        f"received {received} but current is {current}"
    )


redeclared(
    "redeclare without an argument", {"arguments": TTL}, {}, 406,
    inequivalent("x-message-ttl", "none", "the value '1000' of type 'signedint'"),
)
redeclared(
    "redeclare with another argument", {}, {"arguments": TTL}, 406,
    inequivalent("x-message-ttl", "the value '1000' of type 'signedint'", "none"),
)
redeclared(
    "redeclare with another value", {"arguments": {"x-message-ttl": 2000}}, {"arguments": TTL}, 406,
    inequivalent("x-message-ttl", "'1000'", "'2000'"),
)
redeclared(
    "redeclare durable as transient", {"durable": True}, {"durable": False}, 406,
    inequivalent("durable", "'false'", "'true'"),
)
redeclared(
    "redeclare transient as durable", {"durable": False}, {"durable": True}, 406,
    inequivalent("durable", "'true'", "'false'"),
)
redeclared(
    "redeclare as auto-delete", {}, {"auto_delete": True}, 406, inequivalent("auto_delete", "'true'", "'false'"),
)
redeclared("redeclare as exclusive", {}, {"exclusive": True}, 405, LOCKED.format("r-same"))


redeclared(
    "redeclare with an integer of another size", {"arguments": {"x-max-length": 1 << 40}}, {"arguments": {"x-max-length": 1}},
    406, inequivalent("x-max-length", "'1'", "'1099511627776'"),
)
redeclared(
    "redeclare with another dead letter exchange",
    {"arguments": {"x-dead-letter-exchange": "a"}}, {"arguments": {"x-dead-letter-exchange": "b"}}, 406,
    inequivalent("x-dead-letter-exchange", "'b'", "'a'"),
)


@passes("redeclare with the same properties")
def _(broker):
    channel = broker.channel()
    for name, more in (("r-same-1", {"durable": True}), ("r-same-2", {"arguments": TTL}), ("r-same-3", {"auto_delete": True})):
        queue(channel, name, **more)
        channel.queue_declare(name, **more)
        channel.queue_declare(name, passive=True)


@passes("arguments that the broker does not know are not compared")
def _(broker):
    channel = broker.channel()
    queue(channel, "r-unknown", arguments={"x-unknown": 1})
    channel.queue_declare("r-unknown", arguments={"x-unknown": "two"})
    channel.queue_declare("r-unknown", arguments={"x-other": True})
    channel.queue_declare("r-unknown")


@passes("an exclusive queue may be redeclared as transient by its own connection")
def _(broker):
    channel = broker.channel()
    channel.queue_declare("r-exclusive-durable", durable=True, exclusive=True)
    channel.queue_declare("r-exclusive-durable", durable=False, exclusive=True)


@closes(
    "channel", "exchange redeclared with another type", 406,
    "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'r-ex' in vhost '/': received 'fanout' but current is 'direct'",
)
def _(broker, channel):
    channel.exchange_delete("r-ex")
    channel.exchange_declare("r-ex", "direct")
    channel.exchange_declare("r-ex", "fanout")


def exchange_redeclared(argument, existing, again, received, current):
    text = (
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for exchange 'r-ex' in vhost '/': "
        f"received '{received}' but current is '{current}'"
    )

    @closes("channel", f"exchange redeclared with another {argument}", 406, text)
    def _(broker, channel):
        channel.exchange_delete("r-ex")
        channel.exchange_declare("r-ex", "direct", **existing)
        channel.exchange_declare("r-ex", "direct", **again)


exchange_redeclared("durable", {"durable": True}, {}, "false", "true")
exchange_redeclared("auto_delete", {}, {"auto_delete": True}, "true", "false")
exchange_redeclared("internal", {}, {"internal": True}, "true", "false")


@closes("channel", "exclusive queue of another connection", 405, LOCKED.format("r-locked"))
def _(broker, channel):
    broker.channel().queue_declare("r-locked", exclusive=True)
    channel.queue_declare("r-locked", passive=True)


def locked(name, use):
    @closes("channel", f"{name} of another connection's exclusive queue", 405, LOCKED.format("r-locked"))
    def _(broker, channel):
        broker.channel().queue_declare("r-locked", exclusive=True)
        use(channel)


locked("consume", lambda channel: channel.basic_consume("r-locked", lambda *_: None))
locked("get", lambda channel: channel.basic_get("r-locked"))
locked("purge", lambda channel: channel.queue_purge("r-locked"))
locked("delete", lambda channel: channel.queue_delete("r-locked"))
locked("bind", lambda channel: channel.queue_bind("r-locked", "amq.direct", "k"))


# -- names and things that belong to the broker

def refused(name, text, use):
    @closes("channel", name, 403, f"ACCESS_REFUSED - {text}")
    def _(broker, channel):
        use(channel)


DEFAULT = "operation not permitted on the default exchange"
refused(
    "delete amq.direct", "deletion of system exchange 'amq.direct' in vhost '/' not allowed",
    lambda channel: channel.exchange_delete("amq.direct"),
)
refused(
    "declare an exchange amq.foo", "exchange name 'amq.foo' contains reserved prefix 'amq.*'",
    lambda channel: channel.exchange_declare("amq.foo", "direct"),
)
refused(
    "declare a queue amq.foo", "queue name 'amq.foo' contains reserved prefix 'amq.*'",
    lambda channel: channel.queue_declare("amq.foo"),
)
refused("delete the default exchange", DEFAULT, lambda channel: send_and_wait(channel, spec.Exchange.Delete(exchange="")))
refused(
    "bind to the default exchange", DEFAULT,
    lambda channel: send_and_wait(channel, spec.Queue.Bind(queue=queue(channel, "r-default"), exchange="", routing_key="k")),
)
refused(
    "unbind from the default exchange", DEFAULT,
    lambda channel: send_and_wait(
        channel, spec.Queue.Unbind(queue=queue(channel, "r-default"), exchange="", routing_key="r-default")
    ),
)
refused(
    "bind the default exchange to an exchange", DEFAULT,
    lambda channel: send_and_wait(channel, spec.Exchange.Bind(destination="amq.fanout", source="", routing_key="k")),
)


def send_and_wait(channel, method):
    send(channel, method)
    wait_for_close(channel)


@closes("connection", "unknown exchange type", 503, "COMMAND_INVALID - unknown exchange type 'nosuchtype'")
def _(broker, channel):
    channel.exchange_declare("r-type", "nosuchtype")


# -- arguments of queues

def invalid(argument, value, reason, more=None):
    text = f"PRECONDITION_FAILED - invalid arg '{argument}' for queue 'r-arg' in vhost '/': {reason}"

    @closes("channel", f"{argument} of {value!r}", 406, text)
    def _(broker, channel):
        queue(channel, "r-arg", arguments={argument: value, **(more or {})})


invalid("x-expires", 0, "{value_zero,0}")
invalid("x-expires", -1, "{value_negative,-1}")
invalid("x-expires", "1", '"expected integer, got longstr"')
invalid("x-message-ttl", -1, "{value_negative,-1}")
invalid("x-message-ttl", "1", '"expected integer, got longstr"')
invalid("x-max-length", "1", '"expected integer, got longstr"')
invalid("x-max-length", -1, "{value_negative,-1}")
invalid("x-max-length-bytes", "1", '"expected integer, got longstr"')
invalid("x-max-length-bytes", -1, "{value_negative,-1}")
invalid("x-dead-letter-routing-key", "k", "routing_key_but_no_dlx_defined")
invalid("x-overflow", "nosuch", "invalid_overflow")
invalid("x-max-priority", 300, "{max_value_exceeded,300}")
invalid("x-max-priority", "1", '"expected integer, got longstr"')
invalid("x-queue-type", "foo", '"unsupported queue type \'foo\'"')


@passes("valid arguments of queues")
def _(broker):
    channel = broker.channel()
    queue(channel, "r-arg", arguments={
        "x-expires": 60_000, "x-message-ttl": 0, "x-max-length": 0, "x-max-length-bytes": 1_000_000,
        "x-dead-letter-exchange": "amq.fanout", "x-dead-letter-routing-key": "k", "x-overflow": "reject-publish",
        "x-queue-type": "classic", "x-unknown": [1, "two", {"three": True}],
    })
    channel.queue_delete("r-arg")


@closes(
    "channel", "x-match of a headers binding", 406,
    'PRECONDITION_FAILED - Invalid x-match field value <<"foo">>; expected all, any, all-with-x, or any-with-x',
)
def _(broker, channel):
    channel.queue_bind(queue(channel, "r-match"), "amq.headers", "", {"x-match": "foo"})


# -- consumers and acknowledgements

@closes("channel", "ack of an unknown tag", 406, "PRECONDITION_FAILED - unknown delivery tag 99")
def _(broker, channel):
    channel.basic_ack(99)


@closes("channel", "nack of an unknown tag", 406, "PRECONDITION_FAILED - unknown delivery tag 99")
def _(broker, channel):
    channel.basic_nack(99)


@closes("channel", "reject of an unknown tag", 406, "PRECONDITION_FAILED - unknown delivery tag 99")
def _(broker, channel):
    channel.basic_reject(99)


@closes("channel", "ack of a tag twice", 406, "PRECONDITION_FAILED - unknown delivery tag 1")
def _(broker, channel):
    channel.basic_publish("", queue(channel, "r-twice"), b"x")
    method, _, _ = get(channel, "r-twice")
    channel.basic_ack(method.delivery_tag)
    channel.basic_ack(method.delivery_tag)


@passes("ack of everything when there is nothing")
def _(broker):
    channel = broker.channel()
    channel.basic_ack(0, multiple=True)
    settle(channel)


@closes("channel", "exclusive consumer beside another", 403, "ACCESS_REFUSED - queue 'r-alone' in vhost '/' in exclusive use")
def _(broker, channel):
    queue(channel, "r-alone")
    broker.channel().basic_consume("r-alone", lambda *_: None)
    channel.basic_consume("r-alone", lambda *_: None, exclusive=True)


@closes("channel", "consumer beside an exclusive one", 403, "ACCESS_REFUSED - queue 'r-alone' in vhost '/' in exclusive use")
def _(broker, channel):
    queue(channel, "r-alone")
    broker.channel().basic_consume("r-alone", lambda *_: None, exclusive=True)
    channel.basic_consume("r-alone", lambda *_: None)


@closes("connection", "reuse of a consumer tag", 530, "NOT_ALLOWED - attempt to reuse consumer tag 't'")
def _(broker, channel):
    queue(channel, "r-tag")
    channel.basic_consume("r-tag", lambda *_: None, consumer_tag="t")
    send(channel, spec.Basic.Consume(queue="r-tag", consumer_tag="t"))
    wait_for_close(channel)


@passes("cancel of an unknown consumer tag")
def _(broker):
    channel = broker.channel()
    answer = channel._impl
    done = []
    answer._rpc(spec.Basic.Cancel(consumer_tag="nope"), done.append, [spec.Basic.CancelOk])
    channel.connection._flush_output(lambda: bool(done))


@closes("channel", "delete in use, if unused", 406, "PRECONDITION_FAILED - queue 'r-used' in vhost '/' in use")
def _(broker, channel):
    broker.channel().basic_consume(queue(channel, "r-used"), lambda *_: None)
    channel.queue_delete("r-used", if_unused=True)


@closes("channel", "delete with messages, if empty", 406, "PRECONDITION_FAILED - queue 'r-full' in vhost '/' not empty")
def _(broker, channel):
    channel.basic_publish("", queue(channel, "r-full"), b"x")
    wait_for_messages(channel, "r-full", 1)
    channel.queue_delete("r-full", if_empty=True)


@closes("channel", "exchange delete in use, if unused", 406, "PRECONDITION_FAILED - exchange 'r-bound' in vhost '/' in use")
def _(broker, channel):
    channel.exchange_declare("r-bound", "direct")
    channel.queue_bind(queue(channel, "r-bound"), "r-bound", "k")
    channel.exchange_delete("r-bound", if_unused=True)


@closes("connection", "prefetch size", 540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)")
def _(broker, channel):
    channel.basic_qos(prefetch_size=10)


@closes("connection", "recover without requeue", 540, "NOT_IMPLEMENTED - requeue=false")
def _(broker, channel):
    channel.basic_recover(requeue=False)


@closes("connection", "flow off", 540, "NOT_IMPLEMENTED - active=false")
def _(broker, channel):
    channel.flow(False)


# -- modes of a channel

@closes("channel", "confirm on a tx channel", 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode")
def _(broker, channel):
    channel.tx_select()
    channel.confirm_delivery()


@closes("channel", "tx on a confirm channel", 406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode")
def _(broker, channel):
    channel.confirm_delivery()
    channel.tx_select()


@closes("channel", "tx.commit without tx.select", 406, "PRECONDITION_FAILED - channel is not transactional")
def _(broker, channel):
    channel.tx_commit()


@closes("channel", "tx.rollback without tx.select", 406, "PRECONDITION_FAILED - channel is not transactional")
def _(broker, channel):
    channel.tx_rollback()


@closes("connection", "second channel.open", 504, "CHANNEL_ERROR - second 'channel.open' seen")
def _(broker, channel):
    send_and_wait(channel, spec.Channel.Open())


@closes("connection", "method on a channel that was never opened", 504, "CHANNEL_ERROR - expected 'channel.open'")
def _(broker, channel):
    send(channel, spec.Queue.Declare(queue="r-unopened"), number=77)
    wait_for_close(channel)


# -- publishing

def published(name, properties, text, code=406, exchange="", what="channel"):
    @closes(what, f"publish with {name}", code, text)
    def _(broker, channel):
        channel.basic_publish(exchange, queue(channel, "r-publish"), b"x", pika.BasicProperties(**properties))


published("expiration 'foo'", {"expiration": "foo"}, "PRECONDITION_FAILED - invalid expiration 'foo': no_integer")
published("expiration '-1'", {"expiration": "-1"}, "PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1}")
published("expiration '1x'", {"expiration": "1x"}, "PRECONDITION_FAILED - invalid expiration '1x': {leftover_string,\"x\"}")
published(
    "another's user id", {"user_id": "other"},
    "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'",
)
published(
    "a CC header that is no array", {"headers": {"CC": "x"}},
    'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}',
)
published(
    "a BCC header that is no array", {"headers": {"BCC": 1}},
    'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"BCC",signedint}',
)


@closes("channel", "publish to an internal exchange", 403, "ACCESS_REFUSED - cannot publish to internal exchange 'r-int' in vhost '/'")
def _(broker, channel):
    channel.exchange_delete("r-int")
    channel.exchange_declare("r-int", "direct", internal=True)
    channel.basic_publish("r-int", "k", b"x")


@closes("connection", "publish with immediate", 540, "NOT_IMPLEMENTED - immediate=true")
def _(broker, channel):
    method = spec.Basic.Publish(exchange="", routing_key="r-immediate", immediate=True)
    send(channel, method, (pika.BasicProperties(), b"x"))
    wait_for_close(channel)


@passes("publish with one's own user id and a valid expiration")
def _(broker):
    channel = broker.channel()
    properties = pika.BasicProperties(user_id="guest", expiration="60000")
    channel.basic_publish("", queue(channel, "r-own"), b"x", properties)
    _, got, _ = get(channel, "r-own")
    assert (got.user_id, got.expiration) == ("guest", "60000"), got

# -- which method was at fault: some clients build their messages from it

def blames(name, ids, use):
    """The close that follows names this class and method."""

    @passes(f"the close blames {name}")
    def _(broker):
        channel = broker.channel()
        queue(channel, "r-blamed")
        blamed = []
        note = lambda frame: blamed.append((frame.method.class_id, frame.method.method_id))
        callbacks = channel.connection._impl.callbacks
        callbacks.add(channel.channel_number, spec.Channel.Close, note)
        callbacks.add(0, spec.Connection.Close, note)
        try:
            use(channel)
            settle(channel)
            raise AssertionError("nothing was closed")
        except exceptions.AMQPError:
            assert blamed == [ids], blamed


blames("exchange.declare", (40, 10), lambda channel: channel.exchange_declare("amq.direct", "fanout"))
blames("a passive exchange.declare", (40, 10), lambda channel: channel.exchange_declare("nope", passive=True))
blames("exchange.delete", (40, 20), lambda channel: channel.exchange_delete("amq.direct"))
blames("exchange.bind", (40, 30), lambda channel: channel.exchange_bind("nope", "amq.direct"))
blames("queue.declare", (50, 10), lambda channel: channel.queue_declare("r-blamed", auto_delete=True))
blames("a passive queue.declare", (50, 10), lambda channel: channel.queue_declare("nope", passive=True))
blames("queue.bind", (50, 20), lambda channel: channel.queue_bind("nope", "amq.direct"))
blames("queue.purge", (50, 30), lambda channel: channel.queue_purge("nope"))
blames("queue.delete", (50, 40), lambda channel: (
    channel.connection.channel().basic_consume("r-blamed", print), channel.queue_delete("r-blamed", if_unused=True)
))
blames("basic.qos", (60, 10), lambda channel: channel.basic_qos(prefetch_size=1))
blames("basic.consume", (60, 20), lambda channel: (
    channel.connection.channel().basic_consume("r-blamed", print, exclusive=True), channel.basic_consume("r-blamed", print)
))
blames("basic.publish", (60, 40), lambda channel: channel.basic_publish("nope", "", b"x"))
blames("basic.get", (60, 70), lambda channel: channel.basic_get("nope"))
blames("basic.ack", (60, 80), lambda channel: channel.basic_ack(7))
blames("confirm.select", (85, 10), lambda channel: (channel.tx_select(), channel.confirm_delivery()))
blames("tx.commit", (90, 20), lambda channel: channel.tx_commit())


def get(channel, name):
    wait_for_messages(channel, name, 1)
    return channel.basic_get(name)


def wait_for_messages(channel, name, count):
    """A publish without confirm has arrived at the latest when the queue says so."""
    for _ in range(cases.PATIENCE * 100):
        if channel.queue_declare(name, passive=True).method.message_count == count:
            return
        channel.connection.sleep(0.01)
    raise AssertionError(f"{name} never had {count} messages")


if __name__ == "__main__":
    cases.main()
