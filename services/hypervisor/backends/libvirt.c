/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The libvirt driver: connection, events, inventory. What is done to one VM is in libvirt_vm.c.
 *
 * libvirt's event loop is one per process; it runs in a thread of its own that is started at first use and
 * lives as long as the process. Callbacks only translate and hand on.
 */
#include <errno.h>
#include <jansson.h>
#include <libvirt/libvirt-qemu.h>
#include <string.h>

#include "libcommon/log.h"
#include "libcommon/netaddr.h"
#include "services/hypervisor/backends/libvirt_internal.h"
#include "services/hypervisor/domain_xml.h"

#define KEEPALIVE_INTERVAL 5 /* s */
#define KEEPALIVE_COUNT    3

/* ------------------------------------------------------------------ event loop */

static void *event_thread(void *arg)
{
        (void)arg;
        for (;;) {
                if (virEventRunDefaultImpl() < 0)
                        ak_log(AK_LOG_ERROR, "libvirt_event_loop", "error", virGetLastErrorMessage(), NULL);
        }
        return NULL;
}

/* libvirt prints errors by itself unless told otherwise. */
static void quiet(void *arg, virErrorPtr error)
{
        (void)arg;
        (void)error;
}

static int event_loop_result = -EIO;

static void start_event_loop(void)
{
        pthread_attr_t attr;
        pthread_t thread;

        virSetErrorFunc(NULL, quiet);
        if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0 || pthread_attr_init(&attr) != 0)
                return;
        (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        if (pthread_create(&thread, &attr, event_thread, NULL) == 0)
                event_loop_result = 0;
        (void)pthread_attr_destroy(&attr);
}

int hv_libvirt_event_loop(void)
{
        /* The loop is libvirt's, and one per process; so is this. */
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        (void)pthread_once(&once, start_event_loop);
        return event_loop_result;
}

/* ------------------------------------------------------------------ errors */

static bool contains(const char *text, const char *part)
{
        return strstr(text, part) != NULL;
}

/* Texts of libvirt 9 and QEMU 7; test_integration.c pins those that a test can provoke. */
static enum hv_error classify_text(const char *m)
{
        static const struct {
                const char *part;
                enum hv_error error;
        } table[] = {
            {"no device found with alias", HV_ERROR_NO_DEVICE},
            {"matching MAC address", HV_ERROR_NO_DEVICE}, /* "no device matching MAC address … found" */
            {"device not found", HV_ERROR_NO_DEVICE},
            {"is not a VirtIODevice", HV_ERROR_NO_DEVICE},
            {"already in the process of unplug", HV_ERROR_IN_PROGRESS},
            {"guest is busy", HV_ERROR_BUSY},
            {"indicator is still blinking", HV_ERROR_BUSY},
            {"power indicator blinking", HV_ERROR_BUSY},
            {"non unique alias", HV_ERROR_DUPLICATE},
            {"Duplicate ID", HV_ERROR_DUPLICATE},
            {"Duplicate device ID", HV_ERROR_DUPLICATE},
            {"double use of PCI Address", HV_ERROR_SLOT},
            {"No more available PCI slots", HV_ERROR_SLOT},
            {"is not connected to any PCI controller", HV_ERROR_SLOT},
            {"is already in use by", HV_ERROR_SLOT},
            {"Only PCI buses up to", HV_ERROR_SLOT}, /* "Invalid PCI address …" */
            {"The device at PCI address", HV_ERROR_SLOT},
            {"managed='no' but specified dev doesn't exist", HV_ERROR_TAP},
            {"Unable to create tap device", HV_ERROR_TAP},
            {"Unable to open /dev/net/tun", HV_ERROR_TAP},
            {"state change lock", HV_ERROR_TIMEOUT},
            {"domain is not running", HV_ERROR_NO_DOMAIN},
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(table); i++) {
                if (contains(m, table[i].part))
                        return table[i].error;
        }
        return HV_ERROR_OTHER;
}

enum hv_error hv_libvirt_classify(int code, int domain, const char *message)
{
        enum hv_error by_text = classify_text(message ? message : "");

        switch (code) {
        case VIR_ERR_NO_DOMAIN:
                return HV_ERROR_NO_DOMAIN;
        case VIR_ERR_DEVICE_MISSING:
                return HV_ERROR_NO_DEVICE;
        case VIR_ERR_OPERATION_TIMEOUT:
                return HV_ERROR_TIMEOUT;
        case VIR_ERR_OK: /* a call that failed without an error: the connection went away under it */
        case VIR_ERR_NO_CONNECT:
        case VIR_ERR_INVALID_CONN:
        case VIR_ERR_RPC:
                return HV_ERROR_CONNECTION;
        case VIR_ERR_SYSTEM_ERROR:
                /* From the transport: "Failed to connect socket", "Cannot recv data", "End of file". */
                return domain == VIR_FROM_RPC || domain == VIR_FROM_REMOTE ? HV_ERROR_CONNECTION : by_text;
        case VIR_ERR_INTERNAL_ERROR:
                if (domain == VIR_FROM_RPC || contains(message ? message : "", "client socket is closed"))
                        return HV_ERROR_CONNECTION;
                return by_text;
        default:
                return by_text;
        }
}

