/*
 * Writing a run in one pass over sorted (id, TID) pairs.
 *
 * Of the id that is being read, the families along its path are open. When the next id is known,
 * the id's place is too: it becomes a child of the deepest family that it shares with a
 * neighbour, with the codes below as its tail. Families that the next id leaves are complete and
 * are written, children before parents, so that memory is one open family a level.
 */
#include "am/semtrie.h"

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

/* TIDs gathered before a long posting begins to be written: two pages' worth. */
#define POSTING_BUFFER (2 * (SEMTRIE_PAGE_ROOM / sizeof(ItemPointerData)))

/* Rather begin a new page than split a family smaller than this. */
#define KEEP_TOGETHER (SEMTRIE_PAGE_ROOM / 4)

typedef struct PendingChild
{
	uint16 code;
	uint8 type;
	uint8 tail_len;
	uint32 payload; /* where its payload begins; a tail's length is not in it */
} PendingChild;

/* The children so far of one node on the current path. */
typedef struct OpenFamily
{
	PendingChild *children;
	uint32 n;
	uint32 capacity;
	char *payload;
	size_t payload_len;
	size_t payload_capacity;
	uint64 items;
} OpenFamily;

struct SemtrieWriter
{
	Relation index;
	SemtrieSpace *space;
	SemtrieExtentList extents;
	SemtrieRun run;

	/* the page being filled */
	PGAlignedBlock page;
	size_t fill; /* offset of the next record; 0 before the first page */

	/* families[d] holds the children of the current path's first d codes; depth of them are open */
	OpenFamily families[STK_MAX_LEVELS];
	int depth;

	/* the current id, and how many codes it shares with the one before */
	stk_semid id;
	bool has_id;
	int shared_before;

	/* its posting */
	ItemPointerData *tids;
	size_t ntids;
	uint64 posting_count;
	SemtrieRef posting; /* first piece, when one is written */

	/* ROOTS entries */
	char *roots;
	size_t roots_capacity; /* bytes */
};

SemtrieWriter *
SemtrieWriterStart(Relation index, SemtrieSpace *space, uint64 run_id)
{
	SemtrieWriter *writer = palloc0(sizeof(SemtrieWriter));

	writer->index = index;
	writer->space = space;
	writer->run.id = run_id;
	writer->tids = palloc(POSTING_BUFFER * sizeof(ItemPointerData));
	return writer;
}

/* Make room for `need` elements of `size` bytes. */
static void *
grow(void *array, size_t *capacity, size_t need, size_t size)
{
	size_t wanted = *capacity ? *capacity : 16;

	if (array && need <= *capacity)
		return array;
	while (wanted < need)
		wanted *= 2;
	*capacity = wanted;
	if (array == NULL)
		return MemoryContextAllocHuge(CurrentMemoryContext, mul_size(wanted, size));
	return repalloc_huge(array, mul_size(wanted, size));
}

/* Write out the page being filled. */
static void
flush_page(SemtrieWriter *writer)
{
	BlockNumber block;

	if (writer->fill == 0)
		return;
	((PageHeader) writer->page.data)->pd_lower = (LocationIndex) writer->fill;
	block = SemtrieSpaceTake(writer->space);
	SemtrieWritePage(writer->index, block, writer->page.data);
	SemtrieExtentAdd(&writer->extents, block, 1);
	writer->fill = 0;
}

static void
new_page(SemtrieWriter *writer)
{
	flush_page(writer);
	if (writer->run.pages == MaxBlockNumber)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("semtrie index \"%s\" has too many pages",
							   RelationGetRelationName(writer->index))));
	SemtriePageInit(writer->page.data, SEMTRIE_PAGE_RUN, writer->run.id, writer->run.pages);
	writer->run.pages++;
	writer->fill = SEMTRIE_PAGE_BEGIN;
}

/* Bytes left on the page being filled. */
static size_t
page_room(const SemtrieWriter *writer)
{
	return writer->fill == 0 ? 0 : SEMTRIE_PAGE_END - writer->fill;
}

/* Put a record's header where the page is filled to; returns its reference. */
static SemtrieRef
begin_record(SemtrieWriter *writer, const SemtrieRecord *header)
{
	memcpy(writer->page.data + writer->fill, header, sizeof(*header));
	return SemtrieMakeRef(writer->run.pages - 1, writer->fill);
}

/*
 * Write the gathered TIDs. When more will follow, keep what does not fill a page, so that the
 * next piece begins a page.
 */
