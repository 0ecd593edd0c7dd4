/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console stream, beside the bus: the hypervisor service binds a ROUTER at DIR/hypervisor-console; a
 * client (apiserver for kubectl attach and logs, alkaidctl) connects a DEALER, one per session.
 *
 * Frames, client to service:  [op] [argument]
 *   open    pod UID     start; answered by "opened" or "error"
 *   log     UID N T     the last N lines (-1 = all) since T, microseconds of the epoch: answered by
 *                       "data", then "opened" without scrollback, then "data" of what follows, each
 *                       line with its RFC 3339 time and a blank before it; or by "error"
 *   data    bytes       keyboard input
 *   close   (empty)
 *   ping    (empty)     at least every 30 s, or the session ends
 * Service to client:
 *   opened  scrollback  up to the last 64 KiB of output
 *   data    bytes       output
 *   error   text        no such VM, too many sessions, …; the session is over
 *   closed  reason      the VM went away; the session is over
 *   pong    (empty)
 */
#pragma once

#define AK_CONSOLE_ENDPOINT     "hypervisor-console" /* below the bus directory */
#define AK_CONSOLE_SCROLLBACK   65536
#define AK_CONSOLE_MAX_DATA     16384 /* one data frame */
#define AK_CONSOLE_MAX_SESSIONS 256
#define AK_CONSOLE_IDLE_US      (UINT64_C(30) * 1000 * 1000)

#define AK_CONSOLE_OP_OPEN   "open"
#define AK_CONSOLE_OP_LOG    "log"
#define AK_CONSOLE_OP_DATA   "data"
#define AK_CONSOLE_OP_CLOSE  "close"
#define AK_CONSOLE_OP_PING   "ping"
#define AK_CONSOLE_OP_OPENED "opened"
#define AK_CONSOLE_OP_ERROR  "error"
#define AK_CONSOLE_OP_CLOSED "closed"
#define AK_CONSOLE_OP_PONG   "pong"
