/*
 * Embeddings of pgvector's types, read without pgvector's cast to real[].
 */
#ifndef SEMTOK_VECTOR_CAST_H
#define SEMTOK_VECTOR_CAST_H

#include "postgres.h"

#include "nodes/nodes.h"

/* Is this a type that semtok.embedding_of reads, which the current user may execute? */
extern bool VectorCastReads(Oid type);

/*
 * For an analyzed expression that casts vector or halfvec to real[], the same value by
 * semtok.embedding_of; NULL for any other, and where a right on one of both functions is missing.
 */
extern Node *VectorCastReplace(Node *expr);

#endif
