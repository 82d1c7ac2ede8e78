/*
 * What semtokd and its clients say to each other, over a stream socket on one machine.
 *
 * A message is a header and a body of up to STK_BODY_MAX bytes, all numbers little-endian. Data
 * that does not fit into a body is in a file, whose descriptor comes with the first byte of the
 * request's header (SCM_RIGHTS): the client's, who has written the input there and made room for
 * the output. Both sides only pread and pwrite it; nobody maps what another process can cut short.
 *
 * A client numbers its requests from 1 upwards; everything that answers one bears its number.
 * Several may be on their way at once, up to the window that the worker's welcome names: one that
 * sends more is not read until some are answered. A request is answered by exactly one message
 * other than STK_MSG_PROGRESS. The worker drops what a client has asked for when the client goes.
 *
 * Nothing that comes in is believed: stk_read_* check every length, number, enum and product, so
 * that what they return can be computed with. Whether data in a file is really there is found on
 * reading. A message that they refuse ends the connection.
 *
 * Room is left for kinds to come: a kind that is not known is answered by STK_FAILED_REQUEST.
 */
#ifndef STK_PROTOCOL_H
#define STK_PROTOCOL_H

#include <stdbool.h>

#include "core/codebook.h"
#include "core/query.h"
#include "core/train.h"

#define STK_PROTOCOL_VERSION 1
#define STK_PROTOCOL_MAGIC 0x314b5453u /* "STK1" */

#define STK_HEADER_BYTES 24
/* Data of a request or an answer that comes in its body. */
#define STK_INLINE_MAX 65536
#define STK_BODY_MAX (STK_INLINE_MAX + 8192)
#define STK_HASH_BYTES 32 /* SHA-256 of a stored form */
#define STK_TEXT_BYTES 96
/* Rows of one encode request. */
#define STK_ENCODE_MAX_ROWS 1048576
/* Beams that a request may ask for. */
#define STK_ENCODE_MAX_BEAM 4096
/* Queries of one search request, ids that it may ask for, and bytes of their terms. */
#define STK_SEARCH_MAX_QUERIES 65536
#define STK_SEARCH_MAX_IDS 1000000
#define STK_SEARCH_MAX_BYTES ((uint64_t) 1 << 30)
/* Places for the states of a training. */
#define STK_TRAIN_STATES 2
#define STK_MAX_THREADS 1024
#define STK_MAX_WINDOW 1024
#define STK_MAX_BATCH 65536
#define STK_MAX_BATCH_WAIT_US 1000000

/* Exit status of a worker that ends because its device may be well again in a new process. */
#define STK_EXIT_DEVICE 4

typedef enum stk_kind
{
	/* to the worker */
	STK_MSG_HELLO = 1, /* first on every connection -> WELCOME */
	STK_MSG_PING = 2,  /* -> PONG, whatever else is being computed */
	STK_MSG_STATISTICS = 3 /* -> STATISTICS_ARE */,
	STK_MSG_CONFIGURE = 4, /* on descriptor 0 only -> DONE */
	STK_MSG_LOAD = 5,      /* keep a codebook -> DONE */
	STK_MSG_ENCODE = 6,    /* -> CODES, or MISSING: LOAD the codebook and ask again */
	STK_MSG_TRAIN = 7,     /* -> PROGRESS ..., TRAINED */
	STK_MSG_TRIE = 8,      /* keep the trie of a set: as LOAD -> DONE */
	STK_MSG_SEARCH = 9,    /* -> FOUND, or MISSING: send the TRIE and ask again */

	/* from the worker */
	STK_MSG_WELCOME = 129,
	STK_MSG_PONG = 130,
	STK_MSG_STATISTICS_ARE = 131,
	STK_MSG_DONE = 132,    /* without a body */
	STK_MSG_MISSING = 133, /* without a body */
	STK_MSG_CODES = 134,
	STK_MSG_PROGRESS = 135,
	STK_MSG_TRAINED = 136,
	STK_MSG_FAILED = 137,
	STK_MSG_FOUND = 138
} stk_kind;

