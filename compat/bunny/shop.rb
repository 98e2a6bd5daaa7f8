# The shop of `everack_compat::shop` with bunny, whose connections and topology recover by themselves.

require "bunny"

ASK_EVERY = 25
# What is buffered when the connection ends is worked off before the recovery begins: its tags mean nothing afterwards.
PREFETCH = 10
RECOVERY_INTERVAL = 1
ORDER_PAUSE = 0.005
PACK_PAUSE = 0.020
ANSWER_MAX = 2

$stdout.sync = true

def connect(url)
  # Who waits for a confirm when the connection ends is told by this time-out alone.
  Bunny.new(url, network_recovery_interval: RECOVERY_INTERVAL, continuation_timeout: 2000, log_level: :error, logfile: $stderr).start
end

def open_warehouse(url)
  channel = connect(url).create_channel(nil, 1)
  channel.prefetch(PREFETCH)
  orders = channel.queue("shop-warehouse", durable: true).bind(channel.topic("shop", durable: true), routing_key: "order.*")
  orders.subscribe(manual_ack: true) { |delivery, _, body| pack(channel, delivery, body) }
  prices = channel.queue("shop-prices", auto_delete: true)
  prices.subscribe(manual_ack: true) do |delivery, properties, _|
    channel.default_exchange.publish("9.99", routing_key: properties.reply_to, correlation_id: properties.correlation_id)
    channel.ack(delivery.delivery_tag)
  end
end

def pack(channel, delivery, order)
  puts "got #{order} #{delivery.redelivered? ? 'redelivered' : 'fresh'}"
  sleep PACK_PAUSE
  channel.ack(delivery.delivery_tag)
  puts "acked #{order}"
rescue Bunny::Exception, SystemCallError, IOError => error
  warn "not acked: #{error.inspect}"
end

# Orders, prices and answers of one customer-facing process.
class OrderService
  def initialize(url)
    @channel = connect(url).create_channel
    @channel.confirm_select
    @shop = @channel.topic("shop", durable: true)
    @shop.on_return { |_, _, body| abort "returned: #{body}" }
    @answers = Queue.new
    @replies = @channel.queue("", exclusive: true)
    @replies.subscribe { |_, properties, _| @answers << properties.correlation_id }
  end

  def take_orders(count)
    count.times do |order|
      until_done { ask(order) } if (order % ASK_EVERY).zero?
      until_done { place(order) }
      sleep ORDER_PAUSE
    end
  end

  private

  def until_done
    sleep 0.2 until begin
      yield
    rescue Bunny::Exception, SystemCallError, IOError, Timeout::Error => error
      warn "again: #{error.inspect}"
      false
    end
  end

  def place(order)
    puts "sending #{order}"
    recovered = @channel.recoveries_counter.get
    @shop.publish(order.to_s, routing_key: "order.placed", persistent: true, mandatory: true)
    # True also of a channel that was opened again meanwhile and waits for nothing: its users have to look.
    return false unless @channel.wait_for_confirms && @channel.recoveries_counter.get == recovered

    puts "confirmed #{order}"
    true
  end

  def ask(order)
    puts "asked #{order}"
    # The name is the broker's: it is another one after a recovery.
    options = { routing_key: "shop-prices", reply_to: @replies.name, correlation_id: order.to_s }
    @channel.default_exchange.publish("", **options)
    Timeout.timeout(ANSWER_MAX) { nil until @answers.pop == order.to_s }
    puts "answered #{order}"
    true
  end
end

role, url, orders = ARGV
abort "the only role is shop" unless role == "shop"
open_warehouse(url)
service = OrderService.new(url)
puts "ready"
service.take_orders(orders.to_i)
sleep
