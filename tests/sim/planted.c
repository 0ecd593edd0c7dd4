/* SPDX-License-Identifier: Apache-2.0 */
/* The bug that alkaid-sim-planted runs with. */
#include "libcommon/planted.h"

#include <stddef.h>

#include "libcommon/cleanup.h"

const char *ak_planted = "";

bool ak_plant(const char *bug)
{
        static const char *const bugs[] = {
#define NAME(name) #name,
            AK_PLANTS(NAME)
#undef NAME
        };

        for (size_t i = 0; i < sizeof(bugs) / sizeof(bugs[0]); i++) {
                if (strcmp(bugs[i], bug) == 0) {
                        ak_planted = bugs[i];
                        return true;
                }
        }
        return false;
}
