/*
 * Hopper's own instructions (sm_90a): products by a warpgroup of rows with codewords in
 * shared memory, and what blocks of a cluster tell one another meanwhile.
 *
 * PTX ISA 8.x, sections on mbarrier, cp.async.bulk, wgmma and setmaxnreg.
 */
#ifndef STK_HOPPER_CUH
#define STK_HOPPER_CUH

#include "barrier.cuh"
#include "mma.cuh"

static __device__ inline void
barrier_arrive(uint32_t barrier)
{
	asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/* bulk_copy to this address and barrier in each block of the cluster whose bit is in `blocks`. */
static __device__ inline void
bulk_copy_to_all(uint32_t to, const void *from, uint32_t bytes, uint32_t barrier, uint16_t blocks)
{
	asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
				 ".multicast::cluster [%0], [%1], %2, [%3], %4;" ::"r"(to),
				 "l"(from), "r"(bytes), "r"(barrier), "h"(blocks)
				 : "memory");
}

/*
 * Arrive at the barrier that has this address in block `rank` of the cluster. It says that something
 * has been read, and hands nothing that was written to the other block: for that it would have to be
 * a release for the cluster, which waits for all that the thread has under way.
 */
static __device__ inline void
barrier_arrive_at(uint32_t barrier, uint32_t rank)
{
	asm volatile("{\n.reg .b32 there;\n"
				 "mapa.shared::cluster.u32 there, %0, %1;\n"
				 "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(barrier),
				 "r"(rank)
				 : "memory");
}

/* All threads of the cluster meet. */
static __device__ inline void
cluster_meet()
{
	asm volatile("barrier.cluster.arrive.release.aligned;\n"
				 "barrier.cluster.wait.acquire.aligned;" ::
					 : "memory");
}

/* Threads of one warpgroup meet at barrier `number`. */
static __device__ inline void
group_meet(int number)
{
	asm volatile("bar.sync %0, 128;" ::"r"(number) : "memory");
}

/* What was stored to shared memory is there for the tensor units, too, once all have met. */
static __device__ inline void
stores_ready()
{
	asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

static __device__ inline float4
load_shared(uint32_t from)
{
	float4 v;

	asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
				 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
				 : "r"(from)
				 : "memory");
	return v;
}

static __device__ inline float2
load_two(uint32_t from)
{
	float2 v;

	asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(from) : "memory");
	return v;
}

static __device__ inline uint32_t
load_word(uint32_t from)
{
	uint32_t v;

	asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(from) : "memory");
	return v;
}

/* What was there before. */
static __device__ inline uint32_t
add_word(uint32_t to, uint32_t v)
{
	uint32_t before;

	asm volatile("atom.shared.add.u32 %0, [%1], %2;" : "=r"(before) : "r"(to), "r"(v) : "memory");
	return before;
}

static __device__ inline void
store_word(uint32_t to, uint32_t v)
{
	asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(v) : "memory");
}

/* Registers that follow belong to the products until they are waited for. */
static __device__ inline void
products_begin()
{
	asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

static __device__ inline void
products_end()
{
	asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Wait until all products but the last N groups are done. */
template <int N>
static __device__ inline void
products_wait()
{
	asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

/*
 * What the unit is told of 16 elements of a chunk in shared memory: rows of 128 bytes, swizzled;
 * 1024 bytes from eight rows to the next eight. `at` begins a chunk, `further` is known beforehand.
 */
static __device__ inline uint64_t
describe(uint32_t at, uint32_t further)
{
	uint32_t low = ((at & 0x3ffff) >> 4) + (1u << 16) + (further >> 4);
	uint32_t high = (1024 >> 4) | 1u << 30;

	return (uint64_t) high << 32 | low;
}

/* The 64 sums of a thread as an instruction's operands: their numbers, and what they are. */
#define SUMS_NUMBERS                                                                               \
	"%0, %1, %2, %3, %4, %5, %6, %7, "                                                             \
	"%8, %9, %10, %11, %12, %13, %14, %15, "                                                       \
	"%16, %17, %18, %19, %20, %21, %22, %23, "                                                     \
	"%24, %25, %26, %27, %28, %29, %30, %31, "                                                     \
	"%32, %33, %34, %35, %36, %37, %38, %39, "                                                     \
	"%40, %41, %42, %43, %44, %45, %46, %47, "                                                     \
	"%48, %49, %50, %51, %52, %53, %54, %55, "                                                     \
	"%56, %57, %58, %59, %60, %61, %62, %63"
#define SUMS_OF(d)                                                                                 \
	"+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),            \
		"+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),    \
		"+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), \
		"+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), \
		"+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), \
		"+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), \
		"+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), \
		"+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
		"+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), \
		"+f"(d[63])

/*
 * sums (+)= 64 rows x 16 elements by 16 elements x 128 codewords; a warpgroup. Thread 4q + t of its
 * warp w has rows 16w + q and 8 further, and of each codewords 8j + 2t and the next:
 * sums[4j + 2h + b], h for the row, b for the codeword.
 *
 *   a    elements 2t, 2t+1 of both rows, then 2t+8, 2t+9
 *   add  0: begin anew
 */
static __device__ inline void
multiply_rows(float (&d)[64], const uint32_t (&a)[4], uint64_t codewords, int add)
{
	asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
				 "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
				 "{" SUMS_NUMBERS "}, {%64, %65, %66, %67}, %68, p, 1, 1, 0;\n}"
				 : SUMS_OF(d)
				 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(codewords), "r"(add));
}

/* The same with rows in shared memory, as codewords lie there. */
static __device__ inline void
multiply_tile(float (&d)[64], uint64_t rows, uint64_t codewords, int add)
{
	asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
				 "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
				 "{" SUMS_NUMBERS "}, %64, %65, p, 1, 1, 0, 0;\n}"
				 : SUMS_OF(d)
				 : "l"(rows), "l"(codewords), "r"(add));
}

#endif
