/*
 * Beam searches over a set: by a worker where it takes them, else in the session. Rows are the
 * same.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "client/search_pipe.h"
#include "decode/beam_call.h"
#include "decode/sets.h"
#include "types/semset.h"

typedef struct SetSearch
{
	BeamCall *call;
	struct varlena *datum;
	const stk_semset *set;
	MemoryContext query_context; /* emptied after each query */
	SearchPipe *pipe;            /* NULL: the session answers all */
	stk_search_batch shape;      /* of the pipe's queries */

	/* Searching here. */
	MemoryContext scope_context;
	bool open; /* the two below are there */
	SetTrie trie;
	Scope scope;
} SetSearch;

/* The scope, which is let go of when it has grown beyond work_mem. */
static const Scope *
open_scope(SetSearch *s)
{
	MemoryContext old;

	if (s->open && MemoryContextMemAllocated(s->scope_context, true) > work_mem * (Size) 1024)
	{
		MemoryContextReset(s->scope_context);
		s->open = false;
	}
	if (s->open)
		return &s->scope;
	old = MemoryContextSwitchTo(s->scope_context);
	SetTrieInit(&s->trie, s->set);
	(void) ScopeOfSet(&s->scope, &s->trie, NULL, s->call->options.exclude);
	BeamRememberForCall(s->call, &s->scope);
	s->open = true;
	MemoryContextSwitchTo(old);
	return &s->scope;
}

static void
answer_here(SetSearch *s, int number)
{
	const Scope *scope = open_scope(s);
	MemoryContext old = MemoryContextSwitchTo(s->query_context);

	CHECK_FOR_INTERRUPTS();
	(void) BeamAnswer(s->call, scope, number); /* a set is never replaced */
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->query_context);
}

/*
 * An answer of a worker's. Where it is short, and prefixes were given up on the way, a search here
 * goes on to look for more.
 */
static void
take(void *ctx, int number, const stk_search_batch *batch, size_t query)
{
	SetSearch *s = ctx;
	MemoryContext old;
	BeamResult result = {.context = s->query_context};

	if (batch == NULL || batch->dropped[query])
	{
		answer_here(s, number);
		return;
	}
	old = MemoryContextSwitchTo(s->query_context);
	for (uint32 i = 0; i < batch->found[query]; i++)
	{
		size_t at = query * batch->k + i;
		stk_semid id = {.tokenizer = batch->tokenizer, .levels = batch->lengths[at]};

		memcpy(id.codes, batch->codes + at * batch->width, id.levels * sizeof(uint16));
		BeamAdd(&result, &id, batch->costs[at], 1);
	}
	BeamReturn(s->call, number, &result);
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->query_context);
}

/* Are the options ones that a worker takes? */
static bool
options_fit(const DecodeOptions *options)
{
	const stk_decode_options *o = &options->core;

	for (int levels = 1; levels <= STK_MAX_LEVELS; levels++)
		if (o->per_prefix[levels] > 0)
			return false;
	return o->temperature == 0 && !o->exact && o->top_k == 0 && o->top_p == 1 &&
		   o->length_penalty == 0 && options->exclude == NULL;
}

/* The shape of a query; false when no worker takes such. */
static bool
shape_of(const SetSearch *s, const stk_query *q, stk_search_batch *shape)
{
	const DecodeOptions *options = &s->call->options;

	if (q->kind != STK_QUERY_LEVELS && q->kind != STK_QUERY_MASKED)
		return false;
	if (q->tokenizer == 0 && s->set->roots != 1)
		return false;
	*shape = (stk_search_batch){.levels = q->levels,
								.tokenizer = q->tokenizer ? q->tokenizer : s->set->tokenizer[0],
								.norm = q->norm,
								.beam_size = options->core.beam_size,
								.k = options->k};
	memcpy(shape->sizes, q->sizes, sizeof(shape->sizes));
	return true;
}

static bool
same_shape(const stk_search_batch *a, const stk_search_batch *b)
{
	return a->levels == b->levels && a->tokenizer == b->tokenizer && a->norm == b->norm &&
		   memcmp(a->sizes, b->sizes, a->levels * sizeof(uint32)) == 0;
}

/* Have a query answered by the pipe, which the first one begins. False: it is not one for it. */
static bool
send_away(SetSearch *s, int number, bool *tried)
{
	const stk_query *q;
	stk_search_batch shape;
	MemoryContext old = MemoryContextSwitchTo(s->query_context);
	Datum semquery;
	bool sent = false;

	q = BeamReadQuery(s->call, number, &semquery);
	if (q && shape_of(s, q, &shape))
	{
		if (!*tried)
		{
			SearchPipeOptions options = {.datum = s->datum,
										 .set = s->set,
										 .shape = shape,
										 .queries = s->call->n_queries - number,
										 .take = take,
										 .ctx = s};

			*tried = true;
			MemoryContextSwitchTo(old);
			s->shape = shape;
			s->pipe = SearchPipeBegin(&options);
		}
		sent = s->pipe && same_shape(&shape, &s->shape);
		if (sent)
			SearchPipeAdd(s->pipe,
						  q->kind == STK_QUERY_MASKED ? (const void *) q->logits[0]
													  : (const void *) q->cost[0],
						  number);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->query_context);
	return sent;
}

void
BeamSearchSet(BeamCall *call, struct varlena *set)
{
	SetSearch s = {
		.call = call, .datum = set, .set = SemsetView(PointerGetDatum(set), CurrentMemoryContext)};
	bool fit = call->batch && options_fit(&call->options);
	bool tried = false;

	s.query_context = AllocSetContextCreate(CurrentMemoryContext, "semtok beam search query",
											ALLOCSET_DEFAULT_SIZES);
	s.scope_context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok beam search", ALLOCSET_DEFAULT_SIZES);
	for (; call->next < call->n_queries; call->next++)
	{
		CHECK_FOR_INTERRUPTS();
		if (BeamIsNull(call, call->next))
			continue;
		if (fit && (s.pipe || !tried) && send_away(&s, call->next, &tried))
			continue;
		if (s.pipe)
			SearchPipeFlush(s.pipe);
		answer_here(&s, call->next);
	}
	if (s.pipe)
	{
		SearchPipeFlush(s.pipe);
		SearchPipeEnd(s.pipe);
	}
	MemoryContextDelete(s.scope_context);
	MemoryContextDelete(s.query_context);
}
