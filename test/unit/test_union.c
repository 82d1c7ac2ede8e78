/*
 * A union of tries shows exactly the ids of its sources, each with the postings of the sources
 * that hold it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/union.h"

#define MAX_IDS 200
#define MAX_SOURCES 5

/* A trie over an ascending list of ids; one id alone below a node is a tail. */
typedef struct list_trie
{
	stk_trie trie;
	stk_semid ids[MAX_IDS];
	int n;
	stk_child children[MAX_IDS];
	stk_root roots[4];
	size_t n_roots;
	int expansions_left; /* then STK_ERETRY; negative: never */
} list_trie;

/* A node is a range of the list that shares `depth` codes. */
static uint64_t
node_handle(int lo, int hi, int depth)
{
	return (uint64_t) lo << 40 | (uint64_t) hi << 16 | (uint64_t) depth;
}

static stk_status
list_expand(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	list_trie *t = (list_trie *) trie;
	int lo = (int) (node >> 40);
	int hi = (int) (node >> 16 & 0xffffff);
	int depth = (int) (node & 0xffff);

	if (t->expansions_left-- == 0)
		return STK_ERETRY;
	*n = 0;
	while (lo < hi && t->ids[lo].levels == depth)
		lo++;
	while (lo < hi)
	{
		stk_child *child = &t->children[(*n)++];
		int end = lo;

		while (end < hi && t->ids[end].codes[depth] == t->ids[lo].codes[depth])
			end++;
		*child = (stk_child){.code = t->ids[lo].codes[depth], .items = (uint64_t) (end - lo)};
		if (end - lo == 1 && t->ids[lo].levels > depth + 1)
		{
			child->flags = STK_CHILD_TAIL;
			child->tail = t->ids[lo].codes + depth + 1;
			child->tail_len = (uint8_t) (t->ids[lo].levels - depth - 1);
			child->posting = (uint64_t) lo;
		}
		else
		{
			if (t->ids[lo].levels == depth + 1)
			{
				child->flags |= STK_CHILD_ID;
				child->posting = (uint64_t) lo;
			}
			if (t->ids[end - 1].levels > depth + 1)
			{
				child->flags |= STK_CHILD_INNER;
				child->node = node_handle(lo, end, depth + 1);
			}
		}
		lo = end;
	}
	*children = t->children;
	return STK_OK;
}

static int
compare_ids(const void *a, const void *b)
{
	uint8_t abytes[STK_SEMID_MAX_BYTES], bbytes[STK_SEMID_MAX_BYTES];
	size_t alen = stk_semid_pack(a, abytes);
	size_t blen = stk_semid_pack(b, bbytes);

	return stk_semid_bytes_cmp(abytes, alen, bbytes, blen);
}

static int
sort_distinct(stk_semid *ids, int n)
{
	int kept = 0;

	qsort(ids, (size_t) n, sizeof(stk_semid), compare_ids);
	for (int i = 0; i < n; i++)
		if (kept == 0 || compare_ids(&ids[kept - 1], &ids[i]) != 0)
			ids[kept++] = ids[i];
	return kept;
}

static void
list_finish(list_trie *t)
{
	t->trie = (stk_trie){.expand = list_expand};
	t->expansions_left = -1;
	t->n = sort_distinct(t->ids, t->n);
	t->n_roots = 0;
	for (int lo = 0, end; lo < t->n; lo = end)
	{
		for (end = lo; end < t->n && t->ids[end].tokenizer == t->ids[lo].tokenizer;)
			end++;
		t->roots[t->n_roots++] = (stk_root){t->ids[lo].tokenizer, node_handle(lo, end, 0)};
	}
}

/* An id found in the union. */
typedef struct found_id
{
	stk_semid id;
	uint64_t posting;
} found_id;

typedef struct walk
{
	stk_union *u;
	stk_semid path;
	found_id found[MAX_IDS * MAX_SOURCES];
	int n;
} walk;

