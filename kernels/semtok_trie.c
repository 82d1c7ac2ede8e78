/*
 * The C interface of the trie on a device, semtok_trie.h, over the kernels' launchers: arguments
 * are checked here, failures become text, and what the kernels work in is kept with what they work
 * for.
 */
#include "semtok_trie.h"

#include <stdio.h>
#include <string.h>

#include "core/csr.h"
#include "core/semset.h"
#include "trie_linear.h"
#include "trie_step.h"

/* Memory of the device that grows. */
typedef struct room
{
	void *memory;
	size_t bytes;
} room;

struct semtok_trie
{
	stk_device_trie there;
	uint32_t *tokenizers; /* [there.view.roots] */
	stk_node *roots;
	uint32_t vocab;
	int n_offsets;
	uint32_t offsets[STK_MAX_LEVELS];
	room step; /* a beam step's scratch, and its survivors' numbers behind it */
	size_t step_queries;
	uint32_t step_width;
};

struct semtok_linear
{
	stk_device_linear there;
	room work;
};

static semtok_result
tell(stk_status status, const stk_error *err, char *error, size_t error_bytes)
{
	static const char *const words[] = {"", "out of memory", "an argument is not valid",
										"too large"};
	const char *text = err->message;

	if (status == STK_OK)
		return SEMTOK_OK;
	if (!text[0])
		text = status <= STK_ERANGE ? words[status] : "the device failed";
	if (error && error_bytes > 0)
		(void) snprintf(error, error_bytes, "%s", text);
	switch (status)
	{
		case STK_ENOMEM:
			return SEMTOK_NO_MEMORY;
		case STK_EINVAL:
		case STK_ECORRUPT:
			return SEMTOK_BAD_INPUT;
		case STK_ERANGE:
			return SEMTOK_TOO_LARGE;
		default:
			return SEMTOK_DEVICE_FAILED;
	}
}

static void
give_up(room *r)
{
	(void) cudaFree(r->memory);
	memset(r, 0, sizeof(*r));
}

/* At least so many bytes; what was there is lost when it grows. cudaFree waits for who uses it. */
static stk_status
grow(room *r, size_t bytes, stk_error *err)
{
	stk_status status;

	if (bytes <= r->bytes)
		return STK_OK;
	give_up(r);
	status = stk_cuda_status(cudaMalloc(&r->memory, bytes), "make room to work in", err);
	if (status == STK_OK)
		r->bytes = bytes;
	return status;
}

int
semtok_trie_version(void)
{
	return SEMTOK_TRIE_VERSION;
}

/* A set's stored form from either kind of file: *made is to be freed, or NULL. */
static stk_status
read_set(const void *bytes, size_t length, const stk_csr_tokens *tokens, stk_semset *set,
		 uint8_t **made, stk_error *err)
{
	uint8_t *copy;
	stk_npz file;
	stk_status status;
	size_t made_length = length;

	*made = NULL;
	if (length >= 2 && memcmp(bytes, "PK", 2) == 0)
	{
		status = stk_npz_open(bytes, length, &stk_malloc, &file, err);
		if (status != STK_OK)
			return status;
		status = stk_csr_read(&file, tokens, 0, 0, &stk_malloc, NULL, made, &made_length, err);
		stk_npz_close(&file);
	}
	else
	{
		/* Aligned as a view wants it. */
		copy = stk_alloc_array(&stk_malloc, length ? length : 1, 1);
		if (!copy)
			return STK_ENOMEM;
		memcpy(copy, bytes, length);
		*made = copy;
		status = stk_semset_check(copy, length, err);
	}
	if (status == STK_OK)
		status = stk_semset_view(*made, made_length, set, err);
	return status;
}

/* Does the model have every token? An npz file's codes are tokens less the offsets already. */
static stk_status
check_tokens(const stk_semset *set, const semtok_trie *t, stk_error *err)
{
	/* Those behind the longest id, too: a step reads a level's logits from its offset on. */
	for (int i = 0; i < t->n_offsets; i++)
	{
		if (t->offsets[i] >= t->vocab)
			return stk_fail(err, STK_EINVAL, "offset %u of level %d is not below vocab %u",
							t->offsets[i], i, t->vocab);
	}
	if (t->n_offsets > 0 && t->n_offsets < set->depth)
		return stk_fail(err, STK_EINVAL, "expected an offset for each of %d levels, not %d",
						set->depth, t->n_offsets);
	for (int level = 1; level <= set->depth; level++)
	{
		uint32_t offset = t->n_offsets > 0 ? t->offsets[level - 1] : 0;

		for (uint32_t i = 0; i < set->nodes[level]; i++)
		{
			if ((uint64_t) offset + set->code[level][i] >= t->vocab)
				return stk_fail(err, STK_EINVAL, "code %u of level %d is not below vocab %u",
								set->code[level][i], level - 1, t->vocab);
		}
	}
	return STK_OK;
}

