/*
 * The C interface of the trie on a device, semtok_trie.h: what is refused, and answers against
 * core's, from a set's stored form and from both kinds of npz files.
 *
 *   make cuda-test here; test/cuda/bin/test_interface where there is a device
 */
#include "core/csr.h"
#include "linear.h"
#include "semtok_trie.h"

#define CODES 24
#define LEVELS 3
#define VOCAB 100
#define IDS 500
#define ROWS 64
#define DIM 16

static unsigned long wrong_in_all;
static uint64_t seed = 5;

static void
say(const char *what, unsigned long wrong)
{
	printf("%-6s %-66s %8lu wrong\n", wrong ? "FAILED" : "ok", what, wrong);
	fflush(stdout);
	wrong_in_all += wrong;
}

/* A random set of ids of three levels, in its stored form. */
static uint8_t *
make_set(size_t *len, stk_semset *set)
{
	static bool there[CODES][CODES][CODES];
	static uint8_t bytes[CODES * CODES * CODES][STK_SEMID_MAX_BYTES];
	static const uint8_t *pointers[CODES * CODES * CODES];
	static size_t lens[CODES * CODES * CODES];
	size_t n = 0;
	uint8_t *out;
	stk_error err = {.level = -1};

	for (int i = 0; i < IDS; i++)
		there[below(CODES, &seed)][below(CODES, &seed)][below(CODES, &seed)] = true;
	for (int a = 0; a < CODES; a++)
		for (int b = 0; b < CODES; b++)
			for (int c = 0; c < CODES; c++)
			{
				stk_semid id = {.tokenizer = 0,
								.levels = LEVELS,
								.codes = {(uint16_t) a, (uint16_t) b, (uint16_t) c}};

				if (!there[a][b][c])
					continue;
				lens[n] = stk_semid_pack(&id, bytes[n]);
				pointers[n] = bytes[n];
				n++;
			}
	must(stk_semset_build(pointers, lens, n, 0, &stk_malloc, NULL, &out, len, &err) == STK_OK,
		 "set", err.message);
	must(stk_semset_view(out, *len, set, &err) == STK_OK, "set", err.message);
	return out;
}

static uint8_t *
make_npz(const stk_semset *set, stk_csr_layout layout, const stk_csr_tokens *tokens, size_t *len)
{
	stk_csr csr;
	stk_error err = {.level = -1};
	uint8_t *out;

	must(stk_csr_plan(set, layout, tokens, 1, (uint64_t) 1 << 30, &csr, &err) == STK_OK, "npz",
		 err.message);
	*len = stk_npz_size(csr.arrays, (size_t) csr.n_arrays);
	out = calloc(*len, 1);
	stk_npz_begin(csr.arrays, (size_t) csr.n_arrays, out);
	for (int i = 0; i < csr.n_arrays; i++)
		must(stk_csr_fill(&csr, i, NULL) == STK_OK, "npz", "");
	must(stk_npz_end(csr.arrays, (size_t) csr.n_arrays, out, NULL) == STK_OK, "npz", "");
	return out;
}

static void
fetch(void *here, const void *there, size_t bytes)
{
	MUST_CUDA(cudaDeviceSynchronize());
	MUST_CUDA(cudaMemcpy(here, there, bytes, cudaMemcpyDeviceToHost));
}

static void *
send(const void *here, size_t bytes)
{
	void *there = device_memory(bytes);

	MUST_CUDA(cudaMemcpy(there, here, bytes, cudaMemcpyHostToDevice));
	return there;
}

