/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bugs that are put in on purpose, one for each invariant of the simulation, to prove that it finds them.
 * They exist in alkaid-sim-planted alone (tests/sim/CMakeLists.txt); elsewhere AK_PLANTED() is false at
 * compile time.
 */
#pragma once

#include <stdbool.h>

#define AK_PLANTS(P)                                                                                         \
        P(attach_early)      /* the hypervisor does not wait for the port */                                 \
        P(release_early)     /* the network service does not wait for the guest */                           \
        P(free_early)        /* the apiserver frees a port with the NIC's removal from the list */           \
        P(two_operations)    /* the hypervisor detaches while an operation on the NIC is under way */        \
        P(user_port_deleted) /* the apiserver deletes a user's port as if it were its own */                 \
        P(address_reused)    /* the apiserver hands out an address that a port still holds */                \
        P(ready_on_attach)   /* the hypervisor does not ask for the guest's driver */                        \
        P(silence_is_no)     /* the hypervisor takes a NIC that nobody has spoken of for unwanted */         \
        P(tap_left)          /* the network service forgets a port that it was killed with */                \
        P(never_again)       /* the watcher tries once */

#ifdef ALKAID_PLANTED
#include <string.h>

extern const char *ak_planted; /* "" = none */
/* False when there is no such bug. */
bool ak_plant(const char *bug);
#define AK_PLANTED(bug) (strcmp(ak_planted, #bug) == 0)
#else
#define ak_planted ""
static inline bool ak_plant(const char *bug)
{
        (void)bug;
        return false;
}
#define AK_PLANTED(bug) false
#endif
