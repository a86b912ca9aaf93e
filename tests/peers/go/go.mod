module npipe.test/peers

go 1.22

require (
	github.com/Microsoft/go-winio v0.6.2
	gopkg.in/natefinch/npipe.v2 v2.0.0-20160621034901-c1b8fa8bdcce
)

require golang.org/x/sys v0.10.0 // indirect
