#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_services.py BIN: the second implementation speaks to the real services, which have their fake backends."""

import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from pathlib import Path

try:
    import msgpack

    from alkaid_bus import TABLE, VERSION, Bus, Numbers, encode, encode_record, topic_of
except ImportError as error:
    print(f"skipped: {error} (Debian: python3-zmq, python3-msgpack)")
    sys.exit(77)

BIN = Path(".")


class Service:
    def __init__(self, name, directory, *options):
        self.command = [
            BIN / f"alkaid-{name}",
            f"--bus-dir={directory}/bus",
            f"--state-dir={directory}/{name}",
            "--node-name=wire",
            "--log-level=error",
            *options,
        ]
        self.process = subprocess.Popen(self.command)

    def restart(self):
        self.process.kill()
        self.process.wait(30)
        self.process = subprocess.Popen(self.command)

    def stop(self):
        assert self.process.poll() is None, f"ended by itself with {self.process.returncode}"
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0


class Case(unittest.TestCase):
    service, options, peers = "", (), ()

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="alkaid-wire-")
        self.addCleanup(scratch.cleanup)
        self.directory = Path(scratch.name)
        (self.directory / "bus").mkdir(mode=0o700)
        (self.directory / "image.raw").write_bytes(bytes(1 << 20))
        self.buses = {}
        for peer in self.peers:
            self.buses[peer] = Bus(self.directory / "bus", peer)
            self.addCleanup(self.buses[peer].close)
            self.buses[peer].subscribe(
                self.service, *[f"{kind}/" for kind, m in TABLE["messages"].items() if m["publisher"] == self.service]
            )
        self.watcher = self.buses["watcher"]
        self.pod, self.port = str(uuid.uuid4()), str(uuid.uuid4())

    def start(self):
        options = [option.format(dir=self.directory) for option in self.options]
        service = Service(self.service, self.directory, *options)
        self.addCleanup(service.stop)
        self.until(lambda: all(bus.subscriptions and bus.epochs for bus in self.buses.values()))  # both ways
        return service

    def until(self, condition, seconds=30):
        """Polls all; messages that come meanwhile are kept."""
        heard = []
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, "not in time")
            for bus in self.buses.values():
                heard += bus.poll(0.01)
        return heard

    def wait(self, kind, not_of=None, **values):
        """A message of this kind with these values; not_of: an epoch that does not count."""

        def matches(m):
            return (
                m.kind == kind
                and m.envelope["epoch"] != not_of
                and all(m.values.get(k) == v for k, v in values.items())
            )

        found = []
        deadline = time.monotonic() + 30
        while not found:
            self.assertLess(time.monotonic(), deadline, f"no {kind} with {values}")
            for bus in self.buses.values():
                found += [m for m in bus.poll(0.01) if matches(m)]
        return found[0]

    def tearDown(self):
        for bus in self.buses.values():
            self.assertEqual(bus.rejected, [])

    def nic_diff(self, wanted="present", generation=1, port=None, **more):
        return {
            "pod_uid": self.pod,
            "nic": "eth0",
            "port_id": port or self.port,
            "generation": generation,
            "pod_namespace": "default",
            "pod_name": "vm",
            "wanted": wanted,
            "mac": "06:00:00:00:00:01",
            "addresses": ["10.0.0.5/24"],
            "vpc": "v",
            "vpc_id": "a3f1c2d4-0000-4000-8000-000000000001",
            "subnet": "s",
            "subnet_id": "a3f1c2d4-0000-4000-8000-000000000002",
            "cidr": "10.0.0.0/24",
            "gateway": "10.0.0.1",
            **more,
        }


