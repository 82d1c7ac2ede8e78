/*
 * k-means|| (Bahmani et al. 2012, "Scalable k-means++").
 *
 * Candidates come first: row floor(random(step 2^16, index 0) n / 2^64), then in each of five
 * rounds, r = 1 to 5, every row i with probability 2 K w_i / sum (kmeans_sampler.h): where
 * floor(random(step 2^16 + r, index i) sum / 2^64) < 2 K w_i. Each weighs as many rows as are
 * nearest to it: of a round's candidates, 1,024 at a time, the one with the lowest reference score,
 * and of those the one at the smallest distance, always the earlier among equals.
 *
 * Greedy k-means++ (Arthur and Vassilvitskii 2007, section 4) then chooses the centroids among the
 * candidates: for centroid k > 0, trial t = 0 to T - 1 draws a candidate by random(step t, index
 * k), T = 2 + floor(7 floor(log2 K) / 10), about 2 + ln K, and the one is taken that leaves the
 * smallest sum of w, by the 2^e of this draw; the earliest among equals. Centroid 0 has one trial.
 * There are about 10 K candidates, all of them read for every centroid. For K above 4,096 plain
 * k-means++ chooses instead, by the rejection of kmeans_start.c, with the same weights.
 *
 * A trial needs its squared distances from all candidates. These are packed once, as if they were
 * codewords, so that the filter scores the trials as rows; only where it cannot tell that a trial
 * is no nearer than the centroids so far does the reference compute a distance.
 */
#include <math.h>
#include <string.h>

#include "kmeans_sampler.h"

#define ROUNDS 5
/* Where the steps of their random numbers begin. */
#define ROUND_STEP 0x10000
/* Candidates whose distances from all rows are taken at once. */
#define BLOCK 1024
/* More than 2 + 7 log2 K / 10 for any K. */
#define MAX_TRIALS 16
/* Centroids chosen greedily, at most. */
#define MAX_GREEDY 4096
/* Points of a task, at most; no kernel's panel has more. */
#define TASK_POINTS 256

/* What k-means|| gathers. */
typedef struct candidates
{
	size_t count;
	size_t room;
	size_t *rows;      /* [room] */
	uint32_t *nearest; /* [n] the candidate nearest to each row */
	float *block;      /* [BLOCK][dim] some of them side by side */
} candidates;

static stk_status
add_candidate(candidates *c, const stk_allocator *a, size_t row)
{
	if (c->count == c->room)
	{
		size_t room = 2 * c->room + 64;
		size_t *rows = stk_realloc_array(a, c->rows, room, sizeof(size_t));

		if (!rows)
			return STK_ENOMEM;
		c->rows = rows;
		c->room = room;
	}
	c->rows[c->count++] = row;
	return STK_OK;
}

/* Bring distances up to date for the candidates from `first` on. */
static stk_status
approach_candidates(stk_sampler *s, candidates *c, size_t first)
{
	stk_status status = STK_OK;

	for (; first < c->count && status == STK_OK; first += BLOCK)
	{
		size_t n = c->count - first < BLOCK ? c->count - first : BLOCK;

		for (size_t j = 0; j < n; j++)
			memcpy(c->block + j * s->dim, s->x + c->rows[first + j] * s->dim,
				   s->dim * sizeof(float));
		status = stk_sampler_approach(s, c->block, (uint32_t) n, c->nearest, (uint32_t) first);
	}
	return status;
}

/* The rounds of k-means||. */
static stk_status
gather_candidates(stk_sampler *s, candidates *c, uint32_t size, uint64_t seed, int level)
{
	const stk_allocator *a = &s->exec->a;
	uint64_t bits = stk_random(seed, STK_RANDOM_INIT, level, ROUND_STEP, 0);
	size_t first = 0;
	stk_status status = add_candidate(c, a, (size_t) stk_below(bits, s->n));

	for (uint32_t round = 1; status == STK_OK; round++)
	{
		status = approach_candidates(s, c, first);
		first = c->count;
		if (round > ROUNDS || status != STK_OK)
			break;
		stk_sampler_weigh(s);
		for (size_t i = 0; i < s->n && status == STK_OK && stk_sampler_total(s) > 0; i++)
		{
			uint64_t w = stk_sampler_share(s, i, s->distances[i]);

			bits = stk_random(seed, STK_RANDOM_INIT, level, ROUND_STEP + round, i);
			/* 2 K w > sum means always, and 2 K w may not fit. */
			if (w > stk_sampler_total(s) / (2 * (uint64_t) size) ||
				stk_below(bits, stk_sampler_total(s)) < 2 * (uint64_t) size * w)
				status = add_candidate(c, a, i);
		}
	}
	return status;
}

