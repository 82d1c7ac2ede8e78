/*
 * What tests and measurements of trie_linear.h share: tries of so many nodes with so many children
 * each, layers of random weights in three kinds of numbers, both here and on the device, and the
 * answers by core's own dot product.
 */
#ifndef TEST_CUDA_LINEAR_H
#define TEST_CUDA_LINEAR_H

#include <math.h>

#include "core/dot.h"
#include "core/draws.h"
#include "device.h"
#include "trie_linear.h"

/* Ids in ascending order: codes [n][levels]. The caller frees the view's block. */
static inline stk_packed_trie
trie_of(const uint16_t *codes, size_t n, int levels, void **block, size_t *bytes)
{
	size_t each = STK_SEMID_HEADER + 2 * (size_t) levels, len;
	uint8_t *ids = malloc(n * each), *set_bytes;
	const uint8_t **pointers = malloc(n * sizeof(pointers[0]));
	size_t *lens = malloc(n * sizeof(lens[0]));
	stk_packed_trie trie;
	stk_semset set;
	stk_error err = {.level = -1};

	for (size_t i = 0; i < n; i++)
	{
		stk_semid id = {.tokenizer = 1, .levels = levels};

		memcpy(id.codes, codes + i * (size_t) levels, (size_t) levels * sizeof(codes[0]));
		lens[i] = stk_semid_pack(&id, ids + i * each);
		pointers[i] = ids + i * each;
	}
	must(stk_semset_build(pointers, lens, n, 0, &stk_malloc, NULL, &set_bytes, &len, &err) ==
			 STK_OK,
		 "set", err.message);
	must(stk_semset_view(set_bytes, len, &set, &err) == STK_OK, "set", err.message);
	must(stk_packed_trie_build(&set, &stk_malloc, NULL, block, bytes, &trie, &err) == STK_OK,
		 "trie", err.message);
	free(set_bytes);
	free(lens);
	free(pointers);
	free(ids);
	return trie;
}

/* `nodes` nodes below the root, each with its own choice of `children` codes below `codes`. */
static inline stk_packed_trie
forked_trie(uint32_t nodes, uint32_t children, uint32_t codes, uint64_t *seed, void **block,
			size_t *bytes)
{
	uint16_t *ids = malloc((size_t) nodes * children * 2 * sizeof(uint16_t));
	size_t n = 0;
	stk_packed_trie trie;

	for (uint32_t g = 0; g < nodes; g++)
	{
		uint32_t left = children;

		/* One of each of as many pieces; or each code with the chance that leaves enough. */
		for (uint32_t c = 0; c < children && codes >= 2 * children; c++, left--)
		{
			uint32_t from = (uint32_t) ((uint64_t) codes * c / children);
			uint32_t to = (uint32_t) ((uint64_t) codes * (c + 1) / children);

			ids[2 * n] = (uint16_t) g;
			ids[2 * n++ + 1] = (uint16_t) (from + next_bits(seed) % (to - from));
		}
		for (uint32_t c = 0; c < codes && left > 0; c++)
		{
			if (next_bits(seed) % (codes - c) >= left)
				continue;
			ids[2 * n] = (uint16_t) g;
			ids[2 * n++ + 1] = (uint16_t) c;
			left--;
		}
	}
	trie = trie_of(ids, n, 2, block, bytes);
	free(ids);
	return trie;
}

static inline float
float_of_half(uint16_t h)
{
	int exponent = h >> 10 & 31;
	float v = exponent == 31 ? (h & 1023 ? NAN : INFINITY)
			  : exponent     ? ldexpf((float) (1024 + (h & 1023)), exponent - 25)
							 : ldexpf((float) (h & 1023), -24);

	return h >> 15 ? -v : v;
}

/* What a number is in a kind, downwards: bits, and its value. */
static inline uint16_t
half_of_float(float v)
{
	float size = fabsf(v);
	int exponent;
	uint16_t bits;

	(void) frexpf(size, &exponent);
	if (!(size < 65504))
		bits = isnan(v) ? 0x7e00 : isinf(v) ? 0x7c00 : 0x7bff;
	else if (exponent < -13)
		bits = (uint16_t) ldexpf(size, 24);
	else
		bits = (uint16_t) (((exponent + 14) << 10) + ((int) ldexpf(size, 11 - exponent) - 1024));
	return (uint16_t) (bits | (signbit(v) ? 0x8000 : 0));
}

