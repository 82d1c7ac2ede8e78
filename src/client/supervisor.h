/*
 * The background worker that keeps the shared semtokd running.
 */
#ifndef SEMTOK_SUPERVISOR_H
#define SEMTOK_SUPERVISOR_H

/* While shared_preload_libraries are loaded. */
extern void SupervisorRegister(void);

#endif
