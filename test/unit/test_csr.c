/*
 * A set as the arrays of STATIC and RecTokens: against plain constructions from the list of ids,
 * there and back, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bytes.h"
#include "catalog.h"
#include "core/csr.h"
#include "failing.h"

/* A set and its file. */
typedef struct exported
{
	catalog c;
	uint8_t *bytes;
	size_t len;
	stk_semset set;
	stk_csr csr;
	uint8_t *file;
	size_t file_len;
} exported;

/* ids is taken over. */
static void
make_set(exported *e, stk_semid *ids, size_t n)
{
	stk_error err = {0};

	e->file = NULL;
	catalog_init(&e->c, ids, n, false);
	assert_int_equal(stk_semset_build(e->c.pointers, e->c.lens, e->c.n, 0, &stk_malloc, NULL,
									  &e->bytes, &e->len, &err),
					 STK_OK);
	assert_int_equal(stk_semset_view(e->bytes, e->len, &e->set, &err), STK_OK);
}

static void
make_file(exported *e, stk_csr_layout layout, const stk_csr_tokens *tokens, int dense)
{
	stk_error err = {0};

	if (stk_csr_plan(&e->set, layout, tokens, dense, 1 << 24, &e->csr, &err) != STK_OK)
		fail_msg("%s", err.message);
	e->file_len = stk_npz_size(e->csr.arrays, (size_t) e->csr.n_arrays);
	e->file = calloc(e->file_len, 1);
	stk_npz_begin(e->csr.arrays, (size_t) e->csr.n_arrays, e->file);
	for (int i = 0; i < e->csr.n_arrays; i++)
		assert_int_equal(stk_csr_fill(&e->csr, i, NULL), STK_OK);
	assert_int_equal(stk_npz_end(e->csr.arrays, (size_t) e->csr.n_arrays, e->file, NULL), STK_OK);
}

static void
exported_free(exported *e)
{
	free(e->file);
	free(e->bytes);
	catalog_free(&e->c);
}

static stk_status
read_file(const uint8_t *file, size_t len, const stk_csr_tokens *tokens, uint32_t tokenizer,
		  const stk_allocator *a, uint8_t **out, size_t *out_len, stk_error *err)
{
	stk_npz npz;
	stk_status status = stk_npz_open(file, len, a, &npz, err);

	if (status != STK_OK)
		return status;
	status = stk_csr_read(&npz, tokens, tokenizer, 0, a, NULL, out, out_len, err);
	stk_npz_close(&npz);
	return status;
}

static const stk_npy *
array_of(const exported *e, const char *name)
{
	for (int i = 0; i < e->csr.n_arrays; i++)
		if (strcmp(e->csr.arrays[i].name, name) == 0)
			return &e->csr.arrays[i];
	fail_msg("no array %s", name);
	return NULL;
}

static void
assert_array(const exported *e, const char *name, const int64_t *values, uint64_t n)
{
	const stk_npy *array = array_of(e, name);

	assert_int_equal(stk_npy_count(array), n);
	for (uint64_t i = 0; i < n; i++)
		if (stk_npy_value(array, i) != values[i])
			fail_msg("%s[%d] is %lld, expected %lld", name, (int) i,
					 (long long) stk_npy_value(array, i), (long long) values[i]);
}

#define ASSERT_ARRAY(e, name, ...)                                                                 \
	do                                                                                             \
	{                                                                                              \
		static const int64_t values[] = __VA_ARGS__;                                               \
		assert_array(e, name, values, sizeof(values) / sizeof(values[0]));                         \
	} while (0)

static void
make_example(exported *e)
{
	static const stk_semid example[] = {{1, 3, {1, 2, 1}}, {1, 3, {3, 1, 2}}, {1, 3, {3, 1, 3}}};
	stk_semid *ids = calloc(3, sizeof(stk_semid));

	memcpy(ids, example, sizeof(example));
	make_set(e, ids, 3);
}

