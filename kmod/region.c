// SPDX-License-Identifier: GPL-2.0
/*
 * Regions: the VMAs of a heap, the file they map, and page faults.
 *
 * All unnamed heaps of a process map one file, and a named heap one of its own, so that
 * /proc/PID/maps tells the name. The file's offsets are addresses: pgoff = address >> PAGE_SHIFT.
 * Only the owner, inside pheap_vm_mmap(), gets a mapping of it: mmap of the file, mremap and
 * remap_file_pages are refused when they ask the file for an address.
 *
 * A VMA is of one of two kinds. In a *windowed* one (VM_MIXEDMAP) a fault inserts up to 16
 * pages around the address. In the other kind a fault returns one page, and the kernel maps a
 * folio of 2 MiB at once. The two never mix in one VMA. A reservation up to PHEAP_ONE_VMA_BYTES
 * is one windowed VMA. A larger one has a windowed front, and a tail of the other kind, which
 * core dumps must not walk as long as it is empty: it starts as VM_DONTDUMP, and before the
 * commit passes the border of the dumpable part, a dumpable VMA is laid over as much again.
 * What is replaced was never touched.
 *
 * The program may unmap its heap behind our back. Unmapping any of the VMAs kills the heap at
 * once; the rest of them then refuses all access. Everything that changes a mapping, except
 * unmapping whole VMAs, is refused.
 */
#include <linux/dcache.h>
#include <linux/file.h>

#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "pheap.h"

#define PHEAP_FS_MAGIC	0x70686561

/* Pages inserted by one fault in a windowed VMA, aligned to that number. */
#define PHEAP_WINDOW_PAGES	16UL

static const struct vm_operations_struct pheap_vm_ops;

/* Whether a VMA is part of this heap's region. The copy of one that fork made is not. */
static bool pheap_vma_is_piece(const struct vm_area_struct *vma, const struct pheap *heap)
{
	return vma->vm_ops == &pheap_vm_ops && vma->vm_private_data == heap;
}

/* Whether the caller is inside pheap_vm_mmap() or pheap_vm_munmap() for this heap. */
static bool pheap_is_moving(const struct pheap *heap)
{
	const struct pheap_ctx *ctx = heap->ctx;

	return READ_ONCE(ctx->mapper) == current && ctx->mapping.heap == heap;
}

/* The first piece of this heap's region that ends above an address, or NULL. */
static struct vm_area_struct *pheap_piece_next(struct pheap *heap, unsigned long addr)
{
	struct mm_struct *mm = heap->ctx->mm;
	struct vm_area_struct *vma;

	mmap_assert_locked(mm);
	for (vma = find_vma(mm, addr); vma; vma = find_vma(mm, vma->vm_end)) {
		if (vma->vm_start >= heap->base + heap->reserved)
			break;
		if (pheap_vma_is_piece(vma, heap))
			return vma;
	}
	return NULL;
}

/* The piece of this heap's region at an address, or NULL. */
static struct vm_area_struct *pheap_piece_at(struct pheap *heap, unsigned long addr)
{
	struct vm_area_struct *vma = pheap_piece_next(heap, addr);

	return vma && vma->vm_start <= addr ? vma : NULL;
}

/* VMA operations */

static void pheap_vma_open(struct vm_area_struct *vma)
{
	struct pheap *heap = vma->vm_private_data;

	if (!heap)
		return;
	if (vma->vm_mm != heap->ctx->mm) {
		/*
		 * MADV_DOFORK made fork copy the VMA. Nothing of what it maps shall be copied, nor
		 * held. Early 6.1 kernels have copied already when they call this: all that maps
		 * these addresses of the file starts anew, the owner by a fault.
		 */
		vm_flags_set(vma, VM_WIPEONFORK);
		vma->vm_private_data = NULL;
		unmap_mapping_range(vma->vm_file->f_mapping, (loff_t)vma->vm_pgoff << PAGE_SHIFT,
				    vma->vm_end - vma->vm_start, 1);
		return;
	}
	pheap_get(heap);
	atomic_inc(&heap->nr_pieces);
}

