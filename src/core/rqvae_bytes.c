/*
 * How much memory an RQ-VAE's training takes, before it begins.
 */
#include "method.h"
#include "rqvae_impl.h"

/* What sorting rows by content takes for each. */
#define SORT_BYTES (sizeof(size_t) + 40)

/* A network that looks forward, on as many of n rows as are taken at a time. */
static size_t
forward_bytes(const stk_train_plan *plan, const stk_rqvae_shape *shape, size_t n, int threads)
{
	return stk_rqvae_net_bytes(plan, shape, stk_smaller(n, STK_RQVAE_PIECE), false, threads);
}

/* Choosing codewords: a sample's latent vectors, and k-means of them. */
static size_t
choice_bytes(const stk_forecast *latent, const stk_rqvae_shape *shape)
{
	size_t bytes = stk_times(latent->n, latent->dim * sizeof(float) + sizeof(uint16_t));

	bytes = stk_plus(bytes, forward_bytes(latent->plan, shape, latent->n, (int) latent->threads));
	return stk_plus(bytes, stk_method_rqkmeans.bytes(latent));
}

size_t
stk_rqvae_train_bytes(const stk_train_plan *plan, size_t n, size_t heldout_n, int threads)
{
	stk_train_plan kmeans = *plan;
	stk_rqvae_shape shape;
	stk_forecast f = {.plan = &kmeans, .threads = (size_t) threads};
	size_t bytes, epochs, measuring;

	stk_rqvae_shape_of(plan, &shape);
	kmeans.dim = (int) shape.latent;
	kmeans.batch_size = 0;
	kmeans.empty = STK_EMPTY_FARTHEST;
	f.n = f.batch = stk_rqvae_sample_rows(plan, n);
	f.dim = shape.latent;
	f.levels = (size_t) shape.levels;
	f.total = shape.codes;
	for (int l = 0; l < shape.levels; l++)
		f.largest = stk_larger(f.largest, shape.sizes[l]);

	/* Batches, codes and losses of an epoch; the device's state and network. */
	bytes = stk_times(n, sizeof(size_t) + f.levels * sizeof(uint16_t) + sizeof(stk_rqvae_pace) +
							 sizeof(stk_rqvae_loss));
	f.batch = plan->batch_size > 0 ? stk_smaller((size_t) plan->batch_size, n) : n;
	epochs = stk_plus(stk_rqvae_state_bytes(plan),
					  stk_rqvae_net_bytes(plan, &shape, f.batch, true, threads));
	epochs = stk_plus(epochs, stk_plus(stk_forecast_tasks(&f), stk_times(f.batch, 64)));
	epochs = stk_plus(epochs, stk_times(f.levels, stk_forecast_pack(&f, f.largest)));
	measuring = stk_plus(forward_bytes(plan, &shape, heldout_n, threads),
						 stk_times(heldout_n, 5 * f.levels + 64));
	measuring =
		stk_plus(measuring, stk_plus(stk_forecast_tasks(&f), stk_forecast_pack(&f, f.total)));
	f.batch = f.n;
	epochs = stk_plus(epochs, stk_larger(measuring, choice_bytes(&f, &shape)));
	return stk_larger(stk_plus(bytes, epochs), stk_times(n, SORT_BYTES));
}