semtok_result
semtok_trie_load(const void *bytes, size_t length, uint32_t vocab, const uint32_t *offsets,
				 int n_offsets, semtok_stream stream, semtok_trie **trie, char *error,
				 size_t error_bytes)
{
	stk_error err = {.level = -1};
	stk_csr_tokens tokens = {.vocab = vocab, .n_offsets = n_offsets};
	semtok_trie *t;
	stk_semset set;
	stk_packed_trie here;
	uint8_t *made = NULL;
	void *block = NULL;
	size_t block_bytes;
	stk_status status = STK_OK;

	*trie = NULL;
	if (n_offsets < 0 || n_offsets > STK_MAX_LEVELS || vocab == 0 || vocab > INT32_MAX)
		return tell(stk_fail(&err, STK_EINVAL, "expected a vocab of 1 to %d and 0 to %d offsets",
							 INT32_MAX, STK_MAX_LEVELS),
					&err, error, error_bytes);
	t = stk_alloc_array(&stk_malloc, 1, sizeof(*t));
	if (!t)
		return tell(STK_ENOMEM, &err, error, error_bytes);
	memset(t, 0, sizeof(*t));
	t->vocab = vocab;
	t->n_offsets = n_offsets;
	for (int i = 0; i < n_offsets; i++)
		tokens.offsets[i] = t->offsets[i] = offsets[i];
	status = read_set(bytes, length, &tokens, &set, &made, &err);
	if (status == STK_OK)
		status = check_tokens(&set, t, &err);
	if (status == STK_OK)
		status = stk_packed_trie_build(&set, &stk_malloc, NULL, &block, &block_bytes, &here, &err);
	if (status == STK_OK)
	{
		size_t roots = here.roots > 0 ? here.roots : 1;

		t->tokenizers = stk_alloc_array(&stk_malloc, roots, sizeof(uint32_t));
		t->roots = stk_alloc_array(&stk_malloc, roots, sizeof(stk_node));
		status = t->tokenizers && t->roots ? STK_OK : STK_ENOMEM;
	}
	if (status == STK_OK)
	{
		memcpy(t->tokenizers, here.tokenizer, here.roots * sizeof(uint32_t));
		memcpy(t->roots, here.root, here.roots * sizeof(stk_node));
		status = stk_device_trie_create(&here, block, block_bytes, (cudaStream_t) stream, &t->there,
										&err);
	}
	stk_free(&stk_malloc, block);
	stk_free(&stk_malloc, made);
	if (status == STK_OK)
		*trie = t;
	else
		semtok_trie_free(t);
	return tell(status, &err, error, error_bytes);
}

void
semtok_trie_free(semtok_trie *t)
{
	if (!t)
		return;
	stk_device_trie_free(&t->there);
	give_up(&t->step);
	stk_free(&stk_malloc, t->tokenizers);
	stk_free(&stk_malloc, t->roots);
	stk_free(&stk_malloc, t);
}

uint32_t
semtok_trie_root(const semtok_trie *t, uint32_t tokenizer)
{
	uint32_t roots = t->there.view.roots;

	if (tokenizer == 0 && roots == 1)
		return t->roots[0];
	for (uint32_t i = 0; i < roots; i++)
	{
		if (t->tokenizers[i] == tokenizer)
			return t->roots[i];
	}
	return SEMTOK_NO_NODE;
}

int
semtok_trie_depth(const semtok_trie *t)
{
	return t->there.view.depth;
}

uint32_t
semtok_trie_most_children(const semtok_trie *t)
{
	return t->there.view.most_children;
}

size_t
semtok_trie_bytes(const semtok_trie *t)
{
	return t->there.bytes;
}

static stk_status
offset_of(const semtok_trie *t, int level, uint32_t *offset, stk_error *err)
{
	*offset = 0;
	if (level < 0 || level >= STK_MAX_LEVELS || (t->n_offsets > 0 && level >= t->n_offsets))
		return stk_fail(err, STK_EINVAL, "expected a level of 0 to %d, not %d",
						(t->n_offsets > 0 ? t->n_offsets : STK_MAX_LEVELS) - 1, level);
	if (t->n_offsets > 0)
		*offset = t->offsets[level];
	return STK_OK;
}

