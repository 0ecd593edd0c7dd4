/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for tests: a network namespace with a NIC whose frames go in and out of a port's tap, as QEMU
 * would carry them. So a real IP stack and a real DHCP client speak over the real tap.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct guest;

/*
 * Puts the calling process, before it has threads, into a host of its own: network and mount namespaces, no
 * names in /run/netns. So tests never meet each other's, nor leave a link behind. 0 or a negative errno.
 */
int host_isolate(void);

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
/* The MTU that the guest's NIC has. */
int guest_mtu(struct guest *g);
/* A socket of the guest, as socket(2); closed by the caller. */
int guest_socket(struct guest *g, int domain, int type, int protocol);
/* A TCP connection of the guest to "10.0.0.1" or "fd00::1", or a negative errno after timeout_ms. */
int guest_connect(struct guest *g, const char *address, uint16_t port, int timeout_ms);
/* A listening TCP, or bound UDP, socket of the guest, IPv4 and IPv6. */
int guest_listen(struct guest *g, int type, uint16_t port);
/* Puts a frame of `len` bytes on the wire behind the guest's NIC's back. */
int guest_send_frame(struct guest *g, const void *frame, size_t len);
/* A program in the guest that goes on until guest_end() or the guest's end; its pid, or -1. */
pid_t guest_spawn(struct guest *g, const char *const argv[]);
void guest_end(struct guest *g, pid_t pid, int signal);
void guest_set_address(struct guest *g, const char *cidr);

#define RUN(...) ((const char *const[]){__VA_ARGS__, NULL})