static void
write_posting(SemtrieWriter *writer, bool more)
{
	size_t done = 0;

	for (;;)
	{
		size_t left = writer->ntids - done;
		size_t room = page_room(writer);
		size_t fits = room > sizeof(SemtrieRecord)
						  ? (room - sizeof(SemtrieRecord)) / sizeof(ItemPointerData)
						  : 0;
		SemtrieRecord header = {.kind = SEMTRIE_RECORD_POSTING};
		SemtrieRef ref;

		if (left == 0)
			break;
		if (fits == 0 || (left > fits && room < KEEP_TOGETHER))
		{
			new_page(writer);
			continue;
		}
		if (more && left <= fits)
			break;
		if (left > fits)
			header.flags = SEMTRIE_CONTINUED;
		header.count = (uint16) Min(left, fits);
		header.bytes = (uint16) (sizeof(header) + header.count * sizeof(ItemPointerData));
		ref = begin_record(writer, &header);
		memcpy(writer->page.data + writer->fill + sizeof(header), writer->tids + done,
			   header.count * sizeof(ItemPointerData));
		writer->fill += header.bytes;
		if (writer->posting == SEMTRIE_NO_REF)
			writer->posting = ref;
		done += header.count;
		if (header.flags & SEMTRIE_CONTINUED)
			new_page(writer);
	}
	writer->ntids -= done;
	memmove(writer->tids, writer->tids + done, writer->ntids * sizeof(ItemPointerData));
}

static void
add_tid(SemtrieWriter *writer, ItemPointer tid)
{
	if (writer->ntids == POSTING_BUFFER)
		write_posting(writer, true);
	writer->tids[writer->ntids++] = *tid;
	writer->posting_count++;
}

static void
check_items(SemtrieWriter *writer, uint64 items)
{
	if (items > PG_UINT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("more than %u rows share a prefix in semtrie index \"%s\"",
							   PG_UINT32_MAX, RelationGetRelationName(writer->index))));
}

static void
add_payload(OpenFamily *family, const void *bytes, size_t len)
{
	family->payload =
		grow(family->payload, &family->payload_capacity, family->payload_len + len, 1);
	memcpy(family->payload + family->payload_len, bytes, len);
	family->payload_len += len;
}

static void
add_reference(OpenFamily *family, SemtrieRef ref)
{
	char bytes[SEMTRIE_REF_BYTES];

	SemtrieWriteRef(bytes, ref);
	add_payload(family, bytes, sizeof(bytes));
}

static PendingChild *
add_child(SemtrieWriter *writer, int depth, uint16 code, uint8 type)
{
	OpenFamily *family = &writer->families[depth];
	size_t capacity = family->capacity;
	PendingChild *child;

	Assert(family->n == 0 || family->children[family->n - 1].code < code);
	family->children = grow(family->children, &capacity, (size_t) family->n + 1, sizeof(*child));
	family->capacity = (uint32) capacity;
	child = &family->children[family->n++];
	*child = (PendingChild){.code = code, .type = type, .payload = (uint32) family->payload_len};
	writer->run.level_children[depth]++;
	writer->run.largest[depth] = Max(writer->run.largest[depth], code);
	return child;
}

/* Bytes of a child in a record, given what the record's header says. */
static size_t
child_bytes(const OpenFamily *family, uint32 i, const SemtrieRecord *header)
{
	const PendingChild *child = &family->children[i];
	size_t end = i + 1 < family->n ? family->children[i + 1].payload : family->payload_len;

	return sizeof(uint16) + (header->type == SEMTRIE_MIXED ? 1 : 0) +
		   ((child->type & SEMTRIE_TAIL) && header->tail_len == 0 ? 1 : 0) + (end - child->payload);
}

/* Write children first .. first + header->count - 1, which fit the page. */
static SemtrieRef
write_family_piece(SemtrieWriter *writer, const OpenFamily *family, uint32 first,
				   const SemtrieRecord *header)
{
	SemtrieRef ref = begin_record(writer, header);
	char *p = writer->page.data + writer->fill + sizeof(*header);

	for (uint32 i = first; i < first + header->count; i++)
	{
		memcpy(p, &family->children[i].code, sizeof(uint16));
		p += sizeof(uint16);
	}
	if (header->type == SEMTRIE_MIXED)
		for (uint32 i = first; i < first + header->count; i++)
			*p++ = (char) family->children[i].type;
	for (uint32 i = first; i < first + header->count; i++)
	{
		const PendingChild *child = &family->children[i];
		size_t end = i + 1 < family->n ? family->children[i + 1].payload : family->payload_len;

		if ((child->type & SEMTRIE_TAIL) && header->tail_len == 0)
			*p++ = (char) child->tail_len;
		memcpy(p, family->payload + child->payload, end - child->payload);
		p += end - child->payload;
	}
	Assert(p == writer->page.data + writer->fill + header->bytes);
	writer->fill += header->bytes;
	return ref;
}

