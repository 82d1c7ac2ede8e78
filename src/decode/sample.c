/*
 * Items drawn at random, without replacement.
 *
 * A few of many are drawn by number, from the counts that the trie shows: each draw costs as many
 * nodes as an id has levels. What a draw finds does not count where no visible row is behind it
 * (the index counts rows that are gone) or where it was drawn before. When too many draws fail, or
 * many of the items are wanted, all are walked instead and the n with the least keys taken, a key
 * being a random number made from seed and id. Both ways give every n items with the same
 * probability, and so does the choice between them, which looks at no item more than another.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"
#include "utils/tuplestore.h"

#include "core/pick.h"
#include "core/philox.h"
#include "core/search.h"
#include "decode/guard.h"
#include "decode/items.h"
#include "decode/sets.h"
#include "tokenizer/args.h"
#include "types/bridge.h"
#include "types/semid.h"
#include "types/semset.h"

PG_FUNCTION_INFO_V1(semtok_sample);
PG_FUNCTION_INFO_V1(semtok_sample_set);

/* Of stk_random: level. */
#define DRAW 0
#define ORDER 1

#define MAX_DRAWN 10000 /* items drawn by number at most; beyond, walking costs less */
#define ROUND 1024      /* draws that are found together */
#define KEY_BITS 63     /* so that keys sort as bigint */

typedef struct Sample
{
	ReturnSetInfo *rsinfo;
	int64 n;
	bool ids; /* draw ids, not their rows */
	uint64 seed;
} Sample;

/* Where it is drawn from. */
typedef struct Source
{
	GuardedTrie guarded;
	stk_trie *trie;
	const stk_root *roots;
	size_t n_roots;
	ItemsReader *reader; /* NULL: a set */
	stk_allocator allocator;
	uint64 *counts; /* [n_roots] items */
	uint64 total;
} Source;

/* An item drawn before. */
typedef struct Drawn
{
	stk_semid id;
	uint64 copy;
} Drawn;

/* How many rows behind an id may be drawn. */
static stk_status
count_rows(const Sample *sample, Source *source, uint64 posting, int64 *rows)
{
	stk_status status = STK_OK;

	*rows = 1;
	if (source->reader)
		status = ItemsReaderVisible(source->reader, posting, rows);
	if (sample->ids)
		*rows = Min(*rows, 1);
	return status;
}

/* Find one round of draws and mark those that count by a copy below what their id has. */
static stk_status
find_round(const Sample *sample, Source *source, stk_pick *draws, size_t n)
{
	stk_status status = stk_pick_find(source->trie, source->roots, source->counts, source->n_roots,
									  draws, n, &source->allocator);
	uint64 posting = 0;
	int64 rows = -1;

	for (size_t i = 0; status == STK_OK && i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!draws[i].found)
			continue;
		if (rows < 0 || posting != draws[i].posting)
		{
			posting = draws[i].posting;
			status = count_rows(sample, source, posting, &rows);
		}
		draws[i].found = draws[i].copy < (uint64) rows;
	}
	return status;
}

static int
compare_numbers(const void *x, const void *y)
{
	const stk_pick *a = x;
	const stk_pick *b = y;

	return (a->number > b->number) - (a->number < b->number);
}

static void
emit(Sample *sample, Datum id)
{
	bool isnull = false;

	tuplestore_putvalues(sample->rsinfo->setResult, sample->rsinfo->setDesc, &id, &isnull);
}

