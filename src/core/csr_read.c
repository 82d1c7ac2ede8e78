#include "csr.h"

#include <string.h>

/* Interrupts are looked at after this many values. */
#define STEP 65536

/* The arrays of either layout as rows of edges; levels count from 1, as in a semset. */
typedef struct source
{
	stk_csr_layout layout;
	const stk_csr_tokens *tokens;
	const stk_monitor *monitor;
	stk_npy rows;                            /* indptr, row_ptrs */
	stk_npy edges;                           /* packed_csr, stacked_cols_vals */
	stk_npy start;                           /* start_mask */
	stk_npy most;                            /* layer_max_branches */
	uint64_t vocab;                          /* STATIC */
	uint64_t n_edges;                        /* without padding */
	uint64_t n_rows;                         /* STATIC: states */
	uint64_t first_edge[STK_MAX_LEVELS + 2]; /* of each level that has edges */
	stk_semset_shape shape;
	stk_error *err;
} source;

static bool
stop_at(const source *s, uint64_t i)
{
	return i % STEP == 0 && stk_should_stop(s->monitor);
}

static stk_status
bad(const source *s, const char *what)
{
	return stk_fail(s->err, STK_EINVAL, "%s", what);
}

/* Where the edges of a row begin. RecTokens' last node, which has none, has no end either. */
static uint64_t
row_start(const source *s, uint64_t row)
{
	if (s->layout == STK_CSR_RECTOKENS && row > s->n_edges)
		return s->n_edges;
	return (uint64_t) stk_npy_value(&s->rows, row);
}

static int64_t
edge_token(const source *s, uint64_t edge)
{
	return stk_npy_value(&s->edges, s->layout == STK_CSR_STATIC ? 2 * edge : edge);
}

static int64_t
edge_child(const source *s, uint64_t edge)
{
	return stk_npy_value(&s->edges,
						 s->layout == STK_CSR_STATIC ? 2 * edge + 1 : s->edges.shape[1] + edge);
}

static stk_status
read_array(const stk_npz *file, const char *name, int ndim, const stk_monitor *monitor,
		   stk_npy *array, stk_error *err)
{
	stk_status status = stk_npz_array(file, name, monitor, array, err);

	if (status == STK_OK && array->ndim != ndim)
		status = stk_fail(err, STK_EINVAL, "array \"%s\" has %d dimensions, expected %d", name,
						  array->ndim, ndim);
	return status;
}

static stk_status
read_arrays(source *s, const stk_npz *file)
{
	bool is_static = s->layout == STK_CSR_STATIC;
	stk_status status = read_array(file, is_static ? "packed_csr" : "stacked_cols_vals", 2,
								   s->monitor, &s->edges, s->err);

	if (status == STK_OK)
		status =
			read_array(file, is_static ? "indptr" : "row_ptrs", 1, s->monitor, &s->rows, s->err);
	if (status == STK_OK && is_static)
		status = read_array(file, "start_mask", 1, s->monitor, &s->start, s->err);
	if (status == STK_OK)
		status = read_array(file, "layer_max_branches", 1, s->monitor, &s->most, s->err);
	return status;
}

/* The rows' bounds ascend from 0 to the number of edges. */
static stk_status
check_rows(const source *s, uint64_t n)
{
	int64_t before = 0;

	for (uint64_t row = 0; row < n; row++)
	{
		int64_t bound = stk_npy_value(&s->rows, row);

		if (stop_at(s, row))
			return STK_ECANCELED;
		if ((row == 0 && bound != 0) || bound < before || (uint64_t) bound > s->n_edges)
			return stk_fail(s->err, STK_EINVAL, "entry %llu of array \"%s\" is out of order",
							(unsigned long long) row, s->rows.name);
		before = bound;
	}
	return STK_OK;
}

