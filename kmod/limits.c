// SPDX-License-Identifier: GPL-2.0
/*
 * What heaps may take: limits for the system, a user and a process, and the reserve of memory
 * that nobody gets.
 *
 * Two different questions are asked before pages are allocated. pheap_charge_pages() asks
 * whether the owner may have them (EDQUOT); what it granted stays granted until
 * pheap_uncharge_pages(). pheap_memory_claim() asks whether the machine has them to spare
 * (ENOMEM); the claim lasts only while the caller allocates, so that several callers do not
 * take the same free memory for theirs. Metadata counts like pages but is never refused: it is
 * a small part of what was charged, and is charged to the memory cgroup by its flags.
 */
#include <linux/capability.h>
#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/sysinfo.h>

#include "pheap.h"

static unsigned long system_limit_pages;
module_param(system_limit_pages, ulong, 0644);
MODULE_PARM_DESC(system_limit_pages,
		 "Committed pages and metadata of all heaps (default: half of the memory)");

static unsigned long user_limit_pages;
module_param(user_limit_pages, ulong, 0644);
MODULE_PARM_DESC(user_limit_pages,
		 "The same for the heaps of one user (default: a quarter of the memory)");

static unsigned long process_limit_pages;
module_param(process_limit_pages, ulong, 0644);
MODULE_PARM_DESC(process_limit_pages,
		 "The same for the heaps of one process (default: a quarter of the memory)");

static unsigned int user_limit_heaps = 65536;
module_param(user_limit_heaps, uint, 0644);
MODULE_PARM_DESC(user_limit_heaps, "Heaps of one user (default: 65536)");

static unsigned long reserve_pages;
module_param(reserve_pages, ulong, 0644);
MODULE_PARM_DESC(reserve_pages,
		 "No heap grows when less memory than this is available (default: 64 MiB or 3 %)");

static atomic_long_t pheap_pages_charged;
static atomic_long_t pheap_metadata_bytes;
static atomic_long_t pheap_nr_heaps;
/*
 * Pages that callers are about to allocate: still available as far as the kernel knows, but
 * spoken for.
 */
static atomic_long_t pheap_pages_claimed;

static int pheap_counter_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%ld\n", atomic_long_read(kp->arg));
}

static const struct kernel_param_ops pheap_counter_ops = {
	.get = pheap_counter_get,
};

module_param_cb(committed_pages, &pheap_counter_ops, &pheap_pages_charged, 0444);
MODULE_PARM_DESC(committed_pages, "Pages committed now, of all heaps (read only)");
module_param_cb(metadata_bytes, &pheap_counter_ops, &pheap_metadata_bytes, 0444);
MODULE_PARM_DESC(metadata_bytes, "Kernel memory that describes all heaps (read only)");
module_param_cb(nr_heaps, &pheap_counter_ops, &pheap_nr_heaps, 0444);
MODULE_PARM_DESC(nr_heaps, "Heaps of all processes (read only)");

static DEFINE_HASHTABLE(pheap_users, 6);
static DEFINE_SPINLOCK(pheap_user_lock);

/**
 * pheap_limits_init - fill in the limits that depend on the machine
 *
 * Context: module init.
 */
void pheap_limits_init(void)
{
	unsigned long ram = totalram_pages();

	if (!system_limit_pages)
		system_limit_pages = ram / 2;
	if (!user_limit_pages)
		user_limit_pages = ram / 4;
	if (!process_limit_pages)
		process_limit_pages = ram / 4;
	if (!reserve_pages)
		reserve_pages = max((64UL << 20) >> PAGE_SHIFT, ram / 100 * 3);
}

static struct pheap_user *pheap_user_find_locked(kuid_t uid)
{
	struct pheap_user *user;

	lockdep_assert_held(&pheap_user_lock);
	hash_for_each_possible(pheap_users, user, node, __kuid_val(uid)) {
		if (uid_eq(user->uid, uid)) {
			user->ref++;
			return user;
		}
	}
	return NULL;
}

/**
 * pheap_user_get - find or make the account of a user
 * @uid: the user
 *
 * Return: the account with a reference, or NULL when memory is short.
 * Context: may sleep.
 */
struct pheap_user *pheap_user_get(kuid_t uid)
{
	struct pheap_user *fresh, *user;

	spin_lock(&pheap_user_lock);
	user = pheap_user_find_locked(uid);
	spin_unlock(&pheap_user_lock);
	if (user)
		return user;

	fresh = kzalloc(sizeof(*fresh), PHEAP_GFP);
	if (!fresh)
		return NULL;
	fresh->uid = uid;
	fresh->ref = 1;

	spin_lock(&pheap_user_lock);
	user = pheap_user_find_locked(uid);
	if (!user) {
		hash_add(pheap_users, &fresh->node, __kuid_val(uid));
		user = fresh;
		fresh = NULL;
	}
	spin_unlock(&pheap_user_lock);
	kfree(fresh);
	return user;
}

/**
 * pheap_user_put - drop a reference
 * @user: the account
 *
 * Context: any but interrupts.
 */
void pheap_user_put(struct pheap_user *user)
{
	spin_lock(&pheap_user_lock);
	if (--user->ref)
		user = NULL;
	else
		hash_del(&user->node);
	spin_unlock(&pheap_user_lock);
	kfree(user);
}

