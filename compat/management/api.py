"""Asks the management API at `MANAGEMENT`, as guest."""

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request

MANAGEMENT = os.environ.get("MANAGEMENT", "")
GUEST = "Basic " + base64.b64encode(b"guest:guest").decode()


def ask(method, path, body=None, status=200):
    """The answer as JSON; fails when the status is another one."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": GUEST, "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{MANAGEMENT}{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        found, text = error.code, error.read()
    assert found == status, (method, path, body, found, text)
    return json.loads(text) if text else None


def query(**pairs):
    return "?" + urllib.parse.urlencode({name: value for name, value in pairs.items() if value is not None})
