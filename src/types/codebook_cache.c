/*
 * The backend's cache of parsed codebooks.
 *
 * An entry is found by the SHA-256 of the stored form, so it never goes stale. It is pinned for
 * the lifetime of memory contexts; entries that nobody pins stay, most recently used first, as
 * long as together they fit into semtok.codebook_cache.
 */
#include "postgres.h"

#include "types/codebook.h"

#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "core/query.h"
#include "guc.h"
#include "types/bridge.h"
#include "types/content.h"
#include "types/funcarg.h"

struct CodebookEntry
{
	uint8 hash[CODEBOOK_HASH_LENGTH];
	MemoryContext context; /* holds the entry and all that belongs to it */
	struct varlena *datum;
	stk_codebook view;
	stk_rq *quantizer;  /* NULL until asked for */
	const stk_cpu *cpu; /* the quantizer's */
	float *gram;        /* NULL until asked for */
	int pins;
	Size bytes;      /* of context, while on the list of unpinned entries */
	dlist_node node; /* in unpinned, while pins = 0 */
};

/* What the hash table holds. */
typedef struct CacheSlot
{
	uint8 hash[CODEBOOK_HASH_LENGTH];
	CodebookEntry *entry;
} CacheSlot;

/* A pin; lives in the context that owns it. */
typedef struct Pin
{
	MemoryContextCallback callback;
	CodebookEntry *entry;
} Pin;

static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static dlist_head unpinned = DLIST_STATIC_INIT(unpinned); /* most recently used first */
static Size unpinned_bytes = 0;

