/*
 * The worker's memory, counted: what is cached, what requests bring and what computations take all
 * come out of one budget. Any thread may call any of this.
 */
#ifndef STK_BUDGET_H
#define STK_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "core/alloc.h"
#include "core/status.h"

typedef struct stk_budget stk_budget;

/*
 * Called, without a lock of the budget's, when a reservation lacks `missing` bytes: give back so
 * much that nobody needs now. Returns whether it gave back anything.
 */
typedef bool (*stk_budget_shortage)(void *ctx, uint64_t missing);

/* STK_ENOMEM; free with stk_budget_free once nothing is reserved. */
extern stk_status stk_budget_create(uint64_t limit, stk_budget **out);
extern void stk_budget_free(stk_budget *b);
/* Whom to ask for room; NULL = nobody. While no other thread reserves. */
extern void stk_budget_set_shortage(stk_budget *b, stk_budget_shortage shortage, void *ctx);

/* What is reserved beyond a lower limit stays so until it is released, or given back now. */
extern void stk_budget_set_limit(stk_budget *b, uint64_t limit);
extern uint64_t stk_budget_limit(stk_budget *b);
extern uint64_t stk_budget_used(stk_budget *b);

/*
 * Take bytes, or nothing and return false: there is no room now. Never waits. More than
 * stk_budget_limit has no room ever; less has none, either, while nothing but what is reserved for
 * good is left.
 */
extern bool stk_budget_reserve(stk_budget *b, uint64_t bytes);
extern void stk_budget_release(stk_budget *b, uint64_t bytes);

/*
 * A reservation to allocate from: by one thread at a time, as core does.
 *
 * It holds the bytes that it was opened with, or what is allocated where that is more. An
 * allocation beyond takes from the budget and fails where that has no room.
 */
typedef struct stk_purse
{
	stk_budget *budget;
	uint64_t base; /* held in any case */
	uint64_t used; /* allocated, with what allocating itself takes */
} stk_purse;

/*
 * False when there is no room now, and *p is then not open. The purse stays where it is till
 * closed.
 */
extern bool stk_purse_open(stk_purse *p, stk_budget *b, uint64_t bytes);
/* Everything allocated from it has been freed. */
extern void stk_purse_close(stk_purse *p);
extern stk_allocator stk_purse_allocator(stk_purse *p);
/* Bytes of the budget that it holds. */
extern uint64_t stk_purse_held(const stk_purse *p);

#endif
