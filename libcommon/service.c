/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/service.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"

struct ak_service {
        zloop_t *loop;
        int signal_fd, watchdog;
        const struct ak_service_options *options;
};

static void fill_signals(sigset_t *set)
{
        (void)sigemptyset(set);
        (void)sigaddset(set, SIGTERM);
        (void)sigaddset(set, SIGINT);
        (void)sigaddset(set, SIGHUP);
}

void ak_service_prepare(void)
{
        sigset_t set;

        (void)signal(SIGPIPE, SIG_IGN);
        fill_signals(&set);
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

static void on_difference(void *arg, const char *key)
{
        (void)arg;
        ak_log(AK_LOG_WARN, "setting_needs_restart", "setting", key, NULL);
}

static void reload(struct ak_service *s)
{
        const struct ak_service_options *o = s->options;
        int r = 0;

        (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)ak_clock_monotonic_us());
        if (o->program)
                r = ak_options_reload(o->program, o->argc, o->argv, o->config, o->config_size, on_difference,
                                      NULL);
        if (r < 0)
                ak_log(AK_LOG_ERROR, "reload_failed", "error", strerror(-r), "remedy",
                       "the line before this one names the mistake; nothing was changed", NULL);
        else if (o->on_reload)
                o->on_reload(o->arg);
        if (r == 0)
                ak_log(AK_LOG_INFO, "reloaded", NULL);
        (void)sd_notify(0, "READY=1");
}

static int on_signal(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
        struct ak_service *s = arg;
        struct signalfd_siginfo info;

        (void)loop;
        if (read(item->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
                return 0;
        if (info.ssi_signo == SIGHUP) {
                reload(s);
                return 0;
        }
        ak_log(AK_LOG_INFO, "stopping", "signal", strsignal((int)info.ssi_signo), NULL);
        (void)sd_notify(0, "STOPPING=1");
        return -1;
}

static int on_watchdog(zloop_t *loop, int timer, void *arg)
{
        (void)loop;
        (void)timer;
        (void)arg;
        (void)sd_notify(0, "WATCHDOG=1");
        return 0;
}

/* Three times in the time that systemd allows: one late turn of the loop is no hang. */
static int start_watchdog(struct ak_service *s)
{
        uint64_t usec = 0;
        int r = sd_watchdog_enabled(0, &usec);

        if (r <= 0)
                return r;
        s->watchdog = zloop_timer(s->loop, usec >= 3000 ? usec / 3000 : 1, 0, on_watchdog, NULL);
        return s->watchdog < 0 ? -ENOMEM : 0;
}

int ak_service_new(struct ak_service **out, zloop_t *loop, const struct ak_service_options *options)
{
        AK_CLEANUP(ak_service_freep) struct ak_service *s = calloc(1, sizeof(*s));
        zmq_pollitem_t item = {.events = ZMQ_POLLIN};
        sigset_t set;

        if (!s)
                return -ENOMEM;
        s->watchdog = -1;
        s->options = options;
        fill_signals(&set);
        s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (s->signal_fd < 0)
                return -errno;
        item.fd = s->signal_fd;
        if (zloop_poller(loop, &item, on_signal, s) < 0)
                return -ENOMEM;
        s->loop = loop;
        int r = start_watchdog(s);
        if (r < 0)
                return r;
        (void)sd_notify(0, "READY=1");
        *out = AK_STEAL(s);
        return 0;
}

struct ak_service *ak_service_free(struct ak_service *s)
{
        if (!s)
                return NULL;
        if (s->loop) {
                zmq_pollitem_t item = {.fd = s->signal_fd, .events = ZMQ_POLLIN};

                zloop_poller_end(s->loop, &item);
        }
        if (s->watchdog >= 0)
                (void)zloop_timer_end(s->loop, s->watchdog);
        if (s->signal_fd >= 0)
                (void)close(s->signal_fd);
        free(s);
        return NULL;
}