static void pheap_vma_close(struct vm_area_struct *vma)
{
	struct pheap *heap = vma->vm_private_data;
	bool last;

	if (!heap)
		return;
	last = atomic_dec_and_test(&heap->nr_pieces);
	/* While the owner lays one VMA over another, a piece goes and another comes. */
	if (!pheap_is_moving(heap)) {
		set_bit(PHEAP_DEAD, &heap->state);
		pheap_ctx_unlist(heap->ctx, heap);
		if (last)
			pheap_ctx_remove(heap->ctx, heap);
		else if (!test_bit(PHEAP_DESTROYING, &heap->state))
			pheap_region_zap(heap, 0, heap->reserved);
	}
	pheap_put(heap);
}

static int pheap_vma_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	struct pheap *heap = vma->vm_private_data;

	return heap && pheap_is_moving(heap) ? 0 : -EINVAL;
}

static int pheap_vma_mprotect(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			      unsigned long newflags)
{
	return -EACCES;
}

/* Bytes of the heap that a fault may show. */
static unsigned long pheap_visible(struct pheap *heap)
{
	if (unlikely(READ_ONCE(heap->grower) == current))
		return heap->growing;
	/* Pairs with the release in pheap_commit_locked(). */
	return smp_load_acquire(&heap->committed);
}

/*
 * Insert the pages with the numbers [index, end) of the heap, where none is mapped yet. All are
 * committed, or about to be by this task, and in @vma.
 */
static int pheap_insert(struct pheap *heap, struct vm_area_struct *vma, unsigned long index,
			unsigned long end)
{
	struct page *pages[PHEAP_WINDOW_PAGES];
	unsigned long addr, left, nr, i;
	int ret;

	while (index < end) {
		nr = min(end - index, ARRAY_SIZE(pages));
		rcu_read_lock();
		for (i = 0; i < nr; i++)
			pages[i] = pheap_backing_page(heap, index + i);
		rcu_read_unlock();

		addr = heap->base + (index << PAGE_SHIFT);
		for (i = 0; i < nr; i = nr - left) {
			left = nr - i;
			ret = vm_insert_pages(vma, addr + (i << PAGE_SHIFT), pages + i, &left);
			if (ret && ret != -EBUSY)
				return ret;
			/* -EBUSY: stopped at a page that is mapped already. */
			if (ret)
				left--;
		}
		index += nr;
	}
	return 0;
}

static vm_fault_t pheap_fault_window(struct pheap *heap, struct vm_area_struct *vma,
				     unsigned long index, unsigned long visible)
{
	unsigned long first = (vma->vm_start - heap->base) >> PAGE_SHIFT;
	unsigned long last = (vma->vm_end - heap->base) >> PAGE_SHIFT;
	unsigned long start = round_down(index, PHEAP_WINDOW_PAGES);

	last = min3(last, visible >> PAGE_SHIFT, start + PHEAP_WINDOW_PAGES);
	if (pheap_insert(heap, vma, max(start, first), last))
		return VM_FAULT_OOM;
	return VM_FAULT_NOPAGE;
}

static vm_fault_t pheap_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct pheap *heap = vma->vm_private_data;
	unsigned long visible, index;
	struct page *page;

	if (!heap || pheap_is_dead(heap))
		return VM_FAULT_SIGSEGV;
	index = vmf->pgoff - (heap->base >> PAGE_SHIFT);
	visible = pheap_visible(heap);
	if (index >= visible >> PAGE_SHIFT)
		return VM_FAULT_SIGSEGV;
	atomic_long_inc(&heap->nr_faults);
	rcu_read_lock();
	page = pheap_backing_page(heap, index);
	rcu_read_unlock();
	if (unlikely(PageHWPoison(page)))
		return VM_FAULT_HWPOISON;
	if (vma->vm_flags & VM_MIXEDMAP)
		return pheap_fault_window(heap, vma, index, visible);
	get_page(page);
	vmf->page = page;
	return 0;
}