typedef struct stk_header
{
	uint16_t kind; /* of a stk_kind, or one to come */
	bool with_file;
	uint64_t request;
	uint32_t bytes; /* of the body, <= STK_BODY_MAX */
} stk_header;

/* Where data is; all zero: there is none. */
typedef struct stk_data
{
	bool in_file;
	uint64_t offset;       /* in the file, a multiple of 8; else 0 */
	uint64_t bytes;        /* offset + bytes <= INT64_MAX */
	const uint8_t *inside; /* in the body, when not in_file; not aligned */
} stk_data;

/* Which engine is wanted. */
typedef enum stk_device
{
	STK_DEVICE_AUTO = 0,
	STK_DEVICE_CPU = 1,
	STK_DEVICE_CUDA = 2
} stk_device;

/* Texts are zero-terminated and printable. */
typedef struct stk_hello
{
	uint16_t version;
	char program[STK_TEXT_BYTES]; /* semtok's version */
} stk_hello;

typedef struct stk_welcome
{
	uint16_t version;
	char program[STK_TEXT_BYTES];
	uint32_t pid;
	uint32_t threads;
	uint32_t window; /* requests that a client may have on their way, 1 .. STK_MAX_WINDOW */
	uint64_t memory; /* budget, bytes */
	double rate;     /* multiply-adds a second, one thread, measured at start; > 0 */
	char engine[STK_TEXT_BYTES]; /* that computes large work */
	char device[STK_TEXT_BYTES];
	bool cuda;                    /* a CUDA device can be asked for now */
	char no_cuda[STK_TEXT_BYTES]; /* why not; empty when it can */
} stk_welcome;

typedef enum stk_work_state
{
	STK_WORK_NONE = 0, /* nothing of this client's is left to do */
	STK_WORK_QUEUED = 1,
	STK_WORK_RUNNING = 2
} stk_work_state;

/* How the client's oldest request does. */
typedef struct stk_pong
{
	stk_work_state state;
	uint64_t request; /* 0 when there is none */
	uint64_t ticks;   /* rises as the computation gets on */
} stk_pong;

typedef struct stk_statistics
{
	uint32_t pid;
	uint32_t threads;
	uint32_t clients;
	uint32_t queued;
	uint32_t running;
	uint32_t codebooks; /* in the cache */
	uint64_t tries;     /* there, too */
	uint64_t cache_bytes;
	uint64_t memory_used; /* cache, requests and computations together */
	uint64_t memory;      /* budget */
	uint64_t requests;    /* answered, of all kinds that compute */
	uint64_t batches;     /* launches of the engine; fewer than requests where some were gathered */
	uint64_t rows;        /* encoded or trained on */
	uint64_t searches;    /* queries that were searched for */
	uint64_t failures;    /* answered by STK_MSG_FAILED */
	uint64_t fallbacks;   /* launches that were meant for a device and went to the cores */
	uint64_t device_memory;       /* bytes of the devices' memory that it takes */
	uint64_t device_memory_limit; /* that it allows itself; 0: no device */
	char engine[STK_TEXT_BYTES];
	char device[STK_TEXT_BYTES];
	char last_error[STK_TEXT_BYTES]; /* empty: none so far */
} stk_statistics;

typedef struct stk_configure
{
	uint32_t threads;       /* 1 .. STK_MAX_THREADS */
	uint64_t memory;        /* budget, bytes */
	uint32_t batch_max;     /* requests of a launch, 1 .. STK_MAX_BATCH */
	uint32_t batch_wait_us; /* to wait for more, .. STK_MAX_BATCH_WAIT_US; 0 = take what is there */
} stk_configure;

typedef struct stk_load
{
	uint8_t hash[STK_HASH_BYTES];
	stk_data data; /* the stored form of a codebook, or of a set */
} stk_load;

