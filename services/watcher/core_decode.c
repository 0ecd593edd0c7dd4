/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods and Ports as JSON -> the few facts that wishes are made of. Values past a limit of the wire make the
 * object unusable with an error that names the field; what is merely absent becomes the zero value. The API
 * server has validated all of this; here it is checked again, because a node must not depend on it.
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <strings.h>

#include "libcommon/kube/frame.h"
#include "libcommon/kube/quantity.h"
#include "libcommon/netaddr.h"
#include "services/watcher/core_internal.h"

#define DEFAULT_GRACE_MS 30000 /* as the API has it */

struct reader {
        char *error; /* AK_SCHEMA_ERROR_SIZE; the first complaint stays */
        int rc;
};

AK_PRINTF(2, 3) static void complain(struct reader *r, const char *format, ...)
{
        va_list args;
        if (r->rc < 0)
                return;
        r->rc = -EBADMSG;
        va_start(args, format);
        (void)vsnprintf(r->error, AK_SCHEMA_ERROR_SIZE, format, args);
        va_end(args);
}

static void read_string(struct reader *r, const json_t *object, const char *key, char *out, size_t size)
{
        const json_t *value = json_object_get(object, key);
        if (!value || json_is_null(value))
                return;
        const char *text = json_string_value(value);
        if (!text)
                complain(r, "%s: expected a string", key);
        else if (strlen(text) >= size)
                complain(r, "%s: longer than %zu bytes", key, size - 1);
        else
                memcpy(out, text, strlen(text) + 1);
}
#define READ_STRING(r, object, key, array) read_string(r, object, key, array, sizeof(array))

static uint64_t read_number(struct reader *r, const json_t *object, const char *key, uint64_t max)
{
        const json_t *value = json_object_get(object, key);
        if (!value || json_is_null(value))
                return 0;
        json_int_t number = json_integer_value(value);
        if (!json_is_integer(value) || number < 0 || (uint64_t)number > max) {
                complain(r, "%s: expected an integer of 0..%llu", key, (unsigned long long)max);
                return 0;
        }
        return (uint64_t)number;
}

static uint64_t read_quantity(struct reader *r, const json_t *resources, const char *key)
{
        uint64_t milli = 0;
        const json_t *value = json_object_get(json_object_get(resources, "limits"), key);
        if (!value)
                value = json_object_get(json_object_get(resources, "requests"), key);
        if (value && ak_kube_quantity_milli(value, &milli) < 0)
                complain(r, "virtualMachine.resources: %s is no quantity", key);
        return milli;
}

/* ------------------------------------------------------------------ Pod */

/* userData is base64 in the API ([]byte); a script that was not encoded is taken as it is. */
static char *decode_user_data(const char *text)
{
        gnutls_datum_t in = {(unsigned char *)text, (unsigned int)strlen(text)}, out = {NULL, 0};
        if (gnutls_base64_decode2(&in, &out) < 0 || memchr(out.data, '\0', out.size)) {
                gnutls_free(out.data);
                return strdup(text);
        }
        char *copy = strndup((const char *)out.data, out.size);
        gnutls_free(out.data);
        return copy;
}

static void read_user_data(struct reader *r, const json_t *vm, struct ak_vm_diff *diff)
{
        const char *data = json_string_value(json_object_get(vm, "userData"));
        const char *script = json_string_value(json_object_get(vm, "cloudInitUserDataScript"));
        if (data && data[0])
                diff->user_data = decode_user_data(data);
        else if (script && script[0])
                diff->user_data = strdup(script);
        else
                return;
        if (!diff->user_data)
                r->rc = -ENOMEM;
        else if (strlen(diff->user_data) > 65536)
                complain(r, "virtualMachine.userData: longer than 65536 bytes");
}

static void read_public_key(struct reader *r, const json_t *vm, struct ak_vm_diff *diff)
{
        char key[8192] = "";
        READ_STRING(r, vm, "publicKey", key);
        if (key[0] && !(diff->public_key = strdup(key)))
                r->rc = -ENOMEM;
}

