// A Go program that uses the library by cgo, while goroutines allocate, Go collects, and preempts by SIGURG.
package main

// #include "pn.h"
// extern void visit(void *);
// static int work(unsigned rounds) { return pn_work(rounds, visit, 0); }
import "C"

import (
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const (
	allocators  = 3
	workers     = 2
	collections = 10
	calls       = 40
	stops       = 20
	signals     = 5
)

func check(right bool, what string) {
	if !right {
		println("wrong:", what)
		os.Exit(1)
	}
}

var sink [allocators]atomic.Pointer[[]byte]
var visits atomic.Uint32

// Called from the gate's outside: it allocates, and may have to wait for Go's collector.
//
//export visit
func visit(unsafe.Pointer) {
	garbage := make([]byte, 512)
	sink[0].Store(&garbage)
	visits.Add(1)
}

// Does not call, and so is stopped for a collection by a signal alone.
func spin(over *atomic.Bool) {
	for !over.Load() {
	}
}

func allocate(at int, over *atomic.Bool) {
	for size := 1; !over.Load(); size = size%4096 + 1 {
		garbage := make([]byte, size)
		sink[at].Store(&garbage)
	}
}

// Goroutines that are at it until this returns.
func beside(body func()) {
	var over, left atomic.Bool
	var all, working sync.WaitGroup
	goes := func(function func()) {
		all.Add(1)
		go func() {
			defer all.Done()
			function()
		}()
	}
	goes(func() { spin(&over) })
	for at := 0; at < allocators; at++ {
		at := at
		goes(func() { allocate(at, &over) })
	}
	for at := 0; at < workers; at++ {
		working.Add(1)
		go func() {
			defer working.Done()
			// The gate is the thread's.
			runtime.LockOSThread()
			var token [4]C.uint
			check(C.pn_attach(&token[0]) == 0, "attach")
			for !left.Load() {
				check(C.work(50) == 0, "work")
			}
			check(C.pn_detach(&token[0]) == 0, "detach")
		}()
	}
	body()
	left.Store(true)
	working.Wait()
	over.Store(true)
	all.Wait()
}

func operations() {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	beside(func() {
		var collected sync.WaitGroup
		collected.Add(1)
		go func() {
			defer collected.Done()
			for at := 0; at < collections; at++ {
				runtime.GC()
			}
		}()
		for at := 0; at < calls; at++ {
			check(C.pn_call_all() >= workers, "a call reaches Go's threads")
		}
		check(C.pn_no_new_privs() > workers, "rights")
		for stopped := 0; stopped < stops; {
			still := int(C.pn_stop_world())
			check(still >= 0, "who is suspended stands still")
			stopped += still
			runtime.Gosched()
		}
		collected.Wait()
	})
	runtime.ReadMemStats(&after)
	check(after.NumGC-before.NumGC >= collections, "Go has collected")
	check(visits.Load() > 0, "the workers were outside")
}

// Go is told of the signal, and the subscription too, as long as each wants it.
func notify(number syscall.Signal, first bool) {
	told := make(chan os.Signal, 1)
	var ours C.int
	subscribe := func() {
		ours = C.pn_subscribe(C.int(number), 0)
		check(ours >= 0, "subscribe")
	}
	if first {
		subscribe()
	}
	signal.Notify(told, number)
	if !first {
		subscribe()
	}
	send := func() { check(syscall.Kill(syscall.Getpid(), number) == nil, "kill") }
	beside(func() {
		for at := 0; at < signals; at++ {
			send()
			<-told
			check(C.pn_recv_timeout(ours, 20_000) == C.int(number), "ours is told")
		}
	})
	check(C.pn_stop(ours) == 0, "nobody has changed it")
	send()
	<-told
	subscribe()
	signal.Stop(told)
	send()
	check(C.pn_recv_timeout(ours, 20_000) == C.int(number), "ours goes on without Go's")
	check(len(told) == 0, "Go's was stopped")
	check(C.pn_stop(ours) == 0, "nobody has changed it")
}

func main() {
	operations()
	notify(syscall.SIGUSR1, true)
	notify(syscall.SIGUSR2, false)
	operations()
	println("done")
}
