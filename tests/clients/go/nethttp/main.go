// Go's net/http, over HTTP/1.1. Usage: nethttp HTTP GRPC FOLDER
package main

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

func main() {
	url, folder := os.Args[1], os.Args[3]
	fmt.Println("version", strings.TrimPrefix(runtime.Version(), "go"))
	photo, infer, predict := read(folder, "photo.jpg"), read(folder, "infer.json"), read(folder, "predict.json")
	answer, err := http.Get(url + "/v2/health/ready")
	expect("ready", answer, err, 200, "")
	answer, err = http.Post(url+"/classify", "image/jpeg", bytes.NewReader(photo))
	expect("picture", answer, err, 200, `"red"`)
	var form bytes.Buffer
	writer := multipart.NewWriter(&form)
	writer.WriteField("note", "a text field")
	part, err := writer.CreateFormFile("image", "photo.jpg")
	fail(err)
	part.Write(photo)
	writer.Close()
	answer, err = http.Post(url+"/classify", writer.FormDataContentType(), &form)
	expect("form", answer, err, 200, `"red"`)
	answer, err = http.Post(url+"/predict", "application/json", bytes.NewReader(predict))
	expect("JSON", answer, err, 200, `"small-colour"`)
	answer, err = http.Post(url+"/predict", "application/json", io.MultiReader(bytes.NewReader(predict)))
	expect("JSON in chunks", answer, err, 200, `"small-colour"`)
	v2 := url + "/v2/models/small-colour/infer"
	answer, err = http.Post(v2, "application/json", bytes.NewReader(infer))
	expect("v2", answer, err, 200, `"id":"7"`)
	request, err := http.NewRequest("POST", v2, bytes.NewReader(infer))
	fail(err)
	request.Header = http.Header{"Content-Type": {"application/json"}, "Expect": {"100-continue"}}
	answer, err = http.DefaultClient.Do(request)
	expect("v2 with Expect: 100-continue", answer, err, 200, `"id":"7"`)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			answer, err := http.Post(v2, "application/json", bytes.NewReader(infer))
			check("20 at once", answer, err, 200, `"id":"7"`)
		})
	}
	all.Wait()
	fmt.Println("call 20 at once")
	answer, err = http.Post(url+"/v2/models/none/infer", "application/json", bytes.NewReader(infer))
	expect("404", answer, err, 404, "no model 'none'")
	answer, err = http.Post(url+"/classify", "image/jpeg", bytes.NewReader(read(folder, "large")))
	expect("413", answer, err, 413, "bytes")
}

func read(folder, name string) []byte {
	content, err := os.ReadFile(filepath.Join(folder, name))
	fail(err)
	return content
}

func expect(call string, answer *http.Response, err error, status int, text string) {
	check(call, answer, err, status, text)
	fmt.Println("call", call)
}

func check(call string, answer *http.Response, err error, status int, text string) {
	fail(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	fail(err)
	if answer.StatusCode != status || !strings.Contains(string(body), text) {
		fail(fmt.Errorf("%s: %d %s", call, answer.StatusCode, body))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
