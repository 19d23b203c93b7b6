// Go's httputil.ReverseProxy, which Traefik, Caddy and Knative's queue-proxy build on; and Knative's question for h2c.
// Usage: reverseproxy HTTP GRPC FOLDER
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	target, err := url.Parse(os.Args[1])
	fail(err)
	fmt.Println("version", strings.TrimPrefix(runtime.Version(), "go"))
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(request *httputil.ProxyRequest) {
		request.SetURL(target)
		request.SetXForwarded()
	}})
	defer proxy.Close()
	ask("ready", "GET", proxy.URL+"/v2/health/ready", nil, nil, 200, "")
	ask("picture", "POST", proxy.URL+"/classify", read("photo.jpg"), nil, 200, `"red"`)
	infer := read("infer.json")
	ask("v2", "POST", proxy.URL+"/v2/models/small-colour/infer", infer, nil, 200, `"id":"7"`)
	ask("404", "POST", proxy.URL+"/v2/models/none/infer", infer, nil, 404, "no model 'none'")
	ask("413", "POST", proxy.URL+"/classify", read("large"), nil, 413, "bytes")
	upgrade := http.Header{"Connection": {"Upgrade, HTTP2-Settings"}, "Upgrade": {"h2c"}, "Http2-Settings": {"AAMAAABkAAQCAAAAAAIAAAAA"}}
	ask("h2c probe (OPTIONS)", "OPTIONS", target.String()+"/predict", nil, upgrade, 204, "")
	ask("Upgrade: h2c with a body", "POST", target.String()+"/v2/models/small-colour/infer", infer, upgrade, 200, `"id":"7"`)
}

func read(name string) []byte {
	content, err := os.ReadFile(filepath.Join(os.Args[3], name))
	fail(err)
	return content
}

func ask(call, method, address string, body []byte, header http.Header, status int, text string) {
	request, err := http.NewRequest(method, address, bytes.NewReader(body))
	fail(err)
	for name, values := range header {
		request.Header[name] = values
	}
	answer, err := http.DefaultClient.Do(request)
	fail(err)
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	fail(err)
	if answer.StatusCode != status || !strings.Contains(string(content), text) {
		fail(fmt.Errorf("%s: %d %s", call, answer.StatusCode, content))
	}
	fmt.Println("call", call)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