static enum ak_vm_wanted power_of(const char *power)
{
        static const struct {
                const char *text;
                enum ak_vm_wanted wanted;
        } table[] = {
            {"shutdown", AK_VM_WANTED_SHUTDOWN}, {"stopped", AK_VM_WANTED_SHUTDOWN},
            {"stop", AK_VM_WANTED_SHUTDOWN},     {"suspend", AK_VM_WANTED_PAUSED},
            {"suspended", AK_VM_WANTED_PAUSED},  {"paused", AK_VM_WANTED_PAUSED},
        };
        for (size_t i = 0; power && i < AK_ARRAY_SIZE(table); i++)
                if (strcasecmp(power, table[i].text) == 0)
                        return table[i].wanted;
        return AK_VM_WANTED_RUNNING;
}

static enum ak_image_pull pull_of(const char *policy)
{
        if (policy && strcmp(policy, "Always") == 0)
                return AK_IMAGE_PULL_ALWAYS;
        if (policy && strcmp(policy, "Never") == 0)
                return AK_IMAGE_PULL_NEVER;
        return AK_IMAGE_PULL_IF_NOT_PRESENT;
}

static void read_vm(struct reader *r, const json_t *vm, uint64_t nic_slots, struct ak_vm_diff *diff)
{
        const json_t *resources = json_object_get(vm, "resources");
        READ_STRING(r, vm, "name", diff->vm_name);
        READ_STRING(r, vm, "image", diff->image);
        READ_STRING(r, vm, "imageSha256", diff->image_sha256);
        read_public_key(r, vm, diff);
        diff->image_pull = pull_of(json_string_value(json_object_get(vm, "imagePullPolicy")));
        diff->wanted = power_of(json_string_value(json_object_get(vm, "powerSpec")));
        diff->cpu_milli = read_quantity(r, resources, "cpu");
        diff->memory_bytes = read_quantity(r, resources, "memory") / 1000;
        diff->nic_slots = nic_slots;
        if (diff->cpu_milli > 1024000)
                complain(r, "virtualMachine.resources: more than 1024 CPUs");
        if (diff->memory_bytes > UINT64_C(1) << 50)
                complain(r, "virtualMachine.resources: more than 1 PiB of memory");
        read_user_data(r, vm, diff);
}

static bool has_name(const struct watcher_pod *pod, const char *name)
{
        for (size_t i = 0; i < pod->nic_count; i++)
                if (strcmp(pod->nics[i].name, name) == 0)
                        return true;
        return false;
}

/* A NIC without a name, or a second of one name, can only come from an old server: left alone. */
static void read_nic(struct reader *r, const json_t *json, struct watcher_pod *pod)
{
        struct watcher_pod_nic nic = {0};
        const char *link = json_string_value(json_object_get(json, "linkState"));
        READ_STRING(r, json, "name", nic.name);
        READ_STRING(r, json, "portId", nic.port_id);
        nic.mtu = read_number(r, json, "mtu", 65535);
        nic.link_down = link && strcasecmp(link, "down") == 0;
        const json_t *bandwidth = json_object_get(json, "bandwidth");
        nic.ingress_kbps = read_number(r, bandwidth, "ingressKbps", AK_MAX_KBPS);
        nic.egress_kbps = read_number(r, bandwidth, "egressKbps", AK_MAX_KBPS);
        if (!nic.name[0] || has_name(pod, nic.name))
                return;
        if (pod->nic_count == AK_MAX_NICS)
                complain(r, "spec.nics: more than %d", AK_MAX_NICS);
        else
                pod->nics[pod->nic_count++] = nic;
}

static enum watcher_restart restart_of(const char *policy)
{
        if (policy && strcmp(policy, "Never") == 0)
                return W_RESTART_NEVER;
        if (policy && strcmp(policy, "OnFailure") == 0)
                return W_RESTART_ON_FAILURE;
        return W_RESTART_ALWAYS;
}

static bool trace_valid(const char *trace)
{
        return trace && strlen(trace) == 55 && strspn(trace, "0123456789abcdef-") == 55 && trace[2] == '-' &&
               trace[35] == '-' && trace[52] == '-';
}

/* An hour is the most that the wire knows. */
static uint64_t read_grace(struct reader *r, const json_t *object, const char *key)
{
        uint64_t seconds = read_number(r, object, key, INT32_MAX);
        return 1000 * (seconds > 3600 ? 3600 : seconds);
}

