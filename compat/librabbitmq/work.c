/* The three roles of `everack_compat::client` with librabbitmq, the C client that PHP, Perl and others build on. */

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNEL = 1, FRAME_MAX = 131072, DRAIN_WINDOW = 50 };

static amqp_connection_state_t connection;

static void fail(const char *what) {
    fprintf(stderr, "librabbitmq: %s\n", what);
    exit(1);
}

static void check(amqp_rpc_reply_t reply, const char *what) {
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) return;
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) fail(amqp_error_string2(reply.library_error));
    if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        amqp_channel_close_t *close = reply.reply.decoded;
        fprintf(stderr, "%u %.*s\n", close->reply_code, (int)close->reply_text.len, (char *)close->reply_text.bytes);
    }
    fail(what);
}

static void check_last(const char *what) { check(amqp_get_rpc_reply(connection), what); }

static void open_connection(char *url) {
    struct amqp_connection_info info;
    amqp_default_connection_info(&info);
    if (amqp_parse_url(url, &info) != AMQP_STATUS_OK) fail("cannot read the URL");
    connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    if (socket == NULL || amqp_socket_open(socket, info.host, info.port) != AMQP_STATUS_OK) fail("cannot connect");
    check(amqp_login(connection, info.vhost, 0, FRAME_MAX, 60, AMQP_SASL_METHOD_PLAIN, info.user, info.password), "login");
    amqp_channel_open(connection, CHANNEL);
    check_last("channel.open");
}

static void declare(const char *queue) {
    amqp_queue_declare(connection, CHANNEL, amqp_cstring_bytes(queue), 0, 1, 0, 0, amqp_empty_table);
    check_last("queue.declare");
}

/* Waits until the broker has confirmed every number up to `last`; a return or a nack fails. */
static void wait_for_confirms(uint64_t last) {
    uint64_t confirmed = 0;
    while (confirmed < last) {
        amqp_frame_t frame;
        if (amqp_simple_wait_frame(connection, &frame) != AMQP_STATUS_OK) fail("waiting for confirms");
        if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD) fail("not an ack");
        amqp_basic_ack_t *ack = frame.payload.method.decoded;
        /* Acks come in order, so a single one also tells that all before it are confirmed. */
        if (ack->delivery_tag <= confirmed) fail("an ack came twice or out of order");
        if (!ack->multiple && ack->delivery_tag != confirmed + 1) fail("a single ack jumped ahead");
        confirmed = ack->delivery_tag;
        amqp_maybe_release_buffers(connection);
    }
}

static void publish(const char *queue, int first, int count) {
    amqp_confirm_select(connection, CHANNEL);
    check_last("confirm.select");
    amqp_basic_properties_t properties;
    memset(&properties, 0, sizeof properties);
    properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
    properties.delivery_mode = 2;
    for (int id = first; id < first + count; id++) {
        char body[32];
        snprintf(body, sizeof body, "%d", id);
        int status = amqp_basic_publish(connection, CHANNEL, amqp_empty_bytes, amqp_cstring_bytes(queue), 1, 0,
                                        &properties, amqp_cstring_bytes(body));
        if (status != AMQP_STATUS_OK) fail("basic.publish");
    }
    wait_for_confirms(count);
    printf("confirmed %d\n", count);
}

/* Consumes `count` messages (0: without end), acks the first `acks` of them. */
static void consume(const char *queue, int prefetch, int acks, int count) {
    amqp_basic_qos(connection, CHANNEL, 0, prefetch, 0);
    check_last("basic.qos");
    amqp_basic_consume(connection, CHANNEL, amqp_cstring_bytes(queue), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    check_last("basic.consume");
    for (int number = 0; count == 0 || number < count; number++) {
        amqp_envelope_t envelope;
        amqp_maybe_release_buffers(connection);
        check(amqp_consume_message(connection, &envelope, NULL, 0), "consuming");
        printf("got %.*s %s\n", (int)envelope.message.body.len, (char *)envelope.message.body.bytes,
               envelope.redelivered ? "redelivered" : "fresh");
        fflush(stdout);
        if (number < acks && amqp_basic_ack(connection, CHANNEL, envelope.delivery_tag, 0) != AMQP_STATUS_OK) {
            fail("basic.ack");
        }
        amqp_destroy_envelope(&envelope);
    }
}

int main(int argc, char **argv) {
    if (argc < 5) fail("ROLE URL QUEUE ...");
    const char *role = argv[1];
    char *queue = argv[3];
    int first = atoi(argv[4]);
    int second = argc > 5 ? atoi(argv[5]) : 0;
    open_connection(argv[2]);
    declare(queue);
    if (strcmp(role, "publish") == 0) publish(queue, first, second);
    else if (strcmp(role, "hold") == 0) consume(queue, first, second, 0);
    else if (strcmp(role, "drain") == 0) consume(queue, DRAIN_WINDOW, first, first);
    else fail("unknown role");
    check(amqp_channel_close(connection, CHANNEL, AMQP_REPLY_SUCCESS), "channel.close");
    if (strcmp(role, "drain") == 0) printf("done\n");
    check(amqp_connection_close(connection, AMQP_REPLY_SUCCESS), "connection.close");
    amqp_destroy_connection(connection);
    return 0;
}
