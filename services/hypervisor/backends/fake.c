/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/backends/fake.h"

#include <czmq.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

struct failure {
        enum hv_error error;
        unsigned count;
};

/* What zhashx holds per pod. A guest that has been asked for a device gives it up once it runs. */
struct fake_domain {
        struct hv_live_domain live; /* first: functions are handed this part */
        char asked[HV_MAX_SLOTS][AK_LEN_UID + 1];
        size_t asked_count;
};

struct hv_driver {
        char node[AK_LEN_NAME + 1], accel[8];
        char *kept; /* path of the file of VMs that outlive this process; NULL = none do */
        hv_driver_event_fn on_event;
        void *arg;
        pthread_mutex_t lock;
        bool connected;
        struct hv_fake_guest guest;
        struct failure failures[HV_OP_CLEANUP + 1];
        zhashx_t *domains; /* pod UID -> struct fake_domain */
};

struct hv_driver_vm {
        struct hv_driver *driver;
        char uid[AK_LEN_UID + 1];
};

static void free_item(void **item)
{
        free(*item);
        *item = NULL;
}

/* Events are reported with the lock held: the function does not block, and so they keep their order. */
static void report(struct hv_driver *d, enum hv_event_type type, const char *uid, const char *port,
                   enum hv_lifecycle lifecycle)
{
        struct hv_event event = {.type = type, .lifecycle = lifecycle};

        if (!d->connected)
                return;
        (void)snprintf(event.pod_uid, sizeof(event.pod_uid), "%s", uid);
        (void)snprintf(event.port_id, sizeof(event.port_id), "%s", port);
        d->on_event(d->arg, &event);
}

static enum hv_error say(char *text, enum hv_error error)
{
        (void)snprintf(text, HV_LEN_TEXT + 1, "fake: %s", hv_error_name(error));
        return error;
}

/* With the lock: may this call go on? */
static enum hv_error enter(struct hv_driver *d, enum hv_op op, char *text)
{
        struct failure *f = &d->failures[op];

        if (!d->connected)
                return say(text, HV_ERROR_CONNECTION);
        if (f->count == 0)
                return HV_OK;
        f->count--;
        return say(text, f->error);
}

static struct hv_live_nic *find_nic(struct hv_live_domain *domain, const char *port_id)
{
        for (size_t i = 0; i < domain->nic_count; i++) {
                if (strcmp(domain->nics[i].port_id, port_id) == 0)
                        return &domain->nics[i];
        }
        return NULL;
}

static bool slot_used(const struct hv_live_domain *domain, uint64_t slot)
{
        for (size_t i = 0; i < domain->nic_count; i++) {
                if (domain->nics[i].slot == slot)
                        return true;
        }
        return false;
}

static void plug(struct hv_live_domain *domain, const struct hv_nic_spec *spec)
{
        struct hv_live_nic *nic = &domain->nics[domain->nic_count++];

        *nic = (struct hv_live_nic){0};
        memcpy(nic, spec, sizeof(*spec));
        (void)snprintf(nic->pci_address, sizeof(nic->pci_address), "0000:%02x:00.0",
                       (unsigned)(spec->slot + 1));
}

static char *find_asked(struct hv_live_domain *domain, const char *port_id)
{
        struct fake_domain *f = (struct fake_domain *)domain;

        for (size_t i = 0; i < f->asked_count; i++) {
                if (strcmp(f->asked[i], port_id) == 0)
                        return f->asked[i];
        }
        return NULL;
}

static void ask(struct hv_live_domain *domain, const char *port_id)
{
        struct fake_domain *f = (struct fake_domain *)domain;

        (void)snprintf(f->asked[f->asked_count++], sizeof(f->asked[0]), "%s", port_id);
}

static void unask(struct hv_live_domain *domain, const char *port_id)
{
        struct fake_domain *f = (struct fake_domain *)domain;
        char *asked = find_asked(domain, port_id);

        if (asked)
                memmove(asked, f->asked[--f->asked_count], sizeof(f->asked[0]));
}

static void unplug(struct hv_live_domain *domain, struct hv_live_nic *nic)
{
        unask(domain, nic->port_id);
        *nic = domain->nics[--domain->nic_count];
}

static struct hv_live_domain *copy_domain(const struct hv_live_domain *domain)
{
        struct hv_live_domain *copy = malloc(sizeof(*copy));

        if (copy)
                *copy = *domain;
        return copy;
}

/* ------------------------------------------------------------------ connection */

