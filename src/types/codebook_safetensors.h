/*
 * Codebooks, and the counts of rows behind their codewords, in safetensors files.
 */
#ifndef SEMTOK_CODEBOOK_SAFETENSORS_H
#define SEMTOK_CODEBOOK_SAFETENSORS_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "core/safetensors.h"
#include "types/codebook.h"

/* What in a name stands for the number of a level. */
#define CODEBOOK_LEVEL_MARK "{l}"

/*
 * Where a file keeps what we look for: the name of a tensor for each level, which has
 * CODEBOOK_LEVEL_MARK once, or of one tensor for all of them.
 */
typedef struct CodebookNames
{
	const char *codebooks; /* NULL: "codebooks.{l}", "codebooks" or RecTokens' name */
	const char *counts;    /* NULL: "counts.{l}" or "counts", where there are any */
	int first;             /* number of the first level */
	const char *encoder; /* of its layers, without ".weight" and ".bias"; NULL: "encoder.net.{l}" */
	const char *decoder; /* NULL: "decoder.net.{l}" */
	const char *activation; /* NULL: the file's, or relu */
	bool no_network;        /* the codewords alone, whatever else the file has */
} CodebookNames;

/* A name with a number in the mark's place; palloc'd. */
extern char *CodebookTensorName(const char *name, int number);
/* Describe a tensor in a file's header; *offset moves on by its bytes. */
extern void CodebookDescribeTensor(StringInfo header, const char *name, const char *dtype,
								   const char *shape, uint64 bytes, uint64 *offset);

/* Read a file; a is what it allocates with, and must outlive it. Errors are 22023. */
extern void CodebookReadFile(const bytea *bytes, const stk_allocator *a, stk_safetensors *file);

/*
 * The codebook of a file: a tensor [K_l, D] for each level, or one [L, K, D]; further dimensions in
 * front must be 1. F32, F16, BF16 or F64. With the network, where the file has one. palloc'd.
 */
extern struct varlena *CodebookFromFile(const stk_safetensors *file, const CodebookNames *names,
										stk_metric metric);

/*
 * The counts of a file that belong to codewords of these levels: a tensor of K_l values for each
 * level, or one for all of them, of any shape. [sum of sizes], palloc'd; NULL where the file has
 * none and names do not ask for any.
 */
extern double *CodebookFileCounts(const stk_safetensors *file, const CodebookNames *names,
								  int levels, const uint32 *sizes);

/*
 * A file of a codebook, its metric in the metadata; one with a network has the names of RecTokens'
 * RQVAETokenizer, and the activation in the metadata. counts [sum of sizes] and options, a JSON
 * text, may be NULL. palloc'd.
 */
extern bytea *CodebookMakeFile(const stk_codebook *cb, const double *counts, const char *options);

#endif
