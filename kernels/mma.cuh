/*
 * The tensor unit's instructions, sm_80 and later: copies into shared memory that do not wait,
 * fragments loaded from swizzled tiles, and the product of 16x16 by 16x8 binary16 numbers summed in
 * binary32.
 *
 * A tile's row has STK_CHUNK elements, 128 bytes: eight units of 16 bytes, of which unit u of row r
 * lies at u ^ (r mod 8), so that eight rows' units of the same number lie in all 32 banks.
 */
#ifndef STK_MMA_CUH
#define STK_MMA_CUH

#include <cuda_fp16.h>
#include <stdint.h>

static __device__ inline uint32_t
shared_address(const void *p)
{
	return (uint32_t) __cvta_generic_to_shared(p);
}

/* Byte offset of unit u of row r of a tile. */
static __device__ inline uint32_t
swizzled(uint32_t r, uint32_t u)
{
	return r * 128 + ((u ^ (r & 7)) << 4);
}

/* Start to copy 16 bytes. */
static __device__ inline void
copy_unit(uint32_t to, const void *from)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

/* What was started since the last commit is one group. */
static __device__ inline void
copies_commit()
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Wait until all but the last N groups have arrived: this thread's own. */
template <int N>
static __device__ inline void
copies_wait()
{
	asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* Four 8x8 matrices; lane i names row i mod 8 of matrix i / 8. */
static __device__ inline void
load_matrices(uint32_t (&m)[4], uint32_t address)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
				 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
				 : "r"(address)
				 : "memory");
}

/* sums += a b; a is 16x16 by rows, b 16x8 by columns. */
static __device__ inline void
multiply_add(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
				 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
				 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
				 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif
