// Microsoft's go-winio as a peer on a Windows named pipe.
//
//	winio serve PIPE          echoes each connection until its end of input, then closes it
//	winio serve-message PIPE  the same on a message pipe, where both ends can half-close
//	winio dial PIPE           sends its standard input, half-closes if it can, prints what comes
//	                          back: until the end on a message pipe, else as much as it sent
//	winio deadline PIPE       reads with a deadline of 50 ms; prints "timeout" when that is the error
//
// It prints "ready" on standard error once the pipe is open, and runs until it is killed.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/Microsoft/go-winio"
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: winio serve|serve-message|dial|deadline PIPE"))
	}
	switch path := os.Args[2]; os.Args[1] {
	case "serve":
		serve(path, false)
	case "serve-message":
		serve(path, true)
	case "dial":
		dial(path)
	case "deadline":
		deadline(path)
	}
}

func serve(path string, messages bool) {
	listener, err := winio.ListenPipe(path, &winio.PipeConfig{MessageMode: messages})
	fail(err)
	greetSelf(listener, path)
	fmt.Fprintln(os.Stderr, "ready")
	for {
		conn, err := listener.Accept()
		fail(err)
		go func() {
			io.Copy(conn, conn)
			conn.Close()
		}()
	}
}

// greetSelf connects to the listener once. Under Wine the handle that go-winio makes first, and
// which on Windows takes no client, would swallow one.
func greetSelf(listener net.Listener, path string) {
	accepted := make(chan struct{})
	go func() {
		for {
			if conn, err := connect(path); err == nil {
				conn.Close()
			}
			select {
			case <-accepted:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	conn, err := listener.Accept()
	fail(err)
	close(accepted)
	conn.Close()
}

func connect(path string) (net.Conn, error) {
	timeout := 20 * time.Second
	return winio.DialPipe(path, &timeout)
}

func dial(path string) {
	conn, err := connect(path)
	fail(err)
	input, err := io.ReadAll(os.Stdin)
	fail(err)
	half, canHalfClose := conn.(interface{ CloseWrite() error })
	go func() {
		_, err := conn.Write(input)
		fail(err)
		if canHalfClose {
			fail(half.CloseWrite())
		}
	}()
	if canHalfClose {
		_, err = io.Copy(os.Stdout, conn)
	} else {
		_, err = io.CopyN(os.Stdout, conn, int64(len(input)))
	}
	fail(err)
	fail(conn.Close())
}

func deadline(path string) {
	conn, err := connect(path)
	fail(err)
	fail(conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	if !errors.Is(err, winio.ErrTimeout) {
		fail(fmt.Errorf("want a timeout, got %v", err))
	}
	fmt.Println("timeout")
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
