/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named network namespaces, as ip-netns(8) keeps them: a bind mount of the namespace in /run/netns/NAME.
 *
 * No thread of the service ever changes its namespace: what must run inside one runs in a thread made for it
 * that ends with it (netns_run). A thread that is lost in the wrong namespace is thus impossible.
 */
#pragma once

#define NETNS_DIR "/run/netns"

/* The namespace's fd, to be closed; -ENOENT. */
int netns_open(const char *name);
/* Makes it and opens it; -EEXIST. lo is down in it, forwarding off. */
int netns_create(const char *name);
/* Takes the name away; the namespace ends with its last user. 0 as well when there is none. */
int netns_remove(const char *name);
/* Runs fn(arg) in a thread inside the namespace and returns its result. */
int netns_run(int ns_fd, int (*fn)(void *arg), void *arg);
