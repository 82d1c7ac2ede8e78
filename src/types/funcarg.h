/*
 * Large arguments that stay the same from row to row: what tells, cheaply and without fail, that
 * a call's argument is the one of the call before.
 */
#ifndef SEMTOK_FUNCARG_H
#define SEMTOK_FUNCARG_H

#include "postgres.h"

#include "compat.h"

#include "access/detoast.h"
#include "fmgr.h"

/*
 * Is the argument a constant of the query? External parameters do not count: PL/pgSQL evaluates
 * one expression with changing values.
 */
extern bool FuncArgIsConst(const FmgrInfo *flinfo, int argno);

/* The toast pointer of a value in a toast table; false for any other datum. */
extern bool FuncArgToastPointer(Datum value, struct varatt_external *toast);
/* Do two toast pointers name the same value? Values in toast tables never change. */
extern bool FuncArgSameToast(const struct varatt_external *a, const struct varatt_external *b);

/* What a call site keeps of one argument. Zero it before the first call. */
typedef struct FuncArg
{
	MemoryContext context; /* holds value, where that is a copy */
	struct varlena *value; /* detoasted; NULL when nothing may be kept for the next call */
	bool constant;
	bool toasted; /* value came from a toast table, by toast */
	struct varatt_external toast;
} FuncArg;

/*
 * The argument detoasted and 8-byte aligned, valid until the next call. Sets *same when it is
 * certainly the value of the call before, at the same address. A plain value is used in place and
 * costs nothing; one in a toast table is fetched once.
 */
extern struct varlena *FuncArgDetoast(FuncArg *arg, FunctionCallInfo fcinfo, int argno, bool *same);

#endif
