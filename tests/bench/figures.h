/* SPDX-License-Identifier: Apache-2.0 */
/* What the benches count in and how they say it: a line of text for each figure, or of JSON. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Times, in microseconds. What does not fit is not counted. */
struct samples {
        uint32_t *items;
        size_t count, capacity;
};

int samples_init(struct samples *samples, size_t capacity);
void samples_deinit(struct samples *samples);
/* The time since then. */
void samples_add(struct samples *samples, uint64_t since_us);
/* In milliseconds; sorts. 0 of none. */
double samples_percentile(struct samples *samples, unsigned int percent);

void figure_say(bool json, const char *what, const char *unit, double value);
/* Median, 95th and 99th percentile, and how many; then they are none. */
void figure_say_samples(bool json, const char *what, struct samples *samples);

/* Processor time of a process, all its threads; 0 where it cannot be told. */
double process_cpu_us(uint64_t pid);
/* Resident memory in MiB; 0 where it cannot be told. */
double process_memory(uint64_t pid);
