/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/otlp.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"

#define GATHER_S        1 /* a batch is not sent sooner than this after its first span */
#define REQUEST_MS      5000
#define LAST_REQUEST_MS 1000
#define KIND_INTERNAL   1
#define STATUS_OK       1
#define STATUS_ERROR    2

struct ak_otlp {
        char *url, *service, *node;
        struct ak_metric *spans;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t wake;
        atomic_uint_fast64_t stopping_us;         /* monotonic; 0 = not */
        struct ak_otlp_span queue[AK_OTLP_QUEUE]; /* a ring */
        size_t first, count;
        struct ak_otlp_span batch[AK_OTLP_BATCH]; /* the thread's */
        struct ak_ratelimit noise;
};

static const struct ak_metric_spec spans_spec = {.name = "alkaid_spans_total",
                                                 .help = "Spans for the collector, by what became of them.",
                                                 .kind = AK_COUNTER,
                                                 .labels = {"outcome"}};

/* ------------------------------------------------------------------ JSON */

static json_t *attribute(const char *key, const char *value)
{
        return json_pack("{s:s, s:{s:s}}", "key", key, "value", "stringValue", value);
}

static void add_attribute(json_t *list, const char *key, const char *value)
{
        if (value && value[0])
                (void)json_array_append_new(list, attribute(key, value));
}

static json_t *nanoseconds(uint64_t us)
{
        return json_sprintf("%" PRIu64 "000", us);
}

static json_t *span_to_json(const struct ak_otlp_span *s)
{
        json_t *attributes = json_array();
        json_t *json =
            json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:{s:i}}", "traceId", s->trace, "spanId", s->span,
                      "name", s->name, "kind", KIND_INTERNAL, "startTimeUnixNano", nanoseconds(s->start_us),
                      "endTimeUnixNano", nanoseconds(s->start_us + s->took_us), "attributes", attributes,
                      "status", "code", s->failure[0] ? STATUS_ERROR : STATUS_OK);

        add_attribute(attributes, "k8s.pod.uid", s->pod);
        add_attribute(attributes, "alkaid.nic", s->nic);
        add_attribute(attributes, "alkaid.port", s->port);
        if (s->parent[0])
                (void)json_object_set_new(json, "parentSpanId", json_string(s->parent));
        if (s->failure[0])
                (void)json_object_set_new(json_object_get(json, "status"), "message",
                                          json_string(s->failure));
        return json;
}

static char *batch_to_text(const struct ak_otlp *o, size_t count)
{
        json_t *spans = json_array(), *resource = json_array(), *json;
        AK_AUTOFREE char *name = NULL;
        char *text;

        if (asprintf(&name, "alkaid-%s", o->service) < 0)
                name = NULL;
        add_attribute(resource, "service.name", name);
        add_attribute(resource, "service.version", ALKAID_VERSION);
        add_attribute(resource, "host.name", o->node);
        for (size_t i = 0; i < count; i++)
                (void)json_array_append_new(spans, span_to_json(&o->batch[i]));
        json = json_pack("{s:[{s:{s:o}, s:[{s:{s:s, s:s}, s:o}]}]}", "resourceSpans", "resource",
                         "attributes", resource, "scopeSpans", "scope", "name", "alkaid", "version",
                         ALKAID_VERSION, "spans", spans);
        text = json ? json_dumps(json, JSON_COMPACT) : NULL;
        json_decref(json);
        return text;
}

/* ------------------------------------------------------------------ the thread */

static bool is_stopping(const struct ak_otlp *o)
{
        return atomic_load(&o->stopping_us) != 0;
}

static size_t discard(char *data, size_t size, size_t count, void *arg)
{
        (void)data;
        (void)arg;
        return size * count;
}

/* A request that is under way when the service has to end has a second left, as has the last one. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
        const struct ak_otlp *o = arg;
        uint64_t stopping_us = atomic_load(&o->stopping_us);

        (void)a;
        (void)b;
        (void)c;
        (void)d;
        return stopping_us && ak_clock_monotonic_us() - stopping_us > (uint64_t)LAST_REQUEST_MS * 1000;
}

static void set_up(struct ak_otlp *o, CURL *curl, struct curl_slist *headers, const char *text, bool last)
{
        curl_easy_reset(curl);
        (void)curl_easy_setopt(curl, CURLOPT_URL, o->url);
        (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
        (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
        (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, last ? (long)LAST_REQUEST_MS : (long)REQUEST_MS);
        (void)curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, last ? 1L : 0L);
        (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, o);
}

static void complain(struct ak_otlp *o, const char *why)
{
        uint32_t suppressed;

        if (ak_ratelimit_pass(&o->noise, ak_clock_monotonic_us(), &suppressed))
                ak_log(AK_LOG_WARN, "spans_not_exported", "url", o->url, "error", why, "suppressed",
                       AK_FMT("%u", suppressed), NULL);
}

static bool send_batch(struct ak_otlp *o, CURL *curl, struct curl_slist *headers, size_t count, bool last)
{
        AK_AUTOFREE char *text = batch_to_text(o, count);
        CURLcode code = CURLE_OUT_OF_MEMORY;

        if (text) {
                set_up(o, curl, headers, text, last);
                code = curl_easy_perform(curl);
        }
        if (code != CURLE_OK)
                complain(o, curl_easy_strerror(code));
        ak_metric_add(o->spans, AK_LABELS(code == CURLE_OK ? "exported" : "failed"), (double)count);
        return code == CURLE_OK;
}

/* Under the lock: a second after the first span, so that a batch is more than one; or at once at the end. */
static void gather(struct ak_otlp *o)
{
        struct timespec until;
        int r = 0;

        while (o->count == 0 && !is_stopping(o))
                (void)pthread_cond_wait(&o->wake, &o->lock);
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += GATHER_S;
        while (o->count < AK_OTLP_BATCH && !is_stopping(o) && r == 0)
                r = pthread_cond_timedwait(&o->wake, &o->lock, &until);
}

