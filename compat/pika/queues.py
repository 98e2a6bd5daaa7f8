"""What cases do with queues and with time."""

import time

import cases


def wait(channel, condition):
    """Lets the connection work until something has happened."""
    deadline = time.monotonic() + cases.PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        channel.connection.process_data_events(0.02)


def quiet(channel, seconds=0.15):
    """Lets time pass in which something wrong could arrive."""
    channel.connection.sleep(seconds)


def confirming(broker, **connection):
    """A channel on which a publish returns once the message is in its queues."""
    channel = broker.channel(**connection)
    channel.confirm_delivery()
    return channel


def count(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def wait_for_count(channel, queue, messages):
    deadline = time.monotonic() + cases.PATIENCE
    while count(channel, queue) != messages:
        assert time.monotonic() < deadline, f"{count(channel, queue)} messages instead of {messages}"
        quiet(channel, 0.01)


def taken(channel, queue):
    """Everything that is ready, oldest first, by get with automatic ack: bodies with their properties."""
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return
        yield body, properties


def drain(channel, queue):
    """The bodies of everything that is ready, oldest first."""
    return [body for body, _ in taken(channel, queue)]


def fresh_exchange(channel, name, kind, **more):
    """An exchange of the case's own, also if one of that name was left behind."""
    channel.exchange_delete(name)
    channel.exchange_declare(name, kind, **more)
    return name
