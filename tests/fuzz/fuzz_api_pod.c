/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any JSON as the body of a write: created as each kind, then the same body as update and as each of the
 * three patches of a pod that exists, dry and for real. Whatever comes, an answer with a body and, after a
 * refusal, not one change.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/apiserver/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_US UINT64_C(1767225600000000)

static int handle(struct api_core *core, struct api_request r)
{
        struct api_result result;
        int code;

        r.name_space = r.kind->namespaced ? "default" : "";
        r.subresource = r.subresource ? r.subresource : "";
        r.real_us = NOW_US;
        if (api_core_handle(core, &r, &result) < 0 || !result.object || result.code < 200 ||
            (result.code >= 400 && result.change_count > 0) || (r.dry_run && result.change_count > 0))
                abort();
        for (size_t i = 0; i < result.change_count; i++)
                if (!result.changes[i].object ||
                    result.changes[i].resource_version > api_core_resource_version(core))
                        abort();
        code = result.code;
        api_result_deinit(&result);
        return code;
}

static struct api_core *core_with_pod(void)
{
        const struct api_core_config config = {.seed = 1, .auto_create_vpc = true, .nic_slots = 4};
        struct api_core *core = NULL;
        struct api_result started;
        json_t *pod = json_pack("{s:{s:s}, s:{s:s, s:[{s:s}, {s:s}], s:{s:s, s:s}}}", "metadata", "name", "p",
                                "spec", "vpc", "v", "nics", "name", "eth0", "name", "eth1", "virtualMachine",
                                "name", "vm", "image", "h/i");

        if (!pod || api_core_new(&core, &config) < 0 || api_core_start(core, NOW_US, &started) < 0)
                abort();
        api_result_deinit(&started);
        if (handle(core, (struct api_request){.verb = API_CREATE,
                                              .kind = api_kind_by_name("", "v1", "Pod"),
                                              .name = "",
                                              .body = pod}) != 201)
                abort();
        json_decref(pod);
        return core;
}

static void change_pod(struct api_core *core, json_t *body, const char *subresource, bool dry)
{
        struct api_request r = {.verb = API_UPDATE,
                                .kind = api_kind_by_name("", "v1", "Pod"),
                                .name = "p",
                                .subresource = subresource,
                                .body = body,
                                .field_validation = API_FIELDS_WARN,
                                .dry_run = dry};

        (void)handle(core, r);
        r.verb = API_PATCH;
        for (int type = API_PATCH_STRATEGIC; type <= API_PATCH_JSON; type++) {
                r.patch_type = (enum api_patch)type;
                (void)handle(core, r);
        }
}

static void tick(struct api_core *core)
{
        struct api_result result;
        uint64_t next;

        if (api_core_tick(core, NOW_US, &result, &next) < 0)
                abort();
        api_result_deinit(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        json_t *body = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
        struct api_core *core;

        if (!body)
                return 0;
        core = core_with_pod();
        for (size_t k = 0; k < api_kind_count; k++)
                (void)handle(core, (struct api_request){.verb = API_CREATE,
                                                        .kind = api_kinds[k],
                                                        .name = "",
                                                        .body = body,
                                                        .field_validation = API_FIELDS_WARN});
        tick(core);
        change_pod(core, body, "", true);
        change_pod(core, body, "", false);
        change_pod(core, body, "status", false);
        (void)handle(core, (struct api_request){.verb = API_DELETE,
                                                .kind = api_kind_by_name("", "v1", "Pod"),
                                                .name = "p",
                                                .body = body});
        tick(core);
        (void)api_core_free(core);
        json_decref(body);
        return 0;
}
