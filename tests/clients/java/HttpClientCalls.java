import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** Java's own client. Usage: HttpClientCalls.java VERSION HTTP GRPC FOLDER; HTTP_2, its default, sends Upgrade: h2c. */
class HttpClientCalls {
    static HttpClient client;
    static String http;

    public static void main(String[] arguments) throws Exception {
        client = HttpClient.newBuilder().version(HttpClient.Version.valueOf(arguments[0])).build();
        http = arguments[1];
        Path folder = Path.of(arguments[3]);
        System.out.println("version " + System.getProperty("java.version"));

        HttpRequest ready = request("/v2/health/ready").GET().build();
        expect("ready", client.send(ready, BodyHandlers.ofString()), 200, "");
        HttpRequest photo = post("/classify", "image/jpeg", Files.readAllBytes(folder.resolve("photo.jpg")));
        expect("picture", client.send(photo, BodyHandlers.ofString()), 200, "\"red\"");
        HttpRequest file = request("/classify").POST(BodyPublishers.ofFile(folder.resolve("photo.jpg"))).build();
        expect("picture from a file", client.send(file, BodyHandlers.ofString()), 200, "\"red\"");
        HttpRequest chunks = request("/predict").header("content-type", "application/json")
            .POST(BodyPublishers.ofInputStream(() -> open(folder.resolve("predict.json")))).build();
        expect("JSON in chunks", client.send(chunks, BodyHandlers.ofString()), 200, "\"small-colour\"");
        byte[] infer = Files.readAllBytes(folder.resolve("infer.json"));
        HttpRequest v2 = post("/v2/models/small-colour/infer", "application/json", infer);
        expect("v2", client.send(v2, BodyHandlers.ofString()), 200, "\"id\":\"7\"");
        HttpRequest asking = request("/v2/models/small-colour/infer").header("content-type", "application/json")
            .expectContinue(true).POST(BodyPublishers.ofByteArray(infer)).build();
        expect("v2 with Expect: 100-continue", client.send(asking, BodyHandlers.ofString()), 200, "\"id\":\"7\"");
        List<CompletableFuture<HttpResponse<String>>> many = new ArrayList<>();
        for (int number = 0; number < 20; number++) {
            many.add(client.sendAsync(v2, BodyHandlers.ofString()));
        }
        for (CompletableFuture<HttpResponse<String>> one : many) {
            check("20 at once", one.get(), 200, "\"id\":\"7\"");
        }
        System.out.println("call 20 at once");
        HttpRequest none = post("/v2/models/none/infer", "application/json", infer);
        expect("404", client.send(none, BodyHandlers.ofString()), 404, "no model 'none'");
        HttpRequest large = post("/classify", "image/jpeg", Files.readAllBytes(folder.resolve("large")));
        expect("413", client.send(large, BodyHandlers.ofString()), 413, "bytes");
    }

    static java.io.InputStream open(Path file) {
        try {
            return Files.newInputStream(file);
        } catch (IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    static HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(http + path)).timeout(Duration.ofSeconds(20));
    }

    static HttpRequest post(String path, String type, byte[] body) {
        return request(path).header("content-type", type).POST(BodyPublishers.ofByteArray(body)).build();
    }

    static void expect(String call, HttpResponse<String> answer, int status, String text) {
        check(call, answer, status, text);
        System.out.println("call " + call);
    }

    static void check(String call, HttpResponse<String> answer, int status, String text) {
        if (answer.statusCode() != status || !answer.body().contains(text)) {
            throw new AssertionError(call + ": " + answer.statusCode() + " " + answer.body());
        }
    }
}
