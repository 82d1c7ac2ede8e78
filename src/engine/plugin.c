#include "engine/plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool
stk_plugin_path(const char *library, char *path, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", path, size);
	char *name;

	if (length <= 0 || (size_t) length >= size)
		return false;
	path[length] = '\0';
	name = strrchr(path, '/');
	if (!name || (size_t) (name + 1 - path) + strlen(library) >= size)
		return false;
	strcpy(name + 1, library);
	return true;
}

/* Does the entry of the library of this name fit this program? */
static stk_status
check_entry(const char *name, const stk_plugin *plugin, stk_error *err)
{
	if (!plugin)
		return stk_fail(err, STK_EIO, "%.64s: it is no engine of semtok", name);
	if (plugin->version != STK_PLUGIN_VERSION || plugin->size != sizeof(stk_plugin))
		return stk_fail(err, STK_EIO, "%.64s: its interface has version %u, not %u", name,
						(unsigned) plugin->version, (unsigned) STK_PLUGIN_VERSION);
	if (strcmp(plugin->release, SEMTOK_VERSION) != 0)
		return stk_fail(err, STK_EIO, "%.64s: it belongs to semtok %.32s, not %s", name,
						plugin->release, SEMTOK_VERSION);
	return STK_OK;
}

stk_status
stk_plugin_open(const char *path, const stk_allocator *a, stk_engine *host, const char *devices,
				stk_engine **out, stk_error *err)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const stk_plugin *plugin;
	stk_status status;

	*out = NULL;
	if (!library)
	{
		const char *why = dlerror();

		/* The folder, which is long and known, would cut off the reason. */
		if (strncmp(why, path, strlen(path)) == 0)
			why += name - path;
		return stk_fail(err, STK_EIO, "%.150s", why);
	}
	plugin = dlsym(library, STK_PLUGIN_SYMBOL);
	status = check_entry(name, plugin, err);
	if (status == STK_OK)
		status = plugin->open(a, host, devices, out, err);
	/* Threads that a device's driver started may run the library's code: it stays when it began. */
	if (status != STK_OK && !(plugin && plugin->version == STK_PLUGIN_VERSION))
		dlclose(library);
	return status;
}
