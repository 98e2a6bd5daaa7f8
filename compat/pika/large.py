"""Bodies at the limit of 128 MiB."""

import threading

from pika import exceptions

import cases
from cases import case

LIMIT = 128 << 20


def body(size, seed):
    """Not the same everywhere, so that a piece in the wrong place shows."""
    block = bytes((index * 7 + seed) % 251 for index in range(65_521))
    return (block * (size // len(block) + 1))[:size]


def there_and_back(broker, size, seed=0, **parameters):
    channel = broker.channel(**parameters)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    sent = body(size, seed)
    channel.basic_publish("", queue, sent)
    got = channel.basic_get(queue, auto_ack=True)[2]
    assert len(got) == size and got == sent, f"{len(got)} of {size} bytes, or other ones"


@case("20 MiB through the smallest frames")
def _(broker):
    there_and_back(broker, 20 << 20, frame_max=4096)


@case("128 MiB, the most there may be")
def _(broker):
    there_and_back(broker, LIMIT)


@case("one byte more is refused")
def _(broker):
    channel = broker.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    text = f"PRECONDITION_FAILED - message size {LIMIT + 1} is larger than configured max size {LIMIT}"
    try:
        channel.basic_publish("", queue, bytes(LIMIT + 1))
        channel.basic_get(queue)
    except exceptions.ChannelClosedByBroker as error:
        assert (error.reply_code, error.reply_text) == (406, text), error
    else:
        raise AssertionError("it was taken")
    there_and_back(broker, 1000)


@case("four times 100 MiB at once, and a small one beside them")
def _(broker):
    failures = []

    def one(seed):
        own = cases.Broker(broker.url)
        try:
            there_and_back(own, 100 << 20, seed)
        except Exception as error:
            failures.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        there_and_back(broker, 1000)
    for thread in threads:
        thread.join()
    assert not failures, failures


if __name__ == "__main__":
    cases.main()