static void read_meta(struct reader *r, const json_t *json, struct watcher_pod *pod)
{
        const json_t *meta = json_object_get(json, "metadata");
        const char *trace =
            json_string_value(json_object_get(json_object_get(meta, "annotations"), "alkaid.io/traceparent"));
        READ_STRING(r, meta, "uid", pod->uid);
        READ_STRING(r, meta, "namespace", pod->name_space);
        READ_STRING(r, meta, "name", pod->name);
        pod->resource_version = ak_kube_resource_version(json);
        pod->generation = read_number(r, meta, "generation", INT64_MAX);
        pod->deleting = json_is_string(json_object_get(meta, "deletionTimestamp"));
        pod->grace_ms = read_grace(r, meta, "deletionGracePeriodSeconds");
        if (trace_valid(trace))
                W_COPY(pod->trace, trace);
        if (!pod->uid[0] || !pod->name[0])
                complain(r, "metadata: no uid or no name");
}

static void read_pod(struct reader *r, const json_t *json, uint64_t nic_slots, struct watcher_pod *pod)
{
        const json_t *spec = json_object_get(json, "spec"), *nic;
        size_t i;
        read_meta(r, json, pod);
        pod->shutdown_grace_ms = json_object_get(spec, "terminationGracePeriodSeconds")
                                     ? read_grace(r, spec, "terminationGracePeriodSeconds")
                                     : DEFAULT_GRACE_MS;
        pod->restart = restart_of(json_string_value(json_object_get(spec, "restartPolicy")));
        json_array_foreach(json_object_get(spec, "nics"), i, nic)
        {
                read_nic(r, nic, pod);
        }
        read_vm(r, json_object_get(spec, "virtualMachine"), nic_slots, &pod->vm->vm_diff);
        W_COPY(pod->vm->vm_diff.pod_uid, pod->uid);
        W_COPY(pod->vm->vm_diff.pod_namespace, pod->name_space);
        W_COPY(pod->vm->vm_diff.pod_name, pod->name);
}

static void pod_freep(struct watcher_pod **pod)
{
        watcher_pod_free(*pod);
}

int watcher_pod_decode(const json_t *json, uint64_t nic_slots, struct watcher_pod **out,
                       char error[AK_SCHEMA_ERROR_SIZE])
{
        struct reader r = {.error = error};
        AK_CLEANUP(pod_freep) struct watcher_pod *pod = calloc(1, sizeof(*pod));
        if (!pod)
                return -ENOMEM;
        pod->vm = ak_message_new(ak_message_vm_diff);
        if (!pod->vm)
                return -ENOMEM;
        read_pod(&r, json, nic_slots, pod);
        if (r.rc < 0)
                return r.rc;
        *out = AK_STEAL(pod);
        return 0;
}

struct watcher_pod *watcher_pod_free(struct watcher_pod *pod)
{
        if (pod)
                ak_message_free(pod->vm);
        free(pod);
        return NULL;
}

/* ------------------------------------------------------------------ Port */

static enum watcher_port_phase phase_of(const char *phase)
{
        static const char *const names[] = {"", "Unbound", "Bound", "Releasing", "Released"};
        for (size_t i = 1; phase && i < AK_ARRAY_SIZE(names); i++)
                if (strcmp(phase, names[i]) == 0)
                        return (enum watcher_port_phase)i;
        return W_PORT_OTHER;
}

/* "10.0.0.5" of the subnet 10.0.0.0/24 -> "10.0.0.5/24". */
static int with_prefix(const char *address, const char *cidr, char *out, size_t size)
{
        struct ak_cidr net, host;
        if (ak_cidr_parse(address, &host) == 0)
                return snprintf(out, size, "%s", address) < (int)size ? 0 : -EINVAL;
        if (ak_ip_parse(address, &host.addr) < 0)
                return -EINVAL;
        bool same = ak_cidr_parse(cidr, &net) == 0 && net.addr.family == host.addr.family;
        int prefix = same ? net.prefix_len : host.addr.family == 4 ? 32 : 128;
        return snprintf(out, size, "%s/%d", address, prefix) < (int)size ? 0 : -EINVAL;
}

static void read_addresses(struct reader *r, const json_t *list, struct ak_nic_diff *facts)
{
        size_t i;
        json_t *item;
        json_array_foreach(list, i, item)
        {
                const char *text = json_string_value(item);
                char address[AK_LEN_CIDR + 1];
                if (i >= AK_MAX_ADDRS)
                        complain(r, "spec.ipAddresses: more than %d", AK_MAX_ADDRS);
                else if (!text || with_prefix(text, facts->cidr, address, sizeof(address)) < 0)
                        complain(r, "spec.ipAddresses[%zu]: no address", i);
                else if (AK_TEXTLIST_ADD(&facts->addresses, address) < 0)
                        complain(r, "out of memory");
        }
}

