/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scoped ownership.
 *
 * A local owns what it holds through AK_CLEANUP(fn) and hands it out with AK_STEAL() as the last step
 * before a function returns 0; out-parameters are untouched on failure. Every destructor takes NULL or a
 * zeroed struct; `_free` returns NULL.
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define AK_CLEANUP(fn) __attribute__((__cleanup__(fn)))

/* AK_DEFINE_CLEANUP(struct foo *, foo_free) defines foo_freep(), to be used as AK_CLEANUP(foo_freep). */
#define AK_DEFINE_CLEANUP(type, fn)                                                                          \
        static inline void fn##p(type *p)                                                                    \
        {                                                                                                    \
                if (*p)                                                                                      \
                        fn(*p);                                                                              \
        }

#define AK_STEAL(p)                                                                                          \
        __extension__({                                                                                      \
                __typeof__(p) ak_stolen_ = (p);                                                              \
                (p) = NULL;                                                                                  \
                ak_stolen_;                                                                                  \
        })

#define AK_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define AK_PRINTF(f, a)  __attribute__((__format__(__printf__, f, a)))
#define AK_UNUSED        __attribute__((__unused__))
#define AK_SENTINEL      __attribute__((__sentinel__))

static inline void ak_freep(void *p)
{
        free(*(void **)p);
}

static inline void ak_closep(int *fd)
{
        if (*fd >= 0)
                (void)close(*fd);
}

/* AK_AUTOFREE char *s = NULL;   AK_AUTOCLOSE int fd = -1; */
#define AK_AUTOFREE  AK_CLEANUP(ak_freep)
#define AK_AUTOCLOSE AK_CLEANUP(ak_closep)