/* Walks from the root by tokens; at each level masks, children, top-k and a beam's step. */
static unsigned long
compare(const stk_semset *set, semtok_trie *t, const uint32_t *offsets)
{
	static float logits[ROWS * VOCAB], masked[ROWS * VOCAB], rows[ROWS * DIM];
	static float weights[VOCAB * DIM], values[ROWS], all[ROWS * VOCAB];
	uint32_t places[ROWS] = {0}, nodes[ROWS], next[ROWS * 8];
	int32_t tokens[ROWS], listed[ROWS * 8], parents[ROWS];
	double costs[ROWS];
	unsigned long wrong = 0;
	char error[160] = "";
	uint32_t *nodes_there = device_memory(sizeof(nodes)), *next_there = device_memory(sizeof(next));
	int32_t *tokens_there = device_memory(sizeof(tokens));
	int32_t *listed_there = device_memory(sizeof(listed));
	int32_t *parents_there = device_memory(sizeof(parents));
	double *costs_there = device_memory(sizeof(costs));
	uint32_t *kept_there = device_memory(sizeof(uint32_t)), kept;
	float *logits_there = device_memory(sizeof(logits)), *values_there, *weights_there, *rows_there;
	semtok_linear *linear;

	fill(weights, VOCAB * DIM, 1, &seed);
	weights_there = send(weights, sizeof(weights));
	values_there = device_memory(sizeof(values));
	wrong += semtok_linear_prepare(SEMTOK_FLOAT32, weights_there, NULL, VOCAB, DIM, NULL, &linear,
								   error, sizeof(error)) != SEMTOK_OK;
	wrong += semtok_trie_depth(t) != LEVELS;
	for (int r = 0; r < ROWS; r++)
		nodes[r] = semtok_trie_root(t, 0);
	MUST_CUDA(cudaMemcpy(nodes_there, nodes, sizeof(nodes), cudaMemcpyHostToDevice));
	for (int level = 0; level < LEVELS; level++)
	{
		uint32_t offset = offsets ? offsets[level] : 0;

		fill(logits, ROWS * VOCAB, 2, &seed);
		fill(rows, ROWS * DIM, 1, &seed);
		rows_there = send(rows, sizeof(rows));
		MUST_CUDA(cudaMemcpy(logits_there, logits, sizeof(logits), cudaMemcpyHostToDevice));
		wrong += semtok_trie_mask(t, level, nodes_there, ROWS, logits_there, NULL, error,
								  sizeof(error)) != SEMTOK_OK;
		fetch(masked, logits_there, sizeof(masked));
		wrong += semtok_trie_children(t, level, nodes_there, ROWS, 8, listed_there, next_there,
									  NULL, error, sizeof(error)) != SEMTOK_OK;
		fetch(listed, listed_there, sizeof(listed));
		fetch(next, next_there, sizeof(next));
		wrong +=
			semtok_linear_topk(linear, t, level, rows_there, nodes_there, ROWS, 1, values_there,
							   tokens_there, next_there, NULL, error, sizeof(error)) != SEMTOK_OK;
		fetch(values, values_there, sizeof(values));
		fetch(tokens, tokens_there, sizeof(tokens));
		wrong +=
			semtok_linear_masked(linear, t, level, rows_there, nodes_there, ROWS, SEMTOK_FLOAT32,
								 logits_there, NULL, error, sizeof(error)) != SEMTOK_OK;
		fetch(all, logits_there, sizeof(all));
		for (int r = 0; r < ROWS; r++)
		{
			uint32_t from, to, i = 0;
			double best = -INFINITY;
			int32_t winner = -1;

			stk_semset_children(set, level, places[r], &from, &to);
			for (uint32_t token = 0; token < VOCAB; token++)
			{
				size_t at = (size_t) r * VOCAB + token;
				bool child = from + i < to && offset + set->code[level + 1][from + i] == token;
				double logit = stk_dot(rows + r * DIM, weights + token * DIM, DIM);

				wrong += masked[at] != (child ? logits[at] : -INFINITY);
				wrong += all[at] != (child ? (float) logit : -INFINITY);
				if (child && i < 8)
					wrong += listed[r * 8 + (int) i] != (int32_t) token;
				if (child && logit > best)
				{
					best = logit;
					winner = (int32_t) token;
				}
				i += child;
			}
			for (; i < 8; i++)
				wrong += listed[r * 8 + (int) i] != -1 || next[r * 8 + (int) i] != SEMTOK_NO_NODE;
			wrong += tokens[r] != winner || values[r] != (float) best;

			/* On by any child; now and then by a token that is none. */
			i = from + (uint32_t) below(to - from, &seed);
			places[r] = i;
			tokens[r] = (int32_t) (offset + set->code[level + 1][i]);
		}
		if (level == 0)
		{
			/* The best three of one prefix, by -logit. */
			double zero = 0;

			MUST_CUDA(cudaMemcpy(logits_there, logits, sizeof(logits), cudaMemcpyHostToDevice));
			MUST_CUDA(cudaMemcpy(costs_there, &zero, sizeof(zero), cudaMemcpyHostToDevice));
			wrong += semtok_trie_beam_step(t, 0, 1, 1, CODES + 1, NULL, nodes_there, costs_there,
										   logits_there, NULL, SEMTOK_NORM_NONE, kept_there,
										   listed_there, parents_there, next_there, costs_there + 1,
										   NULL, error, sizeof(error)) != SEMTOK_OK;
			fetch(&kept, kept_there, sizeof(kept));
			fetch(listed, listed_there, sizeof(listed));
			fetch(parents, parents_there, sizeof(parents));
			fetch(costs, costs_there + 1, (CODES + 1) * sizeof(double));
			wrong += kept != set->nodes[1];
			for (uint32_t i = 0; i < kept; i++)
				wrong += parents[i] != 0 || costs[i] != -(double) logits[listed[i]] ||
						 masked[listed[i]] == -INFINITY || (i > 0 && costs[i] < costs[i - 1]);
			for (uint32_t i = kept; i <= CODES; i++)
				wrong += parents[i] != -1 || listed[i] != -1 || costs[i] != INFINITY;
		}
		MUST_CUDA(cudaMemcpy(tokens_there, tokens, sizeof(tokens), cudaMemcpyHostToDevice));
		wrong += semtok_trie_step(t, level, nodes_there, tokens_there, ROWS, nodes_there, NULL,
								  error, sizeof(error)) != SEMTOK_OK;
		MUST_CUDA(cudaFree(rows_there));
	}
	/* Nothing goes on behind a whole id. */
	tokens[0] = -5;
	MUST_CUDA(cudaMemcpy(tokens_there, tokens, sizeof(tokens), cudaMemcpyHostToDevice));
	wrong += semtok_trie_step(t, 0, nodes_there, tokens_there, ROWS, nodes_there, NULL, error,
							  sizeof(error)) != SEMTOK_OK;
	fetch(nodes, nodes_there, sizeof(nodes));
	for (int r = 0; r < ROWS; r++)
		wrong += nodes[r] != SEMTOK_NO_NODE;
	semtok_linear_free(linear);
	MUST_CUDA(cudaFree(nodes_there));
	MUST_CUDA(cudaFree(next_there));
	MUST_CUDA(cudaFree(tokens_there));
	MUST_CUDA(cudaFree(listed_there));
	MUST_CUDA(cudaFree(parents_there));
	MUST_CUDA(cudaFree(costs_there));
	MUST_CUDA(cudaFree(kept_there));
	MUST_CUDA(cudaFree(logits_there));
	MUST_CUDA(cudaFree(values_there));
	MUST_CUDA(cudaFree(weights_there));
	if (error[0])
		printf("       %s\n", error);
	return wrong;
}

