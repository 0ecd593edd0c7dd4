# SPDX-License-Identifier: Apache-2.0
"""The node's bus once more, with the codecs of others: pyzmq and msgpack.

Written from docs/reference/messages.md alone, to prove that the wire is what the page says. The field tables
are those of proto/messages.json; everything else (frames, numbers, last values, marks, requests) is here.
"""

import fcntl
import json
import os
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgpack
import zmq

TABLE = json.loads((Path(__file__).parents[2] / "proto/messages.json").read_text())
VERSION = TABLE["version"]
KEYS = {"<pod uid>": "pod_uid", "<port id>": "port_id", "<subnet id>": "subnet_id"}
KEY = re.compile(r"[A-Za-z0-9._-]+")
TOPIC = re.compile(r"[!-~]+")
MARK_SECONDS = 5


class WireError(Exception):
    """What arrived, or is to be sent, is not what the page allows."""


def _check_text(name, value, limit):
    if not isinstance(value, str):
        raise WireError(f"{name}: is no string")
    if len(value.encode()) > limit:
        raise WireError(f"{name}: longer than {limit} bytes")
    if "\0" in value:
        raise WireError(f"{name}: has a NUL in it")


def _check_number(name, value, limit):
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise WireError(f"{name}: is no unsigned integer")
    if value > limit:
        raise WireError(f"{name}: larger than {limit}")


def _check_list(f, value, check):
    if not isinstance(value, list) or len(value) > f["max_items"]:
        raise WireError(f"{f['name']}: is no list of at most {f['max_items']}")
    for item in value:
        check(f["name"], item)


def _check_field(f, value):
    kind, name = f["type"], f["name"]
    if kind == "bool":
        if not isinstance(value, bool):
            raise WireError(f"{name}: is no boolean")
    elif kind == "u64":
        _check_number(name, value, int(f["max"]))
    elif kind == "string":
        _check_text(name, value, f["max_bytes"])
    elif kind == "enum":
        if value not in f["values"]:
            raise WireError(f"{name}: none of {f['values']}")
    elif kind == "strings":
        _check_list(f, value, lambda n, item: _check_text(n, item, f["max_bytes"]))
    else:
        _check_list(f, value, lambda n, item: _check_number(n, item, 2**64 - 1))


def _is_zero(f, value):
    return value == f["values"][0] if f["type"] == "enum" else not value


def encode_record(fields, values):
    """The bytes of a record: fields in the order of the page, zero values of optional ones left out."""
    unknown = set(values) - {f["name"] for f in fields}
    if unknown:
        raise WireError(f"no such field: {sorted(unknown)}")
    out = {}
    for f in fields:
        if f["name"] not in values:
            if f["required"]:
                raise WireError(f"{f['name']}: is missing")
            continue
        _check_field(f, values[f["name"]])
        if f["required"] or not _is_zero(f, values[f["name"]]):
            out[f["name"]] = values[f["name"]]
    return msgpack.packb(out, use_bin_type=True)


def decode_record(fields, data):
    """What is known of the record; a field of a later version is passed over."""
    try:
        values = msgpack.unpackb(data, raw=False)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise WireError(f"no msgpack: {error}") from error
    if not isinstance(values, dict):
        raise WireError("is no map")
    out = {}
    for f in fields:
        if f["name"] in values:
            _check_field(f, values[f["name"]])
            out[f["name"]] = values[f["name"]]
        elif f["required"]:
            raise WireError(f"{f['name']}: is missing")
    return out


def topic_of(kind, values):
    """nic.diff, {…} -> nic.diff/POD-UID/PORT-ID"""
    keys = [values[KEYS[key]] for key in TABLE["messages"][kind]["key"].split("/")]
    for key in keys:
        if not KEY.fullmatch(key):
            raise WireError(f"{key!r} can be no part of a topic")
    return "/".join([kind, *keys])


def encode(kind, values):
    topic_of(kind, values)
    return encode_record(TABLE["messages"][kind]["fields"], values)