/* The example of RecTokens' own tests, and the same set for STATIC. */
static void
test_example(void **state)
{
	stk_csr_tokens tokens = {.vocab = 4};
	exported e;

	(void) state;
	make_example(&e);
	make_file(&e, STK_CSR_RECTOKENS, &tokens, 2);
	ASSERT_ARRAY(&e, "row_ptrs", {0, 2, 3, 4, 5, 7, 7, 7});
	ASSERT_ARRAY(&e, "stacked_cols_vals", {1, 3, 2, 1, 1, 2, 3, -1, 1, 2, 3, 4, 5, 6, 7, -1});
	ASSERT_ARRAY(&e, "layer_max_branches", {2, 1, 2});
	ASSERT_ARRAY(&e, "dense_mask_by_layer_0", {0, 1, 0, 1});
	ASSERT_ARRAY(&e, "dense_mask_by_layer_1", {0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0});
	ASSERT_ARRAY(&e, "dense_states", {0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 4, 0, 0});
	ASSERT_ARRAY(&e, "vocab_size", {4});
	exported_free(&e);

	make_example(&e);
	make_file(&e, STK_CSR_STATIC, &tokens, 2);
	ASSERT_ARRAY(&e, "packed_csr", {2, 5, 1, 6, 1, 0, 2, 0, 3, 0, 4, 0, 4, 0, 4, 0, 4, 0});
	ASSERT_ARRAY(&e, "indptr", {0, 0, 0, 1, 1, 2, 3, 5, 9});
	ASSERT_ARRAY(&e, "layer_max_branches", {2, 1, 2});
	ASSERT_ARRAY(&e, "start_mask", {0, 1, 0, 1});
	ASSERT_ARRAY(&e, "dense_mask", {0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0});
	ASSERT_ARRAY(&e, "dense_states", {0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 6, 0, 0});
	exported_free(&e);
}

/* Dense tables of two layers over 4 tokens: masks of 4 and 16 bytes, 16 states. */
static void
test_dense_bytes(void **state)
{
	stk_csr_tokens tokens = {.vocab = 4};
	uint64_t bytes[] = {[STK_CSR_STATIC] = 4 + 16 + 16 * 4, [STK_CSR_RECTOKENS] = 4 + 16 + 16 * 8};
	exported e;
	stk_csr csr;
	stk_error err;

	(void) state;
	make_example(&e);
	for (stk_csr_layout l = STK_CSR_STATIC; l <= STK_CSR_RECTOKENS; l++)
	{
		assert_int_equal(stk_csr_plan(&e.set, l, &tokens, 2, bytes[l], &csr, &err), STK_OK);
		assert_int_equal(stk_csr_plan(&e.set, l, &tokens, 2, bytes[l] - 1, &csr, &err), STK_ERANGE);
	}
	exported_free(&e);
}

static int64_t
token(const stk_csr_tokens *tokens, const stk_semid *id, int level)
{
	return id->codes[level] + (tokens->n_offsets ? (int64_t) tokens->offsets[level] : 0);
}

/* Number of distinct prefixes of d codes among ids 0 .. i; the last is id i's own. */
static uint64_t
prefixes(const catalog *c, int d, size_t i)
{
	uint64_t n = 1;

	for (size_t j = 1; j <= i; j++)
		n += memcmp(c->ids[j].codes, c->ids[j - 1].codes, 2 * (size_t) d) != 0;
	return n;
}

/*
 * Walk every id through the arrays as the decoders do, and count edges, branches and dense
 * entries, which must all be of some id.
 */
