/* libpsx in a process of its own: it reaches the threads that its pthread_create made, which the linker
 * has to be told. Built and run by crowd.rs; cc libpsx.c -lpsx -lpthread -Wl,-wrap,pthread_create.
 *
 * libpsx THREADS: makes so many idle threads, says 1 if it reaches them, else 0; then for each number
 * that it reads makes as many calls, and says the nanoseconds that they took. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/psx_syscall.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t never = PTHREAD_MUTEX_INITIALIZER;
static int begun[2], asked[2];

static void put(int pipe, char byte) {
    if (write(pipe, &byte, 1) != 1) abort();
}

static char get(int pipe) {
    char byte;
    if (read(pipe, &byte, 1) != 1) abort();
    return byte;
}

static void *idle(void *unused) {
    put(begun[1], 0);
    pthread_mutex_lock(&never);
    return unused;
}

/* Says what the call has left it with. */
static void *tells(void *unused) {
    get(asked[0]);
    put(begun[1], (char)prctl(PR_GET_KEEPCAPS));
    return unused;
}

static int reaches(void) {
    pthread_t thread;
    char kept;
    if (pthread_create(&thread, NULL, tells, NULL) != 0) return 0;
    psx_syscall3(SYS_prctl, PR_SET_KEEPCAPS, 1, 0);
    put(asked[1], 0);
    kept = get(begun[0]);
    psx_syscall3(SYS_prctl, PR_SET_KEEPCAPS, 0, 0);
    pthread_join(thread, NULL);
    return kept;
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 0;
    uint64_t calls;
    pthread_attr_t small;
    if (pipe(begun) != 0 || pipe(asked) != 0) return 1;
    printf("%d\n", reaches());
    pthread_mutex_lock(&never);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    for (int at = 0; at < threads; at++) {
        pthread_t thread;
        if (pthread_create(&thread, &small, idle, NULL) != 0) return 1;
        get(begun[0]);
    }
    fflush(stdout);
    while (scanf("%ju", &calls) == 1) {
        uint64_t start = now();
        for (uint64_t call = 0; call < calls; call++) psx_syscall3(SYS_getppid, 0, 0, 0);
        printf("%ju\n", (uintmax_t)(now() - start));
        fflush(stdout);
    }
    _exit(0);
}