def decode(topic, body):
    """None for a type of a later version."""
    kind = topic.split("/")[0]
    if kind not in TABLE["messages"]:
        return None
    values = decode_record(TABLE["messages"][kind]["fields"], body)
    if topic_of(kind, values) != topic:
        raise WireError("the topic is not the body's")
    return values


@dataclass
class Message:
    publisher: str
    topic: str
    values: dict
    replayed: bool
    envelope: dict

    @property
    def kind(self):
        return self.topic.split("/")[0]


@dataclass
class Numbers:
    seq: int = 0
    replay_seq: int = 0


@dataclass
class _Peer:
    socket: zmq.Socket
    prefixes: list = field(default_factory=list)
    epoch: int = 0
    seen: dict = field(default_factory=dict)


class Bus:
    """One participant: a name to publish under, and peers to listen to.

    Nothing happens but in poll(): subscriptions are answered there, marks and last values are sent.
    """

    def __init__(self, directory, name, epoch=None, mark_seconds=MARK_SECONDS):
        self.directory, self.name = Path(directory), name
        self.epoch = epoch or secrets.randbits(62) + 1
        self.mark_seconds, self.next_mark = mark_seconds, 0.0
        self.numbers, self.last, self.peers = {}, {}, {}
        self.gaps, self.rejected, self.epochs = [], [], []
        self.subscriptions = set()  # prefixes that somebody subscribed to
        self.requests, self.full_marks = [], []  # names of those that asked for all, or sent all
        self.lock = os.open(self.directory / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.context = zmq.Context()
        self.poller = zmq.Poller()
        self.publisher = self.context.socket(zmq.XPUB)
        self.publisher.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.publisher.bind(f"ipc://{self.directory}/{name}")
        self.poller.register(self.publisher, zmq.POLLIN)

    def close(self):
        self.context.destroy(linger=200)
        os.close(self.lock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # publishing

    def _send(self, topic, body, **envelope):
        data = encode_record(
            TABLE["envelope"],
            {
                "version": VERSION,
                "publisher": self.name,
                "epoch": self.epoch,
                "sent_us": time.time_ns() // 1000,
                **envelope,
            },
        )
        self.publisher.send_multipart([topic.encode(), data, body])

    def send_raw(self, *frames):
        """For tests: any frames."""
        self.publisher.send_multipart(list(frames))

    def publish(self, kind, values, retain=True, trace=""):
        topic = topic_of(kind, values)
        self.publish_body(topic, encode(kind, values), retain, trace)
        return topic

    def publish_body(self, topic, body, retain=True, trace=""):
        numbers = self.numbers.setdefault(topic.split("/")[0], Numbers())
        numbers.seq += 1
        if retain:
            self.last[topic] = (numbers.seq, trace, body)
        self._send(topic, body, seq=numbers.seq, trace=trace)

    def forget(self, topic):
        self.last.pop(topic, None)

    def _replay(self, prefix):
        for topic, (seq, trace, body) in self.last.items():
            if topic.startswith(prefix):
                numbers = self.numbers[topic.split("/")[0]]
                numbers.replay_seq += 1
                self._send(topic, body, seq=seq, trace=trace, replayed=True, replay_seq=numbers.replay_seq)

    def _mark(self, full=False):
        kinds = list(self.numbers)
        mark = {
            "types": kinds,
            "seqs": [self.numbers[kind].seq for kind in kinds],
            "replay_seqs": [self.numbers[kind].replay_seq for kind in kinds],
            "full": full,
        }
        self._send("sync.mark", encode_record(TABLE["sync.mark"], mark))

    def _answer_subscription(self, frame):
        if frame[:1] == b"\1":
            prefix = frame[1:].decode("ascii", "replace")
            self.subscriptions.add(prefix)
            self._replay(prefix)
            if "sync.mark".startswith(prefix):
                self._mark()

    # listening

    def subscribe(self, peer, *prefixes):
        if peer not in self.peers:
            socket = self.context.socket(zmq.SUB)
            socket.setsockopt(zmq.MAXMSGSIZE, TABLE["max_body_bytes"])
            socket.connect(f"ipc://{self.directory}/{peer}")
            self.poller.register(socket, zmq.POLLIN)
            self.peers[peer] = _Peer(socket)
            for own in ("sync.mark", f"sync.request/{self.name}"):
                socket.subscribe(own)
        for prefix in prefixes:
            self.peers[peer].prefixes.append(prefix)
            self.peers[peer].socket.subscribe(prefix)

    def request_sync(self, peer, reason="asked"):
        self._send(f"sync.request/{peer}", reason.encode())

    def _open(self, name, frames):
        """Topic, envelope and body of what is well formed."""
        if len(frames) != 3:
            raise WireError("not three frames")
        topic = frames[0].decode("ascii", "replace")
        if not TOPIC.fullmatch(topic) or len(topic) > TABLE["max_topic_bytes"]:
            raise WireError("malformed topic")
        envelope = decode_record(TABLE["envelope"], frames[1])
        if envelope["version"] > VERSION:
            raise WireError("a later major version of the protocol")
        if envelope["publisher"] != name:
            raise WireError("the envelope names another publisher than the endpoint's")
        return topic, envelope, frames[2]

    def _note_epoch(self, name, peer, epoch):
        if peer.epoch != epoch:
            peer.epoch, peer.seen = epoch, {}
            self.epochs.append((name, epoch))

    def _note_number(self, name, peer, kind, which, number):
        """False for a live message that was here before."""
        last = peer.seen.get((kind, which))
        if last is not None and number <= last:
            return which != "seq"
        if last is not None and number != last + 1:
            self.gaps.append((name, kind, which, last + 1, number))
            self.request_sync(name, "gap")
        peer.seen[kind, which] = number
        return True

    def _note_mark(self, name, peer, body):
        mark = decode_record(TABLE["sync.mark"], body)
        if mark.get("full"):
            self.full_marks.append(name)
        for which in ("seqs", "replay_seqs"):
            for kind, number in zip(mark.get("types", []), mark.get(which, [])):
                last = peer.seen.get((kind, which[:-1]))
                if last is not None and number > last:
                    self.gaps.append((name, kind, which[:-1], last + 1, number + 1))
                    self.request_sync(name, "mark")
                    peer.seen[kind, which[:-1]] = number

    def _receive(self, name, frames):
        peer = self.peers[name]
        topic, envelope, body = self._open(name, frames)
        self._note_epoch(name, peer, envelope["epoch"])
        if topic == "sync.mark":
            self._note_mark(name, peer, body)
        elif topic == f"sync.request/{self.name}":
            self.requests.append(name)
            self._replay("")
            self._mark(full=True)
        if topic.startswith("sync."):
            return None
        kind, replayed = topic.split("/")[0], envelope.get("replayed", False)
        which = "replay_seq" if replayed else "seq"
        if not self._note_number(name, peer, kind, which, envelope.get(which, 0)):
            return None
        values = decode(topic, body)
        return None if values is None else Message(name, topic, values, replayed, envelope)

    def poll(self, seconds=0.1):
        """Messages that came within the time; returns with the first ones."""
        if time.monotonic() >= self.next_mark:
            self._mark()
            self.next_mark = time.monotonic() + self.mark_seconds
        names = {peer.socket: name for name, peer in self.peers.items()}
        heard = []
        for socket, _ in self.poller.poll(seconds * 1000):
            frames = socket.recv_multipart()
            if socket is self.publisher:
                self._answer_subscription(frames[0])
                continue
            try:
                message = self._receive(names[socket], frames)
            except WireError as error:
                self.rejected.append(str(error))
            else:
                heard += [message] if message else []
        return heard

    def wait(self, condition, seconds=20):
        """Polls until condition(message) is true of one, and returns that."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for message in self.poll():
                if condition(message):
                    return message
        raise TimeoutError(f"{self.name}: not within {seconds} s")
