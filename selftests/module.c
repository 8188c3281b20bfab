// SPDX-License-Identifier: GPL-2.0
/*
 * Loading and unloading: refused while anything is in use, clean when nothing is, any number of
 * times.
 *
 * Works with the module file and the system calls directly. Whatever happens, the module is loaded
 * when a test ends: other programs run after this one.
 */
#include "pheap_test.h"
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define MODULE_FILE	"/lib/pheap.ko"
#define NR_ROUNDS	50

static bool module_is_loaded(void)
{
	return !access("/sys/module/pheap/parameters", F_OK);
}

static int module_load(const char *parameters)
{
	int fd = open(MODULE_FILE, O_RDONLY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, parameters, 0))
		r = -errno;
	close(fd);
	return r;
}

static int module_unload(void)
{
	return syscall(SYS_delete_module, "pheap", O_NONBLOCK) ? -errno : 0;
}

/* Neither of the two errors that say "in use" changes anything. */
static bool unload_is_refused(void)
{
	int r = module_unload();

	return (r == -EWOULDBLOCK || r == -EBUSY) && module_is_loaded();
}

FIXTURE(module)
{
	int fd;
};

FIXTURE_SETUP(module)
{
	if (access(MODULE_FILE, R_OK))
		SKIP(return, "no " MODULE_FILE);
	if (!module_is_loaded())
		ASSERT_EQ(0, module_load(""));
	self->fd = -1;
}

FIXTURE_TEARDOWN(module)
{
	if (self->fd >= 0)
		close(self->fd);
	if (!module_is_loaded())
		EXPECT_EQ(0, module_load(""));
	/* As the set-up of the system leaves it: open to all users. */
	EXPECT_EQ(0, chmod(PHEAP_DEVICE, 0666));
}

TEST_F(module, unload_is_refused_while_a_descriptor_is_open)
{
	struct pheap_ioc_info info;

	self->fd = device_open();
	ASSERT_LE(0, self->fd);
	EXPECT_TRUE(unload_is_refused());
	EXPECT_EQ(0, raw_info(self->fd, &info));
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(0, module_unload());
	EXPECT_FALSE(module_is_loaded());
}

TEST_F(module, unload_is_refused_while_a_heap_lives_without_descriptor)
{
	static const char * const names[] = { NULL, "named" };
	struct pheap_ioc_create c;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(names); i++) {
		int fd = device_open();
		char *p;

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, raw_create(fd, 64 * KIB, MIB, 0, names[i], &c));
		close(fd);
		EXPECT_TRUE(unload_is_refused());
		p = u64_to_ptr(c.base);
		p[0] = 1;
		p[64 * KIB - 1] = 2;
		EXPECT_TRUE(unload_is_refused());
		fd = device_open();
		ASSERT_LE(0, fd);
		EXPECT_EQ(0, raw_destroy(fd, c.heap));
		close(fd);
		EXPECT_EQ(0, module_unload());
		EXPECT_EQ(0, module_load(""));
	}
}

TEST_F(module, unload_is_refused_while_a_heap_of_another_process_lives)
{
	int ready[2], status;
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct pheap_ioc_create heap;
		int fd = device_open();

		if (fd < 0 || raw_create(fd, 0, 0, 0, NULL, &heap))
			_exit(1);
		close(fd);
		if (write(ready[1], "x", 1) != 1)
			_exit(2);
		for (;;)
			pause();
	}
	close(ready[1]);
	EXPECT_EQ(1, read(ready[0], &c, 1));
	EXPECT_TRUE(unload_is_refused());
	EXPECT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	/* Its end gave everything back, the references to the module too. */
	EXPECT_TRUE(counters_settle((struct pheap_counters){ 0 }));
	EXPECT_EQ(0, module_unload());
}

TEST_F(module, unload_works_after_munmap_of_the_only_heap)
{
	struct pheap_ioc_create c;
	int fd = device_open();

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, raw_create(fd, 64 * KIB, MIB, 0, NULL, &c));
	close(fd);
	ASSERT_EQ(0, munmap(u64_to_ptr(c.base), c.reserved_bytes));
	EXPECT_EQ(0, param_get("nr_heaps"));
	EXPECT_EQ(0, module_unload());
}

