#include "worker/protocol.h"

uint64_t
stk_train_result_bytes(const stk_train_plan *plan)
{
	uint64_t codewords = 0;

	for (int l = 0; l < plan->levels; l++)
		codewords += plan->sizes[l];
	return codewords * ((uint64_t) plan->dim * sizeof(float) + sizeof(double));
}
