/* The library for Java: the same functions, by JNI. */
#include <jni.h>
#include <signal.h>
#include <unistd.h>

#include "pn.h"

#define NATIVE(type, name, ...) \
	JNIEXPORT type JNICALL Java_Host_##name(JNIEnv *env, jclass host __VA_OPT__(, ) __VA_ARGS__)

NATIVE(jint, subscribe, jint number, jint alone) { return pn_subscribe(number, alone); }
NATIVE(jint, receive, jint subscription, jint milliseconds)
{
	return pn_recv_timeout(subscription, (unsigned)milliseconds);
}
NATIVE(jint, stop, jint subscription) { return pn_stop(subscription); }
NATIVE(jint, callAll) { return pn_call_all(); }
NATIVE(jint, noNewPrivs) { return pn_no_new_privs(); }
NATIVE(jint, stopWorld) { return pn_stop_world(); }
NATIVE(void, raise, jint number) { kill(getpid(), number); }

NATIVE(jint, attached)
{
	unsigned outer[4], inner[4];
	if (pn_attach(outer) || pn_attach(inner))
		return -1;
	return pn_detach(inner) | pn_detach(outer);
}

struct visit {
	JNIEnv *env;
	jclass host;
	jmethodID method;
};

static void visit(void *data)
{
	struct visit *to = data;
	(*to->env)->CallStaticVoidMethod(to->env, to->host, to->method);
	if ((*to->env)->ExceptionCheck(to->env))
		(*to->env)->FatalError(to->env, "visit throws nothing");
}

NATIVE(jint, work, jint rounds)
{
	struct visit to = {env, host, (*env)->GetStaticMethodID(env, host, "visit", "()V")};
	return pn_work((unsigned)rounds, visit, &to);
}
