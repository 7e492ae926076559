/* Threads that Rust knows nothing of, and what C programs do with them. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

typedef long (*callback)(void *);

/* Mirrored in mod.rs. */
struct plan {
    callback function;
    void *argument;
    long rounds;
    long signals;
    int threads;
    int senders;
    int signal;
    /* Threads call on until the last signal was sent. */
    int go_on;
};

struct run {
    const struct plan *plan;
    pthread_t *threads;
    atomic_long sum;
    atomic_int senders;
};

static void *caller(void *data) {
    struct run *run = data;
    const struct plan *plan = run->plan;
    long sum = 0;
    for (long round = 0; round < plan->rounds || (plan->go_on && run->senders); round++)
        sum += plan->function(plan->argument);
    run->sum += sum;
    /* Whoever is sent signals has to be there. */
    while (run->senders)
        sched_yield();
    return NULL;
}

static void *sender(void *data) {
    struct run *run = data;
    const struct plan *plan = run->plan;
    for (long round = 0; round < plan->signals; round++)
        for (int thread = 0; thread < plan->threads; thread++)
            pthread_kill(run->threads[thread], plan->signal);
    run->senders--;
    return NULL;
}

static int start(pthread_t *thread, void *(*function)(void *), void *data) {
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    int error = pthread_create(thread, &small, function, data);
    pthread_attr_destroy(&small);
    return error;
}

/* Threads that call in `rounds` times each, and others that send each of them `signals` signals;
   returns the sum of what the calls returned, or -1 if a thread could not be made. */
long foreign_run(const struct plan *plan) {
    pthread_t threads[plan->threads], senders[plan->senders + 1];
    struct run run = {.plan = plan, .threads = threads, .senders = plan->senders};
    int made = 0, sending = 0;
    while (made < plan->threads && !start(&threads[made], caller, &run))
        made++;
    while (made == plan->threads && sending < plan->senders &&
           !start(&senders[sending], sender, &run))
        sending++;
    run.senders -= plan->senders - sending;
    for (int thread = 0; thread < sending; thread++)
        pthread_join(senders[thread], NULL);
    for (int thread = 0; thread < made; thread++)
        pthread_join(threads[thread], NULL);
    return made == plan->threads && sending == plan->senders ? run.sum : -1;
}

struct call {
    callback function;
    void *argument;
};

static void *call_and_pause(void *data) {
    struct call *call = data;
    call->function(call->argument);
    for (;;)
        pause();
    return NULL;
}

static void *call_and_spin(void *data) {
    struct call *call = data;
    int before;
    call->function(call->argument);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
    for (;;)
        atomic_signal_fence(memory_order_seq_cst);
    return NULL;
}

static void *call_again(void *data) {
    struct call *call = data;
    for (;;) {
        call->function(call->argument);
        pthread_testcancel();
    }
    return NULL;
}

/* A thread calls in and is cancelled while it does, to end after that: in a call that is a
   cancellation point, anywhere, or at a test after one of many calls. */
int foreign_cancel(int where, callback function, void *argument) {
    static void *(*const ways[])(void *) = {call_and_pause, call_and_spin, call_again};
    struct call call = {function, argument};
    pthread_t thread;
    void *result;
    if (start(&thread, ways[where], &call))
        return -1;
    pthread_cancel(thread);
    pthread_join(thread, &result);
    return result == PTHREAD_CANCELED ? 0 : -2;
}

/* The calling thread calls in with an alternate stack of this size, none if it is 0; 1 if it has
   the same afterwards. */
int foreign_own_stack(size_t size, callback function, void *argument) {
    stack_t own = {.ss_sp = size ? malloc(size) : NULL, .ss_size = size};
    stack_t now, none = {.ss_flags = SS_DISABLE};
    if (sigaltstack(size ? &own : &none, NULL))
        return -1;
    long kept = function(argument);
    sigaltstack(NULL, &now);
    kept &= size ? now.ss_sp == own.ss_sp && now.ss_size == own.ss_size && !now.ss_flags
                 : now.ss_flags == SS_DISABLE;
    sigaltstack(&none, NULL);
    free(own.ss_sp);
    return kept;
}

/* Has the C library signal every thread, and wait for each. */
int foreign_setgid(long rounds) {
    for (long round = 0; round < rounds; round++)
        if (setgid(getgid()))
            return -1;
    return 0;
}

static pthread_key_t end_key;
static callback end_function;
static void *end_argument;
static __thread int end_rounds;

static void at_end(void *value) {
    end_function(end_argument);
    /* Once more, in the next round of destructors. */
    if (--end_rounds > 0)
        pthread_setspecific(end_key, value);
}

/* Keys are destroyed in the order in which they were made. */
int foreign_make_key(callback function, void *argument) {
    end_function = function;
    end_argument = argument;
    return pthread_key_create(&end_key, at_end);
}

/* The key's function will be called at the end of this thread, so many times. */
int foreign_at_end(int rounds) {
    end_rounds = rounds;
    return pthread_setspecific(end_key, &end_key);
}

static callback unload_function;
static void *unload_argument;

void foreign_at_unload(callback function, void *argument) {
    unload_argument = argument;
    unload_function = function;
}

__attribute__((destructor)) static void unload(void) {
    if (unload_function)
        unload_function(unload_argument);
}

static sigjmp_buf out;
static callback jump_function;

static void jump(int signal) {
    (void)signal;
    jump_function(NULL);
    siglongjmp(out, 1);
}

/* The calling thread is interrupted by a handler that calls in and does not return. */
int foreign_jump(int signal, callback function) {
    struct sigaction action = {.sa_handler = jump, .sa_flags = SA_ONSTACK};
    jump_function = function;
    sigaction(signal, &action, NULL);
    if (sigsetjmp(out, 1))
        return 1;
    pthread_kill(pthread_self(), signal);
    return 0;
}
