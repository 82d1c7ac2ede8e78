/*
 * A child of each row's node, drawn from the softmax of its children's logits by the greatest of
 * logit / temperature + gumbel: the filter's scores and gumbels in binary32 first, the reference in
 * binary64 for what may win. A block has a row.
 *
 * Bytes: a row's scores, read and written. Operations: a block of Philox and two logarithms a
 * child. Bound: integer arithmetic.
 */
#include "core/explog_inline.h"
#include "linear_settle.cuh"
#include "philox.cuh"

typedef struct draw_args
{
	linear_slab slab;
	stk_linear_draw draw;
} draw_args;

/* The block of a prefix (core/draws.h). */
static __device__ inline uint4
draw_block(uint64_t seed, uint64_t state, uint32_t code, int level)
{
	return philox_block(seed, make_uint4((uint32_t) state, (uint32_t) (state >> 32), code,
										 (uint32_t) STK_RANDOM_PATH << 16 | (uint32_t) level));
}

static __device__ inline double
gumbel_of(uint32_t word)
{
	return 0.0 - stk_log_inline(0.0 - stk_log_inline(((double) word + 0.5) * 0x1p-32));
}

/*
 * The same in binary32, off by less than GUMBEL_OFF. -log u by its series where u is within 2^-7 of
 * 1: there it is small, and has to keep its digits. __logf is off by 2^-21 between 1/2 and 2, by 3
 * ulp elsewhere (CUDA C++ Programming Guide).
 */
#define GUMBEL_OFF 2e-4f

static __device__ inline float
gumbel_near(uint32_t word)
{
	bool high = word >> 31;
	/* The distance from 1, or from 0. */
	float m = ((float) (high ? ~word : word) + 0.5f) * 0x1p-32f;
	float minus_log = -__logf(high ? 1 - m : m);

	if (high && m < 0x1p-7f)
		minus_log = fmaf(m * m, fmaf(m, 1.0f / 3, 0.5f), m);
	return -__logf(minus_log);
}

template <class Number>
static __global__ void
__launch_bounds__(SETTLE_THREADS) draw_one(const draw_args a)
{
	extern __shared__ __align__(16) unsigned char room[];
	settled *b = (settled *) room;
	double *x = (double *) (room + sizeof(settled));
	const linear_slab &s = a.slab;
	const stk_linear_draw &d = a.draw;
	uint32_t row = blockIdx.x;
	size_t out = (size_t) s.first + row;
	row_facts f = s.work.facts[row];
	stk_node_children c = children_below(s.trie, s.nodes[row], s.offset, s.linear.tokens);
	float *scores = s.work.scores + row * s.work.stride;
	float *keys = c.n <= SETTLE_KEPT ? b->kept : scores;
	uint64_t state = d.states[out];
	float temperature = s.temperatures ? s.temperatures[row] : 1;
	float factor = 1 / (f.scale * s.linear.scale * temperature);
	float least, greatest, threshold = -INFINITY;
	bool finite;

	if (f.norm < 0 || c.n == 0)
	{
		if (threadIdx.x == 0)
		{
			d.values[out] = f.norm < 0 ? NAN : -INFINITY;
			d.tokens[out] = -1;
			d.next[out] = STK_NODE_NONE;
		}
		return;
	}
	widen_row<Number>(s, row, x);
	for (uint32_t i = threadIdx.x; i < c.n; i += SETTLE_THREADS)
	{
		uint4 block = draw_block(d.seed, state, c.codes[i], d.level);

		keys[i] = fmaf(scores[i], factor, gumbel_near(block.z));
	}
	__syncthreads();
	finite = range_of(b, keys, c.n, &least, &greatest);
	if (finite)
	{
		/* Keys are off by the margin, the gumbel, and the rounding of the largest of them. */
		float margin = row_margin(s.linear, f) * factor * 1.001f + GUMBEL_OFF +
					   0x1p-21f * (fmaxf(fabsf(least), fabsf(greatest)) + 32);

		threshold = __fadd_rd(greatest, -2 * margin);
		threshold = threshold > -INFINITY ? threshold : -INFINITY;
	}
	/* Of what has been settled nothing asks for the key again: its logit takes the place. */
	settle<Number>(b, s, c, x, keys, threshold, 1,
				   [&](double logit, uint32_t k)
				   {
					   uint4 block = draw_block(d.seed, state, c.codes[k], d.level);

					   keys[k] = (float) logit;
					   return __dadd_rn(__ddiv_rn(logit, (double) temperature), gumbel_of(block.z));
				   });
	if (threadIdx.x == 0)
	{
		uint32_t k = b->children[0];
		uint4 block = draw_block(d.seed, state, c.codes[k], d.level);

		d.values[out] = keys[k];
		d.tokens[out] = (int32_t) (s.offset + c.codes[k]);
		d.next[out] = stk_node_child(&s.trie, &c, k);
		d.states[out] = (uint64_t) block.y << 32 | block.x;
	}
}

template <class Number>
static stk_status
launch(const draw_args *a, cudaStream_t stream, stk_error *err)
{
	static const char doing[] = "draw children on the device";
	size_t bytes = settle_bytes(&a->slab.linear);
	stk_status status = stk_cuda_status(
		cudaFuncSetAttribute(draw_one<Number>, cudaFuncAttributeMaxDynamicSharedMemorySize,
							 (int) bytes),
		doing, err);

	if (status != STK_OK)
		return status;
	draw_one<Number><<<a->slab.n, SETTLE_THREADS, bytes, stream>>>(*a);
	return stk_cuda_status(cudaGetLastError(), doing, err);
}

stk_status
stk_linear_draw_launch(const stk_linear_call *call, const stk_linear_draw *draw,
					   cudaStream_t stream, stk_error *err)
{
	size_t bytes;
	linear_work work = linear_take(call->linear, &call->trie, call->n, call->work, &bytes);
	stk_status status = STK_OK;

	for (size_t first = 0; first < call->n && status == STK_OK; first += work.rows)
	{
		draw_args a = {linear_slab_at(call, &work, first, draw->temperatures), *draw};

		status = linear_rows_launch(&a.slab, STK_LINEAR_TILE, STK_LINEAR_PART, stream, err);
		if (status == STK_OK)
			status = linear_filter_launch(&a.slab, stream, err);
		if (status != STK_OK)
			return status;
		if (call->linear->type == STK_BINARY32)
			status = launch<float>(&a, stream, err);
		else if (call->linear->type == STK_BINARY16)
			status = launch<__half>(&a, stream, err);
		else
			status = launch<__nv_bfloat16>(&a, stream, err);
	}
	return status;
}
