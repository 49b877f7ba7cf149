/* uapi.h - declares kernel interfaces that Debian 12's headers do not have yet. The declarations
 * are those of the kernel's own UAPI headers.
 *
 * Why: dirty tracking needs two interfaces of Linux 6.7. PAGEMAP_SCAN is in
 * include/uapi/linux/fs.h, and asynchronous write protection in include/uapi/linux/userfaultfd.h.
 * track_probe() finds out whether the running kernel has them. Used by inject.c and track.c only.
 * Threads: any; there are constants and types only.
 */
#ifndef VMM_UAPI_H
#define VMM_UAPI_H

#include <assert.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (UINT64_C(1) << 12)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (UINT64_C(1) << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (UINT64_C(1) << 15)
#endif

#ifndef PAGEMAP_SCAN
#define PAGEMAP_SCAN		_IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_WRITTEN		(UINT64_C(1) << 1)
#define PM_SCAN_WP_MATCHING	(UINT64_C(1) << 0) /* also write-protect the pages that match,
						    * atomically */
#define PM_SCAN_CHECK_WPASYNC	(UINT64_C(1) << 1) /* -EPERM if a VMA is not under WP_ASYNC */

struct page_region {
	uint64_t start;
	uint64_t end;
	uint64_t categories;
};

struct pm_scan_arg {
	uint64_t size;	/* size of this struct, which tells the kernel its version */
	uint64_t flags; /* bits PM_SCAN_* */
	uint64_t start; /* scan the addresses [start, end) of the process */
	uint64_t end;
	uint64_t walk_end; /* out: where the kernel stopped looking */
	uint64_t vec;	   /* address of an array of struct page_region */
	uint64_t vec_len;  /* number of entries in that array */
	uint64_t max_pages;
	uint64_t category_inverted;
	uint64_t category_mask;
	uint64_t category_anyof_mask;
	uint64_t return_mask;
};
#endif
static_assert(sizeof(struct pm_scan_arg) == 96, "UAPI layout");
static_assert(sizeof(struct page_region) == 24, "UAPI layout");

#endif
