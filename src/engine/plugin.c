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

/* Does the library's entry fit this program? */
static stk_status
check_entry(const stk_plugin *plugin, stk_error *err)
{
	if (!plugin)
		return stk_fail(err, STK_EIO, "it is no engine of semtok");
	if (plugin->version != STK_PLUGIN_VERSION || plugin->size != sizeof(stk_plugin))
		return stk_fail(err, STK_EIO, "its interface has version %u, not %u",
						(unsigned) plugin->version, (unsigned) STK_PLUGIN_VERSION);
	if (strcmp(plugin->release, SEMTOK_VERSION) != 0)
		return stk_fail(err, STK_EIO, "it belongs to semtok %.32s, not %s", plugin->release,
						SEMTOK_VERSION);
	return STK_OK;
}

stk_status
stk_plugin_open(const char *path, const stk_allocator *a, stk_engine *host, const char *devices,
				stk_engine **out, stk_error *err)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const stk_plugin *plugin;
	stk_status status;

	*out = NULL;
	if (!library)
	{
		const char *why = dlerror();
		const char *name = strrchr(path, '/');

		/* The folder, which is long and known, would cut off the reason. */
		if (name && strncmp(why, path, strlen(path)) == 0)
			why += name + 1 - path;
		return stk_fail(err, STK_EIO, "%.150s", why);
	}
	plugin = dlsym(library, STK_PLUGIN_SYMBOL);
	status = check_entry(plugin, err);
	if (status == STK_OK)
		status = plugin->open(a, host, devices, out, err);
	/* Threads that a device's driver started may run the library's code: it stays when it began. */
	if (status != STK_OK && !(plugin && plugin->version == STK_PLUGIN_VERSION))
		dlclose(library);
	return status;
}
