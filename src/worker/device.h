/*
 * The device beside the cores: opening it, choosing between the two, and what follows when it
 * fails. The loop's thread.
 */
#ifndef STK_WORKER_DEVICE_H
#define STK_WORKER_DEVICE_H

#include "worker/server.h"

/*
 * Open the engine of these devices ("none", "all", "0,1"), which is a library beside this program,
 * and log what is wrong with it. NULL where there is none; why says why, or which device is left
 * out.
 */
extern stk_engine *stk_device_find(stk_engine *cores, const char *devices, char *why, size_t size);

/* The same as the settings say. Without one the cores compute. */
extern void stk_device_open(stk_server *s);

/* Does some device compute? Writes the reason why not to why, which may be NULL. */
extern bool stk_device_usable(const stk_server *s, char *why, size_t size);

/* Which engine is to compute this: what the client wants, or what is sooner done. */
extern stk_engine *stk_device_for_encode(const stk_server *s, const stk_codebook *cb,
										 const stk_encode *m);
/* work: of all its queries, in multiply-adds of one thread. */
extern stk_engine *stk_device_for_search(const stk_server *s, const stk_search_message *m,
										 double work);
extern stk_engine *stk_device_for_train(const stk_server *s, const stk_train_message *m);

/*
 * Count and log what a launch that has ended left to the cores, and notice a device that has
 * failed.
 */
extern void stk_device_report(stk_server *s, const stk_launch *l);

/*
 * A device has failed: is this a moment to end, so that a new process has it again? Nothing runs or
 * waits, and the rest that the settings name is over.
 */
extern bool stk_device_begins_anew(const stk_server *s);

#endif
