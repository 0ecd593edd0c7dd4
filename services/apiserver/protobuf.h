/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies that stock clients send as application/vnd.kubernetes.protobuf, read into JSON. Go clients, kubectl
 * 1.32 among them, write built-in kinds so and do not fall back to JSON when a server answers 415, so
 * `kubectl create namespace` or `auth can-i` would not work without. Answers are always JSON, which such a
 * client lists in its Accept header. Kinds with fields of our own (Pod, Node, …) are JSON only: a stock
 * client's types do not know those fields.
 *
 * Pure; the messages are those of kube.proto, walked by protobuf-c's descriptors.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

/* Small numbers of bytes make large structs, so these bodies have a bound of their own. */
#define PROTOBUF_MAX        ((size_t)256 << 10)
#define PROTOBUF_ERROR_SIZE 256

/*
 * `bytes`: the four bytes "k8s\0", then the envelope. 0 with a new reference; -EINVAL for what is malformed,
 * -ENOTSUP for a kind that is not read, -E2BIG, -ENOMEM; error says so for a person.
 */
int protobuf_to_json(const void *bytes, size_t len, json_t **out, char error[PROTOBUF_ERROR_SIZE]);