/* Write a complete family; returns the reference of its first piece. */
static SemtrieRef
write_family(SemtrieWriter *writer, const OpenFamily *family)
{
	SemtrieRecord header = {.kind = SEMTRIE_RECORD_FAMILY,
							.type = family->children[0].type,
							.tail_len = family->children[0].tail_len};
	SemtrieRef result = SEMTRIE_NO_REF;
	size_t total = sizeof(header);
	uint32 first = 0;

	for (uint32 i = 1; i < family->n; i++)
	{
		if (family->children[i].type != family->children[0].type)
			header.type = SEMTRIE_MIXED;
		if (family->children[i].tail_len != family->children[0].tail_len)
			header.tail_len = 0;
	}
	for (uint32 i = 0; i < family->n; i++)
		total += child_bytes(family, i, &header);
	if (page_room(writer) < total && (total <= KEEP_TOGETHER || page_room(writer) < KEEP_TOGETHER))
		new_page(writer);

	while (first < family->n)
	{
		size_t bytes = sizeof(header);
		uint32 n = 0;
		SemtrieRef ref;

		while (first + n < family->n)
		{
			size_t more = child_bytes(family, first + n, &header);

			if (bytes + more > page_room(writer))
				break;
			bytes += more;
			n++;
		}
		header.flags = first + n < family->n ? SEMTRIE_CONTINUED : 0;
		header.count = (uint16) n;
		header.bytes = (uint16) bytes;
		ref = write_family_piece(writer, family, first, &header);
		if (result == SEMTRIE_NO_REF)
			result = ref;
		first += n;
		if (header.flags & SEMTRIE_CONTINUED)
			new_page(writer);
	}
	writer->run.nodes++;
	return result;
}

/* The root of the current id's tokenizer is complete. */
static void
add_root(SemtrieWriter *writer, SemtrieRef family, uint32 items)
{
	char *p;

	writer->roots = grow(writer->roots, &writer->roots_capacity,
						 (size_t) (writer->run.tokenizers + 1) * SEMTRIE_ROOT_BYTES, 1);
	p = writer->roots + (size_t) writer->run.tokenizers * SEMTRIE_ROOT_BYTES;
	memcpy(p, &writer->id.tokenizer, sizeof(uint32));
	SemtrieWriteRef(p + sizeof(uint32), family);
	memcpy(p + sizeof(uint32) + SEMTRIE_REF_BYTES, &items, sizeof(uint32));
	writer->run.tokenizers++;
}

/* Write the open families below `depth` codes of the current path, deepest first. */
static void
close_families(SemtrieWriter *writer, int depth)
{
	while (writer->depth > depth)
	{
		int d = --writer->depth;
		OpenFamily *family = &writer->families[d];
		SemtrieRef ref = write_family(writer, family);
		uint64 items = family->items;
		uint32 items32 = (uint32) items;

		check_items(writer, items);
		family->n = 0;
		family->payload_len = 0;
		family->items = 0;
		if (d == 0)
			add_root(writer, ref, items32);
		else
		{
			OpenFamily *parent = &writer->families[d - 1];
			uint16 code = writer->id.codes[d - 1];
			PendingChild *last = parent->n > 0 ? &parent->children[parent->n - 1] : NULL;

			if (last && last->code == code)
			{
				/* an id ends here, and others go on; its rows count as at and below */
				uint64 own = last->type & SEMTRIE_LIST ? 0 : 1;

				if (last->type & SEMTRIE_LIST)
				{
					uint32 count;

					memcpy(&count, parent->payload + last->payload, sizeof(count));
					own = count;
				}
				parent->items += items;
				items += own;
				check_items(writer, items);
				items32 = (uint32) items;
				last->type |= SEMTRIE_INNER;
			}
			else
			{
				add_child(writer, d - 1, code, SEMTRIE_INNER);
				parent->items += items;
			}
			add_reference(parent, ref);
			add_payload(parent, &items32, sizeof(items32));
		}
	}
}

/*
 * The current id is complete, and shares `shared_after` codes with the next one (-1: another
 * tokenizer or no next id). Put it in its place, and write what the next id leaves.
 */