enum hv_error hv_libvirt_error(char *text)
{
        virErrorPtr error = virGetLastError();
        const char *message = error && error->message ? error->message : "connection lost";

        (void)snprintf(text, HV_LEN_TEXT + 1, "%s", message);
        return hv_libvirt_classify(error ? error->code : VIR_ERR_OK, error ? error->domain : 0, message);
}

/* ------------------------------------------------------------------ events */

static void report(struct hv_driver *d, const struct hv_event *event)
{
        d->on_event(d->arg, event);
}

static bool begin_event(virDomainPtr domain, enum hv_event_type type, struct hv_event *event)
{
        *event = (struct hv_event){.type = type};
        return virDomainGetUUIDString(domain, event->pod_uid) == 0;
}

static enum hv_lifecycle how_it_stopped(int detail)
{
        switch (detail) {
        case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
        case VIR_DOMAIN_EVENT_STOPPED_FAILED:
                return HV_LIFECYCLE_CRASHED;
        case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
                return HV_LIFECYCLE_DESTROYED;
        default:
                return HV_LIFECYCLE_STOPPED;
        }
}

static void on_lifecycle(virConnectPtr conn, virDomainPtr domain, int type, int detail, void *arg)
{
        struct hv_event event;

        (void)conn;
        if (!begin_event(domain, HV_EVENT_LIFECYCLE, &event))
                return;
        switch (type) {
        case VIR_DOMAIN_EVENT_STARTED:
                event.lifecycle = HV_LIFECYCLE_STARTED;
                break;
        case VIR_DOMAIN_EVENT_STOPPED:
                event.lifecycle = how_it_stopped(detail);
                break;
        case VIR_DOMAIN_EVENT_CRASHED:
                event.lifecycle = detail == VIR_DOMAIN_EVENT_CRASHED_PANICKED ? HV_LIFECYCLE_PANICKED
                                                                              : HV_LIFECYCLE_CRASHED;
                break;
        case VIR_DOMAIN_EVENT_SUSPENDED:
                event.lifecycle = HV_LIFECYCLE_SUSPENDED;
                break;
        case VIR_DOMAIN_EVENT_RESUMED:
                event.lifecycle = HV_LIFECYCLE_RESUMED;
                break;
        default:
                return;
        }
        report(arg, &event);
}

static void on_reboot(virConnectPtr conn, virDomainPtr domain, void *arg)
{
        struct hv_event event;

        (void)conn;
        if (!begin_event(domain, HV_EVENT_LIFECYCLE, &event))
                return;
        event.lifecycle = HV_LIFECYCLE_REBOOTED;
        report(arg, &event);
}

static void device_event(virDomainPtr domain, const char *alias, enum hv_event_type type, void *arg)
{
        size_t prefix = strlen(HV_ALIAS_PREFIX);
        struct hv_event event;

        if (strncmp(alias, HV_ALIAS_PREFIX, prefix) != 0 || !ak_uuid_valid(alias + prefix))
                return;
        if (!begin_event(domain, type, &event))
                return;
        (void)snprintf(event.port_id, sizeof(event.port_id), "%s", alias + prefix);
        report(arg, &event);
}

static void on_removed(virConnectPtr conn, virDomainPtr domain, const char *alias, void *arg)
{
        (void)conn;
        device_event(domain, alias, HV_EVENT_DEVICE_REMOVED, arg);
}

static void on_removal_failed(virConnectPtr conn, virDomainPtr domain, const char *alias, void *arg)
{
        (void)conn;
        device_event(domain, alias, HV_EVENT_REMOVAL_FAILED, arg);
}

/* {"name": "ua-…", "path": …} */
static void on_rx_filter(virConnectPtr conn, virDomainPtr domain, const char *name, long long seconds,
                         unsigned int micros, const char *details, void *arg)
{
        json_t *json = details ? json_loads(details, 0, NULL) : NULL;
        const char *alias = json_string_value(json_object_get(json, "name"));

        (void)conn;
        (void)name;
        (void)seconds;
        (void)micros;
        if (alias)
                device_event(domain, alias, HV_EVENT_GUEST_ACTIVITY, arg);
        json_decref(json);
}

