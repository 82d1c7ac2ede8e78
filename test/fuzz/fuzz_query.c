/*
 * Bytes from outside as a semquery: refused, or a query that costs ids and searches.
 *
 *   clang -g -O1 -std=c17 -D_GNU_SOURCE -ffp-contract=off -fsanitize=fuzzer,address,undefined \
 *       -Isrc -o fuzz_query test/fuzz/fuzz_query.c src/core/[a-z]*.c -lm
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/query.h"
#include "core/search.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A trie of all ids of up to three codes below 3. */
static stk_status
expand(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	static stk_child all[3];

	(void) trie;
	for (uint16_t code = 0; code < 3; code++)
		all[code] = (stk_child){.code = code,
								.flags = node < 2 ? STK_CHILD_INNER | STK_CHILD_ID : STK_CHILD_ID,
								.node = node + 1};
	*children = all;
	*n = 3;
	return STK_OK;
}

/* Hits ascend, and each costs what the query says. */
static void
search(const stk_query *q, int beam)
{
	stk_trie trie = {expand};
	stk_root roots[] = {{0, 0}, {1, 0}};
	double last = -INFINITY;
	stk_search *s;
	stk_hit hit;
	bool found = true;
	stk_error err;

	if (stk_search_start(&s, q, &trie, roots, 2, beam, &stk_malloc, &err) != STK_OK)
		abort();
	for (;;)
	{
		uint8_t packed[STK_SEMID_MAX_BYTES];

		if (stk_search_next(s, &found, &hit) != STK_OK)
			abort();
		if (!found)
			break;
		if (!(hit.cost >= last && hit.cost < INFINITY))
			abort();
		last = hit.cost;
		if (q->kind != STK_QUERY_MASKED &&
			stk_query_cost(q, packed, stk_semid_pack(&hit.id, packed)) != hit.cost)
			abort();
	}
	stk_search_free(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size ? size : 1); /* aligned, and its end guarded */
	stk_query q;
	stk_error err;

	memcpy(bytes, data, size);
	if (stk_query_check(bytes, size, &err) == STK_OK)
	{
		if (stk_query_view(bytes, size, &q, &err) != STK_OK)
			abort();
		if (q.kind != STK_QUERY_MASKED)
			search(&q, 0);
		search(&q, 4);
	}
	free(bytes);
	return 0;
}
