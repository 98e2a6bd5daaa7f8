"""The hand that kills the broker."""

import os
import socket

import cases


def kill_and_restart(broker):
    """SIGKILL, and a new start on the same data; the case's connections are gone."""
    broker.open.clear()
    host, port = os.environ["CONTROL"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=4 * cases.PATIENCE) as order:
        order.sendall(b"restart\n")
        answer = order.makefile().readline().strip()
    assert answer == "up", answer
