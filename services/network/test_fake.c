/* SPDX-License-Identifier: Apache-2.0 */
/* The contract, over the fake backend. */
#include "services/network/test_contract.h"

static struct vpc_backend *make(const char *node)
{
        struct vpc_backend *b = NULL;

        (void)node;
        return vpc_fake_new(&b) == 0 ? b : NULL;
}

int main(void)
{
        return contract_run(make, false);
}