TEST_F(module, device_appears_and_goes_with_the_module)
{
	struct stat st;

	EXPECT_EQ(0, stat(PHEAP_DEVICE, &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	ASSERT_EQ(0, module_unload());
	EXPECT_EQ(-1, stat(PHEAP_DEVICE, &st));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(-ENOENT, device_open());
	EXPECT_EQ(-ENOENT, (int)param_get("nr_heaps"));
	ASSERT_EQ(0, module_load(""));
	EXPECT_EQ(0, stat(PHEAP_DEVICE, &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
}

TEST_F(module, second_load_is_refused)
{
	EXPECT_EQ(-EEXIST, module_load(""));
	EXPECT_TRUE(module_is_loaded());
	self->fd = device_open();
	EXPECT_LE(0, self->fd);
}

TEST_F(module, parameters_have_their_modes)
{
	static const struct {
		const char *name;
		mode_t mode;
	} rows[] = {
		{ "system_limit_pages", 0644 }, { "user_limit_pages", 0644 },
		{ "process_limit_pages", 0644 }, { "user_limit_heaps", 0644 },
		{ "reserve_pages", 0644 }, { "committed_pages", 0444 },
		{ "metadata_bytes", 0444 }, { "nr_heaps", 0444 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		char path[128];
		struct stat st;

		snprintf(path, sizeof(path), PARAM_DIR "/%s", rows[i].name);
		ASSERT_EQ(0, stat(path, &st)) {
			TH_LOG("no parameter %s", rows[i].name);
		}
		EXPECT_EQ(rows[i].mode, st.st_mode & 0777) {
			TH_LOG("mode of %s", rows[i].name);
		}
		EXPECT_LE(0, param_get(rows[i].name));
	}
}

TEST_F(module, parameters_are_set_at_load)
{
	ASSERT_EQ(0, module_unload());
	ASSERT_EQ(0, module_load("user_limit_pages=1234 user_limit_heaps=99 reserve_pages=20000"));
	EXPECT_EQ(1234, param_get("user_limit_pages"));
	EXPECT_EQ(99, param_get("user_limit_heaps"));
	EXPECT_EQ(20000, param_get("reserve_pages"));
	EXPECT_LT(0, param_get("system_limit_pages"));
	EXPECT_EQ(0, module_unload());
}

TEST_F(module, defaults_follow_the_memory_of_the_machine)
{
	long long ram = meminfo("MemTotal") / PAGE, reserve;

	ASSERT_EQ(0, module_unload());
	ASSERT_EQ(0, module_load(""));
	EXPECT_LE(ram / 2 - ram / 50, param_get("system_limit_pages"));
	EXPECT_GE(ram / 2 + ram / 50, param_get("system_limit_pages"));
	EXPECT_LE(ram / 4 - ram / 100, param_get("user_limit_pages"));
	EXPECT_GE(ram / 4 + ram / 100, param_get("user_limit_pages"));
	EXPECT_LE(ram / 4 - ram / 100, param_get("process_limit_pages"));
	EXPECT_GE(ram / 4 + ram / 100, param_get("process_limit_pages"));
	EXPECT_EQ(65536, param_get("user_limit_heaps"));
	reserve = ram * 3 / 100 > 16384 ? ram * 3 / 100 : 16384;
	EXPECT_LE(reserve - ram / 500, param_get("reserve_pages"));
	EXPECT_GE(reserve + ram / 500, param_get("reserve_pages"));
}

TEST_F_TIMEOUT(module, fifty_rounds_of_load_use_and_unload, 120)
{
	unsigned long round, rounds = test_scaled(NR_ROUNDS);

	ASSERT_EQ(0, module_unload());
	for (round = 0; round < rounds; round++) {
		struct pheap_ioc_create c;
		void *p;
		int fd;

		ASSERT_EQ(0, module_load("")) {
			TH_LOG("round %lu", round);
		}
		fd = device_open();
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, raw_create(fd, 0, round & 1 ? 0 : 64 * KIB, 0,
					round & 2 ? "round" : NULL, &c));
		ASSERT_EQ(0, raw_alloc(fd, c.heap, 20000, &p));
		memset(p, round, 20000);
		/* Every third round the heap ends by munmap instead. */
		ASSERT_EQ(0, round % 3 ? raw_destroy(fd, c.heap) :
					 munmap(u64_to_ptr(c.base), c.reserved_bytes));
		close(fd);
		ASSERT_EQ(0, param_get("committed_pages"));
		ASSERT_EQ(0, param_get("metadata_bytes"));
		ASSERT_EQ(0, param_get("nr_heaps"));
		ASSERT_EQ(0, module_unload()) {
			TH_LOG("round %lu", round);
		}
	}
}

TEST_HARNESS_MAIN
