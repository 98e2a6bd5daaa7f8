"""What the management API says."""

import base64
import json
import os
import urllib.request

import cases


def api(path, user="guest", password="guest"):
    """The answer to GET /api/path; where the API is, the environment says."""
    request = urllib.request.Request(f"http://{os.environ['MANAGEMENT']}/api/{path}")
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    request.add_header("Authorization", f"Basic {token}")
    with urllib.request.urlopen(request, timeout=cases.PATIENCE) as answer:
        return json.load(answer)
