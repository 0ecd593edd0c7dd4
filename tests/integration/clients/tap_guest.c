/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap-guest NAME TAP MAC: a guest without a VM on a tap of the network service, for suites that run it with
 * the fake hypervisor: a network namespace whose eth0 is wired to the tap, as QEMU would do it, and has its
 * address by DHCP. Prints the namespace's name and the lease once it has one, and stays until SIGTERM or
 * SIGINT.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "services/network/test_guest.h"

#define DHCP_TRIES 30

int main(int argc, char **argv)
{
        char lease[256], name[256];
        sigset_t stop;
        int signal;

        if (argc != 4) {
                fprintf(stderr, "usage: tap-guest NAME TAP MAC\n");
                return 2;
        }
        (void)sigemptyset(&stop);
        (void)sigaddset(&stop, SIGTERM);
        (void)sigaddset(&stop, SIGINT);
        (void)sigprocmask(SIG_BLOCK, &stop, NULL); /* before the guest's thread: it is sigwait's */
        struct guest *g = guest_new(argv[1], argv[2], argv[3]);
        if (!g)
                return 1;
        bool got = guest_dhcp(g, DHCP_TRIES, lease, sizeof(lease));
        if (got && guest_run(g, name, sizeof(name), RUN("ip", "netns", "identify")) == 0) {
                name[strcspn(name, "\n")] = '\0';
                printf("%s %s", name, lease);
                (void)fflush(stdout);
                (void)sigwait(&stop, &signal);
        }
        guest_free(g);
        return got ? 0 : 1;
}
