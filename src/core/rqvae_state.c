/*
 * Everything that an RQ-VAE's training is between two steps, in memory and as bytes.
 *
 * As bytes, little-endian:
 *
 *    offset  size
 *    0       4     "STKV"
 *    4       4     version, 1
 *    8       8     numbers in all arrays together
 *    16      8     a hash of the plan's shape: layers, levels, sizes, what learns how
 *    24      8     step
 *    32      8     begin
 *    40      8     best_loss
 *    48      4     epoch
 *    52      4     best_epoch
 *    56      4     waited
 *    60      4     quantized: 0 or 1
 *    64            the arrays, in the order of place_arrays
 *    end - 8 8     a hash of everything before
 */
#include <math.h>
#include <string.h>

#include "philox.h"
#include "rqvae_impl.h"

#define VERSION 1
#define HEADER 64
#define TRAILER 8

/* FNV-1a of words of eight bytes, and of single bytes behind the last. */
static uint64_t
hash(uint64_t h, const void *bytes, size_t n)
{
	const uint8_t *at = bytes;
	size_t words = n / 8;

	for (size_t i = 0; i < words; i++)
	{
		uint64_t word;

		memcpy(&word, at + 8 * i, sizeof(word));
		h = (h ^ word) * 0x100000001b3;
		h ^= h >> 32;
	}
	for (size_t i = 8 * words; i < n; i++)
		h = (h ^ at[i]) * 0x100000001b3;
	return h;
}

#define HASH_BEGIN 0xcbf29ce484222325

/* What a state must have in common with a plan. */
static uint64_t
shape_hash(const stk_rqvae_shape *s)
{
	uint64_t h = HASH_BEGIN;

	for (int i = 0; i < s->n_encoder + s->n_decoder; i++)
	{
		const uint64_t layer[2] = {s->layers[i].in, s->layers[i].out};

		h = hash(h, layer, sizeof(layer));
	}
	for (int l = 0; l < s->levels; l++)
	{
		const uint64_t size = s->sizes[l];

		h = hash(h, &size, sizeof(size));
	}
	{
		const uint64_t rest[2] = {(uint64_t) s->n_encoder, s->trained};

		h = hash(h, rest, sizeof(rest));
	}
	return h;
}

/* Point the state's arrays into memory, doubles first; returns the bytes of all of them. */
static size_t
place_arrays(stk_rqvae_state *s, uint8_t *memory)
{
	const stk_rqvae_shape *shape = &s->shape;
	size_t at = 0;

#define PLACE(array, count)                                                                        \
	do                                                                                             \
	{                                                                                              \
		(array) = memory ? (void *) (memory + at) : NULL;                                          \
		at += (count) * sizeof(*(array));                                                          \
	} while (0)
	PLACE(s->counts, shape->codes);
	PLACE(s->sums, shape->codes * shape->latent);
	PLACE(s->idle, shape->codes);
	PLACE(s->mean, shape->inputs);
	PLACE(s->scale, shape->inputs);
	PLACE(s->parameters, shape->total);
	PLACE(s->first, shape->trained);
	PLACE(s->second, shape->trained);
	PLACE(s->average, shape->total);
	PLACE(s->best, shape->total);
#undef PLACE
	return at;
}

/* Linear's own way to begin: weights and biases uniform within 1 / sqrt(in). */
static void
draw_weights(stk_rqvae_state *s, uint64_t seed)
{
	const stk_rqvae_shape *shape = &s->shape;

	for (int i = 0; i < shape->n_encoder + shape->n_decoder; i++)
	{
		const stk_rqvae_layer *l = &shape->layers[i];
		size_t numbers = ((size_t) l->in + 1) * l->out;
		double bound = 1 / sqrt((double) l->in);

		for (size_t j = 0; j < numbers; j++)
		{
			uint64_t bits = stk_random(seed, STK_RANDOM_WEIGHT, i, 0, j);
			double u = ((double) (uint32_t) bits + 0.5) * 0x1p-32;

			s->parameters[l->weight + j] = (float) (bound * (2 * u - 1));
		}
	}
}

