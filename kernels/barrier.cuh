/*
 * Barriers in shared memory that count arrivals and bytes, and bulk copies that complete on them:
 * sm_90 and later.
 */
#ifndef STK_BARRIER_CUH
#define STK_BARRIER_CUH

#include <stdint.h>

/* This block's number in its cluster. */
static __device__ inline uint32_t
cluster_rank()
{
	uint32_t rank;

	asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
	return rank;
}

/* A barrier turns its phase when `arrivals` have arrived and all bytes that they announced. */
static __device__ inline void
barrier_init(uint32_t barrier, uint32_t arrivals)
{
	asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}

/* Barriers initialised before are known to the copy engine after; then comes a __syncthreads. */
static __device__ inline void
barriers_ready()
{
	asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/* Arrive, and announce what bulk copies will bring. */
static __device__ inline void
barrier_expect(uint32_t barrier, uint32_t bytes)
{
	asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
				 : "memory");
}

/* Wait for the end of the phase of this parity: 0 for the first, and so on in turn. */
static __device__ inline void
barrier_wait(uint32_t barrier, uint32_t parity)
{
	uint32_t over;

	do
	{
		asm volatile("{\n.reg .pred p;\n"
					 "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
					 "selp.u32 %0, 1, 0, p;\n}"
					 : "=r"(over)
					 : "r"(barrier), "r"(parity)
					 : "memory");
	} while (!over);
}

/* Start to copy; addresses and bytes are multiples of 16. One thread. */
static __device__ inline void
bulk_copy(uint32_t to, const void *from, uint32_t bytes, uint32_t barrier)
{
	asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
				 "[%0], [%1], %2, [%3];" ::"r"(to),
				 "l"(from), "r"(bytes), "r"(barrier)
				 : "memory");
}

#endif
