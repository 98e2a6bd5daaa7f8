"""Looking into queues without touching them. All of it is Everack's own. Run by `tests/looking.rs`."""

import pathlib
import sys
import time

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


def consume(channel, queue, prefetch, tag):
    """What a consumer gets, as it comes: method and body."""
    got = []
    channel.basic_qos(prefetch_count=prefetch)
    channel.basic_consume(queue, lambda _, method, __, body: got.append((method, body)), consumer_tag=tag)
    return got


def wait(channel, got, count):
    deadline = time.monotonic() + 20
    while len(got) < count:
        assert time.monotonic() < deadline, got
        channel.connection.process_data_events(time_limit=0.05)
    return got


def held(queue, **pairs):
    return look(queue, state="unsettled", **pairs)["messages"]


def release(queue, message, status=200, **order):
    return ask("POST", f"{QUEUES}/{queue}/messages/{message['id']}/release", order, status=status)


def balance_of(queue):
    return ask("GET", f"/api/queues/%2f/{queue}")["message_balance"]


def flush(channel, queue):
    """What the channel has sent before is done."""
    channel.queue_declare(queue, passive=True)


@case("a delivery is released to another consumer, and what the old one says of it settles nothing")
def released(broker):
    queue = "release-one"
    old, new = declare(broker, queue), broker.channel()
    publish(old, queue, ["a", "b"])
    from_old = wait(old, consume(old, queue, 2, "old"), 2)
    to_new = consume(new, queue, 1, "new")
    first = held(queue)[0]
    assert first["held_by"]["consumer_tag"] == "old" and first["held_seconds"] < 60, first
    seen = release(queue, first, preview=True)
    assert seen["from"]["consumer_tag"] == "old" and seen["to"] is None and seen["preview"], seen
    assert len(held(queue, consumer=first["consumer"])) == 2
    done = release(queue, first, delivery=first["delivery"])
    assert done["to"]["consumer_tag"] == "new" and done["from"]["delivery"] == first["delivery"], done
    method, body = wait(new, to_new, 1)[0]
    assert body == b"a" and method.redelivered, (method, body)
    release(queue, first, delivery=first["delivery"], status=409)
    # The old one is told nothing, and may say what it likes of it.
    old.basic_ack(from_old[0][0].delivery_tag)
    flush(old, queue)
    assert [message["payload"] for message in held(queue)] == ["b", "a"]
    old.basic_ack(from_old[1][0].delivery_tag)
    new.basic_ack(method.delivery_tag)
    flush(old, queue), flush(new, queue)
    release(queue, first, status=404)
    balance = balance_of(queue)
    assert (balance["accepted"], balance["settled"], balance["live"]) == (2, 2, 0), balance


@case("several that are settled at once leave out what was released, in a transaction too")
def released_among_others(broker):
    for queue, transaction in (("release-many", False), ("release-tx", True)):
        old, new = declare(broker, queue), broker.channel()
        publish(old, queue, ["a", "b", "c"])
        # A channel either confirms or has transactions.
        old = broker.channel()
        from_old = wait(old, consume(old, queue, 3, "old"), 3)
        to_new = consume(new, queue, 1, "new")
        if transaction:
            old.tx_select()
            old.basic_ack(from_old[2][0].delivery_tag, multiple=True)
            flush(old, queue)
        release(queue, held(queue)[1])
        method, body = wait(new, to_new, 1)[0]
        assert body == b"b", body
        if transaction:
            old.tx_commit()
        else:
            old.basic_ack(from_old[2][0].delivery_tag, multiple=True)
        flush(old, queue)
        assert [message["payload"] for message in held(queue)] == ["b"]
        assert balance_of(queue)["settled"] == 2
        new.basic_ack(method.delivery_tag)
        flush(new, queue)
        assert balance_of(queue)["settled"] == 3


