/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The patches by themselves: input is {"original": …, "patch": …}. The original must come out of each as it
 * went in, and a patch that is refused must say why.
 */
#include <stdint.h>
#include <stdlib.h>

#include "services/apiserver/core_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(json_t *result, const char *error)
{
        if (!result && !error[0])
                abort();
        json_decref(result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        json_t *input = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
        json_t *original = json_object_get(input, "original"), *patch = json_object_get(input, "patch");
        json_t *before = json_deep_copy(input);
        char error[API_ERROR_SIZE];

        if (json_is_object(original) && patch) {
                error[0] = '\0';
                check(api_patch_strategic(api_kind_pod.schema, original, patch, error), error);
                error[0] = '\0';
                check(api_patch_json(original, patch, error), error);
                json_decref(api_patch_merge(original, patch));
                if (!json_equal(input, before))
                        abort();
        }
        json_decref(before);
        json_decref(input);
        return 0;
}
