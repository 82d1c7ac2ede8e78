#include "postgres.h"

#include "types/funcarg.h"

#include "nodes/primnodes.h"
#include "utils/memutils.h"

bool
FuncArgIsConst(const FmgrInfo *flinfo, int argno)
{
	Node *expr = flinfo->fn_expr;
	List *args;

	if (expr == NULL)
		return false;
	if (IsA(expr, FuncExpr))
		args = ((FuncExpr *) expr)->args;
	else if (IsA(expr, OpExpr))
		args = ((OpExpr *) expr)->args;
	else
		return false;
	return argno < list_length(args) && IsA(list_nth(args, argno), Const);
}

bool
FuncArgToastPointer(Datum value, struct varatt_external *toast)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(value);

	if (!VARATT_IS_EXTERNAL_ONDISK(v))
		return false;
	VARATT_EXTERNAL_GET_POINTER(*toast, v);
	return true;
}

bool
FuncArgSameToast(const struct varatt_external *a, const struct varatt_external *b)
{
	return a->va_toastrelid == b->va_toastrelid && a->va_valueid == b->va_valueid &&
		   a->va_rawsize == b->va_rawsize;
}

struct varlena *
FuncArgDetoast(FuncArg *arg, FunctionCallInfo fcinfo, int argno, bool *same)
{
	Datum datum = PG_GETARG_DATUM(argno);
	struct varlena *v = (struct varlena *) DatumGetPointer(datum);
	struct varatt_external toast;
	bool toasted = FuncArgToastPointer(datum, &toast);
	MemoryContext old;

	if (arg->context == NULL)
	{
		arg->context =
			AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "semtok argument", ALLOCSET_SMALL_SIZES);
		arg->constant = FuncArgIsConst(fcinfo->flinfo, argno);
	}
	*same = arg->value != NULL &&
			(arg->constant || (toasted && arg->toasted && FuncArgSameToast(&toast, &arg->toast)));
	if (*same)
		return arg->value;

	arg->value = NULL;
	MemoryContextReset(arg->context);
	if (!VARATT_IS_4B_U(v) || (uintptr_t) v % sizeof(int64) != 0)
	{
		old = MemoryContextSwitchTo(arg->context);
		v = (struct varlena *) PG_DETOAST_DATUM_COPY(datum);
		MemoryContextSwitchTo(old);
	}
	/* A value that is neither constant nor toasted may be overwritten in place: not kept. */
	if (arg->constant || toasted)
	{
		arg->value = v;
		arg->toasted = toasted;
		if (toasted)
			arg->toast = toast;
	}
	return v;
}
