/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of alkaidctl: one table (main.c), one file each. */
#pragma once

#include <stddef.h>

/* Exit codes, the same for all. */
enum ctl_exit {
        CTL_OK = 0,
        CTL_FAILED = 1,      /* it could not be done; standard error says why */
        CTL_USAGE = 2,       /* wrong command line */
        CTL_DIFFERS = 3,     /* replay --check: the core does something else than it did */
        CTL_UNREACHABLE = 4, /* bus directory, API server or console cannot be reached */
};

struct ctl_command {
        const char *name, *summary;
        /* argv[0] is the subcommand's name. */
        int (*run)(int argc, char **argv);
};

int ctl_tap_main(int argc, char **argv);
int ctl_record_main(int argc, char **argv);
int ctl_show_main(int argc, char **argv);
int ctl_stats_main(int argc, char **argv);
int ctl_replay_main(int argc, char **argv);
int ctl_console_main(int argc, char **argv);
int ctl_nic_main(int argc, char **argv);
int ctl_cert_main(int argc, char **argv);
int ctl_token_main(int argc, char **argv);
int ctl_keys_main(int argc, char **argv);
int ctl_node_main(int argc, char **argv);
int ctl_trace_main(int argc, char **argv);
int ctl_doctor_main(int argc, char **argv);
int ctl_bundle_main(int argc, char **argv);
int ctl_backup_main(int argc, char **argv);
int ctl_restore_main(int argc, char **argv);

/* "alkaidctl: COMMAND: …" on standard error; returns `code`. */
int ctl_fail(int code, const char *command, const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));
