# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: a client of the API, a watch that tells when it saw what, and statistics."""

import base64
import contextlib
import json
import os
import queue
import random
import ssl
import statistics
import sys
import tempfile
import threading
import time
from http.client import HTTPSConnection
from urllib.parse import quote, urlsplit

import yaml


def fail(text, code=1):
    print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr)
    sys.exit(code)


# --- API client ---------------------------------------------------------------------------------------------


class Api:
    """A kubeconfig's server: plain requests on one connection, a watch on another."""

    def __init__(self, path):
        try:
            with open(path, encoding="utf-8") as file:
                config = yaml.safe_load(file)
        except OSError as error:
            fail(f"kubeconfig: {error}")
        self.base = os.path.dirname(os.path.abspath(path))
        context = self.named(config["contexts"], config["current-context"])["context"]
        cluster = self.named(config["clusters"], context["cluster"])["cluster"]
        user = self.named(config["users"], context["user"])["user"]
        self.server = urlsplit(cluster["server"])
        self.namespace = context.get("namespace", "default")
        self.tls = ssl.create_default_context(cadata=self.pem(cluster, "certificate-authority").decode())
        self.load_identity(user)
        self.connection, self.used = self.connect(), time.monotonic()

    @staticmethod
    def named(items, name):
        return next(item for item in items if item["name"] == name)

    def pem(self, config, key):
        if key + "-data" in config:
            return base64.b64decode(config[key + "-data"])
        with open(os.path.join(self.base, config[key]), "rb") as file:
            return file.read()

    def load_identity(self, user):
        with tempfile.TemporaryDirectory() as directory:
            names = []
            for key in ("client-certificate", "client-key"):
                names.append(os.path.join(directory, key))
                with open(os.open(names[-1], os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                    file.write(self.pem(user, key))
            self.tls.load_cert_chain(*names)

    def connect(self):
        return HTTPSConnection(self.server.hostname, self.server.port, context=self.tls, timeout=60)

    def call(self, method, path, body=None, content_type="application/json"):
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        if time.monotonic() - self.used > 10:  # the server closes what is idle
            self.connection.close()
        self.used = time.monotonic()
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self.connection.getresponse()
        data = json.loads(answer.read() or b"{}")
        return answer.status, data

    def pods(self, name=""):
        return f"/api/v1/namespaces/{self.namespace}/pods" + (f"/{name}" if name else "")


class Watch(threading.Thread):
    """Every state of one pod, with the time at which it was seen, in a queue."""

    def __init__(self, api, name):
        super().__init__(daemon=True)
        self.seen = queue.Queue()
        self.connection = api.connect()
        selector = quote(f"metadata.name={name}")
        # without a time-out, the server ends a watch after half an hour to an hour
        query = f"watch=true&timeoutSeconds={24 * 3600}&fieldSelector={selector}"
        self.connection.request("GET", f"{api.pods()}?{query}")
        sock = self.connection.sock
        self.answer = self.connection.getresponse()
        sock.settimeout(None)  # nothing may happen for long
        if self.answer.status != 200:
            fail(f"watch: HTTP {self.answer.status}: {self.answer.read().decode()}")
        self.start()

    def run(self):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            while line := self.answer.readline():
                now = time.monotonic()
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                    self.seen.put((now, time.time(), event))
        self.seen.put((time.monotonic(), time.time(), None))

    def until(self, condition, timeout, what):
        """When the first state that fulfils the condition was seen: (monotonic, wall clock)."""
        end = time.monotonic() + timeout
        last = None
        while True:
            try:
                now, wall, event = self.seen.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                fail(f"not within {timeout} s: {what}; last seen: {json.dumps(last)[:600]}")
            if event is None:
                fail(f"the watch ended while waiting for: {what}")
            last = event["object"].get("status", {})
            if condition(event):
                return now, wall


def nic_status(event, name):
    for nic in event["object"].get("status", {}).get("nicStatuses", []):
        if nic.get("name") == name:
            return nic
    return None


# --- statistics ---------------------------------------------------------------------------------------------


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p))]


def row(values):
    """Milliseconds, or whatever they are."""
    return {
        "median": round(statistics.median(values), 3),
        "p95": round(percentile(values, 0.95), 3),
        "p99": round(percentile(values, 0.99), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
        "samples": len(values),
    }


def ratio(ours, floor, times=1000):
    """Of the medians, with the spread that chance gives it: from resampling the rounds."""
    chance = random.Random(1)
    pairs = list(zip(ours, floor))
    found = []
    for _ in range(times):
        some = chance.choices(pairs, k=len(pairs))
        found.append(statistics.median(p[0] for p in some) / statistics.median(p[1] for p in some))
    return {
        "median": round(statistics.median(ours) / statistics.median(floor), 3),
        "p99": round(percentile(ours, 0.99) / percentile(floor, 0.99), 3),
        "low": round(percentile(found, 0.05), 3),
        "high": round(percentile(found, 0.95), 3),
    }


def print_rows(rows, unit="milliseconds"):
    print(f"{unit:40} {'median':>9} {'p95':>9} {'p99':>9} {'min':>9} {'max':>9}")
    for name, r in rows.items():
        print(f"{name:40} {r['median']:9.2f} {r['p95']:9.2f} {r['p99']:9.2f} {r['min']:9.2f} {r['max']:9.2f}")


def print_ratios(ratios):
    for name, r in ratios.items():
        print(f"ratio of {name}: {r['median']:.2f} (90 % of chance: {r['low']:.2f} to {r['high']:.2f}), at p99 {r['p99']:.2f}")
