"""The three roles of `everack_compat::client` with aio-pika."""

import asyncio
import sys

import aio_pika


async def main():
    role, url, queue, *rest = sys.argv[1:]
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        declared = await channel.declare_queue(queue, durable=True)
        await {"publish": publish, "hold": hold, "drain": drain}[role](channel, declared, *map(int, rest))


async def publish(channel, queue, first, count):
    def send(number):
        message = aio_pika.Message(str(number).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        return channel.default_exchange.publish(message, queue.name, mandatory=True)

    # Each call comes back with its confirm, and raises when there is none.
    await asyncio.gather(*(send(number) for number in range(first, first + count)))
    print("confirmed", count)


async def hold(channel, queue, prefetch, acks):
    await channel.set_qos(prefetch_count=prefetch)
    number = 0
    async with queue.iterator() as messages:
        async for message in messages:
            show(message)
            if number < acks:
                await message.ack()
            number += 1


async def drain(channel, queue, count):
    await channel.set_qos(prefetch_count=50)
    left = count
    async with queue.iterator() as messages:
        async for message in messages:
            show(message)
            await message.ack()
            left -= 1
            if left == 0:
                break
    await channel.close()
    print("done")


def show(message):
    print("got", message.body.decode(), "redelivered" if message.redelivered else "fresh")


asyncio.run(main())
