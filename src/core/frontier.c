#include "frontier.h"

#include <string.h>

#include "beam_step.h"

void
frontier_init(frontier *f, const stk_allocator *a)
{
	memset(f, 0, sizeof(*f));
	f->a = *a;
}

void
frontier_free(frontier *f)
{
	stk_free(&f->a, f->items);
	stk_free(&f->a, f->heap);
	stk_free(&f->a, f->unused);
}

static bool
before(const frontier *f, uint32_t x, uint32_t y)
{
	const frontier_item *p = &f->items[x];
	const frontier_item *q = &f->items[y];
	int c;

	if (p->value != q->value)
		return p->value < q->value;
	c = beam_compare_paths(&p->beam.id, &q->beam.id);
	return c != 0 ? c < 0 : p->kind < q->kind;
}

static stk_status
grow(frontier *f)
{
	size_t room = f->room ? f->room * 2 : 256;
	void *grown;

	if (room > UINT32_MAX)
		return STK_ERANGE;
	grown = stk_realloc_array(&f->a, f->items, room, sizeof(frontier_item));
	if (!grown)
		return STK_ENOMEM;
	f->items = grown;
	grown = stk_realloc_array(&f->a, f->heap, room, sizeof(uint32_t));
	if (!grown)
		return STK_ENOMEM;
	f->heap = grown;
	grown = stk_realloc_array(&f->a, f->unused, room, sizeof(uint32_t));
	if (!grown)
		return STK_ENOMEM;
	f->unused = grown;
	f->room = room;
	return STK_OK;
}

stk_status
frontier_push(frontier *f, const frontier_item *item)
{
	size_t i = f->n;
	uint32_t number;

	if (f->n_unused > 0)
		number = f->unused[--f->n_unused];
	else
	{
		if (f->n_items == f->room)
		{
			stk_status status = grow(f);

			if (status != STK_OK)
				return status;
		}
		number = (uint32_t) f->n_items++;
	}
	f->items[number] = *item;
	f->n++;
	while (i > 0 && before(f, number, f->heap[(i - 1) / 2]))
	{
		f->heap[i] = f->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	f->heap[i] = number;
	return STK_OK;
}

const frontier_item *
frontier_top(const frontier *f)
{
	return f->n > 0 ? &f->items[f->heap[0]] : NULL;
}

void
frontier_pop(frontier *f, frontier_item *item)
{
	uint32_t last = f->heap[--f->n];
	size_t i = 0;

	*item = f->items[f->heap[0]];
	f->unused[f->n_unused++] = f->heap[0];
	for (;;)
	{
		size_t c = 2 * i + 1;

		if (c >= f->n)
			break;
		if (c + 1 < f->n && before(f, f->heap[c + 1], f->heap[c]))
			c++;
		if (!before(f, f->heap[c], last))
			break;
		f->heap[i] = f->heap[c];
		i = c;
	}
	if (f->n > 0)
		f->heap[i] = last;
}