/* Gather what is below a node; returns the number of (id, source) pairs. */
static uint64_t
walk_node(walk *w, uint64_t node)
{
	const stk_child *shown;
	stk_child *children;
	stk_trie *trie = stk_union_trie(w->u);
	uint64_t total = 0;
	int depth = w->path.levels;
	size_t n;

	assert_int_equal(trie->expand(trie, node, &shown, &n), STK_OK);
	children = malloc(n * sizeof(stk_child) + 1);
	memcpy(children, shown, n * sizeof(stk_child));
	for (size_t i = 0; i < n; i++)
	{
		const stk_child *child = &children[i];
		uint64_t items = 0;

		assert_true(i == 0 || children[i - 1].code < child->code);
		w->path.levels = depth + 1;
		w->path.codes[depth] = child->code;
		if (child->flags & (STK_CHILD_ID | STK_CHILD_TAIL))
		{
			found_id *found = &w->found[w->n++];
			size_t n_postings;

			found->id = w->path;
			found->posting = child->posting;
			if (child->flags & STK_CHILD_TAIL)
			{
				assert_int_equal(child->flags, STK_CHILD_TAIL);
				memcpy(found->id.codes + depth + 1, child->tail,
					   child->tail_len * sizeof(uint16_t));
				found->id.levels += child->tail_len;
			}
			stk_union_postings(w->u, child->posting, &n_postings);
			items += n_postings;
		}
		if (child->flags & STK_CHILD_INNER)
			items += walk_node(w, child->node);
		assert_int_equal(items, child->items);
		total += items;
	}
	free(children);
	w->path.levels = depth;
	return total;
}

static walk *
walk_union(stk_union *u)
{
	walk *w = calloc(1, sizeof(walk));
	size_t n_roots;
	const stk_root *roots = stk_union_roots(u, &n_roots);

	w->u = u;
	for (size_t i = 0; i < n_roots; i++)
	{
		assert_true(i == 0 || roots[i - 1].tokenizer < roots[i].tokenizer);
		w->path = (stk_semid){.tokenizer = roots[i].tokenizer};
		walk_node(w, roots[i].node);
	}
	return w;
}

static stk_union *
make_union(list_trie *sources, size_t n)
{
	stk_union_source views[MAX_SOURCES];
	stk_union *u;

	for (size_t i = 0; i < n; i++)
		views[i] = (stk_union_source){&sources[i].trie, sources[i].roots, sources[i].n_roots};
	assert_int_equal(stk_union_create(views, n, &stk_malloc, &u), STK_OK);
	return u;
}

/* Random catalogs: few codes, so that ids are shared, are prefixes of others and split tails. */
static void
shows_the_ids_of_all_sources(void **state)
{
	list_trie *sources = calloc(MAX_SOURCES, sizeof(list_trie));

	(void) state;
	srand(7);
	for (int round = 0; round < 500; round++)
	{
		size_t n = (size_t) (rand() % (MAX_SOURCES + 1));
		stk_semid all[MAX_IDS * MAX_SOURCES];
		int n_all = 0;
		int width = 1 + rand() % 4;
		stk_union *u;
		walk *w;

		for (size_t s = 0; s < n; s++)
		{
			sources[s].n = rand() % 40;
			for (int i = 0; i < sources[s].n; i++)
			{
				stk_semid *id = &sources[s].ids[i];

				*id = (stk_semid){.tokenizer = (uint32_t) (rand() % 3), .levels = 1 + rand() % 4};
				for (int l = 0; l < id->levels; l++)
					id->codes[l] = (uint16_t) (rand() % width);
				all[n_all++] = *id;
			}
			list_finish(&sources[s]);
		}
		n_all = sort_distinct(all, n_all);
		u = make_union(sources, n);
		w = walk_union(u);
		assert_int_equal(w->n, n_all);
		for (int i = 0; i < w->n; i++)
		{
			const stk_union_posting *postings;
			size_t n_postings, next = 0;

			assert_int_equal(compare_ids(&w->found[i].id, &all[i]), 0);
			postings = stk_union_postings(u, w->found[i].posting, &n_postings);
			for (size_t s = 0; s < n; s++)
			{
				const stk_semid *held = bsearch(&all[i], sources[s].ids, (size_t) sources[s].n,
												sizeof(stk_semid), compare_ids);

				if (held == NULL)
					continue;
				assert_true(next < n_postings);
				assert_int_equal(postings[next].source, s);
				assert_int_equal(postings[next].posting, held - sources[s].ids);
				next++;
			}
			assert_int_equal(next, n_postings);
		}
		free(w);
		stk_union_free(u);
	}
	free(sources);
}