/* Draw by number; *enough tells whether n were found before too many draws failed. */
static stk_status
draw_some(Sample *sample, Source *source, bool *enough)
{
	HASHCTL control = {
		.keysize = sizeof(Drawn), .entrysize = sizeof(Drawn), .hcxt = CurrentMemoryContext};
	HTAB *drawn =
		hash_create("semtok sample", sample->n, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	stk_pick *draws = palloc(ROUND * sizeof(stk_pick));
	uint64 limit = 4 * (uint64) sample->n + 64;
	uint64 next = 0;
	int64 found = 0;
	stk_status status = STK_OK;

	while (status == STK_OK && found < sample->n && next < limit)
	{
		size_t round = Min(Min(ROUND, limit - next), (uint64) (sample->n - found) + 8);

		for (size_t i = 0; i < round; i++, next++)
			draws[i] = (stk_pick){
				.number = next,
				.item = stk_below(stk_random(sample->seed, STK_RANDOM_SAMPLE, DRAW, 0, next),
								  source->total)};
		status = find_round(sample, source, draws, round);
		qsort(draws, round, sizeof(stk_pick), compare_numbers);
		for (size_t i = 0; status == STK_OK && i < round && found < sample->n; i++)
		{
			Drawn key = {.id = draws[i].id, .copy = draws[i].copy};
			bool before;

			if (!draws[i].found)
				continue;
			hash_search(drawn, &key, HASH_ENTER, &before);
			if (before)
				continue;
			emit(sample, SemidMakeDatum(&key.id));
			found++;
		}
	}
	*enough = found == sample->n;
	if (!*enough)
		tuplestore_clear(sample->rsinfo->setResult);
	hash_destroy(drawn);
	return status;
}

/* The random state that an id's keys are made from. */
static uint64
id_state(const Sample *sample, const stk_semid *id)
{
	uint64 state = stk_random(sample->seed, STK_RANDOM_SAMPLE, ORDER, id->tokenizer, id->levels);

	for (int l = 0; l < id->levels; l++)
		state = stk_random(sample->seed, STK_RANDOM_SAMPLE, ORDER, id->codes[l], state);
	return state;
}

/* Put the rows of one id whose keys lie in from .. upto - 1 into the sort. */
static stk_status
sort_id(Sample *sample, Source *source, const stk_hit *hit, uint64 from, uint64 upto,
		Tuplesortstate *sort, TupleTableSlot *slot, int64 *sorted)
{
	uint64 state = id_state(sample, &hit->id);
	uint64 items = sample->ids ? 1 : hit->items;
	int64 rows = -1; /* not known yet */

	for (uint64 copy = 0; copy < items && (rows < 0 || copy < (uint64) rows); copy++)
	{
		uint64 key = stk_random(state, STK_RANDOM_SAMPLE, ORDER, 0, copy) >> (64 - KEY_BITS);

		CHECK_FOR_INTERRUPTS();
		if (key < from || key >= upto)
			continue;
		if (rows < 0)
		{
			stk_status status = count_rows(sample, source, hit->posting, &rows);

			if (status != STK_OK)
				return status;
			if (copy >= (uint64) rows)
				break;
		}
		ExecClearTuple(slot);
		slot->tts_values[0] = Int64GetDatum((int64) key);
		slot->tts_values[1] = SemidMakeDatum(&hit->id);
		slot->tts_isnull[0] = slot->tts_isnull[1] = false;
		ExecStoreVirtualTuple(slot);
		tuplesort_puttupleslot(sort, slot);
		pfree(DatumGetPointer(slot->tts_values[1]));
		(*sorted)++;
	}
	return STK_OK;
}

/* Walk all ids once, sorting those rows whose keys lie in from .. upto - 1. */
static stk_status
walk_all(Sample *sample, Source *source, uint64 from, uint64 upto, Tuplesortstate *sort,
		 TupleTableSlot *slot, int64 *sorted)
{
	stk_status status = STK_OK;

	for (size_t i = 0; status == STK_OK && i < source->n_roots; i++)
	{
		stk_prefix prefix = {.tokenizer = source->roots[i].tokenizer};
		stk_walk *walk;
		stk_hit hit;
		bool found;

		status =
			stk_walk_start(&walk, source->trie, source->roots[i].node, &prefix, &source->allocator);
		while (status == STK_OK && (status = stk_walk_next(walk, &found, &hit)) == STK_OK && found)
			status = sort_id(sample, source, &hit, from, upto, sort, slot, sorted);
		stk_walk_free(walk);
	}
	return status;
}

/*
 * Take the n rows with the least keys. Rows are looked at only where their keys are below a bound
 * that leaves a few more than n if all are visible; while that was too few, the bound is raised.
 */
static stk_status
take_least(Sample *sample, Source *source)
{
	AttrNumber column = 1;
	Oid less = Int8LessOperator;
	Oid collation = InvalidOid;
	bool nulls_first = false;
	TupleDesc desc = CreateTemplateTupleDesc(2);
	double share = ((double) sample->n * 1.25 + 64) / (double) source->total;
	uint64 most = UINT64CONST(1) << KEY_BITS;
	uint64 from = 0;
	int64 sorted = 0;
	stk_status status = STK_OK;
	Tuplesortstate *sort;
	TupleTableSlot *slot;

	TupleDescInitEntry(desc, 1, "key", INT8OID, -1, 0);
	TupleDescInitEntry(desc, 2, "sid", SemtokTypeOid("semid"), -1, 0);
	slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	sort = tuplesort_begin_heap(desc, 1, &column, &less, &collation, &nulls_first, work_mem, NULL,
								TUPLESORT_ALLOWBOUNDED);
	tuplesort_set_bound(sort, sample->n);
	while (status == STK_OK && sorted < sample->n && from < most)
	{
		uint64 upto = share < 1 ? (uint64) (share * (double) most) : most;

		status = walk_all(sample, source, from, upto, sort, slot, &sorted);
		from = upto;
		share *= 8;
	}
	ExecDropSingleTupleTableSlot(slot);
	if (status == STK_OK)
	{
		tuplesort_performsort(sort);
		slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
		for (int64 i = 0; i < sample->n && tuplesort_gettupleslot(sort, true, false, slot, NULL);
			 i++)
		{
			bool isnull;

			CHECK_FOR_INTERRUPTS();
			emit(sample, slot_getattr(slot, 2, &isnull));
		}
		ExecDropSingleTupleTableSlot(slot);
	}
	tuplesort_end(sort);
	return status;
}

/* Sample from a trie; STK_ERETRY is returned, other failures are raised. */
static stk_status
sample_trie(Sample *sample, Source *source, stk_trie *trie, const stk_root *roots, size_t n_roots)
{
	bool enough = false;
	stk_status status;

	GuardTrie(&source->guarded, trie);
	source->trie = &source->guarded.trie;
	source->roots = roots;
	source->n_roots = n_roots;
	source->allocator = SemtokAllocator(CurrentMemoryContext);
	source->counts = palloc(Max(n_roots, 1) * sizeof(uint64));
	source->total = 0;
	status = stk_pick_count(source->trie, roots, n_roots, source->counts);
	for (size_t i = 0; status == STK_OK && i < n_roots; i++)
		source->total += source->counts[i];
	if (status == STK_OK && source->total > 0)
	{
		if (sample->n <= MAX_DRAWN && (uint64) sample->n <= source->total / 8)
			status = draw_some(sample, source, &enough);
		if (status == STK_OK && !enough)
			status = take_least(sample, source);
	}
	if (status != STK_OK && status != STK_ERETRY)
		SemtokReportStatus(status, NULL, "could not sample the items");
	return status;
}

static void
sample_items(Sample *sample, Items *items)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok sample", ALLOCSET_DEFAULT_SIZES);

	for (int attempt = 0;; attempt++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Source source = {.reader = ItemsReaderOpen(items, context)};
		size_t n_roots;
		const stk_root *roots = ItemsReaderRoots(source.reader, &n_roots);
		stk_status status =
			sample_trie(sample, &source, ItemsReaderTrie(source.reader), roots, n_roots);

		ItemsReaderClose(source.reader);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		if (status == STK_OK)
			break;
		tuplestore_clear(sample->rsinfo->setResult);
		ItemsRetry(attempt);
	}
	MemoryContextDelete(context);
}