/*
 * Nothing to map around a read fault. It is there because without it the kernel retries all
 * faults under mmap_lock instead of the lock of the VMA.
 */
static vm_fault_t pheap_map_pages(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	return 0;
}

static const struct vm_operations_struct pheap_vm_ops = {
	.open		= pheap_vma_open,
	.close		= pheap_vma_close,
	.may_split	= pheap_vma_may_split,
	.mprotect	= pheap_vma_mprotect,
	.fault		= pheap_fault,
	.map_pages	= pheap_map_pages,
};

/* The file */

/*
 * The context of a file if the caller is inside pheap_vm_mmap(), which holds it; else NULL. The
 * copy of a VMA that fork made may keep the file for longer than the context lives.
 */
static struct pheap_ctx *pheap_file_mapper(struct file *file)
{
	struct pheap_ctx *ctx;

	rcu_read_lock();
	ctx = READ_ONCE(file->private_data);
	if (ctx && READ_ONCE(ctx->mapper) != current)
		ctx = NULL;
	rcu_read_unlock();
	return ctx;
}

static int pheap_file_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct pheap_ctx *ctx = pheap_file_mapper(file);
	struct pheap *heap;

	if (!ctx)
		return -EPERM;
	heap = ctx->mapping.heap;
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTCOPY |
		     (ctx->mapping.windowed ? VM_MIXEDMAP : 0) |
		     (ctx->mapping.dump ? 0 : VM_DONTDUMP));
	vma->vm_pgoff = vma->vm_start >> PAGE_SHIFT;
	vma->vm_ops = &pheap_vm_ops;
	vma->vm_private_data = heap;
	pheap_get(heap);
	atomic_inc(&heap->nr_pieces);
	return 0;
}

/* An address for a range of @bytes so that the one @skip bytes into it is a multiple of @align. */
static unsigned long pheap_find_area(struct file *file, unsigned long bytes, unsigned long skip,
				     unsigned long align, unsigned long flags)
{
	unsigned long addr = thp_get_unmapped_area(file, 0, bytes + align, 0, flags);

	return IS_ERR_VALUE(addr) ? addr : ALIGN(addr + skip, align) - skip;
}

/*
 * An address for the front of a large reservation, with room for the tail behind it.
 *
 * The tail shall not share page tables with the front if that is possible: as long as it is not
 * used there is nothing of it that unmapping had to look through. A heap with one page and 4 GiB
 * (1 TiB) reserved: 53,000 (78,000) instructions to destroy without, 21,000 (21,000) with it.
 */
static unsigned long pheap_find_front(struct file *file, unsigned long reserved,
				      unsigned long flags)
{
	unsigned long align = reserved > P4D_SIZE ? P4D_SIZE : PUD_SIZE;
	unsigned long addr;

	addr = pheap_find_area(file, reserved, PHEAP_FRONT_BYTES, align, flags);
	if (addr == -ENOMEM)
		addr = pheap_find_area(file, reserved, 0, PMD_SIZE, flags);
	return addr;
}

/*
 * Called with mmap_lock held and nothing unmapped yet. So this is where laying a VMA over the tail
 * is refused if the tail is not there any more, but perhaps something else.
 */