@case("what is released counts for the prefetch until the old one settles it, and comes back where nobody else is")
def released_alone(broker):
    queue = "release-alone"
    channel = declare(broker, queue)
    publish(channel, queue, ["a", "b"])
    got = wait(channel, consume(channel, queue, 1, "only"), 1)
    done = release(queue, held(queue)[0])
    assert done["to"] is None, done
    channel.connection.process_data_events(time_limit=0.2)
    assert len(got) == 1 and payloads(look(queue)) == ["a", "b"], got
    channel.basic_ack(got[0][0].delivery_tag)
    method, body = wait(channel, got, 2)[1]
    assert body == b"a" and method.redelivered, (method, body)
    channel.basic_ack(method.delivery_tag)
    wait(channel, got, 3)
    assert balance_of(queue)["settled"] == 1


@case("what nobody holds is not released")
def not_released(broker):
    queue = "release-not"
    channel = declare(broker, queue)
    publish(channel, queue, ["a"])
    ready = look(queue)["messages"][0]
    release(queue, ready, status=404)
    release(queue, {"id": 99}, status=404)
    release(queue, {"id": "x"}, status=400)
    release(queue, ready, status=400, delivery="x")
    release(queue, ready, status=400, force=True)
    release("nope", ready, status=404)


@case("who holds what since when is told, and how each gets on")
def progress(broker):
    queue = "release-progress"
    channel = declare(broker, queue)
    publish(channel, queue, ["a", "b", "c", "d"])
    got = wait(channel, consume(channel, queue, 2, "slow"), 2)
    channel.basic_ack(got[0][0].delivery_tag)
    wait(channel, got, 3)
    getter = broker.channel()
    getter.basic_get(queue)
    time.sleep(1.1)
    shown = ask("GET", f"/api/queues/%2f/{queue}")
    assert shown["oldest_unsettled_seconds"] >= 1 and shown["messages_unacknowledged"] == 3, shown
    consumer = shown["consumer_details"][0]
    assert consumer["messages_unacknowledged"] == 2 and consumer["oldest_unsettled_seconds"] >= 1, consumer
    assert (consumer["message_stats"]["deliver"], consumer["message_stats"]["ack"]) == (3, 1), consumer
    listed = [one for one in ask("GET", "/api/consumers/%2f") if one["queue"]["name"] == queue]
    assert [one["consumer_tag"] for one in listed] == ["slow"] and listed[0]["message_stats"]["ack"] == 1, listed
    holders = ask("GET", f"{QUEUES}/{queue}/holders")
    assert [(one["kind"], one["messages_unacknowledged"]) for one in holders] == [("consumer", 2), ("get", 1)], holders
    assert len(held(queue, consumer=holders[1]["consumer"])) == 1
    assert holders[1]["channel_details"]["number"] == 1, holders


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


def move(queue, **order):
    return ask("POST", f"{QUEUES}/{queue}/messages/move", order)


def balance(queue):
    queue = ask("GET", f"/api/queues/%2f/{queue}")
    balance = queue["message_balance"]
    gone = balance["settled"] + balance["dead_lettered"] + balance["moved"] + sum(balance["discarded"].values())
    assert balance["accepted"] == balance["live"] + gone, balance
    return balance


@case("messages move to another queue, all of them or by what they carry")
def moves(broker):
    declare(broker, "move-from")
    declare(broker, "move-to")
    channel = broker.channel()
    for number in range(2500):
        headers = {"kind": "odd"} if number % 2 else {"kind": "even"}
        properties = pika.BasicProperties(delivery_mode=2, headers=headers, message_id=str(number))
        channel.basic_publish("", "move-from", f"m{number}", properties)
    # Nobody answers for each; what is asked for behind them is answered behind them.
    channel.queue_declare("move-from", passive=True)
    seen = move("move-from", to="move-to", filter={"headers": {"kind": "odd"}}, preview=True)
    assert (seen["messages"], seen["preview"]) == (1000, True), seen
    assert len(look("move-to")["messages"]) == 0
    by_id = [message["id"] for message in look("move-from", count=3)["messages"]]
    assert move("move-from", to="move-to", ids=by_id)["messages"] == 3
    assert payloads(look("move-to")) == ["m0", "m1", "m2"]
    moved, first = 0, 0
    while first is not None:
        seen = move("move-from", to="move-to", filter={"headers": {"kind": "odd"}}, first=first)
        moved, first = moved + seen["messages"], seen["next"]
    assert moved == 1249, moved
    seen = move("move-from", to="move-to", all=True)
    assert (seen["messages"], seen["next"], seen["stayed"]) == (1248, None, 0), seen
    assert balance("move-from")["moved"] == 2500 and balance("move-from")["live"] == 0
    assert balance("move-to")["live"] == 2500
    got = look("move-to", first=2490, count=20)["messages"]
    assert got[0]["routing_key"] == "move-from" and got[0]["properties"]["message_id"], got[0]
    method, _, body = channel.basic_get("move-to")
    assert body == b"m0" and not method.redelivered and method.routing_key == "move-from", method


