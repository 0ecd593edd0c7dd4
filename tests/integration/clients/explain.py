# SPDX-License-Identifier: Apache-2.0
"""Has a kubectl explain every type that the API serves, down to its last field.

Usage: explain.py KUBECTL. Ends with 0, or an assertion says what is not explained.
"""
import json
import subprocess
import sys

PREFIX = "#/definitions/"


def kubectl(*words):
    return subprocess.run([sys.argv[1], *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def references(schema):
    """Types that a field's value is made of."""
    parts = [schema, schema.get("items", {}), schema.get("additionalProperties") or {}]
    return [part["$ref"][len(PREFIX):] for part in parts if isinstance(part, dict) and "$ref" in part]


def is_resource(name, definitions):
    """It has a list of its own; a Status has none."""
    return name + "List" in definitions


def fields_below(name, definitions, seen=()):
    """Names of the fields of a type and of all that it is made of."""
    for field, schema in definitions[name].get("properties", {}).items():
        yield field
        for reference in references(schema):
            if reference not in seen:
                yield from fields_below(reference, definitions, (*seen, reference))


def main():
    definitions = json.loads(kubectl("get", "--raw", "/openapi/v2"))["definitions"]
    for name, definition in definitions.items():
        assert definition.get("description"), f"{name} has no description"
        for field, schema in definition.get("properties", {}).items():
            assert schema.get("description"), f"{name}.{field} has no description"
    for name in filter(lambda name: is_resource(name, definitions), definitions):
        text = kubectl("explain", "--recursive", name.rsplit(".", 1)[1].lower())
        shown = {line.split()[0] for line in text.splitlines() if line.strip()}
        missing = set(fields_below(name, definitions)) - shown
        assert not missing, f"{name} does not show {missing}:\n{text}"
    timings = definitions["io.k8s.api.core.v1.NicTimings"]
    text = " ".join(kubectl("explain", "pod.status.nicStatuses.timings").split())
    for field, schema in timings["properties"].items():
        assert f"{field} <integer> {schema['description']}" in text, text


if __name__ == "__main__":
    main()
