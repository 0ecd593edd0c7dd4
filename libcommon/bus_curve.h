/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CURVE for the bus's tcp sockets: who may connect to ours, and that a peer is who it should be.
 *
 * Our publisher is a CURVE server. Each connection is put to ZeroMQ's authentication protocol (ZAP, RFC 27),
 * and the answer is made here, in the bus's own loop: the key must be in the directory of certificates, with
 * a role that may listen. Where we connect, the peer must have the key that the directory has for its name,
 * and that certificate the role of that name; so another service's key, though good in itself, is of no use
 * for it.
 *
 * libzmq has one place for a ZAP handler per process, so one bus per process may listen on tcp.
 */
#pragma once

#include "libcommon/bus_internal.h"

struct bus_curve;

/* 0, or negative errno after a log line. */
int bus_curve_new(struct bus_curve **out, struct ak_bus *bus, const struct ak_bus_options *options);
struct bus_curve *bus_curve_free(struct bus_curve *curve);
/* Before the publisher's bind: -EADDRINUSE where another bus of this process listens on tcp. */
int bus_curve_serve(struct bus_curve *curve, zsock_t *pub);
/* Before a connect. -EACCES: the certificate's role is not the peer's name. */
int bus_curve_connect(struct bus_curve *curve, zsock_t *sub, const char *peer);
