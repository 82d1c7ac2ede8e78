/*
 * Reading an index as one trie: the run's families and the delta's sorted items, merged node by
 * node.
 *
 * A node of the run alone is its reference. Where the delta has ids below a node, the handle
 * names an element of a pool: the part of the run (a family, or the rest of a tail) and a range
 * of the delta's items, which share the node's prefix and go on below it.
 *
 * A posting handle is a TID, the reference of a POSTING record, or an element of another pool: the
 * run's posting and a range of the delta's items.
 */
#include "am/reader.h"

#include "am/family.h"
#include "am/semtrie.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#define HANDLE_POOL (UINT64CONST(1) << 63)
#define HANDLE_LIST (UINT64CONST(1) << 62)
#define NO_POSTING PG_UINT64_MAX
#define TAIL_CHUNK 2048 /* codes allocated at once for tails */
#define TAIL_STEP 4     /* codes of a tail copied at once */

typedef struct ReaderNode
{
	SemtrieRef family;  /* the run's children, or SEMTRIE_NO_REF */
	const uint16 *tail; /* or the run's only id below, */
	uint8 tail_len;     /* this many codes deeper (0: none), */
	uint64 tail_posting;
	uint64 tail_items;
	size_t lo; /* the delta's items below */
	size_t hi;
	int depth; /* codes of the node's prefix */
} ReaderNode;

typedef struct ReaderPosting
{
	uint64 run; /* handle, or NO_POSTING */
	size_t lo;
	size_t hi;
} ReaderPosting;

typedef struct Children
{
	stk_child *array;
	size_t n;
	size_t capacity;
} Children;

struct SemtrieReader
{
	stk_trie trie; /* first: the trie that core walks is the reader */
	MemoryContext context;
	MemoryContextCallback release;
	SemtrieMeta meta;
	SemtrieRunView view;
	SemtrieMap *map;
	SemtrieDelta *delta;

	stk_root *roots;
	size_t nroots;

	ReaderNode *nodes;
	size_t nnodes;
	size_t nodes_capacity;
	ReaderPosting *postings;
	size_t npostings;
	size_t postings_capacity;

	Children run;    /* scratch: children in the run */
	Children merged; /* scratch: children in both */
	uint16 *tails;   /* room for coming tails */
	size_t tails_left;
	ItemPointerData *tids; /* scratch */
	size_t ntids;
	size_t tids_capacity;
};

static void *
grow(SemtrieReader *reader, void *array, size_t *capacity, size_t need, size_t size)
{
	size_t wanted = *capacity ? *capacity : 64;

	if (array && need <= *capacity)
		return array;
	while (wanted < need)
		wanted *= 2;
	*capacity = wanted;
	if (array == NULL)
		return MemoryContextAllocHuge(reader->context, mul_size(wanted, size));
	return repalloc_huge(array, mul_size(wanted, size));
}

/* Room for so many more children. */
static void
reserve_children(SemtrieReader *reader, Children *children, size_t n)
{
	children->array =
		grow(reader, children->array, &children->capacity, children->n + n, sizeof(stk_child));
}

static stk_child *
next_child(SemtrieReader *reader, Children *children)
{
	stk_child *child;

	reserve_children(reader, children, 1);
	child = &children->array[children->n++];
	memset(child, 0, sizeof(*child));
	return child;
}

static uint64
add_node(SemtrieReader *reader, ReaderNode node)
{
	reader->nodes =
		grow(reader, reader->nodes, &reader->nodes_capacity, reader->nnodes + 1, sizeof(node));
	reader->nodes[reader->nnodes] = node;
	return HANDLE_POOL | reader->nnodes++;
}

static uint64
tid_handle(const ItemPointerData *tid)
{
	return (uint64) ItemPointerGetBlockNumberNoCheck(tid) << 16 |
		   ItemPointerGetOffsetNumberNoCheck(tid);
}