static enum hv_error fake_connect(struct hv_driver *d, char *text)
{
        (void)text;
        (void)pthread_mutex_lock(&d->lock);
        d->connected = true;
        (void)pthread_mutex_unlock(&d->lock);
        return HV_OK;
}

static void fake_disconnect(struct hv_driver *d)
{
        (void)pthread_mutex_lock(&d->lock);
        d->connected = false;
        (void)pthread_mutex_unlock(&d->lock);
}

static enum hv_error fake_list(struct hv_driver *d, struct hv_live_domain ***out, size_t *count, char *text)
{
        struct hv_live_domain **list = NULL;
        enum hv_error error;
        size_t n = 0;

        (void)pthread_mutex_lock(&d->lock);
        error = enter(d, HV_OP_NONE, text);
        if (error == HV_OK) {
                list = calloc(zhashx_size(d->domains) + 1, sizeof(struct hv_live_domain *));
                if (!list)
                        error = say(text, HV_ERROR_OTHER);
        }
        for (struct hv_live_domain *l = list ? zhashx_first(d->domains) : NULL; l;
             l = zhashx_next(d->domains)) {
                list[n] = copy_domain(l);
                n += list[n] != NULL;
        }
        (void)pthread_mutex_unlock(&d->lock);
        if (error == HV_OK) {
                *out = list;
                *count = n;
        }
        return error;
}

/* ------------------------------------------------------------------ VMs */

static struct hv_driver_vm *fake_vm_open(struct hv_driver *d, const char *pod_uid)
{
        struct hv_driver_vm *vm = calloc(1, sizeof(*vm));

        if (vm) {
                vm->driver = d;
                (void)snprintf(vm->uid, sizeof(vm->uid), "%s", pod_uid);
        }
        return vm;
}

static struct hv_driver_vm *fake_vm_close(struct hv_driver_vm *vm)
{
        free(vm);
        return NULL;
}

/* Runs `fn` with the lock and the domain; HV_ERROR_NO_DOMAIN where there is none. */
typedef enum hv_error (*with_domain_fn)(struct hv_driver *d, struct hv_live_domain *domain, void *arg);

static enum hv_error with_domain(struct hv_driver_vm *vm, enum hv_op op, with_domain_fn fn, void *arg,
                                 char *text)
{
        struct hv_driver *d = vm->driver;
        struct hv_live_domain *domain;
        enum hv_error error;

        (void)pthread_mutex_lock(&d->lock);
        error = enter(d, op, text);
        if (error == HV_OK) {
                domain = zhashx_lookup(d->domains, vm->uid);
                error = domain ? fn(d, domain, arg) : HV_ERROR_NO_DOMAIN;
                if (error != HV_OK)
                        (void)say(text, error);
        }
        (void)pthread_mutex_unlock(&d->lock);
        return error;
}

static enum hv_error do_inspect(struct hv_driver *d, struct hv_live_domain *domain, void *arg)
{
        struct hv_live_domain **out = arg;

        (void)d;
        *out = copy_domain(domain);
        return *out ? HV_OK : HV_ERROR_OTHER;
}

static enum hv_error fake_inspect(struct hv_driver_vm *vm, struct hv_live_domain **out, char *text)
{
        enum hv_error error = with_domain(vm, HV_OP_INSPECT, do_inspect, out, text);

        if (error != HV_ERROR_NO_DOMAIN)
                return error;
        *out = NULL;
        return HV_OK;
}

static struct hv_live_domain *make_domain(const struct hv_driver *d, const struct hv_domain_spec *spec)
{
        struct fake_domain *fake = calloc(1, sizeof(*fake));
        struct hv_live_domain *domain = fake ? &fake->live : NULL;
        struct hv_live_domain_head *head;

        if (!domain)
                return NULL;
        head = &domain->head;
        (void)snprintf(head->pod_uid, sizeof(head->pod_uid), "%s", spec->head.pod_uid);
        (void)snprintf(head->pod_namespace, sizeof(head->pod_namespace), "%s", spec->head.pod_namespace);
        (void)snprintf(head->pod_name, sizeof(head->pod_name), "%s", spec->head.pod_name);
        (void)snprintf(head->uuid, sizeof(head->uuid), "%.36s", spec->head.pod_uid);
        (void)snprintf(head->accel, sizeof(head->accel), "%s", d->accel);
        head->generation = spec->head.generation;
        head->nic_slots = spec->head.nic_slots;
        head->started_us = spec->head.started_us;
        head->state = HV_DOMAIN_RUNNING;
        for (size_t i = 0; i < spec->nic_count; i++)
                plug(domain, &spec->nics[i]);
        return domain;
}