static unsigned long pheap_file_get_area(struct file *file, unsigned long addr, unsigned long len,
					 unsigned long pgoff, unsigned long flags)
{
	struct pheap_ctx *ctx = pheap_file_mapper(file);
	struct vm_area_struct *vma;
	unsigned long at;

	if (!ctx)
		return -EPERM;
	if (ctx->mapping.room > len)
		return pheap_find_front(file, ctx->mapping.room, flags);
	if (!(flags & MAP_FIXED)) {
		if (len >= PMD_SIZE)
			return pheap_find_area(file, len, 0, PMD_SIZE, flags);
		return thp_get_unmapped_area(file, 0, len, 0, flags);
	}
	if (flags & MAP_FIXED_NOREPLACE)
		return addr;
	if (pheap_is_dead(ctx->mapping.heap))
		return -ENOENT;
	/* What an earlier attempt left empty is fine if it still is. */
	for (at = addr; at < addr + len; at = vma->vm_end) {
		vma = find_vma_intersection(current->mm, at, addr + len);
		if (!vma)
			break;
		if (!pheap_vma_is_piece(vma, ctx->mapping.heap))
			return -ENOMEM;
	}
	return addr;
}

static const struct file_operations pheap_region_fops = {
	.owner			= THIS_MODULE,
	.mmap			= pheap_file_mmap,
	.get_unmapped_area	= pheap_file_get_area,
	.llseek			= noop_llseek,
};

static const struct address_space_operations pheap_region_aops = {
	.dirty_folio	= noop_dirty_folio,
};

static char *pheap_dname(struct dentry *dentry, char *buffer, int buflen)
{
	char text[PHEAP_NAME_BYTES + 16];
	int len = scnprintf(text, sizeof(text), "[%s]", dentry->d_name.name) + 1;

	if (len > buflen)
		return ERR_PTR(-ENAMETOOLONG);
	return memcpy(buffer + buflen - len, text, len);
}

static const struct dentry_operations pheap_dentry_ops = {
	.d_dname	= pheap_dname,
};

static int pheap_fs_init_context(struct fs_context *fc)
{
	struct pseudo_fs_context *pfc = init_pseudo(fc, PHEAP_FS_MAGIC);

	if (!pfc)
		return -ENOMEM;
	pfc->dops = &pheap_dentry_ops;
	fc->s_iflags |= SB_I_NOEXEC | SB_I_NODEV;
	return 0;
}

static struct file_system_type pheap_fs = {
	.owner			= THIS_MODULE,
	.name			= "pheap",
	.init_fs_context	= pheap_fs_init_context,
	.kill_sb		= kill_anon_super,
};

/* Mounted while there are contexts with files: a permanent mount would pin the module. */
static struct vfsmount *pheap_mnt;
static int pheap_mnt_count;

static struct file *pheap_file_create(struct pheap_ctx *ctx, const char *name)
{
	struct inode *inode = alloc_anon_inode(pheap_mnt->mnt_sb);
	struct file *file;

	if (IS_ERR(inode))
		return ERR_CAST(inode);
	inode->i_mapping->a_ops = &pheap_region_aops;
	inode->i_flags |= S_NOCMTIME | S_NOATIME;
	/* Offsets are addresses, and huge mappings must not reach beyond the end. */
	i_size_write(inode, MAX_LFS_FILESIZE);
	/*
	 * Core dumps then take the pages for anonymous memory, which is what they are to the
	 * program.
	 */
	clear_nlink(inode);

	/*
	 * alloc_file_pseudo() takes no reference to the owner of the operations, but fput()
	 * drops one.
	 */
	__module_get(THIS_MODULE);
	file = alloc_file_pseudo(inode, pheap_mnt, name, O_RDWR, &pheap_region_fops);
	if (IS_ERR(file)) {
		iput(inode);
		module_put(THIS_MODULE);
		return file;
	}
	file->private_data = ctx;
	return file;
}

/* Drop a file whose context ends now or may end before the file does. */
static void pheap_file_put(struct file *file)
{
	WRITE_ONCE(file->private_data, NULL);
	fput(file);
}

/**
 * pheap_region_file_put - drop the file of a heap
 * @heap: the heap, without VMAs
 */
void pheap_region_file_put(struct pheap *heap)
{
	if (!heap->file)
		return;
	if (*heap->name)
		pheap_file_put(heap->file);
	else
		fput(heap->file);
}