/* Choosing centroids among weighted points. */
typedef struct greedy
{
	stk_sampler s; /* of the points */
	stk_pack pack; /* of the points */
	double slack;  /* what binary64 may get wrong in scores, here and in the reference */
	uint32_t trials;
	size_t drawn[MAX_TRIALS]; /* points */
	double half[MAX_TRIALS];  /* their half squared norms */
	double limit[MAX_TRIALS]; /* points of a score below limit - distance / 2 are no nearer */
	float *rows;              /* [MAX_TRIALS][dim] the trials side by side */
	uint8_t *tiles;           /* the trials packed as rows, one tile after another */
	float *scores;            /* [threads][tile][TASK_POINTS] */
	double *distances;        /* [MAX_TRIALS][points] with the trial among the centroids */
	uint64_t *left;           /* [threads][MAX_TRIALS] sums of w with it */
	void *memory[2];          /* tiles and scores as allocated */
} greedy;

/* Distances of points first .. first + n - 1 with trial t; scores are the filter's, or NULL. */
static void
take_points(const greedy *g, uint32_t t, const float *scores, size_t first, size_t n,
			uint64_t *left)
{
	const stk_sampler *s = &g->s;
	double *distances = g->distances + t * s->n + first;
	const float *points[TASK_POINTS] = {NULL};
	double dots[TASK_POINTS];
	size_t places[TASK_POINTS];
	size_t count = 0;

	for (size_t j = 0; j < n; j++)
	{
		distances[j] = s->distances[first + j];
		/* Written so that NaN proves nothing. */
		if (scores && (double) scores[j] < g->limit[t] - 0.5 * distances[j])
			continue;
		places[count] = j;
		points[count++] = s->x + (first + j) * s->dim;
	}
	if (count > 0)
		s->exec->cpu->reference->dots(g->rows + t * s->dim, points, count, s->dim, dots);
	for (size_t i = 0; i < count; i++)
	{
		double d = stk_squared_distance(s->norms[first + places[i]], g->half[t] - dots[i]);

		if (d < distances[places[i]])
			distances[places[i]] = d;
	}
	/*
	 * The only trial needs no sum; the first centroid's distances would not fit its scale either.
	 */
	for (size_t j = 0; j < n && g->trials > 1; j++)
		*left += stk_sampler_share(s, first + j, distances[j]);
}

/* Points of a task: whole panels. */
static size_t
task_points(const greedy *g)
{
	size_t panel = g->pack.kernel ? g->pack.kernel->panel : 1;

	return TASK_POINTS / panel * panel;
}

static void
trial_task(void *arg, size_t index, int thread)
{
	greedy *g = arg;
	const stk_pack *p = &g->pack;
	const stk_kernel *kernel = p->kernel;
	size_t first = index * task_points(g);
	size_t n = g->s.n - first < task_points(g) ? g->s.n - first : task_points(g);
	uint64_t *left = g->left + (size_t) thread * MAX_TRIALS;
	uint32_t tile = kernel ? kernel->tile : MAX_TRIALS;

	for (uint32_t t = 0; t < g->trials; t += tile)
	{
		uint32_t rows = g->trials - t < tile ? g->trials - t : tile;
		float *scores = NULL;
		float best[STK_MAX_TILE];

		if (kernel)
		{
			scores = g->scores + (size_t) thread * tile * TASK_POINTS;
			kernel->score(p, g->tiles + t / tile * kernel->tile_bytes(p->dim), rows,
						  (uint32_t) (first / kernel->panel),
						  (uint32_t) ((n + kernel->panel - 1) / kernel->panel), scores, TASK_POINTS,
						  best);
		}
		for (uint32_t r = 0; r < rows; r++)
			take_points(g, t + r, scores ? scores + r * TASK_POINTS : NULL, first, n, &left[t + r]);
	}
}

/*
 * Ready the drawn trials x for the filter.
 *
 * Its score of a point p falls short of x.p - |p|^2 / 2 by centre.x, the same for all points, and
 * differs from that by less than half the margin of x (bound.c). So the squared distance
 * |p|^2 + 2 (|x|^2 / 2 - x.p) is not below D where the score is below
 * |x|^2 / 2 - centre.x - D / 2 by the margin and the slack.
 */