semtok_result
semtok_trie_mask(const semtok_trie *t, int level, const uint32_t *nodes, size_t n, float *logits,
				 semtok_stream stream, char *error, size_t error_bytes)
{
	stk_error err = {.level = -1};
	uint32_t offset;
	stk_status status = offset_of(t, level, &offset, &err);

	if (status == STK_OK)
		status = stk_mask_logits_launch(&t->there.view, nodes, n, offset, t->vocab, logits, logits,
										(cudaStream_t) stream, &err);
	return tell(status, &err, error, error_bytes);
}

semtok_result
semtok_trie_step(const semtok_trie *t, int level, const uint32_t *nodes, const int32_t *tokens,
				 size_t n, uint32_t *next, semtok_stream stream, char *error, size_t error_bytes)
{
	stk_error err = {.level = -1};
	uint32_t offset;
	stk_status status = offset_of(t, level, &offset, &err);

	if (status == STK_OK)
		status = stk_trie_follow_launch(&t->there.view, nodes, tokens, n, offset, next,
										(cudaStream_t) stream, &err);
	return tell(status, &err, error, error_bytes);
}

semtok_result
semtok_trie_children(const semtok_trie *t, int level, const uint32_t *nodes, size_t n, size_t width,
					 int32_t *tokens, uint32_t *next, semtok_stream stream, char *error,
					 size_t error_bytes)
{
	stk_error err = {.level = -1};
	uint32_t offset;
	stk_status status = offset_of(t, level, &offset, &err);

	if (status == STK_OK)
		status = stk_linear_children_launch(&t->there.view, nodes, n, offset, t->vocab, width,
											tokens, next, (cudaStream_t) stream, &err);
	return tell(status, &err, error, error_bytes);
}

semtok_result
semtok_trie_beam_step(semtok_trie *t, int level, size_t queries, uint32_t parents, uint32_t width,
					  const uint32_t *n_parents, const uint32_t *nodes, const double *costs,
					  const float *logits, const double *temperature, semtok_norm norm,
					  uint32_t *kept, int32_t *tokens, int32_t *parent, uint32_t *next,
					  double *next_costs, semtok_stream stream, char *error, size_t error_bytes)
{
	static const stk_norm norms[] = {STK_NORM_FULL, STK_NORM_MASKED, STK_NORM_NONE};
	stk_error err = {.level = -1};
	cudaStream_t on = (cudaStream_t) stream;
	size_t numbers = queries * width * sizeof(uint32_t);
	size_t scratch;
	uint32_t offset;
	stk_status status = offset_of(t, level, &offset, &err);
	stk_trie_step step;

	if (status == STK_OK && (parents < 1 || parents > STK_STEP_MOST || width < 1 ||
							 width > STK_STEP_MOST || queries > INT32_MAX || (unsigned) norm > 2))
		status =
			stk_fail(&err, STK_EINVAL, "expected 1 to %d parents and as many kept", STK_STEP_MOST);
	if (status != STK_OK || queries == 0)
		return tell(status, &err, error, error_bytes);
	scratch = (stk_trie_step_scratch((uint32_t) queries, width) + 255) / 256 * 256;
	status = grow(&t->step, scratch + numbers, &err);
	/* A step leaves its scratch as it was; for another number of queries it begins with zeros. */
	if (status == STK_OK && (t->step_queries != queries || t->step_width != width))
		status = stk_cuda_status(cudaMemsetAsync(t->step.memory, 0, scratch, on),
								 "begin a beam on the device", &err);
	if (status != STK_OK)
	{
		t->step_queries = 0;
		return tell(status, &err, error, error_bytes);
	}
	t->step_queries = queries;
	t->step_width = width;
	step = (stk_trie_step){.trie = t->there.view,
						   .n = (uint32_t) queries,
						   .parents = parents,
						   .width = width,
						   .n_parents = n_parents,
						   .node = nodes,
						   .cost = costs,
						   .logits = logits + offset,
						   .temperature = temperature,
						   .stride = t->vocab,
						   .size = t->vocab - offset <= STK_MAX_CODE + 1u ? t->vocab - offset
																		  : STK_MAX_CODE + 1u,
						   .norm = norms[norm],
						   .row_each = true,
						   .leaves = true,
						   .n_out = kept,
						   .out_number = (uint32_t *) ((char *) t->step.memory + scratch),
						   .out_node = next,
						   .out_cost = next_costs,
						   .scratch = t->step.memory};
	status = stk_trie_step_launch(&step, on, &err);
	if (status == STK_OK)
		status = stk_trie_unpack_launch(kept, queries, width, offset, step.out_number, tokens,
										parent, next, next_costs, on, &err);
	return tell(status, &err, error, error_bytes);
}

