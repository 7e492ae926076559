/* A program of bdwgc's, which stops its own threads by signals: they allocate, are called, and suspended. */
#define GC_THREADS
#include <gc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pn.h"

enum { ALLOCATORS = 2, WORKERS = 2, COLLECTIONS = 20, CALLS = 20, STOPS = 10 };

static atomic_int over;

static void check(int right, const char *what)
{
	if (!right) {
		fprintf(stderr, "wrong: %s\n", what);
		_Exit(1);
	}
}

struct list {
	struct list *next;
	long filler[6];
};

/* What is reached stays, whatever is collected meanwhile. */
static void *allocates(void *unused)
{
	(void)unused;
	while (!atomic_load(&over)) {
		struct list *first = NULL;
		for (long at = 0; at < 500; at++) {
			struct list *one = GC_MALLOC(sizeof *one);
			one->next = first;
			one->filler[3] = at;
			first = one;
		}
		for (long at = 499; at >= 0; at--, first = first->next)
			check(first->filler[3] == at, "what is reached stays");
	}
	return NULL;
}

/* Called when a worker is outside the gate: the allocator has a lock, and stops the others. */
static void visit(void *unused)
{
	(void)unused;
	check(GC_MALLOC(512) != NULL, "memory");
}

static void *works(void *unused)
{
	(void)unused;
	unsigned token[4];
	check(pn_attach(token) == 0, "attach");
	while (!atomic_load(&over))
		check(pn_work(50, visit, NULL) == 0, "work");
	check(pn_detach(token) == 0, "detach");
	return NULL;
}

static void *collects(void *unused)
{
	(void)unused;
	for (int at = 0; at < COLLECTIONS; at++)
		GC_gcollect();
	return NULL;
}

static void *calls(void *unused)
{
	(void)unused;
	for (int at = 0; at < CALLS; at++)
		check(pn_call_all() >= ALLOCATORS + WORKERS, "a call reaches the collector's threads");
	check(pn_no_new_privs() > ALLOCATORS + WORKERS, "rights");
	return NULL;
}

static void *suspends(void *unused)
{
	(void)unused;
	for (int stopped = 0; stopped < STOPS;) {
		int still = pn_stop_world();
		check(still >= 0, "who is suspended stands still");
		stopped += still;
		sched_yield();
	}
	return NULL;
}

/* A thread of the collector's, which it stops; or of nobody's. */
static void run(void *(*body)(void *), int its)
{
	pthread_t thread;
#undef pthread_create
#undef pthread_join
	int made = its ? GC_pthread_create(&thread, NULL, body, NULL)
		       : pthread_create(&thread, NULL, body, NULL);
	check(made == 0, "a thread");
	check((its ? GC_pthread_join(thread, NULL) : pthread_join(thread, NULL)) == 0, "its end");
}

int main(int count, char **what)
{
	check(count == 2, "one argument");
	int its = strcmp(what[1], "its") == 0;
	GC_INIT();
	GC_allow_register_threads();
	pthread_t all[ALLOCATORS + WORKERS + 1];
	for (int at = 0; at < ALLOCATORS + WORKERS + 1; at++) {
		void *(*body)(void *) = at < ALLOCATORS	      ? allocates
					: at < ALLOCATORS + WORKERS ? works
								    : collects;
		check(GC_pthread_create(&all[at], NULL, body, NULL) == 0, "a thread");
	}
	run(calls, 1);
	run(calls, 0);
	run(suspends, its);
	check(GC_pthread_join(all[ALLOCATORS + WORKERS], NULL) == 0, "collections end");
	/* All of it goes on. */
	size_t before = GC_get_gc_no();
	GC_gcollect();
	check(GC_get_gc_no() > before, "it collects");
	atomic_store(&over, 1);
	for (int at = 0; at < ALLOCATORS + WORKERS; at++)
		check(GC_pthread_join(all[at], NULL) == 0, "its end");
	puts("done");
	return 0;
}
