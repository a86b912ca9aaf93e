// The Go package npipe, natefinch's, as a peer on a Windows named pipe. It makes byte pipes only,
// and cannot half-close: the end of input is the other end's leaving.
//
//	natefinch serve PIPE     echoes each connection until its end of input, then closes it
//	natefinch dial PIPE      sends its standard input, prints as much as it sent
//	natefinch deadline PIPE  reads with a deadline of 50 ms; prints "timeout" when that is the error
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

	"gopkg.in/natefinch/npipe.v2"
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: natefinch serve|dial|deadline PIPE"))
	}
	switch path := os.Args[2]; os.Args[1] {
	case "serve":
		serve(path)
	case "dial":
		dial(path)
	case "deadline":
		deadline(path)
	}
}

func serve(path string) {
	listener, err := npipe.Listen(path)
	fail(err)
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

func connect(path string) net.Conn {
	conn, err := npipe.DialTimeout(path, 20*time.Second)
	fail(err)
	return conn
}

func dial(path string) {
	conn := connect(path)
	input, err := io.ReadAll(os.Stdin)
	fail(err)
	go func() {
		_, err := conn.Write(input)
		fail(err)
	}()
	_, err = io.CopyN(os.Stdout, conn, int64(len(input)))
	fail(err)
	fail(conn.Close())
}

func deadline(path string) {
	conn := connect(path)
	fail(conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)))
	_, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
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