static void
check_walks(const exported *e, stk_csr_layout layout)
{
	const catalog *c = &e->c;
	bool is_static = layout == STK_CSR_STATIC;
	const stk_npy *edges = array_of(e, is_static ? "packed_csr" : "stacked_cols_vals");
	const stk_npy *rows = array_of(e, is_static ? "indptr" : "row_ptrs");
	const stk_npy *most = array_of(e, "layer_max_branches");
	const stk_npy *states = array_of(e, "dense_states");
	const stk_csr_tokens *tokens = &e->csr.tokens;
	int levels = c->ids[0].levels;
	uint64_t longest[STK_MAX_LEVELS] = {0};
	uint64_t total = 0;
	uint64_t set = 0;

	for (int d = 1; d <= levels; d++)
		total += prefixes(c, d, c->n - 1);
	assert_int_equal(most->shape[0], levels);
	if (is_static)
		assert_int_equal(edges->shape[0], total - prefixes(c, 1, c->n - 1) + tokens->vocab);
	else
		assert_int_equal(edges->shape[1], total + 1);

	for (size_t i = 0; i < c->n; i++)
	{
		int64_t node = 0;
		uint64_t cell = 0;

		for (int l = 0; l < levels; l++)
		{
			int64_t want = token(tokens, &c->ids[i], l);
			uint64_t from, to, e_at;
			int64_t expected;

			if (l == 0 && is_static)
			{
				assert_int_equal(stk_npy_value(array_of(e, "start_mask"), (uint64_t) want), 1);
				longest[0] = prefixes(c, 1, c->n - 1);
				node = want + 1;
			}
			else
			{
				from = (uint64_t) stk_npy_value(rows, (uint64_t) node);
				to = (uint64_t) stk_npy_value(rows, (uint64_t) node + 1);
				if (to - from > longest[l])
					longest[l] = to - from;
				for (e_at = from; e_at < to; e_at++)
					if (stk_npy_value(edges, is_static ? 2 * e_at : e_at) == want)
						break;
				assert_true(e_at < to);
				node = stk_npy_value(edges, is_static ? 2 * e_at + 1 : edges->shape[1] + e_at);
				/* Numbered through the levels, in the order of the prefixes. */
				expected = (int64_t) prefixes(c, l + 1, i);
				for (int d = is_static ? 2 : 1; d <= l; d++)
					expected += (int64_t) prefixes(c, d, c->n - 1);
				if (is_static)
					expected = l == levels - 1 ? 0 : expected + tokens->vocab;
				assert_int_equal(node, expected);
			}
			cell = cell * tokens->vocab + (uint64_t) want;
			if (l + 1 == states->ndim)
				assert_int_equal(stk_npy_value(states, cell), node);
			if (!is_static && l < states->ndim)
			{
				char name[STK_NPY_MAX_NAME];

				sprintf(name, "dense_mask_by_layer_%d", l);
				assert_int_equal(stk_npy_value(array_of(e, name), cell), 1);
			}
			else if (is_static && l + 1 == states->ndim)
				assert_int_equal(stk_npy_value(array_of(e, "dense_mask"), cell), 1);
		}
	}
	for (int l = 0; l < levels; l++)
		assert_int_equal(stk_npy_value(most, (uint64_t) l), longest[l]);
	for (uint64_t i = 0; i < stk_npy_count(states); i++)
		set += stk_npy_value(states, i) != 0;
	assert_int_equal(set, prefixes(c, states->ndim, c->n - 1));
	for (int i = 0; i < e->csr.n_arrays; i++)
	{
		const stk_npy *array = &e->csr.arrays[i];

		set = 0;
		for (uint64_t v = 0; v < stk_npy_count(array) && array->type == STK_NPY_BOOL; v++)
			set += (uint64_t) stk_npy_value(array, v);
		if (array->type == STK_NPY_BOOL)
			assert_int_equal(set, prefixes(c, array->ndim, c->n - 1));
	}
}

static void
random_ids(prng *r, exported *e, stk_csr_tokens *tokens)
{
	size_t n = 1 + prng_below(r, 40);
	stk_semid *ids = calloc(n, sizeof(stk_semid));
	uint32_t codes = 1 + prng_below(r, 6);
	int levels = 1 + (int) prng_below(r, 5);

	memset(tokens, 0, sizeof(*tokens));
	tokens->vocab = codes + prng_below(r, 3);
	if (prng_below(r, 2))
	{
		tokens->n_offsets = levels;
		for (int l = 0; l < levels; l++)
			tokens->offsets[l] = prng_below(r, 4);
		tokens->vocab += 4;
	}
	for (size_t i = 0; i < n; i++)
	{
		ids[i].tokenizer = 77;
		ids[i].levels = levels;
		for (int l = 0; l < levels; l++)
			ids[i].codes[l] = (uint16_t) prng_below(r, codes);
	}
	make_set(e, ids, n);
}

static void
test_random(void **state)
{
	prng r = {3};

	(void) state;
	for (int round = 0; round < 600; round++)
	{
		stk_csr_layout layout = round % 2 ? STK_CSR_STATIC : STK_CSR_RECTOKENS;
		stk_csr_tokens tokens;
		exported e;
		uint8_t *back;
		size_t back_len;
		stk_error err = {0};

		random_ids(&r, &e, &tokens);
		if (layout == STK_CSR_STATIC && e.set.depth == 1)
		{
			exported_free(&e);
			continue;
		}
		make_file(
			&e, layout, &tokens,
			1 + (int) prng_below(&r, layout == STK_CSR_STATIC ? (uint32_t) e.set.depth - 1 : 4));
		check_walks(&e, layout);
		if (read_file(e.file, e.file_len, &tokens, 77, &stk_malloc, &back, &back_len, &err))
			fail_msg("%s", err.message);
		assert_int_equal(back_len, e.len);
		assert_memory_equal(back, e.bytes, e.len);
		free(back);
		exported_free(&e);
	}
}

