"""Tools that people run against RabbitMQ's management API, unchanged: rabbitmqadmin, amqpstorm's management client, Celery's Flower.

Run by `tests/tools.rs`, against RabbitMQ too. `MANAGEMENT` is the address of the API, `RABBITMQADMIN` where that tool is.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "pika"), str(HERE)]

from cases import PATIENCE, case, main

MANAGEMENT = os.environ.get("MANAGEMENT", "")
# Flower and a worker are whole applications, and start slowly on a busy machine.
START_MAX = 60


def admin(*words, fails=False):
    """Runs rabbitmqadmin and returns what it prints."""
    host, port = MANAGEMENT.split(":")
    command = [sys.executable, os.environ["RABBITMQADMIN"], "--host", host, "--port", port, *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (ended.returncode != 0) == fails, (words, ended.returncode, ended.stdout, ended.stderr)
    return (ended.stdout + ended.stderr).strip()


def listed(*words):
    return json.loads(admin("--format", "raw_json", *words))


def until(what, wanted):
    """Waits until something is as wanted: RabbitMQ's counts come in every five seconds."""
    deadline = time.monotonic() + START_MAX
    while True:
        seen = what()
        if wanted(seen):
            return seen
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)


@case("rabbitmqadmin declares, binds, publishes, gets, purges and deletes")
def rabbitmqadmin_changes(broker):
    assert admin("declare", "queue", "name=admin", "durable=true") == "queue declared"
    assert admin("declare", "exchange", "name=admin", "type=fanout") == "exchange declared"
    assert admin("declare", "binding", "source=admin", "destination=admin") == "binding declared"
    assert admin("publish", "routing_key=admin", "payload=one") == "Message published"
    assert admin("publish", "exchange=admin", "routing_key=any", "payload=two") == "Message published"
    assert admin("publish", "routing_key=nobody", "payload=x") == "Message published but NOT routed"
    refused = admin("publish", "exchange=nope", "routing_key=x", "payload=x", fails=True)
    assert "404 NOT_FOUND - no exchange 'nope' in vhost '/'" in refused, refused
    messages = listed("get", "queue=admin", "count=5", "ackmode=ack_requeue_true")
    assert [message["payload"] for message in messages] == ["one", "two"], messages
    until(
        lambda: admin("--format", "tsv", "list", "queues", "name", "messages").splitlines(),
        lambda lines: "admin\t2" in lines,
    )
    messages = listed("get", "queue=admin", "count=1", "ackmode=ack_requeue_false")
    assert [message["payload"] for message in messages] == ["one"], messages
    assert admin("purge", "queue", "name=admin") == "queue purged"
    assert admin("get", "queue=admin") == "No items"
    assert admin("delete", "queue", "name=admin") == "queue deleted"
    assert admin("delete", "exchange", "name=admin") == "exchange deleted"


@case("rabbitmqadmin administers users, permissions, policies and limits")
def rabbitmqadmin_administers(broker):
    there = [
        ("vhost", ["name=shop"]),
        ("user", ["name=clerk", "password=x", "tags=management"]),
        ("permission", ["vhost=shop", "user=clerk", "configure=^$", "write=.*", "read=.*"]),
        ("policy", ["name=short", "pattern=^q", 'definition={"max-length":10}', "apply-to=queues"]),
        ("operator_policy", ["name=bound", "pattern=^q", 'definition={"max-length":9}', "apply-to=queues"]),
        ("vhost_limit", ["vhost=shop", "name=max-queues", "value=10"]),
    ]
    in_shop = ("--vhost", "shop")
    for kind, words in there:
        said = admin(*in_shop, "declare", kind, *words)
        assert said == f"{kind} declared", said
    assert "clerk" in [user["name"] for user in listed("list", "users")]
    assert ("clerk", "shop", "^$") in [
        (held["user"], held["vhost"], held["configure"]) for held in listed("list", "permissions")
    ]
    policy = [policy for policy in listed("list", "policies") if policy["name"] == "short"]
    assert [(one["vhost"], one["definition"]) for one in policy] == [("shop", {"max-length": 10})], policy
    bound = [policy for policy in listed("list", "operator_policies") if policy["name"] == "bound"]
    assert [one["definition"] for one in bound] == [{"max-length": 9}], bound
    assert {"vhost": "shop", "value": {"max-queues": 10}} in listed("list", "vhost_limits")
    gone = [
        ("policy", ["name=short"]),
        ("operator_policy", ["name=bound"]),
        ("permission", ["vhost=shop", "user=clerk"]),
        ("user", ["name=clerk"]),
        ("vhost", ["name=shop"]),
    ]
    for kind, words in gone:
        said = admin(*in_shop, "delete", kind, *words)
        assert said == f"{kind} deleted", said
    assert "clerk" not in [user["name"] for user in listed("list", "users")]


@case("rabbitmqadmin exports and imports definitions")
def rabbitmqadmin_definitions(broker):
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/definitions.json"
        admin("declare", "queue", "name=moved", "durable=true")
        admin("declare", "binding", "source=amq.topic", "destination=moved", "routing_key=a.#")
        admin("export", file)
        admin("delete", "queue", "name=moved")
        admin("import", file)
        definitions = json.loads(pathlib.Path(file).read_text())
        assert "moved" in [queue["name"] for queue in definitions["queues"]], definitions
        bound = [(binding["destination"], binding["routing_key"]) for binding in listed("list", "bindings")]
        assert ("moved", "a.#") in bound, bound
        admin("delete", "queue", "name=moved")