semtok_result
semtok_linear_prepare(semtok_number number, const void *weights, const void *bias, uint32_t tokens,
					  uint32_t dim, semtok_stream stream, semtok_linear **linear, char *error,
					  size_t error_bytes)
{
	stk_error err = {.level = -1};
	semtok_linear *l;
	stk_status status;

	*linear = NULL;
	if ((unsigned) number > SEMTOK_BFLOAT16)
		return tell(stk_fail(&err, STK_EINVAL, "expected a number of 0 to 2, not %d", (int) number),
					&err, error, error_bytes);
	l = stk_alloc_array(&stk_malloc, 1, sizeof(*l));
	if (!l)
		return tell(STK_ENOMEM, &err, error, error_bytes);
	memset(l, 0, sizeof(*l));
	status = stk_device_linear_create((stk_number) number, weights, bias, tokens, dim,
									  (cudaStream_t) stream, &l->there, &err);
	if (status == STK_OK)
		*linear = l;
	else
		stk_free(&stk_malloc, l);
	return tell(status, &err, error, error_bytes);
}

void
semtok_linear_free(semtok_linear *l)
{
	if (!l)
		return;
	stk_device_linear_free(&l->there);
	give_up(&l->work);
	stk_free(&stk_malloc, l);
}

/* What the three have in common. */
static stk_status
begin_call(semtok_linear *l, const semtok_trie *t, int level, const void *rows,
		   const uint32_t *nodes, size_t n, stk_linear_call *call, stk_error *err)
{
	uint32_t offset;
	stk_status status = offset_of(t, level, &offset, err);

	if (status == STK_OK && l->there.tokens != t->vocab)
		status = stk_fail(err, STK_EINVAL, "expected a layer of the trie's %u tokens, not of %u",
						  t->vocab, l->there.tokens);
	if (status == STK_OK && n >= UINT32_MAX)
		status = stk_fail(err, STK_ERANGE, "too many rows");
	if (status == STK_OK)
		status = grow(&l->work, stk_linear_work_bytes(&l->there, &t->there.view, n), err);
	*call = (stk_linear_call){.linear = &l->there,
							  .trie = t->there.view,
							  .x = rows,
							  .nodes = nodes,
							  .n = n,
							  .offset = status == STK_OK ? offset : 0,
							  .work = l->work.memory};
	return status;
}

semtok_result
semtok_linear_topk(semtok_linear *l, const semtok_trie *t, int level, const void *rows,
				   const uint32_t *nodes, size_t n, uint32_t k, float *values, int32_t *tokens,
				   uint32_t *next, semtok_stream stream, char *error, size_t error_bytes)
{
	stk_error err = {.level = -1};
	stk_linear_call call;
	stk_status status = begin_call(l, t, level, rows, nodes, n, &call, &err);

	if (status == STK_OK)
		status =
			stk_linear_topk_launch(&call, k, values, tokens, next, (cudaStream_t) stream, &err);
	return tell(status, &err, error, error_bytes);
}

semtok_result
semtok_linear_sample(semtok_linear *l, const semtok_trie *t, int level, const void *rows,
					 const uint32_t *nodes, size_t n, const float *temperatures, uint64_t *states,
					 uint64_t seed, float *values, int32_t *tokens, uint32_t *next,
					 semtok_stream stream, char *error, size_t error_bytes)
{
	stk_error err = {.level = -1};
	stk_linear_call call;
	stk_linear_draw draw = {.temperatures = temperatures,
							.states = states,
							.seed = seed,
							.level = level,
							.values = values,
							.tokens = tokens,
							.next = next};
	stk_status status = begin_call(l, t, level, rows, nodes, n, &call, &err);

	if (status == STK_OK)
		status = stk_linear_draw_launch(&call, &draw, (cudaStream_t) stream, &err);
	return tell(status, &err, error, error_bytes);
}

semtok_result
semtok_linear_masked(semtok_linear *l, const semtok_trie *t, int level, const void *rows,
					 const uint32_t *nodes, size_t n, semtok_number number, void *out,
					 semtok_stream stream, char *error, size_t error_bytes)
{
	stk_error err = {.level = -1};
	stk_linear_call call;
	stk_status status = begin_call(l, t, level, rows, nodes, n, &call, &err);

	if (status == STK_OK && number != SEMTOK_FLOAT32 && number != SEMTOK_FLOAT16)
		status = stk_fail(&err, STK_EINVAL, "expected masked logits as float32 or float16");
	if (status == STK_OK)
		status = stk_linear_masked_launch(&call, out, number == SEMTOK_FLOAT16,
										  (cudaStream_t) stream, &err);
	return tell(status, &err, error, error_bytes);
}