/* STATIC: the arrays' lengths, bounds and padding, and how many prefixes each level has. */
static stk_status
measure_static(source *s)
{
	uint64_t row;
	stk_status status;

	s->vocab = s->start.shape[0];
	if (s->edges.shape[1] != 2 || s->edges.shape[0] < s->vocab || s->vocab > STK_CSR_MAX_VOCAB ||
		s->rows.shape[0] < s->vocab + 3)
		return bad(s, "shapes of the arrays contradict each other");
	s->n_edges = s->edges.shape[0] - s->vocab;
	s->n_rows = s->rows.shape[0] - 2;
	status = check_rows(s, s->n_rows + 1);
	if (status != STK_OK)
		return status;
	if (row_start(s, 1) != 0 || row_start(s, s->n_rows) != s->n_edges ||
		row_start(s, s->n_rows + 1) != s->edges.shape[0])
		return bad(s, "array \"indptr\" does not fit the edges");
	for (uint64_t e = s->n_edges; e < s->edges.shape[0]; e++)
	{
		if (stop_at(s, e))
			return STK_ECANCELED;
		if (edge_token(s, e) != (int64_t) s->vocab || edge_child(s, e) != 0)
			return bad(s, "array \"packed_csr\" does not end in a row of padding for each token");
	}
	for (uint64_t token = 0; token < s->vocab; token++)
	{
		bool begins = stk_npy_value(&s->start, token) != 0;

		if (stop_at(s, token))
			return STK_ECANCELED;
		if (begins != (row_start(s, token + 2) > row_start(s, token + 1)))
			return stk_fail(s->err, STK_EINVAL,
							"array \"start_mask\" contradicts the edges of token %llu",
							(unsigned long long) token);
		s->shape.nodes[1] += begins;
	}

	/* The states after the tokens' are the other levels but the last, whose ids end in state 0. */
	s->shape.depth = 1;
	row = s->vocab + 1;
	s->first_edge[2] = 0;
	for (uint64_t end = row_start(s, row);; end = row_start(s, row))
	{
		uint64_t from = s->first_edge[s->shape.depth + 1];

		if (s->shape.depth == STK_MAX_LEVELS)
			return bad(s, "the semantic IDs have too many levels");
		if (end == from)
			return bad(s, "a level has no semantic IDs");
		s->shape.nodes[++s->shape.depth] = end - from;
		s->first_edge[s->shape.depth + 1] = end;
		if (row == s->n_rows)
			break;
		if (end - from > s->n_rows - row)
			return bad(s, "expected semantic IDs of one length");
		row += end - from;
	}
	if (s->first_edge[s->shape.depth + 1] != s->n_edges)
		return bad(s, "array \"packed_csr\" has edges that no semantic ID has");
	return STK_OK;
}

/* RecTokens: the same. */
static stk_status
measure_rectokens(source *s)
{
	stk_status status;
	uint64_t end;

	if (s->edges.shape[0] != 2 || s->edges.shape[1] < 2 || s->rows.shape[0] != s->edges.shape[1])
		return bad(s, "shapes of the arrays contradict each other");
	s->n_edges = s->edges.shape[1] - 1;
	status = check_rows(s, s->rows.shape[0]);
	if (status != STK_OK)
		return status;
	if (edge_token(s, s->n_edges) != -1 || edge_child(s, s->n_edges) != -1)
		return bad(s, "array \"stacked_cols_vals\" does not end in -1");

	/* Nodes lie breadth first: the edges of a level's nodes are the next level. */
	s->first_edge[1] = 0;
	end = row_start(s, 1);
	while (end > s->first_edge[s->shape.depth + 1])
	{
		if (s->shape.depth == STK_MAX_LEVELS)
			return bad(s, "the semantic IDs have too many levels");
		s->shape.depth++;
		s->shape.nodes[s->shape.depth] = end - s->first_edge[s->shape.depth];
		s->first_edge[s->shape.depth + 1] = end;
		if (row_start(s, s->first_edge[s->shape.depth] + 1) != end)
			return bad(s, "expected semantic IDs of one length and nodes breadth first");
		end = row_start(s, end + 1);
	}
	if (s->first_edge[s->shape.depth + 1] != s->n_edges)
		return bad(s, "array \"stacked_cols_vals\" has edges that no semantic ID has");
	return STK_OK;
}

/* The row of level d's node i. */
static uint64_t
row_of(const source *s, const stk_semset *set, int d, uint32_t i)
{
	if (s->layout == STK_CSR_RECTOKENS)
		return d == 0 ? 0 : s->first_edge[d] + i + 1;
	if (d > 1)
		return s->vocab + 1 + s->first_edge[d] + i;
	return (uint64_t) (s->tokens->n_offsets > 0 ? s->tokens->offsets[0] : 0) + set->code[1][i] + 1;
}

/* Turn a token into the code of level d's node i. RecTokens' arrays do not know the vocabulary. */
static stk_status
put_code(const source *s, const stk_semset *set, int d, uint32_t i, int64_t token)
{
	int64_t code = token - (s->tokens->n_offsets > 0 ? (int64_t) s->tokens->offsets[d - 1] : 0);

	if (s->layout == STK_CSR_STATIC && token >= (int64_t) s->vocab)
		return stk_fail(s->err, STK_EINVAL,
						"token %lld of level %d is not below %llu, the vocabulary",
						(long long) token, d - 1, (unsigned long long) s->vocab);
	if (code < 0 || code > STK_MAX_CODE)
		return stk_fail(s->err, STK_EINVAL, "token %lld of level %d is code %lld, expected 0 to %d",
						(long long) token, d - 1, (long long) code, STK_MAX_CODE);
	((uint16_t *) set->code[d])[i] = (uint16_t) code;
	return STK_OK;
}

/* STATIC's first level: the tokens that an id may begin with. */
static stk_status
read_start(const source *s, const stk_semset *set)
{
	uint32_t i = 0;

	for (uint64_t token = 0; token < s->vocab; token++)
	{
		stk_status status = STK_OK;

		if (stop_at(s, token))
			return STK_ECANCELED;
		if (stk_npy_value(&s->start, token) != 0)
			status = put_code(s, set, 1, i++, (int64_t) token);
		if (status != STK_OK)
			return status;
	}
	return STK_OK;
}