typedef struct stk_encode
{
	uint8_t hash[STK_HASH_BYTES];
	stk_device device;
	int beam;
	int dim;
	int levels;
	uint32_t n;        /* 1 .. STK_ENCODE_MAX_ROWS */
	stk_data rows;     /* [n][dim] binary32 */
	uint64_t codes_at; /* in the file, when [n][levels] uint16 are more than STK_INLINE_MAX */
} stk_encode;

typedef struct stk_codes
{
	stk_data codes;
} stk_codes;

/* Beam searches of one shape; the numbers are stk_search_batch's. */
typedef struct stk_search_message
{
	uint8_t hash[STK_HASH_BYTES]; /* of the trie */
	stk_device device;
	uint32_t n; /* queries */
	int levels;
	uint32_t sizes[STK_MAX_LEVELS];
	uint32_t tokenizer;
	stk_norm norm;
	uint32_t beam_size;
	uint32_t k;
	int width;
	stk_data terms;    /* [n][sum of sizes] binary64 costs; norm masked: binary32 logits */
	uint64_t found_at; /* in the file, when what is found is more than STK_INLINE_MAX */
} stk_search_message;

/* What was found, laid out as found.h says. */
typedef struct stk_found
{
	stk_data found;
} stk_found;

typedef struct stk_train_message
{
	stk_train_plan plan;
	stk_device device;
	uint64_t n;         /* >= 1 */
	uint64_t heldout_n; /* 0 = none */
	stk_data rows;      /* [n][dim] binary32 */
	stk_data heldout;   /* [heldout_n][dim] */
	stk_data start;     /* with plan.resume: as the result; else no bytes */
	uint64_t result_at; /* in the file, when the result is more than STK_INLINE_MAX */
	/*
	 * With plan.checkpoint_every, in the file: places for STK_TRAIN_STATES states, each as long as
	 * the result, which are written in turn. A report names the one that has just been written; one
	 * who reads it late may find a later state there, or half of one: a state shows whether it is
	 * whole.
	 */
	uint64_t states_at;
} stk_train_message;

typedef struct stk_trained
{
	stk_evaluation rows;
	stk_evaluation heldout;
	/* Codewords [sum of sizes][dim] binary32, then counts [sum of sizes] binary64; or the state. */
	stk_data result;
} stk_trained;

typedef enum stk_failure
{
	STK_FAILED_COMPUTATION = 1, /* status, which, row, level and message are core's */
	STK_FAILED_MEMORY = 2,      /* more than the worker's budget, whenever it is asked */
	STK_FAILED_DATA = 3,        /* the file could not be read or written */
	STK_FAILED_REQUEST = 4,     /* not understood */
	STK_FAILED_DEVICE = 5,      /* device cuda was asked for, and is not here or has failed */
	STK_FAILED_ENDING = 6       /* the worker is about to end */
} stk_failure;

typedef struct stk_failed
{
	stk_failure failure;
	stk_status status;
	stk_train_which which;
	uint64_t row; /* UINT64_MAX = none */
	int level;    /* -1 = none */
	char message[160];
} stk_failed;

/*
 * Bytes of a training's result; 0 at overflow, which no plan that stk_train_check passes comes to.
 */
extern uint64_t stk_train_result_bytes(const stk_train_plan *plan);

/* Bytes of a query's terms. */
extern uint64_t stk_search_row_bytes(const stk_search_message *m);
/*
 * Must the request's file come with it? What is read may say so and have come without one, which is
 * for its reader to refuse. Of stk_load, data.in_file tells.
 */
extern bool stk_encode_needs_file(const stk_encode *m);
extern bool stk_train_needs_file(const stk_train_message *m);
extern bool stk_search_needs_file(const stk_search_message *m);

/*
 * Write. out has room for STK_HEADER_BYTES and STK_BODY_MAX; the header's bytes are the body's. The
 * data of a message that is inside, at most STK_INLINE_MAX bytes of it, is copied. Texts are cut to
 * their room. Returns the length of both together.
 */
