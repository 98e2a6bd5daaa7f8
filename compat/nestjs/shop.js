// The shop of `everack_compat::shop` with NestJS's RabbitMQ transport: a microservice and a client of it, as its documentation
// writes them, decorators applied by hand because this is not TypeScript.
'use strict';

require('reflect-metadata');
const amqp = require('amqplib');
const { Controller, Module } = require('@nestjs/common');
const { NestFactory } = require('@nestjs/core');
const { ClientProxyFactory, Ctx, EventPattern, MessagePattern, Payload, Transport } = require('@nestjs/microservices');
const { firstValueFrom, timeout } = require('rxjs');
const { setTimeout: pause } = require('node:timers/promises');

const ASK_EVERY = 25;
const PREFETCH = 20;
const ORDER_PAUSE_MS = 5;
const PACK_PAUSE_MS = 20;
const ANSWER_MAX_MS = 2000;
const QUEUE = 'shop-warehouse';
// Where answers come to when the broker has no direct reply-to, which is NestJS's default.
const REPLIES = 'shop-replies';
const DIRECT_REPLY_TO = process.env.SHOP_DIRECT_REPLY_TO === '1';

const say = (...words) => console.log(words.join(' '));

const options = (url) => ({
  urls: [url],
  queue: QUEUE,
  queueOptions: { durable: true },
  socketOptions: { reconnectTimeInSeconds: 1 },
});

class Warehouse {
  constructor() {
    this.packing = Promise.resolve();
  }

  pack(order, context) {
    this.packing = this.packing.then(() => this.packOne(order, context));
    return this.packing;
  }

  async packOne(order, context) {
    const message = context.getMessage();
    say('got', order, message.fields.redelivered ? 'redelivered' : 'fresh');
    await pause(PACK_PAUSE_MS);
    try {
      context.getChannelRef().ack(message);
      say('acked', order);
    } catch (error) {
      console.error('not acked:', String(error));
    }
  }

  price(order, context) {
    context.getChannelRef().ack(context.getMessage());
    return { order, price: '9.99' };
  }
}

class Shop {}

const method = (name) => [Warehouse.prototype, name, Object.getOwnPropertyDescriptor(Warehouse.prototype, name)];
EventPattern('order.placed')(...method('pack'));
MessagePattern('price')(...method('price'));
for (const handler of ['pack', 'price']) {
  Payload()(Warehouse.prototype, handler, 0);
  Ctx()(Warehouse.prototype, handler, 1);
}
Controller()(Warehouse);
Module({ controllers: [Warehouse] })(Shop);

async function openWarehouse(url) {
  const service = await NestFactory.createMicroservice(Shop, {
    transport: Transport.RMQ,
    options: { ...options(url), noAck: false, prefetchCount: PREFETCH },
    logger: ['error'],
  });
  await service.listen();
  say('ready');
}

async function takeOrders(url, orders) {
  const replies = DIRECT_REPLY_TO ? {} : { replyQueue: REPLIES };
  if (!DIRECT_REPLY_TO) await declareReplies(url);
  const client = ClientProxyFactory.create({
    transport: Transport.RMQ,
    options: { ...options(url), persistent: true, ...replies },
  });
  await client.connect();
  say('ready');
  for (let order = 0; order < orders; order++) {
    if (order % ASK_EVERY === 0) await untilDone(() => ask(client, order));
    await untilDone(() => place(client, order));
    await pause(ORDER_PAUSE_MS);
  }
}

async function untilDone(attempt) {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      console.error('again:', error);
      await pause(200);
    }
  }
}

async function place(client, order) {
  say('sending', order);
  // Comes back with the confirm. What is open when the connection ends is either sent again by the library or comes back as an error.
  await firstValueFrom(client.emit('order.placed', order), { defaultValue: null });
  say('confirmed', order);
}

async function declareReplies(url) {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  await channel.assertQueue(REPLIES, { durable: true });
  await connection.close();
}

async function ask(client, order) {
  say('asked', order);
  const answer = await firstValueFrom(client.send('price', order).pipe(timeout(ANSWER_MAX_MS)));
  if (answer.order !== order || answer.price !== '9.99') throw new Error(`another answer: ${JSON.stringify(answer)}`);
  say('answered', order);
}

const [role, url, orders] = process.argv.slice(2);
const roles = { warehouse: () => openWarehouse(url), orders: () => takeOrders(url, Number(orders)) };
roles[role]().catch((error) => {
  console.error(error);
  process.exit(1);
});