static void
pack_trials(greedy *g)
{
	const stk_sampler *s = &g->s;
	const stk_pack *p = &g->pack;
	stk_bound_row bounds[STK_MAX_TILE];
	uint32_t tile = p->kernel ? p->kernel->tile : MAX_TRIALS;

	for (uint32_t t = 0; t < g->trials; t++)
	{
		memcpy(g->rows + t * s->dim, s->x + g->drawn[t] * s->dim, s->dim * sizeof(float));
		g->half[t] = 0.5 * s->norms[g->drawn[t]];
	}
	for (uint32_t t = 0; t < g->trials && p->kernel; t += tile)
	{
		uint32_t rows = g->trials - t < tile ? g->trials - t : tile;
		const float *x = g->rows + t * s->dim;

		p->kernel->pack_rows(p, x, rows, g->tiles + t / tile * p->kernel->tile_bytes(s->dim),
							 bounds);
		for (uint32_t r = 0; r < rows; r++)
		{
			double margin = stk_bound_margin(p->kernel->arithmetic, &p->bound, &bounds[r]);
			double shift;
			const float *row = x + r * s->dim;

			s->exec->cpu->reference->dots(p->centre, &row, 1, s->dim, &shift);
			g->limit[t + r] = g->half[t + r] - shift - margin - g->slack;
		}
	}
}

/* The best of the drawn trials, whose distances become the points'. */
static uint32_t
choose_trial(greedy *g)
{
	stk_sampler *s = &g->s;
	size_t threads = (size_t) stk_threads(s->exec->pool);
	size_t tasks = (s->n + task_points(g) - 1) / task_points(g);
	uint64_t least = UINT64_MAX;
	uint32_t chosen = 0;

	memset(g->left, 0, threads * MAX_TRIALS * sizeof(uint64_t));
	stk_run(s->exec->pool, trial_task, g, tasks);
	for (uint32_t t = 0; t < g->trials; t++)
	{
		uint64_t left = 0;

		for (size_t i = 0; i < threads; i++)
			left += g->left[i * MAX_TRIALS + t];
		if (left < least)
		{
			least = left;
			chosen = t;
		}
	}
	memcpy(s->distances, g->distances + chosen * s->n, s->n * sizeof(double));
	return chosen;
}

/* Choose the centroids among the points, the best of several draws each time. */
static stk_status
choose_greedily(greedy *g, stk_kmeans *km, uint64_t seed, int level)
{
	stk_sampler *s = &g->s;
	uint32_t log2_size = 0;

	while (km->size >> log2_size > 1)
		log2_size++;
	for (uint32_t k = 0; k < km->size; k++)
	{
		uint32_t chosen;

		if (stk_should_stop(s->exec->monitor))
			return STK_ECANCELED;
		stk_sampler_weigh(s);
		g->trials = k == 0 || stk_sampler_total(s) == 0 ? 1 : 2 + 7 * log2_size / 10;
		for (uint32_t t = 0; t < g->trials; t++)
			g->drawn[t] = stk_sampler_draw(s, stk_random(seed, STK_RANDOM_INIT, level, t, k));
		/* The first centroid comes nearer than no centroid, whatever its distance. */
		for (size_t i = 0; i < s->n && k == 0; i++)
			s->distances[i] = INFINITY;
		pack_trials(g);
		chosen = choose_trial(g);
		memcpy(km->centroids + k * s->dim, g->rows + chosen * s->dim, s->dim * sizeof(float));
	}
	return STK_OK;
}

