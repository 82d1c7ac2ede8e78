/*
 * A set of semantic IDs as a compact trie in one block of bytes.
 *
 * Stored form, final, little-endian, all sections 4-byte aligned (after PostgreSQL's length word):
 *
 *    0   u8   format version, 1
 *    1   u8   depth: the longest id's levels; 0 for the empty set
 *    2   u16  0
 *    4   u32  roots: number of tokenizers
 *    8   u32  ids: number of ids in the set
 *    12  u32  nodes[1..depth]           number of nodes at each level (a level-d node is a prefix
 *                                       of d codes)
 *    then for the roots: u32 tokenizer[roots], ascending, u32 first[roots + 1]
 *    then for each level d = 1..depth, in this order:
 *         u32 first[nodes[d] + 1]       children of node i are first[i] .. first[i+1]-1 of level
 *                                       d + 1; absent for d = depth
 *         u16 code[nodes[d]]            padded with zeros to 4 bytes
 *         u8  end[(nodes[d] + 7) / 8]   bit i: an id ends at node i; padded with zeros to 4 bytes
 *
 * Siblings ascend by code, every node has an id at or below it, so equal sets have equal bytes.
 * A node's number counts through the levels: level 1's nodes first, then level 2's, and so on.
 * "semset_nodes" is the total over the levels.
 */
#ifndef STK_SEMSET_H
#define STK_SEMSET_H

#include <stdbool.h>

#include "alloc.h"
#include "semid.h"
#include "trie.h"

#define STK_SEMSET_VERSION 1

/* A view: everything points into the stored form, which must outlive it. */
typedef struct stk_semset
{
	int depth;
	uint32_t roots;
	uint32_t ids;
	uint32_t total_nodes;
	const uint32_t *tokenizer;          /* [roots] */
	const uint32_t *root_first;         /* [roots + 1] */
	uint32_t nodes[STK_MAX_LEVELS + 1]; /* [1..depth] */
	uint32_t base[STK_MAX_LEVELS + 1];  /* [1..depth]: number of a level's first node */
	const uint32_t *first[STK_MAX_LEVELS + 1];
	const uint16_t *code[STK_MAX_LEVELS + 1];
	const uint8_t *end[STK_MAX_LEVELS + 1];
} stk_semset;

/*
 * Make a view in O(depth), checking section sizes against len only: for bytes that were checked
 * when they came in. bytes must be 4-byte aligned.
 */
extern stk_status stk_semset_view(const uint8_t *bytes, size_t len, stk_semset *set,
								  stk_error *err);
/* Check every invariant of the stored form; for bytes from outside. */
extern stk_status stk_semset_check(const uint8_t *bytes, size_t len, stk_error *err);

/* How large a set is: what its sections' sizes follow from. */
typedef struct stk_semset_shape
{
	int depth;
	uint64_t roots;
	uint64_t ids;
	uint64_t nodes[STK_MAX_LEVELS + 1]; /* [1..depth] */
} stk_semset_shape;

/*
 * Allocate the stored form of a set of this shape, with its header and all else zero, for the
 * caller to fill through *set, whose pointers may be written through until the set is handed on.
 * prefix, *out and *out_len as with stk_semset_build. STK_ERANGE past 2^32-1 nodes.
 */
extern stk_status stk_semset_allocate(const stk_semset_shape *shape, size_t prefix,
									  const stk_allocator *a, uint8_t **out, size_t *out_len,
									  stk_semset *set, stk_error *err);

/*
 * Build the stored form from ids in ascending order (duplicates allowed).
 *
 *   ids      [n]  stored forms of semids
 *   lens     [n]  their lengths in bytes
 *   prefix   bytes to leave free at the start of *out (for PostgreSQL's length word), zeroed;
 *            the stored form begins there; prefix must be a multiple of 4
 *
 * *out is allocated through a; *out_len counts prefix. STK_EINVAL when not ascending,
 * STK_ERANGE past 2^32-1 nodes, STK_ECANCELED when the monitor stops it.
 */
extern stk_status stk_semset_build(const uint8_t *const *ids, const size_t *lens, size_t n,
								   size_t prefix, const stk_allocator *a,
								   const stk_monitor *monitor, uint8_t **out, size_t *out_len,
								   stk_error *err);

/* Is the id (stored form) in the set? */
extern bool stk_semset_contains(const stk_semset *set, const uint8_t *id, size_t len);

/* Walk all ids in ascending order; start with stk_semset_iter_init. */
typedef struct stk_semset_iter
{
	const stk_semset *set;
	uint32_t root;
	int depth;                         /* of the current node; 0 = at the root */
	uint32_t node[STK_MAX_LEVELS + 1]; /* index within its level */
} stk_semset_iter;

extern void stk_semset_iter_init(stk_semset_iter *it, const stk_semset *set);
extern bool stk_semset_iter_next(stk_semset_iter *it, stk_semid *id);

/* Index of a tokenizer's root, or UINT32_MAX. */
extern uint32_t stk_semset_root(const stk_semset *set, uint32_t tokenizer);

/*
 * Find the child with this code; node is an index within level `level` (a root's index when
 * level = 0). Returns the index within level + 1, or UINT32_MAX.
 */
extern uint32_t stk_semset_child(const stk_semset *set, int level, uint32_t node, uint16_t code);

/* Children of a node (of a root when level = 0): from .. to - 1 within level + 1; may be none. */
extern void stk_semset_children(const stk_semset *set, int level, uint32_t node, uint32_t *from,
								uint32_t *to);

/* Does an id end at this node (level >= 1)? */
extern bool stk_semset_is_id(const stk_semset *set, int level, uint32_t node);

/* Number of ids at and below a node (below a root when level = 0). */
extern uint64_t stk_semset_count(const stk_semset *set, int level, uint32_t node);

/*
 * The set as an abstract trie. Handles: level << 32 | index within the level, for roots
 * 0 << 32 | root index. An id's posting handle is its node's handle. Counts of items are counts
 * of ids. `scratch` grows through a.
 */
typedef struct stk_semset_trie
{
	stk_trie trie; /* first, so that a stk_trie * is one of these */
	const stk_semset *set;
	const stk_allocator *a;
	stk_child *scratch;
	size_t scratch_size;
} stk_semset_trie;

extern void stk_semset_trie_init(stk_semset_trie *t, const stk_semset *set, const stk_allocator *a);
extern void stk_semset_trie_reset(stk_semset_trie *t);

#endif
