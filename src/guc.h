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
extern int semtok_simd;              /* stk_simd; one that this processor has, or auto */

extern void SemtokDefineSettings(void);

#endif