/* Two sources whose tails part: the union is the tree that one trie of both ids would be. */
static void
splits_tails(void **state)
{
	list_trie sources[2] = {
		{.ids = {{.tokenizer = 1, .levels = 3, .codes = {5, 6, 7}}}, .n = 1},
		{.ids = {{.tokenizer = 1, .levels = 3, .codes = {5, 6, 8}}}, .n = 1},
	};
	const stk_child *children;
	size_t n;

	(void) state;
	list_finish(&sources[0]);
	list_finish(&sources[1]);

	stk_union *u = make_union(sources, 2);
	stk_trie *trie = stk_union_trie(u);
	uint64_t node = stk_union_roots(u, &n)[0].node;

	assert_int_equal(n, 1);
	for (uint16_t code = 5; code <= 6; code++)
	{
		assert_int_equal(trie->expand(trie, node, &children, &n), STK_OK);
		assert_int_equal(n, 1);
		assert_int_equal(children[0].code, code);
		assert_int_equal(children[0].flags, STK_CHILD_INNER);
		assert_int_equal(children[0].items, 2);
		node = children[0].node;
	}
	assert_int_equal(trie->expand(trie, node, &children, &n), STK_OK);
	assert_int_equal(n, 2);
	assert_int_equal(children[0].flags, STK_CHILD_ID);
	assert_int_equal(children[1].flags, STK_CHILD_ID);
	stk_union_free(u);
}

static void
passes_a_retry_through(void **state)
{
	list_trie source = {.ids = {{.levels = 1, .codes = {3}}}, .n = 1};
	const stk_child *children;
	size_t n;

	(void) state;
	list_finish(&source);
	source.expansions_left = 0;

	stk_union *u = make_union(&source, 1);
	stk_trie *trie = stk_union_trie(u);

	assert_int_equal(trie->expand(trie, stk_union_roots(u, &n)[0].node, &children, &n), STK_ERETRY);
	stk_union_free(u);
}

/* Without memory: STK_ENOMEM at any point, and nothing lost. */
static int allocations_left;

static void *
failing_alloc(void *ctx, size_t size)
{
	(void) ctx;
	return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void *
failing_realloc(void *ctx, void *ptr, size_t size)
{
	(void) ctx;
	return allocations_left-- > 0 ? realloc(ptr, size) : NULL;
}

static void
plain_free(void *ctx, void *ptr)
{
	(void) ctx;
	free(ptr);
}

static void
survives_lack_of_memory(void **state)
{
	const stk_allocator failing = {failing_alloc, failing_realloc, plain_free, NULL};
	list_trie source = {.ids = {{.levels = 2, .codes = {3, 4}}, {.levels = 2, .codes = {3, 5}}},
						.n = 2};
	bool succeeded = false;

	(void) state;
	list_finish(&source);
	for (int limit = 0; !succeeded; limit++)
	{
		stk_union_source views[2] = {{&source.trie, source.roots, source.n_roots},
									 {&source.trie, source.roots, source.n_roots}};
		const stk_child *children;
		stk_union *u;
		size_t n;

		assert_true(limit < 100);
		allocations_left = limit;
		if (stk_union_create(views, 1, &failing, &u) != STK_OK)
			continue;

		stk_trie *trie = stk_union_trie(u);
		stk_status status = trie->expand(trie, stk_union_roots(u, &n)[0].node, &children, &n);

		assert_true(status == STK_OK || status == STK_ENOMEM);
		succeeded = status == STK_OK;
		stk_union_free(u);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_the_ids_of_all_sources),
		cmocka_unit_test(splits_tails),
		cmocka_unit_test(passes_a_retry_through),
		cmocka_unit_test(survives_lack_of_memory),
	};

	return cmocka_run_group_tests_name("union", tests, NULL, NULL);
}
