#include "rival.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define PYTHON "tmp/rivals/bin/python"
#define MOST_FILES 32

static char folder[] = "/tmp/semtok-bench.XXXXXX";
static bool have_folder;
static char files[MOST_FILES][sizeof(folder) + 40];
static int file_count;
static pid_t owner;

bool
bench_rivals(void)
{
	static bool told;

	if (access(PYTHON, X_OK) == 0)
		return true;
	if (!told)
		printf("rivals are not measured: bench/rivals/setup installs them\n\n");
	told = true;
	return false;
}

/* At exit; not in a child that measures memory. */
static void
remove_files(void)
{
	if (getpid() != owner)
		return;
	for (int i = 0; i < file_count; i++)
		unlink(files[i]);
	rmdir(folder);
}

const char *
bench_file(const char *name)
{
	if (!have_folder)
	{
		if (!mkdtemp(folder))
		{
			perror(folder);
			exit(1);
		}
		have_folder = true;
		owner = getpid();
		atexit(remove_files);
	}
	for (int i = 0; i < file_count; i++)
	{
		if (strcmp(files[i] + sizeof(folder), name) == 0)
			return files[i];
	}
	if (file_count == MOST_FILES)
	{
		fprintf(stderr, "too many files\n");
		exit(1);
	}
	snprintf(files[file_count], sizeof(files[0]), "%s/%s", folder, name);
	return files[file_count++];
}

static void
transfer(const char *path, const char *mode, void *values, size_t n, size_t size)
{
	FILE *file = fopen(path, mode);
	size_t done = 0;

	if (file)
		done = mode[0] == 'w' ? fwrite(values, size, n, file) : fread(values, size, n, file);
	if (!file || done != n || fclose(file) != 0)
	{
		perror(path);
		exit(1);
	}
}

void
bench_write(const char *path, const void *values, size_t n, size_t size)
{
	transfer(path, "wb", (void *) values, n, size);
}

void
bench_read(const char *path, void *values, size_t n, size_t size)
{
	transfer(path, "rb", values, n, size);
}

bool
bench_rival(bench_answer *answer, const char *script, const char *format, ...)
{
	char command[4096];
	va_list args;
	FILE *out;
	int at;

	answer->n = 0;
	if (!bench_rivals())
		return false;
	at = snprintf(command, sizeof(command), PYTHON " bench/rivals/%s ", script);
	va_start(args, format);
	vsnprintf(command + at, sizeof(command) - (size_t) at, format, args);
	va_end(args);
	fflush(stdout);
	out = popen(command, "r");
	while (out && answer->n < 16 &&
		   fscanf(out, "%31s %lf", answer->names[answer->n], &answer->values[answer->n]) == 2)
		answer->n++;
	if (!out || pclose(out) != 0)
	{
		fprintf(stderr, "failed: %s\n", command);
		exit(1);
	}
	return true;
}

double
bench_value(const bench_answer *answer, const char *name)
{
	for (int i = 0; i < answer->n; i++)
	{
		if (strcmp(answer->names[i], name) == 0)
			return answer->values[i];
	}
	return NAN;
}

bool
bench_rival_text(const char *script, char *line, size_t size)
{
	char command[256];
	FILE *out;
	bool found;

	if (!bench_rivals())
		return false;
	snprintf(command, sizeof(command), PYTHON " bench/rivals/%s", script);
	out = popen(command, "r");
	found = out && fgets(line, (int) size, out) != NULL;
	if (out)
		pclose(out);
	if (found)
		line[strcspn(line, "\n")] = '\0';
	return found;
}
