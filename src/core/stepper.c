/*
 * One step of a beam for a model outside, whose logits come in rows.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "beam_step.h"
#include "draws.h"
#include "fpenv.h"
#include "terms.h"

struct stk_stepper
{
	stk_decode_options options;
	stk_allocator a;
	beam_step step;
	terms terms;
	terms_row *rows; /* of the step under way; one for all where there is one */
	size_t n_rows;
	size_t rows_room;
	const stk_beam *beams;
	stk_beam *out; /* best first */
	size_t out_room;
	uint32_t *path; /* beams' numbers in the order of their paths */
	uint32_t *place;
	size_t order_room;
};

static const terms_row *
row_of(const stk_stepper *s, size_t beam)
{
	return &s->rows[s->n_rows > 1 ? beam : 0];
}

static stk_status
score(void *ctx, const stk_beam *parent, size_t beam, const stk_child *children, size_t n,
	  double **cost, const uint32_t **member)
{
	stk_stepper *s = ctx;
	double prefix = 0.0 - parent->score;
	stk_status status = terms_of_children(&s->terms, s->options.norm, row_of(s, beam), children, n);

	if (status == STK_OK)
		status = terms_truncate(&s->terms, s->terms.cost, n);
	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < n; i++)
		s->terms.cost[i] = prefix + s->terms.cost[i];
	*cost = s->terms.cost;
	*member = NULL;
	return STK_OK;
}

static double
least(void *ctx, const stk_beam *parent, size_t beam)
{
	return 0.0 - parent->score + row_of(ctx, beam)->least;
}

static stk_status
flags(void *ctx, const stk_child *child, int levels, uint32_t member, uint8_t *out)
{
	(void) ctx;
	(void) member;
	*out = child->flags;
	if (levels + (child->flags & STK_CHILD_TAIL ? child->tail_len : 0) > STK_MAX_LEVELS)
		return STK_ECORRUPT;
	return STK_OK;
}

stk_status
stk_stepper_create(stk_stepper **out, stk_trie *trie, const stk_decode_options *options,
				   const stk_allocator *a, stk_error *err)
{
	stk_stepper *s;
	stk_status status = stk_decode_check(options, err);

	*out = NULL;
	if (status != STK_OK)
		return status;
	if (options->temperature > 0 && options->sampler == STK_SAMPLER_GUMBEL &&
		options->norm != STK_NORM_MASKED)
		return stk_fail(err, STK_EINVAL, "sampling by a model outside needs norm masked, not %s",
						stk_norm_name(options->norm));
	s = stk_alloc_array(a, 1, sizeof(*s));
	if (!s)
		return STK_ENOMEM;
	memset(s, 0, sizeof(*s));
	s->options = *options;
	s->a = *a;
	terms_init(&s->terms, &s->options, a);
	beam_step_init(&s->step, trie, options->beam_size, &(beam_rules){NULL, score, least, flags, s},
				   &s->options, a);
	*out = s;
	return STK_OK;
}

void
stk_stepper_free(stk_stepper *s)
{
	if (!s)
		return;

	stk_allocator a = s->a;

	beam_step_free(&s->step);
	terms_free(&s->terms);
	stk_free(&a, s->rows);
	stk_free(&a, s->out);
	stk_free(&a, s->path);
	stk_free(&a, s->place);
	stk_free(&a, s);
}

void
stk_stepper_set_stream(stk_stepper *s, uint64_t stream)
{
	s->options.stream = stream;
}

bool
stk_stepper_dropped(stk_stepper *s)
{
	bool dropped = s->step.dropped;

	s->step.dropped = false;
	return dropped;
}

stk_status
stk_stepper_seek(stk_stepper *s, const stk_root *root, const uint16_t *codes, int n, bool *found,
				 stk_beam *beam)
{
	stk_status status = stk_seek(s->step.trie, root->node, codes, n, found, &beam->at);

	beam->score = 0;
	beam->key = 0;
	beam->draw = 0;
	beam->parent = 0;
	beam->member = 0;
	beam->id.tokenizer = root->tokenizer;
	beam->id.levels = n;
	if (n > 0)
		memcpy(beam->id.codes, codes, (size_t) n * sizeof(uint16_t));
	if (status == STK_OK && s->options.temperature > 0)
	{
		stk_fpenv env = stk_fpenv_enter();
		stk_draw draw = stk_draw_root(s->options.seed, s->options.stream, root->tokenizer);

		if (n == 0 && s->options.sampler == STK_SAMPLER_GUMBEL)
			beam->key = draw.gumbel;
		for (int l = 0; l < n; l++)
			draw = stk_draw_child(s->options.seed, draw.state, l, codes[l]);
		beam->draw = draw.state;
		stk_fpenv_leave(env);
	}
	return status;
}