/*
 * Change any value of the arrays that are read: either it is refused, or the file is that of
 * another set.
 */
static void
test_changed(void **state)
{
	prng r = {11};
	size_t accepted = 0, refused = 0;

	(void) state;
	for (int round = 0; round < 3000; round++)
	{
		stk_csr_layout layout = round % 2 ? STK_CSR_STATIC : STK_CSR_RECTOKENS;
		stk_csr_tokens tokens;
		exported e;
		int at;
		stk_npy *array;
		uint64_t i;
		stk_error err = {0};
		uint8_t *back;
		size_t back_len;
		stk_status status;

		random_ids(&r, &e, &tokens);
		if (layout == STK_CSR_STATIC && e.set.depth == 1)
		{
			exported_free(&e);
			continue;
		}
		make_file(&e, layout, &tokens, 1);
		do
			at = (int) prng_below(&r, (uint32_t) e.csr.n_arrays);
		while (strncmp(e.csr.arrays[at].name, "dense", 5) == 0 ||
			   strcmp(e.csr.arrays[at].name, "vocab_size") == 0);
		array = &e.csr.arrays[at];
		i = prng_below(&r, (uint32_t) stk_npy_count(array));
		if (array->type == STK_NPY_BOOL)
			((uint8_t *) array->data)[i] ^= 1;
		else
		{
			int64_t value = prng_below(&r, 4)
								? stk_npy_value(array, i) + (prng_below(&r, 2) ? 1 : -1)
								: (int64_t) prng_next(&r) >> prng_below(&r, 64);

			memcpy((uint8_t *) array->data + i * (array->type == STK_NPY_I32 ? 4 : 8), &value,
				   array->type == STK_NPY_I32 ? 4 : 8);
		}
		assert_int_equal(stk_npz_end(e.csr.arrays, (size_t) e.csr.n_arrays, e.file, NULL), STK_OK);
		status = read_file(e.file, e.file_len, &tokens, 77, &stk_malloc, &back, &back_len, &err);
		if (status == STK_OK)
		{
			exported other = {0};

			accepted++;
			assert_int_equal(stk_semset_check(back, back_len, &err), STK_OK);
			assert_int_equal(stk_semset_view(back, back_len, &other.set, &err), STK_OK);
			tokens.vocab = UINT16_MAX + 10;
			other.file = NULL;
			if (layout == STK_CSR_STATIC)
				tokens.vocab = e.csr.tokens.vocab;
			make_file(&other, layout, &tokens, 1);
			for (int k = 0; k < 3; k++)
				assert_memory_equal(other.csr.arrays[k].data, e.csr.arrays[k].data,
									stk_npy_bytes(&e.csr.arrays[k]));
			free(other.file);
			free(back);
		}
		else
		{
			refused++;
			assert_int_equal(status, STK_EINVAL);
			assert_true(err.message[0] != 0);
		}
		exported_free(&e);
	}
	assert_true(accepted > 50 && refused > 500);
}

/* Files made by hand, of int64 arrays. */
typedef struct hand
{
	const char *name;
	int ndim;
	uint64_t shape[2];
	const int64_t *values;
} hand;

static void
assert_hand(const hand *hands, size_t n, const char *says)
{
	stk_csr_tokens tokens = {0};
	stk_npy arrays[8] = {0};
	uint8_t *file;
	uint8_t *back = NULL;
	size_t len;
	size_t back_len;
	stk_error err = {0};
	stk_status status;

	for (size_t i = 0; i < n; i++)
	{
		strcpy(arrays[i].name, hands[i].name);
		arrays[i].type = STK_NPY_I64;
		arrays[i].ndim = hands[i].ndim;
		memcpy(arrays[i].shape, hands[i].shape, sizeof(hands[i].shape));
	}
	len = stk_npz_size(arrays, n);
	file = calloc(len, 1);
	stk_npz_begin(arrays, n, file);
	for (size_t i = 0; i < n; i++)
		memcpy((uint8_t *) arrays[i].data, hands[i].values, stk_npy_bytes(&arrays[i]));
	(void) stk_npz_end(arrays, n, file, NULL);
	status = read_file(file, len, &tokens, 0, &stk_malloc, &back, &back_len, &err);
	if (says == NULL && status != STK_OK)
		fail_msg("%s", err.message);
	if (says != NULL && (status != STK_EINVAL || strcmp(err.message, says) != 0))
		fail_msg("%s, expected %s", status == STK_OK ? "accepted" : err.message, says);
	if (status == STK_OK)
		free(back);
	free(file);
}

