/*
 * Engines that are libraries of their own, opened at run time beside the program: semtokd finds
 * semtok_cuda.so in its own folder. Where there is none, or it does not fit, or its device is not
 * there, the program goes on with the engine it has.
 */
#ifndef STK_PLUGIN_H
#define STK_PLUGIN_H

#include "engine/engine.h"

/* Raised whenever this file, engine.h or what they include change their meaning or layout. */
#define STK_PLUGIN_VERSION 4
/* The name under which a plugin's library exports its stk_plugin. */
#define STK_PLUGIN_SYMBOL "stk_plugin_entry"

typedef struct stk_plugin
{
	uint32_t version;    /* STK_PLUGIN_VERSION; always the first field */
	uint32_t size;       /* sizeof(stk_plugin) */
	const char *release; /* SEMTOK_VERSION: program and plugin are built together */
	const char *name;    /* "cuda" */

	/*
	 * Open the engine on these devices: "all", or their numbers, "0,2". host computes the parts of
	 * a training that a device does not, and outlives the engine, as a does. STK_ENOMEM;
	 * STK_EDEVICE when there is no such device, the driver is too old, or a device does not compute
	 * as it must: err->message says which.
	 */
	stk_status (*open)(const stk_allocator *a, stk_engine *host, const char *devices,
					   stk_engine **out, stk_error *err);
} stk_plugin;

/*
 * Open the engine of the library at path on these devices. STK_EIO when there is no such file, or
 * it does not fit this program; STK_EDEVICE, STK_ENOMEM as its open. err->message says which. The
 * library stays open to the end of the program.
 */
extern stk_status stk_plugin_open(const char *path, const stk_allocator *a, stk_engine *host,
								  const char *devices, stk_engine **out, stk_error *err);

/*
 * The path of a library beside the running program: "semtok_cuda.so". False when it does not fit
 * into size bytes, or the program's own path is not known.
 */
extern bool stk_plugin_path(const char *library, char *path, size_t size);

#endif
