/*
 * Settings of semtok. Every one is defined in guc.c with its help text.
 */
#ifndef SEMTOK_GUC_H
#define SEMTOK_GUC_H

/* Ids that one node can give: those from its base + 1 to its base + this. */
#define TOKENIZER_IDS 1000000

extern int semtok_beam_width;        /* live nodes per level of an ordered scan; 0 = exact */
extern int semtok_codebook_cache;    /* kB of prepared codebooks a backend keeps for reuse */
extern int semtok_tokenizer_id_base; /* a multiple of TOKENIZER_IDS: ids made here lie above */
extern int semtok_scorer_tokenizer;  /* of a function: the tokenizer that it gives logits for */
extern int semtok_simd;              /* stk_simd; one that this processor has, or auto */

/* Where heavy work is computed. */
typedef enum SemtokOffload
{
	OFFLOAD_AUTO, /* in a worker when that is sooner done */
	OFFLOAD_ON,   /* in a worker, small work too */
	OFFLOAD_OFF   /* in the session */
} SemtokOffload;

extern int semtok_device;           /* stk_device */
extern char *semtok_cuda_devices;   /* "all", "none", or numbers: "0,2" */
extern int semtok_offload;          /* SemtokOffload */
extern int semtok_worker_memory;    /* kB that a worker may take */
extern int semtok_worker_threads;   /* 0 = one for each core */
extern int semtok_worker_timeout;   /* ms without a sign of life after which a worker is lost */
extern int semtok_max_worker_bytes; /* kB of data that a session may have in a worker; -1 = any */
extern int semtok_batch_max;        /* requests gathered into one launch */
extern int semtok_batch_wait_us;    /* to wait for more of them */

extern void SemtokDefineSettings(void);

#endif