#define INTS(...) ((const int64_t[]) __VA_ARGS__)

static void
test_by_hand(void **state)
{
	/* {[1,2],[3,1]}, then the same broken in one way each. */
	hand h[3] = {{"row_ptrs", 1, {5, 0}, INTS({0, 2, 3, 4, 4})},
				 {"stacked_cols_vals", 2, {2, 5}, INTS({1, 3, 2, 1, -1, 1, 2, 3, 4, -1})},
				 {"layer_max_branches", 1, {2, 0}, INTS({2, 1, 0})}};
	const hand rows = h[0], edges = h[1], most = h[2];

	(void) state;
	assert_hand(h, 3, NULL);
	assert_hand(h, 2, "array \"layer_max_branches\" is missing");
	assert_hand(h + 1, 2, "expected an array \"packed_csr\" (STATIC) or \"row_ptrs\" (RecTokens)");

	/* As RecTokens makes it from its pointer trie: one more, of the last level. */
	h[2].shape[0] = 3;
	assert_hand(h, 3, NULL);
	h[2].values = INTS({2, 1, 1});
	assert_hand(h, 3, "array \"layer_max_branches\" contradicts the edges");
	h[2] = (hand){"layer_max_branches", 1, {1, 0}, INTS({2})};
	assert_hand(h, 3, "array \"layer_max_branches\" contradicts the edges");
	h[2] = (hand){"layer_max_branches", 2, {1, 2}, INTS({2, 1})};
	assert_hand(h, 3, "array \"layer_max_branches\" has 2 dimensions, expected 1");
	h[2] = most;

	h[0].values = INTS({1, 2, 3, 4, 4});
	assert_hand(h, 3, "entry 0 of array \"row_ptrs\" is out of order");
	h[0].values = INTS({0, 2, 1, 4, 4});
	assert_hand(h, 3, "entry 2 of array \"row_ptrs\" is out of order");
	h[0].values = INTS({0, 2, 5, 5, 5});
	assert_hand(h, 3, "entry 2 of array \"row_ptrs\" is out of order");
	h[0].values = INTS({0, 2, 2, 4, 4});
	assert_hand(h, 3, "expected semantic IDs of one length");
	h[0].values = INTS({0, 2, 3, 3, 3});
	assert_hand(h, 3, "array \"stacked_cols_vals\" has edges that no semantic ID has");
	h[0].values = INTS({0, 0, 3, 4, 4});
	assert_hand(h, 3, "array \"stacked_cols_vals\" has edges that no semantic ID has");
	h[0].values = INTS({0, 1, 2, 3, 4});
	h[2] = (hand){"layer_max_branches", 1, {4, 0}, INTS({1, 1, 1, 1})};
	assert_hand(h, 3, NULL);
	h[2] = most;
	h[0] = rows;
	h[0].shape[0] = 4;
	assert_hand(h, 3, "shapes of the arrays contradict each other");
	h[0] = rows;

	h[1].values = INTS({3, 1, 2, 1, -1, 1, 2, 3, 4, -1});
	assert_hand(h, 3, "tokens do not ascend at edge 1");
	h[1].values = INTS({1, 1, 2, 1, -1, 1, 2, 3, 4, -1});
	assert_hand(h, 3, "tokens do not ascend at edge 1");
	h[1].values = INTS({1, 65536, 2, 1, -1, 1, 2, 3, 4, -1});
	assert_hand(h, 3, "token 65536 of level 0 is code 65536, expected 0 to 65535");
	h[1].values = INTS({-1, 3, 2, 1, -1, 1, 2, 3, 4, -1});
	assert_hand(h, 3, "token -1 of level 0 is code -1, expected 0 to 65535");
	h[1].values = INTS({1, 3, 2, 1, -1, 1, 1, 3, 4, -1});
	assert_hand(h, 3, "edge 1 leads to 1, where another was expected");
	h[1].values = INTS({1, 3, 2, 1, -1, 1, 2, 3, 0, -1});
	assert_hand(h, 3, "edge 3 leads to 0, where another was expected");
	h[1].values = INTS({1, 3, 2, 1, 0, 1, 2, 3, 4, -1});
	assert_hand(h, 3, "array \"stacked_cols_vals\" does not end in -1");
	h[1].values = INTS({1, 3, 2, 1, -1, 1, 2, 3, 4, 5});
	assert_hand(h, 3, "array \"stacked_cols_vals\" does not end in -1");
	h[1] = (hand){"stacked_cols_vals", 2, {5, 2}, edges.values};
	assert_hand(h, 3, "shapes of the arrays contradict each other");
	h[1] = (hand){"stacked_cols_vals", 2, {2, 1}, INTS({-1, -1})};
	h[0].shape[0] = 1;
	assert_hand(h, 3, "shapes of the arrays contradict each other");
}

