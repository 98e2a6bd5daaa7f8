"""What frameworks build on a broker's features, one case each: retries, delays, priorities, dead letters, remote control.

Run by `tests/features.rs`, which knows which of them wait for a feature of ours. Against RabbitMQ all of them run.
"""

import asyncio
import contextlib
import functools
import importlib
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "pika")]

import aio_pika
from aio_pika.patterns import RPC, Master, RejectMessage
from cases import case, main

# A worker is a whole application, and starts slowly on a busy machine.
PATIENCE = 60
# What lives until all cases are done.
SHARED = contextlib.ExitStack()


def tasks(url, name):
    """An application's module, which reads the broker's address when it is imported."""
    os.environ["SHOP_URL"] = url
    return importlib.import_module(name)


@contextlib.contextmanager
def worker(*command):
    """A worker's process, ended politely after the case."""
    with tempfile.TemporaryFile() as output:
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        arguments = [sys.executable, "-B", "-m", *command]
        process = subprocess.Popen(arguments, env=environment, stdout=output, stderr=output)
        try:
            yield
        except Exception:
            output.seek(0)
            print(output.read().decode()[-3000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def celery_worker(queue, *more, application="celery_tasks"):
    # Two workers of one name would share, and so contend for, the queue of their remote control.
    name = f"{queue}@%h"
    return worker("celery", "-A", application, "worker", "-n", name, "-P", "threads", "-c", "1", "-Q", queue, "-l", "WARNING", *more)


@functools.cache
def plain_celery(broker_url):
    """The application, with a worker that all cases share that need nothing special."""
    celery = tasks(broker_url, "celery_tasks")
    SHARED.enter_context(celery_worker("celery-plain", "-E"))
    until(lambda: celery.app.control.ping(timeout=2, limit=1))
    return celery


def dramatiq_worker(*queues):
    return worker("dramatiq", "dramatiq_tasks:broker", "--processes", "1", "--threads", "1", "--queues", *queues)


def until(there):
    """Waits until it is true, and returns it."""
    deadline = time.monotonic() + PATIENCE
    while not (value := there()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)
    return value


def noted(path, count):
    def lines():
        text = path.read_text().splitlines() if path.exists() else []
        return text if len(text) >= count else None

    return until(lines)


@case("Celery retries a task and gives its result back over the broker")
def celery_retries(broker):
    celery = plain_celery(broker.url)
    assert celery.flaky.delay(2).get(timeout=PATIENCE) == 2
    assert (celery.add.s(1, 2) | celery.add.s(4)).delay().get(timeout=PATIENCE) == 7


@case("Celery keeps a task with an ETA until its time")
def celery_eta(broker):
    celery = plain_celery(broker.url)
    sent = time.time()
    # It does not stand in the way of others, although the window of the worker is one message: Celery makes it larger.
    late, other = celery.now.apply_async(countdown=1.5), celery.now.delay()
    [late_at, other_at] = [result.get(timeout=PATIENCE) for result in [late, other]]
    assert late_at - sent >= 1.5, late_at - sent
    assert other_at < late_at, (other_at, late_at)


@case("Celery's worker obeys remote control")
def celery_remote_control(broker):
    from celery.exceptions import TaskRevokedError

    celery = plain_celery(broker.url)
    control = celery.app.control
    inspect = control.inspect(timeout=2, limit=1)
    [queues] = inspect.active_queues().values()
    assert "celery-plain" in [queue["name"] for queue in queues], queues
    [registered] = inspect.registered().values()
    assert "celery_tasks.add" in registered, registered
    late = celery.now.apply_async(countdown=3)
    control.revoke(late.id)
    try:
        late.get(timeout=PATIENCE)
        raise AssertionError("it was not revoked")
    except TaskRevokedError:
        pass
    # A new queue without a restart.
    control.add_consumer("celery-added", reply=True, timeout=2, limit=1)
    assert celery.add.apply_async((2, 3), queue="celery-added").get(timeout=PATIENCE) == 5


@case("Celery's events tell a monitor what becomes of a task")
def celery_events(broker):
    celery = plain_celery(broker.url)
    seen = {}

    def capture(event):
        seen.setdefault(event.get("uuid"), []).append(event["type"])

    with celery.app.connection_for_read() as connection:
        receiver = celery.app.events.Receiver(connection, handlers={"*": capture})

        def listen():
            with contextlib.suppress(TimeoutError):
                receiver.capture(limit=None, timeout=PATIENCE, wakeup=True)

        monitor = threading.Thread(target=listen, daemon=True)
        monitor.start()
        # The worker's heartbeats tell that the monitor listens.
        until(lambda: seen)
        result = celery.add.delay(1, 2)
        assert result.get(timeout=PATIENCE) == 3
        wanted = {"task-sent", "task-received", "task-started", "task-succeeded"}
        until(lambda: wanted <= set(seen.get(result.id, [])))
        receiver.should_stop = True
        monitor.join(PATIENCE)


@case("Celery's priorities let the urgent task pass")
def celery_priorities(broker):
    celery = tasks(broker.url, "celery_tasks")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "notes"
        for priority in [0, 0, 5, 9, 5]:
            celery.note.apply_async((str(path), priority), queue="celery-priority", priority=priority)
        with celery_worker("celery-priority"):
            assert noted(path, 5) == ["9", "5", "5", "0", "0"], path.read_text()


@case("Celery's rejected task goes to the dead letters")
def celery_dead_letters(broker):
    celery = tasks(broker.url, "celery_tasks")
    channel = broker.channel()
    channel.queue_declare("celery-dead", durable=True)
    with celery_worker("celery-mortal"):
        sent = celery.refuse.apply_async(queue="celery-mortal")
        _, properties, _ = until(lambda: dead_letter(channel, "celery-dead"))
        [death] = properties.headers["x-death"]
        assert (properties.headers["id"], death["reason"], death["queue"]) == (sent.id, "rejected", "celery-mortal")


@case("Celery's native delays work through expiring quorum queues")
def celery_native_delay(broker):
    celery = tasks(broker.url, "celery_quorum")
    with celery_worker("celery-quorum", application="celery_quorum"):
        # Its exchanges exist when the worker has answered once.
        assert celery.now.delay().get(timeout=PATIENCE) > 0
        sent = time.time()
        late = celery.now.apply_async(countdown=3)
        assert 3 <= late.get(timeout=PATIENCE) - sent <= 6


@case("Dramatiq's priorities let the urgent message pass")
def dramatiq_priorities(broker):
    dramatiq = tasks(broker.url, "dramatiq_tasks")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "notes"
        # Dramatiq asks for two messages a thread beforehand, and sorts what it holds by its own, other priority.
        for priority in [0, 0, 5, 9, 5]:
            dramatiq.note.send_with_options(args=(str(path), priority), broker_priority=priority)
        with dramatiq_worker("dramatiq-notes"):
            assert noted(path, 5) == ["9", "5", "5", "0", "0"], path.read_text()


@case("Dramatiq's hopeless message goes to its dead letters")
def dramatiq_dead_letters(broker):
    dramatiq = tasks(broker.url, "dramatiq_tasks")
    sent = dramatiq.doomed.send("no hope")
    channel = broker.channel()
    with dramatiq_worker("dramatiq-doomed"):
        _, properties, body = until(lambda: dead_letter(channel, "dramatiq-doomed.XQ"))
        assert sent.message_id.encode() in body, body
        assert properties.headers["x-death"][0]["reason"] == "rejected", properties.headers


def dead_letter(channel, queue):
    method, properties, body = channel.basic_get(queue, auto_ack=True)
    return method and (method, properties, body)


@case("aio-pika's RPC calls, raises, and tells of a method that nobody has")
def aio_pika_rpc(broker):
    async def calls():
        async with await aio_pika.connect_robust(broker.url) as connection:
            rpc = await RPC.create(await connection.channel())
            await rpc.register("multiply", multiply, auto_delete=True)
            assert await rpc.call("multiply", {"x": 6, "y": 7}) == 42
            with_error = await asyncio.gather(rpc.call("multiply", {"x": 6}), return_exceptions=True)
            assert isinstance(with_error[0], TypeError), with_error
            try:
                await asyncio.wait_for(rpc.call("divide", {}), PATIENCE)
                raise AssertionError("a method that nobody has was called")
            except aio_pika.exceptions.MessageProcessError:
                pass

    asyncio.run(calls())


async def multiply(*, x, y):
    return x * y


@case("aio-pika's RPC tells the caller when its call expires")
def aio_pika_rpc_expires(broker):
    async def calls():
        async with await aio_pika.connect_robust(broker.url) as connection:
            channel = await connection.channel()
            rpc = await RPC.create(channel)
            # Nobody consumes: the call expires in the queue, and comes back as a dead letter by its header.
            await channel.declare_queue("aio-pika-idle", auto_delete=True, arguments={"x-dead-letter-exchange": RPC.DLX_NAME})
            try:
                await asyncio.wait_for(rpc.call("aio-pika-idle", {}, expiration=0.2), PATIENCE)
                raise AssertionError("nobody answered, and yet it returned")
            except asyncio.TimeoutError as error:
                # Ours has no words; the library's own has the dead letter in it.
                assert error.args[:1] == ("Message timed-out",), "the call was never told that it expired"

    asyncio.run(calls())


@case("aio-pika's master gives a refused task to the next worker")
def aio_pika_master(broker):
    async def works():
        done = asyncio.Queue()
        refused = []

        async def picky(*, number):
            if number not in refused:
                refused.append(number)
                raise RejectMessage(requeue=True)
            await done.put(number)

        async with await aio_pika.connect_robust(broker.url) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=1)
            master = Master(channel)
            await master.create_worker("aio-pika-tasks", picky, auto_delete=True)
            for number in range(5):
                await master.proxy.__getattr__("aio-pika-tasks")(number=number)
            got = [await asyncio.wait_for(done.get(), PATIENCE) for _ in range(5)]
            assert sorted(got) == list(range(5)) and len(refused) == 5, (got, refused)

    asyncio.run(works())


with SHARED:
    main()
