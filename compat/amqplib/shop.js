// The shop of `everack_compat::shop` with amqplib and its opt-in recovery.
'use strict';

const amqp = require('amqplib');
const { setTimeout: pause } = require('node:timers/promises');

const ASK_EVERY = 25;
const PREFETCH = 20;
const ORDER_PAUSE_MS = 5;
const PACK_PAUSE_MS = 20;
const ANSWER_MAX_MS = 2000;

const say = (...words) => console.log(words.join(' '));
const complain = (error) => console.error(String(error));

async function main() {
  const [role, url, orders] = process.argv.slice(2);
  if (role !== 'shop') throw new Error('the only role is shop');
  await openWarehouse(url);
  const service = new OrderService(url);
  await service.open();
  say('ready');
  await service.takeOrders(Number(orders));
}

// What `setup` declares and consumes is there again after every reconnect.
async function openWarehouse(url) {
  const connection = await amqp.connect(url, { recovery: { setup: setUpWarehouse } });
  connection.on('error', complain);
  connection.on('reconnect-failed', complain);
}

async function setUpWarehouse(connection) {
  const channel = await connection.createChannel();
  channel.on('error', complain);
  await channel.assertExchange('shop', 'topic', { durable: true });
  await channel.assertQueue('shop-warehouse', { durable: true });
  await channel.bindQueue('shop-warehouse', 'shop', 'order.*');
  await channel.assertQueue('shop-prices', { durable: false, autoDelete: true });
  await channel.prefetch(PREFETCH);
  let packing = Promise.resolve();
  await channel.consume('shop-warehouse', (message) => {
    if (message === null) throw new Error('the warehouse was cancelled');
    packing = packing.then(() => pack(channel, message));
  });
  await channel.consume('shop-prices', (question) => {
    const { replyTo, correlationId } = question.properties;
    channel.sendToQueue(replyTo, Buffer.from('9.99'), { correlationId });
    channel.ack(question);
  });
}

async function pack(channel, message) {
  say('got', message.content, message.fields.redelivered ? 'redelivered' : 'fresh');
  await pause(PACK_PAUSE_MS);
  try {
    channel.ack(message);
    say('acked', message.content);
  } catch (error) {
    complain(error);
  }
}

class OrderService {
  constructor(url) {
    this.url = url;
    this.answers = new Map();
  }

  async open() {
    const connection = await amqp.connect(this.url, { recovery: { setup: (opened) => this.setUp(opened) } });
    connection.on('error', complain);
    connection.on('reconnect-failed', complain);
  }

  async setUp(connection) {
    const channel = await connection.createConfirmChannel();
    channel.on('error', complain);
    channel.on('return', (message) => { throw new Error(`returned: ${message.content}`); });
    this.replies = (await channel.assertQueue('', { exclusive: true })).queue;
    await channel.consume(this.replies, (reply) => this.answers.get(reply.properties.correlationId)?.(), { noAck: true });
    this.channel = channel;
  }

  async takeOrders(orders) {
    for (let order = 0; order < orders; order++) {
      if (order % ASK_EVERY === 0) await this.untilDone(() => this.ask(order));
      await this.untilDone(() => this.place(order));
      await pause(ORDER_PAUSE_MS);
    }
  }

  async untilDone(attempt) {
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        complain(error);
        await pause(200);
      }
    }
  }

  async place(order) {
    say('sending', order);
    const options = { persistent: true, mandatory: true };
    await new Promise((resolve, reject) => {
      this.channel.publish('shop', 'order.placed', Buffer.from(String(order)), options, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
    say('confirmed', order);
  }

  async ask(order) {
    say('asked', order);
    const answer = new Promise((resolve) => { this.answers.set(String(order), () => resolve(true)); });
    const options = { replyTo: this.replies, correlationId: String(order) };
    this.channel.sendToQueue('shop-prices', Buffer.alloc(0), options);
    if (!(await Promise.race([answer, pause(ANSWER_MAX_MS, false)]))) throw new Error('no answer');
    say('answered', order);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