static void
finish_id(SemtrieWriter *writer, int shared_after)
{
	int levels = writer->id.levels;
	int shared = Max(Max(writer->shared_before, shared_after), 0);
	int depth = Min(shared, levels - 1); /* of the family whose child the id becomes */
	int tail_len = levels - 1 - depth;
	uint8 type = tail_len > 0 ? SEMTRIE_TAIL : SEMTRIE_ID;
	OpenFamily *family = &writer->families[depth];
	PendingChild *child;

	check_items(writer, writer->posting_count);
	writer->run.ids++;
	writer->run.items += writer->posting_count;
	writer->run.levels = Max(writer->run.levels, (uint32) levels);
	for (int i = depth + 1; i < levels; i++)
		writer->run.largest[i] = Max(writer->run.largest[i], writer->id.codes[i]);

	writer->depth = Max(writer->depth, depth + 1);
	if (writer->posting_count > 1)
	{
		write_posting(writer, false);
		type |= SEMTRIE_LIST;
	}
	child = add_child(writer, depth, writer->id.codes[depth], type);
	if (tail_len > 0)
	{
		child->tail_len = (uint8) tail_len;
		add_payload(family, writer->id.codes + depth + 1, tail_len * sizeof(uint16));
	}
	if (writer->posting_count > 1)
	{
		uint32 count = (uint32) writer->posting_count;

		add_payload(family, &count, sizeof(count));
		add_reference(family, writer->posting);
	}
	else
		add_payload(family, &writer->tids[0], sizeof(ItemPointerData));
	family->items += writer->posting_count;

	writer->ntids = 0;
	writer->posting_count = 0;
	writer->posting = SEMTRIE_NO_REF;
	close_families(writer, shared_after + 1);
}

/* Codes that two ids share from the start; -1 when their tokenizers differ. */
static int
shared_codes(const stk_semid *a, const stk_semid *b)
{
	int n = Min(a->levels, b->levels);
	int i = 0;

	if (a->tokenizer != b->tokenizer)
		return -1;
	while (i < n && a->codes[i] == b->codes[i])
		i++;
	return i;
}

void
SemtrieWriterAdd(SemtrieWriter *writer, const stk_semid *id, ItemPointer tid)
{
	if (!writer->has_id)
	{
		writer->has_id = true;
		writer->shared_before = -1;
		writer->id = *id;
	}
	else
	{
		int shared = shared_codes(&writer->id, id);

		if (shared < writer->id.levels || id->levels != writer->id.levels)
		{
			finish_id(writer, shared);
			writer->shared_before = shared;
			writer->id = *id;
		}
	}
	add_tid(writer, tid);
}

/* All ids are in: complete the last one, and with it every family. */
static void
finish_ids(SemtrieWriter *writer)
{
	if (writer->has_id)
		finish_id(writer, -1);
	writer->has_id = false;
}

void
SemtrieWriterAddNull(SemtrieWriter *writer, ItemPointer tid)
{
	finish_ids(writer);
	add_tid(writer, tid);
}

static void
write_roots(SemtrieWriter *writer)
{
	uint32 done = 0;

	while (done < writer->run.tokenizers)
	{
		uint32 left = writer->run.tokenizers - done;
		SemtrieRecord header = {.kind = SEMTRIE_RECORD_ROOTS};
		size_t fits;
		SemtrieRef ref;

		if (page_room(writer) < sizeof(header) + SEMTRIE_ROOT_BYTES)
			new_page(writer);
		fits = (page_room(writer) - sizeof(header)) / SEMTRIE_ROOT_BYTES;
		header.flags = left > fits ? SEMTRIE_CONTINUED : 0;
		header.count = (uint16) Min(left, fits);
		header.bytes = (uint16) (sizeof(header) + header.count * SEMTRIE_ROOT_BYTES);
		ref = begin_record(writer, &header);
		memcpy(writer->page.data + writer->fill + sizeof(header),
			   writer->roots + (size_t) done * SEMTRIE_ROOT_BYTES,
			   header.count * SEMTRIE_ROOT_BYTES);
		writer->fill += header.bytes;
		if (writer->run.roots == SEMTRIE_NO_REF)
			writer->run.roots = ref;
		done += header.count;
		if (header.flags & SEMTRIE_CONTINUED)
			new_page(writer);
	}
}

void
SemtrieWriterFinish(SemtrieWriter *writer, SemtrieRun *run, SemtrieExtentList *extents)
{
	finish_ids(writer);
	if (writer->posting_count > 0)
	{
		write_posting(writer, false);
		writer->run.nulls = writer->posting;
		writer->run.nulls_count = writer->posting_count;
	}
	write_roots(writer);
	flush_page(writer);
	*run = writer->run;
	*extents = writer->extents;
}
