#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every vector of proto/vectors through the second implementation: same values, same bytes."""

import json
import sys
import unittest
from pathlib import Path

try:
    import msgpack

    import alkaid_bus as bus
except ImportError as error:
    print(f"skipped: {error} (Debian: python3-zmq, python3-msgpack)")
    sys.exit(77)

VECTORS = Path(__file__).parents[2] / "proto/vectors"
NAMES = sorted(path.stem for path in VECTORS.glob("*.json"))
BUS_RECORDS = {"bus_envelope": "envelope", "sync_mark": "sync.mark"}


def read(name):
    values = json.loads((VECTORS / f"{name}.json").read_text())
    kind = values.pop("type", None)
    return kind, values, (VECTORS / f"{name}.msgpack").read_bytes()


class Vectors(unittest.TestCase):
    def test_there_is_one_of_each(self):
        kinds = {read(name)[0] for name in NAMES if name not in BUS_RECORDS}
        self.assertEqual(kinds, set(bus.TABLE["messages"]))
        self.assertLessEqual(set(BUS_RECORDS), set(NAMES))

    def test_decode(self):
        for name in NAMES:
            with self.subTest(name):
                kind, values, data = read(name)
                if name in BUS_RECORDS:
                    self.assertEqual(bus.decode_record(bus.TABLE[BUS_RECORDS[name]], data), values)
                else:
                    self.assertEqual(bus.decode(bus.topic_of(kind, values), data), values)

    def test_encode(self):
        for name in NAMES:
            with self.subTest(name):
                kind, values, data = read(name)
                if name in BUS_RECORDS:
                    self.assertEqual(bus.encode_record(bus.TABLE[BUS_RECORDS[name]], values), data)
                else:
                    self.assertEqual(bus.encode(kind, values), data)

    def test_an_unknown_field_is_ignored(self):
        for name in NAMES:
            kind, values, data = read(name)
            later = msgpack.packb({**msgpack.unpackb(data), "later": [1, {"a": None}]})
            if name not in BUS_RECORDS:
                self.assertEqual(bus.decode(bus.topic_of(kind, values), later), values)

    def test_what_is_refused(self):
        kind, values, data = read("nic_diff")
        topic = bus.topic_of(kind, values)
        for change in (
            {"pod_uid": "x" * 64},
            {"pod_uid": ""},
            {"wanted": "perhaps"},
            {"mtu": 65536},
            {"mtu": -1},
            {"mtu": "1500"},
            {"dhcp": 1},
            {"addresses": ["x"] * 9},
            {"addresses": "10.0.0.1/24"},
        ):
            with self.subTest(change), self.assertRaises(bus.WireError):
                bus.decode(topic, msgpack.packb({**msgpack.unpackb(data), **change}))
            with self.subTest(change), self.assertRaises(bus.WireError):
                bus.encode(kind, {**values, **change})
        with self.assertRaises(bus.WireError):
            bus.decode(topic + "x", data)
        for end in range(len(data)):
            with self.assertRaises(bus.WireError):
                bus.decode(topic, data[:end])


if __name__ == "__main__":
    sys.exit(unittest.main())
