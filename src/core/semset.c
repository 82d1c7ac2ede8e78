#include "semset.h"

#include <string.h>

#define HEADER_BYTES 12

/* Interrupts are looked at after this many ids. */
#define STEP 65536

static size_t
pad4(uint64_t n)
{
	return (size_t) ((n + 3) & ~(uint64_t) 3);
}

static size_t
code_bytes(uint32_t nodes)
{
	return pad4((uint64_t) nodes * 2);
}

static size_t
end_bytes(uint32_t nodes)
{
	return pad4(((uint64_t) nodes + 7) / 8);
}

bool
stk_semset_is_id(const stk_semset *set, int level, uint32_t node)
{
	return set->end[level][node >> 3] >> (node & 7) & 1;
}

void
stk_semset_children(const stk_semset *set, int level, uint32_t node, uint32_t *from, uint32_t *to)
{
	const uint32_t *first = level == 0 ? set->root_first : set->first[level];

	if (level == set->depth)
	{
		*from = *to = 0;
		return;
	}
	*from = first[node];
	*to = first[node + 1];
}

stk_status
stk_semset_view(const uint8_t *bytes, size_t len, stk_semset *set, stk_error *err)
{
	if (len < HEADER_BYTES)
		return stk_fail(err, STK_ECORRUPT, "semset is shorter than its header");
	if (bytes[0] != STK_SEMSET_VERSION)
		return stk_fail(err, STK_ECORRUPT, "semset has format version %d, expected %d", bytes[0],
						STK_SEMSET_VERSION);
	memset(set, 0, sizeof(*set));
	set->depth = bytes[1];
	if (set->depth > STK_MAX_LEVELS)
		return stk_fail(err, STK_ECORRUPT, "semset has depth %d, expected at most %d", set->depth,
						STK_MAX_LEVELS);

	const uint32_t *header = (const uint32_t *) bytes;
	uint64_t total = 0;
	uint64_t at = HEADER_BYTES + (uint64_t) 4 * set->depth;

	set->roots = header[1];
	set->ids = header[2];
	if (at > len)
		return stk_fail(err, STK_ECORRUPT, "semset is shorter than its header");
	for (int d = 1; d <= set->depth; d++)
	{
		set->nodes[d] = header[2 + d];
		set->base[d] = (uint32_t) total;
		total += set->nodes[d];
		if (total > UINT32_MAX)
			return stk_fail(err, STK_ECORRUPT, "semset has too many nodes");
	}
	set->total_nodes = (uint32_t) total;

	/*
	 * Sizes first, in 64 bits (each is below 2^35), so that no pointer is formed that lies
	 * outside of the bytes.
	 */
	uint64_t need = at + (uint64_t) 8 * set->roots + 4;

	for (int d = 1; d <= set->depth; d++)
		need += (d < set->depth ? 4 * ((uint64_t) set->nodes[d] + 1) : 0) +
				code_bytes(set->nodes[d]) + end_bytes(set->nodes[d]);
	if (need != len)
		return stk_fail(err, STK_ECORRUPT, "semset has %zu bytes, expected %llu", len,
						(unsigned long long) need);

	set->tokenizer = (const uint32_t *) (bytes + at);
	set->root_first = set->tokenizer + set->roots;
	at += (uint64_t) 8 * set->roots + 4;
	for (int d = 1; d <= set->depth; d++)
	{
		if (d < set->depth)
		{
			set->first[d] = (const uint32_t *) (bytes + at);
			at += 4 * ((uint64_t) set->nodes[d] + 1);
		}
		set->code[d] = (const uint16_t *) (bytes + at);
		at += code_bytes(set->nodes[d]);
		set->end[d] = bytes + at;
		at += end_bytes(set->nodes[d]);
	}
	return STK_OK;
}

/*
 * Check one level's children offsets: they start at 0, end at the number of the next level's
 * nodes and never go back. parents_only: every parent must have a child (roots).
 */
static bool
offsets_valid(const uint32_t *first, uint32_t parents, uint32_t children, bool parents_only)
{
	if (first[0] != 0 || first[parents] != children)
		return false;
	for (uint32_t i = 0; i < parents; i++)
		if (first[i + 1] < first[i] || (parents_only && first[i + 1] == first[i]))
			return false;
	return true;
}