static void
test_by_hand_static(void **state)
{
	/* {[1,0],[1,2],[2,1]} of 3 tokens, then the same broken in one way each. */
	hand h[4] = {{"packed_csr", 2, {6, 2}, INTS({0, 0, 2, 0, 1, 0, 3, 0, 3, 0, 3, 0})},
				 {"indptr", 1, {6, 0}, INTS({0, 0, 0, 2, 3, 6})},
				 {"start_mask", 1, {3, 0}, INTS({0, 1, 1})},
				 {"layer_max_branches", 1, {2, 0}, INTS({2, 2})}};
	const hand edges = h[0], rows = h[1], start = h[2];

	(void) state;
	assert_hand(h, 4, NULL);
	h[0].values = INTS({2, 0, 0, 0, 1, 0, 3, 0, 3, 0, 3, 0});
	assert_hand(h, 4, "tokens do not ascend at edge 1");
	h[0].values = INTS({0, 0, 3, 0, 1, 0, 3, 0, 3, 0, 3, 0});
	assert_hand(h, 4, "token 3 of level 1 is not below 3, the vocabulary");
	h[0].values = INTS({0, 0, 2, 4, 1, 0, 3, 0, 3, 0, 3, 0});
	assert_hand(h, 4, "edge 1 leads to 4, where another was expected");
	h[0].values = INTS({0, 0, 2, 0, 1, 0, 3, 0, 2, 0, 3, 0});
	assert_hand(h, 4, "array \"packed_csr\" does not end in a row of padding for each token");
	h[0].values = INTS({0, 0, 2, 0, 1, 0, 3, 0, 3, 0, 3, 1});
	assert_hand(h, 4, "array \"packed_csr\" does not end in a row of padding for each token");
	h[0].shape[0] = 2;
	assert_hand(h, 4, "shapes of the arrays contradict each other");
	h[0] = (hand){"packed_csr", 2, {4, 3}, edges.values};
	assert_hand(h, 4, "shapes of the arrays contradict each other");
	h[0] = edges;

	h[1].values = INTS({0, 0, 1, 2, 3, 6});
	assert_hand(h, 4, "array \"start_mask\" contradicts the edges of token 0");
	h[1].values = INTS({0, 1, 1, 2, 3, 6});
	assert_hand(h, 4, "array \"indptr\" does not fit the edges");
	h[1].values = INTS({0, 0, 0, 2, 2, 6});
	assert_hand(h, 4, "array \"indptr\" does not fit the edges");
	h[1].values = INTS({0, 0, 0, 2, 3, 5});
	assert_hand(h, 4, "array \"indptr\" does not fit the edges");
	h[1].values = INTS({0, 0, 0, 4, 3, 6});
	assert_hand(h, 4, "entry 3 of array \"indptr\" is out of order");
	h[1].values = INTS({0, 0, 0, -1, 3, 6});
	assert_hand(h, 4, "entry 3 of array \"indptr\" is out of order");
	h[1].shape[0] = 5;
	assert_hand(h, 4, "shapes of the arrays contradict each other");
	/* States of a third level, fewer than there are prefixes. */
	h[1] = (hand){"indptr", 1, {7, 0}, INTS({0, 0, 0, 2, 3, 3, 6})};
	assert_hand(h, 4, "expected semantic IDs of one length");
	h[1] = rows;

	h[2].values = INTS({0, 1, 0});
	assert_hand(h, 4, "array \"start_mask\" contradicts the edges of token 2");
	h[2].values = INTS({1, 1, 1});
	assert_hand(h, 4, "array \"start_mask\" contradicts the edges of token 0");
	h[2] = start;
	h[3].values = INTS({2, 1});
	assert_hand(h, 4, "array \"layer_max_branches\" contradicts the edges");

	/* No ids at all. */
	h[0] = (hand){"packed_csr", 2, {3, 2}, INTS({3, 0, 3, 0, 3, 0})};
	h[1] = (hand){"indptr", 1, {6, 0}, INTS({0, 0, 0, 0, 0, 3})};
	h[2].values = INTS({0, 0, 0});
	assert_hand(h, 4, "a level has no semantic IDs");
}

