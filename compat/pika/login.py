"""Who gets in, over what, and what they may do there: logins, TLS, permissions.

The test starts the broker with these users beyond `guest`:
  ann  everything in `/`
  bob  no permission for `/`
  cy   configure, write and read of names that start with `cy-`; write to the default exchange

Environment: TLS_PORT (a certificate of the client is optional), CA, CLIENT_CERTIFICATE, CLIENT_KEY; MUTUAL_PORT (it is
demanded) where the test started a second broker for it.
"""

import os
import ssl

import pika
from pika import exceptions

import cases
from cases import case

REFUSED = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."


def url(broker, user, password, vhost="%2f"):
    host = broker.url.split("@")[1].split("/")[0]
    return f"amqp://{user}:{password}@{host}/{vhost}"


def refused(name, user, password, code, text, vhost="%2f"):
    @case(name)
    def _(broker):
        broker.url = url(broker, user, password, vhost)
        try:
            broker.connection()
        except exceptions.ConnectionClosedByBroker as error:
            assert (error.reply_code, error.reply_text) == (code, text), error
        except exceptions.ProbableAuthenticationError as error:
            assert f"({code}) {text!r}" in str(error), error
        except exceptions.ProbableAccessDeniedError as error:
            assert f"({code}) {text!r}" in str(error) or f'({code}) "{text}"' in str(error), error
        else:
            raise AssertionError("it got in")


refused("a wrong password", "guest", "wrong", 403, REFUSED)
refused("an empty password", "guest", "", 403, REFUSED)
refused("an unknown user", "nobody", "guest", 403, REFUSED)
refused("a virtual host that is not there", "guest", "guest", 530, "NOT_ALLOWED - vhost nope not found", "nope")
refused(
    "a virtual host without permission", "bob", "secret", 530,
    "NOT_ALLOWED - access to vhost '/' refused for user 'bob'",
)


@case("another user with the right password works")
def _(broker):
    broker.url = url(broker, "ann", "secret")
    round_trip(broker.channel())


def round_trip(channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"x" * 200_000)
    assert channel.basic_get(queue, auto_ack=True)[2] == b"x" * 200_000


# -- permissions

def denied(name, permission, kind, resource, use):
    """A mistake of `cy`: what it does to something that is not its own.

    RabbitMQ 3.10 does not say which permission is missing, later series do: both are right.
    """

    @case(f"without permission: {name}")
    def _(broker):
        guest = broker.channel()
        guest.queue_declare("not-mine")
        guest.exchange_declare("not-my-exchange", "topic")
        broker.url = url(broker, "cy", "secret")
        channel = broker.channel()
        channel.queue_declare("cy-queue")
        channel.exchange_declare("cy-exchange", "topic")
        refusal = f"access to {kind} '{resource}' in vhost '/' refused for user 'cy'"
        texts = (f"ACCESS_REFUSED - {refusal}", f"ACCESS_REFUSED - {permission} {refusal}")
        try:
            use(channel)
            channel.connection.process_data_events(0.05)
            channel.queue_declare("cy-queue", passive=True)
        except exceptions.ChannelClosedByBroker as error:
            assert error.reply_code == 403 and error.reply_text in texts, error
        except exceptions.ChannelWrongStateError:
            reason = channel._closing_reason
            assert reason.reply_code == 403 and reason.reply_text in texts, reason
        else:
            raise AssertionError("it was allowed")


QUEUE, EXCHANGE = ("queue", "not-mine"), ("exchange", "not-my-exchange")
denied("declare a queue", "configure", *QUEUE, lambda channel: channel.queue_declare("not-mine"))
denied("declare a queue that is not there", "configure", "queue", "not-there", lambda channel: channel.queue_declare("not-there"))
denied("declare an exchange", "configure", *EXCHANGE, lambda channel: channel.exchange_declare("not-my-exchange", "topic"))
denied("delete a queue", "configure", *QUEUE, lambda channel: channel.queue_delete("not-mine"))
denied("delete an exchange", "configure", *EXCHANGE, lambda channel: channel.exchange_delete("not-my-exchange"))
denied("publish", "write", *EXCHANGE, lambda channel: channel.basic_publish("not-my-exchange", "k", b"x"))
denied("consume", "read", *QUEUE, lambda channel: channel.basic_consume("not-mine", lambda *_: None))
denied("get", "read", *QUEUE, lambda channel: channel.basic_get("not-mine"))
denied("purge", "read", *QUEUE, lambda channel: channel.queue_purge("not-mine"))
denied("bind a queue", "write", *QUEUE, lambda channel: channel.queue_bind("not-mine", "cy-exchange", "k"))
denied("bind to an exchange", "read", *EXCHANGE, lambda channel: channel.queue_bind("cy-queue", "not-my-exchange", "k"))
denied("unbind a queue", "write", *QUEUE, lambda channel: channel.queue_unbind("not-mine", "cy-exchange", "k"))
denied("bind an exchange", "write", *EXCHANGE, lambda channel: channel.exchange_bind("not-my-exchange", "cy-exchange", "k"))
denied("bind to an exchange as exchange", "read", *EXCHANGE, lambda channel: channel.exchange_bind("cy-exchange", "not-my-exchange", "k"))
denied(
    "a dead letter exchange", "write", *EXCHANGE,
    lambda channel: channel.queue_declare("cy-letters", arguments={"x-dead-letter-exchange": "not-my-exchange"}),
)


