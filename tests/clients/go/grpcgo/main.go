// grpc-go, with messages made from the .proto file. Usage: grpcgo HTTP GRPC FOLDER, in the root of the repository
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

const request = `{"modelName": %q, "id": %q,
	"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "contents": {"bytesContents": [%q]}}]}`

var service protoreflect.ServiceDescriptor

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	fmt.Println("version", grpc.Version)
	resolver := &protocompile.SourceResolver{ImportPaths: []string{"src/lading/protocol/proto"}}
	files, err := (&protocompile.Compiler{Resolver: resolver}).Compile(ctx, "inference.proto")
	fail(err)
	service = files[0].Services().ByName("GRPCInferenceService")
	connection, err := grpc.NewClient(os.Args[2], grpc.WithTransportCredentials(insecure.NewCredentials()))
	fail(err)
	defer connection.Close()
	photo, err := os.ReadFile(filepath.Join(os.Args[3], "photo.jpg"))
	fail(err)
	encoded := base64.StdEncoding.EncodeToString(photo)

	health, err := grpc_health_v1.NewHealthClient(connection).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	fail(err)
	expect("health", health.Status == grpc_health_v1.HealthCheckResponse_SERVING, health)
	ready, err := call(ctx, connection, "ServerReady", "{}")
	fail(err)
	expect("ready", field(ready, "ready").Bool(), ready)
	answer, err := call(ctx, connection, "ModelInfer", fmt.Sprintf(request, "small-colour", "7", encoded))
	fail(err)
	expect("ModelInfer", field(answer, "id").String() == "7" && field(answer, "outputs").List().Len() == 2, answer)
	answer, err = call(ctx, connection, "ModelInfer", fmt.Sprintf(request, "small-colour", "8", encoded), grpc.UseCompressor(gzip.Name))
	fail(err)
	expect("ModelInfer with gzip", field(answer, "id").String() == "8", answer)
	stream(ctx, connection, encoded)
	_, err = call(ctx, connection, "ModelInfer", fmt.Sprintf(request, "none", "7", encoded))
	refused := status.Convert(err)
	expect("mistake", refused.Code() == codes.NotFound && strings.Contains(refused.Message(), "no model 'none'"), refused)
}

func stream(ctx context.Context, connection *grpc.ClientConn, encoded string) {
	description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	opened, err := connection.NewStream(ctx, description, name("ModelStreamInfer"))
	fail(err)
	method := service.Methods().ByName("ModelStreamInfer")
	for number := range 10 {
		message := dynamicpb.NewMessage(method.Input())
		fail(protojson.Unmarshal(fmt.Appendf(nil, request, "small-colour", fmt.Sprint(number), encoded), message))
		fail(opened.SendMsg(message))
	}
	fail(opened.CloseSend())
	for number := 0; ; number++ {
		answer := dynamicpb.NewMessage(method.Output())
		err := opened.RecvMsg(answer)
		if errors.Is(err, io.EOF) {
			expect("ModelStreamInfer", number == 10, number)
			return
		}
		fail(err)
		inner := field(answer, "infer_response").Message()
		id := inner.Get(inner.Descriptor().Fields().ByName("id")).String()
		if id != fmt.Sprint(number) {
			fail(fmt.Errorf("answer %d has the id %q", number, id))
		}
	}
}

func call(ctx context.Context, connection *grpc.ClientConn, method, text string, options ...grpc.CallOption) (*dynamicpb.Message, error) {
	descriptor := service.Methods().ByName(protoreflect.Name(method))
	message, answer := dynamicpb.NewMessage(descriptor.Input()), dynamicpb.NewMessage(descriptor.Output())
	fail(protojson.Unmarshal([]byte(text), message))
	return answer, connection.Invoke(ctx, name(method), message, answer, options...)
}

func name(method string) string {
	return fmt.Sprintf("/%s/%s", service.FullName(), method)
}

func field(message *dynamicpb.Message, name string) protoreflect.Value {
	return message.Get(message.Descriptor().Fields().ByName(protoreflect.Name(name)))
}

func expect(call string, holds bool, shown any) {
	if !holds {
		fail(fmt.Errorf("%s: %v", call, shown))
	}
	fmt.Println("call", call)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
