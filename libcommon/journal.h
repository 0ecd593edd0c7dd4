/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a core: what went into it and what came out, as JSON lines, so that a run can be replayed
 * offline into a fresh core (`alkaidctl replay`) and its actions compared.
 *
 *   {"journal":1,"service":"network","part":1,"config":{…}}      a run starts (or goes on in a new file)
 *   {"t":812345,"real":1700000000123456,"event":{…}}             x_core_step(core, event, t, real, …)
 *   {"t":812345,"actions":[…]}                                   what that step asked for; left out when []
 *
 * A shell writes an event *before* it steps the core, so that the event that kills a core is in the file.
 * With a journal on, a step is:
 *
 *   if (shell->journal)
 *           ak_journal_event(shell->journal, now_us, real_us, x_event_to_json(event));
 *   r = x_core_step(core, event, now_us, real_us, &actions);
 *   if (shell->journal)
 *           ak_journal_actions(shell->journal, now_us, x_actions_to_json(&actions));
 *
 * The file is bounded: at max_bytes it becomes FILE.1 (an older FILE.1 is dropped) and a new FILE starts
 * with part + 1. A run can be replayed while its part 1 is there. Several runs may follow each other in one
 * file. Mode 0600: events hold what users sent. A write error ends the journal with a log line, never the
 * service.
 *
 * Not thread-safe: belongs to the thread that steps the core.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcommon/cleanup.h"

#define AK_JOURNAL_VERSION   1
#define AK_JOURNAL_MAX_BYTES (UINT64_C(64) << 20) /* default bound of one file */
#define AK_JOURNAL_MAX_LINE  (UINT32_C(8) << 20)

struct ak_journal;

/*
 * Opens (creates, appends to) `path`, or SERVICE.jsonl in it where it is a directory (so that one setting
 * does for all services of a node), and writes the header of a run. Takes the reference of `config`: what
 * the core was made with, as the replayer needs it. max_bytes 0 = AK_JOURNAL_MAX_BYTES. Negative errno.
 */
int ak_journal_new(struct ak_journal **out, const char *path, const char *service, json_t *config,
                   uint64_t max_bytes);
struct ak_journal *ak_journal_free(struct ak_journal *j);
AK_DEFINE_CLEANUP(struct ak_journal *, ak_journal_free)

/* Both take the reference of the JSON; NULL of either argument does nothing. */
void ak_journal_event(struct ak_journal *j, uint64_t now_us, uint64_t real_us, json_t *event);
void ak_journal_actions(struct ak_journal *j, uint64_t now_us, json_t *actions);

/* ------------------------------------------------------------------ reading */

enum ak_journal_kind { AK_JOURNAL_HEADER, AK_JOURNAL_EVENT, AK_JOURNAL_ACTIONS };

struct ak_journal_line {
        enum ak_journal_kind kind;
        uint64_t now_us, real_us;
        json_t *body;     /* config, event or actions; owned */
        char service[32]; /* header */
        uint64_t part;    /* header */
};
void ak_journal_line_deinit(struct ak_journal_line *line);

struct ak_journal_reader;
#define AK_JOURNAL_ERROR_SIZE 256
int ak_journal_reader_new(struct ak_journal_reader **out, const char *path);
struct ak_journal_reader *ak_journal_reader_free(struct ak_journal_reader *r);
AK_DEFINE_CLEANUP(struct ak_journal_reader *, ak_journal_reader_free)
/*
 * 1 and a line; 0 at the end; -EBADMSG with a text that names file and line. A last line without its
 * newline is the end (the writer was killed), told by ak_journal_reader_torn().
 */
int ak_journal_read(struct ak_journal_reader *r, struct ak_journal_line *out,
                    char error[AK_JOURNAL_ERROR_SIZE]);
bool ak_journal_reader_torn(const struct ak_journal_reader *r);
