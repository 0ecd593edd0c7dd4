/* SPDX-License-Identifier: Apache-2.0 */
/* The contract, over the fake backend. */
#include "services/network/test_contract.h"

static struct vpc_backend *make(const char *node)
{
        struct vpc_backend *b = NULL;

        (void)node;
        return vpc_fake_new(&b, NULL) == 0 ? b : NULL;
}

static struct vpc_backend *restart(struct vpc_backend *b, const char *node)
{
        (void)node;
        return vpc_fake_restart(b);
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

        return contract_run(&host);
}
