/*
 * Differences between PostgreSQL versions. Every PG_VERSION_NUM test of semtok is here.
 */
#ifndef SEMTOK_COMPAT_H
#define SEMTOK_COMPAT_H

#include "postgres.h"

#include "storage/bufmgr.h"
#include "utils/rel.h"

/* 16 renamed the file number of a relation. */
#if PG_VERSION_NUM >= 160000
#define SemtokRelFileNumber(rel) ((rel)->rd_locator.relNumber)
#else
#define SemtokRelFileNumber(rel) ((rel)->rd_node.relNode)
#endif

#endif
