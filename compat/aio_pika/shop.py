"""The shop of `everack_compat::shop` with aio-pika's robust connections: nothing here reconnects or declares again by hand."""

import asyncio
import sys

import aio_pika
from aio_pika.exceptions import AMQPError, DeliveryError

ASK_EVERY = 25
PREFETCH = 20
ORDER_PAUSE = 0.005
PACK_PAUSE = 0.020
ANSWER_MAX = 2
# What a publish on a broken connection raises, besides the library's own errors.
BROKEN = (AMQPError, ConnectionError, asyncio.CancelledError, RuntimeError)


def say(*words):
    print(*words, flush=True)


async def main():
    role, url, orders = sys.argv[1:]
    assert role == "shop", "the only role is shop"
    warehouse = await aio_pika.connect_robust(url, reconnect_interval=1)
    service = await aio_pika.connect_robust(url, reconnect_interval=1)
    # A robust connection holds its channels weakly: one that nobody else holds is not there any more when it would be recovered.
    channels = [await warehouse.channel(), await service.channel(publisher_confirms=True)]
    await open_warehouse(channels[0])
    say("ready")
    await take_orders(channels[1], int(orders))
    await asyncio.Event().wait()


async def open_warehouse(channel):
    exchange = await channel.declare_exchange("shop", aio_pika.ExchangeType.TOPIC, durable=True)
    await channel.set_qos(prefetch_count=PREFETCH)
    orders = await channel.declare_queue("shop-warehouse", durable=True)
    await orders.bind(exchange, "order.*")
    prices = await channel.declare_queue("shop-prices", auto_delete=True)
    one_at_a_time = asyncio.Lock()

    async def pack(message):
        order = message.body.decode()
        say("got", order, "redelivered" if message.redelivered else "fresh")
        async with one_at_a_time:
            await asyncio.sleep(PACK_PAUSE)
            try:
                await message.ack()
            except BROKEN as error:
                return print("not acked:", repr(error), file=sys.stderr)
        say("acked", order)

    async def price(question):
        answer = aio_pika.Message(b"9.99", correlation_id=question.correlation_id)
        try:
            await channel.default_exchange.publish(answer, question.reply_to)
            await question.ack()
        except BROKEN as error:
            print("not answered:", repr(error), file=sys.stderr)

    await orders.consume(pack)
    await prices.consume(price)


async def take_orders(channel, orders):
    exchange = await channel.get_exchange("shop")
    answers = {}
    replies = await channel.declare_queue(exclusive=True, auto_delete=True)

    async def answered(message):
        waiting = answers.pop(message.correlation_id, None)
        if waiting is not None:
            waiting.set_result(message.body)

    await replies.consume(answered, no_ack=True)
    for order in range(orders):
        if order % ASK_EVERY == 0:
            await ask(channel, replies, answers, order)
        await place(exchange, order)
        await asyncio.sleep(ORDER_PAUSE)


async def place(exchange, order):
    message = aio_pika.Message(str(order).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    while True:
        say("sending", order)
        try:
            await exchange.publish(message, "order.placed", mandatory=True)
            return say("confirmed", order)
        except DeliveryError:
            raise
        except BROKEN as error:
            print("not confirmed:", repr(error), file=sys.stderr)
            await asyncio.sleep(0.2)


async def ask(channel, replies, answers, order):
    while True:
        say("asked", order)
        answer = answers[str(order)] = asyncio.get_running_loop().create_future()
        # The name is the broker's: it is another one after a reconnect.
        question = aio_pika.Message(b"", reply_to=replies.name, correlation_id=str(order))
        try:
            await channel.default_exchange.publish(question, "shop-prices", mandatory=False)
            await asyncio.wait_for(answer, ANSWER_MAX)
            return say("answered", order)
        except BROKEN as error:
            print("no answer:", repr(error), file=sys.stderr)
            await asyncio.sleep(0.2)
        except TimeoutError:
            pass


asyncio.run(main())
