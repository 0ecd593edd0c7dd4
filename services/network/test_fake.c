/* SPDX-License-Identifier: Apache-2.0 */
/* The contract, over the fake backend. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "services/network/test_contract.h"

static char state_dir[] = "/tmp/alkaid-fake-XXXXXX", kept[sizeof(state_dir) + sizeof(VPC_FAKE_KEPT)];

static struct vpc_backend *begin(void)
{
        struct vpc_backend *b = NULL;

        return vpc_fake_new(&b, state_dir) == 0 ? b : NULL;
}

/* Without the ports of those before it. */
static struct vpc_backend *make(const char *node)
{
        FILE *file = fopen(kept, "we");

        (void)node;
        return file && fclose(file) == 0 ? begin() : NULL;
}

static struct vpc_backend *restart(struct vpc_backend *b, const char *node)
{
        (void)node;
        vpc_backend_free(b);
        return begin();
}

static void lose_port(struct vpc_backend *b, const char *port_id)
{
        vpc_fake_lose(b, VPC_EVENT_PORT_LOST, port_id);
}

static void lose_subnet(struct vpc_backend *b, const char *subnet_id)
{
        vpc_fake_lose(b, VPC_EVENT_SUBNET_LOST, subnet_id);
}

int main(void)
{
        const struct contract_host host = {make, restart, lose_port, lose_subnet};

        if (!mkdtemp(state_dir))
                return 1;
        (void)snprintf(kept, sizeof(kept), "%s/" VPC_FAKE_KEPT, state_dir);
        int code = contract_run(&host);
        (void)unlink(kept);
        (void)rmdir(state_dir);
        return code;
}
