/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for tests: a network namespace with a NIC whose frames go in and out of a port's tap, as QEMU
 * would carry them. So a real IP stack and a real DHCP client speak over the real tap.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct guest;

/* Opens the tap `ifname` and gives the guest's NIC eth0 this MAC. NULL on failure (printed). */
struct guest *guest_new(const char *name, const char *ifname, const char *mac);
struct guest *guest_free(struct guest *g);
/* Runs a program in the guest; its exit code, -1 when it could not be run. `output` may be NULL. */
int guest_run(struct guest *g, char *output, size_t size, const char *const argv[]);
/* Runs a program on the host. */
int host_run(char *output, size_t size, const char *const argv[]);
/* "ip=… mask=… router=… dns=… mtu=… lease=…", and the address is set. False: no lease within `tries` s. */
bool guest_dhcp(struct guest *g, int tries, char *lease, size_t size);
bool guest_ping(struct guest *g, const char *address);
void guest_set_address(struct guest *g, const char *cidr);

#define RUN(...) ((const char *const[]){__VA_ARGS__, NULL})