class Network(Case):
    service, options, peers = "network", ("--backend=fake",), ("watcher", "hypervisor")

    def test_a_port_lives(self):
        self.start()
        self.watcher.publish("nic.diff", self.nic_diff())
        ready = self.wait("port.status", state="ready", port_id=self.port)
        self.assertEqual(ready.values["generation"], 1)
        self.assertEqual(ready.values["ifname"], "ak" + self.port.replace("-", "")[:13])
        # Twice: answered again.
        self.watcher.publish("nic.diff", self.nic_diff())
        self.wait("port.status", state="ready", port_id=self.port)
        # Unwanted, but nobody saw the VM let go of it.
        self.watcher.publish("nic.diff", self.nic_diff("absent", 2))
        self.wait("port.status", state="held", generation=2)
        status = {"pod_uid": self.pod, "nic": "eth0", "port_id": self.port, "generation": 2, "state": "detached"}
        self.buses["hypervisor"].publish("nic.status", status)
        self.wait("port.status", state="released", generation=2)
        # An older wish overrides nothing.
        self.watcher.publish("nic.diff", self.nic_diff("present", 1))
        self.watcher.publish("nic.diff", self.nic_diff("absent", 2))
        self.wait("port.status", state="released", generation=2)

    def test_who_comes_late_is_told(self):
        self.watcher.publish("nic.diff", self.nic_diff())
        self.start()  # its subscription brings it the wish
        self.wait("port.status", state="ready")
        with Bus(self.directory / "bus", "late") as late:
            late.subscribe("network", "port.status/")
            message = late.wait(lambda m: m.kind == "port.status")
            self.assertTrue(message.replayed)
            self.assertEqual(message.values["state"], "ready")
            self.assertEqual(late.gaps, [])

    def test_sync_request_is_answered(self):
        self.start()
        ports = [str(uuid.uuid4()) for _ in range(5)]
        for port in ports:
            self.watcher.publish("nic.diff", self.nic_diff(port=port))
        ready = set()
        while len(ready) < len(ports):
            ready.add(self.wait("port.status", state="ready").values["port_id"])
        self.until(lambda: "sync.request/network" in self.watcher.subscriptions)
        before = len(self.watcher.full_marks)
        self.watcher.request_sync("network")
        heard = self.until(lambda: len(self.watcher.full_marks) > before)
        again = {m.values["port_id"] for m in heard if m.replayed and m.kind == "port.status"}
        self.assertEqual(again, set(ports))

    def test_a_gap_is_asked_about(self):
        self.start()
        self.watcher.publish("nic.diff", self.nic_diff())
        self.wait("port.status", state="ready")
        other = str(uuid.uuid4())
        # Said, but lost on the way: it is in the last values only.
        body = encode("nic.diff", self.nic_diff(port=other))
        self.watcher.numbers["nic.diff"].seq += 1
        self.watcher.last[topic_of("nic.diff", self.nic_diff(port=other))] = (
            self.watcher.numbers["nic.diff"].seq,
            "",
            body,
        )
        self.watcher.publish("nic.diff", self.nic_diff())
        self.wait("port.status", state="ready", port_id=other)
        self.assertEqual(self.watcher.requests[:1], ["network"])

    def test_a_restart_is_seen(self):
        service = self.start()
        self.watcher.publish("nic.diff", self.nic_diff())
        first = self.wait("port.status", state="ready")
        service.restart()
        # Nobody repeats the wish: the new one is told with the last values.
        self.wait("port.status", not_of=first.envelope["epoch"], state="ready")

    def test_versions(self):
        self.start()
        envelope = {"version": VERSION, "publisher": "watcher", "epoch": self.watcher.epoch, "seq": 1}
        topic = topic_of("nic.diff", self.nic_diff()).encode()
        body = encode("nic.diff", self.nic_diff())
        # A later major version: refused whole.
        later = encode_record(TABLE["envelope"], {**envelope, "version": VERSION + 1})
        self.watcher.send_raw(topic, later, body)
        # A later minor one, with fields that are not known and a type that is not known: ignored.
        known = msgpack.packb({**envelope, "later": {"a": [1]}})
        other = str(uuid.uuid4())
        values = self.nic_diff(port=other)
        self.watcher.send_raw(b"nic.later/x", known, b"\xc1")
        self.watcher.send_raw(
            topic_of("nic.diff", values).encode(),
            known,
            msgpack.packb({**msgpack.unpackb(encode("nic.diff", values)), "later": [None]}),
        )
        self.watcher.numbers["nic.diff"] = Numbers(seq=1)
        first = self.wait("port.status", state="ready")
        self.assertEqual(first.values["port_id"], other)

    def test_rubbish_does_no_harm(self):
        self.start()
        good = encode_record(
            TABLE["envelope"], {"version": VERSION, "publisher": "watcher", "epoch": self.watcher.epoch, "seq": 1}
        )
        topic = topic_of("nic.diff", self.nic_diff()).encode()
        body = encode("nic.diff", self.nic_diff())
        for frames in (
            [topic],
            [topic, good],
            [topic, good, body, b"more"],
            [topic, b"", body],
            [topic, b"\xc1" * 100, body],
            [topic, good, b""],
            [topic, good, body[:-1]],
            [topic, good, b"\x81" * 10000],
            [topic, good, b"\xdf\xff\xff\xff\xff"],
            [topic + b"x", good, body],
            [b"nic.diff/\xff\x00", good, body],
            [b"nic.diff/" + b"x" * 300, good, body],
            [topic, good, msgpack.packb({"pod_uid": self.pod, "port_id": self.port, "wanted": 7})],
        ):
            self.watcher.send_raw(*frames)
        self.watcher.numbers["nic.diff"] = Numbers(seq=50)
        self.watcher.publish("nic.diff", self.nic_diff())
        self.wait("port.status", state="ready", port_id=self.port)


