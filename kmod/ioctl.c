// SPDX-License-Identifier: GPL-2.0
/*
 * The commands of /dev/pheap: one table, one way in and out, one handler per command.
 *
 * A handler gets its struct copied in (longer ones checked for zeroes, shorter ones filled with
 * them), checks it, finds the heap, acts, and leaves its results in the struct, which is then
 * copied out at the size the caller knows. CREATE, ALLOC and ALLOC_BATCH copy out themselves,
 * because a heap or block that the caller cannot be told of must not stay, and FREE_BATCH, because
 * it must not free before. uapi/linux/pheap.h tells the semantics and every errno.
 */
#include <linux/bitops.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "pheap.h"

/* Bytes cleared between two looks for a fatal signal. */
#define PHEAP_CLEAR_BYTES	BIT(20)

/**
 * struct pheap_cmd - a command in progress
 * @dev: the open device
 * @user: the caller's struct
 * @user_bytes: its size
 * @arg: the struct, copied
 */
struct pheap_cmd {
	struct file *dev;
	void __user *user;
	u32 user_bytes;
	union {
		struct {
			u32 size;
			u32 flags;
		} head;
		struct pheap_ioc_info info;
		struct pheap_ioc_create create;
		struct pheap_ioc_destroy destroy;
		struct pheap_ioc_alloc alloc;
		struct pheap_ioc_free free;
		struct pheap_ioc_size size;
		struct pheap_ioc_stat stat;
		struct pheap_ioc_commit commit;
		struct pheap_ioc_list list;
		struct pheap_ioc_reset reset;
		struct pheap_ioc_alloc_batch alloc_batch;
		struct pheap_ioc_free_batch free_batch;
	} arg;
};

/*
 * Copy the struct in. Sizes of calls that shall be fast are constants here: the compiler proves
 * that they fit, where the kernel would have to look up what memory the copy goes to, which takes
 * longer than the copy.
 */
static int pheap_cmd_fetch(struct pheap_cmd *cmd, size_t bytes)
{
	switch (cmd->user_bytes == bytes ? bytes : 0) {
	case sizeof(struct pheap_ioc_alloc):
		return copy_from_user(&cmd->arg, cmd->user, sizeof(cmd->arg.alloc)) ? -EFAULT : 0;
	case sizeof(struct pheap_ioc_free):
		return copy_from_user(&cmd->arg, cmd->user, sizeof(cmd->arg.free)) ? -EFAULT : 0;
	default:
		return copy_struct_from_user(&cmd->arg, bytes, cmd->user, cmd->user_bytes);
	}
}

/* Copy the results out, as far as the caller knows them; what it knows beyond is zero already. */
static int pheap_cmd_respond(struct pheap_cmd *cmd, size_t bytes)
{
	bytes = min_t(size_t, cmd->user_bytes, bytes);
	return copy_to_user(cmd->user, &cmd->arg, bytes) ? -EFAULT : 0;
}

static int pheap_do_info(struct pheap_cmd *cmd)
{
	struct pheap_ioc_info *info = &cmd->arg.info;
	struct pheap_ctx *ctx;

	*info = (struct pheap_ioc_info){
		.size = info->size,
		.abi_version = PHEAP_ABI_VERSION,
		.page_bytes = PAGE_SIZE,
		.features = PHEAP_FEATURE_NAMES | PHEAP_FEATURE_RESET |
			    PHEAP_FEATURE_BATCH,
		.max_reserve_bytes = PHEAP_MAX_RESERVE,
		.max_align_bytes = PHEAP_MAX_ALIGN,
		.small_heap_bytes = PHEAP_SMALL_HEAP_BYTES,
	};
	pheap_limits_info(info);
	ctx = pheap_ctx_find(cmd->dev);
	if (ctx) {
		info->process_charged_bytes = ((u64)atomic_long_read(&ctx->pages) << PAGE_SHIFT) +
					      atomic_long_read(&ctx->metadata_bytes);
		info->process_nr_heaps = READ_ONCE(ctx->nr_heaps);
		pheap_ctx_put(ctx);
	}
	return 0;
}

