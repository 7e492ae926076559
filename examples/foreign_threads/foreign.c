/* Threads that Rust knows nothing of, and what C programs do with them. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef void (*callback)(void *);

struct call {
    callback function;
    void *argument;
    long rounds;
};

static void *call_in(void *data) {
    struct call *call = data;
    for (long round = 0; round < call->rounds; round++)
        call->function(call->argument);
    return NULL;
}

/* `count` threads call in `rounds` times each. Returns how many could be made. */
int foreign_run(int count, long rounds, callback function, void *argument) {
    struct call call = {function, argument, rounds};
    pthread_t *threads = calloc(count, sizeof *threads);
    int made = 0;
    while (threads && made < count && !pthread_create(&threads[made], NULL, call_in, &call))
        made++;
    for (int thread = 0; thread < made; thread++)
        pthread_join(threads[thread], NULL);
    free(threads);
    return made;
}

static void *call_and_wait(void *data) {
    call_in(data);
    for (;;)
        pause();
    return NULL;
}

/* A thread calls in once, and is cancelled in a call of its own, later. */
int foreign_cancel(callback function, void *argument) {
    struct call call = {function, argument, 1};
    pthread_t thread;
    void *result;
    if (pthread_create(&thread, NULL, call_and_wait, &call))
        return -1;
    pthread_cancel(thread);
    pthread_join(thread, &result);
    return result == PTHREAD_CANCELED ? 0 : -2;
}

static pthread_key_t late_key;
static callback late_function;
static int late_rounds;

static void late(void *data) {
    late_function(data);
    /* Runs again in the next round of destructors. */
    if (--late_rounds > 0)
        pthread_setspecific(late_key, data);
}

static void *call_and_leave_late(void *data) {
    struct call *call = data;
    call_in(data);
    pthread_setspecific(late_key, call->argument);
    return NULL;
}

/* A thread calls in once, and `at_end` is called from `rounds` rounds of its key destructors. */
int foreign_destructor(callback function, callback at_end, int rounds, void *argument) {
    static int made;
    struct call call = {function, argument, 1};
    pthread_t thread;
    if (!made && pthread_key_create(&late_key, late))
        return -1;
    made = 1;
    late_function = at_end;
    late_rounds = rounds;
    if (pthread_create(&thread, NULL, call_and_leave_late, &call))
        return -1;
    return pthread_join(thread, NULL);
}

struct stacked {
    struct call call;
    size_t size;
    int kept;
};

static void *call_on_own_stack(void *data) {
    struct stacked *stacked = data;
    stack_t own = {.ss_sp = malloc(stacked->size), .ss_size = stacked->size};
    stack_t now, none = {.ss_flags = SS_DISABLE};
    sigaltstack(&own, NULL);
    call_in(&stacked->call);
    sigaltstack(NULL, &now);
    stacked->kept = now.ss_sp == own.ss_sp && now.ss_size == own.ss_size && !(now.ss_flags & SS_DISABLE);
    sigaltstack(&none, NULL);
    free(own.ss_sp);
    return NULL;
}

/* A thread with an alternate stack of this size calls in; 1 if it has the same stack afterwards. */
int foreign_own_stack(size_t size, long rounds, callback function, void *argument) {
    struct stacked stacked = {{function, argument, rounds}, size, 0};
    pthread_t thread;
    if (pthread_create(&thread, NULL, call_on_own_stack, &stacked))
        return -1;
    pthread_join(thread, NULL);
    return stacked.kept;
}

/* Has the C library signal every thread, `rounds` times. */
int foreign_setgid(long rounds) {
    for (long round = 0; round < rounds; round++)
        if (setgid(getgid()))
            return -1;
    return 0;
}