/* Handle for the run's posting, which may be none, and a range of the delta's items. */
static uint64
add_posting(SemtrieReader *reader, uint64 run, size_t lo, size_t hi)
{
	if (lo == hi)
		return run;
	if (run == NO_POSTING && hi - lo == 1)
		return tid_handle(&reader->delta->items[lo].tid);
	reader->postings = grow(reader, reader->postings, &reader->postings_capacity,
							reader->npostings + 1, sizeof(ReaderPosting));
	reader->postings[reader->npostings] = (ReaderPosting){run, lo, hi};
	return HANDLE_POOL | reader->npostings++;
}

/*
 * Room for a tail, which lives as long as the reader. A long walk sees a tail for nearly every id,
 * so they are packed: no header, no padding.
 */
static inline uint16 *
tail_room(SemtrieReader *reader, size_t codes)
{
	uint16 *tail;

	if (reader->tails_left < codes)
	{
		reader->tails =
			MemoryContextAlloc(reader->context, (TAIL_CHUNK + TAIL_STEP) * sizeof(uint16));
		reader->tails_left = TAIL_CHUNK;
	}
	tail = reader->tails;
	reader->tails += codes;
	reader->tails_left -= codes;
	return tail;
}

/*
 * Copy the codes of a tail, four at a time: what is read behind the last one is the row's TID or
 * the reference of several, what is written there is room for coming tails.
 */
static inline void
copy_tail(uint16 *tail, const SemtrieRunChild *from)
{
	int i = 0;

	do
		memcpy(tail + i, from->tail + i * sizeof(uint16), TAIL_STEP * sizeof(uint16));
	while ((i += TAIL_STEP) < from->tail_len);
}

/* Has a child of the run rows of its own? Removed single rows are none. */
static inline bool
has_rows(const SemtrieRunChild *child)
{
	return child->count > 0 &&
		   (child->posting != SEMTRIE_NO_REF || !SemtrieTidIsRemoved(&child->tid));
}

/* Does core see this child of the run? */
static inline bool
is_shown(const SemtrieRunChild *child)
{
	return child->type & SEMTRIE_INNER || has_rows(child);
}

/* One child of the run, which core sees, as core sees children. */
static pg_attribute_always_inline void
show_run_child(SemtrieReader *reader, const SemtrieRunChild *from, stk_child *child)
{
	stk_child shown = {.code = from->code, .items = from->items};

	if (from->type & SEMTRIE_INNER)
	{
		shown.flags = STK_CHILD_INNER;
		shown.node = from->family;
	}
	if (has_rows(from))
	{
		shown.flags |= from->type & SEMTRIE_TAIL ? STK_CHILD_TAIL : STK_CHILD_ID;
		shown.posting =
			from->posting != SEMTRIE_NO_REF ? HANDLE_LIST | from->posting : tid_handle(&from->tid);
	}
	if (shown.flags & STK_CHILD_TAIL)
	{
		uint16 *tail = tail_room(reader, from->tail_len);

		copy_tail(tail, from);
		shown.tail = tail;
		shown.tail_len = from->tail_len;
	}
	*child = shown;
}

static void
report_family(const SemtrieReader *reader, SemtrieRef ref)
{
	SemtrieReportCorrupt(reader->view.index, SemtrieMapBlock(reader->map, SemtrieRefPage(ref)),
						 "family that contradicts itself");
}

/* Append a family's children, or of each the code alone, to the scratch array. */
static pg_attribute_always_inline stk_status
read_children(SemtrieReader *reader, SemtrieRef ref, bool codes_alone)
{
	PGAlignedBlock record;

	for (;;)
	{
		SemtrieFamilyCursor cursor;
		SemtrieRunChild child;
		bool corrupt = false;
		stk_status status =
			SemtrieRunReadRecord(&reader->view, ref, SEMTRIE_RECORD_FAMILY, record.data);

		if (status != STK_OK)
			return status;
		SemtrieFamilyCursorInit(&cursor, record.data);
		reserve_children(reader, &reader->run, cursor.header.count);
		while (SemtrieFamilyCursorNext(&cursor, &child, &corrupt))
		{
			stk_child *shown = &reader->run.array[reader->run.n];

			if (!is_shown(&child))
				continue;
			reader->run.n++;
			if (codes_alone)
				shown->code = child.code;
			else
				show_run_child(reader, &child, shown);
		}
		if (corrupt)
			report_family(reader, ref);
		if (!(cursor.header.flags & SEMTRIE_CONTINUED))
			return STK_OK;
		ref = SemtrieRunContinuation(ref);
	}
}