/* Read the rows of logits. */
static stk_status
read_rows(stk_stepper *s, size_t n, const float *logits, size_t stride, uint32_t size,
		  stk_error *err)
{
	s->n_rows = stride == 0 ? 1 : n;
	if (s->n_rows > s->rows_room)
	{
		terms_row *grown = stk_realloc_array(&s->a, s->rows, s->n_rows, sizeof(terms_row));

		if (!grown)
			return STK_ENOMEM;
		s->rows = grown;
		s->rows_room = s->n_rows;
	}
	for (size_t i = 0; i < s->n_rows; i++)
	{
		uint32_t code = 0;
		stk_status status = terms_read_row(&s->terms, s->options.norm, logits + i * stride, size,
										   &s->rows[i], &code);

		if (status != STK_OK && err)
			err->row = i;
		if (status != STK_OK)
			return stk_fail(err, status, "logit of code %u is %s", code,
							logits[i * stride + code] > 0 ? "infinity" : "NaN");
	}
	return STK_OK;
}

typedef struct numbered
{
	const stk_beam *beam;
	uint32_t number;
} numbered;

static int
compare_numbered(const void *x, const void *y)
{
	const numbered *p = x;
	const numbered *q = y;
	int c = beam_compare_paths(&p->beam->id, &q->beam->id);

	return c != 0 ? c : (p->number > q->number) - (p->number < q->number);
}

/* Put the beams into the order of their paths. */
static stk_status
sort_paths(stk_stepper *s, const stk_beam *beams, size_t n)
{
	numbered *sorted;

	if (n > s->order_room)
	{
		void *grown = stk_realloc_array(&s->a, s->path, n, sizeof(uint32_t));

		if (!grown)
			return STK_ENOMEM;
		s->path = grown;
		grown = stk_realloc_array(&s->a, s->place, n, sizeof(uint32_t));
		if (!grown)
			return STK_ENOMEM;
		s->place = grown;
		s->order_room = n;
	}
	sorted = stk_alloc_array(&s->a, n, sizeof(numbered));
	if (!sorted)
		return STK_ENOMEM;
	for (size_t i = 0; i < n; i++)
		sorted[i] = (numbered){&beams[i], (uint32_t) i};
	qsort(sorted, n, sizeof(numbered), compare_numbered);
	for (size_t i = 0; i < n; i++)
	{
		s->path[i] = sorted[i].number;
		s->place[sorted[i].number] = (uint32_t) i;
	}
	stk_free(&s->a, sorted);
	return STK_OK;
}

/* Hand the survivors out, best first. */
static stk_status
sort_out(stk_stepper *s)
{
	size_t n = s->step.n_out;

	if (n > s->out_room)
	{
		stk_beam *grown = stk_realloc_array(&s->a, s->out, n, sizeof(stk_beam));

		if (!grown)
			return STK_ENOMEM;
		s->out = grown;
		s->out_room = n;
	}
	for (size_t i = 0; i < n; i++)
		s->out[i] = s->step.out[s->step.best[i]];
	return STK_OK;
}

stk_status
stk_stepper_step(stk_stepper *s, const stk_beam *beams, size_t n, const float *logits,
				 size_t stride, uint32_t size, const stk_beam **out, size_t *n_out, stk_error *err)
{
	stk_fpenv env;
	stk_status status;

	*out = NULL;
	*n_out = 0;
	if (n == 0)
		return STK_OK;
	if (n > UINT32_MAX)
		return STK_ERANGE;
	env = stk_fpenv_enter();
	status = read_rows(s, n, logits, stride, size, err);
	if (status == STK_OK)
		status = sort_paths(s, beams, n);
	if (status == STK_OK)
		status = beam_step_run(&s->step, beams, n, s->path, s->place, NULL);
	if (status == STK_OK)
		status = sort_out(s);
	stk_fpenv_leave(env);
	if (status == STK_OK)
	{
		*out = s->out;
		*n_out = s->step.n_out;
	}
	return status;
}
