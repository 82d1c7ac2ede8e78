/*
 * Whose a tokenizer is.
 */
#ifndef SEMTOK_OWNER_H
#define SEMTOK_OWNER_H

#include "postgres.h"

/*
 * As the catalog has it. In the cluster that wrote it the OID counts, so that a role keeps what it
 * owns when it is renamed, and who is given its old name does not get it. A restore elsewhere goes
 * by the name: OIDs mean nothing there.
 */
typedef struct TokenizerOwner
{
	NameData name;
	Oid role;
	int64 cluster; /* system identifier; 0 = not known */
} TokenizerOwner;

/* A role of this cluster as an owner. */
extern void TokenizerOwnerSet(TokenizerOwner *owner, Oid role);

/* The role, InvalidOid when it is gone or was never here. */
extern Oid TokenizerOwnerRole(const TokenizerOwner *owner);

#endif
