/*
 * A model's last layer under a trie, on a device against core: top-k, draws, masked logits, lists
 * of children. Every answer is to be the reference's, bit for bit, whatever the numbers.
 *
 *   make cuda-test here; test/cuda/bin/test_linear [RUNS] where there is a device
 *
 * RUNS of each full-size problem, 20; 0: small problems only, for compute-sanitizer; -1: few of
 * them, for its slower tools.
 */
#include "linear.h"

static unsigned long wrong_in_all;
static uint64_t seed = 20260101;

static void
say(const char *what, size_t compared, unsigned long wrong)
{
	printf("%-6s %-66s %10zu compared %8lu wrong\n", wrong ? "FAILED" : "ok", what, compared,
		   wrong);
	fflush(stdout);
	wrong_in_all += wrong;
}

static const char *const types[] = {"binary32", "binary16", "bfloat16"};

typedef struct scored
{
	double value;
	uint32_t child;
} scored;

static int
by_score(const void *a, const void *b)
{
	const scored *x = a, *y = b;

	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	return x->child < y->child ? -1 : x->child > y->child;
}

static bool
same_bits(float a, float b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static bool
is_finite_row(const linear_case *c, size_t row)
{
	for (uint32_t i = 0; i < c->dim; i++)
	{
		if (!isfinite(c->x[row * c->dim + i]))
			return false;
	}
	return true;
}

/* Rows of the last top-k that are not the reference's. */
static unsigned long
wrong_topk(const linear_case *c, size_t every)
{
	unsigned long wrong = 0;
	scored *all = malloc((c->trie.most_children + 1) * sizeof(scored));

	for (size_t r = 0; r < c->n; r += every)
	{
		stk_node_children children = linear_children(c, r);
		bool good = is_finite_row(c, r), same = true;

		for (uint32_t i = 0; i < children.n && good; i++)
			all[i] = (scored){linear_logit(c, r, c->offset + children.codes[i]), i};
		if (good)
			qsort(all, children.n, sizeof(all[0]), by_score);
		for (uint32_t i = 0; i < c->k; i++)
		{
			bool there = good && i < children.n;
			float value = there ? (float) all[i].value : good ? -INFINITY : NAN;
			int32_t token = there ? (int32_t) (c->offset + children.codes[all[i].child]) : -1;
			stk_node next =
				there ? stk_node_child(&c->trie, &children, all[i].child) : STK_NODE_NONE;
			size_t at = r * c->k + i;

			same = same &&
				   (isnan(value) ? isnan(c->values[at]) : same_bits(value, c->values[at])) &&
				   token == c->chosen[at] && next == c->next[at];
		}
		wrong += !same;
	}
	free(all);
	return wrong;
}

static unsigned long
wrong_draws(const linear_case *c, uint64_t draw_seed, int level, size_t every)
{
	unsigned long wrong = 0;

	for (size_t r = 0; r < c->n; r += every)
	{
		stk_node_children children = linear_children(c, r);
		float temperature = c->temperatures ? c->temperatures[r] : 1;
		bool good = is_finite_row(c, r) && temperature > 0 && temperature < INFINITY;
		double best = -INFINITY, logit = 0;
		uint64_t state = c->states[r];
		uint32_t winner = UINT32_MAX;

		for (uint32_t i = 0; i < children.n && good; i++)
		{
			stk_draw d = stk_draw_child(draw_seed, c->states[r], level, children.codes[i]);
			double value = linear_logit(c, r, c->offset + children.codes[i]);
			double key = value / (double) temperature + d.gumbel;

			if (key > best || winner == UINT32_MAX)
			{
				best = key;
				winner = i;
				logit = value;
				state = d.state;
			}
		}
		if (winner == UINT32_MAX)
			wrong += c->chosen[r] != -1 || c->next[r] != STK_NODE_NONE ||
					 c->states_after[r] != state ||
					 (good ? !same_bits(c->values[r], -INFINITY) : !isnan(c->values[r]));
		else
			wrong += c->chosen[r] != (int32_t) (c->offset + children.codes[winner]) ||
					 c->next[r] != stk_node_child(&c->trie, &children, winner) ||
					 c->states_after[r] != state || !same_bits(c->values[r], (float) logit);
	}
	return wrong;
}

/* Masked logits, of both kinds of numbers; NaN all children of a row that is not finite. */
static unsigned long
wrong_masked(const linear_case *c, bool half, size_t every)
{
	size_t each = half ? 2 : 4;
	size_t bytes = c->n * c->tokens * each;
	void *there = device_memory(bytes);
	unsigned char *got = malloc(bytes);
	float *row = malloc(c->tokens * sizeof(float));
	unsigned long wrong = 0;
	stk_error err = {.level = -1};

	MUST_CUDA(cudaMemset(there, 0x5a, bytes));
	must(stk_linear_masked_launch(&c->call, there, half, 0, &err) == STK_OK, "mask", err.message);
	MUST_CUDA(cudaDeviceSynchronize());
	MUST_CUDA(cudaMemcpy(got, there, bytes, cudaMemcpyDeviceToHost));
	for (size_t r = 0; r < c->n; r += every)
	{
		stk_node_children children = linear_children(c, r);
		bool good = is_finite_row(c, r), same = true;

		for (uint32_t t = 0; t < c->tokens; t++)
			row[t] = -INFINITY;
		for (uint32_t i = 0; i < children.n; i++)
			row[c->offset + children.codes[i]] =
				good ? (float) linear_logit(c, r, c->offset + children.codes[i]) : NAN;
		for (uint32_t t = 0; t < c->tokens && same; t++)
		{
			size_t at = r * c->tokens + t;
			float v;
			uint16_t bits = 0;

			if (half)
			{
				memcpy(&bits, got + at * 2, 2);
				v = float_of_half(bits);
				/* Rounded to nearest: off by at most half a step of binary16. */
				same = row[t] == -INFINITY || isnan(row[t])
						   ? (isnan(row[t]) ? isnan(v) : v == -INFINITY)
					   : isinf(v) ? fabsf(row[t]) > 65503
								  : fabsf(v - row[t]) <= fabsf(row[t]) * 0x1p-11f + 0x1p-25f;
			}
			else
			{
				memcpy(&v, got + at * 4, 4);
				same = isnan(row[t]) ? isnan(v) : same_bits(v, row[t]);
			}
		}
		wrong += !same;
	}
	MUST_CUDA(cudaFree(there));
	free(got);
	free(row);
	return wrong;
}

static unsigned long
wrong_lists(const linear_case *c, size_t width)
{
	int32_t *tokens_there = device_memory(c->n * width * 4), *tokens = malloc(c->n * width * 4);
	stk_node *next_there = device_memory(c->n * width * 4), *next = malloc(c->n * width * 4);
	unsigned long wrong = 0;
	stk_error err = {.level = -1};

	MUST_CUDA(cudaMemset(tokens_there, 0x5a, c->n * width * 4));
	MUST_CUDA(cudaMemset(next_there, 0x5a, c->n * width * 4));
	must(stk_linear_children_launch(&c->call.trie, c->call.nodes, c->n, c->offset, c->tokens, width,
									tokens_there, next_there, 0, &err) == STK_OK,
		 "lists", err.message);
	MUST_CUDA(cudaMemcpy(tokens, tokens_there, c->n * width * 4, cudaMemcpyDeviceToHost));
	MUST_CUDA(cudaMemcpy(next, next_there, c->n * width * 4, cudaMemcpyDeviceToHost));
	for (size_t r = 0; r < c->n; r++)
	{
		stk_node_children children = linear_children(c, r);

		for (uint32_t i = 0; i < width; i++)
		{
			bool there = i < children.n;

			wrong +=
				tokens[r * width + i] != (there ? (int32_t) (c->offset + children.codes[i]) : -1) ||
				next[r * width + i] !=
					(there ? stk_node_child(&c->trie, &children, i) : STK_NODE_NONE);
		}
	}
	MUST_CUDA(cudaFree(tokens_there));
	MUST_CUDA(cudaFree(next_there));
	free(tokens);
	free(next);
	return wrong;
}

/* Given logits: children's stay, the others go. */
static unsigned long
wrong_given(const linear_case *c)
{
	size_t values = c->n * c->tokens;
	float *logits = malloc(values * sizeof(float)), *got = malloc(values * sizeof(float));
	float *there = device_memory(values * sizeof(float));
	unsigned long wrong = 0;
	stk_error err = {.level = -1};

	fill(logits, values, 3, &seed);
	MUST_CUDA(cudaMemcpy(there, logits, values * sizeof(float), cudaMemcpyHostToDevice));
	must(stk_mask_logits_launch(&c->call.trie, c->call.nodes, c->n, c->offset, c->tokens, there,
								there, 0, &err) == STK_OK,
		 "mask", err.message);
	MUST_CUDA(cudaMemcpy(got, there, values * sizeof(float), cudaMemcpyDeviceToHost));
	for (size_t r = 0; r < c->n; r++)
	{
		stk_node_children children = linear_children(c, r);
		uint32_t i = 0;

		for (uint32_t t = 0; t < c->tokens; t++)
		{
			bool child = i < children.n && c->offset + children.codes[i] == t;

			i += child;
			wrong +=
				!same_bits(got[r * c->tokens + t], child ? logits[r * c->tokens + t] : -INFINITY);
		}
	}
	MUST_CUDA(cudaFree(there));
	free(logits);
	free(got);
	return wrong;
}

/* What the numbers are like. */
enum
{
	RANDOM,
	EQUAL,     /* all tokens have the same weights: only codes decide */
	FEW_KINDS, /* of many tokens each */
	NEAR,      /* differing in the last place */
	HUGE_ROWS, /* logits leave binary32 */
	TINY,      /* subnormal weights */
	MIXED,     /* norms of all sizes */
	BAD_ROWS   /* some rows are not finite */
};

static const char *const kinds[] = {"random", "equal", "few kinds", "near",
									"huge",   "tiny",  "mixed",     "bad rows"};

typedef struct shape
{
	size_t n;
	uint32_t nodes, children, codes, tokens, offset, dim, k;
	bool bias;
} shape;

static void
make_case(linear_case *made, stk_number type, const shape *s, int kind)
{
	linear_case c = {.type = type,
					 .tokens = s->tokens,
					 .dim = s->dim,
					 .offset = s->offset,
					 .k = s->k,
					 .n = s->n};
	size_t weights = (size_t) s->tokens * s->dim, x = s->n * s->dim;
	stk_node_children top;

	c.trie = forked_trie(s->nodes, s->children, s->codes, &seed, &c.block, &c.block_bytes);
	c.weights = malloc(weights * sizeof(float));
	c.x = malloc(x * sizeof(float));
	c.bias = s->bias ? malloc(s->tokens * sizeof(float)) : NULL;
	c.temperatures = malloc(s->n * sizeof(float));
	c.nodes = malloc(s->n * sizeof(stk_node));
	c.states = malloc(s->n * sizeof(uint64_t));
	fill(c.weights, weights, 1, &seed);
	fill(c.x, x, 1, &seed);
	if (c.bias)
		fill(c.bias, s->tokens, 1, &seed);
	for (size_t t = 0; t < s->tokens && kind != RANDOM; t++)
	{
		float *w = c.weights + t * s->dim;

		if ((kind == EQUAL && t > 0) || (kind == FEW_KINDS && t >= 7))
			memcpy(w, c.weights + (kind == EQUAL ? 0 : below(7, &seed)) * s->dim,
				   s->dim * sizeof(float));
		if (kind == NEAR && t > 0)
			for (uint32_t i = 0; i < s->dim; i++)
				w[i] = below(4, &seed) ? c.weights[i] : one_step(c.weights[i], &seed);
		for (uint32_t i = 0; i < s->dim; i++)
		{
			if (kind == HUGE_ROWS)
				w[i] = type == STK_BINARY16 ? w[i] * 60000 : scaled(w[i], 100, 126, &seed);
			if (kind == TINY)
				w[i] = ldexpf(w[i], type == STK_BINARY16 ? -14 : -130);
			if (kind == MIXED)
				w[i] = scaled(w[i], -12, t % 50 == 0 ? 12 : 0, &seed);
		}
	}
	if (c.bias && (kind == EQUAL || kind == FEW_KINDS))
		memset(c.bias, 0, s->tokens * sizeof(float));
	for (size_t i = 0; i < x && (kind == HUGE_ROWS || kind == MIXED); i++)
		c.x[i] = kind == HUGE_ROWS && type != STK_BINARY16 ? scaled(c.x[i], 0, 120, &seed)
														   : c.x[i] * 300;
	top = stk_node_list(&c.trie, c.trie.root[0]);
	for (size_t r = 0; r < s->n; r++)
	{
		c.nodes[r] = stk_node_child(&c.trie, &top, (uint32_t) below(top.n, &seed));
		if (s->nodes > 1 && below(29, &seed) == 0)
			c.nodes[r] = below(2, &seed) ? STK_NODE_NONE : c.trie.root[0];
		c.states[r] = next_bits(&seed);
		c.temperatures[r] = ldexpf(1 + 0.5f * next_float(&seed), (int) below(6, &seed) - 3);
		if (kind == BAD_ROWS && below(3, &seed) == 0)
			c.x[r * s->dim + below(s->dim, &seed)] = below(2, &seed) ? NAN : -INFINITY;
		if (kind == BAD_ROWS && below(5, &seed) == 0)
			c.temperatures[r] = below(2, &seed) ? 0 : below(2, &seed) ? -1 : NAN;
	}
	*made = c;
	linear_begin(made);
}

static void
compare_case(stk_number type, const shape *s, int kind)
{
	linear_case c;
	char what[160];
	unsigned long wrong;
	uint32_t first_bad = UINT32_MAX, first_topk = UINT32_MAX;

	make_case(&c, type, s, kind);
	for (size_t r = s->n; r-- > 0;)
	{
		if (!is_finite_row(&c, r))
			first_topk = (uint32_t) r;
		if (!is_finite_row(&c, r) || !(c.temperatures[r] > 0 && c.temperatures[r] < INFINITY))
			first_bad = (uint32_t) r;
	}
	linear_poison(&c, c.k);
	linear_topk_once(&c, 0);
	linear_fetch(&c, c.k);
	wrong = wrong_topk(&c, 1) + (c.failure != first_topk);
	linear_poison(&c, 1);
	linear_draw_once(&c, 7, 3, 0);
	linear_fetch(&c, 1);
	wrong += wrong_draws(&c, 7, 3, 1) + (c.failure != first_bad);
	wrong += wrong_masked(&c, false, 1) + wrong_masked(&c, true, 1);
	wrong += wrong_lists(&c, c.trie.most_children) + wrong_lists(&c, 3) + wrong_given(&c);
	snprintf(what, sizeof(what), "%s %s, %zu rows, %u nodes of %u of %u, dim %u, k %u%s",
			 types[type], kinds[kind], s->n, s->nodes, s->children, s->tokens, s->dim, s->k,
			 s->bias ? ", bias" : "");
	say(what, s->n * 5, wrong);
	linear_end(&c);
}

/* Upstream's kernel tests, by name: {[1,2,1],[3,1,2],[3,1,3]}, and its trie of all prefixes. */
static void
upstream(void)
{
	static const uint16_t small[] = {1, 2, 1, 3, 1, 2, 3, 1, 3};
	/* Its nodes by RecTokens' numbers, 0 = the root, as codes that lead there. */
	static const int paths[][3] = {{-1}, {1, -1}, {3, -1}, {1, 2, -1}, {3, 1, -1}};
	static const struct
	{
		const char *name;
		size_t n;
		int nodes[3];
		uint32_t dim, k;
	} tests[] = {
		{"constrained_node_transition_b1_step0, fused_linear_b1_step0", 1, {0}, 16, 2},
		{"constrained_node_transition_b2_step0", 2, {0, 0}, 16, 2},
		{"constrained_node_transition_b2_step1, fused_linear_b2_step1", 2, {1, 2}, 16, 2},
		{"constrained_node_transition_b3_step2, fused_linear_b3_step2", 3, {3, 4, 3}, 16, 2},
		{"constrained_node_transition_b4_step1", 4, {1, 2}, 16, 2},
		{"constrained_node_transition_b256_step0", 256, {0}, 16, 2},
		{"valid_idxs_root", 1, {0}, 16, 2},
		{"valid_idxs_step1_nodes", 2, {1, 2}, 16, 2},
		{"valid_idxs_node4", 1, {4}, 16, 2},
		{"valid_idxs_nodes3_4", 2, {3, 4}, 16, 2},
		{"fused_linear_b8_large_k, fused_topk_k3_b8_large_k", 8, {0}, 128, 2},
		{"fused_topk_k1_b1_step0", 1, {0}, 16, 1},
		{"fused_topk_k1_b2_step1", 2, {1, 2}, 16, 1},
		{"fused_topk_k2_b1_step0", 1, {0}, 16, 2},
		{"fused_topk_k2_b2_step1", 2, {1, 2}, 16, 2},
		{"fused_topk_k1_b3_step2", 3, {3, 4, 3}, 16, 1},
		{"fused_topk_k2_b3_step2", 3, {3, 4, 3}, 16, 2}};

	for (size_t t = 0; t < sizeof(tests) / sizeof(tests[0]); t++)
	{
		size_t n = tests[t].n, values = n * tests[t].dim;
		linear_case c = {
			.type = STK_BINARY32, .tokens = 8, .dim = tests[t].dim, .k = tests[t].k, .n = n};
		unsigned long wrong;

		c.trie = trie_of(small, 3, 3, &c.block, &c.block_bytes);
		c.weights = malloc(8 * c.dim * sizeof(float));
		c.x = malloc(values * sizeof(float));
		c.nodes = malloc(n * sizeof(stk_node));
		c.states = calloc(n, sizeof(uint64_t));
		fill(c.weights, 8 * c.dim, 1, &seed);
		fill(c.x, values, 1, &seed);
		for (size_t r = 0; r < n; r++)
		{
			const int *path = paths[tests[t].nodes[n == 4 ? r % 2 : n <= 3 ? r : 0]];

			c.nodes[r] = c.trie.root[0];
			for (int i = 0; path[i] >= 0; i++)
				c.nodes[r] = stk_node_find(&c.trie, c.nodes[r], (uint16_t) path[i]);
		}
		linear_begin(&c);
		linear_poison(&c, c.k);
		linear_topk_once(&c, 0);
		linear_fetch(&c, c.k);
		wrong =
			wrong_topk(&c, 1) + wrong_masked(&c, false, 1) + wrong_lists(&c, 2) + wrong_given(&c);
		say(tests[t].name, n, wrong);
		linear_end(&c);
	}
}

/* constrained_node_transition_dense_trie_step0 and _step1: all prefixes of four codes. */
static void
upstream_dense(void)
{
	for (int step = 0; step < 2; step++)
	{
		shape s = {32, step == 0 ? 1 : 4, 4, 4, 16, 0, 16, 2, false};
		linear_case c;

		make_case(&c, STK_BINARY32, &s, RANDOM);
		say(step ? "constrained_node_transition_dense_trie_step1"
				 : "constrained_node_transition_dense_trie_step0",
			32, wrong_given(&c) + wrong_lists(&c, 4) + wrong_masked(&c, false, 1));
		linear_end(&c);
	}
}

/* How often each child is drawn, against the softmax. */
static void
chi_square(void)
{
	shape s = {1 << 16, 1, 12, 12, 12, 0, 16, 1, true};
	linear_case c;
	double p[12], all = 0, chi = 0;
	unsigned counts[12] = {0};

	make_case(&c, STK_BINARY32, &s, RANDOM);
	for (size_t r = 0; r < c.n; r++)
	{
		memcpy(c.x + r * c.dim, c.x, c.dim * sizeof(float));
		c.temperatures[r] = 0.7f;
	}
	MUST_CUDA(cudaMemcpy((void *) (uintptr_t) c.call.x, c.x, c.n * c.dim * sizeof(float),
						 cudaMemcpyHostToDevice));
	MUST_CUDA(cudaMemcpy(c.temperatures_there, c.temperatures, c.n * sizeof(float),
						 cudaMemcpyHostToDevice));
	linear_poison(&c, 1);
	linear_draw_once(&c, 99, 1, 0);
	linear_fetch(&c, 1);
	for (uint32_t t = 0; t < 12; t++)
		all += p[t] = exp(linear_logit(&c, 0, t) / 0.7f);
	for (size_t r = 0; r < c.n; r++)
		counts[c.chosen[r]]++;
	for (uint32_t t = 0; t < 12; t++)
	{
		double expected = p[t] / all * (double) c.n;

		chi += (counts[t] - expected) * (counts[t] - expected) / expected;
	}
	/* 11 degrees of freedom: beyond 36.7 in one of 8,000 runs; these draws are always the same. */
	printf("       chi-square of 65,536 draws of 12: %.1f\n", chi);
	say("draws are a softmax's", c.n, (chi > 36.7) + wrong_draws(&c, 99, 1, 97));
	linear_end(&c);
}

/* The same answer each time, at full size, and the reference's where it is looked at. */
static void
repeat(stk_number type, const shape *s, int runs)
{
	linear_case c;
	size_t out = s->n * s->k;
	float *values = malloc(out * sizeof(float));
	int32_t *chosen = malloc(out * sizeof(int32_t)), *drawn = malloc(s->n * sizeof(int32_t));
	unsigned long wrong = 0;
	char what[160];

	make_case(&c, type, s, RANDOM);
	for (int run = 0; run < runs; run++)
	{
		linear_poison(&c, c.k);
		linear_topk_once(&c, 0);
		linear_fetch(&c, c.k);
		if (run == 0)
		{
			wrong += wrong_topk(&c, s->n / 64);
			memcpy(values, c.values, out * sizeof(float));
			memcpy(chosen, c.chosen, out * sizeof(int32_t));
		}
		wrong += memcmp(values, c.values, out * sizeof(float)) != 0;
		wrong += memcmp(chosen, c.chosen, out * sizeof(int32_t)) != 0;
		linear_poison(&c, 1);
		linear_draw_once(&c, 5, 0, 0);
		linear_fetch(&c, 1);
		if (run == 0)
		{
			wrong += wrong_draws(&c, 5, 0, s->n / 64);
			memcpy(drawn, c.chosen, s->n * sizeof(int32_t));
		}
		wrong += memcmp(drawn, c.chosen, s->n * sizeof(int32_t)) != 0;
	}
	snprintf(what, sizeof(what), "%s, %zu rows, %u nodes of %u, %d runs", types[type], s->n,
			 s->nodes, s->children, runs);
	say(what, s->n, wrong);
	free(values);
	free(chosen);
	free(drawn);
	linear_end(&c);
}

/* Layers that are refused. */
static void
refused(void)
{
	float weights[4 * 8];
	stk_error err = {.level = -1};
	stk_device_linear l;
	void *there;
	unsigned long wrong;

	fill(weights, 32, 1, &seed);
	weights[2 * 8 + 3] = INFINITY;
	there = numbers_there(STK_BINARY32, weights, 32);
	wrong = stk_device_linear_create(STK_BINARY32, there, NULL, 4, 8, 0, &l, &err) != STK_EINVAL;
	wrong += strcmp(err.message, "weights of token 2 are not finite") != 0;
	wrong += stk_device_linear_create(STK_BINARY32, there, NULL, 4, 0, 0, &l, &err) != STK_ERANGE;
	wrong += stk_device_linear_create(STK_BINARY32, there, NULL, 4, STK_LINEAR_MOST_DIM + 1, 0, &l,
									  &err) != STK_ERANGE;
	say("layers that are refused", 4, wrong);
	MUST_CUDA(cudaFree(there));
}

int
main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 20;
	static const shape shapes[] = {
		{1, 1, 1, 1, 1, 0, 1, 1, false},            /* one child */
		{5, 3, 1, 40, 64, 10, 7, 4, true},          /* tails: one child each */
		{33, 2, 64, 64, 64, 0, 64, 10, false},      /* all children */
		{70, 5, 20, 300, 512, 100, 128, 50, true},  /* fewer children than k */
		{200, 3, 130, 400, 400, 60, 100, 50, true}, /* some tokens are not there */
		{150, 1, 300, 600, 600, 0, 512, 256, false},
		{300, 40, 90, 256, 256, 0, 72, 8, true},
		{40, 2, 2500, 4000, 4096, 0, 36, 50, false},
		{9, 1, 200, 500, 512, 0, 1200, 20, true}};
	int most = runs < 0 ? 4 : (int) (sizeof(shapes) / sizeof(shapes[0]));

	upstream();
	upstream_dense();
	refused();
	for (int type = STK_BINARY32; type <= STK_BFLOAT16; type++)
		for (int i = 0; i < most; i++)
			for (int kind = RANDOM; kind <= BAD_ROWS; kind++)
				if (kind == RANDOM || (i == 2 && runs >= 0) || i == 4)
					compare_case((stk_number) type, &shapes[i], kind);
	if (runs > 0)
	{
		shape one = {4096, 1, 1500, 65536, 65536, 0, 512, 50, false};
		shape many = {4096, 4096, 150, 8192, 8192, 0, 512, 50, true};

		chi_square();
		for (int type = STK_BINARY32; type <= STK_BFLOAT16; type++)
		{
			repeat((stk_number) type, &one, runs);
			repeat((stk_number) type, &many, runs);
		}
	}
	printf("%lu wrong\n", wrong_in_all);
	return wrong_in_all > 0;
}
