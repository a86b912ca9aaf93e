// Go's net package as a peer on a Unix socket.
//
//	gonet serve ADDRESS   echoes each connection until its end of input, then closes it
//	gonet dial ADDRESS    sends its standard input, half-closes, prints what comes back
//
// It prints "ready" on standard error once the address is open, and runs until it is killed.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: gonet serve|dial ADDRESS"))
	}
	switch address := os.Args[2]; os.Args[1] {
	case "serve":
		serve(address)
	case "dial":
		dial(address)
	}
}

func serve(address string) {
	listener, err := net.Listen("unix", address)
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

func dial(address string) {
	conn, err := net.Dial("unix", address)
	fail(err)
	go func() {
		_, err := io.Copy(conn, os.Stdin)
		fail(err)
		fail(conn.(*net.UnixConn).CloseWrite())
	}()
	_, err = io.Copy(os.Stdout, conn)
	fail(err)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