stk_status
stk_rqvae_state_init(stk_rqvae_state *s, const stk_train_plan *plan, const stk_allocator *a)
{
	size_t bytes;

	memset(s, 0, sizeof(*s));
	s->a = *a;
	stk_rqvae_shape_of(plan, &s->shape);
	bytes = place_arrays(s, NULL);
	s->memory = stk_alloc_array(a, bytes, 1);
	if (!s->memory)
		return STK_ENOMEM;
	memset(s->memory, 0, bytes);
	place_arrays(s, s->memory);
	for (size_t i = 0; i < s->shape.inputs; i++)
		s->scale[i] = 1;
	draw_weights(s, plan->seed);
	memcpy(s->average, s->parameters, s->shape.total * sizeof(float));
	s->best_loss = INFINITY;
	return STK_OK;
}

void
stk_rqvae_state_free(stk_rqvae_state *s)
{
	stk_free(&s->a, s->memory);
	s->memory = NULL;
}

void
stk_rqvae_state_copy(stk_rqvae_state *to, const stk_rqvae_state *from)
{
	const stk_rqvae_shape *shape = &from->shape;

	to->step = from->step;
	memcpy(to->counts, from->counts, shape->codes * sizeof(double));
	memcpy(to->sums, from->sums, shape->codes * shape->latent * sizeof(double));
	memcpy(to->idle, from->idle, shape->codes * sizeof(uint32_t));
	memcpy(to->parameters, from->parameters, shape->total * sizeof(float));
	memcpy(to->first, from->first, shape->trained * sizeof(float));
	memcpy(to->second, from->second, shape->trained * sizeof(float));
	memcpy(to->average, from->average, shape->total * sizeof(float));
}

void
stk_rqvae_state_again(stk_rqvae_state *s)
{
	s->begin = s->step;
	s->epoch = 0;
	s->best_loss = INFINITY;
	s->best_epoch = 0;
	s->waited = 0;
}

/* Bytes of all arrays of a state of this shape. */
static size_t
array_bytes(const stk_rqvae_shape *shape)
{
	stk_rqvae_state s = {.shape = *shape};

	return place_arrays(&s, NULL);
}

size_t
stk_rqvae_state_bytes(const stk_train_plan *plan)
{
	stk_rqvae_shape shape;

	stk_rqvae_shape_of(plan, &shape);
	return HEADER + array_bytes(&shape) + TRAILER;
}

/* The words of the header, in order. */
static void
header_of(const stk_rqvae_state *s, uint64_t words[HEADER / 8])
{
	words[0] = 0x564b5453 | (uint64_t) VERSION << 32;
	words[1] = array_bytes(&s->shape);
	words[2] = shape_hash(&s->shape);
	words[3] = s->step;
	words[4] = s->begin;
	memcpy(&words[5], &s->best_loss, sizeof(uint64_t));
	words[6] = s->epoch | (uint64_t) s->best_epoch << 32;
	words[7] = s->waited | (uint64_t) s->quantized << 32;
}

void
stk_rqvae_state_write(const stk_rqvae_state *s, uint8_t *out)
{
	size_t arrays = array_bytes(&s->shape);
	uint64_t words[HEADER / 8];
	uint64_t h;

	header_of(s, words);
	memcpy(out, words, HEADER);
	memcpy(out + HEADER, s->memory, arrays);
	h = hash(HASH_BEGIN, out, HEADER + arrays);
	memcpy(out + HEADER + arrays, &h, TRAILER);
}

/* Is every number of the arrays one that a training can go on from? */
static bool
arrays_are_sane(const stk_rqvae_state *s, const uint8_t *arrays)
{
	size_t doubles = s->shape.codes * (1 + (size_t) s->shape.latent);
	size_t floats_at = (size_t) ((const uint8_t *) s->mean - (const uint8_t *) s->memory);
	size_t scale_at = (size_t) ((const uint8_t *) s->scale - (const uint8_t *) s->memory);
	size_t end = array_bytes(&s->shape);
	double d;
	float f;

	for (size_t i = 0; i < doubles; i++)
	{
		memcpy(&d, arrays + i * sizeof(d), sizeof(d));
		if (!isfinite(d))
			return false;
	}
	for (size_t at = floats_at; at < end; at += sizeof(f))
	{
		memcpy(&f, arrays + at, sizeof(f));
		if (!isfinite(f))
			return false;
		if (at >= scale_at && at < scale_at + s->shape.inputs * sizeof(f) && !(f > 0))
			return false;
	}
	return true;
}

