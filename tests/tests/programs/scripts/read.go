// read.go FILE COUNT: reads so many bytes through an os.File, and writes them to standard output.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
)

func main() {
	count, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	file, err := os.Open(os.Args[1])
	if err == nil {
		_, err = io.CopyN(os.Stdout, file, count)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