extern size_t stk_write_header(uint8_t *out, const stk_header *h);
extern size_t stk_write_empty(uint8_t *out, stk_kind kind, uint64_t request);
extern size_t stk_write_hello(uint8_t *out, uint64_t request, const stk_hello *m);
extern size_t stk_write_welcome(uint8_t *out, uint64_t request, const stk_welcome *m);
extern size_t stk_write_pong(uint8_t *out, uint64_t request, const stk_pong *m);
extern size_t stk_write_statistics(uint8_t *out, uint64_t request, const stk_statistics *m);
extern size_t stk_write_configure(uint8_t *out, uint64_t request, const stk_configure *m);
extern size_t stk_write_load(uint8_t *out, uint64_t request, const stk_load *m);
extern size_t stk_write_encode(uint8_t *out, uint64_t request, const stk_encode *m);
extern size_t stk_write_codes(uint8_t *out, uint64_t request, const stk_codes *m);
extern size_t stk_write_trie(uint8_t *out, uint64_t request, const stk_load *m);
extern size_t stk_write_search(uint8_t *out, uint64_t request, const stk_search_message *m);
extern size_t stk_write_found(uint8_t *out, uint64_t request, const stk_found *m);
extern size_t stk_write_train(uint8_t *out, uint64_t request, const stk_train_message *m);
extern size_t stk_write_progress(uint8_t *out, uint64_t request, const stk_train_report *m);
extern size_t stk_write_trained(uint8_t *out, uint64_t request, const stk_trained *m);
extern size_t stk_write_failed(uint8_t *out, uint64_t request, const stk_failed *m);

/*
 * Read. The header first, STK_HEADER_BYTES of it; then its body, which a result that has data
 * inside points into. STK_ECORRUPT, with the reason, for what no honest writer sends.
 */
extern stk_status stk_read_header(const uint8_t *in, stk_header *h, stk_error *err);
extern stk_status stk_read_hello(const uint8_t *body, size_t bytes, stk_hello *m, stk_error *err);
extern stk_status stk_read_welcome(const uint8_t *body, size_t bytes, stk_welcome *m,
								   stk_error *err);
extern stk_status stk_read_pong(const uint8_t *body, size_t bytes, stk_pong *m, stk_error *err);
extern stk_status stk_read_statistics(const uint8_t *body, size_t bytes, stk_statistics *m,
									  stk_error *err);
extern stk_status stk_read_configure(const uint8_t *body, size_t bytes, stk_configure *m,
									 stk_error *err);
extern stk_status stk_read_load(const uint8_t *body, size_t bytes, stk_load *m, stk_error *err);
extern stk_status stk_read_encode(const uint8_t *body, size_t bytes, stk_encode *m, stk_error *err);
/* n and levels are the request's, which the codes must fit. */
extern stk_status stk_read_codes(const uint8_t *body, size_t bytes, uint32_t n, int levels,
								 stk_codes *m, stk_error *err);
extern stk_status stk_read_search(const uint8_t *body, size_t bytes, stk_search_message *m,
								  stk_error *err);
/* request is the one that is answered; what was found is stk_found_check's to look at. */
extern stk_status stk_read_found(const uint8_t *body, size_t bytes,
								 const stk_search_message *request, stk_found *m, stk_error *err);
extern stk_status stk_read_train(const uint8_t *body, size_t bytes, stk_train_message *m,
								 stk_error *err);
/* plan is the request's, which reports and results must fit. */
extern stk_status stk_read_progress(const uint8_t *body, size_t bytes, const stk_train_plan *plan,
									stk_train_report *m, stk_error *err);
extern stk_status stk_read_trained(const uint8_t *body, size_t bytes, const stk_train_plan *plan,
								   stk_trained *m, stk_error *err);
extern stk_status stk_read_failed(const uint8_t *body, size_t bytes, stk_failed *m, stk_error *err);

#endif