static bool
siblings_ascend(const uint32_t *first, uint32_t parents, const uint16_t *code)
{
	for (uint32_t i = 0; i < parents; i++)
		for (uint32_t j = first[i]; j + 1 < first[i + 1]; j++)
			if (code[j] >= code[j + 1])
				return false;
	return true;
}

static bool
padding_zero(const uint8_t *bytes, size_t used, size_t padded)
{
	for (size_t i = used; i < padded; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* Check one level's codes and end bits; its own offsets have been checked. Adds to *ids. */
static const char *
check_level(const stk_semset *set, int d, uint64_t *ids)
{
	const uint32_t *parent_first = d == 1 ? set->root_first : set->first[d - 1];
	uint32_t parents = d == 1 ? set->roots : set->nodes[d - 1];
	uint32_t n = set->nodes[d];

	if (!siblings_ascend(parent_first, parents, set->code[d]))
		return "codes do not ascend";
	if (!padding_zero((const uint8_t *) set->code[d], (size_t) n * 2, code_bytes(n)) ||
		!padding_zero(set->end[d], ((size_t) n + 7) / 8, end_bytes(n)) ||
		(n % 8 != 0 && set->end[d][n / 8] >> (n % 8) != 0))
		return "padding is not zero";
	for (uint32_t i = 0; i < n; i++)
	{
		uint32_t from, to;

		stk_semset_children(set, d, i, &from, &to);
		if (stk_semset_is_id(set, d, i))
			(*ids)++;
		else if (from == to)
			return "a prefix has no id";
	}
	return NULL;
}

stk_status
stk_semset_check(const uint8_t *bytes, size_t len, stk_error *err)
{
	stk_semset set;
	stk_status status = stk_semset_view(bytes, len, &set, err);
	uint64_t ids = 0;

	if (status != STK_OK)
		return status;
	if (bytes[2] != 0 || bytes[3] != 0)
		return stk_fail(err, STK_ECORRUPT, "semset header is not valid");
	if ((set.depth == 0) != (set.roots == 0))
		return stk_fail(err, STK_ECORRUPT, "semset has depth %d and %u tokenizers", set.depth,
						set.roots);
	for (uint32_t r = 0; r < set.roots; r++)
		if (set.tokenizer[r] > INT32_MAX || (r > 0 && set.tokenizer[r] <= set.tokenizer[r - 1]))
			return stk_fail(err, STK_ECORRUPT, "semset's tokenizers are not valid");
	if (!offsets_valid(set.root_first, set.roots, set.depth > 0 ? set.nodes[1] : 0, true))
		return stk_fail(err, STK_ECORRUPT, "semset's roots are not valid");

	/* All offsets before anything follows them. */
	for (int d = 1; d <= set.depth; d++)
	{
		if (set.nodes[d] == 0 ||
			(d < set.depth && !offsets_valid(set.first[d], set.nodes[d], set.nodes[d + 1], false)))
			return stk_fail(err, STK_ECORRUPT, "semset's level %d is not valid", d - 1);
	}
	for (int d = 1; d <= set.depth; d++)
	{
		const char *what = check_level(&set, d, &ids);

		if (what)
			return stk_fail(err, STK_ECORRUPT, "semset's level %d is not valid: %s", d - 1, what);
	}
	if (ids != set.ids)
		return stk_fail(err, STK_ECORRUPT, "semset has %llu ids, expected %u",
						(unsigned long long) ids, set.ids);
	return STK_OK;
}

/*
 * Levels that an id shares with the one before it, -1 when its tokenizer is another. Both are
 * valid stored forms.
 */
static int
shared_levels(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	size_t shorter = alen < blen ? alen : blen;
	int l = 0;

	if (memcmp(a, b, STK_SEMID_HEADER) != 0)
		return -1;
	while (l < stk_semid_bytes_levels(shorter) &&
		   stk_semid_bytes_code(a, l) == stk_semid_bytes_code(b, l))
		l++;
	return l;
}

stk_status
stk_semset_allocate(const stk_semset_shape *shape, size_t prefix, const stk_allocator *a,
					uint8_t **out, size_t *out_len, stk_semset *set, stk_error *err)
{
	uint64_t total = 0;
	uint64_t size = HEADER_BYTES + (uint64_t) 4 * shape->depth + 8 * shape->roots + 4;

	for (int d = 1; d <= shape->depth; d++)
	{
		total += shape->nodes[d];
		if (total > UINT32_MAX)
			return stk_fail(err, STK_ERANGE, "semset would have more than %u nodes", UINT32_MAX);
		size += (d < shape->depth ? 4 * (shape->nodes[d] + 1) : 0) +
				code_bytes((uint32_t) shape->nodes[d]) + end_bytes((uint32_t) shape->nodes[d]);
	}

	uint8_t *bytes = stk_alloc_array(a, prefix + (size_t) size, 1);

	if (!bytes)
		return STK_ENOMEM;
	memset(bytes, 0, prefix + (size_t) size);

	uint8_t *form = bytes + prefix;
	uint32_t *header = (uint32_t *) form;

	form[0] = STK_SEMSET_VERSION;
	form[1] = (uint8_t) shape->depth;
	header[1] = (uint32_t) shape->roots;
	header[2] = (uint32_t) shape->ids;
	for (int d = 1; d <= shape->depth; d++)
		header[2 + d] = (uint32_t) shape->nodes[d];

	/* The sections' sizes are in the header, so the view tells where each one lies. */
	stk_status status = stk_semset_view(form, (size_t) size, set, err);

	if (status != STK_OK)
	{
		stk_free(a, bytes);
		return status;
	}
	*out = bytes;
	*out_len = prefix + (size_t) size;
	return STK_OK;
}

/* The first of build's two passes over the ids. */
static stk_status
measure(const uint8_t *const *ids, const size_t *lens, size_t n, const stk_monitor *monitor,
		stk_semset_shape *s, stk_error *err)
{
	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < n; i++)
	{
		int levels = stk_semid_bytes_levels(lens[i]);
		int shared = -1;

		if (i % STEP == 0 && stk_should_stop(monitor))
			return STK_ECANCELED;
		if (lens[i] < STK_SEMID_HEADER + 2 || lens[i] > STK_SEMID_MAX_BYTES || lens[i] % 2 != 0 ||
			stk_semid_bytes_tokenizer(ids[i]) > INT32_MAX)
			return stk_fail(err, STK_EINVAL, "semid is not valid");
		if (i > 0)
		{
			int order = stk_semid_bytes_cmp(ids[i - 1], lens[i - 1], ids[i], lens[i]);

			if (order > 0)
				return stk_fail(err, STK_EINVAL, "semids are not in ascending order");
			if (order == 0)
				continue;
			shared = shared_levels(ids[i - 1], lens[i - 1], ids[i], lens[i]);
		}
		if (shared < 0)
		{
			s->roots++;
			shared = 0;
		}
		for (int d = shared + 1; d <= levels; d++)
			s->nodes[d]++;
		if (levels > s->depth)
			s->depth = levels;
		s->ids++;
	}
	return STK_OK;
}

/*
 * Second pass. Depth-first insertion fills each level from left to right.
 */
static stk_status
fill(const stk_semset *set, const uint8_t *const *ids, const size_t *lens, size_t n,
	 const stk_monitor *monitor)
{
	uint32_t *tokenizer = (uint32_t *) set->tokenizer;
	uint32_t *root_first = (uint32_t *) set->root_first;
	uint32_t used[STK_MAX_LEVELS + 2] = {0};
	uint32_t roots = 0;

	for (size_t i = 0; i < n; i++)
	{
		int levels = stk_semid_bytes_levels(lens[i]);
		int shared = -1;

		if (i % STEP == 0 && stk_should_stop(monitor))
			return STK_ECANCELED;
		if (i > 0)
		{
			if (stk_semid_bytes_cmp(ids[i - 1], lens[i - 1], ids[i], lens[i]) == 0)
				continue;
			shared = shared_levels(ids[i - 1], lens[i - 1], ids[i], lens[i]);
		}
		if (shared < 0)
		{
			tokenizer[roots] = stk_semid_bytes_tokenizer(ids[i]);
			root_first[roots++] = used[1];
			shared = 0;
		}
		for (int d = shared + 1; d <= levels; d++)
		{
			uint32_t node = used[d]++;

			((uint16_t *) set->code[d])[node] = stk_semid_bytes_code(ids[i], d - 1);
			if (d < set->depth)
				((uint32_t *) set->first[d])[node] = used[d + 1];
		}

		uint32_t last = used[levels] - 1;

		((uint8_t *) set->end[levels])[last >> 3] |= (uint8_t) (1 << (last & 7));
	}
	root_first[roots] = used[1];
	for (int d = 1; d < set->depth; d++)
		((uint32_t *) set->first[d])[used[d]] = used[d + 1];
	return STK_OK;
}

stk_status
stk_semset_build(const uint8_t *const *ids, const size_t *lens, size_t n, size_t prefix,
				 const stk_allocator *a, const stk_monitor *monitor, uint8_t **out, size_t *out_len,
				 stk_error *err)
{
	stk_semset_shape s;
	stk_semset set;
	stk_status status = measure(ids, lens, n, monitor, &s, err);

	if (status == STK_OK)
		status = stk_semset_allocate(&s, prefix, a, out, out_len, &set, err);
	if (status != STK_OK)
		return status;
	status = fill(&set, ids, lens, n, monitor);
	if (status != STK_OK)
		stk_free(a, *out);
	return status;
}

uint32_t
stk_semset_root(const stk_semset *set, uint32_t tokenizer)
{
	uint32_t from = 0;
	uint32_t to = set->roots;

	while (from < to)
	{
		uint32_t mid = from + (to - from) / 2;

		if (set->tokenizer[mid] < tokenizer)
			from = mid + 1;
		else
			to = mid;
	}
	return from < set->roots && set->tokenizer[from] == tokenizer ? from : UINT32_MAX;
}

uint32_t
stk_semset_child(const stk_semset *set, int level, uint32_t node, uint16_t code)
{
	uint32_t from, to, end;

	stk_semset_children(set, level, node, &from, &to);
	end = to;
	while (from < to)
	{
		uint32_t mid = from + (to - from) / 2;

		if (set->code[level + 1][mid] < code)
			from = mid + 1;
		else
			to = mid;
	}
	return from < end && set->code[level + 1][from] == code ? from : UINT32_MAX;
}

bool
stk_semset_contains(const stk_semset *set, const uint8_t *id, size_t len)
{
	int levels = stk_semid_bytes_levels(len);
	uint32_t node;

	if (levels < 1 || levels > set->depth)
		return false;
	node = stk_semset_root(set, stk_semid_bytes_tokenizer(id));
	for (int l = 0; l < levels && node != UINT32_MAX; l++)
		node = stk_semset_child(set, l, node, stk_semid_bytes_code(id, l));
	return node != UINT32_MAX && stk_semset_is_id(set, levels, node);
}

void
stk_semset_iter_init(stk_semset_iter *it, const stk_semset *set)
{
	memset(it, 0, sizeof(*it));
	it->set = set;
}

/* Step to the next node in depth-first order; false after the last. */
static bool
iter_step(stk_semset_iter *it)
{
	const stk_semset *set = it->set;
	uint32_t from, to;

	if (it->root >= set->roots)
		return false;
	for (;;)
	{
		stk_semset_children(set, it->depth, it->depth == 0 ? it->root : it->node[it->depth], &from,
							&to);
		if (from < to)
		{
			it->node[++it->depth] = from;
			return true;
		}

		/* Up to the nearest node that has a next sibling, or to the next root. */
		while (it->depth > 0)
		{
			int up = it->depth - 1;

			stk_semset_children(set, up, up == 0 ? it->root : it->node[up], &from, &to);
			if (it->node[it->depth] + 1 < to)
			{
				it->node[it->depth]++;
				return true;
			}
			it->depth = up;
		}
		if (++it->root >= set->roots)
			return false;
	}
}

bool
stk_semset_iter_next(stk_semset_iter *it, stk_semid *id)
{
	do
	{
		if (!iter_step(it))
			return false;
	} while (!stk_semset_is_id(it->set, it->depth, it->node[it->depth]));

	id->tokenizer = it->set->tokenizer[it->root];
	id->levels = it->depth;
	for (int d = 1; d <= it->depth; d++)
		id->codes[d - 1] = it->set->code[d][it->node[d]];
	return true;
}

/* Number of end bits among nodes from .. to - 1 of a level. */
static uint64_t
count_ends(const stk_semset *set, int level, uint32_t from, uint32_t to)
{
	uint64_t count = 0;

	for (; from < to && from % 8 != 0; from++)
		count += stk_semset_is_id(set, level, from);
	for (; to - from >= 64; from += 64)
	{
		uint64_t word;

		memcpy(&word, &set->end[level][from >> 3], sizeof(word));
		count += (uint64_t) __builtin_popcountll(word);
	}
	for (; from < to; from++)
		count += stk_semset_is_id(set, level, from);
	return count;
}

uint64_t
stk_semset_count(const stk_semset *set, int level, uint32_t node)
{
	uint32_t from = node;
	uint32_t to = node + 1;
	uint64_t count = 0;

	/* Where all ids are of the same length none ends before. */
	bool even = set->depth > 0 && set->ids == set->nodes[set->depth];

	if (level == 0)
	{
		stk_semset_children(set, 0, node, &from, &to);
		level = 1;
	}
	for (;;)
	{
		/* What is as deep as the set is an id. */
		if (level == set->depth || from == to)
			return count + (to - from);
		if (!even)
			count += count_ends(set, level, from, to);
		/* The subtree's nodes of the next level are neighbours too. */
		from = set->first[level][from];
		to = set->first[level][to];
		level++;
	}
}

/* Write node i of a level as a child. */
static void
fill_child(const stk_semset *set, int level, uint32_t i, stk_child *child)
{
	uint64_t handle = (uint64_t) level << 32 | i;
	uint32_t below, end;

	stk_semset_children(set, level, i, &below, &end);
	child->code = set->code[level][i];
	child->flags = (uint8_t) ((below < end ? STK_CHILD_INNER : 0) |
							  (stk_semset_is_id(set, level, i) ? STK_CHILD_ID : 0));
	child->tail_len = 0;
	child->tail = NULL;
	child->node = handle;
	child->posting = handle;
	child->items = stk_semset_count(set, level, i);
	child->ids = (uint32_t) child->items;
}

static stk_status
semset_find(stk_trie *trie, uint64_t node, uint16_t code, bool *found, stk_child *child)
{
	const stk_semset *set = ((stk_semset_trie *) trie)->set;
	int level = (int) (node >> 32);
	uint32_t i = stk_semset_child(set, level, (uint32_t) node, code);

	*found = i != UINT32_MAX;
	if (*found)
		fill_child(set, level + 1, i, child);
	return STK_OK;
}

static stk_status
semset_expand(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	stk_semset_trie *t = (stk_semset_trie *) trie;
	const stk_semset *set = t->set;
	int level = (int) (node >> 32);
	uint32_t from, to;

	stk_semset_children(set, level, (uint32_t) node, &from, &to);
	if (to - from > t->scratch_size)
	{
		stk_child *grown = stk_realloc_array(t->a, t->scratch, to - from, sizeof(stk_child));

		if (!grown)
			return STK_ENOMEM;
		t->scratch = grown;
		t->scratch_size = to - from;
	}
	level++;
	for (uint32_t i = from; i < to; i++)
		fill_child(set, level, i, &t->scratch[i - from]);
	*children = t->scratch;
	*n = to - from;
	return STK_OK;
}

void
stk_semset_trie_init(stk_semset_trie *t, const stk_semset *set, const stk_allocator *a)
{
	t->trie = (stk_trie){.expand = semset_expand, .find = semset_find};
	t->set = set;
	t->a = a;
	t->scratch = NULL;
	t->scratch_size = 0;
}

void
stk_semset_trie_reset(stk_semset_trie *t)
{
	stk_free(t->a, t->scratch);
	t->scratch = NULL;
	t->scratch_size = 0;
}
