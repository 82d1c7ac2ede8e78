#include "csr.h"

#include <stdio.h>
#include <string.h>

/* Interrupts are looked at after this many values. */
#define STEP 65536

static bool
stop_at(const stk_monitor *monitor, uint64_t i)
{
	return i % STEP == 0 && stk_should_stop(monitor);
}

static void
put_int32(const stk_npy *array, uint64_t i, uint64_t value)
{
	int32_t v = (int32_t) value;

	memcpy((uint8_t *) array->data + i * sizeof(v), &v, sizeof(v));
}

static void
put_int64(const stk_npy *array, uint64_t i, int64_t value)
{
	memcpy((uint8_t *) array->data + i * sizeof(value), &value, sizeof(value));
}

/* The token of a code of level 0, 1, … */
static uint64_t
token_of(const stk_csr_tokens *tokens, int level, uint16_t code)
{
	return (uint64_t) (tokens->n_offsets > 0 ? tokens->offsets[level] : 0) + code;
}

/* One tokenizer, ids of one length. */
static stk_status
check_set(const stk_semset *set, stk_error *err)
{
	if (set->ids == 0)
		return stk_fail(err, STK_EINVAL, "expected a set with semantic IDs, not an empty one");
	if (set->roots > 1)
		return stk_fail(err, STK_EINVAL, "expected semantic IDs of one tokenizer, not of %u",
						set->roots);
	/* All nodes of the last level are ids, so that there are others if the numbers differ. */
	if (set->ids != set->nodes[set->depth])
		return stk_fail(err, STK_EINVAL,
						"expected semantic IDs of one length: some have %d levels, some fewer",
						set->depth);
	return STK_OK;
}

static stk_status
check_tokens(const stk_semset *set, const stk_csr_tokens *tokens, stk_error *err)
{
	if (tokens->n_offsets > 0 && tokens->n_offsets != set->depth)
		return stk_fail(err, STK_EINVAL, "expected %d offsets, one for each level, not %d",
						set->depth, tokens->n_offsets);
	for (int l = 0; l < set->depth; l++)
	{
		uint16_t most = 0;

		for (uint32_t i = 0; i < set->nodes[l + 1]; i++)
			if (set->code[l + 1][i] > most)
				most = set->code[l + 1][i];
		if (token_of(tokens, l, most) >= tokens->vocab)
			return stk_fail(err, STK_EINVAL,
							"code %d of level %d is token %llu, expected one below %u", most, l,
							(unsigned long long) token_of(tokens, l, most), tokens->vocab);
	}
	return STK_OK;
}

static stk_npy *
add_array(stk_csr *csr, const char *name, stk_npy_type type)
{
	stk_npy *array = &csr->arrays[csr->n_arrays++];

	memset(array, 0, sizeof(*array));
	snprintf(array->name, sizeof(array->name), "%s", name);
	array->type = type;
	return array;
}

static void
add_vector(stk_csr *csr, const char *name, stk_npy_type type, uint64_t n)
{
	stk_npy *array = add_array(csr, name, type);

	array->ndim = 1;
	array->shape[0] = n;
}

static void
add_matrix(stk_csr *csr, const char *name, stk_npy_type type, uint64_t rows, uint64_t columns)
{
	stk_npy *array = add_array(csr, name, type);

	array->ndim = 2;
	array->shape[0] = rows;
	array->shape[1] = columns;
}

/* A table over all of ndim tokens; its bytes count to *bytes, which stays at its most. */
static void
add_dense(stk_csr *csr, const char *name, stk_npy_type type, int ndim, uint64_t *bytes)
{
	stk_npy *array = add_array(csr, name, type);

	array->ndim = ndim;
	for (int i = 0; i < ndim; i++)
		array->shape[i] = csr->tokens.vocab;
	if (__builtin_add_overflow(*bytes, stk_npy_bytes(array), bytes))
		*bytes = UINT64_MAX;
}

static stk_status
plan_static(stk_csr *csr, int dense_layers, uint64_t *dense_bytes, stk_error *err)
{
	const stk_semset *set = csr->set;
	uint64_t vocab = csr->tokens.vocab;

	if (dense_layers >= set->depth)
		return stk_fail(err, STK_EINVAL,
						"dense_layers must be below the number of levels, %d, not %d", set->depth,
						dense_layers);
	csr->dense = dense_layers;
	csr->edges = set->total_nodes - set->nodes[1];
	csr->states = vocab + 1 + csr->edges - set->nodes[set->depth];
	if (csr->edges + vocab > INT32_MAX || csr->states > INT32_MAX)
		return stk_fail(err, STK_ERANGE, "%llu edges and a vocabulary of %llu exceed 32 bits",
						(unsigned long long) csr->edges, (unsigned long long) vocab);
	add_matrix(csr, "packed_csr", STK_NPY_I32, csr->edges + vocab, 2);
	add_vector(csr, "indptr", STK_NPY_I32, csr->states + 2);
	add_vector(csr, "layer_max_branches", STK_NPY_I64, (uint64_t) set->depth);
	add_dense(csr, "start_mask", STK_NPY_BOOL, 1, dense_bytes);
	add_dense(csr, "dense_mask", STK_NPY_BOOL, csr->dense, dense_bytes);
	add_dense(csr, "dense_states", STK_NPY_I32, csr->dense, dense_bytes);
	return STK_OK;
}

