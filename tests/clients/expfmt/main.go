// Reads a scrape with Go's own parser, as Prometheus' other clients and most agents do.
//
// Usage: expfmt URL. Prints the format, and the number of metric families and of series.
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

func main() {
	answer, err := http.Get(os.Args[1])
	fail(err)
	defer answer.Body.Close()
	format := expfmt.ResponseFormat(answer.Header)
	if format == expfmt.FmtUnknown {
		fail(fmt.Errorf("unknown content type %q", answer.Header.Get("Content-Type")))
	}
	decoder := expfmt.NewDecoder(answer.Body, format)
	families, series := 0, 0
	for {
		var family dto.MetricFamily
		err := decoder.Decode(&family)
		if errors.Is(err, io.EOF) {
			break
		}
		fail(err)
		families++
		series += len(family.Metric)
	}
	fmt.Println(format, families, series)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