stk_status
stk_rqvae_state_read(stk_rqvae_state *s, const uint8_t *bytes, size_t n, stk_error *err)
{
	size_t arrays = array_bytes(&s->shape);
	uint64_t words[HEADER / 8];
	uint64_t expected[HEADER / 8];
	uint64_t h;
	double best_loss;

	if (n < HEADER)
		return stk_fail(err, STK_ECORRUPT, "state of a training is cut off");
	memcpy(words, bytes, HEADER);
	header_of(s, expected);
	if (words[0] != expected[0])
		return stk_fail(err, STK_ECORRUPT, "not a training's state of version %d", VERSION);
	if (words[1] != expected[1] || words[2] != expected[2])
		return stk_fail(err, STK_ECORRUPT, "state is that of a training of another shape");
	if (n != HEADER + arrays + TRAILER)
		return stk_fail(err, STK_ECORRUPT, "state of a training is cut off");
	memcpy(&h, bytes + HEADER + arrays, TRAILER);
	memcpy(&best_loss, &words[5], sizeof(best_loss));
	if (h != hash(HASH_BEGIN, bytes, HEADER + arrays) || words[7] >> 33 != 0 ||
		words[4] > words[3] || !(best_loss >= 0) || !arrays_are_sane(s, bytes + HEADER))
		return stk_fail(err, STK_ECORRUPT, "state of a training is damaged");

	memcpy(s->memory, bytes + HEADER, arrays);
	s->step = words[3];
	s->begin = words[4];
	s->best_loss = best_loss;
	s->epoch = (uint32_t) words[6];
	s->best_epoch = (uint32_t) (words[6] >> 32);
	s->waited = (uint32_t) words[7];
	s->quantized = words[7] >> 32 != 0;
	return STK_OK;
}

const float *
stk_rqvae_result(const stk_train_plan *plan, const stk_rqvae_state *s)
{
	if (plan->rqvae.patience > 0 && s->best_epoch > 0)
		return s->best;
	return plan->rqvae.average > 0 ? s->average : s->parameters;
}

/* Views of layers among parameters. */
static void
view_layers(const stk_rqvae_layer *from, int n, const float *parameters, stk_layer *to)
{
	for (int i = 0; i < n; i++)
		to[i] = (stk_layer){.in = from[i].in,
							.out = from[i].out,
							.weight = parameters + from[i].weight,
							.bias = parameters + from[i].bias};
}

void
stk_rqvae_codebook(const stk_train_plan *plan, const stk_rqvae_state *s, const float *parameters,
				   stk_codebook *cb)
{
	const stk_rqvae_shape *shape = &s->shape;
	stk_network *net = &cb->network;

	memset(cb, 0, sizeof(*cb));
	cb->metric = plan->metric;
	cb->levels = shape->levels;
	cb->dim = (int) shape->latent;
	for (int l = 0; l < shape->levels; l++)
	{
		cb->sizes[l] = shape->sizes[l];
		cb->codewords[l] = stk_rqvae_codewords(shape, parameters, l);
	}
	net->inputs = shape->inputs;
	net->activation = plan->rqvae.activation;
	net->n_encoder = shape->n_encoder;
	net->n_decoder = shape->n_decoder;
	view_layers(shape->layers, shape->n_encoder, parameters, net->encoder);
	view_layers(shape->layers + shape->n_encoder, shape->n_decoder, parameters, net->decoder);
	if (plan->rqvae.standardize == STK_RQVAE_AS_IS)
		return;
	net->standardized = true;
	net->mean = s->mean;
	net->scale = s->scale;
}
