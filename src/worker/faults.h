/*
 * Faults on purpose: what semtokd does wrong in the tests, and at which step of its protocol.
 *
 * Only a build with SEMTOK_FAULTS has them, which is made beside the real one and never installed.
 * In any other the macros below are nothing, and faults.c is not linked.
 *
 * Such a build obeys the file "semtok_faults" in its working directory (the server's data
 * directory), at any time; without one it does nothing wrong. A fault a line:
 *
 *     STEP[:KIND] FAULT [first=N] [last=N] [every=N] [ms=N] [control]
 *
 * A pass through the step counts when the message is of the kind (any, when none is named) and
 * comes or goes by a client's connection (with `control`: by the supervisor's). Passes are counted
 * from 1 over all processes, in "semtok_faults.LINE"; those from first to last, and of them every
 * so many, meet the fault, which is noted in "semtok_faults.met", a line each: LINE, STEP and
 * FAULT.
 */
#ifndef STK_FAULTS_H
#define STK_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the file: the same in lower case. */
typedef enum stk_step
{
	STK_STEP_START,      /* the arguments are read; without a kind */
	STK_STEP_ACCEPT,     /* a client has connected to the listening socket; without a kind */
	STK_STEP_HEADER,     /* a header was read */
	STK_STEP_DESCRIPTOR, /* the descriptor of a file came with it */
	STK_STEP_BODY,       /* the body, too */
	STK_STEP_COMPUTE,    /* about to compute, on the thread that does */
	STK_STEP_COMPUTING,  /* there, whenever the computation asks whether to go on */
	STK_STEP_COMPUTED,   /* there; nothing of the result is written yet */
	STK_STEP_ANSWER,     /* a message goes out: the only step that has the faults of messages */
	STK_STEP_ANSWERED    /* it is written, or queued to be */
} stk_step;

#ifdef SEMTOK_FAULTS

extern void stk_fault(stk_step step, int kind, bool control);
extern void stk_fault_answer(int fd, uint8_t *message, size_t *bytes, bool control);
extern void stk_fault_result(int kind, void *data, size_t bytes);
extern bool stk_fault_memory(void);
extern bool stk_fault_disk(void);
extern bool stk_fault_fast_device(void);

/* kind: of the message that came in; 0 where there is none. */
#define STK_FAULT(step, kind, control) stk_fault(step, kind, control)
/*
 * A message [*bytes], in a buffer of STK_HEADER_BYTES + STK_BODY_MAX, is about to be written to fd,
 * behind nothing that waits. 0 bytes are left when it is not to be.
 */
#define STK_FAULT_ANSWER(fd, message, bytes, control) stk_fault_answer(fd, message, bytes, control)
/* What was computed for a request of this kind, codes or a codebook, is about to be written. */
#define STK_FAULT_RESULT(kind, data, bytes) stk_fault_result(kind, data, bytes)
/* Is there no memory left? */
#define STK_FAULT_MEMORY() stk_fault_memory()
/* Is there no room for a result in the file? */
#define STK_FAULT_DISK() stk_fault_disk()
/* Is any device to count as the faster one? Where there is a file "semtok_fast_device". */
#define STK_FAULT_FAST_DEVICE() stk_fault_fast_device()

#else

#define STK_FAULT(step, kind, control) ((void) 0)
#define STK_FAULT_ANSWER(fd, message, bytes, control) ((void) 0)
#define STK_FAULT_RESULT(kind, data, bytes) ((void) 0)
#define STK_FAULT_MEMORY() false
#define STK_FAULT_DISK() false
#define STK_FAULT_FAST_DEVICE() false

#endif

#endif