static enum hv_error fake_start(struct hv_driver_vm *vm, const struct hv_domain_spec *spec,
                                struct hv_live_domain **out, char *text)
{
        struct hv_driver *d = vm->driver;
        struct hv_live_domain *domain;
        enum hv_error error;

        (void)pthread_mutex_lock(&d->lock);
        error = enter(d, HV_OP_START, text);
        if (error == HV_OK && zhashx_lookup(d->domains, vm->uid))
                error = say(text, HV_ERROR_INVALID);
        if (error == HV_OK) {
                domain = make_domain(d, spec);
                *out = domain ? copy_domain(domain) : NULL;
                if (*out) {
                        (void)zhashx_insert(d->domains, vm->uid, domain);
                        report(d, HV_EVENT_LIFECYCLE, vm->uid, "", HV_LIFECYCLE_STARTED);
                } else {
                        free(domain);
                        error = say(text, HV_ERROR_OTHER);
                }
        }
        (void)pthread_mutex_unlock(&d->lock);
        return error;
}

static void end_domain(struct hv_driver *d, const char *uid, enum hv_lifecycle how)
{
        char copy[AK_LEN_UID + 1];

        (void)snprintf(copy, sizeof(copy), "%s", uid);
        zhashx_delete(d->domains, copy);
        report(d, HV_EVENT_LIFECYCLE, copy, "", how);
}

static enum hv_error do_shutdown(struct hv_driver *d, struct hv_live_domain *domain, void *arg)
{
        (void)arg;
        if (!d->guest.ignores_power)
                end_domain(d, domain->head.pod_uid, HV_LIFECYCLE_STOPPED);
        return HV_OK;
}

static enum hv_error fake_shutdown(struct hv_driver_vm *vm, char *text)
{
        return with_domain(vm, HV_OP_SHUTDOWN, do_shutdown, NULL, text);
}

static enum hv_error do_destroy(struct hv_driver *d, struct hv_live_domain *domain, void *arg)
{
        (void)arg;
        end_domain(d, domain->head.pod_uid, HV_LIFECYCLE_DESTROYED);
        return HV_OK;
}

static enum hv_error fake_destroy(struct hv_driver_vm *vm, char *text)
{
        return with_domain(vm, HV_OP_DESTROY, do_destroy, NULL, text);
}

/* A guest that runs follows what it was asked meanwhile. */
static void give_up(struct hv_driver *d, struct hv_live_domain *domain)
{
        struct fake_domain *f = (struct fake_domain *)domain;
        char port_id[AK_LEN_UID + 1];

        if (d->guest.holds_devices || domain->head.state != HV_DOMAIN_RUNNING)
                return;
        while (f->asked_count > 0) {
                (void)snprintf(port_id, sizeof(port_id), "%s", f->asked[0]);
                unplug(domain, find_nic(domain, port_id));
                report(d, HV_EVENT_DEVICE_REMOVED, domain->head.pod_uid, port_id, 0);
        }
}

static enum hv_error do_suspend(struct hv_driver *d, struct hv_live_domain *domain, void *arg)
{
        bool resume = arg != NULL;

        domain->head.state = resume ? HV_DOMAIN_RUNNING : HV_DOMAIN_PAUSED;
        report(d, HV_EVENT_LIFECYCLE, domain->head.pod_uid, "",
               resume ? HV_LIFECYCLE_RESUMED : HV_LIFECYCLE_SUSPENDED);
        give_up(d, domain);
        return HV_OK;
}

static enum hv_error fake_suspend(struct hv_driver_vm *vm, char *text)
{
        return with_domain(vm, HV_OP_SUSPEND, do_suspend, NULL, text);
}

static enum hv_error fake_resume(struct hv_driver_vm *vm, char *text)
{
        return with_domain(vm, HV_OP_RESUME, do_suspend, vm, text);
}

/* ------------------------------------------------------------------ NICs */

static enum hv_error do_attach(struct hv_driver *d, struct hv_live_domain *domain, void *arg)
{
        const struct hv_nic_spec *nic = arg;

        (void)d;
        if (find_nic(domain, nic->port_id))
                return HV_ERROR_DUPLICATE;
        if (nic->slot >= domain->head.nic_slots || slot_used(domain, nic->slot) ||
            domain->nic_count >= HV_MAX_SLOTS)
                return HV_ERROR_SLOT;
        if (!nic->ifname[0])
                return HV_ERROR_TAP;
        plug(domain, nic);
        return HV_OK;
}

