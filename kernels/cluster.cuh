/*
 * Blocks that run together and reach one another's shared memory: sm_90 and later. What is stored
 * before the cluster's barrier is seen behind it.
 */
#ifndef STK_CLUSTER_CUH
#define STK_CLUSTER_CUH

#include "barrier.cuh"

/* The barrier's two halves; all threads of all blocks. To begin with, nothing has been stored. */
static __device__ inline void
cluster_begin()
{
	asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}

static __device__ inline void
cluster_arrive()
{
	asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

static __device__ inline void
cluster_wait()
{
	asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* Where block `rank` has what this block has at a shared address. */
static __device__ inline uint32_t
address_in(uint32_t address, uint32_t rank)
{
	uint32_t there;

	asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
	return there;
}

static __device__ inline void
store_there(uint32_t there, uint32_t value)
{
	asm volatile("st.shared::cluster.b32 [%0], %1;" ::"r"(there), "r"(value) : "memory");
}

static __device__ inline void
store_there(uint32_t there, uint32_t first, uint32_t second)
{
	asm volatile("st.shared::cluster.v2.b32 [%0], {%1, %2};" ::"r"(there), "r"(first), "r"(second)
				 : "memory");
}

/* Bring a line of 128 bytes into the second-level cache. */
static __device__ inline void
bring_near(const void *line)
{
	asm volatile("prefetch.global.L2 [%0];" ::"l"(line));
}

#endif