@case("with permission everything of one's own works")
def _(broker):
    broker.url = url(broker, "cy", "secret")
    channel = broker.channel()
    channel.exchange_declare("cy-exchange", "topic")
    channel.queue_declare("cy-own")
    channel.queue_bind("cy-own", "cy-exchange", "#")
    channel.confirm_delivery()
    channel.basic_publish("cy-exchange", "k", b"1")
    channel.basic_publish("", "cy-own", b"2")
    assert [channel.basic_get("cy-own", auto_ack=True)[2] for _ in range(2)] == [b"1", b"2"]
    channel.queue_delete("cy-own")


@case("passive declarations need no permission")
def _(broker):
    broker.channel().queue_declare("not-mine")
    broker.url = url(broker, "cy", "secret")
    channel = broker.channel()
    channel.queue_declare("not-mine", passive=True)
    channel.exchange_declare("amq.direct", passive=True)


# -- TLS

def over_tls(broker, port, version=None, certificate=True, authority=True, **more):
    context = ssl.create_default_context(cafile=os.environ["CA"] if authority else None)
    if version:
        context.minimum_version = context.maximum_version = version
    if certificate:
        context.load_cert_chain(os.environ["CLIENT_CERTIFICATE"], os.environ["CLIENT_KEY"])
    broker.url = f"amqp://guest:guest@localhost:{port}/%2f"
    return broker.channel(ssl_options=pika.SSLOptions(context, "localhost"), **more)


@case("TLS 1.2")
def _(broker):
    round_trip(over_tls(broker, os.environ["TLS_PORT"], ssl.TLSVersion.TLSv1_2))


@case("TLS 1.3")
def _(broker):
    round_trip(over_tls(broker, os.environ["TLS_PORT"], ssl.TLSVersion.TLSv1_3))


@case("TLS without a certificate of the client")
def _(broker):
    round_trip(over_tls(broker, os.environ["TLS_PORT"], certificate=False))


@case("a client that does not trust the authority does not get a session")
def _(broker):
    fails(lambda: over_tls(broker, os.environ["TLS_PORT"], authority=False))


@case("mutual TLS with the certificate that is demanded")
def _(broker):
    round_trip(over_tls(broker, os.environ["MUTUAL_PORT"]))


@case("a certificate logs in, as the user that it names")
def _(broker):
    by_certificate = pika.credentials.ExternalCredentials()
    channel = over_tls(broker, os.environ["MUTUAL_PORT"], credentials=by_certificate)
    round_trip(channel)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, b"x", pika.BasicProperties(user_id="ann"))
    assert channel.basic_get(queue)[1].user_id == "ann"


@case("a certificate that nobody asked for does not log in")
def _(broker):
    by_certificate = pika.credentials.ExternalCredentials()
    fails(lambda: over_tls(broker, os.environ["TLS_PORT"], credentials=by_certificate))


@case("mutual TLS without a certificate is refused")
def _(broker):
    fails(lambda: over_tls(broker, os.environ["MUTUAL_PORT"], certificate=False))


@case("plain AMQP on the TLS port is refused")
def _(broker):
    broker.url = f"amqp://guest:guest@localhost:{os.environ['TLS_PORT']}/%2f"
    fails(broker.connection)


def fails(connect):
    try:
        connect()
    except (exceptions.AMQPError, OSError):
        return
    raise AssertionError("it got in")


if __name__ == "__main__":
    cases.main()