/* An edge to level d leads where the layout says. */
static bool
child_valid(const source *s, int d, uint64_t edge)
{
	uint64_t expected = edge + 1;

	if (s->layout == STK_CSR_STATIC)
		expected = d == s->shape.depth ? 0 : s->vocab + 1 + edge;
	return edge_child(s, edge) == (int64_t) expected;
}

/* Level d from the rows of the level above; sets *most to the longest row. */
static stk_status
read_level(const source *s, const stk_semset *set, int d, uint64_t *most)
{
	uint32_t parents = d == 1 ? 1 : set->nodes[d - 1];
	uint32_t *first = (uint32_t *) (d == 1 ? set->root_first : set->first[d - 1]);

	*most = 0;
	for (uint32_t p = 0; p < parents; p++)
	{
		uint64_t row = row_of(s, set, d - 1, p);
		uint64_t from = row_start(s, row);
		uint64_t to = row_start(s, row + 1);

		if (stop_at(s, p))
			return STK_ECANCELED;
		if (from == to)
			return bad(s, "expected semantic IDs of one length");
		if (to - from > *most)
			*most = to - from;
		first[p] = (uint32_t) (from - s->first_edge[d]);
		for (uint64_t e = from; e < to; e++)
		{
			uint32_t i = (uint32_t) (e - s->first_edge[d]);
			stk_status status = put_code(s, set, d, i, edge_token(s, e));

			if (status != STK_OK)
				return status;
			if (stop_at(s, e))
				return STK_ECANCELED;
			if (!child_valid(s, d, e))
				return stk_fail(s->err, STK_EINVAL,
								"edge %llu leads to %lld, where another was expected",
								(unsigned long long) e, (long long) edge_child(s, e));
			if (e > from && set->code[d][i - 1] >= set->code[d][i])
				return stk_fail(s->err, STK_EINVAL, "tokens do not ascend at edge %llu",
								(unsigned long long) e);
		}
	}
	first[parents] = set->nodes[d];
	return STK_OK;
}

/* RecTokens makes the array one longer, of 0 children of the last level, in one of its ways. */
static stk_status
check_most(const source *s, const uint64_t *most)
{
	int depth = s->shape.depth;
	uint64_t n = s->most.shape[0];
	bool right =
		n == (uint64_t) depth || (n == (uint64_t) depth + 1 && stk_npy_value(&s->most, n - 1) == 0);

	for (int l = 0; l < depth && right; l++)
		right = stk_npy_value(&s->most, (uint64_t) l) == (int64_t) most[l];
	return right ? STK_OK : bad(s, "array \"layer_max_branches\" contradicts the edges");
}

static stk_status
read_set(const source *s, const stk_semset *set, uint32_t tokenizer)
{
	uint64_t most[STK_MAX_LEVELS] = {0};
	stk_status status = STK_OK;
	int d = 1;

	((uint32_t *) set->tokenizer)[0] = tokenizer;
	if (s->layout == STK_CSR_STATIC)
	{
		most[0] = set->nodes[1];
		((uint32_t *) set->root_first)[1] = set->nodes[1];
		status = read_start(s, set);
		d = 2;
	}
	for (; d <= set->depth && status == STK_OK; d++)
		status = read_level(s, set, d, &most[d - 1]);
	for (uint32_t i = 0; i < set->nodes[set->depth]; i++)
		((uint8_t *) set->end[set->depth])[i >> 3] |= (uint8_t) (1 << (i & 7));
	return status == STK_OK ? check_most(s, most) : status;
}

stk_status
stk_csr_read(const stk_npz *file, const stk_csr_tokens *tokens, uint32_t tokenizer, size_t prefix,
			 const stk_allocator *a, const stk_monitor *monitor, uint8_t **out, size_t *out_len,
			 stk_error *err)
{
	source s = {.tokens = tokens, .monitor = monitor, .err = err};
	bool is_static = stk_npz_has(file, "packed_csr");
	stk_semset set;
	stk_status status;

	if (is_static == stk_npz_has(file, "row_ptrs"))
		return bad(&s, "expected an array \"packed_csr\" (STATIC) or \"row_ptrs\" (RecTokens)");
	s.layout = is_static ? STK_CSR_STATIC : STK_CSR_RECTOKENS;
	status = read_arrays(&s, file);
	if (status == STK_OK)
		status = is_static ? measure_static(&s) : measure_rectokens(&s);
	if (status == STK_OK && tokens->n_offsets > 0 && tokens->n_offsets != s.shape.depth)
		status = stk_fail(err, STK_EINVAL, "expected %d offsets, one for each level, not %d",
						  s.shape.depth, tokens->n_offsets);
	if (status != STK_OK)
		return status;
	s.shape.roots = 1;
	s.shape.ids = s.shape.nodes[s.shape.depth];
	status = stk_semset_allocate(&s.shape, prefix, a, out, out_len, &set, err);
	if (status != STK_OK)
		return status;
	status = read_set(&s, &set, tokenizer);
	if (status != STK_OK)
		stk_free(a, *out);
	return status;
}
