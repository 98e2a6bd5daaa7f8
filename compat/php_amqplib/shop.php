<?php
// The shop of `everack_compat::shop` with php-amqplib. It does not recover by itself: each side connects again in a loop, as in
// its example `connection_recovery_consume.php`. PHP has no threads: the two sides are two processes.

require 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPExceptionInterface;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;

const ASK_EVERY = 25;
const PREFETCH = 20;
const ORDER_PAUSE_US = 5000;
const PACK_PAUSE_US = 20000;
const ANSWER_MAX = 2;
const CONFIRM_MAX = 10;
const CONNECT_PAUSE_US = 300000;

function say(string ...$words): void
{
    fwrite(STDOUT, implode(' ', $words) . "\n");
}

function connect(array $url): AMQPStreamConnection
{
    return new AMQPStreamConnection($url['host'], $url['port'], $url['user'], $url['pass'], urldecode(substr($url['path'], 1)));
}

/** Calls it with a channel of a new connection until it is finished. */
function keep(array $url, callable $at_work): void
{
    for (;;) {
        try {
            $at_work(connect($url)->channel());
            return;
        } catch (AMQPExceptionInterface | RuntimeException | ErrorException $error) {
            fwrite(STDERR, 'connects again: ' . get_class($error) . ': ' . $error->getMessage() . "\n");
            usleep(CONNECT_PAUSE_US);
        }
    }
}

function run_warehouse(AMQPChannel $channel): void
{
    $channel->exchange_declare('shop', 'topic', false, true, false);
    $channel->queue_declare('shop-warehouse', false, true, false, false);
    $channel->queue_bind('shop-warehouse', 'shop', 'order.*');
    $channel->queue_declare('shop-prices', false, false, false, true);
    $channel->basic_qos(0, PREFETCH, false);
    $channel->basic_consume('shop-warehouse', '', false, false, false, false, 'pack_order');
    $channel->basic_consume('shop-prices', '', false, false, false, false, 'answer');
    say('ready');
    while ($channel->is_consuming()) {
        $channel->wait();
    }
}

function pack_order(AMQPMessage $message): void
{
    $order = $message->getBody();
    say('got', $order, $message->isRedelivered() ? 'redelivered' : 'fresh');
    usleep(PACK_PAUSE_US);
    $message->ack();
    say('acked', $order);
}

function answer(AMQPMessage $question): void
{
    $reply = new AMQPMessage('9.99', ['correlation_id' => $question->get('correlation_id')]);
    $question->getChannel()->basic_publish($reply, '', $question->get('reply_to'));
    $question->ack();
}

final class OrderService
{
    private int $next = 0;
    private AMQPChannel $channel;
    private string $replies;
    /** The correlation id of the last answer. */
    private ?string $answer = null;

    public function __construct(private int $orders)
    {
    }

    public function run(AMQPChannel $channel): void
    {
        $this->channel = $channel;
        $channel->confirm_select();
        $channel->set_return_listener(function (int $code, string $text): void {
            throw new LogicException("returned: $code $text");
        });
        $channel->set_nack_handler(function (AMQPMessage $message): void {
            throw new LogicException('refused: ' . $message->getBody());
        });
        [$this->replies] = $channel->queue_declare('', false, false, true, true);
        $channel->basic_consume($this->replies, '', false, true, false, false, function (AMQPMessage $reply): void {
            $this->answer = $reply->get('correlation_id');
        });
        for (; $this->next < $this->orders; $this->next++) {
            if ($this->next % ASK_EVERY === 0) {
                $this->ask((string) $this->next);
            }
            $this->place((string) $this->next);
            usleep(ORDER_PAUSE_US);
        }
    }

    private function place(string $order): void
    {
        say('sending', $order);
        $message = new AMQPMessage($order, ['delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT]);
        $this->channel->basic_publish($message, 'shop', 'order.placed', true);
        $this->channel->wait_for_pending_acks_returns(CONFIRM_MAX);
        say('confirmed', $order);
    }

    private function ask(string $order): void
    {
        $this->answer = null;
        while ($this->answer !== $order) {
            say('asked', $order);
            $question = new AMQPMessage('', ['reply_to' => $this->replies, 'correlation_id' => $order]);
            $this->channel->basic_publish($question, '', 'shop-prices');
            try {
                while ($this->answer !== $order) {
                    $this->channel->wait(null, false, ANSWER_MAX);
                }
            } catch (AMQPTimeoutException) {
                continue;
            }
        }
        say('answered', $order);
    }
}

[, $role, $address, $orders] = $argv;
$url = parse_url($address);
if ($role === 'warehouse') {
    keep($url, 'run_warehouse');
} elseif ($role === 'orders') {
    say('ready');
    $service = new OrderService((int) $orders);
    keep($url, [$service, 'run']);
    sleep(PHP_INT_MAX);
} else {
    throw new LogicException("no such role: $role");
}
