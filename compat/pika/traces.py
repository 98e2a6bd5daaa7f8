"""Traces of messages on their way: what a collector gets to see of them, with the OpenTelemetry instrumentation of pika as publisher and
consumer, and OpenTelemetry's own decoder in the collector.

`COLLECTOR` is the port that the broker sends spans to; the collector of these cases listens there. `SECURE` is the URL of a broker that sends them over TLS to
`SECURE_COLLECTOR`, which has `CERTIFICATE` and `KEY`. `DEAF` is the URL of another broker
whose collector is not there, and `DEAF_METRICS` the address of its metrics.
"""

import http.server
import os
import ssl
import threading
import time
import urllib.request

import pika
from opentelemetry.instrumentation.pika import PikaInstrumentor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import cases
from cases import case

SERVER = 2
INTERNAL = 1
PRODUCER = 4
ERROR = 2


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes spans, unless it has been told to answer otherwise for a while."""

    protocol_version = "HTTP/1.1"
    spans = []
    resources = []
    requests = []
    refusals = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Collector.requests.append((self.path, self.headers, time.monotonic()))
        if Collector.refusals:
            status, headers = Collector.refusals.pop(0)
            return self.answer(status, headers)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            Collector.resources.append(plain(resource.resource.attributes))
            for scope in resource.scope_spans:
                Collector.spans.extend(scope.spans)
        self.answer(200, {})

    def answer(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def plain(attributes):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def start_collector():
    if "COLLECTOR" in os.environ:
        address = ("127.0.0.1", int(os.environ["COLLECTOR"]))
        server = http.server.ThreadingHTTPServer(address, Collector)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = ("127.0.0.1", int(os.environ["SECURE_COLLECTOR"]))
        server = http.server.ThreadingHTTPServer(address, Collector)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(os.environ["CERTIFICATE"], os.environ["KEY"])
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()


def fresh(channel, **arguments):
    name = f"traces-{time.time_ns()}"
    channel.queue_declare(name, durable=True, arguments=arguments)
    return name


def context(trace, flags=1):
    return {"traceparent": f"00-{trace:032x}-{7:016x}-{flags:02x}"}


def new_trace():
    return time.time_ns() << 8 | 1


def publish(channel, queue, trace, exchange="", mandatory=False, **properties):
    headers = context(trace) | properties.pop("headers", {})
    properties = pika.BasicProperties(headers=headers, delivery_mode=2, **properties)
    channel.basic_publish(exchange, queue, b"hello", properties, mandatory=mandatory)


def take(channel, queue):
    """The next message, which is not acknowledged yet."""
    deadline = time.monotonic() + cases.PATIENCE
    while time.monotonic() < deadline:
        method, properties, _ = channel.basic_get(queue)
        if method:
            return method, properties
        channel.connection.process_data_events(0.01)
    raise AssertionError("no message came")


def spans_of(trace, count):
    """The spans of a trace by their beginnings, once there are as many."""
    wanted = trace.to_bytes(16, "big")
    deadline = time.monotonic() + cases.PATIENCE
    while True:
        found = [span for span in list(Collector.spans) if span.trace_id == wanted]
        if len(found) >= count:
            break
        assert time.monotonic() < deadline, [span.name for span in found]
        time.sleep(0.01)
    assert len(found) == count, [span.name for span in found]
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in found)
    return sorted(found, key=lambda span: (span.start_time_unix_nano, span.end_time_unix_nano))


def told(spans):
    """Operation and outcome of each."""
    of = [plain(span.attributes) for span in spans]
    return [(each["messaging.operation.name"], each["everack.outcome"]) for each in of]


def equal(given, expected):
    assert given == expected, f"{given!r} instead of {expected!r}"


@case("spans go on where pika's own instrumentation begins")
def _(broker):
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    plain_channel = broker.channel()
    queue = fresh(plain_channel)
    channel = broker.channel()
    channel.confirm_delivery()
    PikaInstrumentor.instrument_channel(channel, tracer_provider=provider)
    before = time.time_ns()
    properties = pika.BasicProperties(delivery_mode=2, message_id="m-1", correlation_id="talk")
    channel.basic_publish("", queue, b"hello", properties)
    sent = memory.get_finished_spans()[0]
    got = []

    def consume(consumer, method, properties, body):
        got.append(properties.headers)
        consumer.basic_ack(method.delivery_tag)

    consumer = broker.channel()
    PikaInstrumentor.instrument_channel(consumer, tracer_provider=provider)
    consumer.basic_consume(queue, consume, consumer_tag="reader")
    while not got:
        consumer.connection.process_data_events(0.05)
    consumer.connection.process_data_events(0.05)
    trace = sent.context.trace_id
    spans = spans_of(trace, 3)
    after = time.time_ns()
    equal(told(spans), [("publish", "enqueued"), ("wait", "delivered"), ("deliver", "acknowledged")])
    first, wait, deliver = spans
    equal(first.parent_span_id, sent.context.span_id.to_bytes(8, "big"))
    equal([wait.parent_span_id, deliver.parent_span_id], [first.span_id, first.span_id])
    equal([span.kind for span in spans], [SERVER, INTERNAL, PRODUCER])
    equal([span.name for span in spans], [f"publish {queue}", f"wait {queue}", f"deliver {queue}"])
    times = [before, first.start_time_unix_nano, first.end_time_unix_nano, wait.start_time_unix_nano,
             wait.end_time_unix_nano, deliver.start_time_unix_nano, deliver.end_time_unix_nano, after]
    equal(times, sorted(times))
    attributes = plain(first.attributes)
    equal(attributes["messaging.system"], "rabbitmq")
    equal(attributes["messaging.destination.name"], queue)
    equal(attributes["messaging.message.id"], "m-1")
    equal(attributes["messaging.message.conversation_id"], "talk")
    equal(attributes["messaging.message.body.size"], 5)
    equal(attributes["everack.confirms"], True)
    synced = [event.time_unix_nano for event in first.events]
    assert len(synced) == 2 and synced[0] <= synced[1] <= first.end_time_unix_nano, synced
    assert attributes["everack.log.sync.duration"] > 0
    attributes = plain(deliver.attributes)
    equal(attributes["everack.consumer.tag"], "reader")
    equal(attributes["everack.redelivered"], False)
    port = consumer.connection._impl._transport._sock.getsockname()[1]
    equal(attributes["network.peer.port"], port)
    # The message is delivered as it was published, and the consumer's span belongs to the same trace.
    equal(got[0]["traceparent"].split("-")[2], f"{sent.context.span_id:016x}")
    assert all(span.context.trace_id == trace for span in memory.get_finished_spans())
    equal(Collector.resources[-1]["service.name"], "shop's broker")
    path, headers, _ = Collector.requests[-1]
    equal((path, headers["X-Key"], headers["Content-Type"]), ("/v1/traces", "secret", "application/x-protobuf"))


@case("a context that is not sampled is not followed, and what has none is by chance")
def _(broker):
    channel = broker.channel()
    queue = fresh(channel)
    silent, loud = new_trace(), new_trace() + 256
    for headers in [context(silent, flags=0), None]:
        channel.basic_publish("", queue, b"x", pika.BasicProperties(headers=headers))
    publish(channel, queue, loud)
    spans_of(loud, 1)
    own = [span for span in Collector.spans if span.name == f"publish {queue}"]
    equal(sorted(len(span.parent_span_id) for span in own), [0, 8])
    assert all(span.trace_id != silent.to_bytes(16, "big") for span in own)


@case("what a consumer that dies held waits and is delivered again")
def _(broker):
    channel = broker.channel()
    queue, trace = fresh(channel), new_trace()
    publish(channel, queue, trace)
    dying = broker.channel()
    take(dying, queue)
    dying.connection._impl._transport._sock.shutdown(2)
    method, _ = take(channel, queue)
    assert method.redelivered
    channel.basic_ack(method.delivery_tag)
    spans = spans_of(trace, 5)
    equal(told(spans), [
        ("publish", "enqueued"), ("wait", "delivered"), ("deliver", "returned"), ("wait", "delivered"),
        ("deliver", "acknowledged"),
    ])
    redelivered = [plain(span.attributes).get("everack.redelivered") for span in spans]
    equal(redelivered, [None, False, False, True, True])
    equal(plain(spans[4].attributes)["everack.got"], True)


@case("each copy has spans of its own, and a rejected one goes on as a dead letter")
def _(broker):
    channel = broker.channel()
    letters, other, trace = fresh(channel), fresh(channel), new_trace()
    queue = fresh(channel, **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": letters})
    for bound in (queue, other):
        channel.queue_bind(bound, "amq.fanout")
    publish(channel, "k", trace, exchange="amq.fanout")
    method, _ = take(channel, queue)
    channel.basic_reject(method.delivery_tag, requeue=False)
    method, _ = take(channel, letters)
    channel.basic_ack(method.delivery_tag)
    channel.queue_purge(other)
    spans = {span.name: span for span in spans_of(trace, 7)}
    outcomes = {name: plain(span.attributes)["everack.outcome"] for name, span in spans.items()}
    equal(outcomes, {
        "publish amq.fanout:k": "enqueued",
        f"wait {queue}": "delivered",
        f"deliver {queue}": "rejected",
        f"dead-letter {queue}": "dead-lettered",
        f"wait {letters}": "delivered",
        f"deliver {letters}": "acknowledged",
        f"wait {other}": "purged",
    })
    publish_id, death = spans["publish amq.fanout:k"].span_id, spans[f"dead-letter {queue}"]
    equal({spans[f"wait {name}"].parent_span_id for name in (queue, other)}, {publish_id})
    equal(death.parent_span_id, publish_id)
    equal({spans[f"{deed} {letters}"].parent_span_id for deed in ("wait", "deliver")}, {death.span_id})
    equal(spans[f"deliver {queue}"].status.code, ERROR)
    equal(plain(spans[f"wait {other}"].attributes)["messaging.destination.name"], f"amq.fanout:k:{other}")


@case("messages of a transaction come when it is committed")
def _(broker):
    channel = broker.channel()
    queue, trace, dropped = fresh(channel), new_trace(), new_trace() + 256
    channel.tx_select()
    publish(channel, queue, dropped)
    channel.tx_rollback()
    publish(channel, queue, trace)
    publish(channel, queue, trace)
    channel.tx_commit()
    spans = spans_of(trace, 2)
    equal(told(spans), [("publish", "enqueued")] * 2)
    assert all(span.trace_id != dropped.to_bytes(16, "big") for span in Collector.spans)


@case("what nobody wants and what expires is told")
def _(broker):
    channel = broker.channel()
    queue, returned, expired, full = fresh(channel), new_trace(), new_trace() + 256, new_trace() + 512
    publish(channel, "nobody", returned, mandatory=True)
    publish(channel, queue, expired, expiration="10")
    narrow = fresh(channel, **{"x-max-length": 0, "x-overflow": "reject-publish"})
    publish(channel, narrow, full)
    spans = spans_of(returned, 1)
    equal((told(spans), spans[0].status.code), ([("publish", "returned")], ERROR))
    equal(told(spans_of(expired, 2)), [("publish", "enqueued"), ("wait", "expired")])
    equal(told(spans_of(full, 1)), [("publish", "refused")])


@case("a collector that is busy gets the spans later, when it has said")
def _(broker):
    channel = broker.channel()
    queue, trace = fresh(channel), new_trace()
    time.sleep(0.2)
    Collector.refusals[:] = [(503, {"Retry-After": "1"}), (429, {})]
    begun = len(Collector.requests)
    publish(channel, queue, trace)
    spans_of(trace, 1)
    times = [at for _, _, at in Collector.requests[begun:]]
    assert len(times) >= 3 and times[1] - times[0] >= 1 and times[2] - times[1] >= 0.5, times


@case("a collector is reached over TLS, at a path of its own")
def _(_):
    secure = cases.Broker(os.environ["SECURE"])
    try:
        channel = secure.channel()
        queue, trace = fresh(channel), new_trace()
        publish(channel, queue, trace)
        spans_of(trace, 1)
        assert "/own/path" in [path for path, _, _ in Collector.requests]
    finally:
        secure.close()


@case("without its collector a broker works on, and counts what it drops")
def _(_):
    deaf = cases.Broker(os.environ["DEAF"])
    try:
        channel = deaf.channel()
        channel.confirm_delivery()
        queue, trace = fresh(channel), new_trace()
        for _ in range(300):
            publish(channel, queue, trace)
        equal(channel.queue_declare(queue, passive=True).method.message_count, 300)
        channel.queue_purge(queue)
        deadline = time.monotonic() + cases.PATIENCE
        while True:
            dropped = deaf_metrics()
            if sum(dropped.values()) == 600:
                break
            assert time.monotonic() < deadline, dropped
            time.sleep(0.05)
        assert all(count > 0 for count in dropped.values()), dropped
    finally:
        deaf.close()


def deaf_metrics():
    """Spans that were dropped, by reason, without those whose message is followed still."""
    page = urllib.request.urlopen(f"http://{os.environ['DEAF_METRICS']}/metrics").read().decode()
    name = "everack_trace_spans_dropped_total{"
    lines = [line.split() for line in page.splitlines() if line.startswith(name)]
    return {line[0].split('"')[1]: int(float(line[1])) for line in lines}


if __name__ == "__main__":
    start_collector()
    cases.main()
