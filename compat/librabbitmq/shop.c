/* The shop of `everack_compat::shop` with librabbitmq. It does not recover by itself, and has no threads: each side is a process that
 * opens a new connection when its old one has ended. */

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Questions and answers have a channel of their own, so that confirms come alone on theirs. */
enum { CHANNEL = 1, QUESTIONS = 2, FRAME_MAX = 131072, PREFETCH = 20, ASK_EVERY = 25 };
enum { ORDER_PAUSE_US = 5000, PACK_PAUSE_US = 20000, CONNECT_PAUSE_US = 300000, ANSWER_MAX_S = 2 };

static amqp_connection_state_t connection;
/* Where a side goes on when its connection has ended. */
static jmp_buf lost;

static void connect_again(const char *what) {
    fprintf(stderr, "connects again: %s\n", what);
    longjmp(lost, 1);
}

static void check(amqp_rpc_reply_t reply, const char *what) {
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) connect_again(what);
}

static void check_last(const char *what) { check(amqp_get_rpc_reply(connection), what); }

static void check_status(int status, const char *what) {
    if (status != AMQP_STATUS_OK) connect_again(what);
}

static int is(amqp_bytes_t bytes, const char *text) {
    return bytes.len == strlen(text) && memcmp(bytes.bytes, text, bytes.len) == 0;
}

static void open_connection(char *url) {
    static char copy[256];
    if (connection != NULL) amqp_destroy_connection(connection);
    snprintf(copy, sizeof copy, "%s", url);
    struct amqp_connection_info info;
    amqp_default_connection_info(&info);
    if (amqp_parse_url(copy, &info) != AMQP_STATUS_OK) {
        fprintf(stderr, "cannot read the URL\n");
        exit(1);
    }
    connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    check_status(amqp_socket_open(socket, info.host, info.port), "connecting");
    check(amqp_login(connection, info.vhost, 0, FRAME_MAX, 60, AMQP_SASL_METHOD_PLAIN, info.user, info.password), "login");
    amqp_channel_open(connection, CHANNEL);
    check_last("channel.open");
}

static void consume(int channel, amqp_bytes_t queue, int no_ack) {
    amqp_basic_consume(connection, channel, queue, amqp_empty_bytes, 0, no_ack, 0, amqp_empty_table);
    check_last("basic.consume");
}

static void open_warehouse(void) {
    amqp_bytes_t shop = amqp_cstring_bytes("shop"), queue = amqp_cstring_bytes("shop-warehouse");
    amqp_bytes_t prices = amqp_cstring_bytes("shop-prices");
    amqp_exchange_declare(connection, CHANNEL, shop, amqp_cstring_bytes("topic"), 0, 1, 0, 0, amqp_empty_table);
    check_last("exchange.declare");
    amqp_queue_declare(connection, CHANNEL, queue, 0, 1, 0, 0, amqp_empty_table);
    check_last("queue.declare");
    amqp_queue_bind(connection, CHANNEL, queue, shop, amqp_cstring_bytes("order.*"), amqp_empty_table);
    check_last("queue.bind");
    amqp_queue_declare(connection, CHANNEL, prices, 0, 0, 0, 1, amqp_empty_table);
    check_last("queue.declare");
    amqp_basic_qos(connection, CHANNEL, 0, PREFETCH, 0);
    check_last("basic.qos");
    consume(CHANNEL, queue, 0);
    consume(CHANNEL, prices, 0);
}

static void pack(amqp_envelope_t *envelope) {
    amqp_bytes_t body = envelope->message.body;
    printf("got %.*s %s\n", (int)body.len, (char *)body.bytes, envelope->redelivered ? "redelivered" : "fresh");
    usleep(PACK_PAUSE_US);
    check_status(amqp_basic_ack(connection, CHANNEL, envelope->delivery_tag, 0), "basic.ack");
    printf("acked %.*s\n", (int)body.len, (char *)body.bytes);
}

static void answer(amqp_envelope_t *envelope) {
    amqp_basic_properties_t reply;
    memset(&reply, 0, sizeof reply);
    reply._flags = AMQP_BASIC_CORRELATION_ID_FLAG;
    reply.correlation_id = envelope->message.properties.correlation_id;
    int status = amqp_basic_publish(connection, CHANNEL, amqp_empty_bytes, envelope->message.properties.reply_to, 0, 0, &reply,
                                    amqp_cstring_bytes("9.99"));
    check_status(status, "answering");
    check_status(amqp_basic_ack(connection, CHANNEL, envelope->delivery_tag, 0), "basic.ack");
}

