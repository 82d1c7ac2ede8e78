/*
 * Beam search with a model of the caller's: a function that is asked for logits level by level.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/tuplestore.h"

#include "core/decode.h"
#include "decode/beam.h"
#include "decode/options.h"
#include "decode/scope.h"
#include "decode/scorer.h"
#include "tokenizer/args.h"
#include "types/bridge.h"
#include "types/semset.h"

/* A beam that left too little is this much wider the next time. */
#define WIDEN 4

PG_FUNCTION_INFO_V1(semtok_beam_search_with);
PG_FUNCTION_INFO_V1(semtok_beam_search_set_with);

static const DecodeArgs args = {.k = 3,
								.beam_size = 4,
								.temperature = 5,
								.seed = 6,
								.top_k = 7,
								.top_p = 8,
								.norm = 9,
								.length_penalty = 10,
								.exact = 11,
								.within = 13,
								.exclude = 14,
								.max_per_prefix = 15,
								.sampler = 16,
								.candidates = 17};

typedef struct GuidedSearch
{
	Scorer *scorer;
	DecodeOptions options;
	int levels; /* that the scorer is asked for; 0 = as many as the ids have */
	BeamSink sink;
} GuidedSearch;

/* The root to search: the scorer's tokenizer's. NULL where there is nothing to search. */
static const stk_root *
choose_root(const Scope *scope, const Scorer *scorer)
{
	uint32 tokenizer = ScorerTokenizer(scorer);
	const stk_root *root;

	if (scope->n_roots == 0)
		return NULL;
	if (tokenizer == 0)
	{
		if (scope->n_roots > 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("items of %s, and scorer %s does not say which it is for",
							ScopeTokenizers(scope), ScorerName(scorer)),
					 errhint("Declare it: ALTER FUNCTION %s SET semtok.scorer_tokenizer = "
							 "%u.",
							 ScorerName(scorer), scope->roots[scope->n_roots - 1].tokenizer)));
		return &scope->roots[0];
	}
	root = ScopeRoot(scope, tokenizer);
	if (root == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("scorer %s is for tokenizer %u, but the items are of %s",
							   ScorerName(scorer), tokenizer, ScopeTokenizers(scope))));
	return root;
}

/* Ask the scorer for what the search wants, until it wants nothing. */
static stk_status
feed(GuidedSearch *search, stk_guided *guided)
{
	for (;;)
	{
		stk_error err = {.level = -1};
		const stk_beam *prefixes;
		const float *logits;
		uint32 size;
		size_t n;
		int level;
		stk_status status = stk_guided_wants(guided, &prefixes, &n, &level);

		if (status != STK_OK || n == 0)
			return status;
		logits = ScorerLogits(search->scorer, prefixes, n, level, &size);
		status = stk_guided_feed(guided, logits, size, &err);
		if (status != STK_OK && status != STK_ERETRY)
			SemtokReportStatus(status, &err, "could not search the items");
		if (status != STK_OK)
			return status;
	}
}

/* Search once; *short_of says that there may be more ids than came, though not k did. */
static stk_status
search_once(GuidedSearch *search, const Scope *scope, const stk_root *root,
			const stk_decode_options *options, bool *short_of)
{
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	BeamSink *sink = &search->sink;
	stk_error err = {.level = -1};
	stk_guided *guided;
	stk_status status =
		stk_guided_start(&guided, scope->trie, root, search->levels, options, &allocator, &err);

	if (status != STK_OK && status != STK_ERETRY)
		SemtokReportStatus(status, &err, "could not start the search");
	if (status != STK_OK)
		return status;
	while (sink->rank < sink->k)
	{
		stk_hit hit;
		bool found;
		int64 items;

		CHECK_FOR_INTERRUPTS();
		status = feed(search, guided);
		if (status == STK_OK)
			status = stk_guided_next(guided, &found, &hit);
		if (status != STK_OK || !found)
			break;
		status = ScopeVisible(scope, hit.posting, &items);
		if (status != STK_OK)
			break;
		if (items == 0)
			continue;
		status = stk_guided_took(guided, &hit);
		if (status != STK_OK)
			break;
		BeamEmit(sink, hit.cost, &hit.id, items);
	}
	*short_of = status == STK_OK && sink->rank < sink->k && stk_guided_dropped(guided);
	stk_guided_free(guided);
	if (status != STK_OK && status != STK_ERETRY)
		SemtokReportStatus(status, NULL, "could not search the items");
	return status;
}

/*
 * Search, and with a wider beam where dead rows, quotas or the scorer's -infinity have left fewer
 * than k ids of a full one. What the scorer has said of a prefix it is not asked again.
 */
static stk_status
search_scope(const Scope *scope, void *state)
{
	GuidedSearch *search = state;
	stk_decode_options options = search->options.core;
	const stk_root *root = choose_root(scope, search->scorer);
	bool short_of = root != NULL;

	while (short_of)
	{
		stk_status status;

		search->sink.rank = 0;
		tuplestore_clear(search->sink.rsinfo->setResult);
		status = search_once(search, scope, root, &options, &short_of);
		if (status != STK_OK)
			return status;
		if (options.beam_size == STK_MAX_BEAM)
			break;
		options.beam_size = Min(options.beam_size * WIDEN, STK_MAX_BEAM);
	}
	return STK_OK;
}

/* Read the arguments; false where one that must be given is null. */
static bool
begin_guided(FunctionCallInfo fcinfo, GuidedSearch *search)
{
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	DecodeOptionsRead(fcinfo, &args, &search->options);
	if (!search->options.norm_given)
		search->options.core.norm = STK_NORM_MASKED;
	/* As many however often the beam is widened. */
	if (search->options.core.sampler == STK_SAMPLER_RECTOKENS &&
		search->options.core.candidates == 0)
		search->options.core.candidates = search->options.core.beam_size;
	search->levels = PG_ARGISNULL(12) ? 0 : ArgInt(fcinfo, 12, "levels", 1, STK_MAX_LEVELS);
	search->sink =
		(BeamSink){.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo, .k = search->options.k};
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return false;
	search->scorer = ScorerOpen(PG_GETARG_OID(1), PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2),
								PG_ARGISNULL(2));
	return true;
}

/*
 * beam_search_with(items regclass, scorer regprocedure, context jsonb, k int, beam_size int,
 *                  temperature float8, seed bigint, top_k int, top_p float8, norm text,
 *                  length_penalty float8, exact boolean, levels int, within semset,
 *                  exclude semset, max_per_prefix jsonb, sampler text, candidates int)
 */
Datum
semtok_beam_search_with(PG_FUNCTION_ARGS)
{
	GuidedSearch search = {0};

	if (begin_guided(fcinfo, &search))
		ScopeOverItems(PG_GETARG_OID(0), "beam_search_with", search.options.within,
					   search.options.exclude, search_scope, &search);
	PG_RETURN_NULL();
}

/* beam_search_set_with(items semset, …): the same over a set. */
Datum
semtok_beam_search_set_with(PG_FUNCTION_ARGS)
{
	GuidedSearch search = {0};

	if (begin_guided(fcinfo, &search))
		ScopeOverSet(SemsetArg(fcinfo, 0), search.options.within, search.options.exclude,
					 search_scope, &search);
	PG_RETURN_NULL();
}