static void
plan_rectokens(stk_csr *csr, int dense_layers, uint64_t *dense_bytes)
{
	const stk_semset *set = csr->set;

	csr->dense = dense_layers < set->depth ? dense_layers : set->depth;
	csr->edges = set->total_nodes;
	csr->states = csr->edges + 1;
	add_vector(csr, "row_ptrs", STK_NPY_I64, csr->edges + 1);
	add_matrix(csr, "stacked_cols_vals", STK_NPY_I64, 2, csr->edges + 1);
	add_vector(csr, "layer_max_branches", STK_NPY_I64, (uint64_t) set->depth);
	for (int l = 0; l < csr->dense; l++)
	{
		char name[STK_NPY_MAX_NAME];

		snprintf(name, sizeof(name), "dense_mask_by_layer_%d", l);
		add_dense(csr, name, STK_NPY_BOOL, l + 1, dense_bytes);
	}
	add_dense(csr, "dense_states", STK_NPY_I64, csr->dense, dense_bytes);
	(void) add_array(csr, "vocab_size", STK_NPY_I64);
}

stk_status
stk_csr_plan(const stk_semset *set, stk_csr_layout layout, const stk_csr_tokens *tokens,
			 int dense_layers, uint64_t dense_bytes, stk_csr *csr, stk_error *err)
{
	uint64_t needed = 0;
	stk_status status = check_set(set, err);

	csr->set = set;
	csr->layout = layout;
	csr->tokens = *tokens;
	csr->n_arrays = 0;
	if (status == STK_OK && dense_layers < 1)
		status = stk_fail(err, STK_EINVAL, "dense_layers must be at least 1, not %d", dense_layers);
	if (status == STK_OK && layout == STK_CSR_STATIC)
		status = plan_static(csr, dense_layers, &needed, err);
	else if (status == STK_OK)
		plan_rectokens(csr, dense_layers, &needed);
	if (status == STK_OK)
		status = check_tokens(set, tokens, err);
	if (status == STK_OK && needed > dense_bytes)
		status = stk_fail(err, STK_ERANGE,
						  "dense tables of %d layers over %u tokens take at least %llu bytes, "
						  "dense_bytes allows %llu",
						  csr->dense, tokens->vocab, (unsigned long long) needed,
						  (unsigned long long) dense_bytes);
	return status;
}

/* The number of level d's node i: STATIC's state, RecTokens' node. */
static uint64_t
node_number(const stk_csr *csr, int d, uint32_t i)
{
	const stk_semset *set = csr->set;

	if (csr->layout == STK_CSR_RECTOKENS)
		return (uint64_t) set->base[d] + i + 1;
	if (d == 1)
		return token_of(&csr->tokens, 0, set->code[1][i]) + 1;
	return d == set->depth ? 0
						   : (uint64_t) csr->tokens.vocab + 1 + set->base[d] - set->nodes[1] + i;
}

/* Children of a prefix of d codes. */
static uint32_t
branches(const stk_semset *set, int d, uint32_t i)
{
	uint32_t from, to;

	stk_semset_children(set, d, i, &from, &to);
	return to - from;
}

static stk_status
fill_layer_max_branches(const stk_csr *csr, const stk_npy *array, const stk_monitor *monitor)
{
	const stk_semset *set = csr->set;

	for (int d = 0; d < set->depth; d++)
	{
		uint32_t n = d == 0 ? 1 : set->nodes[d];
		uint32_t most = 0;

		for (uint32_t i = 0; i < n; i++)
		{
			uint32_t here = branches(set, d, i);

			if (stop_at(monitor, i))
				return STK_ECANCELED;
			if (here > most)
				most = here;
		}
		put_int64(array, (uint64_t) d, most);
	}
	return STK_OK;
}

/*
 * Fill a dense table of the prefixes of d = ndim codes: true in a mask, else their numbers. The
 * nodes come in order, so each level above moves on to the parent of the one below it.
 */
