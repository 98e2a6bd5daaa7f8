// The three roles of `everack_compat::client` with amqplib's promises.
'use strict';

const amqp = require('amqplib');

const ROLES = { publish, hold, drain };

async function main() {
  const [role, url, queue, ...rest] = process.argv.slice(2);
  const connection = await amqp.connect(url);
  await ROLES[role](connection, queue, ...rest.map(Number));
  await connection.close();
}

async function publish(connection, queue, first, count) {
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(queue, { durable: true });
  const returned = [];
  channel.on('return', (message) => returned.push(message.content.toString()));
  for (let number = first; number < first + count; number++) {
    channel.sendToQueue(queue, Buffer.from(String(number)), { persistent: true, mandatory: true });
  }
  await channel.waitForConfirms();
  if (returned.length > 0) throw new Error(`returned: ${returned}`);
  console.log(`confirmed ${count}`);
}

async function hold(connection, queue, prefetch, acks) {
  let number = 0;
  await consume(connection, queue, prefetch, (channel, message) => {
    if (number++ < acks) channel.ack(message);
  });
  await new Promise(() => {});
}

async function drain(connection, queue, count) {
  let left = count;
  let finished;
  const end = new Promise((resolve) => { finished = resolve; });
  const channel = await consume(connection, queue, 50, (from, message) => {
    from.ack(message);
    if (--left === 0) finished();
  });
  await end;
  await channel.close();
  console.log('done');
}

async function consume(connection, queue, prefetch, settle) {
  const channel = await connection.createChannel();
  await channel.assertQueue(queue, { durable: true });
  await channel.prefetch(prefetch);
  await channel.consume(queue, (message) => {
    if (message === null) throw new Error('the consumer was cancelled');
    const mark = message.fields.redelivered ? 'redelivered' : 'fresh';
    console.log(`got ${message.content} ${mark}`);
    settle(channel, message);
  });
  return channel;
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