static void run_warehouse(char *url) {
    if (setjmp(lost)) usleep(CONNECT_PAUSE_US);
    open_connection(url);
    open_warehouse();
    printf("ready\n");
    for (;;) {
        amqp_envelope_t envelope;
        amqp_maybe_release_buffers(connection);
        check(amqp_consume_message(connection, &envelope, NULL, 0), "consuming");
        if (is(envelope.routing_key, "shop-prices")) answer(&envelope);
        else pack(&envelope);
        amqp_destroy_envelope(&envelope);
    }
}

/* Waits for the confirm of the one message that is open. An answer that comes too late for its question is passed over. */
static void wait_for_confirm(void) {
    amqp_frame_t frame;
    do {
        check_status(amqp_simple_wait_frame(connection, &frame), "waiting for a confirm");
    } while (frame.channel == QUESTIONS);
    if (frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD) return;
    fprintf(stderr, "not confirmed: a frame of type %d\n", frame.frame_type);
    exit(1);
}

static void place(int order) {
    char body[32];
    snprintf(body, sizeof body, "%d", order);
    amqp_basic_properties_t properties;
    memset(&properties, 0, sizeof properties);
    properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
    properties.delivery_mode = 2;
    printf("sending %d\n", order);
    int status = amqp_basic_publish(connection, CHANNEL, amqp_cstring_bytes("shop"), amqp_cstring_bytes("order.placed"), 1, 0,
                                    &properties, amqp_cstring_bytes(body));
    check_status(status, "basic.publish");
    wait_for_confirm();
    printf("confirmed %d\n", order);
    amqp_maybe_release_buffers(connection);
}

/* Whether the answer to this question comes in time; answers to earlier ones are passed over. */
static int is_answered(const char *id) {
    for (;;) {
        struct timeval patience = {ANSWER_MAX_S, 0};
        amqp_envelope_t envelope;
        amqp_rpc_reply_t reply = amqp_consume_message(connection, &envelope, &patience, 0);
        if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && reply.library_error == AMQP_STATUS_TIMEOUT) return 0;
        check(reply, "waiting for an answer");
        int mine = is(envelope.message.properties.correlation_id, id);
        amqp_destroy_envelope(&envelope);
        if (mine) return 1;
    }
}

static void ask(int order, amqp_bytes_t replies) {
    char id[32];
    snprintf(id, sizeof id, "%d", order);
    do {
        printf("asked %d\n", order);
        amqp_basic_properties_t question;
        memset(&question, 0, sizeof question);
        question._flags = AMQP_BASIC_REPLY_TO_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG;
        question.reply_to = replies;
        question.correlation_id = amqp_cstring_bytes(id);
        int status = amqp_basic_publish(connection, QUESTIONS, amqp_empty_bytes, amqp_cstring_bytes("shop-prices"), 0, 0, &question,
                                        amqp_empty_bytes);
        check_status(status, "asking");
    } while (!is_answered(id));
    printf("answered %d\n", order);
}

static void run_orders(char *url, int orders) {
    static int next = 0;
    static amqp_bytes_t replies;
    printf("ready\n");
    if (setjmp(lost)) usleep(CONNECT_PAUSE_US);
    open_connection(url);
    amqp_confirm_select(connection, CHANNEL);
    check_last("confirm.select");
    amqp_channel_open(connection, QUESTIONS);
    check_last("channel.open");
    amqp_queue_declare_ok_t *declared = amqp_queue_declare(connection, QUESTIONS, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table);
    check_last("queue.declare");
    amqp_bytes_free(replies);
    replies = amqp_bytes_malloc_dup(declared->queue);
    consume(QUESTIONS, replies, 1);
    for (; next < orders; next++) {
        if (next % ASK_EVERY == 0) ask(next, replies);
        place(next);
        usleep(ORDER_PAUSE_US);
    }
    for (;;) pause();
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 4 && strcmp(argv[1], "warehouse") == 0) run_warehouse(argv[2]);
    if (argc == 4 && strcmp(argv[1], "orders") == 0) run_orders(argv[2], atoi(argv[3]));
    fprintf(stderr, "ROLE URL ORDERS\n");
    return 1;
}