/**
 * pheap_region_ctx_put - drop the file of a context
 * @ctx: the context, without heaps
 */
void pheap_region_ctx_put(struct pheap_ctx *ctx)
{
	if (!ctx->file)
		return;
	pheap_file_put(ctx->file);
	simple_release_fs(&pheap_mnt, &pheap_mnt_count);
}

/**
 * pheap_region_file - give a heap the file that its region will map
 * @heap: a heap without one
 *
 * Return: 0 or -ENOMEM.
 * Context: process context, may sleep.
 */
int pheap_region_file(struct pheap *heap)
{
	struct pheap_ctx *ctx = heap->ctx;
	/* The VFS allocates with flags of its own: see pheap_vm_mmap(). */
	unsigned int noreclaim = memalloc_noreclaim_save();
	char name[PHEAP_NAME_BYTES + 8];
	struct file *file;
	int ret = 0;

	mutex_lock(&ctx->map_lock);
	if (!ctx->file) {
		ret = simple_pin_fs(&pheap_fs, &pheap_mnt, &pheap_mnt_count);
		if (ret)
			goto out;
		file = pheap_file_create(ctx, "pheap");
		if (IS_ERR(file)) {
			simple_release_fs(&pheap_mnt, &pheap_mnt_count);
			ret = PTR_ERR(file);
			goto out;
		}
		ctx->file = file;
	}
	if (!*heap->name) {
		heap->file = get_file(ctx->file);
		goto out;
	}
	snprintf(name, sizeof(name), "pheap:%s", heap->name);
	file = pheap_file_create(ctx, name);
	if (IS_ERR(file))
		ret = PTR_ERR(file);
	else
		heap->file = file;
out:
	mutex_unlock(&ctx->map_lock);
	memalloc_noreclaim_restore(noreclaim);
	return ret == -ENFILE ? -ENOMEM : ret;
}

/* Mapping and unmapping */

/*
 * VMAs, page tables and files are allocated by the kernel with GFP_KERNEL_ACCOUNT: in a memory
 * cgroup at its limit, or on a machine without memory, that ends in an OOM kill, and no flag can be
 * passed to say otherwise. In a noreclaim scope the charge goes through instead, even past the
 * limit, and the allocation takes from the kernel's reserves or fails. It is a few pages at most
 * for each commit, and a commit needs pages that were charged and checked against the available
 * memory without that privilege: a caller at his limit gets no further.
 */
static unsigned long pheap_vm_mmap(struct pheap *heap, unsigned long addr, unsigned long len,
				   unsigned long flags, unsigned long room, bool windowed,
				   bool dump)
{
	struct pheap_ctx *ctx = heap->ctx;
	unsigned int noreclaim;

	mutex_lock(&ctx->map_lock);
	ctx->mapping.heap = heap;
	ctx->mapping.room = room;
	ctx->mapping.windowed = windowed;
	ctx->mapping.dump = dump;
	WRITE_ONCE(ctx->mapper, current);
	noreclaim = memalloc_noreclaim_save();
	addr = vm_mmap(heap->file, addr, len, PROT_READ | PROT_WRITE, MAP_SHARED | flags, 0);
	memalloc_noreclaim_restore(noreclaim);
	WRITE_ONCE(ctx->mapper, NULL);
	mutex_unlock(&ctx->map_lock);

	/* RLIMIT_MEMLOCK after mlockall(MCL_FUTURE) gives EAGAIN, among others. */
	if (IS_ERR_VALUE(addr) && addr != -EINTR && addr != -ENOENT && addr != -EPERM &&
	    addr != -EEXIST)
		addr = -ENOMEM;
	return addr;
}