/* 33 levels of one node each. */
static void
test_too_deep(void **state)
{
	int64_t rows[34], edges[68], most[33];
	hand h[3] = {{"row_ptrs", 1, {34, 0}, rows},
				 {"stacked_cols_vals", 2, {2, 34}, edges},
				 {"layer_max_branches", 1, {33, 0}, most}};
	int64_t packed[33 * 2], indptr[36], start = 1;
	hand s[4] = {{"packed_csr", 2, {33, 2}, packed},
				 {"indptr", 1, {35, 0}, indptr},
				 {"start_mask", 1, {1, 0}, &start},
				 {"layer_max_branches", 1, {33, 0}, most}};

	(void) state;
	for (int i = 0; i < 34; i++)
	{
		rows[i] = i;
		edges[i] = i < 33 ? 0 : -1;
		edges[34 + i] = i < 33 ? i + 1 : -1;
		if (i < 33)
			most[i] = 1;
	}
	assert_hand(h, 3, "the semantic IDs have too many levels");

	/* 32 edges below the first level: states 1 to 32 with one each. */
	for (int i = 0; i < 33; i++)
	{
		packed[2 * i] = i < 32 ? 0 : 1;
		packed[2 * i + 1] = i < 31 ? i + 2 : 0;
	}
	for (int i = 0; i < 34; i++)
		indptr[i] = i > 0 ? i - 1 : 0;
	indptr[34] = 33;
	assert_hand(s, 4, "the semantic IDs have too many levels");
}

static bool
stop_after(void *ctx)
{
	return (*(int *) ctx)-- == 0;
}

/* Out of memory and asked to stop at every point: nothing is left behind. */
static void
test_gives_up(void **state)
{
	stk_csr_tokens tokens = {.vocab = 4};

	(void) state;
	for (stk_csr_layout layout = STK_CSR_STATIC; layout <= STK_CSR_RECTOKENS; layout++)
	{
		exported e;
		stk_status status = STK_ENOMEM;
		stk_error err;
		stk_npz npz;
		uint8_t *back;
		size_t back_len;
		int stops = 0;

		make_example(&e);
		make_file(&e, layout, &tokens, 1);
		for (int n = 0; status == STK_ENOMEM; n++)
		{
			failing_allocator f;
			stk_allocator a = failing_init(&f, n);

			status = read_file(e.file, e.file_len, &tokens, 0, &a, &back, &back_len, &err);
			assert_int_equal(f.live, status == STK_OK);
		}
		free(back);
		assert_int_equal(stk_npz_open(e.file, e.file_len, &stk_malloc, &npz, &err), STK_OK);
		for (status = STK_ECANCELED; status == STK_ECANCELED; stops++)
		{
			int left = stops;
			stk_monitor monitor = {stop_after, &left};

			status =
				stk_csr_read(&npz, &tokens, 0, 0, &stk_malloc, &monitor, &back, &back_len, &err);
		}
		assert_int_equal(status, STK_OK);
		assert_true(stops > 5);
		free(back);
		stk_npz_close(&npz);
		for (int i = 0; i < e.csr.n_arrays; i++)
		{
			int left = 0;
			stk_monitor monitor = {stop_after, &left};

			if (stk_npy_count(&e.csr.arrays[i]) > 1)
				assert_int_equal(stk_csr_fill(&e.csr, i, &monitor), STK_ECANCELED);
		}
		exported_free(&e);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_example),  cmocka_unit_test(test_dense_bytes),
		cmocka_unit_test(test_random),   cmocka_unit_test(test_changed),
		cmocka_unit_test(test_by_hand),  cmocka_unit_test(test_by_hand_static),
		cmocka_unit_test(test_too_deep), cmocka_unit_test(test_gives_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
