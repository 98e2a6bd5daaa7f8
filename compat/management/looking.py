"""Looking into queues without touching them. All of it is Everack's own. Run by `tests/looking.rs`."""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "pika"), str(HERE)]

import pika
from api import ask, query
from cases import case, main

QUEUES = "/api/everack/queues/%2f"


def look(queue, **pairs):
    return ask("GET", f"{QUEUES}/{queue}/messages{query(**pairs)}")


def payloads(found):
    return [message["payload"] for message in found["messages"]]


def publish(channel, queue, bodies, **properties):
    properties = pika.BasicProperties(delivery_mode=2, **properties)
    for body in bodies:
        channel.basic_publish("", queue, body, properties)


def declare(broker, queue, **arguments):
    channel = broker.channel()
    arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
    channel.queue_declare(queue, durable=True, arguments=arguments)
    channel.confirm_delivery()
    return channel


@case("looking at what is ready changes nothing")
def ready(broker):
    channel = declare(broker, "look-ready")
    publish(channel, "look-ready", ["a", "b", "c"], message_id="m", headers={"kind": "x"})
    for _ in range(2):
        found = look("look-ready")
        assert payloads(found) == ["a", "b", "c"] and found["next"] is None, found
        assert found["looked_at"] == 3, found
    first = found["messages"][0]
    assert first["deliveries"] == 0 and first["payload_encoding"] == "string", first
    assert first["properties"]["headers"] == {"kind": "x"} and first["routing_key"] == "look-ready", first
    page = look("look-ready", count=2)
    assert payloads(page) == ["a", "b"], page
    assert payloads(look("look-ready", first=page["next"])) == ["c"]
    assert payloads(look("look-ready", truncate=0)) == ["", "", ""]
    for body in (b"a", b"b", b"c"):
        method, _, got = channel.basic_get("look-ready")
        assert got == body and not method.redelivered, (got, method)


@case("what is unsettled is shown with its consumer, delivered again nowhere")
def unsettled(broker):
    channel = declare(broker, "look-held")
    publish(channel, "look-held", ["a", "b", "c", "d"])
    channel.basic_qos(prefetch_count=3)
    _, _, body = next(channel.consume("look-held"))
    assert body == b"a", body
    found = look("look-held", state="unsettled")
    assert payloads(found) == ["a", "b", "c"], found
    assert len({message["consumer"] for message in found["messages"]}) == 1, found
    page = look("look-held", state="unsettled", count=2)
    assert payloads(page) == ["a", "b"], page
    assert payloads(look("look-held", state="unsettled", first=page["next"])) == ["c"]
    assert payloads(look("look-held")) == ["d"]


@case("messages are found by what they carry and what is in them")
def search(broker):
    channel = declare(broker, "look-search")
    bodies = [f"order {number} of {'a' if number % 2 else 'b'}" for number in range(200)]
    for number, body in enumerate(bodies):
        headers = {"number": number, "kind": "even" if number % 2 == 0 else "odd"}
        publish(channel, "look-search", [body], message_id=f"m{number}", correlation_id="c", headers=headers)
    assert payloads(look("look-search", message_id="m7")) == ["order 7 of a"]
    assert payloads(look("look-search", header="number:9")) == ["order 9 of a"]
    assert payloads(look("look-search", text="order 11 ")) == ["order 11 of a"]
    assert len(payloads(look("look-search", header="kind:odd", count=1000))) == 100
    assert payloads(look("look-search", routing_key="other")) == []
    assert payloads(look("look-search", text="of a", message_id="m8")) == []
    # Bounds on what is looked at, and where to go on.
    found, first, steps = [], None, 0
    while True:
        page = look("look-search", text="of b", look=30, first=first)
        assert page["looked_at"] <= 30, page
        found, first, steps = found + payloads(page), page["next"], steps + 1
        if first is None:
            break
    assert len(found) == 100 and steps == 7, (len(found), steps)
    ask("GET", f"{QUEUES}/look-search/messages{query(state='nowhere')}", status=400)
    ask("GET", f"{QUEUES}/look-search/messages{query(header='x')}", status=400)
    ask("GET", f"{QUEUES}/nope/messages", status=404)


@case("what is parked is ordered back and away by what it carries")
def orders(broker):
    channel = declare(broker, "look-parked", x_queue_type="quorum", x_delivery_limit=0)
    for number in range(4):
        publish(channel, "look-parked", [f"p{number}"], headers={"kind": "good" if number < 2 else "bad"})
    for _ in range(4):
        method, _, _ = channel.basic_get("look-parked")
        channel.basic_reject(method.delivery_tag, requeue=True)
    # Nobody answers a rejection; what is asked for behind it is answered behind it.
    channel.queue_declare("look-parked", passive=True)
    parked = ask("GET", f"{QUEUES}/look-parked/parked")
    assert payloads(parked) == ["p0", "p1", "p2", "p3"], parked
    found = ask("GET", f"{QUEUES}/look-parked/parked{query(header='kind:bad')}")
    assert payloads(found) == ["p2", "p3"], found
    bad = {"filter": {"headers": {"kind": "bad"}}}
    seen = ask("POST", f"{QUEUES}/look-parked/parked/discard", {**bad, "preview": True})
    assert (seen["messages"], seen["preview"], seen["next"]) == (2, True, None), seen
    assert len(ask("GET", f"{QUEUES}/look-parked/parked")["messages"]) == 4
    assert ask("POST", f"{QUEUES}/look-parked/parked/discard", bad)["messages"] == 2
    good = {"filter": {"text": "p"}}
    assert ask("POST", f"{QUEUES}/look-parked/parked/redrive", good)["messages"] == 2
    assert payloads(look("look-parked")) == ["p0", "p1"]
    ask("POST", f"{QUEUES}/look-parked/parked/redrive", {"filter": {"nonsense": "x"}}, status=400)


main()