static void on_close(virConnectPtr conn, int reason, void *arg)
{
        struct hv_event event = {.type = HV_EVENT_DISCONNECTED};
        struct hv_driver *d = arg;
        bool report_it;

        (void)conn;
        (void)reason;
        (void)pthread_mutex_lock(&d->lock);
        report_it = d->connected;
        d->connected = false;
        (void)pthread_mutex_unlock(&d->lock);
        if (report_it)
                report(d, &event);
}

static bool add_callback(struct hv_driver *d, int id)
{
        if (id < 0)
                return false;
        d->callbacks[d->callback_count++] = id;
        return true;
}

static bool register_one(struct hv_driver *d, int event, virConnectDomainEventGenericCallback fn)
{
        return add_callback(d, virConnectDomainEventRegisterAny(d->conn, NULL, event, fn, d, NULL));
}

static bool register_events(struct hv_driver *d)
{
        return virConnectRegisterCloseCallback(d->conn, on_close, d, NULL) == 0 &&
               register_one(d, VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)) &&
               register_one(d, VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_reboot)) &&
               register_one(d, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_removed)) &&
               register_one(d, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
                            VIR_DOMAIN_EVENT_CALLBACK(on_removal_failed));
}

/* A hint only: where the monitor's events are not to be had, the status is asked for all the same. */
static void register_hint(struct hv_driver *d)
{
        d->monitor_callback = virConnectDomainQemuMonitorEventRegister(d->conn, NULL, "NIC_RX_FILTER_CHANGED",
                                                                       on_rx_filter, d, NULL, 0);
}

/* ------------------------------------------------------------------ connection */

virConnectPtr hv_libvirt_open(const struct hv_driver *d)
{
        virConnectPtr conn = virConnectOpen(d->uri);

        /* Without keep-alive a libvirtd that hangs would be waited for without end. */
        if (conn && virConnectSetKeepAlive(conn, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT) < 0)
                ak_log(AK_LOG_DEBUG, "libvirt_no_keepalive", "error", virGetLastErrorMessage(), NULL);
        return conn;
}

static void disconnect(struct hv_driver *d)
{
        (void)pthread_mutex_lock(&d->lock);
        d->connected = false;
        (void)pthread_mutex_unlock(&d->lock);
        if (!d->conn)
                return;
        for (size_t i = 0; i < d->callback_count; i++)
                (void)virConnectDomainEventDeregisterAny(d->conn, d->callbacks[i]);
        if (d->monitor_callback >= 0)
                (void)virConnectDomainQemuMonitorEventDeregister(d->conn, d->monitor_callback);
        (void)virConnectUnregisterCloseCallback(d->conn, on_close);
        (void)virConnectClose(d->conn);
        d->conn = NULL;
        d->callback_count = 0;
        d->monitor_callback = -1;
}

static enum hv_error driver_connect(struct hv_driver *d, char *text)
{
        enum hv_error error;

        if (d->conn && virConnectIsAlive(d->conn) == 1)
                return HV_OK;
        disconnect(d);
        if (hv_libvirt_event_loop() < 0) {
                (void)snprintf(text, HV_LEN_TEXT + 1, "libvirt's event loop cannot be started");
                return HV_ERROR_OTHER;
        }
        d->conn = hv_libvirt_open(d);
        if (!d->conn)
                return hv_libvirt_error(text);
        (void)pthread_mutex_lock(&d->lock);
        d->connected = true;
        (void)pthread_mutex_unlock(&d->lock);
        if (!register_events(d)) {
                error = hv_libvirt_error(text);
                disconnect(d);
                return error;
        }
        register_hint(d);
        return HV_OK;
}

/* ------------------------------------------------------------------ inventory */

static enum hv_error domain_state(virDomainPtr domain, enum hv_domain_state *out, char *text)
{
        int state, reason;

        if (virDomainGetState(domain, &state, &reason, 0) < 0)
                return hv_libvirt_error(text);
        switch (state) {
        case VIR_DOMAIN_SHUTOFF:
        case VIR_DOMAIN_CRASHED:
                *out = HV_DOMAIN_NONE;
                break;
        case VIR_DOMAIN_PAUSED:
        case VIR_DOMAIN_PMSUSPENDED:
                *out = HV_DOMAIN_PAUSED;
                break;
        default:
                *out = HV_DOMAIN_RUNNING;
                break;
        }
        return HV_OK;
}

