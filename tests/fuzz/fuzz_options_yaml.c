/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files, through libyaml's and libcyaml's parsers. Its complaints go to standard error. */
#include <string.h>

#include "libcommon/cleanup.h"
#include "libcommon/options_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ak_option table[] = {
    {.name = "state-dir", .type = AK_OPT_STRING},
    {.name = "max-vms", .type = AK_OPT_UINT},
    {.name = "image-dir", .type = AK_OPT_LIST},
    {.name = "backend", .type = AK_OPT_ENUM, .choices = "bridge|fake"},
};

/* Every value is of an option of the table, stands somewhere in the file, and only a list may be empty. */
static int take(void *arg, const struct ak_yaml_value *v)
{
        size_t *total = arg;

        if (v->option < table || v->option >= table + AK_ARRAY_SIZE(table) || v->line == 0 || v->column == 0)
                abort();
        if (!v->text && v->option->type != AK_OPT_LIST)
                abort();
        *total += v->text ? strlen(v->text) : 0;
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        size_t total = 0;

        (void)ak_options_yaml_text("input", (const char *)data, size, table, AK_ARRAY_SIZE(table), take,
                                   &total);
        return 0;
}