static unsigned long
is_refused(const void *bytes, size_t len, uint32_t vocab, const uint32_t *offsets, int n_offsets,
		   semtok_result result, const char *words)
{
	semtok_trie *t;
	char error[160] = "";
	bool as_expected = semtok_trie_load(bytes, len, vocab, offsets, n_offsets, NULL, &t, error,
										sizeof(error)) == result &&
					   !t && strstr(error, words);

	if (!as_expected)
		printf("       expected \"%s\", not \"%s\"\n", words, error);
	return !as_expected;
}

int
main(void)
{
	static const uint32_t offsets[LEVELS + 1] = {10, 40, 70, VOCAB};
	stk_csr_tokens plain = {.vocab = VOCAB};
	stk_csr_tokens moved = {.vocab = VOCAB, .n_offsets = LEVELS, .offsets = {10, 40, 70}};
	stk_semset set;
	size_t len, npz_len;
	uint8_t *bytes = make_set(&len, &set), *npz;
	semtok_trie *t;
	char error[160] = "";

	say("refused",
		is_refused("what", 4, VOCAB, NULL, 0, SEMTOK_BAD_INPUT, "") +
			is_refused("PK\3\4", 4, VOCAB, NULL, 0, SEMTOK_BAD_INPUT, "") +
			is_refused(bytes, len, 0, NULL, 0, SEMTOK_BAD_INPUT, "expected a vocab of 1") +
			is_refused(bytes, len, VOCAB, offsets, 2, SEMTOK_BAD_INPUT,
					   "expected an offset for each of 3 levels, not 2") +
			is_refused(bytes, len, VOCAB, offsets, LEVELS + 1, SEMTOK_BAD_INPUT,
					   "of level 3 is not below vocab") +
			is_refused(bytes, len, 9, NULL, 0, SEMTOK_BAD_INPUT, "is not below vocab 9"));
	must(semtok_trie_load(bytes, len, VOCAB, NULL, 0, NULL, &t, error, sizeof(error)) == SEMTOK_OK,
		 "load", error);
	say("a set's stored form", compare(&set, t, NULL));
	semtok_trie_free(t);
	must(semtok_trie_load(bytes, len, VOCAB, offsets, LEVELS, NULL, &t, error, sizeof(error)) ==
			 SEMTOK_OK,
		 "load", error);
	say("the same with offsets", compare(&set, t, offsets));
	semtok_trie_free(t);
	npz = make_npz(&set, STK_CSR_RECTOKENS, &plain, &npz_len);
	must(semtok_trie_load(npz, npz_len, VOCAB, NULL, 0, NULL, &t, error, sizeof(error)) ==
			 SEMTOK_OK,
		 "load", error);
	say("RecTokens' arrays", compare(&set, t, NULL));
	semtok_trie_free(t);
	free(npz);
	npz = make_npz(&set, STK_CSR_STATIC, &moved, &npz_len);
	must(semtok_trie_load(npz, npz_len, VOCAB, offsets, LEVELS, NULL, &t, error, sizeof(error)) ==
			 SEMTOK_OK,
		 "load", error);
	say("STATIC's arrays, with offsets", compare(&set, t, offsets));
	semtok_trie_free(t);
	free(npz);
	free(bytes);
	printf("%lu wrong\n", wrong_in_all);
	return wrong_in_all > 0;
}
