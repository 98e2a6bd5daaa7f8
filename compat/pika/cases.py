"""Named cases against one broker: `--list` prints their names, `--url URL` runs them and prints one JSON line each.

The Rust test beside this folder turns every line into a test of its own. A case gets a `Broker` to open connections
with; everything that it opened is closed after it, so that one failure does not take others with it.
"""

import argparse
import json
import traceback

import pika
import pika.exceptions

CASES = []

# Long enough for a slow machine; a case that waits this long has failed.
PATIENCE = 20


class Broker:
    """Opens connections for one case and closes them after it."""

    def __init__(self, url):
        self.url = url
        self.open = []

    def connection(self, **parameters):
        settings = pika.URLParameters(self.url)
        settings.blocked_connection_timeout = PATIENCE
        settings.socket_timeout = PATIENCE
        for name, value in parameters.items():
            setattr(settings, name, value)
        connection = pika.BlockingConnection(settings)
        self.open.append(connection)
        return connection

    def channel(self, **parameters):
        return self.connection(**parameters).channel()

    def close(self):
        for connection in self.open:
            try:
                if connection.is_open:
                    connection.close()
            except pika.exceptions.AMQPError:
                pass


def case(name):
    """Registers a function as a case of this name."""

    def register(function):
        CASES.append((name, function))
        return function

    return register


def run(url, name, function):
    broker = Broker(url)
    try:
        function(broker)
        return {"case": name, "ok": True}
    except Exception:
        return {"case": name, "ok": False, "why": traceback.format_exc(limit=-4)}
    finally:
        broker.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--url", help="the broker, such as amqp://guest:guest@127.0.0.1:5672/%%2f")
    parser.add_argument("--only", help="only cases whose name contains this")
    arguments = parser.parse_args()
    names = [name for name, _ in CASES]
    assert len(set(names)) == len(names), "two cases have the same name"
    for name, function in CASES:
        if arguments.only and arguments.only not in name:
            continue
        print(name if arguments.list else json.dumps(run(arguments.url, name, function)), flush=True)