/* Printable ASCII without what would confuse a path or a line of /proc/PID/maps, zero-filled. */
static bool pheap_name_is_valid(const u8 *name)
{
	size_t len = strnlen(name, PHEAP_NAME_BYTES), i;

	if (len == PHEAP_NAME_BYTES || memchr_inv(name + len, 0, PHEAP_NAME_BYTES - len))
		return false;
	for (i = 0; i < len; i++) {
		if (name[i] < ' ' || name[i] > '~' || strchr("/\\[]", name[i]))
			return false;
	}
	return true;
}

static int pheap_do_create(struct pheap_cmd *cmd)
{
	struct pheap_ioc_create *create = &cmd->arg.create;
	struct pheap_ctx *ctx;
	struct pheap *heap;
	int ret;

	if (!pheap_name_is_valid(create->name))
		return -EINVAL;
	ctx = pheap_ctx_make(cmd->dev);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	heap = pheap_create(ctx, create->initial_bytes, create->maximum_bytes, create->name,
			    create->flags & PHEAP_COMMIT_POPULATE);
	if (IS_ERR(heap)) {
		ret = PTR_ERR(heap);
		goto out;
	}
	create->heap = heap->id;
	create->base = heap->base;
	create->reserved_bytes = heap->reserved;
	create->committed_bytes = heap->committed;
	ret = pheap_cmd_respond(cmd, sizeof(*create));
	if (!ret && !pheap_ctx_publish(ctx, heap))
		ret = -ENOENT;
	if (ret)
		pheap_abandon(heap);
	else
		pheap_put(heap);
out:
	pheap_ctx_put(ctx);
	return ret;
}

static int pheap_do_destroy(struct pheap_cmd *cmd)
{
	struct pheap *heap = pheap_find(cmd->dev, cmd->arg.destroy.heap);
	int ret;

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	ret = pheap_destroy(heap);
	pheap_put(heap);
	return ret;
}

/* The heap of a command, if nothing of it was unmapped yet. */
static struct pheap *pheap_find_alive(struct pheap_cmd *cmd, u64 id)
{
	struct pheap *heap = pheap_find(cmd->dev, id);

	if (!IS_ERR(heap) && unlikely(pheap_is_dead(heap))) {
		pheap_put(heap);
		return ERR_PTR(-ENOENT);
	}
	return heap;
}

/* Clear a block. It is the caller's memory: anything can have happened to its mapping. */
static int pheap_clear(u64 addr, u64 bytes)
{
	while (bytes) {
		unsigned long step = min_t(u64, bytes, PHEAP_CLEAR_BYTES);

		if (fatal_signal_pending(current))
			return -EINTR;
		if (clear_user(u64_to_user_ptr(addr), step))
			return -EFAULT;
		cond_resched();
		addr += step;
		bytes -= step;
	}
	return 0;
}

static int pheap_do_alloc(struct pheap_cmd *cmd)
{
	struct pheap_ioc_alloc *alloc = &cmd->arg.alloc;
	struct pheap_request req = {
		.bytes = alloc->bytes,
		.align = max_t(u64, alloc->align, PHEAP_MIN_ALIGN),
	};
	struct pheap *heap;
	int ret;

	if (req.align > PHEAP_MAX_ALIGN || (alloc->align & (alloc->align - 1)))
		return -EINVAL;
	heap = pheap_find_alive(cmd, alloc->heap);
	if (IS_ERR(heap))
		return PTR_ERR(heap);
	ret = pheap_block_alloc(heap, &req);
	if (ret)
		goto out;
	alloc->addr = req.addr;
	alloc->usable_bytes = req.usable;
	if (alloc->flags & PHEAP_ALLOC_ZERO)
		ret = pheap_clear(alloc->addr, alloc->usable_bytes);
	/* The two results, which every caller's struct has; a constant size here, too. */
	static_assert(offsetof(struct pheap_ioc_alloc, usable_bytes) ==
		      offsetof(struct pheap_ioc_alloc, addr) + sizeof(u64));
	if (!ret && copy_to_user(cmd->user + offsetof(struct pheap_ioc_alloc, addr), &alloc->addr,
				 2 * sizeof(u64)))
		ret = -EFAULT;
	if (ret)
		pheap_block_free(heap, alloc->addr);
out:
	pheap_put(heap);
	return ret;
}