static stk_status
read_family(SemtrieReader *reader, SemtrieRef ref)
{
	return read_children(reader, ref, false);
}

/* The child of a family with this code, where core sees it. */
static stk_status
find_in_family(SemtrieReader *reader, SemtrieRef ref, uint16 code, bool *found, stk_child *child)
{
	PGAlignedBlock record;

	*found = false;
	for (;;)
	{
		SemtrieFamilyCursor cursor;
		SemtrieRunChild in_run;
		bool corrupt;
		stk_status status =
			SemtrieRunReadRecord(&reader->view, ref, SEMTRIE_RECORD_FAMILY, record.data);

		if (status != STK_OK)
			return status;
		SemtrieFamilyCursorInit(&cursor, record.data);
		if (SemtrieFamilyCursorFind(&cursor, code, &in_run, &corrupt))
		{
			*found = is_shown(&in_run);
			if (*found)
				show_run_child(reader, &in_run, child);
			return STK_OK;
		}
		if (corrupt)
			report_family(reader, ref);
		if (!(cursor.header.flags & SEMTRIE_CONTINUED))
			return STK_OK;
		ref = SemtrieRunContinuation(ref);
	}
}

/* What remains of a tail, as the only child of the node that has replaced it; child is zeroed. */
static void
show_rest_of_tail(const ReaderNode *node, stk_child *child)
{
	child->code = node->tail[0];
	child->posting = node->tail_posting;
	child->items = node->tail_items;
	if (node->tail_len > 1)
	{
		child->flags = STK_CHILD_TAIL;
		child->tail = node->tail + 1;
		child->tail_len = node->tail_len - 1;
	}
	else
		child->flags = STK_CHILD_ID;
}

/* End of the items that share item lo's code at `depth`: doubling steps, then bisection. */
static size_t
end_of_code(const SemtrieDelta *delta, size_t lo, size_t hi, int depth)
{
	uint16 code = delta->items[lo].codes[depth];
	size_t step = 1;
	size_t low = lo; /* has the code */

	while (low + step < hi && delta->items[low + step].codes[depth] == code)
	{
		low += step;
		step *= 2;
	}
	hi = Min(hi, low + step);
	while (hi - low > 1)
	{
		size_t middle = low + (hi - low) / 2;

		if (delta->items[middle].codes[depth] == code)
			low = middle;
		else
			hi = middle;
	}
	return hi;
}

/* End of the items that end at `depth`; they come first. */
static size_t
end_of_own(const SemtrieDelta *delta, size_t lo, size_t hi, int depth)
{
	while (lo < hi && delta->items[lo].levels == depth)
		lo++;
	return lo;
}

static bool
same_codes_from(const uint16 *a, const uint16 *b, int n)
{
	return memcmp(a, b, n * sizeof(uint16)) == 0;
}

/* The delta's items lo .. hi share a prefix of `depth` codes: as a child. */
static void
delta_child(SemtrieReader *reader, stk_child *child, size_t lo, size_t hi, int depth)
{
	const SemtrieDeltaItem *first = &reader->delta->items[lo];
	const SemtrieDeltaItem *last = &reader->delta->items[hi - 1];
	size_t own;

	child->code = first->codes[depth - 1];
	child->items = hi - lo;
	if (first->levels == last->levels &&
		same_codes_from(first->codes + depth, last->codes + depth, first->levels - depth))
	{
		child->posting = add_posting(reader, NO_POSTING, lo, hi);
		child->flags = first->levels > depth ? STK_CHILD_TAIL : STK_CHILD_ID;
		child->tail = first->codes + depth;
		child->tail_len = (uint8) (first->levels - depth);
		return;
	}
	own = end_of_own(reader->delta, lo, hi, depth);
	child->flags = STK_CHILD_INNER;
	child->node = add_node(reader, (ReaderNode){.lo = own, .hi = hi, .depth = depth});
	if (own > lo)
	{
		child->flags |= STK_CHILD_ID;
		child->posting = add_posting(reader, NO_POSTING, lo, own);
	}
}

