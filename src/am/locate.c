/*
 * The ids of places in a run.
 *
 * A page does not say whose TIDs it holds: the id is the path to its record. The path is found from
 * the roots by the order of records: what is below a child comes after what is below the one
 * before it, so that most families need not be read.
 */
#include "am/family.h"
#include "am/semtrie.h"

#include "miscadmin.h"

typedef struct Locate
{
	const SemtrieRunView *view;
	const SemtrieRef *places;
	size_t n;
	SemtrieIdCallback callback;
	void *state;
	stk_semid id; /* path of the walk */
	size_t found; /* places */
} Locate;

/* An inner child whose upper end is not known yet. */
typedef struct InnerChild
{
	uint16 code;
	SemtrieRef family; /* SEMTRIE_NO_REF: there is none */
	SemtrieRef after;  /* what is below it comes after this record */
} InnerChild;

static void
report(const Locate *locate, SemtrieRef ref, const char *what)
{
	SemtrieReportCorrupt(locate->view->index,
						 SemtrieMapBlock(locate->view->map, SemtrieRefPage(ref)), what);
}

static void
read_record(const Locate *locate, SemtrieRef ref, uint8 kind, char *record, SemtrieRecord *header)
{
	if (SemtrieRunReadRecord(locate->view, ref, kind, record) != STK_OK)
		report(locate, ref, "page of another run");
	memcpy(header, record, sizeof(*header));
}

/* Places before ref. */
static size_t
places_before(const Locate *locate, SemtrieRef ref)
{
	size_t lo = 0, hi = locate->n;

	while (lo < hi)
	{
		size_t middle = lo + (hi - lo) / 2;

		if (locate->places[middle] < ref)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

/* Places from one reference to before another. */
static size_t
places_between(const Locate *locate, SemtrieRef from, SemtrieRef to)
{
	return from < to ? places_before(locate, to) - places_before(locate, from) : 0;
}

/* Places in a posting of so many TIDs; it is read only where some are near. */
static size_t
places_in_posting(const Locate *locate, SemtrieRef ref, uint64 count)
{
	uint64 per_page = (SEMTRIE_PAGE_ROOM - sizeof(SemtrieRecord)) / sizeof(ItemPointerData);
	PGAlignedBlock record;
	SemtrieRecord header;
	size_t found = 0;

	if (places_between(locate, ref,
					   SemtrieMakeRef(SemtrieRefPage(ref) + count / per_page + 2, 0)) == 0)
		return 0;
	for (;;)
	{
		read_record(locate, ref, SEMTRIE_RECORD_POSTING, record.data, &header);
		found += places_between(locate, ref, ref + header.bytes);
		if (!(header.flags & SEMTRIE_CONTINUED))
			return found;
		ref = SemtrieRunContinuation(ref);
	}
}

/* The rows of the id that ends at a child of the record at ref, which is `depth` codes deep. */
static void
locate_own_rows(Locate *locate, SemtrieRef ref, const SemtrieRunChild *child, int depth)
{
	size_t found;

	if (child->posting != SEMTRIE_NO_REF)
		found = places_in_posting(locate, child->posting, child->count);
	else
		found = places_between(locate, ref + child->tid_at, ref + child->tid_at + 1);
	if (found == 0)
		return;
	locate->found += found;
	locate->id.levels = depth + child->tail_len;
	if (locate->id.levels > STK_MAX_LEVELS)
		report(locate, ref, "id with too many levels");
	if (child->tail_len > 0)
		memcpy(locate->id.codes + depth, child->tail, child->tail_len * sizeof(uint16));
	locate->callback(&locate->id, locate->state);
}

static void locate_family(Locate *locate, SemtrieRef ref, SemtrieRef after, int depth);

/*
 * Go below an inner child, `depth` codes deep, when places are there. Further pieces of its family
 * lie behind the family's first record, before what is below the next child.
 */
static void
locate_inner(Locate *locate, const InnerChild *child, SemtrieRef end, int depth)
{
	if (child->family == SEMTRIE_NO_REF || places_between(locate, child->after + 1, end) == 0)
		return;
	locate->id.codes[depth - 1] = child->code;
	locate_family(locate, child->family, child->after, depth + 1);
}

/* A family whose children are `depth` codes deep, and all below, which comes after `after`. */
static void
locate_family(Locate *locate, SemtrieRef ref, SemtrieRef after, int depth)
{
	InnerChild inner = {.family = SEMTRIE_NO_REF, .after = after};
	char *record = palloc(BLCKSZ);
	SemtrieRef first = ref;

	check_stack_depth();
	if (depth > STK_MAX_LEVELS)
		report(locate, ref, "trie deeper than an id can be");
	for (;;)
	{
		SemtrieFamilyCursor cursor;
		SemtrieRunChild child;
		SemtrieRecord header;
		bool corrupt = false;

		read_record(locate, ref, SEMTRIE_RECORD_FAMILY, record, &header);
		SemtrieFamilyCursorInit(&cursor, record);
		while (SemtrieFamilyCursorNext(&cursor, &child, &corrupt))
		{
			if (child.type & SEMTRIE_INNER)
			{
				locate_inner(locate, &inner, child.family, depth);
				if (inner.family != SEMTRIE_NO_REF)
					inner.after = inner.family;
				inner.family = child.family;
				inner.code = child.code;
			}
			locate->id.codes[depth - 1] = child.code;
			if (child.count > 0)
				locate_own_rows(locate, ref, &child, depth);
		}
		if (corrupt)
			report(locate, ref, "family that contradicts itself");
		if (!(header.flags & SEMTRIE_CONTINUED))
			break;
		ref = SemtrieRunContinuation(ref);
	}
	locate_inner(locate, &inner, first, depth);
	pfree(record);
}

static void
locate_roots(Locate *locate, SemtrieRef ref)
{
	SemtrieRef after = SEMTRIE_NO_REF;
	PGAlignedBlock record;

	while (ref != SEMTRIE_NO_REF)
	{
		const char *entry = record.data + sizeof(SemtrieRecord);
		SemtrieRecord header;

		read_record(locate, ref, SEMTRIE_RECORD_ROOTS, record.data, &header);
		for (int i = 0; i < header.count; i++, entry += SEMTRIE_ROOT_BYTES)
		{
			SemtrieRef family = SemtrieReadRef(entry + sizeof(uint32));

			memcpy(&locate->id.tokenizer, entry, sizeof(uint32));
			locate_family(locate, family, after, 1);
			after = family;
		}
		ref = header.flags & SEMTRIE_CONTINUED ? SemtrieRunContinuation(ref) : SEMTRIE_NO_REF;
	}
}

void
SemtrieRunLocate(const SemtrieRunView *view, const SemtrieRun *run, const SemtrieRef *places,
				 size_t n, SemtrieIdCallback callback, void *state)
{
	Locate locate = {.view = view, .places = places, .n = n, .callback = callback, .state = state};

	locate_roots(&locate, run->roots);
	if (run->nulls != SEMTRIE_NO_REF)
		locate.found += places_in_posting(&locate, run->nulls, run->nulls_count);
	if (locate.found != n)
		SemtrieReportCorrupt(view->index, SEMTRIE_META_BLOCK, "TIDs that belong to no id");
}
