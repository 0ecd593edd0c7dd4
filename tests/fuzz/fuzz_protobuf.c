/* SPDX-License-Identifier: Apache-2.0 */
/* A body as Kubernetes protobuf: envelope and kinds. What is read must be JSON that can be written. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/apiserver/protobuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char error[PROTOBUF_ERROR_SIZE] = "";
        json_t *object = NULL;

        if (protobuf_to_json(data, size, &object, error) == 0) {
                char *text = json_dumps(object, JSON_COMPACT);

                if (!text)
                        abort();
                free(text);
                json_decref(object);
        } else if (!*error) {
                abort();
        }
        return 0;
}