static enum hv_error fake_attach(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, char *text)
{
        return with_domain(vm, HV_OP_ATTACH, do_attach, (void *)nic, text);
}

static enum hv_error do_detach(struct hv_driver *d, struct hv_live_domain *domain, void *arg)
{
        const struct hv_nic_spec *spec = arg;
        struct hv_live_nic *nic = find_nic(domain, spec->port_id);

        if (!nic)
                return HV_ERROR_NO_DEVICE;
        if (d->guest.busy)
                return HV_ERROR_BUSY;
        if (find_asked(domain, spec->port_id))
                return HV_ERROR_IN_PROGRESS;
        if (d->guest.refuses) {
                report(d, HV_EVENT_REMOVAL_FAILED, domain->head.pod_uid, spec->port_id, 0);
                return HV_OK;
        }
        ask(domain, spec->port_id);
        give_up(d, domain);
        return HV_OK;
}

static enum hv_error fake_detach(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, char *text)
{
        return with_domain(vm, HV_OP_DETACH, do_detach, (void *)nic, text);
}

static enum hv_error do_set_link(struct hv_driver *d, struct hv_live_domain *domain, void *arg)
{
        const struct hv_nic_spec *spec = arg;
        struct hv_live_nic *nic = find_nic(domain, spec->port_id);

        (void)d;
        if (!nic)
                return HV_ERROR_NO_DEVICE;
        nic->link_down = spec->link_down;
        return HV_OK;
}

static enum hv_error fake_set_link(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, char *text)
{
        return with_domain(vm, HV_OP_SET_LINK, do_set_link, (void *)nic, text);
}

struct probe {
        const struct hv_nic_spec *nic;
        uint64_t *status;
};

static enum hv_error do_probe(struct hv_driver *d, struct hv_live_domain *domain, void *arg)
{
        struct probe *probe = arg;

        if (!find_nic(domain, probe->nic->port_id))
                return HV_ERROR_NO_DEVICE;
        if (d->guest.driver_fails)
                *probe->status = 3 | HV_VIRTIO_FAILED;
        else
                *probe->status = d->guest.no_driver ? 0 : 11 | HV_VIRTIO_DRIVER_OK;
        return HV_OK;
}

static enum hv_error fake_probe(struct hv_driver_vm *vm, const struct hv_nic_spec *nic, uint64_t *status,
                                char *text)
{
        struct probe probe = {nic, status};

        return with_domain(vm, HV_OP_PROBE, do_probe, &probe, text);
}

static enum hv_error fake_cleanup(struct hv_driver_vm *vm, char *text)
{
        enum hv_error error;

        (void)pthread_mutex_lock(&vm->driver->lock);
        error = enter(vm->driver, HV_OP_CLEANUP, text);
        (void)pthread_mutex_unlock(&vm->driver->lock);
        return error;
}

static enum hv_error fake_console_write(struct hv_driver_vm *vm, const void *data, size_t len, size_t *done,
                                        char *text)
{
        (void)vm;
        (void)data;
        (void)text;
        *done = len;
        return HV_OK;
}

/* ------------------------------------------------------------------ what tests do to it */

void hv_fake_set_guest(struct hv_driver *d, const struct hv_fake_guest *guest)
{
        (void)pthread_mutex_lock(&d->lock);
        d->guest = *guest;
        (void)pthread_mutex_unlock(&d->lock);
}

void hv_fake_fail(struct hv_driver *d, enum hv_op op, enum hv_error error, unsigned count)
{
        (void)pthread_mutex_lock(&d->lock);
        d->failures[op] = (struct failure){error, count};
        (void)pthread_mutex_unlock(&d->lock);
}

void hv_fake_break(struct hv_driver *d)
{
        (void)pthread_mutex_lock(&d->lock);
        report(d, HV_EVENT_DISCONNECTED, "", "", 0);
        d->connected = false;
        (void)pthread_mutex_unlock(&d->lock);
}

void hv_fake_remove_nic(struct hv_driver *d, const char *pod_uid, const char *port_id, bool event)
{
        struct hv_live_domain *domain;
        struct hv_live_nic *nic;

        (void)pthread_mutex_lock(&d->lock);
        domain = zhashx_lookup(d->domains, pod_uid);
        nic = domain ? find_nic(domain, port_id) : NULL;
        if (nic) {
                unplug(domain, nic);
                if (event)
                        report(d, HV_EVENT_DEVICE_REMOVED, pod_uid, port_id, 0);
        }
        (void)pthread_mutex_unlock(&d->lock);
}

