/* This crate for hosts in other languages: only for these tests. -1 is said of a failure. */
#ifndef PN_H
#define PN_H

/* Subscribes to a signal; alone: handlers that were there before are not called. The number of the subscription. */
int pn_subscribe(int signal, int alone);
/* The signal that came next, 0 if none did in that time. */
int pn_recv_timeout(int subscription, unsigned milliseconds);
/* How many signals were left as they are, since somebody else had changed them. */
int pn_stop(int subscription);

/* An operation on every thread of the process: on how many others it ran. */
int pn_call_all(void);
/* PR_SET_NO_NEW_PRIVS on every thread of the process: how many the system shows to have it. */
int pn_no_new_privs(void);

/* A record for the calling thread, until its end or pn_detach. */
int pn_attach(unsigned token[4]);
int pn_detach(const unsigned token[4]);

/* The calling thread works in so many rounds: each a while at the gate's inside, then outside, where `call` is called. */
int pn_work(unsigned rounds, void (*call)(void *), void *data);
/* Suspends all that work but the calling thread, sees that they stand still, resumes them: how many it were. */
int pn_stop_world(void);

#endif
