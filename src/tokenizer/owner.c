/*
 * Whose a tokenizer is, and semtok.set_owner, which gives it to another role.
 */
#include "tokenizer/owner.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tokenizer/registry.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(semtok_set_owner);

void
TokenizerOwnerSet(TokenizerOwner *owner, Oid role)
{
	namestrcpy(&owner->name, GetUserNameFromId(role, false));
	owner->role = role;
	owner->cluster = (int64) GetSystemIdentifier();
}

Oid
TokenizerOwnerRole(const TokenizerOwner *owner)
{
	if (owner->cluster != (int64) GetSystemIdentifier())
		return get_role_oid(NameStr(owner->name), true);
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(owner->role)) ? owner->role : InvalidOid;
}

/*
 * semtok.set_owner(name text, owner name): all versions of a tokenizer, as ALTER … OWNER TO does it
 * for what PostgreSQL knows. The caller must own it and be able to become the new owner.
 */
Datum
semtok_set_owner(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid role = get_role_oid(NameStr(*PG_GETARG_NAME(1)), false);
	Oid types[] = {TEXTOID, NAMEOID, OIDOID, INT8OID};
	TokenizerOwner owner;
	OwnerSection section;
	TokenizerInfo info;

	TokenizerLockForChange("semtok.set_owner()", name);
	if (!SemtokCanBecome(GetUserId(), role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be able to SET ROLE \"%s\"", GetUserNameFromId(role, false))));
	PushActiveSnapshot(GetLatestSnapshot());
	TokenizerGetByName(name, 0, &info);
	PopActiveSnapshot();
	TokenizerOwnerSet(&owner, role);

	Datum values[] = {CStringGetTextDatum(name), NameGetDatum(&owner.name),
					  ObjectIdGetDatum(owner.role), Int64GetDatum(owner.cluster)};

	OwnerEnter(&section);
	SPI_connect();
	if (SPI_execute_with_args("UPDATE semtok.tokenizer"
							  " SET owner = $2, owner_id = $3, owner_cluster = $4"
							  " WHERE name OPERATOR(pg_catalog.=) $1",
							  lengthof(types), types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not update semtok.tokenizer");
	SPI_finish();
	OwnerLeave(&section);
	PG_RETURN_VOID();
}
