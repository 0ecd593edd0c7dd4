# SPDX-License-Identifier: Apache-2.0
"""A small API for a watcher under replay: it lists, watches and stores, and somebody plays what users did.

What a recorded run's user, scheduler and allocator wrote is taken from the watcher's journal: each new pod or port
there, without the status that the watcher itself wrote then. What the watcher writes now is stored, answered and
told to its watches, as by the real API; so nothing of the recording gets back to it as if it had been its own.
"""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


def merged(target, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key), value)
    return out


def collection_of(path):
    """/api/v1/namespaces/default/pods/vm/status -> pods, default/vm"""
    words = path.strip("/").split("/")
    words = words[3:] if words[0] == "apis" else words[2:]
    namespace = ""
    if words[0] == "namespaces" and len(words) > 2:
        namespace, words = f"{words[1]}/", words[2:]
    return words[0], namespace + words[1] if len(words) > 1 else None


def key_of(item):
    meta = item["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]


def without_version(item):
    return {**item, "metadata": {k: v for k, v in item["metadata"].items() if k != "resourceVersion"}}


class Api:
    def __init__(self):
        self.lock = threading.RLock()
        self.version = 1
        self.objects = {}  # collection -> key -> object
        self.watches = []  # (collection, queue)
        self.calls = []  # (verb, collection, key, body), as they came
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        with self.lock:
            for _, events in self.watches:
                events.put(None)
        self.server.shutdown()
        self.server.server_close()

    # what the recorded users did

    def put(self, collection, item):
        """A recorded state; the pod's status stays the watcher's."""
        with self.lock:
            known = self.objects.get(collection, {}).get(key_of(item))
            item = dict(item)
            if known and collection == "pods":
                item["status"] = known.get("status", {})
            if not known or without_version(known) != without_version(item):
                self._store(collection, item, "MODIFIED" if known else "ADDED")

    def remove(self, collection, key):
        with self.lock:
            item = self.objects.get(collection, {}).pop(key, None)
            if item:
                self._tell(collection, "DELETED", self._versioned(item))

    # what the watcher asks

    def listing(self, collection):
        with self.lock:
            items = list(self.objects.get(collection, {}).values())
            return {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": str(self.version)}, "items": items}

    def watch(self, collection, since):
        events = queue.Queue()
        with self.lock:
            for item in self.objects.get(collection, {}).values():
                if int(item["metadata"]["resourceVersion"]) > since:
                    events.put({"type": "ADDED", "object": item})
            self.watches.append((collection, events))
        return events

    def unwatch(self, events):
        with self.lock:
            self.watches = [watch for watch in self.watches if watch[1] is not events]

    def write(self, verb, collection, key, body):
        """Code and object of the answer."""
        with self.lock:
            known = self.objects.get(collection, {}).get(key)
            if verb == "POST":
                known, key = None, key_of(body)
                if key in self.objects.get(collection, {}):
                    return 409, None
            elif not known:
                return 404, None
            self.calls.append((verb, collection, key, body))
            if verb == "DELETE":
                return 200, known
            patch = {k: v for k, v in body.items() if k != "metadata"} if known else body
            item = merged(known or {}, patch)
            if not known or without_version(item) != without_version(known):
                item = self._store(collection, item, "MODIFIED" if known else "ADDED")
            return 200 if known else 201, item

    def _versioned(self, item):
        self.version += 1
        return {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.version)}}

    def _store(self, collection, item, event):
        item = self._versioned(item)
        self.objects.setdefault(collection, {})[key_of(item)] = item
        self._tell(collection, event, item)
        return item

    def _tell(self, collection, event, item):
        for watched, events in self.watches:
            if watched == collection:
                events.put({"type": event, "object": item})

    def _handler(self):
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, code, item):
                failure = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
                data = json.dumps(item if item is not None else failure).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def stream(self, events):
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    while (event := events.get()) is not None:
                        line = json.dumps(event).encode() + b"\n"
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    pass  # the watcher has closed it
                finally:
                    api.unwatch(events)
                self.close_connection = True

            def do_GET(self):
                url = urlsplit(self.path)
                query = parse_qs(url.query)
                collection, key = collection_of(url.path)
                if query.get("watch") == ["true"]:
                    self.stream(api.watch(collection, int(query.get("resourceVersion", ["0"])[0])))
                elif key is None:
                    self.answer(200, api.listing(collection))
                else:
                    item = api.objects.get(collection, {}).get(key)
                    self.answer(200 if item else 404, item)

            def do_write(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                collection, key = collection_of(urlsplit(self.path).path)
                self.answer(*api.write(self.command, collection, key, json.loads(body or b"{}")))

            do_POST = do_PATCH = do_DELETE = do_write

        return Handler


KUBECONFIG = """apiVersion: v1
kind: Config
clusters:
- name: recorded
  cluster:
    server: {url}
users:
- name: watcher
  user:
    token: recorded
contexts:
- name: recorded
  context:
    cluster: recorded
    user: watcher
current-context: recorded
"""


COLLECTIONS = {"pod": "pods", "port": "ports"}
TOLD = {"Ready", "Failed"}  # states of a NIC that are an outcome


def nics_of(pod):
    return {nic["name"]: nic for nic in pod.get("status", {}).get("nicStatuses", [])}


def id_of(collection, item):
    """What the bus calls it."""
    return item["metadata"]["uid" if collection == "pods" else "name"]


def outcome_of(nic):
    return {"state": nic.get("state"), "reason": nic.get("reason")}


# Of a state that a later one may overtake on the bus: a watcher need not have seen it.
PASSING = {"Pulling", "Pulled"}


def events_of(calls):
    """What the events say; that one is told with a count is no difference."""
    return {(e["type"], e["reason"], e["message"]) for e in calls}


class Users:
    """Those who write to the API in a recorded run, and what the watcher is to write."""

    def __init__(self, journal, api, replay):
        self.api, self.replay, self.checked = api, replay, 0
        self.steps, self.events = [], []
        self.pods = {}  # as last recorded
        for line in open(journal, encoding="utf-8"):
            entry = json.loads(line)
            event = entry.get("event", {})
            what, _, change = event.get("type", "").partition("_")
            if what in COLLECTIONS and change in ("put", "gone"):
                self.steps.append({"sent_us": entry["real"], "api": (COLLECTIONS[what], change), "object": event["object"]})
            self.events += [a["body"] for a in entry.get("actions", []) if a.get("call") == "event_create"]

    def step(self, step):
        (collection, change), item = step["api"], step["object"]
        if collection == "pods" and change == "put":
            self._expect_status(item, self.pods.get(key_of(item), {}))
            self.pods[key_of(item)] = item
        if change == "put":
            self.api.put(collection, item)
        else:
            self._expect_leave(collection, item)
            self.api.remove(collection, key_of(item))

    def _wait(self, condition, topic, value):
        """What was recorded as the watcher's, before what came after it."""
        self.replay.wait(condition, "missing", topic, value)

    def _expect_status(self, pod, before):
        """Outcomes that are new in the recording, where the pod was put because its status was written."""
        uid, key = pod["metadata"]["uid"], key_of(pod)
        if pod["metadata"].get("generation") != before.get("metadata", {}).get("generation"):
            return

        def ours():
            return nics_of(self.api.objects.get("pods", {}).get(key, {}))

        old, new = nics_of(before), nics_of(pod)
        for name, nic in new.items():
            told = outcome_of(nic)
            if told["state"] in TOLD and told != outcome_of(old.get(name, {})):
                self._wait(lambda n=name, t=told: outcome_of(ours().get(n, {})) == t, f"pod/{uid}/{name}", told)
        # A pod that is let go right after has no status to write.
        for name in set(old) - set(new):
            self._wait(lambda n=name: n not in ours() or self._left("pods", key), f"pod/{uid}/{name}", {"state": "gone"})

    def _expect_leave(self, collection, item):
        """The watcher lets the API take a port or a pod away."""
        self._wait(lambda: self._left(collection, key_of(item)), f"{collection}/{id_of(collection, item)}",
                   {"state": "let go"})

    def _left(self, collection, key):
        return any(self._is_leave(call) and call[1:3] == (collection, key) for call in self.api.calls)

    @staticmethod
    def _is_leave(call):
        verb, collection, _, body = call
        return verb == "DELETE" or (collection == "ports" and body.get("status", {}).get("phase") == "Released")

    def check(self):
        """Nothing is let go before the node said that it is gone."""
        for call in self.api.calls[self.checked :]:
            self.checked += 1
            if not self._is_leave(call):
                continue
            said = ("vm.status", "absent") if call[1] == "pods" else ("port.status", "released")
            name = id_of(call[1], self.api.objects[call[1]][call[2]])
            if not any(topic.split("/")[-1] == name for topic in self.replay.said.get(said, ())):
                self.replay.differs("ahead", f"{call[1]}/{name}", {"state": "let go"})

    def settle(self):
        def ours():
            return events_of(call[3] for call in self.api.calls if call[:2] == ("POST", "events"))

        recorded = {e for e in events_of(self.events) if e[1] not in PASSING}
        for kind, reason, message in sorted(recorded):
            value = {"event": kind, "reason": reason, "text": message}
            self._wait(lambda e=(kind, reason, message): e in ours(), "event", value)
        for kind, reason, message in sorted(ours() - recorded):
            if kind == "Warning":
                self.replay.differs("failed", "event", {"event": kind, "reason": reason, "text": message})