/*
 * Add to a counter unless that takes it past a limit that binds the caller. What is refused is
 * never in the counter, where it would make others fail.
 */
static bool pheap_count(atomic_long_t *counter, unsigned long nr, unsigned long extra,
			unsigned long limit)
{
	long old = atomic_long_read(counter);

	do {
		if (unlikely(old + extra > limit || nr > limit - old - extra)) {
			if (!capable(CAP_SYS_RESOURCE))
				return false;
			atomic_long_add(nr, counter);
			return true;
		}
	} while (!atomic_long_try_cmpxchg(counter, &old, old + nr));
	return true;
}

/**
 * pheap_charge_heap - count one heap more
 * @ctx: its context
 *
 * Return: 0 or -EDQUOT.
 * Context: any process context.
 */
int pheap_charge_heap(struct pheap_ctx *ctx)
{
	if (!pheap_count(&ctx->user->nr_heaps, 1, 0, READ_ONCE(user_limit_heaps)))
		return -EDQUOT;
	atomic_long_inc(&pheap_nr_heaps);
	return 0;
}

/**
 * pheap_uncharge_heap - count one heap less
 * @ctx: its context
 */
void pheap_uncharge_heap(struct pheap_ctx *ctx)
{
	atomic_long_dec(&ctx->user->nr_heaps);
	atomic_long_dec(&pheap_nr_heaps);
}

/**
 * pheap_charge_pages - ask the limits for pages
 * @ctx: who wants them
 * @nr: how many
 *
 * Return: 0 or -EDQUOT.
 * Context: any process context.
 */
int pheap_charge_pages(struct pheap_ctx *ctx, unsigned long nr)
{
	unsigned long metadata = atomic_long_read(&pheap_metadata_bytes) >> PAGE_SHIFT;

	if (!pheap_count(&pheap_pages_charged, nr, metadata, READ_ONCE(system_limit_pages)))
		return -EDQUOT;
	metadata = atomic_long_read(&ctx->user->metadata_bytes) >> PAGE_SHIFT;
	if (!pheap_count(&ctx->user->pages, nr, metadata, READ_ONCE(user_limit_pages)))
		goto err_system;
	metadata = atomic_long_read(&ctx->metadata_bytes) >> PAGE_SHIFT;
	if (!pheap_count(&ctx->pages, nr, metadata, READ_ONCE(process_limit_pages)))
		goto err_user;
	return 0;

err_user:
	atomic_long_sub(nr, &ctx->user->pages);
err_system:
	atomic_long_sub(nr, &pheap_pages_charged);
	return -EDQUOT;
}

/**
 * pheap_uncharge_pages - give back what pheap_charge_pages() granted
 * @ctx: who had them
 * @nr: how many
 */
void pheap_uncharge_pages(struct pheap_ctx *ctx, unsigned long nr)
{
	atomic_long_sub(nr, &ctx->pages);
	atomic_long_sub(nr, &ctx->user->pages);
	atomic_long_sub(nr, &pheap_pages_charged);
}

/**
 * pheap_memory_claim - ask whether the machine can spare pages
 * @nr: how many
 *
 * Return: 0, to be followed by pheap_memory_unclaim() when the pages are allocated, or -ENOMEM.
 * Context: any process context.
 */
int pheap_memory_claim(unsigned long nr)
{
	unsigned long available = max(si_mem_available(), 0L);
	unsigned long reserve = READ_ONCE(reserve_pages);
	long claimed = atomic_long_read(&pheap_pages_claimed);

	do {
		if (available < reserve || available - reserve < claimed ||
		    available - reserve - claimed < nr)
			return -ENOMEM;
	} while (!atomic_long_try_cmpxchg(&pheap_pages_claimed, &claimed, claimed + nr));
	return 0;
}

/**
 * pheap_memory_unclaim - end a claim
 * @nr: the same as in pheap_memory_claim()
 */
void pheap_memory_unclaim(unsigned long nr)
{
	atomic_long_sub(nr, &pheap_pages_claimed);
}

/**
 * pheap_metadata_count - count kernel memory of a heap
 * @heap: the heap
 * @bytes: change
 */
void pheap_metadata_count(struct pheap *heap, long bytes)
{
	atomic_long_add(bytes, &heap->metadata_bytes);
	atomic_long_add(bytes, &heap->ctx->metadata_bytes);
	atomic_long_add(bytes, &heap->ctx->user->metadata_bytes);
	atomic_long_add(bytes, &pheap_metadata_bytes);
}

static u64 pheap_limit_bytes(unsigned long pages)
{
	return min_t(u64, pages, U64_MAX >> PAGE_SHIFT) << PAGE_SHIFT;
}

/**
 * pheap_limits_info - the fields of PHEAP_IOC_INFO that tell limits
 * @info: where to put them
 */
void pheap_limits_info(struct pheap_ioc_info *info)
{
	info->system_limit_bytes = pheap_limit_bytes(READ_ONCE(system_limit_pages));
	info->user_limit_bytes = pheap_limit_bytes(READ_ONCE(user_limit_pages));
	info->process_limit_bytes = pheap_limit_bytes(READ_ONCE(process_limit_pages));
	info->reserve_bytes = pheap_limit_bytes(READ_ONCE(reserve_pages));
	info->user_limit_heaps = READ_ONCE(user_limit_heaps);
}
