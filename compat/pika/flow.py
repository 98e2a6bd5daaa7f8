"""What bounds a broker's memory and disk, and who has to wait for it: publishers, never consumers.

Three brokers: the one of `--url` keeps few durable messages in memory, `SCARCE` has little memory at all, `WATERMARK` is on a small disk of which a
part has to stay free.
"""

import os
import socket
import statistics
import threading
import time

import pika

import cases
from cases import case
from queues import confirming, count, wait, wait_for_count

BODY = b"x" * 100_000
MIB = 1 << 20


def at(broker, name):
    """Another of the three brokers, for this case."""
    broker.url = os.environ[name]
    return broker


def until(condition, what, seconds=3 * cases.PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it never happened: {what}"
        time.sleep(0.02)


class Publisher:
    """Publishes with confirms on a connection of its own until it is told to end, and notes what it was told."""

    def __init__(self, broker, queue, **properties):
        self.connection = broker.connection(blocked_connection_timeout=4 * cases.PATIENCE)
        self.told = []
        self.connection.add_on_connection_blocked_callback(lambda _, method: self.told.append(method.method.reason))
        self.connection.add_on_connection_unblocked_callback(lambda *_: self.told.append("unblocked"))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.queue = queue
        self.properties = pika.BasicProperties(**properties)
        self.confirmed = 0
        self.over = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over:
            self.channel.basic_publish("", self.queue, b"%08d" % self.confirmed + BODY, self.properties)
            self.confirmed += 1
            # Callbacks of the connection run here and nowhere else.
            self.connection.process_data_events(0)

    def stands_still(self):
        before = self.confirmed
        time.sleep(0.7)
        return self.confirmed == before

    def end(self):
        self.over = True
        self.thread.join(4 * cases.PATIENCE)
        assert not self.thread.is_alive(), "the publisher was never let go on"


def alarm(broker, queue, reason, held, **properties):
    """A publisher runs into an alarm; consumers work all the while, and it goes on when they have made room."""
    publisher = Publisher(broker, queue, **properties)
    until(lambda: publisher.confirmed and publisher.stands_still(), "the publisher is blocked")
    stopped_at = publisher.confirmed
    held(stopped_at)
    channel = broker.channel()
    assert count(channel, queue) >= stopped_at, "somebody else has been here"
    channel.basic_qos(prefetch_count=20)
    numbers = []

    def work(_, method, __, body):
        assert body[8:] == BODY, "a body is damaged"
        numbers.append(int(body[:8]))
        channel.basic_ack(method.delivery_tag)
        # As soon as somebody was let go on, there has been enough.
        publisher.over = publisher.over or publisher.confirmed > stopped_at + 1

    channel.basic_consume(queue, work)
    while not publisher.over:
        before = len(numbers)
        wait(channel, lambda: len(numbers) > before)
    publisher.end()
    wait(channel, lambda: len(numbers) >= publisher.confirmed)
    assert numbers == list(range(publisher.confirmed)), "something is missing or out of order"
    publisher.connection.process_data_events(1)
    assert publisher.told[:2] == [reason, "unblocked"], publisher.told


# -- alarms

@case("little memory blocks publishers, who are told, and never consumers")
def _(broker):
    channel = at(broker, "SCARCE").channel()
    channel.queue_delete("fl-memory")
    channel.queue_declare("fl-memory")
    alarm(broker, "fl-memory", "low on memory", lambda _: None)


@case("a disk at its watermark blocks publishers, who are told, and never consumers")
def _(broker):
    channel = at(broker, "WATERMARK").channel()
    channel.queue_declare("fl-disk", durable=True)

    def some_is_free(_):
        disk = os.statvfs(os.environ["DISK"])
        free = disk.f_bavail * disk.f_frsize
        assert free > 8 * MIB, f"{free} bytes are free: the disk itself ran full, not the watermark"

    alarm(broker, "fl-disk", "low on disk", some_is_free, delivery_mode=2)


# -- memory

def resident_mib():
    """The broker's resident memory now; a broker that is not ours may be as large as it likes."""
    if "BROKER_PID" not in os.environ:
        return 0
    with open(f"/proc/{os.environ['BROKER_PID']}/status") as status:
        [line] = [line for line in status if line.startswith("VmRSS:")]
    return int(line.split()[1]) // 1024


def hoarder(name, prefetch):
    @case(name)
    def _(broker):
        channel = confirming(broker)
        queue = f"fl-hoard-{prefetch}"
        channel.queue_delete(queue)
        channel.queue_declare(queue, durable=True)
        before = resident_mib()
        hoard = broker.channel()
        hoard.basic_qos(prefetch_count=prefetch)
        received = []
        hoard.basic_consume(queue, lambda _, method, __, body: received.append(len(body)))
        largest = 0
        # 150 MB, every message in a consumer's hands before the next one is published.
        for number in range(1500):
            channel.basic_publish("", queue, BODY, pika.BasicProperties(delivery_mode=2))
            wait(hoard, lambda: len(received) > number)
            if number % 50 == 0:
                largest = max(largest, resident_mib())
        assert largest - before < 64, f"memory grew from {before} to {largest} MiB"
        hoard.connection.close()
        assert set(received) == {len(BODY)}
        # All of it is the queue's again.
        wait_for_count(channel, queue, 1500)
        channel.queue_delete(queue)


hoarder("a consumer that holds 150 MB unsettled does not hold the broker's memory", 0)
hoarder("neither does one with the largest prefetch there is", 65535)


# -- fairness

class Greedy:
    """Pushes messages into a socket as fast as it takes them, and asks for nothing."""

    def __init__(self, broker, queue):
        connection = broker.connection()
        connection.channel()
        self.socket = connection._impl._transport._sock
        self.socket.settimeout(None)
        publish = pika.spec.Basic.Publish(exchange="", routing_key=queue)
        properties = pika.BasicProperties(delivery_mode=2)
        frames = [
            pika.frame.Method(1, publish), pika.frame.Header(1, 1000, properties), pika.frame.Body(1, b"g" * 1000),
        ]
        self.bytes = b"".join(frame.marshal() for frame in frames) * 500
        self.sent = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while True:
                self.socket.sendall(self.bytes)
                self.sent += 500
        except OSError:
            pass

    def end(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(cases.PATIENCE)


@case("greedy publishers do not starve a modest one")
def _(broker):
    channel = confirming(broker)
    for name, more in (("fl-modest", {}), ("fl-greedy", {"x-max-length": 20_000})):
        channel.queue_delete(name)
        channel.queue_declare(name, durable=True, arguments=more)
    consumer = broker.channel()
    greedy = [Greedy(broker, "fl-greedy") for _ in range(4)]
    try:
        until(lambda: all(one.sent > 2000 for one in greedy), "the greedy are at work")
        before = [one.sent for one in greedy]
        confirms, rounds = [], []
        for number in range(100):
            began = time.monotonic()
            channel.basic_publish("", "fl-modest", b"%d" % number, pika.BasicProperties(delivery_mode=2))
            confirms.append(time.monotonic() - began)
            method, _, body = consumer.basic_get("fl-modest", auto_ack=True)
            rounds.append(time.monotonic() - began)
            assert method is not None and body == b"%d" % number
        assert all(one.sent > was for one, was in zip(greedy, before)), "a greedy one was starved"
        assert statistics.median(rounds) < 1, f"a round takes {statistics.median(rounds):.2f} s"
        assert max(rounds) < 5, f"one round took {max(rounds):.2f} s"
    finally:
        for one in greedy:
            one.end()


if __name__ == "__main__":
    cases.main()