void hv_fake_lose_tap(struct hv_driver *d, const char *ifname)
{
        (void)pthread_mutex_lock(&d->lock);
        for (struct hv_live_domain *l = zhashx_first(d->domains); l; l = zhashx_next(d->domains)) {
                for (size_t i = 0; i < l->nic_count; i++)
                        l->nics[i].tap_idle |= strcmp(l->nics[i].ifname, ifname) == 0;
        }
        (void)pthread_mutex_unlock(&d->lock);
}

void hv_fake_kill_domain(struct hv_driver *d, const char *pod_uid, bool crashed)
{
        (void)pthread_mutex_lock(&d->lock);
        if (zhashx_lookup(d->domains, pod_uid))
                end_domain(d, pod_uid, crashed ? HV_LIFECYCLE_CRASHED : HV_LIFECYCLE_STOPPED);
        (void)pthread_mutex_unlock(&d->lock);
}

/* ------------------------------------------------------------------ VMs that outlive the process */

/* As they lie in memory, each behind its size: the next process is of the same build, or starts without them.
 */
static void keep_domains(struct hv_driver *d)
{
        const size_t size = sizeof(struct fake_domain);
        FILE *out = fopen(d->kept, "we");

        for (struct fake_domain *f = out ? zhashx_first(d->domains) : NULL; f; f = zhashx_next(d->domains)) {
                if (fwrite(&size, sizeof(size), 1, out) != 1 || fwrite(f, size, 1, out) != 1)
                        break;
        }
        if (out)
                (void)fclose(out);
}

static struct fake_domain *read_domain(FILE *in)
{
        struct fake_domain *f = calloc(1, sizeof(*f));
        size_t size = 0;

        if (f && fread(&size, sizeof(size), 1, in) == 1 && size == sizeof(*f) && fread(f, size, 1, in) == 1)
                return f;
        free(f);
        return NULL;
}

static void find_kept(struct hv_driver *d, const char *state_dir)
{
        FILE *in;

        if (!state_dir || asprintf(&d->kept, "%s/" HV_FAKE_KEPT, state_dir) < 0)
                return;
        in = fopen(d->kept, "re");
        if (!in) {
                free(d->kept);
                d->kept = NULL;
                return;
        }
        for (struct fake_domain *f = read_domain(in); f; f = read_domain(in))
                (void)zhashx_insert(d->domains, f->live.head.pod_uid, f);
        (void)fclose(in);
}

/* ------------------------------------------------------------------ life */

static struct hv_driver *fake_free(struct hv_driver *d)
{
        if (!d)
                return NULL;
        if (d->kept)
                keep_domains(d);
        free(d->kept);
        zhashx_destroy(&d->domains);
        (void)pthread_mutex_destroy(&d->lock);
        free(d);
        return NULL;
}

int hv_driver_fake_new(struct hv_driver **out, const struct hv_driver_options *options)
{
        struct hv_driver *d = calloc(1, sizeof(*d));

        if (!d)
                return -ENOMEM;
        d->domains = zhashx_new();
        if (!d->domains) {
                free(d);
                return -ENOMEM;
        }
        zhashx_set_destructor(d->domains, free_item);
        (void)pthread_mutex_init(&d->lock, NULL);
        (void)snprintf(d->node, sizeof(d->node), "%s", options->node);
        (void)snprintf(d->accel, sizeof(d->accel), "%s", options->accel);
        d->on_event = options->on_event;
        d->arg = options->arg;
        find_kept(d, options->state_dir);
        *out = d;
        return 0;
}

const struct hv_driver_ops hv_driver_fake_ops = {
    .name = "fake",
    .free = fake_free,
    .connect = fake_connect,
    .disconnect = fake_disconnect,
    .list = fake_list,
    .vm_open = fake_vm_open,
    .vm_close = fake_vm_close,
    .inspect = fake_inspect,
    .start = fake_start,
    .shutdown = fake_shutdown,
    .destroy = fake_destroy,
    .suspend = fake_suspend,
    .resume = fake_resume,
    .attach = fake_attach,
    .detach = fake_detach,
    .set_link = fake_set_link,
    .probe = fake_probe,
    .cleanup = fake_cleanup,
    .console_write = fake_console_write,
};
