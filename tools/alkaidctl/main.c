/* SPDX-License-Identifier: Apache-2.0 */
#include <libgen.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "tools/alkaidctl/command.h"

static const struct ctl_command commands[] = {
    {"tap", "show what is said on the node's bus, live", ctl_tap_main},
    {"record", "write what is said on the bus to a capture file", ctl_record_main},
    {"show", "print capture files", ctl_show_main},
    {"stats", "rates, losses and ages on the node's bus", ctl_stats_main},
    {"replay", "feed a journal or a capture to a core, offline, or to a live service", ctl_replay_main},
    {"trace", "draw the way of a NIC's last change, from the write to the guest", ctl_trace_main},
    {"console", "attach the terminal to a VM's serial console", ctl_console_main},
    {"nic", "list, attach and detach the NICs of a VM pod", ctl_nic_main},
    {"cert", "issue, renew and revoke client certificates", ctl_cert_main},
    {"token", "issue bearer tokens", ctl_token_main},
    {"doctor", "look whether this host and its services are in order", ctl_doctor_main},
    {"support-bundle", "gather what helps to understand a fault, without secrets", ctl_bundle_main},
    {"backup", "write the apiserver's store to a file, while it runs", ctl_backup_main},
    {"restore", "put a backup in the place of the store", ctl_restore_main},
    {"node", "join this machine as a node", ctl_node_main},
    {"keys", "certificates of a bus over tcp", ctl_keys_main},
};

static void usage(FILE *out)
{
        (void)fputs("Usage: alkaidctl COMMAND [OPTION]... [OPERAND]...\n"
                    "Looks into an Alkaid node: its bus, its services' decisions, its VMs.\n\nCommands:\n",
                    out);
        for (size_t i = 0; i < AK_ARRAY_SIZE(commands); i++)
                (void)fprintf(out, "  %-14s %s\n", commands[i].name, commands[i].summary);
        (void)fputs("\n`alkaidctl COMMAND --help` tells the options of a command.\n"
                    "As kubectl-nic it is the plugin behind `kubectl nic`.\n\n"
                    "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 replay differs, 4 unreachable.\n",
                    out);
}

static int unknown(const char *name)
{
        (void)fprintf(stderr, "alkaidctl: unknown command '%s'; `alkaidctl --help` lists them\n", name);
        return CTL_USAGE;
}

int main(int argc, char **argv)
{
        if (argc > 0 && strcmp(basename(argv[0]), "kubectl-nic") == 0)
                return ctl_nic_main(argc, argv);
        if (argc < 2) {
                usage(stderr);
                return CTL_USAGE;
        }
        if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
                usage(stdout);
                return CTL_OK;
        }
        if (strcmp(argv[1], "--version") == 0) {
                (void)printf("alkaidctl %s\n", ALKAID_VERSION);
                return CTL_OK;
        }
        for (size_t i = 0; i < AK_ARRAY_SIZE(commands); i++)
                if (strcmp(argv[1], commands[i].name) == 0)
                        return commands[i].run(argc - 1, argv + 1);
        return unknown(argv[1]);
}