static int pheap_do_free(struct pheap_cmd *cmd)
{
	struct pheap *heap = pheap_find_alive(cmd, cmd->arg.free.heap);
	int ret = 0;

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	if (cmd->arg.free.addr)
		ret = pheap_block_free(heap, cmd->arg.free.addr);
	pheap_put(heap);
	return ret;
}

static int pheap_do_size(struct pheap_cmd *cmd)
{
	struct pheap_ioc_size *size = &cmd->arg.size;
	struct pheap *heap = pheap_find_alive(cmd, size->heap);
	int ret;

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	spin_lock(&heap->lock);
	ret = pheap_core_size(&heap->core, size->addr, &size->usable_bytes);
	spin_unlock(&heap->lock);
	pheap_put(heap);
	return ret;
}

static int pheap_do_stat(struct pheap_cmd *cmd)
{
	struct pheap_ioc_stat *stat = &cmd->arg.stat;
	struct pheap *heap = pheap_find_alive(cmd, stat->heap);
	struct pheap_core_stats core;
	u64 bad_frees;

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	spin_lock(&heap->lock);
	pheap_core_stats(&heap->core, &core);
	bad_frees = heap->bad_frees;
	spin_unlock(&heap->lock);
	*stat = (struct pheap_ioc_stat){
		.size = stat->size,
		.heap = stat->heap,
		.base = heap->base,
		.reserved_bytes = heap->reserved,
		.committed_bytes = READ_ONCE(heap->committed),
		.allocated_bytes = core.allocated_bytes,
		.nr_blocks = core.nr_blocks,
		.nr_failures = atomic_long_read(&heap->nr_failures),
		.bad_frees = bad_frees,
		.metadata_bytes = atomic_long_read(&heap->metadata_bytes),
		.nr_allocs = core.nr_allocs,
		.nr_frees = core.nr_frees,
		.nr_faults = atomic_long_read(&heap->nr_faults),
	};
	/* Nothing is decommitted before the heap ends. */
	stat->peak_committed_bytes = stat->committed_bytes;
	pheap_put(heap);
	return 0;
}

static int pheap_do_commit(struct pheap_cmd *cmd)
{
	struct pheap_ioc_commit *commit = &cmd->arg.commit;
	struct pheap *heap = pheap_find_alive(cmd, commit->heap);
	int ret;

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	ret = commit->bytes > heap->reserved ? -ENOSPC :
	      pheap_commit(heap, PAGE_ALIGN(commit->bytes), commit->flags & PHEAP_COMMIT_POPULATE);
	pheap_count_failure(heap, ret);
	commit->committed_bytes = READ_ONCE(heap->committed);
	pheap_put(heap);
	return ret;
}

/* Entries of as many heaps as there is room for, and the number of heaps. */
static unsigned long pheap_list_fill(struct pheap_ctx *ctx, struct pheap_list_entry *entries,
				     unsigned long room)
{
	unsigned long nr = 0;
	struct pheap *heap;

	spin_lock(&ctx->lock);
	list_for_each_entry(heap, &ctx->heaps, list) {
		if (nr >= room)
			break;
		entries[nr] = (struct pheap_list_entry){
			.heap = heap->id,
			.base = heap->base,
			.reserved_bytes = heap->reserved,
			.committed_bytes = READ_ONCE(heap->committed),
		};
		memcpy(entries[nr].name, heap->name, sizeof(entries[nr].name));
		nr++;
	}
	nr = ctx->nr_heaps;
	spin_unlock(&ctx->lock);
	return nr;
}

