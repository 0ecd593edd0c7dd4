/* SPDX-License-Identifier: Apache-2.0 */
/* resource.Quantity of Kubernetes: "200Mi", "1.5", "500m", "1e3". Pure. */
#pragma once

#include <jansson.h>
#include <stdint.h>

/*
 * A string or a number -> thousandths of a unit, rounded up. -EINVAL for what is no quantity or negative,
 * -ERANGE past 2^63 thousandths.
 */
int ak_kube_quantity_milli(const json_t *value, uint64_t *out);
int ak_kube_quantity_parse(const char *text, uint64_t *milli);
