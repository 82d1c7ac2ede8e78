/*
 * What runners tell the loop: that a training got on, and that a launch has ended. The loop waits
 * for it with everything else, by a descriptor.
 */
#ifndef STK_OUTBOX_H
#define STK_OUTBOX_H

#include "worker/launch.h"

typedef struct stk_outbox stk_outbox;

/* One thing told. */
typedef struct stk_letter
{
	struct stk_letter *next;
	stk_launch *launch;
	size_t bytes;      /* of a message for the launch's client; 0: the launch has ended */
	uint8_t message[]; /* [bytes] */
} stk_letter;

/*
 * patience_ms: how long a report waits for its reader before its launch is given up. STK_ENOMEM; it
 * lives as long as the program.
 */
extern stk_status stk_outbox_create(uint64_t patience_ms, stk_outbox **out);

/* Reports of a launch that may be unread before it waits. */
#define STK_OUTBOX_UNREAD 64

/* Can be read from when letters are there. */
extern int stk_outbox_fd(const stk_outbox *o);

/*
 * For runners. A report waits while too many of this launch's are unread; a launch whose reports
 * nobody reads for long is cancelled, and `unheard`.
 */
extern void stk_outbox_report(stk_outbox *o, stk_launch *l, const stk_train_report *r);
extern void stk_outbox_ended(stk_outbox *o, stk_launch *l);

/* For the loop: all letters, oldest first, its to free; NULL = none. Clears the descriptor. */
extern stk_letter *stk_outbox_take(stk_outbox *o);
/* So many reports have been sent, so that their runner may go on. */
extern void stk_outbox_read(stk_outbox *o, stk_launch *l, unsigned reports);
/* Nobody waits for this launch any more. */
extern void stk_outbox_cancel(stk_outbox *o, stk_launch *l);

#endif
