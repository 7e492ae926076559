// A Go library that a program loads when this crate's handlers are in place already.
package main

import "C"

import (
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
)

var over atomic.Bool
var sink atomic.Pointer[[]byte]
var told = make(chan os.Signal, 1)

// Goroutines that allocate, and one that is stopped by Go's own signal alone.
//
//export guest_start
func guest_start() {
	go func() {
		for !over.Load() {
		}
	}()
	go func() {
		for size := 1; !over.Load(); size = size%4096 + 1 {
			garbage := make([]byte, size)
			sink.Store(&garbage)
		}
	}()
}

//export guest_allocate
func guest_allocate() {
	garbage := make([]byte, 512)
	sink.Store(&garbage)
}

// How many collections there were.
//
//export guest_collect
func guest_collect(times C.int) C.int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for at := 0; at < int(times); at++ {
		runtime.GC()
	}
	runtime.ReadMemStats(&after)
	return C.int(after.NumGC - before.NumGC)
}

//export guest_notify
func guest_notify(number C.int) {
	signal.Notify(told, syscall.Signal(number))
}

// The signal that came next.
//
//export guest_told
func guest_told() C.int {
	return C.int((<-told).(syscall.Signal))
}

//export guest_stop
func guest_stop() {
	over.Store(true)
}

func main() {}
