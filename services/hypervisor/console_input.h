/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyboard input of one VM's console: an actor that feeds the driver, which may block. Bounded: what a
 * guest does not read is dropped past 64 KiB, with a log line.
 */
#pragma once

#include "services/hypervisor/backends/driver.h"

struct hv_console_input;

struct hv_console_input *hv_console_input_new(const struct hv_driver_ops *ops, struct hv_driver *driver,
                                              const char *pod_uid);
struct hv_console_input *hv_console_input_free(struct hv_console_input *input);
void hv_console_input_write(struct hv_console_input *input, const void *data, size_t len);