class Hypervisor(Case):
    service = "hypervisor"
    options = ("--driver=fake", "--image-dir={dir}")
    peers = ("watcher", "network")

    def port_status(self, generation=1):
        return {
            "pod_uid": self.pod,
            "nic": "eth0",
            "port_id": self.port,
            "generation": generation,
            "state": "ready",
            "ifname": "tap0",
            "ifindex": 7,
            "mac": "06:00:00:00:00:01",
            "mtu": 1500,
        }

    def vm_diff(self, wanted="running", generation=1):
        return {
            "pod_uid": self.pod,
            "pod_namespace": "default",
            "pod_name": "vm",
            "generation": generation,
            "wanted": wanted,
            "vm_name": "vm",
            "image": f"{self.directory}/image.raw",
            "cpu_milli": 1000,
            "memory_bytes": 128 << 20,
            "nic_slots": 8,
            "boot_ports": [self.port],
        }

    def test_a_vm_lives(self):
        self.start()
        self.watcher.publish("vm.diff", self.vm_diff())
        self.watcher.publish("nic.diff", self.nic_diff())
        self.wait("vm.status", phase="waiting")  # for the port
        self.buses["network"].publish("port.status", self.port_status())
        self.wait("vm.status", phase="running")
        ready = self.wait("nic.status", state="ready")
        self.assertEqual(ready.values["device_alias"], f"ua-{self.port}")
        # Twice: answered again.
        self.watcher.publish("nic.diff", self.nic_diff())
        self.wait("nic.status", state="ready")
        self.watcher.publish("nic.diff", self.nic_diff("absent", 2))
        self.wait("nic.status", state="detached", generation=2)
        self.watcher.publish("vm.diff", self.vm_diff("absent", 3))
        self.wait("vm.status", phase="absent", generation=3)

    @unittest.skipIf(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096, "too few descriptors are allowed")
    def test_more_vms_than_zeromq_has_sockets_for(self):
        """Each has an actor, which is two sockets; the default of a process is 1,023."""
        self.start()
        running = set()

        def count():
            for bus in self.buses.values():
                for m in bus.poll(0.01):
                    if m.kind == "vm.status" and m.values["phase"] == "running":
                        running.add(m.values["pod_uid"])

        for batch in range(6):
            for _ in range(100):
                self.watcher.publish("vm.diff", {**self.vm_diff(), "pod_uid": str(uuid.uuid4()), "boot_ports": []})
            deadline = time.monotonic() + 60
            while len(running) < 100 * (batch + 1):
                self.assertLess(time.monotonic(), deadline, f"{len(running)} VMs run")
                count()


if __name__ == "__main__":
    BIN = Path(sys.argv.pop(1)).resolve()
    sys.exit(unittest.main())