static inline size_t
number_bytes(stk_number type)
{
	return type == STK_BINARY32 ? 4 : 2;
}

/* Round v [n] to what the kind has, and give its bits to `bits`. */
static inline void
make_numbers(stk_number type, float *v, size_t n, void *bits)
{
	if (type == STK_BINARY32)
	{
		memcpy(bits, v, n * sizeof(float));
		return;
	}
	for (size_t i = 0; i < n; i++)
	{
		uint16_t *to = (uint16_t *) bits + i;

		if (type == STK_BINARY16)
		{
			*to = half_of_float(v[i]);
			v[i] = float_of_half(*to);
		}
		else
		{
			uint32_t word;

			memcpy(&word, &v[i], sizeof(word));
			word &= 0xffff0000;
			*to = (uint16_t) (word >> 16);
			memcpy(&v[i], &word, sizeof(word));
		}
	}
}

/* Copy n numbers to the device, as this kind has them; v is rounded to it. */
static inline void *
numbers_there(stk_number type, float *v, size_t n)
{
	void *bits = malloc(n * number_bytes(type));
	void *there = device_memory(n * number_bytes(type));

	make_numbers(type, v, n, bits);
	MUST_CUDA(cudaMemcpy(there, bits, n * number_bytes(type), cudaMemcpyHostToDevice));
	free(bits);
	return there;
}

/* A layer under a trie, rows at its nodes, and what the device answers. */
typedef struct linear_case
{
	stk_number type;
	uint32_t tokens, dim, offset, k;
	size_t n;
	float *weights, *bias, *x; /* here, widened; bias may be NULL */
	float *temperatures;       /* here, or NULL */
	stk_node *nodes;
	uint64_t *states;
	stk_packed_trie trie; /* here */
	void *block;
	size_t block_bytes;

	stk_device_trie trie_there;
	stk_device_linear linear;
	stk_linear_call call;
	void *weights_there, *bias_there;
	float *temperatures_there, *values_there;
	uint64_t *states_there;
	int32_t *tokens_there;
	stk_node *next_there;

	float *values; /* [n][k] of the last call */
	int32_t *chosen;
	stk_node *next;
	uint64_t *states_after;
	uint32_t failure;
} linear_case;

/* Everything that is here goes there. */
static inline void
linear_begin(linear_case *c)
{
	stk_error err = {.level = -1};
	size_t out = c->n * (c->k > 0 ? c->k : 1);

	must(stk_device_trie_create(&c->trie, c->block, c->block_bytes, 0, &c->trie_there, &err) ==
			 STK_OK,
		 "trie", err.message);
	c->weights_there = numbers_there(c->type, c->weights, (size_t) c->tokens * c->dim);
	c->bias_there = c->bias ? numbers_there(c->type, c->bias, c->tokens) : NULL;
	must(stk_device_linear_create(c->type, c->weights_there, c->bias_there, c->tokens, c->dim, 0,
								  &c->linear, &err) == STK_OK,
		 "layer", err.message);
	c->call.linear = &c->linear;
	c->call.trie = c->trie_there.view;
	c->call.x = numbers_there(c->type, c->x, c->n * c->dim);
	c->call.nodes = device_memory(c->n * sizeof(stk_node));
	MUST_CUDA(cudaMemcpy((void *) (uintptr_t) c->call.nodes, c->nodes, c->n * sizeof(stk_node),
						 cudaMemcpyHostToDevice));
	c->call.n = c->n;
	c->call.offset = c->offset;
	c->call.work = device_memory(stk_linear_work_bytes(&c->linear, &c->trie, c->n));
	c->call.failure = device_memory(sizeof(uint32_t));
	c->states_there = device_memory(c->n * sizeof(uint64_t));
	c->temperatures_there = c->temperatures ? device_memory(c->n * sizeof(float)) : NULL;
	if (c->temperatures)
		MUST_CUDA(cudaMemcpy(c->temperatures_there, c->temperatures, c->n * sizeof(float),
							 cudaMemcpyHostToDevice));
	c->values_there = device_memory(out * sizeof(float));
	c->tokens_there = device_memory(out * sizeof(int32_t));
	c->next_there = device_memory(out * sizeof(stk_node));
	c->values = malloc(out * sizeof(float));
	c->chosen = malloc(out * sizeof(int32_t));
	c->next = malloc(out * sizeof(stk_node));
	c->states_after = malloc(c->n * sizeof(uint64_t));
}

