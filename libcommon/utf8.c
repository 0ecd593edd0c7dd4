/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/utf8.h"

#include <string.h>

size_t ak_utf8_decode(const char *text, size_t len, uint32_t *codepoint)
{
        static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
        const uint8_t *s = (const uint8_t *)text;
        uint32_t cp = s[0];
        size_t n = cp < 0x80             ? 1
                   : (cp & 0xe0) == 0xc0 ? 2
                   : (cp & 0xf0) == 0xe0 ? 3
                   : (cp & 0xf8) == 0xf0 ? 4
                                         : 0;

        if (n == 0 || n > len)
                return 0;
        if (n > 1)
                cp &= 0xffu >> (n + 1);
        for (size_t i = 1; i < n; i++) {
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
                cp = cp << 6 | (s[i] & 0x3fu);
        }
        if (cp < smallest[n] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
                return 0;
        *codepoint = cp;
        return n;
}

/* How many bytes from the start are ASCII other than NUL, in steps of a word; nearly all text is. */
static size_t plain_prefix(const char *text, size_t len)
{
        const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);
        size_t i = 0;

        for (; i + sizeof(uint64_t) <= len; i += sizeof(uint64_t)) {
                uint64_t word;

                memcpy(&word, text + i, sizeof(word));
                if ((word | (word - ones)) & tops) /* a top bit, or a borrow out of a zero byte */
                        break;
        }
        return i;
}

bool ak_utf8_valid(const char *text, size_t len)
{
        for (size_t i = plain_prefix(text, len); i < len;) {
                uint32_t cp;
                size_t n;

                if ((signed char)text[i] > 0) {
                        i++;
                        continue;
                }
                n = ak_utf8_decode(text + i, len - i, &cp);

                if (n == 0 || cp == 0)
                        return false;
                i += n;
        }
        return true;
}