static void
CacheInit(void)
{
	HASHCTL ctl = {0};

	if (cache)
		return;
	if (!cache_context)
		cache_context =
			AllocSetContextCreate(TopMemoryContext, "semtok codebook cache", ALLOCSET_SMALL_SIZES);
	ctl.keysize = CODEBOOK_HASH_LENGTH;
	ctl.entrysize = sizeof(CacheSlot);
	ctl.hcxt = cache_context;
	cache = hash_create("semtok codebooks", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
CodebookCacheTrim(int kilobytes)
{
	Size limit = (Size) kilobytes * 1024;

	while (unpinned_bytes > limit)
	{
		CodebookEntry *entry = dlist_tail_element(CodebookEntry, node, &unpinned);

		dlist_delete(&entry->node);
		unpinned_bytes -= entry->bytes;
		hash_search(cache, entry->hash, HASH_REMOVE, NULL);
		MemoryContextDelete(entry->context);
	}
}

/* Runs when the pin's owner is reset or deleted, so it must not fail. */
static void
Unpin(void *arg)
{
	CodebookEntry *entry = arg;

	Assert(entry->pins > 0);
	if (--entry->pins > 0)
		return;
	entry->bytes = MemoryContextMemAllocated(entry->context, true);
	unpinned_bytes += entry->bytes;
	dlist_push_head(&unpinned, &entry->node);
	CodebookCacheTrim(semtok_codebook_cache);
}

static void
PinEntry(CodebookEntry *entry, Pin *pin, MemoryContext owner)
{
	if (entry->pins++ == 0)
	{
		dlist_delete(&entry->node);
		unpinned_bytes -= entry->bytes;
	}
	pin->entry = entry;
	pin->callback.func = Unpin;
	pin->callback.arg = entry;
	MemoryContextRegisterResetCallback(owner, &pin->callback);
}

static CodebookEntry *
CacheFind(const uint8 *hash)
{
	CacheSlot *slot = cache ? hash_search(cache, hash, HASH_FIND, NULL) : NULL;

	return slot ? slot->entry : NULL;
}

/*
 * Add a codebook, unpinned. The entry is built in a context of the caller's, which an error
 * releases, and moves to the cache when nothing can fail any more.
 */
static CodebookEntry *
CacheAdd(struct varlena *v, const uint8 *hash)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok codebook", ALLOCSET_SMALL_SIZES);
	CodebookEntry *entry = MemoryContextAllocZero(context, sizeof(CodebookEntry));
	CacheSlot *slot;

	CacheInit();
	memcpy(entry->hash, hash, CODEBOOK_HASH_LENGTH);
	entry->context = context;
	entry->datum = MemoryContextAlloc(context, VARSIZE(v));
	memcpy(entry->datum, v, VARSIZE(v));
	CodebookReadView(entry->datum, &entry->view);
	entry->bytes = MemoryContextMemAllocated(context, true);

	slot = hash_search(cache, hash, HASH_ENTER, NULL);
	slot->entry = entry;
	MemoryContextSetParent(context, cache_context);
	dlist_push_head(&unpinned, &entry->node);
	unpinned_bytes += entry->bytes;
	return entry;
}

CodebookEntry *
CodebookPin(Datum codebook, MemoryContext owner)
{
	struct varlena *v = (struct varlena *) PG_DETOAST_DATUM(codebook);
	uint8 hash[CODEBOOK_HASH_LENGTH];
	Pin *pin = MemoryContextAlloc(owner, sizeof(Pin));
	CodebookEntry *entry;

	ContentComputeHash(v, hash);
	entry = CacheFind(hash);
	if (!entry)
		entry = CacheAdd(v, hash);
	PinEntry(entry, pin, owner);
	if ((Pointer) v != DatumGetPointer(codebook))
		pfree(v);
	return entry;
}

CodebookEntry *
CodebookPinByHash(const uint8 *hash, MemoryContext owner)
{
	CodebookEntry *entry = CacheFind(hash);

	if (entry)
		PinEntry(entry, MemoryContextAlloc(owner, sizeof(Pin)), owner);
	return entry;
}

/* What a call site remembers of its codebook argument. */
typedef struct ArgState
{
	MemoryContext context; /* owns the pin; reset when another codebook comes */
	CodebookEntry *entry;
	bool constant;
	bool toasted; /* it came from a toast table, by toast */
	struct varatt_external toast;
} ArgState;

/*
 * Is the argument the codebook that the call site remembers? Comparing bytes in memory costs a
 * fraction of what one use of the codebook does.
 */
static bool
IsRemembered(const ArgState *state, Datum codebook)
{
	struct varatt_external toast;
	struct varlena *v;
	bool same;

	if (!state->entry)
		return false;
	if (state->constant)
		return true;
	if (FuncArgToastPointer(codebook, &toast))
		return state->toasted && FuncArgSameToast(&toast, &state->toast);
	if (toast_raw_datum_size(codebook) != VARSIZE(state->entry->datum))
		return false;
	v = (struct varlena *) PG_DETOAST_DATUM(codebook);
	same = memcmp(VARDATA(v), VARDATA(state->entry->datum), VARSIZE(v) - VARHDRSZ) == 0;
	if ((Pointer) v != DatumGetPointer(codebook))
		pfree(v);
	return same;
}

CodebookEntry *
CodebookArg(FunctionCallInfo fcinfo, int argno)
{
	FmgrInfo *flinfo = fcinfo->flinfo;
	Datum codebook = PG_GETARG_DATUM(argno);
	ArgState *state = flinfo->fn_extra;

	if (!state)
	{
		state = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(ArgState));
		state->context = AllocSetContextCreate(flinfo->fn_mcxt, "semtok codebook argument",
											   ALLOCSET_SMALL_SIZES);
		state->constant = FuncArgIsConst(flinfo, argno);
		flinfo->fn_extra = state;
	}
	if (!IsRemembered(state, codebook))
	{
		state->entry = NULL;
		MemoryContextReset(state->context);
		state->toasted = FuncArgToastPointer(codebook, &state->toast);
		state->entry = CodebookPin(codebook, state->context);
	}
	return state->entry;
}

const stk_codebook *
CodebookView(const CodebookEntry *entry)
{
	return &entry->view;
}

const uint8 *
CodebookHash(const CodebookEntry *entry)
{
	return entry->hash;
}

const uint8 *
CodebookStored(const CodebookEntry *entry, Size *bytes)
{
	*bytes = VARSIZE(entry->datum) - VARHDRSZ;
	return (const uint8 *) VARDATA(entry->datum);
}

const stk_rq *
CodebookQuantizer(CodebookEntry *entry, int beam)
{
	stk_exec exec = SemtokExec(entry->context);
	stk_status status = STK_OK;
	stk_error err = {0};

	if (!entry->quantizer || entry->cpu != exec.cpu)
	{
		stk_rq_free(entry->quantizer);
		entry->quantizer = NULL;
		status = stk_rq_create(&entry->view, &exec, STK_FILTER_BEST, &entry->quantizer, &err);
		entry->cpu = exec.cpu;
	}
	if (status == STK_OK && beam > 1)
		status = stk_rq_prepare_beam(entry->quantizer, &exec);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not prepare codebook");
	return entry->quantizer;
}

const float *
CodebookGram(CodebookEntry *entry)
{
	if (!entry->gram)
	{
		stk_allocator a = SemtokAllocator(entry->context);
		stk_status status = stk_query_gram(&entry->view, &a, &entry->gram, &SemtokMonitor);

		if (status != STK_OK)
			SemtokReportStatus(status, NULL, "could not prepare codebook");
	}
	return entry->gram;
}
