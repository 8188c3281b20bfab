// SPDX-License-Identifier: GPL-2.0
/*
 * The module and its device. Owns the life of an open descriptor: it holds a reference to the
 * context of the process that made a heap through it, so that making and destroying heaps in a
 * loop does not remake the context.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "pheap.h"

static int pheap_release(struct inode *inode, struct file *file)
{
	struct pheap_ctx *ctx = file->private_data;

	if (ctx)
		pheap_ctx_put(ctx);
	return 0;
}

static int pheap_open(struct inode *inode, struct file *file)
{
	/* misc_open() leaves its own pointer there. */
	file->private_data = NULL;
	return 0;
}

static const struct file_operations pheap_fops = {
	.owner		= THIS_MODULE,
	.open		= pheap_open,
	.release	= pheap_release,
	.unlocked_ioctl	= pheap_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
};

static struct miscdevice pheap_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "pheap",
	.fops	= &pheap_fops,
};

static int __init pheap_init(void)
{
	int ret;

	pheap_limits_init();
	ret = pheap_heap_init();
	if (ret)
		return ret;
	ret = misc_register(&pheap_misc);
	if (ret)
		pheap_heap_exit();
	return ret;
}

static void __exit pheap_exit(void)
{
	misc_deregister(&pheap_misc);
	pheap_heap_exit();
}

module_init(pheap_init);
module_exit(pheap_exit);

MODULE_DESCRIPTION("Private heaps for processes");
MODULE_LICENSE("GPL");