enum hv_error hv_libvirt_describe(const struct hv_driver *d, virDomainPtr domain, struct hv_live_domain **out,
                                  char *text)
{
        AK_AUTOFREE struct hv_live_domain *live = NULL;
        enum hv_domain_state state = HV_DOMAIN_NONE;
        enum hv_error error = domain_state(domain, &state, text);
        AK_AUTOFREE char *xml = NULL;
        int r;

        if (error != HV_OK || state == HV_DOMAIN_NONE) {
                *out = NULL;
                return error == HV_ERROR_NO_DOMAIN ? HV_OK : error;
        }
        xml = virDomainGetXMLDesc(domain, 0);
        if (!xml) {
                error = hv_libvirt_error(text);
                *out = NULL;
                return error == HV_ERROR_NO_DOMAIN ? HV_OK : error;
        }
        r = hv_live_xml_parse(d->node, xml, strlen(xml), &live);
        if (r < 0 && r != -ENOENT) {
                (void)snprintf(text, HV_LEN_TEXT + 1, "live XML of domain %s: %s", virDomainGetName(domain),
                               strerror(-r));
                return HV_ERROR_OTHER;
        }
        if (live)
                live->head.state = state;
        for (size_t i = 0; live && i < live->nic_count; i++)
                hv_libvirt_tap_look(&live->nics[i]);
        *out = AK_STEAL(live);
        return HV_OK;
}

static void free_domains(virDomainPtr *domains, int count)
{
        for (int i = 0; i < count; i++)
                (void)virDomainFree(domains[i]);
        free(domains);
}

static void free_live(struct hv_live_domain **live, size_t count)
{
        for (size_t i = 0; i < count; i++)
                free(live[i]);
        free(live);
}

static enum hv_error driver_list(struct hv_driver *d, struct hv_live_domain ***out, size_t *count, char *text)
{
        struct hv_live_domain **live;
        enum hv_error error = HV_OK;
        virDomainPtr *domains = NULL;
        size_t used = 0;
        int n;

        n = d->conn ? virConnectListAllDomains(d->conn, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE) : -1;
        if (n < 0)
                return d->conn ? hv_libvirt_error(text) : HV_ERROR_CONNECTION;
        live = calloc((size_t)n + 1, sizeof(struct hv_live_domain *));
        if (!live)
                error = HV_ERROR_OTHER;
        for (int i = 0; i < n && error == HV_OK; i++) {
                error = hv_libvirt_describe(d, domains[i], &live[used], text);
                if (error == HV_OK && live[used])
                        used++;
        }
        free_domains(domains, n);
        if (error != HV_OK) {
                if (live)
                        free_live(live, used);
                return error;
        }
        *out = live;
        *count = used;
        return HV_OK;
}

/* ------------------------------------------------------------------ life */

static struct hv_driver *driver_free(struct hv_driver *d)
{
        if (!d)
                return NULL;
        disconnect(d);
        (void)pthread_mutex_destroy(&d->lock);
        free(d->uri);
        free(d->state_dir);
        free(d->emulator);
        free(d->qemu_img);
        free(d);
        return NULL;
}

static char *dup_or_null(const char *text, bool *failed)
{
        char *copy = text ? strdup(text) : NULL;

        *failed |= text && !copy;
        return copy;
}

int hv_driver_libvirt_new(struct hv_driver **out, const struct hv_driver_options *options)
{
        struct hv_driver *d = calloc(1, sizeof(*d));
        bool failed = false;

        if (!d)
                return -ENOMEM;
        (void)pthread_mutex_init(&d->lock, NULL);
        d->monitor_callback = -1;
        d->on_event = options->on_event;
        d->arg = options->arg;
        (void)snprintf(d->node, sizeof(d->node), "%s", options->node);
        (void)snprintf(d->accel, sizeof(d->accel), "%s", options->accel);
        d->uri = dup_or_null(options->uri, &failed);
        d->state_dir = dup_or_null(options->state_dir, &failed);
        d->emulator = dup_or_null(options->emulator, &failed);
        d->qemu_img = dup_or_null(options->qemu_img, &failed);
        if (failed) {
                driver_free(d);
                return -ENOMEM;
        }
        *out = d;
        return 0;
}

const struct hv_driver_ops hv_driver_libvirt_ops = {
    .name = "libvirt",
    .free = driver_free,
    .connect = driver_connect,
    .disconnect = disconnect,
    .list = driver_list,
    .vm_open = hv_libvirt_vm_open,
    .vm_close = hv_libvirt_vm_close,
    .inspect = hv_libvirt_inspect,
    .start = hv_libvirt_start,
    .shutdown = hv_libvirt_shutdown,
    .destroy = hv_libvirt_destroy,
    .suspend = hv_libvirt_suspend,
    .resume = hv_libvirt_resume,
    .attach = hv_libvirt_attach,
    .detach = hv_libvirt_detach,
    .set_link = hv_libvirt_set_link,
    .probe = hv_libvirt_probe,
    .cleanup = hv_libvirt_cleanup,
    .console_write = hv_libvirt_console_write,
};
