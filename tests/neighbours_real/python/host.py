"""A Python program that loads the library by ctypes. Which part it plays is its last argument."""

import ctypes
import faulthandler
import gc
import os
import signal
import sys
import tempfile
import threading

pn = ctypes.CDLL(sys.argv[1])
SOON = 20_000
VISIT = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def check(right, what):
    if not right:
        print("wrong:", what, flush=True)
        os._exit(1)


def subscribe(number):
    made = pn.pn_subscribe(int(number), 0)
    check(made >= 0, "subscribe")
    return made


def received(subscription, number):
    check(pn.pn_recv_timeout(subscription, SOON) == number, "ours is told")


def beside(body):
    """Threads of Python's that allocate, and work in the library, until the body returns."""
    over = threading.Event()

    def allocate():
        while not over.is_set():
            loops = [[] for _ in range(100)]
            for loop in loops:
                loop.append(loop)

    def visited(_):
        return None

    visit = VISIT(visited)

    def works():
        token = (ctypes.c_uint * 4)()
        check(pn.pn_attach(token) == 0, "attach")
        while not over.is_set():
            check(pn.pn_work(20, visit, None) == 0, "work")
        check(pn.pn_detach(token) == 0, "detach")

    threads = [threading.Thread(target=each) for each in (allocate, works, works)]
    for thread in threads:
        thread.start()
    try:
        body(len(threads))
    finally:
        over.set()
        for thread in threads:
            thread.join()


def operations():
    def body(threads):
        for _ in range(100):
            check(pn.pn_call_all() >= threads, "a call reaches Python's threads")
        check(pn.pn_no_new_privs() > threads, "rights")
        stopped = 0
        while stopped < 50:
            still = pn.pn_stop_world()
            check(still >= 0, "who is suspended stands still")
            stopped += still
        check(gc.collect() >= 0, "Python collects")

    beside(body)


def interrupt(first):
    """Ctrl-C, with Python's own handler and ours: both are told."""
    if first:
        ours = subscribe(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not first:
        ours = subscribe(signal.SIGINT)
    else:
        # Python hands nothing on. Who subscribes has ours put over Python's, which is told too.
        check(pn.pn_stop(subscribe(signal.SIGINT)) >= 0, "stop")
    for _ in range(20):
        sent = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
        try:
            sent.start()
            while True:
                pass
        except KeyboardInterrupt:
            pass
        sent.join()
        received(ours, signal.SIGINT)
    check(pn.pn_stop(ours) >= 0, "stop")
    try:
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            pass
    except KeyboardInterrupt:
        pass


def replaced():
    """signal.signal over ours, and back."""
    told = []
    number = signal.SIGUSR1
    ours = subscribe(number)
    os.kill(os.getpid(), number)
    received(ours, number)
    # It is nobody's that Python knows.
    check(signal.signal(number, lambda *_: told.append(1)) in (None, signal.SIG_DFL), "the old")
    os.kill(os.getpid(), number)
    while not told:
        pass
    check(pn.pn_recv_timeout(ours, 0) == 0, "Python hands nothing on")
    again = subscribe(number)
    for count in range(2, 20):
        os.kill(os.getpid(), number)
        while len(told) < count:
            pass
        received(ours, number)
        received(again, number)
    check(pn.pn_stop(ours) == 0, "nobody has changed it since")
    signal.signal(number, signal.SIG_IGN)
    os.kill(os.getpid(), number)
    # Left alone, as somebody else has changed it.
    check(pn.pn_stop(again) == 1, "Python has changed it since")
    check(signal.getsignal(number) == signal.SIG_IGN, "ignored")
    os.kill(os.getpid(), number)
    last = subscribe(number)
    os.kill(os.getpid(), number)
    received(last, number)
    check(pn.pn_stop(last) == 0, "ignored again")
    os.kill(os.getpid(), number)


def forked():
    """os.fork, of a process that has subscribed, called and has threads."""
    number = signal.SIGUSR1
    ours = subscribe(number)

    def body(threads):
        check(pn.pn_call_all() >= threads, "a call")
        for _ in range(10):
            child = os.fork()
            if child == 0:
                os.kill(os.getpid(), number)
                received(ours, number)
                # Its only other thread is the one that receives, if it was made.
                check(pn.pn_call_all() in (0, 1), "a call")
                os._exit(7)
            check(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7, "the child")
        os.kill(os.getpid(), number)
        received(ours, number)
        check(pn.pn_recv_timeout(ours, 0) == 0, "nothing of the children's")

    beside(body)


def faults():
    """faulthandler: of a signal that ours has too, and of a fault while threads are interrupted."""
    number = signal.SIGUSR1
    ours = subscribe(number)
    with tempfile.TemporaryFile("w+") as text:
        faulthandler.register(number, file=text, chain=True)
        for _ in range(10):
            os.kill(os.getpid(), number)
            received(ours, number)
        text.seek(0)
        check(text.read().count("most recent call first") == 10, "faulthandler is told")
        faulthandler.unregister(number)
    os.kill(os.getpid(), number)
    received(ours, number)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        faulthandler.enable(file=writer)

        def body(_):
            # Ends all of it: the fault is to get through whatever we have in place.
            check(pn.pn_call_all() >= 3, "a call")
            ctypes.string_at(0)

        beside(body)
        os._exit(0)
    os.close(writer)
    text = os.fdopen(reader).read()
    check("Fatal Python error: Segmentation fault" in text and "string_at" in text, text)
    check(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV, "by the fault")


{
    "operations": operations,
    "interrupt": lambda: interrupt(False),
    "interrupt_before": lambda: interrupt(True),
    "replaced": replaced,
    "forked": forked,
    "faults": faults,
}[sys.argv[2]]()
print("done")
