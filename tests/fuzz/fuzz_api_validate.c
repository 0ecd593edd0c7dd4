/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any JSON object through the tables of every kind. What is left after pruning has no unknown fields: a
 * second walk finds none, and the same faults.
 */
#include <stdint.h>
#include <stdlib.h>

#include "services/apiserver/core_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const struct api_kind *kind, json_t *object, size_t *unknown_count)
{
        struct api_causes causes = {0};
        json_t *unknown = json_array(), *status;
        size_t faults;

        api_validate(kind->schema, object, "", &causes, unknown);
        faults = json_array_size(causes.list);
        *unknown_count = json_array_size(unknown);
        if (faults) {
                status = api_status_invalid(kind, "x", &causes);
                if (!status)
                        abort();
                json_decref(status);
        }
        api_causes_deinit(&causes);
        json_decref(unknown);
        return faults;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        json_t *input = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);

        for (size_t k = 0; input && k < api_kind_count; k++) {
                json_t *object = json_deep_copy(input), *table;
                size_t unknown, again, faults = walk(api_kinds[k], object, &unknown);

                if (walk(api_kinds[k], object, &again) != faults || again > 0)
                        abort();
                table = api_table(api_kinds[k], object, "Metadata", 0);
                if (!table)
                        abort();
                json_decref(table);
                json_decref(object);
        }
        json_decref(input);
        return 0;
}
