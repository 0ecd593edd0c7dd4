/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine and the libraries do when nothing of ours is in the way. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Writes of 4 KiB per second, each waited for until it is on the disk, in the directory. */
double floor_syncs_per_second(const char *dir);

/* A server in a child process of its own; port as text. Ends with floor_stop(). */
struct floor_server {
        pid_t pid;
        int control; /* a byte written: floor_fanout() sends */
        char port[8];
};

/* libmicrohttpd, HTTPS, one thread: answers every request with `size` bytes. */
struct floor_server floor_http(const char *pki_dir, size_t size);
/* One thread that sends `size` bytes to each of `count` TLS connections for every byte on `control`. */
struct floor_server floor_fanout(const char *pki_dir, size_t count, size_t size);
void floor_stop(struct floor_server *server);