static stk_status
fill_dense(const stk_csr *csr, const stk_npy *array, const stk_monitor *monitor)
{
	const stk_semset *set = csr->set;
	uint32_t at[STK_MAX_LEVELS + 1] = {0};
	int d = array->ndim;

	for (uint32_t i = 0; i < set->nodes[d]; i++)
	{
		uint64_t cell = 0;

		if (stop_at(monitor, i))
			return STK_ECANCELED;
		at[d] = i;
		for (int up = d - 1; up > 0; up--)
			while (set->first[up][at[up] + 1] <= at[up + 1])
				at[up]++;
		for (int l = 1; l <= d; l++)
			cell = cell * csr->tokens.vocab + token_of(&csr->tokens, l - 1, set->code[l][at[l]]);
		if (array->type == STK_NPY_BOOL)
			((uint8_t *) array->data)[cell] = 1;
		else if (array->type == STK_NPY_I32)
			put_int32(array, cell, node_number(csr, d, i));
		else
			put_int64(array, cell, (int64_t) node_number(csr, d, i));
	}
	return STK_OK;
}

static stk_status
fill_packed_csr(const stk_csr *csr, const stk_npy *array, const stk_monitor *monitor)
{
	const stk_semset *set = csr->set;
	uint64_t row = 0;

	for (int d = 2; d <= set->depth; d++)
	{
		for (uint32_t i = 0; i < set->nodes[d]; i++, row++)
		{
			if (stop_at(monitor, i))
				return STK_ECANCELED;
			put_int32(array, 2 * row, token_of(&csr->tokens, d - 1, set->code[d][i]));
			put_int32(array, 2 * row + 1, node_number(csr, d, i));
		}
	}
	for (; row < array->shape[0]; row++)
	{
		if (stop_at(monitor, row))
			return STK_ECANCELED;
		put_int32(array, 2 * row, csr->tokens.vocab);
	}
	return STK_OK;
}

static stk_status
fill_indptr(const stk_csr *csr, const stk_npy *array, const stk_monitor *monitor)
{
	const stk_semset *set = csr->set;
	uint64_t state = 0;
	uint64_t edges = 0;

	/* Up to state s all rows end at `edges` when s comes; states without prefixes have no edges. */
	for (int d = 1; d < set->depth; d++)
	{
		for (uint32_t i = 0; i < set->nodes[d]; i++)
		{
			uint64_t number = node_number(csr, d, i);

			while (state <= number)
			{
				if (stop_at(monitor, state))
					return STK_ECANCELED;
				put_int32(array, state++, edges);
			}
			edges += branches(set, d, i);
		}
	}
	while (state <= csr->states)
	{
		if (stop_at(monitor, state))
			return STK_ECANCELED;
		put_int32(array, state++, edges);
	}
	put_int32(array, state, edges + csr->tokens.vocab);
	return STK_OK;
}

static stk_status
fill_row_ptrs(const stk_csr *csr, const stk_npy *array, const stk_monitor *monitor)
{
	const stk_semset *set = csr->set;
	uint64_t edges = set->nodes[1];
	uint64_t row = 1;

	for (int d = 1; d <= set->depth; d++)
	{
		for (uint32_t i = 0; i < set->nodes[d]; i++, row++)
		{
			if (stop_at(monitor, i))
				return STK_ECANCELED;
			put_int64(array, row, (int64_t) edges);
			edges += branches(set, d, i);
		}
	}
	return STK_OK;
}

static stk_status
fill_stacked_cols_vals(const stk_csr *csr, const stk_npy *array, const stk_monitor *monitor)
{
	const stk_semset *set = csr->set;
	uint64_t vals = array->shape[1];
	uint64_t edge = 0;

	for (int d = 1; d <= set->depth; d++)
	{
		for (uint32_t i = 0; i < set->nodes[d]; i++, edge++)
		{
			if (stop_at(monitor, i))
				return STK_ECANCELED;
			put_int64(array, edge, (int64_t) token_of(&csr->tokens, d - 1, set->code[d][i]));
			put_int64(array, vals + edge, (int64_t) edge + 1);
		}
	}
	put_int64(array, edge, -1);
	put_int64(array, vals + edge, -1);
	return STK_OK;
}

static stk_status
fill_vocab_size(const stk_csr *csr, const stk_npy *array, const stk_monitor *monitor)
{
	(void) monitor;
	put_int64(array, 0, csr->tokens.vocab);
	return STK_OK;
}

stk_status
stk_csr_fill(const stk_csr *csr, int i, const stk_monitor *monitor)
{
	static const struct
	{
		const char *name;
		stk_status (*fill)(const stk_csr *csr, const stk_npy *array, const stk_monitor *monitor);
	} fills[] = {
		{"packed_csr", fill_packed_csr},
		{"indptr", fill_indptr},
		{"row_ptrs", fill_row_ptrs},
		{"stacked_cols_vals", fill_stacked_cols_vals},
		{"layer_max_branches", fill_layer_max_branches},
		{"vocab_size", fill_vocab_size},
	};

	for (size_t f = 0; f < sizeof(fills) / sizeof(fills[0]); f++)
		if (strcmp(csr->arrays[i].name, fills[f].name) == 0)
			return fills[f].fill(csr, &csr->arrays[i], monitor);
	return fill_dense(csr, &csr->arrays[i], monitor);
}