@case("a queue that has no room for what is moved leaves it where it was")
def move_full(broker):
    channel = declare(broker, "move-many")
    declare(broker, "move-small", x_max_length=5, x_overflow="reject-publish")
    publish(channel, "move-many", [str(number) for number in range(12)])
    seen = move("move-many", to="move-small", all=True)
    assert (seen["messages"], seen["reason"]) == (5, "no_room"), seen
    assert payloads(look("move-small")) == ["0", "1", "2", "3", "4"]
    assert payloads(look("move-many")) == ["5", "6", "7", "8", "9", "10", "11"]
    balance("move-many")
    for body in (b"5", b"6"):
        method, _, got = channel.basic_get("move-many", auto_ack=True)
        assert got == body and not method.redelivered, (got, method)


@case("moves are refused that cannot be")
def move_refusals(broker):
    channel = declare(broker, "move-refused")
    channel.queue_declare("move-transient")
    order = {"to": "move-refused", "all": True}
    path = f"{QUEUES}/move-refused/messages/move"
    ask("POST", path, order, status=400)
    ask("POST", path, {"all": True}, status=400)
    ask("POST", path, {"to": "nope", "all": True}, status=404)
    ask("POST", path, {"to": "move-transient", "all": True}, status=400)
    ask("POST", path, {"to": "move-transient"}, status=400)
    ask("POST", f"{QUEUES}/nope/messages/move", order, status=404)


@case("what is parked moves too, and what is ready is discarded by what it carries")
def move_parked(broker):
    channel = declare(broker, "move-parked", x_queue_type="quorum", x_delivery_limit=0)
    declare(broker, "move-aside")
    publish(channel, "move-parked", ["a", "b"])
    for _ in range(2):
        method, _, _ = channel.basic_get("move-parked")
        channel.basic_reject(method.delivery_tag, requeue=True)
    channel.queue_declare("move-parked", passive=True)
    seen = move("move-parked", to="move-aside", state="parked", all=True)
    assert seen["messages"] == 2, seen
    assert payloads(look("move-aside")) == ["a", "b"]
    assert look("move-parked", state="parked")["messages"] == []
    balance("move-parked")
    discard = {"filter": {"text": "a"}}
    seen = ask("POST", f"{QUEUES}/move-aside/messages/discard", discard)
    assert seen["messages"] == 1, seen
    assert payloads(look("move-aside")) == ["b"]
    assert balance("move-aside")["discarded"]["purged"] == 1


@case("what nobody wanted is sent once more, where somebody wants it now")
def redrive_unroutable(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    channel.exchange_declare("late", "topic", durable=True)
    for key in ("late.a", "late.b", "other.c"):
        channel.basic_publish("late", key, key, pika.BasicProperties(delivery_mode=2))
    path = "/api/everack/vhosts/%2f/unroutable"
    assert payloads(ask("GET", path)) == ["late.a", "late.b", "other.c"]
    channel.queue_declare("late", durable=True)
    channel.queue_bind("late", "late", "late.*")
    assert payloads(ask("GET", path + query(routing_key="late.b"))) == ["late.b"]
    seen = ask("POST", f"{path}/redrive", {"all": True})
    assert (seen["messages"], seen["stayed"], seen["reason"]) == (2, 1, "no_target"), seen
    assert payloads(look("late")) == ["late.a", "late.b"]
    assert payloads(ask("GET", path)) == ["other.c"]
    assert ask("POST", f"{path}/discard", {"filter": {"exchange": "late"}})["messages"] == 1
    assert ask("GET", path)["messages"] == []


main()
