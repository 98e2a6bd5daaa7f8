import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.AlreadyClosedException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DefaultConsumer;
import com.rabbitmq.client.Envelope;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.ShutdownSignalException;
import com.rabbitmq.client.impl.recovery.AutorecoveringConnection;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The shop of `everack_compat::shop` with the Java client, which recovers connections and topology by itself. */
public final class Shop {
    private static final int ASK_EVERY = 25;
    private static final int PREFETCH = 20;
    private static final int ORDER_PAUSE_MS = 5;
    private static final int PACK_PAUSE_MS = 20;
    private static final int ANSWER_MAX_MS = 2000;
    private static final int CONFIRM_MAX_MS = 10_000;
    private static final int RECOVERY_INTERVAL_MS = 1000;

    public static void main(String[] arguments) throws Exception {
        if (!arguments[0].equals("shop")) throw new IllegalArgumentException("the only role is shop");
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(arguments[1]);
        factory.setNetworkRecoveryInterval(RECOVERY_INTERVAL_MS);
        openWarehouse(factory.newConnection().createChannel());
        OrderService service = new OrderService(factory.newConnection());
        say("ready");
        service.takeOrders(Integer.parseInt(arguments[2]));
    }

    private static void openWarehouse(Channel channel) throws IOException {
        channel.exchangeDeclare("shop", "topic", true);
        channel.queueDeclare("shop-warehouse", true, false, false, null);
        channel.queueBind("shop-warehouse", "shop", "order.*");
        channel.queueDeclare("shop-prices", false, false, true, null);
        channel.basicQos(PREFETCH);
        channel.basicConsume("shop-warehouse", false, new Packer(channel));
        channel.basicConsume("shop-prices", false, new PriceList(channel));
    }

    private static final class Packer extends DefaultConsumer {
        Packer(Channel channel) {
            super(channel);
        }

        @Override
        public void handleDelivery(String tag, Envelope envelope, BasicProperties properties, byte[] body) throws IOException {
            String order = new String(body, StandardCharsets.UTF_8);
            say("got " + order + (envelope.isRedeliver() ? " redelivered" : " fresh"));
            pause(PACK_PAUSE_MS);
            try {
                getChannel().basicAck(envelope.getDeliveryTag(), false);
                say("acked " + order);
            } catch (AlreadyClosedException | IOException error) {
                System.err.println("not acked: " + error);
            }
        }
    }

    private static final class PriceList extends DefaultConsumer {
        PriceList(Channel channel) {
            super(channel);
        }

        @Override
        public void handleDelivery(String tag, Envelope envelope, BasicProperties asked, byte[] body) throws IOException {
            BasicProperties properties = new BasicProperties.Builder().correlationId(asked.getCorrelationId()).build();
            try {
                getChannel().basicPublish("", asked.getReplyTo(), properties, "9.99".getBytes(StandardCharsets.UTF_8));
                getChannel().basicAck(envelope.getDeliveryTag(), false);
            } catch (AlreadyClosedException | IOException error) {
                System.err.println("not answered: " + error);
            }
        }
    }

    private static final class OrderService {
        private final Channel channel;
        private final BlockingQueue<String> answers = new LinkedBlockingQueue<>();
        private volatile String replies;

        OrderService(Connection connection) throws IOException {
            channel = connection.createChannel();
            channel.confirmSelect();
            channel.addReturnListener((code, text, exchange, key, properties, body) -> {
                System.err.println("returned: " + text);
                System.exit(1);
            });
            boolean direct = "1".equals(System.getenv("SHOP_DIRECT_REPLY_TO"));
            replies = direct ? "amq.rabbitmq.reply-to" : channel.queueDeclare().getQueue();
            // A queue's name is the broker's: it is another one after a recovery.
            ((AutorecoveringConnection) connection).addQueueRecoveryListener((before, after) -> replies = after);
            channel.basicConsume(replies, true, new DefaultConsumer(channel) {
                @Override
                public void handleDelivery(String tag, Envelope envelope, BasicProperties properties, byte[] body) {
                    answers.add(properties.getCorrelationId());
                }
            });
        }

        void takeOrders(int orders) {
            for (int order = 0; order < orders; order++) {
                String number = Integer.toString(order);
                if (order % ASK_EVERY == 0) untilDone(() -> ask(number));
                untilDone(() -> place(number));
                pause(ORDER_PAUSE_MS);
            }
        }

        private void place(String order) throws IOException, InterruptedException, TimeoutException {
            say("sending " + order);
            byte[] body = order.getBytes(StandardCharsets.UTF_8);
            channel.basicPublish("shop", "order.placed", true, MessageProperties.PERSISTENT_TEXT_PLAIN, body);
            channel.waitForConfirmsOrDie(CONFIRM_MAX_MS);
            say("confirmed " + order);
        }

        private void ask(String order) throws IOException, InterruptedException, TimeoutException {
            say("asked " + order);
            BasicProperties properties = new BasicProperties.Builder().replyTo(replies).correlationId(order).build();
            channel.basicPublish("", "shop-prices", properties, new byte[0]);
            long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(ANSWER_MAX_MS);
            String answer;
            do {
                answer = answers.poll(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
                if (answer == null) throw new TimeoutException("no answer");
            } while (!answer.equals(order));
            say("answered " + order);
        }
    }

    private interface Attempt {
        void run() throws IOException, InterruptedException, TimeoutException;
    }

    private static void untilDone(Attempt attempt) {
        while (true) {
            try {
                attempt.run();
                return;
            } catch (ShutdownSignalException | IOException | TimeoutException | InterruptedException error) {
                System.err.println("again: " + error);
                pause(200);
            }
        }
    }

    private static void pause(int milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