static size_t take_batch(struct ak_otlp *o)
{
        size_t count = o->count < AK_OTLP_BATCH ? o->count : AK_OTLP_BATCH;

        for (size_t i = 0; i < count; i++)
                o->batch[i] = o->queue[(o->first + i) % AK_OTLP_QUEUE];
        o->first = (o->first + count) % AK_OTLP_QUEUE;
        o->count -= count;
        return count;
}

static void export(struct ak_otlp *o, CURL *curl, struct curl_slist *headers)
{
        bool last = false;

        while (!last) {
                size_t count;

                (void)pthread_mutex_lock(&o->lock);
                gather(o);
                last = is_stopping(o);
                count = take_batch(o);
                (void)pthread_mutex_unlock(&o->lock);
                if (count > 0)
                        (void)send_batch(o, curl, headers, count, last);
        }
}

static void *run(void *arg)
{
        struct ak_otlp *o = arg;
        CURL *curl = curl_easy_init();
        struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");

        if (curl && headers)
                export(o, curl, headers);
        else
                complain(o, "out of memory");
        curl_slist_free_all(headers);
        curl_easy_cleanup(curl);
        return NULL;
}

/* ------------------------------------------------------------------ life */

static bool url_valid(const char *url)
{
        size_t scheme = strncmp(url, "http://", 7) == 0 ? 7 : strncmp(url, "https://", 8) == 0 ? 8 : 0;

        return scheme && url[scheme] && url[scheme] != '/' && strlen(url) < 1024;
}

static int start(struct ak_otlp *o)
{
        pthread_condattr_t attributes;

        (void)pthread_mutex_init(&o->lock, NULL);
        (void)pthread_condattr_init(&attributes);
        (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        (void)pthread_cond_init(&o->wake, &attributes);
        (void)pthread_condattr_destroy(&attributes);
        return -pthread_create(&o->thread, NULL, run, o);
}

static struct ak_otlp *destroy(struct ak_otlp *o)
{
        free(o->url);
        free(o->service);
        free(o->node);
        free(o);
        return NULL;
}

int ak_otlp_new(struct ak_otlp **out, const char *url, const char *service, const char *node,
                struct ak_metrics *metrics)
{
        struct ak_otlp *o;
        int r;

        if (!url_valid(url))
                return -EINVAL;
        o = calloc(1, sizeof(*o));
        if (!o)
                return -ENOMEM;
        (void)curl_global_init(CURL_GLOBAL_DEFAULT); /* counted, and safe in threads since 7.84 */
        o->url = strdup(url);
        o->service = strdup(service);
        o->node = strdup(node ? node : "");
        o->spans = ak_metrics_register(metrics, &spans_spec);
        o->noise = (struct ak_ratelimit){.interval_us = 60 * 1000 * 1000, .burst = 1};
        r = o->url && o->service && o->node ? start(o) : -ENOMEM;
        if (r < 0) {
                destroy(o);
                return r;
        }
        *out = o;
        return 0;
}

struct ak_otlp *ak_otlp_free(struct ak_otlp *o)
{
        if (!o)
                return NULL;
        (void)pthread_mutex_lock(&o->lock);
        atomic_store(&o->stopping_us, ak_clock_monotonic_us());
        (void)pthread_cond_signal(&o->wake);
        (void)pthread_mutex_unlock(&o->lock);
        (void)pthread_join(o->thread, NULL);
        (void)pthread_cond_destroy(&o->wake);
        (void)pthread_mutex_destroy(&o->lock);
        return destroy(o);
}

void ak_otlp_add(struct ak_otlp *o, const struct ak_otlp_span *span)
{
        bool fits;

        if (!o)
                return;
        (void)pthread_mutex_lock(&o->lock);
        fits = o->count < AK_OTLP_QUEUE;
        if (fits)
                o->queue[(o->first + o->count++) % AK_OTLP_QUEUE] = *span;
        (void)pthread_cond_signal(&o->wake);
        (void)pthread_mutex_unlock(&o->lock);
        if (!fits)
                ak_metric_add(o->spans, AK_LABELS("dropped"), 1);
}