static inline void
linear_end(linear_case *c)
{
	stk_device_linear_free(&c->linear);
	stk_device_trie_free(&c->trie_there);
	MUST_CUDA(cudaFree(c->weights_there));
	MUST_CUDA(cudaFree(c->bias_there));
	MUST_CUDA(cudaFree((void *) (uintptr_t) c->call.x));
	MUST_CUDA(cudaFree((void *) (uintptr_t) c->call.nodes));
	MUST_CUDA(cudaFree(c->call.work));
	MUST_CUDA(cudaFree(c->call.failure));
	MUST_CUDA(cudaFree(c->states_there));
	MUST_CUDA(cudaFree(c->temperatures_there));
	MUST_CUDA(cudaFree(c->values_there));
	MUST_CUDA(cudaFree(c->tokens_there));
	MUST_CUDA(cudaFree(c->next_there));
	free(c->values);
	free(c->chosen);
	free(c->next);
	free(c->states_after);
	free(c->weights);
	free(c->bias);
	free(c->x);
	free(c->temperatures);
	free(c->nodes);
	free(c->states);
	free(c->block);
}

static inline void
linear_topk_once(linear_case *c, cudaStream_t stream)
{
	stk_error err = {.level = -1};

	must(stk_linear_topk_launch(&c->call, c->k, c->values_there, c->tokens_there, c->next_there,
								stream, &err) == STK_OK,
		 "top-k", err.message);
}

static inline void
linear_draw_once(linear_case *c, uint64_t seed, int level, cudaStream_t stream)
{
	stk_linear_draw draw = {.temperatures = c->temperatures_there,
							.states = c->states_there,
							.seed = seed,
							.level = level,
							.values = c->values_there,
							.tokens = c->tokens_there,
							.next = c->next_there};
	stk_error err = {.level = -1};

	must(stk_linear_draw_launch(&c->call, &draw, stream, &err) == STK_OK, "draw", err.message);
}

static inline void
linear_fetch(linear_case *c, uint32_t k)
{
	size_t out = c->n * k;

	MUST_CUDA(cudaDeviceSynchronize());
	MUST_CUDA(cudaMemcpy(c->values, c->values_there, out * sizeof(float), cudaMemcpyDeviceToHost));
	MUST_CUDA(
		cudaMemcpy(c->chosen, c->tokens_there, out * sizeof(int32_t), cudaMemcpyDeviceToHost));
	MUST_CUDA(cudaMemcpy(c->next, c->next_there, out * sizeof(stk_node), cudaMemcpyDeviceToHost));
	MUST_CUDA(cudaMemcpy(c->states_after, c->states_there, c->n * sizeof(uint64_t),
						 cudaMemcpyDeviceToHost));
	MUST_CUDA(cudaMemcpy(&c->failure, c->call.failure, sizeof(c->failure), cudaMemcpyDeviceToHost));
}

/* Poison what comes back, and set what goes in. */
static inline void
linear_poison(linear_case *c, uint32_t k)
{
	size_t out = c->n * k;

	MUST_CUDA(cudaMemset(c->values_there, 0x5a, out * sizeof(float)));
	MUST_CUDA(cudaMemset(c->tokens_there, 0x5a, out * sizeof(int32_t)));
	MUST_CUDA(cudaMemset(c->next_there, 0x5a, out * sizeof(stk_node)));
	MUST_CUDA(cudaMemset(c->call.failure, 0xff, sizeof(uint32_t)));
	MUST_CUDA(cudaMemset(c->call.work, 0x5a, stk_linear_work_bytes(&c->linear, &c->trie, c->n)));
	if (c->states)
		MUST_CUDA(cudaMemcpy(c->states_there, c->states, c->n * sizeof(uint64_t),
							 cudaMemcpyHostToDevice));
}

static inline double
linear_logit(const linear_case *c, size_t row, uint32_t token)
{
	double dot = stk_dot(c->x + row * c->dim, c->weights + (size_t) token * c->dim, c->dim);

	return c->bias ? dot + (double) c->bias[token] : dot;
}

/* Children of a row's node here, whose tokens are there. */
static inline stk_node_children
linear_children(const linear_case *c, size_t row)
{
	stk_node_children children = stk_node_list(&c->trie, c->nodes[row]);

	while (children.n > 0 && c->offset + children.codes[children.n - 1] >= c->tokens)
		children.n--;
	return children;
}

#endif
