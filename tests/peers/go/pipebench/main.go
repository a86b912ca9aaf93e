// The two Go packages for named pipes as contestants of bench/wine.py.
//
//	pipebench winio|natefinch serve PIPE   the other end, as bench/peer.py describes it
//	pipebench winio|natefinch drive PIPE   takes orders from standard input, prints a number each
//
// An order is "ping SIZE COUNT" (microseconds a round trip), "stream COUNT" (MB/s in chunks of
// 64 KiB) or "connect COUNT" (connections made and closed, a second). Each opens its connections.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/Microsoft/go-winio"
	"gopkg.in/natefinch/npipe.v2"
)

const chunk = 65536

// header opens a job: 'e' has Count blocks of Size bytes echoed, 's' has them swallowed and
// answered by one byte.
type header struct {
	Job         byte
	Size, Count uint32
}

type library struct {
	listen func(path string) (net.Listener, error)
	dial   func(path string) (net.Conn, error)
}

func main() {
	patience := 20 * time.Second
	libraries := map[string]library{
		"winio": {
			func(path string) (net.Listener, error) { return winio.ListenPipe(path, nil) },
			func(path string) (net.Conn, error) { return winio.DialPipe(path, &patience) },
		},
		"natefinch": {
			func(path string) (net.Listener, error) { return npipe.Listen(path) },
			func(path string) (net.Conn, error) { return npipe.DialTimeout(path, patience) },
		},
	}
	if len(os.Args) != 4 || libraries[os.Args[1]].listen == nil {
		fail(fmt.Errorf("usage: pipebench winio|natefinch serve|drive PIPE"))
	}
	switch chosen, path := libraries[os.Args[1]], os.Args[3]; os.Args[2] {
	case "serve":
		listener, err := chosen.listen(path)
		fail(err)
		serve(listener, func() (net.Conn, error) { return chosen.dial(path) })
	case "drive":
		drive(func() net.Conn {
			conn, err := chosen.dial(path)
			fail(err)
			return conn
		})
	}
}

// serve says "ready" once a client of its own was let in: under Wine the handle that go-winio makes
// first, and which on Windows takes no client, swallows one.
func serve(listener net.Listener, dial func() (net.Conn, error)) {
	greeted := make(chan struct{})
	go func() {
		for {
			if conn, err := dial(); err == nil {
				conn.Close()
			}
			select {
			case <-greeted:
				fmt.Println("ready")
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	for first := true; ; first = false {
		conn, err := listener.Accept()
		fail(err)
		if first {
			close(greeted)
		}
		go work(conn)
	}
}

func work(conn net.Conn) {
	defer conn.Close()
	var job header
	buffer := make([]byte, chunk)
	for binary.Read(conn, binary.LittleEndian, &job) == nil {
		for left := int(job.Size) * int(job.Count); left > 0; {
			n, err := conn.Read(buffer[:min(left, int(job.Size), chunk)])
			if err == nil && job.Job == 'e' {
				_, err = conn.Write(buffer[:n])
			}
			if err != nil {
				return
			}
			left -= n
		}
		if job.Job == 's' {
			conn.Write([]byte("!"))
		}
	}
}

func drive(dial func() net.Conn) {
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		var job string
		var first, second int
		fmt.Sscan(orders.Text(), &job, &first, &second)
		switch job {
		case "ping":
			conn := dial()
			fmt.Println(ping(conn, first, second))
			conn.Close()
		case "stream":
			conn := dial()
			fmt.Println(stream(conn, first))
			conn.Close()
		case "connect":
			start := time.Now()
			for range first {
				dial().Close()
			}
			fmt.Println(float64(first) / time.Since(start).Seconds())
		}
	}
}

func ping(conn net.Conn, size, count int) float64 {
	fail(binary.Write(conn, binary.LittleEndian, header{'e', uint32(size), uint32(count)}))
	data := make([]byte, size)
	start := time.Now()
	for range count {
		_, err := conn.Write(data)
		fail(err)
		_, err = io.ReadFull(conn, data)
		fail(err)
	}
	return float64(time.Since(start).Nanoseconds()) / float64(count) / 1e3
}

func stream(conn net.Conn, count int) float64 {
	fail(binary.Write(conn, binary.LittleEndian, header{'s', chunk, uint32(count)}))
	data := make([]byte, chunk)
	start := time.Now()
	for range count {
		_, err := conn.Write(data)
		fail(err)
	}
	_, err := io.ReadFull(conn, data[:1])
	fail(err)
	return float64(chunk*count) / time.Since(start).Seconds() / 1e6
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