/* A child of the run below whose prefix of `depth` codes the delta has items too. */
static void
union_child(SemtrieReader *reader, stk_child *child, const stk_child *run, size_t lo, size_t hi,
			int depth)
{
	const SemtrieDeltaItem *first = &reader->delta->items[lo];
	const SemtrieDeltaItem *last = &reader->delta->items[hi - 1];
	size_t own = end_of_own(reader->delta, lo, hi, depth);

	child->code = run->code;
	child->items = run->items + (hi - lo);
	if (run->flags & STK_CHILD_TAIL)
	{
		int levels = depth + run->tail_len;

		if (first->levels == levels && last->levels == levels &&
			same_codes_from(first->codes + depth, run->tail, run->tail_len) &&
			same_codes_from(last->codes + depth, run->tail, run->tail_len))
		{
			child->flags = STK_CHILD_TAIL;
			child->tail = run->tail;
			child->tail_len = run->tail_len;
			child->posting = add_posting(reader, run->posting, lo, hi);
			return;
		}
		child->flags = STK_CHILD_INNER;
		child->node = add_node(reader, (ReaderNode){.tail = run->tail,
													.tail_len = run->tail_len,
													.tail_posting = run->posting,
													.tail_items = run->items,
													.lo = own,
													.hi = hi,
													.depth = depth});
	}
	else if (own < hi)
	{
		child->flags = STK_CHILD_INNER;
		child->node =
			add_node(reader, (ReaderNode){.family = run->flags & STK_CHILD_INNER ? run->node
																				 : SEMTRIE_NO_REF,
										  .lo = own,
										  .hi = hi,
										  .depth = depth});
	}
	else if (run->flags & STK_CHILD_INNER)
	{
		child->flags = STK_CHILD_INNER;
		child->node = run->node;
	}
	if (own > lo || (run->flags & STK_CHILD_ID))
	{
		child->flags |= STK_CHILD_ID;
		child->posting =
			add_posting(reader, run->flags & STK_CHILD_ID ? run->posting : NO_POSTING, lo, own);
	}
}

static stk_status
reader_expand(stk_trie *trie, uint64_t handle, const stk_child **children, size_t *n)
{
	SemtrieReader *reader = (SemtrieReader *) trie;
	ReaderNode node = {.family = handle};
	size_t r = 0;
	size_t lo;

	if (handle & HANDLE_POOL)
		node = reader->nodes[handle & ~HANDLE_POOL];
	reader->run.n = 0;
	if (node.family != SEMTRIE_NO_REF)
	{
		stk_status status = read_family(reader, node.family);

		if (status != STK_OK)
			return status;
	}
	else if (node.tail_len > 0)
		show_rest_of_tail(&node, next_child(reader, &reader->run));

	if (node.lo == node.hi)
	{
		*children = reader->run.array;
		*n = reader->run.n;
		return STK_OK;
	}

	reader->merged.n = 0;
	lo = node.lo;
	while (r < reader->run.n || lo < node.hi)
	{
		const stk_child *run = r < reader->run.n ? &reader->run.array[r] : NULL;
		stk_child *child = next_child(reader, &reader->merged);
		size_t hi;

		if (lo == node.hi || (run && run->code < reader->delta->items[lo].codes[node.depth]))
		{
			*child = *run;
			r++;
			continue;
		}
		hi = end_of_code(reader->delta, lo, node.hi, node.depth);
		if (run && run->code == reader->delta->items[lo].codes[node.depth])
		{
			union_child(reader, child, run, lo, hi, node.depth + 1);
			r++;
		}
		else
			delta_child(reader, child, lo, hi, node.depth + 1);
		lo = hi;
	}
	*children = reader->merged.array;
	*n = reader->merged.n;
	return STK_OK;
}

