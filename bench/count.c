// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU's TCG: counts the instructions between the markers of the benchmark driver,
 * those of the program and those of the kernel apart.
 *
 *   qemu-system-x86_64 ... -plugin file=count.so,out=FILE
 *
 * Every translated instruction gets an inline addition to one of two counters, chosen by its
 * address: the kernel's half of the address space is the upper one. FILE gets one line per
 * measurement: user instructions, kernel instructions, laps, and the user and kernel instructions
 * of the costliest lap. An instruction that faults is counted once for the attempt and once more
 * when it is repeated.
 *
 * For one virtual CPU. Changes nothing in the guest.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "marker.h"
#include "plugin.h"

#define EXPORT	__attribute__((visibility("default")))

EXPORT int qemu_plugin_version = PLUGIN_API_VERSION;

struct counts {
	uint64_t user;
	uint64_t kernel;
};

static struct counts now, begin, lap, worst;
static uint64_t nr_laps;
static FILE *out;

static struct counts since(const struct counts *start)
{
	return (struct counts){ now.user - start->user, now.kernel - start->kernel };
}

/* The weights of the two kinds, in picoseconds. */
static uint64_t weight(const struct counts *counts)
{
	return counts->user * 82 + counts->kernel * 370;
}

/* The marker itself is counted before this is called. */
static void on_begin(unsigned int cpu, void *data)
{
	begin = now;
	lap = now;
	worst = (struct counts){ 0 };
	nr_laps = 0;
}

static void on_lap(unsigned int cpu, void *data)
{
	struct counts last = since(&lap);

	last.user--;
	if (weight(&last) > weight(&worst))
		worst = last;
	nr_laps++;
	lap = now;
}

static void on_end(unsigned int cpu, void *data)
{
	struct counts all = since(&begin);

	fprintf(out, "%llu %llu %llu %llu %llu\n",
		(unsigned long long)(all.user - nr_laps - 1), (unsigned long long)all.kernel,
		(unsigned long long)nr_laps, (unsigned long long)worst.user,
		(unsigned long long)worst.kernel);
	fflush(out);
}

/* The number of a marker, or 0. */
static uint32_t marker_number(const struct qemu_plugin_insn *insn)
{
	static const unsigned char nop[] = { 0x0f, 0x1f, 0x84, 0x00 };
	const unsigned char *bytes = qemu_plugin_insn_data(insn);
	uint32_t number;

	if (qemu_plugin_insn_size(insn) != MARKER_BYTES || memcmp(bytes, nop, sizeof(nop)))
		return 0;
	memcpy(&number, bytes + sizeof(nop), sizeof(number));
	return number;
}

static void on_translate(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), i;

	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		bool kernel = qemu_plugin_insn_vaddr(insn) >> 63;
		void (*cb)(unsigned int cpu, void *data) = NULL;

		qemu_plugin_register_vcpu_insn_exec_inline(insn, PLUGIN_INLINE_ADD_U64,
							   kernel ? &now.kernel : &now.user, 1);
		if (kernel)
			continue;
		switch (marker_number(insn)) {
		case MARKER_BEGIN:
			cb = on_begin;
			break;
		case MARKER_LAP:
			cb = on_lap;
			break;
		case MARKER_END:
			cb = on_end;
			break;
		}
		if (cb)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, cb, PLUGIN_CB_NO_REGS, NULL);
	}
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	int i;

	for (i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
	}
	if (!out) {
		fprintf(stderr, "count: give out=FILE, a file that can be written\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	return 0;
}