@case("rabbitmqadmin shows and lists")
def rabbitmqadmin_lists(broker):
    channel = broker.channel()
    channel.queue_declare("admin-listed", durable=True)
    channel.basic_consume("admin-listed", lambda *_: None, consumer_tag="admin-tag")
    assert "rabbitmq_version" in admin("show", "overview")
    assert [node["running"] for node in listed("list", "nodes")] == [True]
    assert "/" in [vhost["name"] for vhost in listed("list", "vhosts")]
    assert "guest" in [user["name"] for user in listed("list", "users")]
    assert [held["configure"] for held in listed("list", "permissions")] == [".*"]
    assert "amq.topic" in [exchange["name"] for exchange in listed("list", "exchanges")]
    assert "admin-listed" in [binding["destination"] for binding in listed("list", "bindings")]
    until(lambda: listed("list", "connections"), lambda found: any(one["user"] == "guest" for one in found))
    until(lambda: listed("list", "channels"), lambda found: any(one["number"] == 1 for one in found))
    tags = lambda: [consumer["consumer_tag"] for consumer in listed("list", "consumers")]
    until(tags, lambda tags: "admin-tag" in tags)
    assert admin("declare", "vhost", "name=admin") == "vhost declared"
    assert admin("delete", "vhost", "name=admin") == "vhost deleted"


@case("amqpstorm's management client manages")
def amqpstorm(broker):
    from amqpstorm.management import ApiError, ManagementApi

    with ManagementApi(f"http://{MANAGEMENT}", "guest", "guest") as api:
        assert api.aliveness_test("/") == {"status": "ok"}
        assert api.healthchecks.get() == {"status": "ok"}
        assert api.whoami()["name"] == "guest"
        assert api.overview()["node"] == api.nodes()[0]["name"]
        api.queue.declare("storm", durable=True)
        api.exchange.declare("storm", exchange_type="topic", durable=True)
        api.queue.bind(queue="storm", exchange="storm", routing_key="a.b")
        properties = {"delivery_mode": 2, "headers": {"kind": "storm"}, "message_id": "1"}
        assert api.basic.publish("one", "a.b", exchange="storm", properties=properties) == {"routed": True}
        assert api.basic.publish("two", "b", exchange="storm") == {"routed": False}
        seen = api.basic.get("storm", requeue=True, to_dict=True)
        assert [message["payload"] for message in seen] == ["one"], seen
        assert seen[0]["properties"]["headers"]["kind"] == "storm", seen
        (message,) = api.basic.get("storm", requeue=False)
        assert message.body == "one", message.body
        assert api.basic.get("storm") == []
        assert "storm" in [queue["name"] for queue in api.queue.list()]
        assert "storm" in [exchange["name"] for exchange in api.exchange.list(show_all=True)]
        assert any(binding["source"] == "storm" for binding in api.queue.bindings("storm"))
        api.queue.purge("storm")
        api.queue.unbind(queue="storm", exchange="storm", routing_key="a.b")
        api.queue.delete("storm")
        api.exchange.delete("storm")
        try:
            api.queue.get("storm")
            raise AssertionError("the queue is gone, and yet it was gotten")
        except ApiError as error:
            assert error.error_code == 404, error
        api.virtual_host.create("storm")
        assert api.virtual_host.get("storm")["name"] == "storm"
        api.virtual_host.delete("storm")
        connection = broker.connection(client_properties={"connection_name": "storm"})
        ours = lambda: [one for one in api.connection.list() if one.get("user_provided_name") == "storm"]
        api.connection.close(until(ours, lambda found: found)[0]["name"], "storm")
        until(lambda: closed(connection), lambda closed: closed)


def closed(connection):
    try:
        connection.process_data_events(0.1)
    except Exception as error:
        assert "320" in str(error) and "storm" in str(error), error
        return True
    return False


@case("Flower's broker page shows queues")
def flower(broker):
    import celery

    # Celery would take the C client, where that is installed.
    url = broker.url.replace("amqp://", "pyamqp://")
    app = celery.Celery("flower", broker=url)
    app.conf.task_default_queue = "flower"
    for number in range(3):
        app.send_task("nobody.does.this", [number])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-B", "-m", "celery", "--broker", url, "flower"]
    command += ["--address=127.0.0.1", f"--port={port}", f"--broker_api=http://guest:guest@{MANAGEMENT}/api/"]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "CELERY_CONFIG_MODULE": "flower_settings"}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            until(lambda: page(port), lambda page: '<tr id="flower">' in page)
            rows = until(lambda: cells(page(port)), lambda rows: rows[:1] == ["flower"] and rows[3] == "3")
            assert rows[1:5] == ["3", "0", "3", "0"], rows
        except BaseException:
            output.seek(0)
            print(output.read().decode()[-3000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def page(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/broker", timeout=PATIENCE) as answer:
            return answer.read().decode()
    except (OSError, urllib.error.URLError):
        return ""


def cells(page):
    """The cells of the row of our queue."""
    row = page.partition('<tr id="flower">')[2].partition("</tr>")[0]
    return [cell.partition(">")[2].partition("</td>")[0].strip() for cell in row.split("<td")[1:]]


main()