static void read_dns(struct reader *r, const json_t *list, struct ak_nic_diff *facts)
{
        size_t i;
        json_t *item;
        json_array_foreach(list, i, item)
        {
                const char *text = json_string_value(item);
                if (i >= AK_MAX_ADDRS || !text || strlen(text) > AK_LEN_CIDR) {
                        complain(r, "status.dns[%zu]: too many or no address", i);
                        return;
                }
                if (AK_TEXTLIST_ADD(&facts->dns, text) < 0)
                        complain(r, "out of memory");
        }
}

/* A rule that did not fit must not be lost in silence: it may be one that keeps others out. */
static void read_rules(struct reader *r, const json_t *list, struct ak_nic_diff *facts)
{
        size_t i;
        json_t *item;
        json_array_foreach(list, i, item)
        {
                const char *text = json_string_value(item);
                if (i >= AK_MAX_RULES || !text || strlen(text) > AK_LEN_RULE) {
                        complain(r, "status.securityRules[%zu]: too many or too long", i);
                        return;
                }
                if (AK_TEXTLIST_ADD(&facts->rules, text) < 0) {
                        complain(r, "out of memory");
                        return;
                }
        }
}

static void read_facts(struct reader *r, const json_t *spec, const json_t *status, struct ak_nic_diff *facts)
{
        char mac[AK_MAC_SIZE] = "";
        READ_STRING(r, spec, "vpc", facts->vpc);
        READ_STRING(r, spec, "subnet", facts->subnet);
        READ_STRING(r, spec, "macAddress", mac);
        READ_STRING(r, status, "vpcID", facts->vpc_id);
        READ_STRING(r, status, "subnetID", facts->subnet_id);
        READ_STRING(r, status, "cidr", facts->cidr);
        READ_STRING(r, status, "gateway", facts->gateway);
        READ_STRING(r, status, "cidr6", facts->cidr6);
        READ_STRING(r, status, "gateway6", facts->gateway6);
        facts->dhcp = json_is_true(json_object_get(status, "dhcp"));
        facts->source_nat = json_is_true(json_object_get(status, "sourceNAT"));
        facts->restricted = json_array_size(json_object_get(spec, "securityGroups")) > 0;
        facts->vni = read_number(r, status, "vni", 16777215);
        facts->mtu = read_number(r, status, "mtu", 65535);
        facts->slot = read_number(r, spec, "slot", AK_MAX_NICS);
        read_addresses(r, json_object_get(spec, "ipAddresses"), facts);
        read_dns(r, json_object_get(status, "dns"), facts);
        read_rules(r, json_object_get(status, "securityRules"), facts);
        if (ak_mac_parse(mac, facts->mac) < 0)
                complain(r, "spec.macAddress: no unicast MAC");
}

struct watcher_port *watcher_port_free(struct watcher_port *port)
{
        if (port)
                ak_nic_diff_deinit(&port->facts);
        free(port);
        return NULL;
}

/* Who it is must be readable; if the rest is not, the port exists but cannot be used (`defect`). */
int watcher_port_decode(const json_t *json, struct watcher_port **out, char error[AK_SCHEMA_ERROR_SIZE])
{
        struct reader r = {.error = error};
        char defect[AK_SCHEMA_ERROR_SIZE] = "";
        struct reader lenient = {.error = defect};
        const json_t *spec = json_object_get(json, "spec"), *status = json_object_get(json, "status");
        const json_t *bound = json_object_get(spec, "boundTo"), *meta = json_object_get(json, "metadata");
        AK_CLEANUP(watcher_port_freep) struct watcher_port *port = calloc(1, sizeof(*port));
        if (!port)
                return -ENOMEM;
        READ_STRING(&r, meta, "name", port->id);
        READ_STRING(&r, meta, "namespace", port->name_space);
        READ_STRING(&r, meta, "resourceVersion", port->version);
        READ_STRING(&r, bound, "uid", port->pod_uid);
        READ_STRING(&r, bound, "nic", port->nic);
        if (!port->id[0])
                complain(&r, "metadata.name: empty");
        if (r.rc < 0)
                return r.rc;
        port->resource_version = ak_kube_resource_version(json);
        port->phase = phase_of(json_string_value(json_object_get(status, "phase")));
        read_facts(&lenient, spec, status, &port->facts);
        W_COPY(port->defect, defect);
        *out = AK_STEAL(port);
        return 0;
}