/* Unmap a piece of a heap that goes on without it. */
static void pheap_vm_munmap(struct pheap *heap, unsigned long addr, unsigned long len)
{
	struct pheap_ctx *ctx = heap->ctx;
	unsigned int noreclaim;

	mutex_lock(&ctx->map_lock);
	ctx->mapping.heap = heap;
	WRITE_ONCE(ctx->mapper, current);
	noreclaim = memalloc_noreclaim_save();
	vm_munmap(addr, len);
	memalloc_noreclaim_restore(noreclaim);
	WRITE_ONCE(ctx->mapper, NULL);
	mutex_unlock(&ctx->map_lock);
}

/**
 * pheap_region_map - reserve the range of a heap
 * @heap: the heap, unpublished
 * @reserved: bytes, a multiple of the page size
 *
 * Return: 0; -ENOMEM if there is no such range, or RLIMIT_AS forbids it; -EINTR on a fatal signal.
 * After an error nothing is mapped.
 * Context: process context of the owner, may sleep.
 */
int pheap_region_map(struct pheap *heap, unsigned long reserved)
{
	bool one = reserved <= PHEAP_ONE_VMA_BYTES;
	unsigned long front = one ? reserved : PHEAP_FRONT_BYTES;
	unsigned long base, tail = 0;
	int tries = 3;

	do {
		base = pheap_vm_mmap(heap, 0, front, 0, reserved, true, true);
		if (IS_ERR_VALUE(base))
			return base;
		if (one)
			break;
		tail = pheap_vm_mmap(heap, base + front, reserved - front, MAP_FIXED_NOREPLACE, 0,
				     false, false);
		if (IS_ERR_VALUE(tail))
			pheap_vm_munmap(heap, base, front);
		/* Another thread was faster to map something there. */
	} while (tail == -EEXIST && --tries);
	if (IS_ERR_VALUE(tail))
		return tail == -EINTR ? -EINTR : -ENOMEM;
	heap->base = base;
	heap->reserved = reserved;
	heap->border = front;
	return 0;
}

/**
 * pheap_region_extend_dump - make the region dumpable before the commit gets there
 * @heap: the heap, its grow_lock held
 * @committed: how far the commit will go
 *
 * Return: 0; -ENOMEM; -ENOENT if the heap died; -EINTR on a fatal signal.
 * Context: process context of the owner, may sleep.
 */
int pheap_region_extend_dump(struct pheap *heap, unsigned long committed)
{
	unsigned long border = heap->border, addr;

	lockdep_assert_held(&heap->grow_lock);
	if (committed <= border)
		return 0;
	while (border < committed)
		border *= 2;
	border = min(border, heap->reserved);
	addr = pheap_vm_mmap(heap, heap->base + heap->border, border - heap->border, MAP_FIXED, 0,
			     false, true);
	if (IS_ERR_VALUE(addr)) {
		set_bit(PHEAP_TORN, &heap->state);
		return addr;
	}
	heap->border = border;
	return 0;
}

/**
 * pheap_region_unmap - unmap what is left of a region
 * @heap: the heap
 *
 * Return: 0; -EPERM if it was sealed, -EINTR on a fatal signal.
 * Context: process context of the owner, may sleep.
 */
int pheap_region_unmap(struct pheap *heap)
{
	struct mm_struct *mm = heap->ctx->mm;
	unsigned long addr = heap->base, len = heap->reserved;
	unsigned int noreclaim = memalloc_noreclaim_save();
	struct vm_area_struct *vma;
	int ret = 0;

	if (!pheap_is_dead(heap) && !test_bit(PHEAP_TORN, &heap->state)) {
		ret = vm_munmap(addr, len);
		goto out;
	}
	/* There are holes, and the program may have something else there by now. */
	while (!ret) {
		mmap_read_lock(mm);
		vma = pheap_piece_next(heap, addr);
		if (vma) {
			addr = vma->vm_start;
			len = vma->vm_end - vma->vm_start;
		}
		mmap_read_unlock(mm);
		if (!vma)
			break;
		ret = vm_munmap(addr, len);
		addr += len;
	}
out:
	memalloc_noreclaim_restore(noreclaim);
	return ret;
}

