"""The three roles of `everack_compat::client` with pika's blocking connection."""

import sys

import pika


def main():
    role, url, queue, *rest = sys.argv[1:]
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    {"publish": publish, "hold": hold, "drain": drain}[role](channel, queue, *map(int, rest))
    connection.close()


def publish(channel, queue, first, count):
    channel.confirm_delivery()
    persistent = pika.BasicProperties(delivery_mode=2)
    for number in range(first, first + count):
        # Raises when the broker nacks or returns the message.
        channel.basic_publish("", queue, str(number), persistent, mandatory=True)
    print("confirmed", count)


def hold(channel, queue, prefetch, acks):
    channel.basic_qos(prefetch_count=prefetch)
    for number, (method, _, body) in enumerate(channel.consume(queue)):
        show(method, body)
        if number < acks:
            channel.basic_ack(method.delivery_tag)


def drain(channel, queue, count):
    channel.basic_qos(prefetch_count=50)
    for number, (method, _, body) in enumerate(channel.consume(queue), start=1):
        show(method, body)
        channel.basic_ack(method.delivery_tag)
        if number == count:
            break
    channel.cancel()
    channel.close()
    print("done")


def show(method, body):
    print("got", body.decode(), "redelivered" if method.redelivered else "fresh")


main()
