"""A disk that runs full under a publisher, and room that comes back when consumers have worked."""

import threading
import time

import pika

import cases
from cases import case

BODY = b"x" * 20_000
MESSAGES = 4000


class Publisher:
    """Publishes with confirms on a connection of its own, and notes what it was told."""

    def __init__(self, broker):
        self.connection = broker.connection(blocked_connection_timeout=120)
        self.connection.add_on_connection_blocked_callback(self.blocked)
        self.connection.add_on_connection_unblocked_callback(self.unblocked)
        self.channel = self.connection.channel()
        self.channel.queue_declare("full", durable=True)
        self.channel.confirm_delivery()
        self.confirmed = set()
        self.told = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def blocked(self, _, method):
        self.told.append(method.method.reason)

    def unblocked(self, *_):
        self.told.append("unblocked")

    def run(self):
        for number in range(MESSAGES):
            body = b"%08d" % number + BODY
            self.channel.basic_publish("", "full", body, pika.BasicProperties(delivery_mode=2))
            self.confirmed.add(number)
            # Callbacks of the connection run here and nowhere else.
            self.connection.process_data_events(0)
        self.connection.process_data_events(1)

    def stands_still(self):
        before = len(self.confirmed)
        time.sleep(1)
        return len(self.confirmed) == before


@case("a full disk stops publishers, consumers make room, and nothing that was confirmed is missing")
def full(broker):
    publisher = Publisher(broker)
    deadline = time.monotonic() + 60
    while not publisher.stands_still():
        assert time.monotonic() < deadline, "the disk never ran full"
    stopped_at = len(publisher.confirmed)
    assert 0 < stopped_at < MESSAGES, f"{stopped_at} were confirmed"

    channel = broker.channel()
    assert channel.queue_declare("full", passive=True).method.message_count >= stopped_at
    channel.basic_qos(prefetch_count=100)
    received = set()
    for method, _, body in channel.consume("full", inactivity_timeout=cases.PATIENCE):
        if method is None:
            break
        assert body[8:] == BODY, "a body is damaged"
        received.add(int(body[:8]))
        channel.basic_ack(method.delivery_tag)
        if len(received) == MESSAGES:
            break
    publisher.thread.join(60)
    assert not publisher.thread.is_alive(), "the publisher was never let go on"
    missing = publisher.confirmed - received
    assert not missing, f"{len(missing)} confirmed messages never came"
    assert len(publisher.confirmed) == MESSAGES
    assert publisher.told == ["low on disk", "unblocked"], f"the publisher was told {publisher.told}"


if __name__ == "__main__":
    cases.main()
