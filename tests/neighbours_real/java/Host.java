import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

/** A Java program that loads the library by JNI, while its threads allocate, collect, and fault as the JVM means them to. */
public final class Host {
    static native int subscribe(int signal, int alone);
    static native int receive(int subscription, int milliseconds);
    static native int stop(int subscription);
    static native int callAll();
    static native int noNewPrivs();
    static native int attached();
    static native int work(int rounds);
    static native int stopWorld();
    static native void raise(int signal);

    static final int SIGTERM = 15;
    static final AtomicBoolean over = new AtomicBoolean();
    static final AtomicLong nulls = new AtomicLong();
    static final AtomicLong overflows = new AtomicLong();
    static volatile Object sink;

    static void check(boolean right, String what) {
        if (!right) {
            System.out.println("wrong: " + what);
            Runtime.getRuntime().halt(1);
        }
    }

    /** Called by workers when they are outside the gate. */
    static void visit() {
        sink = new byte[512];
    }

    static void allocate() {
        for (int size = 1; !over.get(); size = size % 4096 + 1) {
            sink = new byte[size];
        }
    }

    static final class Node {
        int value;
        Node next;
    }

    /** Compiled to a load that faults: SIGSEGV, which the JVM makes an exception. */
    static int follow(Node node) {
        return node.next.value;
    }

    static void fault() {
        Node last = new Node();
        Node first = new Node();
        first.next = last;
        while (!over.get()) {
            check(follow(first) == 0, "what is there is read");
            try {
                follow(last);
                check(false, "there is nothing");
            } catch (NullPointerException expected) {
                nulls.incrementAndGet();
            }
        }
    }

    static int dive(int depth) {
        return dive(depth + 1) + 1;
    }

    /** Ends on a page that the JVM guards: SIGSEGV again. */
    static void overflow() {
        while (!over.get()) {
            try {
                dive(0);
            } catch (StackOverflowError expected) {
                overflows.incrementAndGet();
            }
        }
    }

    static void works() {
        while (!over.get()) {
            check(attached() == 0, "attach, nested, detach");
            check(work(50) == 0, "work");
        }
    }

    static void operations() throws InterruptedException {
        Runnable[] bodies = {Host::allocate, Host::fault, Host::overflow, Host::works, Host::works};
        Thread[] threads = new Thread[bodies.length];
        for (int at = 0; at < bodies.length; at++) {
            threads[at] = new Thread(bodies[at]);
            threads[at].start();
        }
        Thread collects = new Thread(() -> {
            for (int at = 0; at < 20; at++) {
                System.gc();
            }
        });
        collects.start();
        for (int at = 0; at < 200 || nulls.get() < 1000 || overflows.get() < 10; at++) {
            check(callAll() >= bodies.length, "a call reaches the JVM's threads");
        }
        check(noNewPrivs() > bodies.length, "rights");
        for (int stopped = 0; stopped < 50;) {
            int still = stopWorld();
            check(still >= 0, "who is suspended stands still");
            stopped += still;
            Thread.yield();
        }
        collects.join();
        // All of it goes on.
        long nullsNow = nulls.get();
        long overflowsNow = overflows.get();
        while (nulls.get() == nullsNow || overflows.get() == overflowsNow) {
            check(callAll() >= 0, "a call");
        }
        over.set(true);
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println("done");
    }

    /** The JVM ends at SIGTERM, by a handler of its own, but not while somebody subscribes alone. */
    static void termination() throws InterruptedException {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook")));
        int alone = subscribe(SIGTERM, 1);
        check(alone >= 0, "subscribe");
        for (int at = 0; at < 20; at++) {
            raise(SIGTERM);
            check(receive(alone, 20_000) == SIGTERM, "ours is told");
        }
        check(stop(alone) == 0, "the JVM's is back");
        System.out.println("done");
        raise(SIGTERM);
        Thread.sleep(100_000);
    }

    public static void main(String[] what) throws InterruptedException {
        System.loadLibrary("host");
        if (what[0].equals("termination")) {
            termination();
        } else {
            operations();
        }
    }
}