/* Room for choosing among the sampler's points, and what stays the same all along. */
static stk_status
greedy_init(greedy *g)
{
	const stk_sampler *s = &g->s;
	const stk_allocator *a = &s->exec->a;
	size_t threads = (size_t) stk_threads(s->exec->pool);
	const stk_kernel *kernel;
	double largest = 0;
	stk_status status =
		stk_pack_init(&g->pack, s->exec, STK_FILTER_BEST, true, (uint32_t) s->n, s->dim, false);

	if (status != STK_OK)
		return status;
	kernel = g->pack.kernel;
	g->rows = stk_alloc_array(a, MAX_TRIALS, s->dim * sizeof(float));
	g->distances = stk_alloc_array(a, MAX_TRIALS * s->n, sizeof(double));
	g->left = stk_alloc_array(a, threads * MAX_TRIALS, sizeof(uint64_t));
	if (!g->rows || !g->distances || !g->left)
		return STK_ENOMEM;
	if (kernel)
	{
		size_t tiles = (MAX_TRIALS + kernel->tile - 1) / kernel->tile;

		g->memory[0] = stk_alloc_array(a, tiles * kernel->tile_bytes(s->dim) + STK_ALIGN, 1);
		g->memory[1] =
			stk_alloc_array(a, threads * kernel->tile * TASK_POINTS * sizeof(float) + STK_ALIGN, 1);
		if (!g->memory[0] || !g->memory[1])
			return STK_ENOMEM;
		g->tiles = stk_align(g->memory[0]);
		g->scores = stk_align(g->memory[1]);
	}
	status = stk_pack_fill(&g->pack, s->x, s->exec->monitor);
	for (size_t i = 0; i < s->n; i++)
		largest = s->norms[i] > largest ? s->norms[i] : largest;
	/*
	 * A reference dot product is off by at most ceil(D / 8) + 5 steps of 2^-53 of the two norms'
	 * product, here at most `largest`. x.p, |p|^2 / 2, |x|^2 / 2 and centre.x count together three
	 * times that, and what is added to them a few steps more.
	 */
	g->slack = 8 * (ceil((double) s->dim / 8) + 5) * 0x1p-53 * largest;
	return status;
}

static void
greedy_free(greedy *g)
{
	const stk_allocator *a = &g->s.exec->a;

	if (g->pack.size > 0)
		stk_pack_free(&g->pack);
	stk_free(a, g->rows);
	stk_free(a, g->distances);
	stk_free(a, g->left);
	stk_free(a, g->memory[0]);
	stk_free(a, g->memory[1]);
	stk_sampler_free(&g->s);
}

/* Choose among the candidates of the rows' sampler, each weighing the rows nearest to it. */
static stk_status
choose_among(const stk_sampler *rows, const candidates *c, stk_kmeans *km, uint64_t seed, int level)
{
	const stk_allocator *a = &rows->exec->a;
	float *points = stk_alloc_array(a, c->count, rows->dim * sizeof(float));
	double *norms = stk_alloc_array(a, c->count, sizeof(double));
	double *weights = stk_alloc_array(a, c->count, sizeof(double));
	greedy g = {.trials = 0};
	stk_status status =
		stk_sampler_init(&g.s, rows->exec, points, norms, weights, c->count, rows->dim);

	if (!points || !norms || !weights)
		status = STK_ENOMEM;
	if (status == STK_OK)
	{
		for (size_t j = 0; j < c->count && status == STK_OK; j++)
		{
			if (j % BLOCK == 0 && stk_should_stop(rows->exec->monitor))
				status = STK_ECANCELED;
			memcpy(points + j * rows->dim, rows->x + c->rows[j] * rows->dim,
				   rows->dim * sizeof(float));
			norms[j] = rows->norms[c->rows[j]];
			weights[j] = 0;
		}
		for (size_t i = 0; i < rows->n; i++)
			weights[c->nearest[i]]++;
	}
	if (status == STK_OK && km->size > MAX_GREEDY)
		status = stk_sampler_draw_centroids(&g.s, km->centroids, km->size, seed, level);
	else if (status == STK_OK)
	{
		status = greedy_init(&g);
		if (status == STK_OK)
			status = choose_greedily(&g, km, seed, level);
	}
	greedy_free(&g);
	stk_free(a, points);
	stk_free(a, norms);
	stk_free(a, weights);
	return status;
}

stk_status
stk_kmeans_start_parallel(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
						  uint64_t seed, int level)
{
	const stk_allocator *a = &w->exec.a;
	candidates c = {.count = 0};
	stk_sampler s;
	stk_status status = stk_sampler_init(&s, &w->exec, x, w->norms, NULL, n, km->dim);

	s.work = w;
	c.nearest = stk_alloc_array(a, n, sizeof(uint32_t));
	c.block = stk_alloc_array(a, BLOCK, km->dim * sizeof(float));
	if (!c.nearest || !c.block)
		status = STK_ENOMEM;
	if (status == STK_OK)
		status = gather_candidates(&s, &c, km->size, seed, level);
	if (status == STK_OK)
		status = choose_among(&s, &c, km, seed, level);
	stk_sampler_free(&s);
	stk_free(a, c.rows);
	stk_free(a, c.nearest);
	stk_free(a, c.block);
	return status;
}