/* Copy entries to an array of the caller, whose entries may be shorter or longer. */
static int pheap_list_respond(const struct pheap_ioc_list *list,
			      const struct pheap_list_entry *entries, unsigned long nr)
{
	u8 __user *to = u64_to_user_ptr(list->entries);
	size_t known = min_t(size_t, list->entry_bytes, sizeof(*entries));
	unsigned long i;

	for (i = 0; i < nr; i++, to += list->entry_bytes) {
		if (copy_to_user(to, &entries[i], known) ||
		    clear_user(to + known, list->entry_bytes - known))
			return -EFAULT;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static int pheap_do_list(struct pheap_cmd *cmd)
{
	struct pheap_ioc_list *list = &cmd->arg.list;
	struct pheap_list_entry *entries = NULL;
	unsigned long room, nr = 0;
	struct pheap_ctx *ctx;
	int ret = 0;

	if (list->reserved || list->entry_bytes < sizeof(*entries) || list->entry_bytes > PAGE_SIZE)
		return -EINVAL;
	ctx = pheap_ctx_find(cmd->dev);
	if (!ctx) {
		list->nr_entries = 0;
		return 0;
	}
	room = min_t(u64, list->nr_entries, READ_ONCE(ctx->nr_heaps));
	if (room) {
		entries = kvmalloc_array(room, sizeof(*entries), PHEAP_GFP);
		if (!entries) {
			ret = -ENOMEM;
			goto out;
		}
	}
	nr = pheap_list_fill(ctx, entries, room);
	ret = pheap_list_respond(list, entries, min(room, nr));
	if (!ret && nr > list->nr_entries)
		ret = -EMSGSIZE;
	list->nr_entries = nr;
	kvfree(entries);
out:
	pheap_ctx_put(ctx);
	return ret;
}

static int pheap_do_alloc_batch(struct pheap_cmd *cmd)
{
	struct pheap_ioc_alloc_batch *alloc = &cmd->arg.alloc_batch;
	struct pheap_core_batch batch;
	struct pheap_request req = {
		.bytes = alloc->bytes,
		.align = PHEAP_MIN_ALIGN,
		.nr_blocks = alloc->nr_blocks,
		.nr_groups = min_t(u32, alloc->nr_groups, PHEAP_BATCH_GROUPS),
		.batch = &batch,
	};
	struct pheap *heap;
	int ret;

	if (!req.nr_groups || !req.nr_blocks || req.nr_blocks > PHEAP_BATCH_BLOCKS)
		return -EINVAL;
	heap = pheap_find_alive(cmd, alloc->heap);
	if (IS_ERR(heap))
		return PTR_ERR(heap);
	ret = pheap_block_alloc(heap, &req);
	if (ret)
		goto out;
	alloc->nr_blocks = batch.nr_blocks;
	alloc->nr_groups = batch.nr_groups;
	alloc->usable_bytes = batch.usable;
	if (copy_to_user(u64_to_user_ptr(alloc->groups), batch.groups,
			 batch.nr_groups * sizeof(batch.groups[0])))
		ret = -EFAULT;
	else
		ret = pheap_cmd_respond(cmd, sizeof(*alloc));
	if (ret)
		pheap_batch_free(heap, &batch);
out:
	pheap_put(heap);
	return ret;
}

static int pheap_do_free_batch(struct pheap_cmd *cmd)
{
	struct pheap_ioc_free_batch *batch = &cmd->arg.free_batch;
	const u64 __user *from = u64_to_user_ptr(batch->addrs);
	u32 wanted = batch->nr_addrs, done = 0;
	u64 addrs[64];
	struct pheap *heap;
	int ret;

	if (!wanted || wanted > PHEAP_BATCH_BLOCKS)
		return -EINVAL;
	heap = pheap_find_alive(cmd, batch->heap);
	if (IS_ERR(heap))
		return PTR_ERR(heap);
	/*
	 * Tell beforehand what will nearly always be true, that all were freed: a struct that
	 * cannot be written is noticed while nothing is freed yet.
	 */
	batch->nr_refused = 0;
	memset(batch->refused, 0, sizeof(batch->refused));
	ret = pheap_cmd_respond(cmd, sizeof(*batch));
	if (ret)
		goto out;
	while (done < wanted) {
		u32 nr = min_t(u32, wanted - done, ARRAY_SIZE(addrs));
		u64 refused;

		if (copy_from_user(addrs, from + done, nr * sizeof(addrs[0]))) {
			/* What is done cannot be undone: tell so. */
			if (!done)
				ret = -EFAULT;
			break;
		}
		refused = pheap_block_free_some(heap, addrs, nr);
		batch->refused[done / ARRAY_SIZE(addrs)] = refused;
		batch->nr_refused += hweight64(refused);
		done += nr;
	}
	batch->nr_addrs = done;
	if (!ret && (done < wanted || batch->nr_refused))
		ret = pheap_cmd_respond(cmd, sizeof(*batch));
out:
	pheap_put(heap);
	return ret;
}

static int pheap_do_reset(struct pheap_cmd *cmd)
{
	struct pheap *heap = pheap_find_alive(cmd, cmd->arg.reset.heap);
	int ret;

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	ret = pheap_reset(heap);
	pheap_put(heap);
	return ret;
}

/**
 * struct pheap_cmd_desc - how to handle a command
 * @cmd: ioctl number
 * @min_bytes: size of its struct in the first release
 * @bytes: size now
 * @flags: flags it knows
 * @out: it has results that are copied out for it, on success and on EMSGSIZE
 * @handler: does it
 */
struct pheap_cmd_desc {
	unsigned int cmd;
	u16 min_bytes;
	u16 bytes;
	u32 flags;
	bool out;
	int (*handler)(struct pheap_cmd *cmd);
};

#define PHEAP_CMD(_cmd, _handler, _struct, _last, _flags, _out)			\
	[_IOC_NR(_cmd)] = {							\
		.cmd = (_cmd),							\
		.min_bytes = offsetofend(struct _struct, _last),		\
		.bytes = sizeof(struct _struct),				\
		.flags = (_flags),						\
		.out = (_out),							\
		.handler = (_handler),						\
	}

static const struct pheap_cmd_desc pheap_cmds[] = {
	PHEAP_CMD(PHEAP_IOC_INFO, pheap_do_info, pheap_ioc_info, process_nr_heaps, 0, true),
	PHEAP_CMD(PHEAP_IOC_CREATE, pheap_do_create, pheap_ioc_create, committed_bytes,
		  PHEAP_COMMIT_POPULATE, false),
	PHEAP_CMD(PHEAP_IOC_DESTROY, pheap_do_destroy, pheap_ioc_destroy, heap, 0, false),
	PHEAP_CMD(PHEAP_IOC_ALLOC, pheap_do_alloc, pheap_ioc_alloc, usable_bytes, PHEAP_ALLOC_ZERO,
		  false),
	PHEAP_CMD(PHEAP_IOC_FREE, pheap_do_free, pheap_ioc_free, addr, 0, false),
	PHEAP_CMD(PHEAP_IOC_SIZE, pheap_do_size, pheap_ioc_size, usable_bytes, 0, true),
	PHEAP_CMD(PHEAP_IOC_STAT, pheap_do_stat, pheap_ioc_stat, nr_faults, 0, true),
	PHEAP_CMD(PHEAP_IOC_COMMIT, pheap_do_commit, pheap_ioc_commit, committed_bytes,
		  PHEAP_COMMIT_POPULATE, true),
	PHEAP_CMD(PHEAP_IOC_LIST, pheap_do_list, pheap_ioc_list, reserved, 0, true),
	PHEAP_CMD(PHEAP_IOC_RESET, pheap_do_reset, pheap_ioc_reset, heap, 0, false),
	PHEAP_CMD(PHEAP_IOC_ALLOC_BATCH, pheap_do_alloc_batch, pheap_ioc_alloc_batch, usable_bytes,
		  0, false),
	PHEAP_CMD(PHEAP_IOC_FREE_BATCH, pheap_do_free_batch, pheap_ioc_free_batch, refused, 0,
		  false),
};

/* The ABI: these sizes are what 64-bit and 32-bit programs pass. */
static_assert(sizeof(struct pheap_ioc_info) == 104);
static_assert(sizeof(struct pheap_ioc_create) == 88);
static_assert(sizeof(struct pheap_ioc_destroy) == 16);
static_assert(sizeof(struct pheap_ioc_alloc) == 48);
static_assert(sizeof(struct pheap_ioc_free) == 24);
static_assert(sizeof(struct pheap_ioc_size) == 32);
static_assert(sizeof(struct pheap_ioc_stat) == 112);
static_assert(sizeof(struct pheap_ioc_commit) == 32);
static_assert(sizeof(struct pheap_list_entry) == 64);
static_assert(sizeof(struct pheap_ioc_list) == 32);
static_assert(sizeof(struct pheap_ioc_reset) == 16);
static_assert(sizeof(struct pheap_ioc_alloc_batch) == 48);
static_assert(sizeof(struct pheap_ioc_free_batch) == 96);

/* The core's groups are copied out as they are. */
static_assert(sizeof(struct pheap_group) == 16);
static_assert(sizeof(struct pheap_core_group) == sizeof(struct pheap_group));
static_assert(offsetof(struct pheap_core_group, addr) == offsetof(struct pheap_group, addr));
static_assert(offsetof(struct pheap_core_group, mask) == offsetof(struct pheap_group, mask));
static_assert(PHEAP_CORE_MAX_BLOCKS == PHEAP_BATCH_BLOCKS);
static_assert(PHEAP_CORE_MAX_GROUPS == PHEAP_BATCH_GROUPS);

/**
 * pheap_ioctl - a command from user space
 * @file: the open device
 * @cmd: which
 * @arg: address of its struct
 *
 * Return: 0 or a negative errno, see uapi/linux/pheap.h.
 * Context: process context.
 */
long pheap_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	unsigned int nr = _IOC_NR(cmd);
	const struct pheap_cmd_desc *desc;
	struct pheap_cmd c;
	int ret;

	if (nr >= ARRAY_SIZE(pheap_cmds) || pheap_cmds[nr].cmd != cmd)
		return -ENOTTY;
	if (!current->mm)
		return -EPERM;
	desc = &pheap_cmds[array_index_nospec(nr, ARRAY_SIZE(pheap_cmds))];
	c.dev = file;
	c.user = (void __user *)arg;
	if (get_user(c.user_bytes, (u32 __user *)c.user))
		return -EFAULT;
	if (c.user_bytes < desc->min_bytes)
		return -EINVAL;
	if (c.user_bytes > PAGE_SIZE)
		return -E2BIG;
	ret = pheap_cmd_fetch(&c, desc->bytes);
	if (ret)
		return ret;
	/* It may have changed since it was read first. */
	c.arg.head.size = c.user_bytes;
	if (c.arg.head.flags & ~desc->flags)
		return -EOPNOTSUPP;
	ret = desc->handler(&c);
	if (desc->out && (!ret || ret == -EMSGSIZE) && pheap_cmd_respond(&c, desc->bytes))
		ret = -EFAULT;
	return ret;
}
