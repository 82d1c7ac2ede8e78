/*
 * What the loop's thread knows: settings, sessions, jobs that wait and run, counts. Nothing here is
 * touched by another thread.
 */
#ifndef STK_SERVER_H
#define STK_SERVER_H

#include "worker/outbox.h"
#include "worker/queue.h"
#include "worker/runner.h"
#include "worker/speed.h"

/* Requests that a client may have on their way. */
#define STK_WINDOW 8

typedef struct stk_settings
{
	const char *listen_path; /* NULL: private, the one client is descriptor 0 */
	uint32_t threads;
	uint64_t memory;
	uint32_t batch_max;
	uint32_t batch_wait_us;
	const char *cuda_devices; /* "all", "none", or numbers */
	uint32_t device_rest;     /* s to go on without a device that has failed */
} stk_settings;

/* A client, or who controls us. */
typedef struct stk_session
{
	struct stk_session *next; /* in the server's list */
	struct stk_session *prev;
	stk_connection connection;
	bool control; /* descriptor 0 */
	bool greeted;
	bool ended;   /* to be closed by the loop */
	bool touched; /* it is on the list of those that the loop looks at next */
	struct stk_session *touched_next;
	uint32_t interest;         /* events that the loop waits for */
	uint64_t last_request;     /* number of the latest */
	stk_job *jobs[STK_WINDOW]; /* not yet answered, oldest first */
	unsigned njobs;
	stk_message parked; /* a request beyond the window */
	bool has_parked;
	stk_seat seats[STK_CLASSES];
} stk_session;

/* Reasons for doing without a device that are remembered: different work meets different ones. */
#define STK_TOLD 4

typedef struct stk_server
{
	stk_settings settings;
	stk_shop shop;
	stk_runners *runners;
	stk_team *team;
	stk_speeds speeds;
	char no_device[STK_TEXT_BYTES]; /* why there is none */
	uint64_t device_failed_ns;      /* when a device failed, monotonic; 0 = not */

	int epoll;
	int timer;           /* for batch_wait_us */
	int listener;        /* -1 = none */
	bool short_of_files; /* the latest client could not be accepted */
	bool deaf;           /* the listener is not waited for: descriptors are short */
	stk_session *sessions;
	stk_session *touched; /* something has changed about them */
	unsigned nsessions;
	unsigned max_sessions;
	bool ending;

	stk_queue queues[STK_CLASSES];
	bool blocked[STK_CLASSES]; /* there was no room; until a launch ends */
	unsigned running;          /* launches */
	unsigned cancelled;        /* of these, whose clients have gone */
	uint64_t train_bytes;      /* that running trainings take */
	stk_purse purse;           /* for what the loop computes itself */

	uint64_t requests;
	uint64_t batches;
	uint64_t rows;
	uint64_t searches;
	uint64_t failures;
	uint64_t fallbacks;           /* from the device to the cores */
	char fallback[STK_TOLD][160]; /* the reasons that the log was told last */
	unsigned told;                /* of so many, all in all */
	char last_error[STK_TEXT_BYTES];

	uint8_t scratch[STK_HEADER_BYTES + STK_BODY_MAX]; /* a message being written */
} stk_server;

/* Monotonic. */
extern uint64_t stk_now_ns(void);

#endif
