/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a watch, cut at a place that the input says, and a kubeconfig and quantity of the same bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/kube/frame.h"
#include "libcommon/kube/kubeconfig.h"
#include "libcommon/kube/quantity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_line(void *arg, const char *line, size_t len)
{
        char error[AK_KUBE_ERROR_SIZE];
        struct ak_kube_event event;
        (void)arg;
        if (ak_kube_event_decode(line, len, &event, error) == 0) {
                (void)ak_kube_resource_version(event.object);
                ak_kube_event_deinit(&event);
        }
        return 0;
}

static void feed(const char *data, size_t size, size_t cut)
{
        struct ak_kube_lines lines = {.max = 4096};
        if (ak_kube_lines_feed(&lines, data, cut, on_line, NULL) == 0)
                (void)ak_kube_lines_feed(&lines, data + cut, size - cut, on_line, NULL);
        ak_kube_lines_deinit(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char error[AK_KUBECONFIG_ERROR_SIZE];
        struct ak_kubeconfig config;
        uint64_t milli;
        AK_AUTOFREE char *text = malloc(size + 1);
        if (!text || size == 0)
                return 0;
        memcpy(text, data, size);
        text[size] = '\0';
        feed(text, size, data[0] % size);
        (void)ak_kube_quantity_parse(text, &milli);
        /* Not the files that a kubeconfig may name. */
        if (strchr(text, '/') == NULL && !strstr(text, "File") &&
            ak_kubeconfig_parse(&config, text, size, "/nonexistent", NULL, error) == 0)
                ak_kubeconfig_deinit(&config);
        return 0;
}