/* stk_trie's codes: of a node of the run alone. */
static stk_status
reader_codes(stk_trie *trie, uint64_t handle, const stk_child **children, size_t *n)
{
	SemtrieReader *reader = (SemtrieReader *) trie;
	stk_status status;

	if (handle & HANDLE_POOL)
		return reader_expand(trie, handle, children, n);
	reader->run.n = 0;
	status = read_children(reader, handle, true);
	*children = reader->run.array;
	*n = reader->run.n;
	return status;
}

/* First of the items lo .. hi, which share `depth` codes and go on, whose next is not below this. */
static size_t
start_of_code(const SemtrieDelta *delta, size_t lo, size_t hi, int depth, uint16 code)
{
	while (lo < hi)
	{
		size_t middle = lo + (hi - lo) / 2;

		if (delta->items[middle].codes[depth] < code)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

/* stk_trie's find: the same merge as expand's for one code. */
static stk_status
reader_find(stk_trie *trie, uint64_t handle, uint16_t code, bool *found, stk_child *child)
{
	SemtrieReader *reader = (SemtrieReader *) trie;
	ReaderNode node = {.family = handle};
	stk_child in_run = {0};
	bool run_has = false;
	size_t lo;
	size_t hi;

	if (handle & HANDLE_POOL)
		node = reader->nodes[handle & ~HANDLE_POOL];
	if (node.family != SEMTRIE_NO_REF)
	{
		stk_status status = find_in_family(reader, node.family, code, &run_has, &in_run);

		if (status != STK_OK)
			return status;
	}
	else if (node.tail_len > 0 && node.tail[0] == code)
	{
		show_rest_of_tail(&node, &in_run);
		run_has = true;
	}
	lo = start_of_code(reader->delta, node.lo, node.hi, node.depth, code);
	hi = lo < node.hi && reader->delta->items[lo].codes[node.depth] == code
			 ? end_of_code(reader->delta, lo, node.hi, node.depth)
			 : lo;
	*found = run_has || lo < hi;
	memset(child, 0, sizeof(*child));
	if (lo == hi)
		*child = in_run;
	else if (run_has)
		union_child(reader, child, &in_run, lo, hi, node.depth + 1);
	else
		delta_child(reader, child, lo, hi, node.depth + 1);
	return STK_OK;
}

/*
 * stk_trie's exceeds, from the first record of the node's family in the run: core sees its children
 * whatever the delta adds.
 */
static stk_status
reader_exceeds(stk_trie *trie, uint64_t handle, uint64_t children, bool *more)
{
	SemtrieReader *reader = (SemtrieReader *) trie;
	SemtrieRef ref = handle & HANDLE_POOL ? reader->nodes[handle & ~HANDLE_POOL].family : handle;
	PGAlignedBlock record;
	SemtrieFamilyCursor cursor;
	SemtrieRunChild child;
	bool corrupt;
	stk_status status;

	*more = false;
	if (ref == SEMTRIE_NO_REF)
		return STK_OK;
	status = SemtrieRunReadRecord(&reader->view, ref, SEMTRIE_RECORD_FAMILY, record.data);
	if (status != STK_OK)
		return status;
	SemtrieFamilyCursorInit(&cursor, record.data);
	while (cursor.header.count > children && !*more &&
		   SemtrieFamilyCursorNext(&cursor, &child, &corrupt))
	{
		if (is_shown(&child) && children-- == 0)
			*more = true;
	}
	return STK_OK;
}

/* Append the run's TIDs of a handle to the scratch array, without removed ones. */
static stk_status
read_posting(SemtrieReader *reader, uint64 handle)
{
	PGAlignedBlock record;
	SemtrieRef ref = handle & ~HANDLE_LIST;

	if (!(handle & HANDLE_LIST))
	{
		reader->tids = grow(reader, reader->tids, &reader->tids_capacity, reader->ntids + 1,
							sizeof(ItemPointerData));
		ItemPointerSet(&reader->tids[reader->ntids], (BlockNumber) (handle >> 16),
					   (OffsetNumber) handle);
		reader->ntids++;
		return STK_OK;
	}
	for (;;)
	{
		SemtrieRecord header;
		stk_status status =
			SemtrieRunReadRecord(&reader->view, ref, SEMTRIE_RECORD_POSTING, record.data);

		if (status != STK_OK)
			return status;
		memcpy(&header, record.data, sizeof(header));
		reader->tids = grow(reader, reader->tids, &reader->tids_capacity,
							reader->ntids + header.count, sizeof(ItemPointerData));
		for (int i = 0; i < header.count; i++)
		{
			ItemPointerData tid;

			memcpy(&tid, record.data + sizeof(header) + i * sizeof(tid), sizeof(tid));
			if (!SemtrieTidIsRemoved(&tid))
				reader->tids[reader->ntids++] = tid;
		}
		if (!(header.flags & SEMTRIE_CONTINUED))
			return STK_OK;
		ref = SemtrieRunContinuation(ref);
	}
}

/* Merge the TIDs of the delta's items lo .. hi into the scratch array; both ascend. */
static void
merge_delta_tids(SemtrieReader *reader, size_t lo, size_t hi)
{
	size_t old = reader->ntids;
	size_t to = old + (hi - lo);

	reader->tids = grow(reader, reader->tids, &reader->tids_capacity, to, sizeof(ItemPointerData));
	reader->ntids = to;
	while (hi > lo)
	{
		ItemPointerData *tid = &reader->delta->items[hi - 1].tid;

		if (old > 0 && ItemPointerCompare(&reader->tids[old - 1], tid) > 0)
			reader->tids[--to] = reader->tids[--old];
		else
		{
			reader->tids[--to] = *tid;
			hi--;
		}
	}
}

stk_status
SemtrieReaderPosting(SemtrieReader *reader, uint64 posting, const ItemPointerData **tids, size_t *n)
{
	stk_status status = STK_OK;

	reader->ntids = 0;
	if (posting & HANDLE_POOL)
	{
		ReaderPosting *both = &reader->postings[posting & ~HANDLE_POOL];

		if (both->run != NO_POSTING)
			status = read_posting(reader, both->run);
		if (status == STK_OK)
			merge_delta_tids(reader, both->lo, both->hi);
	}
	else
		status = read_posting(reader, posting);
	*tids = reader->tids;
	*n = reader->ntids;
	return status;
}

stk_status
SemtrieReaderNulls(SemtrieReader *reader, const ItemPointerData **tids, size_t *n)
{
	stk_status status = STK_OK;

	reader->ntids = 0;
	if (reader->meta.run.nulls != SEMTRIE_NO_REF)
		status = read_posting(reader, HANDLE_LIST | reader->meta.run.nulls);
	if (status == STK_OK)
		merge_delta_tids(reader, 0, reader->delta->nulls);
	*tids = reader->tids;
	*n = reader->ntids;
	return status;
}

/* Add the root of one tokenizer, with the delta's items lo .. hi when it has some. */
static void
add_root(SemtrieReader *reader, size_t *capacity, uint32 tokenizer, SemtrieRef family, size_t lo,
		 size_t hi)
{
	stk_root *root;

	reader->roots = grow(reader, reader->roots, capacity, reader->nroots + 1, sizeof(stk_root));
	root = &reader->roots[reader->nroots++];
	root->tokenizer = tokenizer;
	root->node =
		lo == hi ? family : add_node(reader, (ReaderNode){.family = family, .lo = lo, .hi = hi});
}

/* End of the items that have item lo's tokenizer. */
static size_t
end_of_tokenizer(const SemtrieDelta *delta, size_t lo)
{
	size_t low = lo, hi = delta->n;

	while (hi - low > 1)
	{
		size_t middle = low + (hi - low) / 2;

		if (delta->items[middle].tokenizer == delta->items[lo].tokenizer)
			low = middle;
		else
			hi = middle;
	}
	return hi;
}

static stk_status
read_roots(SemtrieReader *reader)
{
	const SemtrieDelta *delta = reader->delta;
	SemtrieRef ref = reader->meta.run.roots;
	size_t capacity = 0;
	size_t lo = delta->nulls;
	PGAlignedBlock record;

	while (ref != SEMTRIE_NO_REF)
	{
		SemtrieRecord header;
		const char *entry = record.data + sizeof(header);
		stk_status status =
			SemtrieRunReadRecord(&reader->view, ref, SEMTRIE_RECORD_ROOTS, record.data);

		if (status != STK_OK)
			return status;
		memcpy(&header, record.data, sizeof(header));
		for (int i = 0; i < header.count; i++, entry += SEMTRIE_ROOT_BYTES)
		{
			uint32 tokenizer;
			size_t hi = lo;

			memcpy(&tokenizer, entry, sizeof(tokenizer));
			while (lo < delta->n && delta->items[lo].tokenizer < tokenizer)
			{
				hi = end_of_tokenizer(delta, lo);
				add_root(reader, &capacity, delta->items[lo].tokenizer, SEMTRIE_NO_REF, lo, hi);
				lo = hi;
			}
			if (lo < delta->n && delta->items[lo].tokenizer == tokenizer)
				hi = end_of_tokenizer(delta, lo);
			add_root(reader, &capacity, tokenizer, SemtrieReadRef(entry + sizeof(uint32)), lo, hi);
			lo = hi;
		}
		ref = header.flags & SEMTRIE_CONTINUED ? SemtrieRunContinuation(ref) : SEMTRIE_NO_REF;
	}
	while (lo < delta->n)
	{
		size_t hi = end_of_tokenizer(delta, lo);

		add_root(reader, &capacity, delta->items[lo].tokenizer, SEMTRIE_NO_REF, lo, hi);
		lo = hi;
	}
	return STK_OK;
}

/* Give back what the cache counts; also called when the reader's context goes away. */
static void
release_references(void *arg)
{
	SemtrieReader *reader = arg;

	SemtrieMapRelease(reader->map);
	SemtrieDeltaRelease(reader->delta);
	reader->map = NULL;
	reader->delta = NULL;
}

static stk_status
open_once(SemtrieReader *reader, Relation index)
{
	stk_status status;

	SemtrieReadMeta(index, &reader->meta);
	status = SemtrieCacheGet(index, &reader->meta, &reader->map, &reader->delta);
	if (status != STK_OK)
		return status;
	reader->view = (SemtrieRunView){index, reader->meta.run.id, reader->map, NULL};
	reader->nroots = 0;
	return read_roots(reader);
}

SemtrieReader *
SemtrieReaderOpen(Relation index, MemoryContext context)
{
	MemoryContext own = AllocSetContextCreate(context, "semtrie reader", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	SemtrieReader *reader = palloc0(sizeof(SemtrieReader));

	reader->trie.expand = reader_expand;
	reader->trie.codes = reader_codes;
	reader->trie.find = reader_find;
	reader->trie.exceeds = reader_exceeds;
	reader->context = own;
	reader->release.func = release_references;
	reader->release.arg = reader;
	MemoryContextRegisterResetCallback(own, &reader->release);
	for (int tries = 1; open_once(reader, index) != STK_OK; tries++)
	{
		release_references(reader);
		if (tries == SEMTRIE_MAX_RETRIES)
			SemtrieReportRetries(index);
	}
	MemoryContextSwitchTo(old);
	return reader;
}

void
SemtrieReaderClose(SemtrieReader *reader)
{
	MemoryContextDelete(reader->context);
}

stk_trie *
SemtrieReaderTrie(SemtrieReader *reader)
{
	return &reader->trie;
}

const stk_root *
SemtrieReaderRoots(SemtrieReader *reader, size_t *n)
{
	*n = reader->nroots;
	return reader->roots;
}
