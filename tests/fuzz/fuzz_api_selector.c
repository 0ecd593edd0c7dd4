/* SPDX-License-Identifier: Apache-2.0 */
/* First line a label selector, the rest a field selector; what parses is matched against a pod. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/apiserver/core_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        AK_CLEANUP(api_selector_freep) struct api_selector *s = NULL;
        AK_AUTOFREE char *labels = strndup((const char *)data, size);
        char *fields = labels ? strchr(labels, '\n') : NULL;
        json_t *pod = json_pack("{s:{s:s, s:{s:s, s:s}}, s:{s:s}}", "metadata", "name", "p", "labels", "app",
                                "web", "x/y", "", "spec", "nodeName", "n1");
        char error[256] = "";

        if (fields)
                *fields++ = '\0';
        if (!labels || !pod)
                abort();
        if (api_selector_new(&s, &api_kind_pod, labels, fields, error) == 0)
                (void)api_selector_matches(s, pod);
        else if (!error[0])
                abort();
        json_decref(pod);
        return 0;
}
