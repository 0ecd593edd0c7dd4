/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/trace_journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-journal.h>

#include "libcommon/cleanup.h"

#define FIELD     "MESSAGE="
#define LINE_SIZE 16384

static const char *const programs[] = {
    "SYSLOG_IDENTIFIER=alkaid-apiserver",
    "SYSLOG_IDENTIFIER=alkaid-watcher",
    "SYSLOG_IDENTIFIER=alkaid-network",
    "SYSLOG_IDENTIFIER=alkaid-hypervisor",
};

static void close_journal(sd_journal **journal)
{
        sd_journal_close(*journal);
}

static int fail(char *error, int r, const char *what)
{
        (void)snprintf(error, CTL_JOURNAL_ERROR_SIZE, "%s: %s", what, strerror(-r));
        return r;
}

/* Without a file to read sd-journal opens nothing, and says nothing. */
static int check_any(sd_journal *journal, const char *directory, char *error)
{
        uint64_t bytes = 0;
        int r = sd_journal_get_usage(journal, &bytes);

        if (r < 0)
                return fail(error, r, "journal");
        if (bytes > 0)
                return 0;
        (void)snprintf(
            error, CTL_JOURNAL_ERROR_SIZE,
            "%s has no journal that you may read (group systemd-journal); give the services' logs with "
            "--log",
            directory ? directory : "this machine");
        return -ENOENT;
}

static int open_journal(const char *directory, sd_journal **out, char *error)
{
        AK_CLEANUP(close_journal) sd_journal *journal = NULL;
        int r = directory ? sd_journal_open_directory(&journal, directory, 0)
                          : sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY);

        if (r < 0)
                return fail(error, r, directory ? directory : "journal");
        r = check_any(journal, directory, error);
        if (r < 0)
                return r;
        for (size_t i = 0; r == 0 && i < AK_ARRAY_SIZE(programs); i++)
                r = sd_journal_add_match(journal, programs[i], 0); /* of one field: any of them */
        if (r < 0)
                return fail(error, r, "journal");
        *out = AK_STEAL(journal);
        return 0;
}

static int take_entry(sd_journal *journal, ctl_journal_line_fn *take, void *arg)
{
        char line[LINE_SIZE];
        const void *data;
        size_t len;
        int r = sd_journal_get_data(journal, "MESSAGE", &data, &len);

        if (r == -ENOENT || r == -EBADMSG) /* has none; is torn */
                return 0;
        if (r < 0)
                return r;
        len -= strlen(FIELD);
        if (len >= sizeof(line)) /* no line of ours */
                return 0;
        memcpy(line, (const char *)data + strlen(FIELD), len);
        line[len] = '\0';
        return take(line, arg);
}

int ctl_journal_read(const char *directory, uint64_t since_us, ctl_journal_line_fn *take, void *arg,
                     char error[CTL_JOURNAL_ERROR_SIZE])
{
        AK_CLEANUP(close_journal) sd_journal *journal = NULL;
        int r = open_journal(directory, &journal, error);

        if (r < 0)
                return r;
        r = since_us ? sd_journal_seek_realtime_usec(journal, since_us) : sd_journal_seek_head(journal);
        while (r >= 0 && (r = sd_journal_next(journal)) > 0) {
                r = take_entry(journal, take, arg);
                if (r != 0)
                        break;
        }
        return r < 0 ? fail(error, r, "journal") : r;
}