/* n and seed, arguments 1 and 2; a random seed where it is null. */
static void
begin_sample(FunctionCallInfo fcinfo, Sample *sample)
{
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	*sample = (Sample){.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo};
	sample->n = ArgInt(fcinfo, 1, "n", 0, PG_INT32_MAX);
	if (!PG_ARGISNULL(2))
		sample->seed = (uint64) PG_GETARG_INT64(2);
	else if (!pg_strong_random(&sample->seed, sizeof(sample->seed)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not draw a random seed")));
}

/* sample(items regclass, n int, seed bigint, uniform_over text) */
Datum
semtok_sample(PG_FUNCTION_ARGS)
{
	Sample sample;
	char *over;
	Items *items;

	begin_sample(fcinfo, &sample);
	over = ArgText(fcinfo, 3, "uniform_over");
	sample.ids = strcmp(over, "ids") == 0;
	if (!sample.ids && strcmp(over, "items") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected uniform_over items or ids, not \"%s\"", over)));
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	items = ItemsOpen(PG_GETARG_OID(0));
	ItemsRefuseNodes(items, "sample");
	if (sample.n > 0)
		sample_items(&sample, items);
	ItemsClose(items);
	PG_RETURN_NULL();
}

/* sample_set(items semset, n int, seed bigint) */
Datum
semtok_sample_set(PG_FUNCTION_ARGS)
{
	Sample sample;
	Source source = {.reader = NULL};
	SetTrie set;

	begin_sample(fcinfo, &sample);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	SetTrieInit(&set, SemsetArg(fcinfo, 0));
	if (sample.n > 0)
		sample_trie(&sample, &source, &set.trie.trie, set.roots, set.n_roots);
	PG_RETURN_NULL();
}
