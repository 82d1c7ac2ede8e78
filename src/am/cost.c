/*
 * What a scan of a semtrie index costs.
 */
#include "am/semtrie.h"

#include <math.h>

#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/selfuncs.h"

#include "guc.h"

/*
 * Expansions that best-first search needs for ten results, from simulations with uniform ids and
 * Gaussian logits: of the codes' combinations, 10 / density must be looked through, and the
 * number of nodes expanded grows with a power of that. It holds within a factor of two for 60
 * expansions (1 M ids of 3x256) to 11,600 (10 M of 3x8192).
 */
#define FIRST_RESULTS 10.0
#define EXPANSIONS_FACTOR 2.15
#define EXPANSIONS_POWER 0.65

/* Reading, checking and decoding a family, in cpu_operator_cost; a child adds one. */
#define EXPANSION_OPERATORS 30.0

/* Families near the root are read again and again: most reads find their page cached. */
#define PAGE_FRACTION 0.25

typedef struct SearchCost
{
	double expansions;
	double pushes;
} SearchCost;

/* Children of a family on average. */
static double
fanout(const SemtrieRun *run)
{
	double children = 0;

	for (int i = 0; i < STK_MAX_LEVELS; i++)
		children += (double) run->level_children[i];
	return run->nodes > 0 ? children / (double) run->nodes : 1.0;
}

/* Work of a search that expands every node it may: `share` of the ids satisfy the conditions. */
static SearchCost
all_results(const SemtrieRun *run, double share)
{
	SearchCost cost;

	cost.expansions = Max((double) run->nodes * share, run->levels);
	cost.expansions = Min(cost.expansions, (double) run->nodes);
	cost.pushes = cost.expansions * fanout(run);
	return cost;
}

/* Work of best-first search until the first results appear, without conditions. */
static SearchCost
first_results(const SemtrieRun *run)
{
	double space = 0; /* log of the number of possible ids */
	double wanted;
	SearchCost cost;

	for (uint32 i = 0; i < run->levels; i++)
		space += log((double) run->largest[i] + 1);
	wanted = log(FIRST_RESULTS) + space - log(Max((double) run->ids, 1.0));
	cost.expansions = EXPANSIONS_FACTOR * exp(EXPANSIONS_POWER * Min(wanted, 100.0));
	cost.expansions = Max(cost.expansions, run->levels);
	cost.expansions = Min(cost.expansions, (double) run->nodes);
	cost.pushes = cost.expansions * fanout(run);
	return cost;
}

/* Work of a beam search, which is all there is to it. */
static SearchCost
beam_results(const SemtrieRun *run)
{
	SearchCost cost;

	cost.expansions = Min((double) semtok_beam_width * run->levels, (double) run->nodes);
	cost.pushes = cost.expansions * fanout(run);
	return cost;
}

/* A push costs an operator for each doubling of the heap. */
static Cost
search_cost(SearchCost cost, double pages, double random_page)
{
	double read = Min(cost.expansions, pages);

	return cost.expansions * EXPANSION_OPERATORS * cpu_operator_cost +
		   cost.pushes * cpu_operator_cost * log2(2.0 + cost.pushes) +
		   read * random_page * PAGE_FRACTION;
}

void
semtrie_costestimate(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup,
					 Cost *total, Selectivity *selectivity, double *correlation, double *pages)
{
	GenericCosts costs = {0};
	SemtrieMeta meta = {.tail = InvalidBlockNumber};
	double descent;
	double delta_pages;

	/* a hypothetical index has nothing to read; it looks like one that is still empty */
	if (!path->indexinfo->hypothetical)
	{
		Relation index = index_open(path->indexinfo->indexoid, NoLock);

		SemtrieReadMeta(index, &meta);
		index_close(index, NoLock);
	}
	genericcostestimate(root, path, loop_count, &costs);

	/* going down costs a look at each level; the delta is sorted once and then remembered */
	descent = meta.run.levels * EXPANSION_OPERATORS * cpu_operator_cost;
	delta_pages = meta.tail == InvalidBlockNumber ? 0 : meta.tail_seq - meta.head_seq + 1.0;
	descent += delta_pages * EXPANSION_OPERATORS * cpu_operator_cost;
	costs.indexStartupCost += descent;
	costs.indexTotalCost += descent;

	if (path->indexorderbys != NIL)
	{
		double random_page = costs.spc_random_page_cost;
		double share = costs.numIndexTuples / Max(path->indexinfo->tuples, 1.0);
		SearchCost all = all_results(&meta.run, Min(share, 1.0));
		SearchCost first =
			semtok_beam_width > 0 ? beam_results(&meta.run) : first_results(&meta.run);
		Cost all_cost = search_cost(all, meta.run.pages, random_page);
		/* conditions may leave less than an unconditional search would visit */
		Cost first_cost = Min(search_cost(first, meta.run.pages, random_page), all_cost);

		costs.indexStartupCost += first_cost;
		costs.indexTotalCost += semtok_beam_width > 0 ? first_cost : all_cost;
		costs.indexTotalCost = Max(costs.indexTotalCost, costs.indexStartupCost);

		/* one query can be searched for, not two: dearer than a disabled scan and sort together */
		if (list_length(path->indexorderbys) > 1)
		{
			costs.indexStartupCost += disable_cost * disable_cost;
			costs.indexTotalCost += disable_cost * disable_cost;
			SemtokDisablePath(&path->path);
		}
	}

	/* count(*) needs no column, which the planner takes for one that the index can return */
	if (path->path.pathtype == T_IndexOnlyScan)
	{
		costs.indexStartupCost += disable_cost * disable_cost;
		costs.indexTotalCost += disable_cost * disable_cost;
		SemtokDisablePath(&path->path);
	}

	*startup = costs.indexStartupCost;
	*total = costs.indexTotalCost;
	*selectivity = costs.indexSelectivity;
	*correlation = 0;
	*pages = costs.numIndexPages;
}