/* Map the page with this number through the fault handler. */
static int pheap_fault_in(struct pheap *heap, unsigned long index)
{
	unsigned long addr = heap->base + (index << PAGE_SHIFT);

	return fixup_user_fault(heap->ctx->mm, addr, FAULT_FLAG_WRITE, NULL);
}

/*
 * Map the committed pages with the numbers [index, end), all in one VMA and under one page table.
 */
static int pheap_populate_piece(struct pheap *heap, struct vm_area_struct *vma,
				unsigned long index, unsigned long end)
{
	long nr_faults;
	int ret;

	if (vma->vm_flags & VM_MIXEDMAP)
		return pheap_insert(heap, vma, index, end);

	ret = pheap_fault_in(heap, index++);
	if (ret || index == end)
		return ret;
	/*
	 * Did that map a folio of 2 MiB? Whether it does is up to the kernel, the program may have
	 * asked for no huge pages. If so, the next page does not ask the fault handler.
	 */
	nr_faults = atomic_long_read(&heap->nr_faults);
	ret = pheap_fault_in(heap, index++);
	if (nr_faults == atomic_long_read(&heap->nr_faults))
		return ret;
	while (!ret && index < end)
		ret = pheap_fault_in(heap, index++);
	return ret;
}

/**
 * pheap_region_populate - map committed pages, or just make sure that their page tables exist
 * @heap: the heap, its grow_lock held
 * @from: first byte, multiple of the page size
 * @to: end, multiple of the page size
 * @all: map all; else map one page of each page table that nothing before @from needed
 *
 * Return: 0; -ENOMEM; -ENOENT if the heap died.
 * Context: process context of the owner, may sleep.
 */
int pheap_region_populate(struct pheap *heap, unsigned long from, unsigned long to, bool all)
{
	struct mm_struct *mm = heap->ctx->mm;
	unsigned int noreclaim = memalloc_noreclaim_save();
	unsigned long addr = heap->base + from, end = heap->base + to, next;
	struct vm_area_struct *vma;
	int ret = 0;

	mmap_read_lock(mm);
	while (!ret && addr < end) {
		/*
		 * One page table at a time: it lies in one VMA unless the border of two is
		 * there.
		 */
		next = min(end, ALIGN_DOWN(addr, PMD_SIZE) + PMD_SIZE);
		vma = pheap_piece_at(heap, addr);
		if (!vma) {
			ret = -ENOENT;
			break;
		}
		next = min(next, vma->vm_end);
		if (all)
			ret = pheap_populate_piece(heap, vma, (addr - heap->base) >> PAGE_SHIFT,
						   (next - heap->base) >> PAGE_SHIFT);
		else if (addr == heap->base || IS_ALIGNED(addr, PMD_SIZE))
			ret = pheap_populate_piece(heap, vma, (addr - heap->base) >> PAGE_SHIFT,
						   ((addr - heap->base) >> PAGE_SHIFT) + 1);
		addr = next;
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
		} else if (need_resched()) {
			mmap_read_unlock(mm);
			cond_resched();
			mmap_read_lock(mm);
		}
	}
	mmap_read_unlock(mm);
	memalloc_noreclaim_restore(noreclaim);
	if (ret == -EFAULT)
		ret = pheap_is_dead(heap) ? -ENOENT : -ENOMEM;
	return ret;
}

/**
 * pheap_region_zap - unmap pages of a region; the VMAs stay
 * @heap: the heap
 * @from: first byte
 * @to: end
 *
 * Context: process context, may sleep; mmap_lock may be held.
 */
void pheap_region_zap(struct pheap *heap, unsigned long from, unsigned long to)
{
	/* A length of 0 would mean all. */
	if (to > from)
		unmap_mapping_range(heap->file->f_mapping, heap->base + from, to - from, 1);
}
